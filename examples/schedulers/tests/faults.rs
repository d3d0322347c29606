//! Every fault that `scx-belljar` can be told to have, caught by the check that is for it.
//!
//! A test here passes when that check fails and says so; `expect_check` names it.

mod common;

use belljar::{Limits, Scenario, Work};
use common::{calm, confined, equals, no_crowds, no_starvation, prompt_wakeups, victims};

belljar::scheduler! {
    static STALL = package("scx-belljar").args(&["--stall", "victim", "--watchdog-ms", "500"]);
    static STARVE = package("scx-belljar")
        .args(&["--starve", "cgroup:victims", "--starve-ms", "600"]);
    static LOSE = package("scx-belljar")
        .args(&["--lose-wakeups", "20", "--lose-ms", "200", "--only", "victim"]);
    static WIDEN = package("scx-belljar").args(&["--ignore-cpuset", "cgroup:victims"]);
    static ONE_CPU = package("scx-belljar").args(&["--one-cpu", "--only", "cgroup:victims"]);
    static UNFAIR = package("scx-belljar").args(&["--unfair", "8", "--only", "victim%2"]);
    static BOUNCE = package("scx-belljar").args(&["--bounce", "--slice-us", "500"]);
    static ERROR = package("scx-belljar").args(&["--error-after", "300"]);
    static CRASH = package("scx-belljar").args(&["--crash-loader-after", "300"]);
    static KILLED = package("scx-belljar")
        .args(&["--crash-loader-after", "300", "--crash-by", "kill"]);
    static LEAVES = package("scx-belljar").args(&["--exit-after", "300"]);
}

#[belljar::test(mode = "det", topology = "1n1l2c1t", scheduler = STALL,
                expect_check = "scheduler-lives", expect_fail = "failed to run")]
fn a_stall_is_told_by_the_kernel() -> Scenario {
    victims(Work::SpinWait)
}

#[belljar::test(mode = "det", topology = "1n1l2c1t", scheduler = STARVE,
                limits = no_starvation(), expect_check = "gap")]
fn starvation_is_a_gap() -> Scenario {
    victims(Work::SpinWait)
}

#[belljar::test(mode = "det", topology = "1n1l4c1t", scheduler = LOSE,
                limits = prompt_wakeups(), expect_check = "p99-wake")]
fn lost_wakeups_are_a_tail() -> Scenario {
    victims(Work::futex_ping_pong())
}

#[belljar::test(mode = "det", topology = "1n2l2c1t", scheduler = WIDEN, expect_check = "isolation")]
fn workers_outside_their_cpuset_are_seen() -> Scenario {
    confined()
}

#[belljar::test(mode = "det", topology = "1n1l4c1t", scheduler = ONE_CPU,
                limits = no_crowds(), expect_check = "gap")]
fn idle_cpus_beside_a_crowd_are_gaps() -> Scenario {
    equals(4)
}

#[belljar::test(mode = "det", topology = "1n1l2c1t", scheduler = UNFAIR,
                limits = Limits::fair(), expect_check = "spread")]
fn unequal_shares_are_a_spread() -> Scenario {
    equals(6)
}

#[belljar::test(mode = "det", topology = "1n1l4c1t", scheduler = BOUNCE,
                limits = calm(), expect_check = "migration-ratio")]
fn needless_migrations_are_counted() -> Scenario {
    equals(4)
}

#[belljar::test(mode = ["tcg", "det"], topology = "1n1l2c1t", scheduler = ERROR,
                expect_check = "scheduler-lives")]
fn an_error_comes_with_the_kernels_reason() -> Scenario {
    victims(Work::SpinWait)
}

#[belljar::test(mode = "det", topology = "1n1l2c1t", scheduler = CRASH,
                expect_check = "scheduler-lives")]
fn a_crash_of_the_loader_is_noticed() -> Scenario {
    victims(Work::SpinWait)
}

#[belljar::test(mode = "det", topology = "1n1l2c1t", scheduler = KILLED,
                expect_check = "scheduler-lives")]
fn a_killed_loader_is_noticed() -> Scenario {
    victims(Work::SpinWait)
}

#[belljar::test(mode = "det", topology = "1n1l2c1t", scheduler = LEAVES,
                expect_check = "scheduler-lives")]
fn a_scheduler_that_leaves_is_noticed() -> Scenario {
    victims(Work::SpinWait)
}
