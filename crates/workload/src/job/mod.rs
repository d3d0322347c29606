//! What workers do: one module for each family of kinds of work.

mod futex;
mod pipe;
mod spin;

use belljar_scenario::Work;

use crate::hand::{Brief, Hand, Outcome, Refusal};

/// A kind of work with its parameters, and with what all its workers have in common.
///
/// It is made before the workers are forked, so that they inherit what it holds.
pub(crate) trait Job: Sync {
    /// Does the work of one worker, until [`Hand::goes_on`] says no, or [`Hand::is_told_to_stop`].
    fn work(&self, hand: &mut Hand<'_>) -> Outcome;

    /// Takes away what [`prepare`] or the workers have left in the system. They are dead by now.
    fn clean(&self) {}
}

/// Makes what all workers have in common.
pub(crate) fn prepare(brief: &Brief) -> Result<Box<dyn Job>, Refusal> {
    Ok(match &brief.workers.work {
        Work::SpinWait => Box::new(spin::SpinWait),
        Work::PipeIo { burst } => Box::new(pipe::PipeIo::new(brief, *burst)?),
        Work::FutexPingPong { spin } => Box::new(futex::PingPong { spin: *spin }),
        other => return Err(Refusal(format!("`{}` is not there yet", other.name()))),
    })
}

/// How many numbers the workers of a kind share.
pub(crate) fn pool(_work: &Work, _count: u32) -> usize {
    0
}

/// Whether workers change affinities themselves, so that they cannot be judged by them.
pub(crate) fn changes_affinity(work: &Work) -> bool {
    matches!(
        work,
        Work::AffinityChurn { .. }
            | Work::CrossAffinityChurn { .. }
            | Work::NumaMigrationChurn { .. }
            | Work::SmtSiblingSpin
    )
}
