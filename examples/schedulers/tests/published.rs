//! Schedulers of the scx project, as they were released: built on demand, once, and kept in the
//! cache. The first build takes some minutes each, so these run only when asked for:
//! `cargo belljar test -p schedulers --test published --run-ignored all`.

use belljar::scenario::canned;
use belljar::{Cgroup, Scenario, Step, Work};
use std::time::Duration;

belljar::scheduler! {
    static BPFLAND = release("scx_bpfland", "1.1.4");
    static RUSTY = release("scx_rusty", "1.1.4");
    static COSMOS = release("scx_cosmos", "1.1.4");
}

/// Steady load on every CPU, and pairs that wake one another.
#[belljar::test(topology = "1n2l2c1t", mode = ["tcg", "det"], scheduler = [BPFLAND, RUSTY, COSMOS],
                memory_mib = 768, timeout = "2m", ignore = "the first build takes minutes")]
fn steady_and_pairs() -> Scenario {
    Scenario::new().step(
        Step::new("mixed")
            .cgroup(Cgroup::new("spin").workers(4, Work::SpinWait))
            .cgroup(Cgroup::new("pairs").workers(2, Work::pipe_io()))
            .hold(Duration::from_secs(1)),
    )
}

/// Cgroups that come and go.
#[belljar::test(topology = "1n1l4c1t", mode = ["tcg", "det"], scheduler = [BPFLAND, RUSTY, COSMOS],
                memory_mib = 768, timeout = "2m", ignore = "the first build takes minutes")]
fn cgroups_come_and_go() -> Scenario {
    canned::cgroup_add().duration(Duration::from_secs(1))
}
