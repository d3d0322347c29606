//! Words that are right alone and wrong together.

#[belljar_macros::test(topology = "1n2l4c1t", timeout = "1s", llcs = 2)]
fn topology_and_a_count() {}

#[belljar_macros::test(presets, topology = "1n2l4c1t")]
fn presets_and_topology() {}

#[belljar_macros::test(cores = 2, presets)]
fn presets_and_a_count() {}

#[belljar_macros::test(seeds = 8, seed = 1)]
fn one_seed_and_several() {}

#[belljar_macros::test(seeds = 8, mode = ["tcg", "det"])]
fn seeds_in_a_mode_that_does_not_repeat() {}

#[belljar_macros::test(min_cpus = 4)]
fn constraint_without_presets() {}

#[belljar_macros::test(presets, max_llcs = 2, min_llcs = 4)]
fn inverted_range() {}

#[belljar_macros::test(presets, min_cpus = 32)]
fn above_the_implied_bound() {}

#[belljar_macros::test(presets, min_llcs = 8)]
fn no_preset_is_left() {}

#[belljar_macros::test(presets = ["8cpu-2llc-smt", "4cpu-2llc-smt"])]
fn unknown_preset() {}

#[belljar_macros::test(presets = ["8cpu-2llc-smt", "4cpu-2llc-nosmt"], requires_smt)]
fn preset_against_a_constraint() {}

#[belljar_macros::test(presets, seeds = 100)]
fn too_many() {}

fn main() {}
