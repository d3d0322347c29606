//! What a sound scheduler does with work that presses on it: nothing that any check would flag.

mod common;

use belljar::scenario::canned;
use belljar::{Cgroup, Cpuset, EEVDF, Limits, Op, Scenario, Step, Topology, Work, Workers};
use common::{calm, confined, equals, no_crowds, no_starvation, prompt_wakeups, victims};
use std::time::Duration;

belljar::scheduler! {
    /// Ours, without faults.
    static HEALTHY = package("scx-belljar");
}

// What `tests/faults.rs` catches faults in.

#[belljar::test(mode = "det", topology = "1n1l2c1t", scheduler = [EEVDF, HEALTHY],
                limits = no_starvation())]
fn nobody_starves() -> Scenario {
    victims(Work::SpinWait)
}

/// In `tcg` the guest's CPUs wait for the host's: a busy host makes gaps that no scheduler of the
/// guest is to blame for, so the limit is wide.
#[belljar::test(mode = "tcg", topology = "1n1l2c1t", scheduler = [EEVDF, HEALTHY],
                limits = Limits::new().max_gap(Duration::from_secs(3)))]
fn nobody_starves_on_a_busy_host() -> Scenario {
    victims(Work::SpinWait)
}

#[belljar::test(mode = "det", topology = "1n1l4c1t", scheduler = [EEVDF, HEALTHY],
                limits = prompt_wakeups())]
fn wakeups_are_prompt() -> Scenario {
    victims(Work::futex_ping_pong())
}

#[belljar::test(mode = ["tcg", "det"], topology = "1n2l2c1t", scheduler = [EEVDF, HEALTHY])]
fn cpusets_hold() -> Scenario {
    confined()
}

#[belljar::test(mode = "det", topology = "1n1l4c1t", scheduler = [EEVDF, HEALTHY],
                limits = no_crowds())]
fn no_cpu_is_left_out() -> Scenario {
    equals(4)
}

#[belljar::test(mode = "det", topology = "1n1l2c1t", scheduler = [EEVDF, HEALTHY],
                limits = Limits::fair())]
fn equals_share_equally() -> Scenario {
    equals(6)
}

#[belljar::test(mode = "det", topology = "1n1l4c1t", scheduler = [EEVDF, HEALTHY], limits = calm())]
fn tasks_stay_where_they_are() -> Scenario {
    equals(4)
}

// And more.

/// Two cgroups on a last-level cache each, and a third that competes with both.
#[belljar::test(topology = "1n2l4c1t", mode = ["tcg", "det"], scheduler = [EEVDF, HEALTHY])]
fn caches_are_shared(topology: &Topology) -> Scenario {
    let apart = |name: &str, llc| {
        let workers = topology.cores_per_llc();
        Cgroup::new(name).cpuset(Cpuset::llc(llc)).workers(workers, Work::SpinWait)
    };
    Scenario::new().step(
        Step::new("compete")
            .cgroup(apart("left", 0))
            .cgroup(apart("right", 1))
            .cgroup(Cgroup::new("sleepy").group(Workers::exactly(4, Work::bursty()).comm("sleepy")))
            .hold(Duration::from_secs(1)),
    )
}

/// Cpusets change under running workers, and they follow.
#[belljar::test(topology = "1n2l2c1t", mode = "det", scheduler = [EEVDF, HEALTHY])]
fn workers_follow_their_cpusets() -> Scenario {
    Scenario::new()
        .duration(Duration::from_secs(1))
        .backdrop(Cgroup::new("a").cpuset(Cpuset::disjoint(0, 2)).workers(2, Work::SpinWait))
        .backdrop(Cgroup::new("b").cpuset(Cpuset::disjoint(1, 2)).workers(2, Work::pipe_io()))
        .step(Step::new("apart").hold_fraction(0.4))
        .step(
            Step::new("swapped")
                .op(Op::SwapCpusets { a: "a".into(), b: "b".into() })
                .hold_fraction(0.4),
        )
        .step(Step::new("free").op(Op::ClearCpuset { cgroup: "a".into() }).hold_fraction(0.2))
}

/// Fifty schedules of the same test: start order, jitter and offsets follow from the seed.
#[belljar::test(topology = "1n1l2c1t", seeds = 50, scheduler = [EEVDF, HEALTHY],
                limits = no_starvation().over(prompt_wakeups()))]
fn fifty_schedules() -> Scenario {
    Scenario::new().duration(Duration::from_millis(400)).step(
        Step::new("mixed")
            .cgroup(Cgroup::new("spin").workers(2, Work::SpinWait))
            .cgroup(Cgroup::new("pairs").workers(2, Work::futex_ping_pong())),
    )
}

/// A canned scenario, as it comes.
#[belljar::test(topology = "1n1l4c1t", mode = ["tcg", "det"], scheduler = [EEVDF, HEALTHY])]
fn oversubscribed() -> Scenario {
    canned::oversubscribed().duration(Duration::from_secs(2))
}
