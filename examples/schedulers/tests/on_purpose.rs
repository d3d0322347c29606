//! A test that fails, to show what a failure looks like: `cargo belljar test -p schedulers
//! --test on_purpose --run-ignored all`. `cargo xtask demo` runs it, and replays it.

use belljar::{Cgroup, Limits, Scenario, Step, Work, Workers};
use std::time::Duration;

belljar::scheduler! {
    /// Lets the tasks of one cgroup wait before each turn.
    static STARVES = package("scx-belljar").args(&["--starve", "cgroup:web", "--starve-ms", "400"]);
}

#[belljar::test(mode = "det", topology = "1n2l2c1t", scheduler = STARVES,
                limits = Limits::new().max_gap(Duration::from_millis(200)),
                ignore = "fails on purpose")]
fn everybody_is_served() -> Scenario {
    Scenario::new().step(
        Step::new("rush hour")
            .cgroup(Cgroup::new("web").group(Workers::exactly(3, Work::SpinWait).comm("web")))
            .cgroup(Cgroup::new("batch").workers(4, Work::SpinWait))
            .hold(Duration::from_secs(1)),
    )
}
