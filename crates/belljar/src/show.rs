//! What a test would do, without doing it: its scenario on its topology, and what it is held to.

use crate::case::{CASES, Case, ScenarioFacts, Spec, Variant};
use crate::config::Config;
use crate::host::topology_of;
use belljar_record::Reason;
use belljar_scenario::{Scenario, Schedulers};
use belljar_topology::Topology;
use belljar_verdict::{Judge, Mode};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::panic::{self, AssertUnwindSafe};
use std::path::Path;

/// A test as `cargo belljar show` shows it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Shown {
    /// The test.
    pub spec: Spec,
    /// The topology that its scenario is resolved against, in notation.
    pub topology: String,
    /// Its scenario as data.
    pub scenario: Option<Scenario>,
    /// Its scenario for people, with CPUs resolved.
    pub rendered: String,
    /// What it is held to, for people, with where each limit comes from.
    pub limits: String,
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Shown { spec, topology, rendered, limits, .. } = self;
        writeln!(f, "{} in {}, {}:{}", spec.name(), spec.package, spec.file, spec.line)?;
        writeln!(f, "machine: {topology}")?;
        for (name, value) in [("mode", &spec.mode), ("kernel", &spec.kernel)] {
            writeln!(f, "{name}: {}", value.as_deref().unwrap_or("the workspace's"))?;
        }
        match &spec.scheduler {
            Some(scheduler) => writeln!(f, "scheduler: {} ({})", scheduler.name, scheduler.source)?,
            None => writeln!(f, "scheduler: the kernel's own")?,
        }
        if rendered.is_empty() {
            return writeln!(f, "a body of its own: what it does is known when it runs");
        }
        for problem in spec.scenario.iter().flat_map(|facts| &facts.problems) {
            writeln!(f, "\nPROBLEM: {problem}")?;
        }
        write!(f, "\n{rendered}\n\nheld to:\n{limits}")
    }
}

/// What the host has to know of a test's scenario.
pub(crate) fn facts(case: &Case, spec: &Spec) -> Option<ScenarioFacts> {
    let make = case.scenario?;
    let made = topology(spec).and_then(|topology| Ok((scenario(make, &topology)?, topology)));
    let (scenario, topology) = match made {
        Ok(made) => made,
        Err(problem) => {
            return Some(ScenarioFacts { problems: vec![problem], ..ScenarioFacts::default() });
        }
    };
    let names: Vec<&str> = spec.staged.iter().map(|staged| staged.name.as_str()).collect();
    let attached = spec.scheduler.as_ref().map(|scheduler| scheduler.name.as_str());
    let schedulers = Schedulers { attached, staged: &names };
    let problems = match scenario.check(&topology, schedulers) {
        Ok(_) => Vec::new(),
        Err(problems) => problems.iter().map(ToString::to_string).collect(),
    };
    Some(ScenarioFacts {
        length_ns: u64::try_from(scenario.length().as_nanos()).unwrap_or(u64::MAX),
        steps: scenario.steps.len() as u64,
        programs: scenario.programs().into_iter().map(str::to_owned).collect(),
        problems,
    })
}

/// The test of this name, shown.
pub(crate) fn show(name: &str) -> Result<Shown, String> {
    let of = |case: &'static Case| case.variants.iter().map(move |variant| (case, variant));
    let named = |(case, variant): &(&Case, &Variant)| case.spec(variant).name() == name;
    let (case, variant) = CASES
        .iter()
        .flat_map(of)
        .find(named)
        .ok_or_else(|| format!("this binary has no test `{name}`"))?;
    let spec = case.whole_spec(variant);
    let topology = topology(&spec)?;
    let scenario = case.scenario.map(|make| scenario(make, &topology)).transpose()?;
    let (rendered, limits) = match &scenario {
        Some(scenario) => (scenario.render(&topology), limits(case, variant, scenario, &topology)),
        None => (String::new(), String::new()),
    };
    Ok(Shown { spec, topology: topology.to_string(), scenario, rendered, limits })
}

/// What a test is held to, for people: each limit and where it comes from.
fn limits(case: &Case, variant: &Variant, scenario: &Scenario, topology: &Topology) -> String {
    let mut judge = Judge::new(Mode::Tcg, topology);
    if let Some(scheduler) = variant.scheduler {
        judge = judge.scheduler(scheduler.name(), &scheduler.held_to());
    }
    judge = judge.test(&(case.limits)());
    for (index, step) in (0..).zip(&scenario.steps) {
        judge = judge.step(index, &step.name, &step.limits);
    }
    judge.show()
}

fn topology(spec: &Spec) -> Result<Topology, String> {
    let config = Config::of_package(Path::new(&spec.manifest_dir))
        .map_err(|error| belljar_vm::chain(&error))?;
    topology_of(spec, &config).map_err(|reason: Reason| reason.to_string())
}

/// Calls a test's function for its scenario.
fn scenario(make: fn(&Topology) -> Scenario, topology: &Topology) -> Result<Scenario, String> {
    let made = panic::catch_unwind(AssertUnwindSafe(|| make(topology)));
    made.map_err(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("it panicked");
        format!("the test's function makes no scenario for {topology}: {text}")
    })
}
