//! Values of the wrong type, or that nothing can be done with.

#[belljar_macros::test(topology = "1n2l4t")]
fn notation() {}

#[belljar_macros::test(topology = 4)]
fn not_a_string() {}

#[belljar_macros::test(nodes = 2, llcs = 3)]
fn llcs_do_not_divide() {}

#[belljar_macros::test(memory_mib = 128)]
fn too_little_memory() {}

#[belljar_macros::test(memory_mib = "512")]
fn not_a_number() {}

#[belljar_macros::test(mode = ["tcg", "dett"])]
fn unknown_mode() {}

#[belljar_macros::test(mode = "tcg" | "det")]
fn alternatives_are_a_list() {}

#[belljar_macros::test(kernel = ["debian:sid", "debian:sid"])]
fn listed_twice() {}

#[belljar_macros::test(needs = [])]
fn nothing_in_the_list() {}

#[belljar_macros::test(tools = ["ip ss"])]
fn two_words_in_one() {}

#[belljar_macros::test(timeout = "10")]
fn time_without_a_unit() {}

#[belljar_macros::test(timeout = "2h")]
fn too_long() {}

#[belljar_macros::test(seed = -1)]
fn seeds_are_not_negative() {}

#[belljar_macros::test(seeds = 8..0)]
fn seeds_run_forwards() {}

#[belljar_macros::test(expect_fail = "")]
fn no_reason() {}

#[belljar_macros::test(ignore = true)]
fn a_reason_is_a_string() {}

#[belljar_macros::test(kernel = ["tree:a-b", "tree:a.b"])]
fn names_alike() {}

fn main() {}
