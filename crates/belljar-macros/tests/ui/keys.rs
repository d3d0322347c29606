//! Words that are not keys, or are not written as keys are.

#[belljar_macros::test(time_out = "10s")]
fn unknown_with_a_near_one() {}

#[belljar_macros::test(scheduler = "scx_simple")]
fn unknown() {}

#[belljar_macros::test(llcs = 2, memory_mib = 512, llcs = 4)]
fn twice() {}

#[belljar_macros::test("1n2l4c1t")]
fn no_key() {}

#[belljar_macros::test(presets("4cpu-2llc-nosmt"))]
fn parentheses() {}

#[belljar_macros::test(cores)]
fn no_value() {}

#[belljar_macros::test(kernel =)]
fn no_value_after_the_sign() {}

#[belljar_macros::test(nodes = 0, tool = "ip", mode = "dett")]
fn several_mistakes_at_once() {}

fn main() {}

#[belljar_macros::test(hypervisor = "xen")]
fn unknown_without_a_neighbour() {}
