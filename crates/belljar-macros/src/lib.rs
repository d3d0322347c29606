//! The attribute [`#[belljar::test]`](macro@test): a function that runs on a real kernel, as
//! ordinary `#[test]`s that cargo, nextest and editors know how to run.
//!
//! Test authors get it through the crate `belljar`; its page below is the reference of its keys.
//!
//! # Map
//!
//! | module | holds |
//! | --- | --- |
//! | `attribute` | the keys, each value checked alone |
//! | `check` | contradictions between keys; presets chosen; the axes a test varies in |
//! | `variant` | the axes multiplied out, and the names of the tests |
//! | `function` | the shape of the function, and its other attributes |
//! | `expand` | the tokens that come out |
//! | `mistake` | errors, all told at once |
//!
//! # What this crate must never depend on
//!
//! It runs inside the compiler of everyone who writes a test: it knows `belljar-topology`, which is
//! pure, and nothing else of the workspace. It does not look at the machine, the environment or
//! any file, so what it generates depends on the source alone. What the tests do is decided in
//! `belljar::__private`, which the generated code names.
#![forbid(unsafe_code)]

mod attribute;
mod check;
mod expand;
mod function;
mod mistake;
mod variant;

use proc_macro::TokenStream;

/// Makes a function a test that runs in a virtual machine, on the kernel and topology it declares.
///
/// ```
/// # use belljar_macros as macros;
/// # mod belljar { pub use crate::macros::test; pub struct Ctx; pub type Result<T> = std::result::Result<T, ()>; }
/// use belljar::{Ctx, Result};
///
/// #[belljar::test(llcs = 2, cores = 2, timeout = "10s")]
/// fn every_cpu_is_online(ctx: &Ctx) -> Result<()> {
///     // ...
///     Ok(())
/// }
///
/// /// Eight tests: `seeds::of_one_bug::seed_0` to `seed_7`, each repeatable.
/// #[belljar::test(seeds = 8, topology = "1n2l2c1t", needs = ["sched_ext"])]
/// fn of_one_bug(ctx: &Ctx) {}
///
/// /// One test for each preset with several LLCs and up to 16 CPUs, in each of two modes.
/// #[belljar::test(presets, min_llcs = 2, mode = ["tcg", "det"])]
/// fn everywhere() {}
/// # fn main() {}
/// ```
///
/// The function takes `&Ctx` or nothing, and returns `()` or a `Result`. Or it takes `&Topology` or
/// nothing and returns a `Scenario`: then it is called on the host, too, to check and show what it
/// makes, and belljar plays the scenario in the guest. It is free of generics,
/// `async`, `const`, `unsafe` and `extern`. Its `#[cfg]`, lint and documentation attributes keep
/// their meaning, and so does `#[ignore]`. In place of `#[should_panic]` there is `expect_fail`.
///
/// # Keys
///
/// Separated by commas, in any order, each at most once. A key that takes a list also takes a single
/// string. What is not given is left to the workspace's `belljar.toml`, unless the table says
/// otherwise. Every mistake is a compile error at the word.
///
/// | the machine | meaning | if not given |
/// | --- | --- | --- |
/// | `topology = "1n2l4c1t"` | 1 node, 2 LLCs in the whole machine, 4 cores per LLC, 1 thread per core | the workspace's |
/// | `nodes = 2` | NUMA nodes; excludes `topology`, as do the next three | 1 if any of the four is given |
/// | `llcs = 2` | LLCs of the whole machine, a multiple of `nodes` | one per node, likewise |
/// | `cores = 4` | cores per LLC | 2, likewise |
/// | `threads = 2` | threads per core | 1, likewise |
/// | `presets` | a test for each named machine that the constraints accept; excludes the five above | none |
/// | `presets = ["4cpu-2llc-nosmt"]` | a test for each of these; one that the constraints refuse is an error | |
/// | `min_cpus = 4`, `max_cpus = 32` | constraint on CPUs, only with `presets` like all of them | 1, 16 with bare `presets` |
/// | `min_llcs = 2`, `max_llcs = 4` | constraint on LLCs of the machine | 1, any |
/// | `min_nodes = 2`, `max_nodes = 4` | constraint on NUMA nodes | 1, 1 with bare `presets` |
/// | `requires_smt`, `requires_smt = false` | constraint: cores have several threads, or one | either |
/// | `memory_mib = 512` | memory of the machine, at least 192 | the workspace's |
///
/// | the engine | meaning | if not given |
/// | --- | --- | --- |
/// | `mode = "tcg"`, `mode = ["tcg", "det"]` | `kvm`, `tcg`, `det` or `auto`; a test for each | the workspace's |
/// | `kernel = "debian:sid"`, or a list | the kernel; a test for each | the workspace's |
/// | `needs = ["sched_ext", "config:CONFIG_PSI"]` | what the kernel must be able to do | nothing |
/// | `modules = ["tcp_diag"]` | kernel modules to load first | none |
/// | `tools = ["ip", "ss"]` | programs of the host to take along | none |
/// | `scheduler = MINE`, `scheduler = [EEVDF, MINE]` | what schedules, declared with `belljar::scheduler!`; a test for each | the kernel's own |
/// | `staged = [OTHER]` | schedulers that operations of the scenario attach | none |
/// | `seed = 7` | the seed of the `Ctx` and its random numbers, 64 bits | belljar chooses |
/// | `seeds = 8`, `seeds = 8..16` | a test for each seed from 0, or in the range; up to 500; means `mode = "det"` | |
///
/// | the verdict | meaning | if not given |
/// | --- | --- | --- |
/// | `timeout = "10s"` | how long the body may take, in `ms`, `s`, `m` or `h`, up to 1 h | the workspace's |
/// | `limits = Limits::fair()` | what scenarios are held to, over the scheduler's limits | `Limits::default()` |
/// | `expect_fail` | the test passes if it fails | it must pass |
/// | `expect_fail = "lost wakeup"` | only if the reason contains this | |
/// | `expect_check = "isolation"` | the test passes if this check fails, and no other | |
/// | `allow_inconclusive` | an inconclusive run does not fail the test | it does |
/// | `ignore`, `ignore = "takes an hour"` | runs only when asked for, as with `#[ignore]` | runs |
///
/// | for belljar itself | meaning | if not given |
/// | --- | --- | --- |
/// | `crate = crate` | where the crate `belljar` is found | `::belljar` |
///
/// # What it becomes
///
/// With one value for everything, `fn name` becomes the test `name`. Several values make a module
/// `name` with a test for each combination, at most 500, called after the values that vary, in this
/// order: `on_4cpu_2llc_nosmt`, `det`, `kernel_debian_sid`, `mine`, `seed_3`, joined by `_`. So
/// `cargo test name::` runs all of them, and
/// `cargo test name::on_4cpu_2llc_nosmt_det` those.
///
/// # Limitations
///
/// A function with several variants is called through `super::`, so it must be in a module, not
/// in the body of another function. The function cannot be called by its name from other code.
#[proc_macro_attribute]
pub fn test(attribute: TokenStream, item: TokenStream) -> TokenStream {
    expand::expand(attribute.into(), item.into()).into()
}
