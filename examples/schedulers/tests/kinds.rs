//! Every kind of work in a guest: each must make progress, and leave the kernel's log clean.

use belljar::scenario::SchbenchParameters;
use belljar::{Cgroup, Scenario, Step, Work, Workers};
use std::time::Duration;

/// A step for each kind, with as few workers as it takes.
#[belljar::test(topology = "2n2l2c2t", mode = ["tcg", "det"], memory_mib = 1024, timeout = "5m")]
fn every_kind_makes_progress() -> Scenario {
    Work::all().into_iter().map(small).fold(Scenario::new(), |scenario, work| {
        let size = work.group_size();
        let count = if size.fits(1) { 1 } else { size.together(2) };
        let step = Step::new(work.name()).hold(Duration::from_millis(250));
        scenario.step(step.cgroup(Cgroup::new("kind").group(Workers::exactly(count, work))))
    })
}

/// The same with matrices that an emulated CPU multiplies in time, even with unoptimised code: one
/// unit of these kinds takes seconds of `det`'s guest time otherwise.
fn small(work: Work) -> Work {
    const MATRICES: u64 = 16 << 10;
    match work {
        Work::FanOutCompute { workers, sleep, .. } => {
            Work::FanOutCompute { workers, bytes: MATRICES, operations: 1, sleep }
        }
        Work::Schbench { parameters } => Work::Schbench {
            parameters: SchbenchParameters { cache_bytes: MATRICES, operations: 1, ..parameters },
        },
        work => work,
    }
}
