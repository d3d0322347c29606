//! A whole scenario, from its first cgroup to its evidence.

use belljar_scenario::Scenario;
use belljar_verdict::evidence::Evidence;

use crate::{Attached, Event, PlayError, Setting, Stage};

/// Plays a scenario: its backdrop (cgroups with their workers, operations, payloads), then step after
/// step (cgroups with their workers, operations, hold, end), under `scheduler` if one is attached
/// already. What happens is told to `on_event` at once.
///
/// Everything that it started is gone when this returns. A scheduler that ends, or does not attach when
/// an operation wants it to, is no error but evidence; when it does not attach the rest is not played.
///
/// # Errors
/// What cannot be played: a scenario that [`Scenario::check`] has not passed, or a kernel that cannot do
/// what it wants.
pub fn play(
    scenario: &Scenario,
    setting: &Setting<'_>,
    scheduler: Option<Attached>,
    on_event: &mut dyn FnMut(Event),
) -> Result<Evidence, PlayError> {
    let mut stage =
        Stage::new(setting, on_event)?.named(&scenario.name).duration(scenario.duration);
    if let Some(scheduler) = scheduler {
        stage.adopt(scheduler)?;
    }
    match perform(&mut stage, scenario) {
        Err(error) if !error.is_of_scheduler() => Err(error),
        _ => stage.finish(),
    }
}

fn perform(stage: &mut Stage<'_>, scenario: &Scenario) -> Result<(), PlayError> {
    stage.backdrop(&scenario.backdrop.cgroups)?;
    stage.operations(&scenario.backdrop.ops, "backdrop")?;
    scenario.backdrop.payloads.iter().try_for_each(|payload| stage.payload(payload))?;
    scenario.steps.iter().try_for_each(|step| stage.step(step))
}
