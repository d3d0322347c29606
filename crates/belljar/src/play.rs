//! Scenarios, played: the guest's part of a test that makes one.

use crate::case::Case;
use crate::ctx::Ctx;
use crate::error::{Ended, Error, Result};
use crate::message::{Event, Played};
use crate::scheduler::{Scheduler, SchedulerSpec};
use belljar_scenario::Scenario;
use belljar_stage::{Attached, Setting};
use belljar_verdict::Limits;
use belljar_verdict::evidence::Evidence;
use std::fs;
use std::time::Duration;

/// The file in the guest that names the scheduler to attach before the template is taken.
pub(crate) const ATTACH: &str = "/.belljar/attach";

/// How long a scheduler may take to attach, in guest time: verifying a large one takes seconds when
/// the CPU is emulated.
const ATTACH_LIMIT: Duration = Duration::from_secs(60);

/// The rounds of turns in `det` while all work is of a kind that gives its turns up: the short ones
/// that anything else needs cost several times the host time.
const LONG_ROUND: Duration = Duration::from_millis(4);

impl Ctx {
    /// Plays a scenario and returns what it showed. The host holds it against the test's limits when
    /// the run has ended, and puts both into the record.
    ///
    /// ```
    /// use belljar::{Cgroup, Ctx, Result, Scenario, Step, Work};
    ///
    /// #[belljar::test(topology = "1n1l2c1t")]
    /// fn both_are_served(ctx: &Ctx) -> Result {
    ///     let step = Step::new("two").cgroup(Cgroup::new("a").workers(2, Work::SpinWait));
    ///     let evidence = ctx.play(&Scenario::new().step(step))?;
    ///     assert_eq!(evidence.workers.len(), 2);
    ///     Ok(())
    /// }
    /// # fn main() {}
    /// ```
    ///
    /// # Errors
    /// When the scenario makes no sense on this machine, or the kernel refuses something that it
    /// asks for.
    #[track_caller]
    pub fn play(&self, scenario: &Scenario) -> Result<Evidence> {
        let topology = self.declared();
        let case = self.case();
        let schedulers: Vec<belljar_stage::SchedulerSpec> = self
            .scheduler()
            .into_iter()
            .chain(case.staged.iter().copied())
            .filter_map(program)
            .collect();
        let setting = Setting {
            schedulers: &schedulers,
            scratch: self.scratch(),
            attach_limit: ATTACH_LIMIT,
            takes_turns: self.mode() == "det",
            ..Setting::new(&topology, self.seed())
        };
        let attached = self.attached().take();
        if scenario.is_own_work() {
            self.set_round_at_least(LONG_ROUND);
        }
        let played = belljar_stage::play(scenario, &setting, attached, &mut |_| ());
        self.set_round_at_least(Duration::ZERO);
        let evidence = played.map_err(Error::from)?;
        let of_step = |step: &belljar_scenario::Step| (step.name.clone(), step.limits.clone());
        let of_steps = scenario.steps.iter().map(of_step).collect();
        self.say_played(evidence.clone(), of_steps);
        Ok(evidence)
    }

    /// Sees to it that the scheduler under test is attached, if there is one: since before the
    /// template was taken, or now.
    ///
    /// # Errors
    /// How the test ends when it cannot be.
    pub(crate) fn have_scheduler(
        &self,
        ready: Option<(&'static str, Attached)>,
    ) -> std::result::Result<(), Ended> {
        let Some(scheduler) = self.scheduler() else {
            if let Some((_, attached)) = ready {
                let _ = attached.detach();
            }
            return Ok(());
        };
        let attached = match ready {
            Some((id, attached)) if id == scheduler.id() => Ok(attached),
            _ => {
                // It is waited for, not measured.
                self.set_round_at_least(LONG_ROUND);
                let attached = attach(scheduler);
                self.set_round_at_least(Duration::ZERO);
                attached
            }
        };
        match attached {
            Ok(attached) => {
                *self.attached() = Some(attached);
                Ok(())
            }
            Err(report) => {
                let evidence = Evidence { schedulers: vec![*report], ..Evidence::default() };
                self.say_played(evidence, Vec::new());
                Err(Ended::Passed)
            }
        }
    }

    /// Asks the scheduler under test to go, where no scenario has done so.
    pub(crate) fn leave_scheduler(&self) {
        if let Some(attached) = self.attached().take() {
            let evidence = Evidence { schedulers: vec![attached.detach()], ..Evidence::default() };
            self.say_played(evidence, Vec::new());
        }
    }

    pub(crate) fn say_played(&self, evidence: Evidence, of_steps: Vec<(String, Limits)>) {
        let of_scheduler = self.scheduler().map(Scheduler::held_to).unwrap_or_default();
        let of_test = (self.case().limits)();
        let played = Played { evidence, of_scheduler, of_test, of_steps };
        self.say(&Event::Played(Box::new(played)));
    }
}

/// The body of a test whose function makes a scenario.
pub fn play_declared(ctx: &Ctx) -> Ended {
    let case = ctx.case();
    let make = case.scenario.expect("the attribute gives this body to cases with a scenario");
    let mut scenario = make(&ctx.declared());
    if scenario.name.is_empty() {
        case.test().clone_into(&mut scenario.name);
    }
    if let Some(steps) = ctx.steps() {
        scenario = scenario.prefix(steps);
    }
    crate::error::IntoEnded::into_ended(ctx.play(&scenario))
}

/// The scheduler of a case that has this id.
pub(crate) fn scheduler_of(case: &'static Case, id: &str) -> Option<&'static Scheduler> {
    let mut variants = case.variants.iter().filter_map(|variant| variant.scheduler);
    variants.find(|scheduler| scheduler.id() == id)
}

fn program(scheduler: &'static Scheduler) -> Option<belljar_stage::SchedulerSpec> {
    let spec: SchedulerSpec = scheduler.spec()?;
    Some(belljar_stage::SchedulerSpec { command: spec.command(), name: spec.name })
}

/// Attaches the scheduler that the payload names, before the template is taken of this process. One
/// that does not attach is left to the run, where it is tried again and what it says is heard.
pub(crate) fn attach_for_template(cases: &'static [Case]) -> Option<(&'static str, Attached)> {
    let id = fs::read_to_string(ATTACH).ok()?;
    let scheduler = cases.iter().find_map(|case| scheduler_of(case, id.trim()))?;
    let attached = attach(scheduler).ok()?;
    Some((scheduler.id(), attached))
}

/// Attaches a scheduler now.
pub(crate) fn attach(
    scheduler: &'static Scheduler,
) -> std::result::Result<Attached, Box<belljar_verdict::evidence::SchedulerReport>> {
    let spec = program(scheduler).expect("only schedulers with a program are attached");
    belljar_stage::attach(&spec, ATTACH_LIMIT)
}
