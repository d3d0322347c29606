//! What the attribute generates, compiled and run: against a stand-in for the crate `belljar`, in
//! a crate as strict as a user's may be.
#![forbid(unsafe_code)]
#![deny(warnings, missing_docs, unused, unreachable_pub, clippy::all, clippy::pedantic)]
#![deny(clippy::tests_outside_test_module, clippy::allow_attributes, clippy::unwrap_used)]

use belljar as renamed;
use belljar::__private::{CASES, Case};

#[cfg(test)]
mod suite {
    use belljar_macros::test;

    use belljar::Ctx;

    /// As a private type of the module it is only known here.
    struct Secret(&'static str);

    const SECRET: Secret = Secret("in the guest");

    /// A test with documentation.
    #[test]
    fn single(ctx: &Ctx) -> Result<(), String> {
        if ctx.0 == SECRET.0 { Ok(()) } else { Err(ctx.0.to_owned()) }
    }

    #[test(memory_mib = 256, needs = ["sched_ext"], timeout = "1500ms",
           modules = "tcp_diag", tools = ["ip", "ss"], expect_fail = "lost", seed = 7)]
    pub fn public_with_all_of_it(_: &Ctx) -> Result<(), String> {
        Err("a wakeup was lost".to_owned())
    }

    /// Documented.
    #[test(presets = ["4cpu-1llc-nosmt", "8cpu-2llc-smt"], seeds = 2)]
    fn several(ctx: &Ctx) {
        assert_eq!(ctx.0, self::SECRET.0);
    }

    static MINE: belljar::Scheduler = belljar::Scheduler("mine");

    /// Played, not run.
    #[test(scheduler = [MINE, self::OTHER], staged = MINE, limits = belljar::Limits(3))]
    fn played(_: &belljar::Topology) -> belljar::Scenario {
        belljar::Scenario("steady")
    }

    static OTHER: belljar::Scheduler = belljar::Scheduler("other");

    #[test(llcs = 2, crate = super::renamed)]
    fn r#match() {}

    #[test(mode = ["tcg", "auto"], crate = crate::renamed)]
    pub fn r#loop() {}

    #[test(ignore = "never to be run")]
    fn ignored_by_key() {
        panic!("must not run")
    }

    #[test(mode = ["tcg", "det"])]
    #[ignore = "never to be run"]
    fn ignored_by_attribute() {
        panic!("must not run")
    }

    #[test(mode = ["tcg", "det"])]
    #[cfg(any())]
    fn compiled_out(ctx: &NoSuchType) {}

    #[test(mode = ["tcg", "det"])]
    #[expect(non_snake_case, unused_variables)]
    fn Lints(ctx: &Ctx) {}

    mod deeper {
        mod suite {
            #[belljar_macros::test(seeds = 3..5)]
            fn suite() {}
        }

        /// A test may be named like a built-in macro of the language, or like its module.
        #[belljar_macros::test]
        fn deeper() {}
    }

    macro_rules! generated {
        ($name:ident, $memory:literal, $seeds:expr, $tool:expr) => {
            #[test(memory_mib = $memory, seeds = $seeds, tools = [$tool, "ss"])]
            fn $name(ctx: &Ctx) {
                assert_eq!(ctx.0, SECRET.0);
            }
        };
    }
    generated!(by_macro, 300, 0..2, "ip");
}

fn case(name: &str) -> &'static Case {
    let name = format!("expansion::suite::{name}");
    CASES.iter().find(|case| case.name == name).expect("the case is in the table")
}

fn labels(name: &str) -> Vec<&'static str> {
    case(name).variants.iter().map(|variant| variant.label).collect()
}

#[cfg(test)]
mod table {
    use super::*;

    #[test]
    fn it_holds_every_case_once() {
        let mut names: Vec<_> = CASES.iter().map(|case| case.name).collect();
        names.sort_unstable();
        let names: Vec<_> =
            names.iter().filter_map(|name| name.strip_prefix("expansion::suite::")).collect();
        assert_eq!(
            names,
            [
                "Lints",
                "by_macro",
                "deeper::deeper",
                "deeper::suite::suite",
                "ignored_by_attribute",
                "ignored_by_key",
                "played",
                "public_with_all_of_it",
                "r#loop",
                "r#match",
                "several",
                "single",
            ]
        );
    }

    #[test]
    fn a_case_says_where_it_is_and_what_it_wants() {
        let case = case("public_with_all_of_it");
        assert_eq!(case.package, "belljar-macros");
        assert_eq!(case.manifest_dir, env!("CARGO_MANIFEST_DIR"));
        assert!(case.file.ends_with("tests/expansion.rs"), "{}", case.file);
        let source = include_str!("expansion.rs").lines().nth(case.line as usize - 1);
        assert!(source.is_some_and(|line| line.contains("fn public_with_all_of_it")));
        assert_eq!(case.memory_mib, Some(256));
        assert_eq!(case.needs, ["sched_ext"]);
        assert_eq!(case.modules, ["tcp_diag"]);
        assert_eq!(case.tools, ["ip", "ss"]);
        assert_eq!(case.timeout_ms, Some(1500));
        assert_eq!(case.expect_fail, Some("lost"));
        assert_eq!(case.ignore, None);
        let [variant] = case.variants else { panic!("one variant") };
        assert_eq!((variant.label, variant.seed), ("", Some(7)));
        assert_eq!((variant.topology, variant.mode, variant.kernel), (None, None, None));
    }

    #[test]
    fn variants_are_in_the_case() {
        assert_eq!(
            labels("several"),
            [
                "on_4cpu_1llc_nosmt_seed_0",
                "on_4cpu_1llc_nosmt_seed_1",
                "on_8cpu_2llc_smt_seed_0",
                "on_8cpu_2llc_smt_seed_1"
            ]
        );
        let last = &case("several").variants[3];
        assert_eq!((last.topology, last.preset), (Some("1n2l2c2t"), Some("8cpu-2llc-smt")));
        assert_eq!((last.mode, last.seed), (Some("det"), Some(1)));
        assert_eq!(case("r#match").variants[0].topology, Some("1n2l2c1t"));
        assert_eq!(case("ignored_by_key").ignore, Some("never to be run"));
        assert_eq!(case("ignored_by_attribute").ignore, Some("never to be run"));
        assert_eq!(labels("by_macro"), ["seed_0", "seed_1"]);
    }
}
