//! Five tests on the eight presets of up to 16 CPUs: what a matrix costs in `det`.

use belljar::{Cgroup, Cpuset, Op, Scenario, Step, Topology, Work};
use std::time::Duration;

const HOLD: Duration = Duration::from_secs(1);

macro_rules! on_eight_shapes {
    ($(#[doc = $doc:literal] fn $name:ident($topology:ident) $body:block)*) => { $(
        #[doc = $doc]
        #[belljar::test(mode = "det", memory_mib = 512, presets, max_cpus = 16, max_nodes = 2)]
        fn $name($topology: &Topology) -> Scenario $body
    )* };
}

on_eight_shapes! {
    /// As many workers as CPUs.
    fn full(topology) {
        let cgroup = Cgroup::new("all").workers(topology.cpu_count(), Work::SpinWait);
        Scenario::new().step(Step::new("compute").cgroup(cgroup).hold(HOLD))
    }
    /// Twice as many.
    fn crowded(topology) {
        let cgroup = Cgroup::new("all").workers(2 * topology.cpu_count(), Work::SpinWait);
        Scenario::new().step(Step::new("compute").cgroup(cgroup).hold(HOLD))
    }
    /// Pairs that wake each other.
    fn pairs(topology) {
        let _ = topology;
        let cgroup = Cgroup::new("pairs").workers(4, Work::futex_ping_pong());
        Scenario::new().step(Step::new("wake").cgroup(cgroup).hold(HOLD))
    }
    /// Sleepers that come and go.
    fn bursts(topology) {
        let _ = topology;
        let cgroup = Cgroup::new("bursts").workers(4, Work::bursty());
        Scenario::new().step(Step::new("sleep").cgroup(cgroup).hold(HOLD))
    }
    /// A cpuset that is taken away under running workers.
    fn confined(topology) {
        let _ = topology;
        Scenario::new()
            .backdrop(Cgroup::new("a").cpuset(Cpuset::llc(0)).workers(2, Work::SpinWait))
            .step(Step::new("within").hold(HOLD / 2))
            .step(Step::new("free").op(Op::ClearCpuset { cgroup: "a".into() }).hold(HOLD / 2))
    }
}
