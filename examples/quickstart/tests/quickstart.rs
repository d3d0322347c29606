//! Ordinary Rust tests, each on a real Linux kernel of its own.
//!
//! Run them with `cargo test -p quickstart`, `cargo nextest run -p quickstart`, or
//! `cargo belljar test -p quickstart`.

use belljar::{Ctx, Polarity, Result};
use std::fs;
use std::io::{Read, Write};
use std::process::Command;
use std::thread;
use std::time::Duration;

/// The body runs as root on a kernel that is nobody else's.
#[belljar::test]
fn the_kernel_is_our_own(ctx: &Ctx) -> Result {
    let version = fs::read_to_string("/proc/version")?;
    assert!(version.starts_with("Linux version "), "{version}");
    ctx.note(version.trim());
    fs::write("/proc/sys/kernel/hostname", "quickstart")?;
    assert_eq!(fs::read_to_string("/proc/sys/kernel/hostname")?, "quickstart\n");
    Ok(())
}

/// A test declares the machine that it wants.
#[belljar::test(topology = "1n2l2c2t")]
fn the_machine_is_as_declared(ctx: &Ctx) -> Result {
    let machine = ctx.topology()?;
    assert_eq!((machine.cpus.len(), machine.llcs.len(), machine.cores.len()), (8, 2, 4));
    assert!(machine.has_smt());
    Ok(())
}

/// Code under test is called as in any other test.
#[belljar::test]
fn memory_file_systems_are_found() -> Result {
    let found = quickstart::memory_file_systems()?;
    assert!(found.iter().any(|place| place == "/tmp"), "{found:?}");
    Ok(())
}

/// Figures go into the record, in guest time.
#[belljar::test]
fn a_pipe_carries_bytes(ctx: &Ctx) -> Result {
    const ROUNDS: u32 = 200;
    let (mut here, mut out) = std::io::pipe()?;
    let (mut back, mut there) = std::io::pipe()?;
    let echo = thread::spawn(move || {
        let mut byte = [0];
        while here.read(&mut byte).is_ok_and(|count| count == 1) {
            let _ = there.write_all(&byte);
        }
    });
    let begun = ctx.now();
    ctx.phase("round trips", || -> std::io::Result<()> {
        for round in 0..ROUNDS {
            let mut byte = [0];
            out.write_all(&[round as u8])?;
            back.read_exact(&mut byte)?;
            assert_eq!(byte, [round as u8]);
        }
        Ok(())
    })?;
    let each_us = (ctx.now() - begun).as_secs_f64() * 1e6 / f64::from(ROUNDS);
    ctx.metric("round_trip", each_us, "us", Polarity::Lower);
    drop(out);
    echo.join().expect("the echo ends when its pipe does");
    Ok(())
}

/// Programs of the host come along with their libraries.
#[belljar::test(tools = ["unshare", "hostname", "sh"])]
fn a_namespace_has_its_own_name(ctx: &Ctx) -> Result {
    let inside = ctx.run("unshare", &["--uts", "sh", "-c", "hostname jar; hostname"]);
    let inside = String::from_utf8(inside?.stdout)?;
    assert_eq!(inside, "jar\n");
    let outside = fs::read_to_string("/proc/sys/kernel/hostname")?;
    assert_eq!(outside, "belljar\n");
    Ok(())
}

/// Modules are loaded from the kernel's own package.
#[belljar::test(modules = ["tcp_diag"], needs = ["inet_diag"])]
fn sockets_can_be_listed() -> Result {
    let modules = fs::read_to_string("/proc/modules")?;
    assert!(modules.lines().any(|line| line.starts_with("tcp_diag ")), "{modules}");
    Ok(())
}

/// In `det` the same seed gives the same run, to the nanosecond; each seed its own.
#[belljar::test(seeds = 3, topology = "1n1l2c1t")]
fn sleeps_in_the_order_of_the_dice(ctx: &Ctx) -> Result {
    let mut rng = ctx.rng();
    let threads: Vec<_> = (0..4)
        .map(|name| {
            let nap = Duration::from_micros(rng.u64(100..5_000));
            thread::spawn(move || {
                thread::sleep(nap);
                name
            })
        })
        .collect();
    for thread in threads {
        thread.join().expect("it only sleeps");
    }
    ctx.metric("all_awake", ctx.now().as_nanos() as f64, "ns", Polarity::None);
    Ok(())
}

/// A failure can be what is wanted: this one is a program that must not exist.
#[belljar::test(expect_fail = "cannot start")]
fn what_is_not_there_cannot_be_run(ctx: &Ctx) -> Result {
    ctx.run("no-such-program", &[])?;
    Ok(())
}

/// A process of its own is the test's to look after.
#[belljar::test(tools = ["sleep"])]
fn children_are_waited_for() -> Result {
    let mut child = Command::new("sleep").arg("0.01").spawn()?;
    assert!(child.wait()?.success());
    Ok(())
}
