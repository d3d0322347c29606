//! Who holds evidence against limits.

use std::fmt::Write as _;

use belljar_topology::Topology;

use crate::evidence::Evidence;
use crate::scene::{Scene, Scope};
use crate::{Limits, Resolved, Sourced, StepName, Verdict, checks};

/// How the machine was run, as far as it decides what figures mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// With hardware virtualisation.
    Kvm,
    /// Emulated, each CPU on a thread of the host.
    Tcg,
    /// Emulated on a clock that counts instructions. The CPUs take turns, so what several of them get done
    /// together in a second of guest time means nothing.
    Det,
}

/// What a run is held to, and in what machine it took place.
///
/// ```
/// use belljar_topology::{CpuId, Topology};
/// use belljar_verdict::evidence::{Evidence, Gap, WorkerReport};
/// use belljar_verdict::{Judge, Limits, Mode, Outcome};
///
/// let topology: Topology = "1n1l2c1t".parse()?;
/// let starved = WorkerReport {
///     cgroup: "a".into(),
///     work: "SpinWait".into(),
///     ended_ns: 5_000_000_000,
///     units: 8192,
///     cpu_ns: 1_900_000_000,
///     run_delay_ns: 3_100_000_000,
///     gap: Gap { wall_ns: 2_310_200_000, cpu_ns: 200_000, run_delay_ns: 2_310_000_000,
///         at_ns: 4_000_000_000, cpu: CpuId(1), step: None },
///     ..WorkerReport::default()
/// };
/// let evidence = Evidence { workers: vec![starved], ..Evidence::default() };
///
/// let verdict = Judge::new(Mode::Tcg, &topology).test(&Limits::fair()).judge(&evidence);
/// assert_eq!(verdict.outcome(), Outcome::Fail);
/// assert!(verdict.explain().starts_with(
/// "FAIL gap: worker a/0.0 (SpinWait): no checkpoint for 2.31 s; limit 2 s (test)
///   on CPU 1, 4 s after the start
///   - it was runnable for 2.31 s of it and ran 200 us
/// "));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Judge {
    mode: Mode,
    topology: Topology,
    limits: Resolved,
    steps: Vec<(StepName, Limits)>,
}

impl Judge {
    /// With the default limits alone, in a machine of this mode and topology.
    #[must_use]
    pub fn new(mode: Mode, topology: &Topology) -> Self {
        let (topology, limits) = (topology.clone(), Resolved::new());
        Self { mode, topology, limits, steps: Vec::new() }
    }

    /// Lays a scheduler's limits over what was there. Schedulers come before the test.
    #[must_use]
    pub fn scheduler(mut self, name: &str, limits: &Limits) -> Self {
        self.limits = self.limits.scheduler(name, limits);
        self
    }

    /// Lays the test's limits over what was there.
    #[must_use]
    pub fn test(mut self, limits: &Limits) -> Self {
        self.limits = self.limits.test(limits);
        self
    }

    /// Gives a step limits of its own. They hold for what happened in that step; there the test's limits
    /// of the same name do not.
    #[must_use]
    pub fn step(mut self, index: u32, name: &str, limits: &Limits) -> Self {
        if *limits != Limits::default() {
            self.steps.push((StepName { index, name: name.to_owned() }, limits.clone()));
        }
        self
    }

    /// What holds outside of steps that say otherwise.
    pub fn limits(&self) -> &Resolved {
        &self.limits
    }

    /// A table of all limits with their origins, and for each step that has some of its own those.
    pub fn show(&self) -> String {
        let mut out = self.limits.show();
        for (step, limits) in &self.steps {
            let _ = writeln!(out, "in {step}:");
            for line in self.limits.clone().step(&step.name, limits).show_of_step().lines() {
                let _ = writeln!(out, "  {line}");
            }
        }
        out
    }

    /// Holds evidence against the limits.
    ///
    /// A check with nothing to measure is open where the test or a step sets its limit, and skipped where
    /// the limit is a default or a scheduler's, which are meant for tests of all kinds.
    pub fn judge(&self, evidence: &Evidence) -> Verdict {
        let scene = Scene { evidence, mode: self.mode, topology: &self.topology };
        let limits = &self.limits;
        let mut findings = checks::setup::all(&scene);
        macro_rules! held {
            ($($limit:ident => $check:path;)*) => {$(
                for (scope, limit) in self.scopes(|step| step.$limit, limits.$limit.as_ref()) {
                    findings.extend($check(&scene, &scope, &limit));
                }
            )*};
        }
        held! {
            scheduler_lives => checks::scheduler::lives;
            clean_log => checks::log::clean;
            progress => checks::progress::progress;
            isolation => checks::isolation::isolation;
            max_gap_ms => checks::gap::gap;
            max_spread_pct => checks::fairness::spread;
            max_throughput_cv => checks::fairness::throughput_cv;
            min_work_rate => checks::rate::work_rate;
            min_iteration_rate => checks::rate::iteration_rate;
            max_p99_wake_ns => checks::wake::p99;
            max_wake_cv => checks::wake::cv;
            max_migration_ratio => checks::migration::ratio;
            max_cross_node_ratio => checks::migration::cross_node;
            min_page_locality => checks::locality::locality;
        }
        findings.into_iter().collect()
    }

    /// Where a limit holds: in the steps that set it with their own value, in all the rest with the run's.
    fn scopes<T: Copy>(
        &self,
        of_step: impl Fn(&Limits) -> Option<T>,
        of_run: Option<&Sourced<T>>,
    ) -> Vec<(Scope, Sourced<T>)> {
        let own = |(step, limits): &(StepName, Limits)| {
            let value = of_step(limits)?;
            let origin = crate::Origin::Step(step.name.clone());
            Some((Scope::Step(step.clone()), Sourced { value, origin }))
        };
        let steps: Vec<_> = self.steps.iter().filter_map(own).collect();
        let except = steps.iter().filter_map(|(scope, _)| scope.step()).collect();
        let run = of_run.map(|limit| (Scope::Run { except }, limit.clone()));
        run.into_iter().chain(steps).collect()
    }
}
