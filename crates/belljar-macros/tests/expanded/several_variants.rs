#[cfg(unix)]
#[expect(unused)]
#[cfg(test)]
fn __belljar_name(variant: usize) {
    #[inline]
    fn name() {
        body()
    }
    #[crate::__private::linkme::distributed_slice(crate::__private::CASES)]
    #[linkme(crate = crate::__private::linkme)]
    static __BELLJAR_CASE: crate::__private::Case = crate::__private::Case {
        name: ::core::concat!(::core::module_path!(), "::", "name"),
        package: ::core::env!("CARGO_PKG_NAME"),
        manifest_dir: ::core::env!("CARGO_MANIFEST_DIR"),
        file: ::core::file!(),
        line: ::core::line!(),
        body: |_| crate::__private::IntoEnded::into_ended(name()),
        scenario: ::core::option::Option::None,
        limits: crate::__private::Limits::default,
        staged: &[],
        memory_mib: ::core::option::Option::None,
        needs: &[],
        modules: &[],
        tools: &[],
        timeout_ms: ::core::option::Option::None,
        expect_fail: ::core::option::Option::Some(""),
        expect_check: ::core::option::Option::None,
        allow_inconclusive: false,
        ignore: ::core::option::Option::Some("slow"),
        variants: &[
            crate::__private::Variant {
                label: "tcg",
                topology: ::core::option::Option::None,
                preset: ::core::option::Option::None,
                mode: ::core::option::Option::Some("tcg"),
                kernel: ::core::option::Option::None,
                scheduler: ::core::option::Option::None,
                seed: ::core::option::Option::Some(7u64),
            },
            crate::__private::Variant {
                label: "det",
                topology: ::core::option::Option::None,
                preset: ::core::option::Option::None,
                mode: ::core::option::Option::Some("det"),
                kernel: ::core::option::Option::None,
                scheduler: ::core::option::Option::None,
                seed: ::core::option::Option::Some(7u64),
            },
        ],
    };
    crate::__private::run(&__BELLJAR_CASE, variant);
}
#[cfg(unix)]
/// Docs.
#[cfg(test)]
mod name {
    #[::core::prelude::v1::test]
    #[ignore = "slow"]
    fn tcg() {
        super::__belljar_name(0usize);
    }
    #[::core::prelude::v1::test]
    #[ignore = "slow"]
    fn det() {
        super::__belljar_name(1usize);
    }
}
