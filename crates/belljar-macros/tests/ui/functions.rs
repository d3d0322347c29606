//! Functions that a test cannot be.

struct Ctx;

#[belljar_macros::test]
async fn asynchronous(_ctx: &Ctx) {}

#[belljar_macros::test]
const fn constant(_ctx: &Ctx) {}

#[belljar_macros::test]
unsafe fn not_safe(_ctx: &Ctx) {}

#[belljar_macros::test]
extern "C" fn foreign(_ctx: &Ctx) {}

#[belljar_macros::test]
fn generic<T>(_ctx: &T) {}

#[belljar_macros::test]
fn two_arguments(_ctx: &Ctx, _llcs: u32) {}

impl Ctx {
    #[belljar_macros::test]
    fn method(&self) {}
}

#[belljar_macros::test]
struct NotAFunction;

#[belljar_macros::test]
#[should_panic(expected = "lost")]
fn panics() {}

#[belljar_macros::test(ignore = "slow")]
#[ignore]
fn ignored_twice() {}

#[belljar_macros::test]
#[test]
fn a_test_twice() {}

fn main() {}
