//! What the attribute leaves behind: the table of all cases in a binary.

use crate::ctx::Ctx;
use crate::error::Ended;
use crate::scheduler::{Scheduler, SchedulerSpec};
use crate::show;
use belljar_scenario::Scenario;
use belljar_topology::Topology;
use belljar_verdict::Limits;
use linkme::distributed_slice;
use serde::{Deserialize, Serialize};

/// Every case in this binary.
#[distributed_slice]
pub static CASES: [Case];

/// A function under the attribute.
#[derive(Debug)]
#[expect(missing_docs, reason = "written by the attribute only; Spec has the meanings")]
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

/// One of the tests that a function stands for.
#[derive(Debug)]
#[expect(missing_docs, reason = "written by the attribute only; Spec has the meanings")]
pub struct Variant {
    pub label: &'static str,
    pub topology: Option<&'static str>,
    pub preset: Option<&'static str>,
    pub mode: Option<&'static str>,
    pub kernel: Option<&'static str>,
    pub scheduler: Option<&'static Scheduler>,
    pub seed: Option<u64>,
}

/// One test as it was declared: what a binary tells the command about itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spec {
    /// The function, `module::name`, without the name of the crate.
    pub test: String,
    /// Which variant; empty when there is only one.
    pub variant: String,
    /// The cargo package.
    pub package: String,
    /// The directory of its manifest.
    pub manifest_dir: String,
    /// The source file, as the compiler was given it.
    pub file: String,
    /// The line of the function's name.
    pub line: u32,
    /// The topology in notation, if it is declared.
    pub topology: Option<String>,
    /// The preset that the topology comes from.
    pub preset: Option<String>,
    /// The memory, if it is declared.
    pub memory_mib: Option<u32>,
    /// The mode, if it is declared: `kvm`, `tcg`, `det` or `auto`.
    pub mode: Option<String>,
    /// The kernel, if it is declared.
    pub kernel: Option<String>,
    /// The seed, if it is declared.
    pub seed: Option<u64>,
    /// The scheduler under test; none for the kernel's own.
    #[serde(default)]
    pub scheduler: Option<SchedulerSpec>,
    /// Schedulers that operations attach.
    #[serde(default)]
    pub staged: Vec<SchedulerSpec>,
    /// What its function makes, if it makes a scenario.
    #[serde(default)]
    pub scenario: Option<ScenarioFacts>,
    /// What the kernel must be able to do.
    pub needs: Vec<String>,
    /// Modules to load first.
    pub modules: Vec<String>,
    /// Programs of the host to take along.
    pub tools: Vec<String>,
    /// The time limit in milliseconds of guest time, if it is declared.
    pub timeout_ms: Option<u64>,
    /// Whether it must fail, and what the reason must contain.
    pub expect_fail: Option<String>,
    /// Which check must fail.
    #[serde(default)]
    pub expect_check: Option<String>,
    /// Whether an inconclusive run is good enough.
    #[serde(default)]
    pub allow_inconclusive: bool,
    /// Whether it only runs when asked for, and why.
    pub ignore: Option<String>,
}

impl Spec {
    /// The test's name as libtest has it: `module::name` or `module::name::variant`.
    pub fn name(&self) -> String {
        match self.variant.as_str() {
            "" => self.test.clone(),
            variant => format!("{}::{variant}", self.test),
        }
    }
}

impl Case {
    /// The function's path without the name of the crate, as libtest has it.
    pub(crate) fn test(&self) -> &'static str {
        self.name.split_once("::").map_or(self.name, |(_, path)| path)
    }

    /// One of its tests, with the facts of its scenario: to be asked for on the host.
    pub(crate) fn whole_spec(&self, variant: &Variant) -> Spec {
        let mut spec = self.spec(variant);
        spec.scenario = show::facts(self, &spec);
        spec
    }

    /// One of its tests.
    pub(crate) fn spec(&self, variant: &Variant) -> Spec {
        let texts = |texts: &[&str]| texts.iter().map(ToString::to_string).collect();
        let text = |text: Option<&str>| text.map(str::to_owned);
        Spec {
            test: self.test().to_owned(),
            variant: variant.label.to_owned(),
            package: self.package.to_owned(),
            manifest_dir: self.manifest_dir.to_owned(),
            file: self.file.to_owned(),
            line: self.line,
            topology: text(variant.topology),
            preset: text(variant.preset),
            memory_mib: self.memory_mib,
            mode: text(variant.mode),
            kernel: text(variant.kernel),
            seed: variant.seed,
            scheduler: variant.scheduler.and_then(Scheduler::spec),
            staged: self.staged.iter().filter_map(|scheduler| scheduler.spec()).collect(),
            scenario: None,
            needs: texts(self.needs),
            modules: texts(self.modules),
            tools: texts(self.tools),
            timeout_ms: self.timeout_ms,
            expect_fail: text(self.expect_fail),
            expect_check: text(self.expect_check),
            allow_inconclusive: self.allow_inconclusive,
            ignore: text(self.ignore),
        }
    }
}

/// What a test's function makes, as far as the host has to know before anything starts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScenarioFacts {
    /// How long it is held, in nanoseconds of guest time.
    pub length_ns: u64,
    /// How many steps it has.
    pub steps: u64,
    /// Programs of the host that it runs.
    pub programs: Vec<String>,
    /// What is wrong with it on the test's topology.
    pub problems: Vec<String>,
}

/// Every test of this binary, in the order of their names.
pub(crate) fn specs() -> Vec<Spec> {
    let mut specs: Vec<Spec> = CASES
        .iter()
        .flat_map(|case| case.variants.iter().map(|variant| case.whole_spec(variant)))
        .collect();
    specs.sort_by_key(Spec::name);
    specs
}
