//! Tests for the command to run: `command.rs` calls it on them. They are ignored, since
//! some of them must fail.

#![expect(clippy::print_stdout, reason = "what tests write is what the command shows")]

use belljar::{Ctx, Result};
use std::time::Duration;

#[belljar::test(ignore = "for the command's own tests")]
fn passes() -> Result {
    println!("it passes");
    Ok(())
}

#[belljar::test(mode = "det", topology = "1n1l2c1t", ignore = "for the command's own tests")]
fn repeats(ctx: &Ctx) -> Result {
    let mut rng = ctx.rng();
    std::thread::sleep(Duration::from_micros(rng.u64(100..1000)));
    ctx.note(format!("{:?}", ctx.now()));
    Ok(())
}

#[belljar::test(mode = "tcg", topology = "1n1l2c1t", ignore = "for the command's own tests")]
fn fails() -> Result {
    println!("one thing is written here");
    eprintln!("another there");
    assert_eq!(1 + 1, 3, "sums of the {}", "suite");
    Ok(())
}

#[belljar::test(timeout = "60s", ignore = "for the command's own tests")]
fn sleeps() -> Result {
    std::thread::sleep(Duration::from_secs(50));
    Ok(())
}

/// None of belljar's.
#[test]
fn ordinary() {}
