//! Every kind of work in a guest: each must make progress, and leave the kernel's log clean.

use belljar::{Cgroup, Scenario, Step, Work, Workers};
use std::time::Duration;

/// A step for each kind as it comes, with as few workers as it takes.
#[belljar::test(topology = "2n2l2c2t", mode = ["tcg", "det"], memory_mib = 1024, timeout = "5m")]
fn every_kind_makes_progress() -> Scenario {
    Work::all().into_iter().fold(Scenario::new(), |scenario, work| {
        let size = work.group_size();
        let count = if size.fits(1) { 1 } else { size.together(2) };
        // They multiply large matrices, on emulated CPUs that share the host's.
        let is_long = matches!(work, Work::FanOutCompute { .. } | Work::Schbench { .. });
        let hold = if is_long { 4000 } else { 250 };
        let step = Step::new(work.name()).hold(Duration::from_millis(hold));
        scenario.step(step.cgroup(Cgroup::new("kind").group(Workers::exactly(count, work))))
    })
}
