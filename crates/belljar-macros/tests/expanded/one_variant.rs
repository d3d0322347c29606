#[cfg(unix)]
/// Docs.
#[expect(unused)]
#[::core::prelude::v1::test]
pub fn name() {
    #[inline]
    fn name(ctx: &Ctx) -> Result<()> {
        body()
    }
    #[::belljar::__private::linkme::distributed_slice(::belljar::__private::CASES)]
    #[linkme(crate = ::belljar::__private::linkme)]
    static __BELLJAR_CASE: ::belljar::__private::Case = ::belljar::__private::Case {
        name: ::core::concat!(::core::module_path!(), "::", "name"),
        package: ::core::env!("CARGO_PKG_NAME"),
        manifest_dir: ::core::env!("CARGO_MANIFEST_DIR"),
        file: ::core::file!(),
        line: ::core::line!(),
        body: |ctx| ::belljar::__private::IntoEnded::into_ended(name(ctx)),
        scenario: ::core::option::Option::None,
        limits: ::belljar::__private::Limits::default,
        staged: &[],
        memory_mib: ::core::option::Option::None,
        needs: &["sched_ext"],
        modules: &[],
        tools: &[],
        timeout_ms: ::core::option::Option::Some(10000u64),
        expect_fail: ::core::option::Option::None,
        expect_check: ::core::option::Option::None,
        allow_inconclusive: false,
        ignore: ::core::option::Option::None,
        variants: &[
            ::belljar::__private::Variant {
                label: "",
                topology: ::core::option::Option::Some("1n2l4c1t"),
                preset: ::core::option::Option::None,
                mode: ::core::option::Option::None,
                kernel: ::core::option::Option::None,
                scheduler: ::core::option::Option::None,
                seed: ::core::option::Option::None,
            },
        ],
    };
    ::belljar::__private::run(&__BELLJAR_CASE, 0);
}
