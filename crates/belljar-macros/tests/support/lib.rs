//! Stands in for the crate `belljar`: the types that generated code names, and a `run` that
//! executes the body here and checks that the test has the name that its case says.
//!
//! A crate of its own, as lints treat generated code of another crate differently.
#![expect(missing_docs, reason = "the real ones are documented in belljar")]

/// What a test body is given.
pub struct Ctx(pub &'static str);

/// What a scenario's cgroups and CPUs are resolved against.
pub struct Topology;

/// What a test may make instead of being the body itself.
pub struct Scenario(pub &'static str);

/// What a run is held to.
#[derive(Default)]
pub struct Limits(pub u32);

/// A scheduler under test.
pub struct Scheduler(pub &'static str);

/// The interface of generated code.
pub mod __private {
    pub use linkme;

    pub use super::Limits;
    use super::{Ctx, Scenario, Scheduler, Topology};

    /// One test function.
    pub struct Case {
        pub name: &'static str,
        pub package: &'static str,
        pub manifest_dir: &'static str,
        pub file: &'static str,
        pub line: u32,
        pub body: fn(&Ctx) -> Ended,
        pub scenario: Option<fn(&Topology) -> Scenario>,
        pub limits: fn() -> Limits,
        pub staged: &'static [&'static Scheduler],
        pub memory_mib: Option<u32>,
        pub needs: &'static [&'static str],
        pub modules: &'static [&'static str],
        pub tools: &'static [&'static str],
        pub timeout_ms: Option<u64>,
        pub expect_fail: Option<&'static str>,
        pub expect_check: Option<&'static str>,
        pub allow_inconclusive: bool,
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
        pub scheduler: Option<&'static Scheduler>,
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

    /// The body of a test that makes a scenario.
    pub fn play_declared(_: &Ctx) -> Ended {
        Ended(Ok(()))
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
        if let Some(scenario) = case.scenario {
            assert_eq!(scenario(&Topology).0, "steady");
            assert_eq!((case.limits)().0, 3);
        }
        match ((case.body)(&Ctx("in the guest")).0, case.expect_fail) {
            (Ok(()), None) => {}
            (Err(error), Some(part)) if error.contains(part) => {}
            (ended, expected) => panic!("ended {ended:?}, expected {expected:?}"),
        }
    }
}
