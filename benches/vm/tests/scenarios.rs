//! What the benchmark of scenarios plays.

use belljar::{Cgroup, Scenario, Step, Work, Workers};
use std::time::Duration;

belljar::scheduler! {
    static HEALTHY = package("scx-belljar");
}

/// Four cgroups of four workers each.
#[belljar::test(mode = "tcg", topology = "1n2l4c1t", memory_mib = 512)]
fn four_by_four() -> Scenario {
    let step = Step::new("all").hold(Duration::from_millis(500));
    let cgroups = ["a", "b", "c", "d"];
    Scenario::new().step(
        cgroups
            .iter()
            .fold(step, |step, name| step.cgroup(Cgroup::new(name).workers(4, Work::SpinWait))),
    )
}

/// Five guest seconds in which all of four CPUs are busy.
#[belljar::test(mode = "det", topology = "1n1l4c1t", memory_mib = 512)]
fn five_busy_seconds() -> Scenario {
    busy(4, Duration::from_secs(5))
}

/// Next to nothing, with a scheduler under test.
#[belljar::test(mode = "tcg", topology = "1n1l4c1t", memory_mib = 512, scheduler = HEALTHY)]
fn attached() {}

fn busy(workers: u32, hold: Duration) -> Scenario {
    let cgroup = Cgroup::new("busy").group(Workers::exactly(workers, Work::SpinWait));
    Scenario::new().step(Step::new("compute").cgroup(cgroup).hold(hold))
}
