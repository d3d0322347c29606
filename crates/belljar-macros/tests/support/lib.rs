//! Stands in for the crate `belljar`: the types that generated code names, and a `run` that
//! executes the body here and checks that the test has the name that its case says.
//!
//! A crate of its own, as lints treat generated code of another crate differently.
#![expect(missing_docs, reason = "the real ones are documented in belljar")]

/// What a test body is given.
pub struct Ctx(pub &'static str);

/// The interface of generated code.
pub mod __private {
    pub use linkme;

    use super::Ctx;

    /// One test function.
    pub struct Case {
        pub name: &'static str,
        pub package: &'static str,
        pub manifest_dir: &'static str,
        pub file: &'static str,
        pub line: u32,
        pub body: fn(&Ctx) -> Ended,
        pub memory_mib: Option<u32>,
        pub needs: &'static [&'static str],
        pub modules: &'static [&'static str],
        pub tools: &'static [&'static str],
        pub timeout_ms: Option<u64>,
        pub expect_fail: Option<&'static str>,
        pub ignore: Option<&'static str>,
        pub variants: &'static [Variant],
    }

    /// One test.
    pub struct Variant {
        pub label: &'static str,
        pub topology: Option<&'static str>,
        pub preset: Option<&'static str>,
        pub mode: Option<&'static str>,
        pub kernel: Option<&'static str>,
        pub seed: Option<u64>,
    }

    /// How a body ended.
    pub struct Ended(pub Result<(), String>);

    /// What a body may return.
    pub trait IntoEnded {
        /// Turns it into what belljar records.
        fn into_ended(self) -> Ended;
    }

    impl IntoEnded for () {
        fn into_ended(self) -> Ended {
            Ended(Ok(()))
        }
    }

    impl<E: std::fmt::Display> IntoEnded for Result<(), E> {
        fn into_ended(self) -> Ended {
            Ended(self.map_err(|error| error.to_string()))
        }
    }

    /// All cases of the test binary.
    #[linkme::distributed_slice]
    pub static CASES: [Case];

    /// Runs one variant.
    pub fn run(case: &'static Case, variant: usize) {
        let label = case.variants[variant].label;
        let (_crate, path) = case.name.split_once("::").unwrap();
        let expected = [path, label].join(if label.is_empty() { "" } else { "::" });
        assert_eq!(std::thread::current().name(), Some(expected.as_str()));
        match ((case.body)(&Ctx("in the guest")).0, case.expect_fail) {
            (Ok(()), None) => {}
            (Err(error), Some(part)) if error.contains(part) => {}
            (ended, expected) => panic!("ended {ended:?}, expected {expected:?}"),
        }
    }
}
