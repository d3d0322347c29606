//! The scenarios that faults are caught in. The same scenarios, held to the same limits, pass under
//! schedulers that have no fault.

use belljar::{Cgroup, Cpuset, Limits, Scenario, Step, Work, Workers};
use std::time::Duration;

const HOLD: Duration = Duration::from_millis(1500);

/// Four victims, and two others that compute.
pub(crate) fn victims(work: Work) -> Scenario {
    Scenario::new().step(
        Step::new("press")
            .cgroup(Cgroup::new("victims").group(Workers::exactly(4, work).comm("victim")))
            .cgroup(Cgroup::new("others").workers(2, Work::SpinWait))
            .hold(HOLD),
    )
}

/// Four workers on the CPUs of one last-level cache.
pub(crate) fn confined() -> Scenario {
    let victims = Workers::exactly(4, Work::SpinWait).comm("victim");
    let cgroup = Cgroup::new("victims").cpuset(Cpuset::llc(0)).group(victims);
    Scenario::new().step(Step::new("confined").cgroup(cgroup).hold(HOLD))
}

/// Workers with equal claims.
pub(crate) fn equals(count: u32) -> Scenario {
    let victims = Workers::exactly(count, Work::SpinWait).comm("victim");
    Scenario::new()
        .step(Step::new("share").cgroup(Cgroup::new("victims").group(victims)).hold(HOLD))
}

/// Nobody is kept from the CPU for long.
pub(crate) fn no_starvation() -> Limits {
    Limits::new().max_gap(Duration::from_millis(200))
}

/// Whoever is woken runs soon.
pub(crate) fn prompt_wakeups() -> Limits {
    Limits::new().max_p99_wake(Duration::from_millis(50))
}

/// Where there are CPUs enough, nobody waits for one that others use.
pub(crate) fn no_crowds() -> Limits {
    Limits::new().max_gap(Duration::from_millis(10))
}

/// Tasks stay where they are unless there is a reason.
pub(crate) fn calm() -> Limits {
    Limits::new().max_migration_ratio(0.005)
}
