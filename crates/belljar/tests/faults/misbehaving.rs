//! The bodies that misbehave. They run in guests, for the tests in `main.rs`; each is
//! ignored by itself, so that plain `cargo test` is about what becomes of them.

use belljar::{Ctx, Result};
use belljar_guest::channel::{
    AGENT_LOG, BASE, Code, FREEZE_PORT, FREEZES, LogArea, PROCESS_LOG, STATE, encode_frame,
};
use std::error::Error;
use std::fmt;
use std::fs::{self, File};
use std::hint::{black_box, spin_loop};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::process::Command;
use std::thread;
use std::time::Duration;

#[belljar::test(ignore = "run by another test")]
fn passes() {}

#[belljar::test(ignore = "run by another test")]
fn asserts_in_vain() {
    assert_eq!(1 + 1, 3, "arithmetic is off");
}

#[belljar::test(ignore = "run by another test")]
fn panics() {
    let widget = 7;
    panic!("widget {widget} is gone");
}

/// The body panics first; a thread that it started does so while it unwinds.
#[belljar::test(ignore = "run by another test")]
fn panics_and_so_does_its_thread() {
    struct Join(Option<thread::JoinHandle<()>>);
    impl Drop for Join {
        fn drop(&mut self) {
            let _ = self.0.take().map(thread::JoinHandle::join);
        }
    }
    let (sender, receiver) = std::sync::mpsc::channel::<()>();
    let thread = thread::spawn(move || receiver.recv().expect("the sender lives"));
    let _join = Join(Some(thread));
    let _sender = sender;
    panic!("the first of two");
}

#[derive(Debug)]
struct Outer(io::Error);

impl fmt::Display for Outer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the configuration is unusable")
    }
}

impl Error for Outer {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.0)
    }
}

#[belljar::test(ignore = "run by another test")]
fn returns_an_error() -> Result {
    fs::read("/nonexistent").map_err(Outer)?;
    Ok(())
}

#[belljar::test(ignore = "run by another test")]
fn exits() {
    std::process::exit(7);
}

#[belljar::test(ignore = "run by another test")]
fn exits_as_if_all_were_well() {
    std::process::exit(0);
}

#[belljar::test(ignore = "run by another test")]
fn aborts() {
    std::process::abort();
}

#[belljar::test(ignore = "run by another test")]
fn follows_a_wild_pointer() {
    let wild = black_box(64 as *const u8);
    // SAFETY: none; nothing is mapped there, and that is what the test is about.
    black_box(unsafe { wild.read_volatile() });
}

#[belljar::test(ignore = "run by another test")]
fn spins() {
    loop {
        spin_loop();
    }
}

#[belljar::test(ignore = "run by another test")]
fn sleeps_on_two_threads() -> Result {
    let sleeper = thread::Builder::new().name("the dozer".into());
    let sleeper = sleeper.spawn(|| thread::sleep(Duration::from_secs(1000)))?;
    sleeper.join().expect("it only sleeps");
    Ok(())
}

/// Closes whatever the harness has left open in this process, and stays.
#[belljar::test(ignore = "run by another test")]
fn closes_every_descriptor() -> Result {
    use std::os::fd::{FromRawFd, OwnedFd};
    let open: Vec<i32> = fs::read_dir("/proc/self/fd")?
        .map(|entry| entry?.file_name().to_string_lossy().parse().map_err(io::Error::other))
        .collect::<io::Result<_>>()?;
    for fd in open {
        // SAFETY: none; whose they are does not matter to a process that only waits for
        // its end. The directory's own is closed already, which is an error and no more.
        unsafe {
            if fs::exists(format!("/proc/self/fd/{fd}"))? {
                drop(OwnedFd::from_raw_fd(fd));
            }
        }
    }
    loop {
        thread::park();
    }
}

#[belljar::test(ignore = "run by another test")]
fn panics_the_kernel() -> Result {
    fs::write("/proc/sysrq-trigger", "c")?;
    Ok(())
}

/// What a kernel says when QEMU lets it run into a breakpoint that is no longer there.
#[belljar::test(ignore = "run by another test")]
fn falls_over_a_stale_breakpoint() -> Result {
    for line in ["Oops: int3: 0000 [#1] SMP", "Code: e8 c8 e5 05 00 0f <1f> 44 00 00"] {
        fs::write("/dev/kmsg", format!("<0>{line}"))?;
    }
    fs::write("/proc/sysrq-trigger", "c")?;
    Ok(())
}

#[belljar::test(ignore = "run by another test")]
fn switches_the_machine_off() -> Result {
    fs::write("/proc/sysrq-trigger", "o")?;
    loop {
        thread::park();
    }
}

#[belljar::test(ignore = "run by another test")]
fn resets_the_machine() -> Result {
    fs::write("/proc/sysrq-trigger", "b")?;
    loop {
        thread::park();
    }
}

/// Nothing but these processes gets a CPU from here on, the agent included.
#[belljar::test(ignore = "run by another test")]
fn hogs_every_cpu(ctx: &Ctx) -> Result {
    fs::write("/proc/sys/kernel/sched_rt_runtime_us", "-1")?;
    for cpu in 0..ctx.topology()?.cpus.len() {
        let server = format!("/sys/kernel/debug/sched/fair_server/cpu{cpu}/runtime");
        if fs::exists(&server)? {
            fs::write(&server, "0")?;
        }
    }
    loop {
        Command::new("chrt").args(["-f", "99", "sh", "-c", "while :; do :; done"]).spawn()?;
    }
}

#[belljar::test(ignore = "run by another test")]
fn eats_all_memory() {
    let mut hoard = Vec::new();
    loop {
        hoard.push(black_box(vec![1u8; 1 << 20]));
    }
}

/// Memory that belongs to no process: nobody can be killed for it.
#[belljar::test(ignore = "run by another test")]
fn fills_the_memory_file_system() -> Result {
    let mut file = File::create("/run/hoard")?;
    loop {
        // The file system stops at half of the memory; there are several.
        if file.write_all(&[1; 1 << 16]).is_err() {
            file = File::create("/tmp/hoard")?;
            while file.write_all(&[1; 1 << 16]).is_ok() {}
            file = File::create("/dev/shm/hoard")?;
        }
    }
}

#[belljar::test(ignore = "run by another test")]
fn floods_its_output() -> Result {
    let line = [b'y'; 100];
    let mut stdout = io::stdout();
    for _ in 0..1_000_000 {
        stdout.write_all(&line)?;
    }
    Ok(())
}

#[belljar::test(ignore = "run by another test")]
fn floods_its_output_for_ever() -> Result {
    let block = [b'y'; 1 << 16];
    let mut stdout = File::options().write(true).open("/proc/self/fd/1")?;
    loop {
        stdout.write_all(&block)?;
    }
}

#[belljar::test(ignore = "run by another test")]
fn floods_its_events(ctx: &Ctx) {
    let note = "y".repeat(1000);
    for _ in 0..10_000 {
        ctx.note(&note);
    }
}

#[belljar::test(ignore = "run by another test")]
fn floods_the_console() -> Result {
    let mut console = File::options().write(true).open("/dev/console")?;
    loop {
        console.write_all(&[b'y'; 4096])?;
    }
}

/// Writes to the channel's region as the harness does, without its manners.
fn scribble(offset: usize, bytes: &[u8]) -> Result {
    let memory = File::options().write(true).open("/dev/mem")?;
    memory.write_all_at(bytes, BASE + offset as u64)?;
    Ok(())
}

fn commit(log: LogArea, bytes: &[u8]) -> Result {
    scribble(log.data.offset, bytes)?;
    scribble(log.control, &(bytes.len() as u32).to_le_bytes())
}

#[belljar::test(ignore = "run by another test")]
fn claims_an_impossible_length() -> Result {
    scribble(AGENT_LOG.control, &u32::MAX.to_le_bytes())
}

#[belljar::test(ignore = "run by another test")]
fn takes_back_what_it_said(ctx: &Ctx) -> Result {
    ctx.note("said");
    scribble(PROCESS_LOG.control, &8u32.to_le_bytes())
}

#[belljar::test(ignore = "run by another test")]
fn commits_garbage() -> Result {
    commit(AGENT_LOG, &[0xa5; 4096])
}

#[belljar::test(ignore = "run by another test")]
fn sends_an_event_that_is_none() -> Result {
    let memory = File::open("/dev/mem")?;
    let mut word = [0; 4];
    memory.read_exact_at(&mut word, BASE + PROCESS_LOG.control as u64)?;
    let mut log = vec![0; u32::from_le_bytes(word) as usize];
    memory.read_exact_at(&mut log, BASE + PROCESS_LOG.data.offset as u64)?;
    let frames = belljar_vm::FrameReader::new(&log).count() as u64;
    encode_frame(&mut log, Code::Event, frames, 0, b"{\"event\":\"surprise\"}");
    commit(PROCESS_LOG, &log)?;
    std::process::exit(0);
}

/// Freezes the machine with a state that does not exist.
#[belljar::test(ignore = "run by another test")]
fn freezes_in_an_unknown_state() -> Result {
    scribble(STATE, &99u32.to_le_bytes())?;
    scribble(FREEZES, &77u32.to_le_bytes())?;
    // SAFETY: the instruction reads two registers and touches no memory. The port is
    // open to this thread: threads inherit that from the one that took the seat.
    unsafe { std::arch::asm!("out dx, al", in("dx") FREEZE_PORT, in("al") 1u8) };
    Ok(())
}

/// Any bytes anywhere in the region: other ones for every seed.
#[belljar::test(ignore = "run by another test")]
fn scribbles_at_random(ctx: &Ctx) -> Result {
    let mut rng = ctx.rng();
    for _ in 0..200 {
        // Half of it where the control words are.
        let offset = if rng.bool() { rng.usize(..160) } else { rng.usize(..16 << 20) };
        let len = rng.usize(1..64);
        let bytes: Vec<u8> = (0..len).map(|_| rng.u8(..)).collect();
        let _ = scribble(offset, &bytes);
        if rng.u8(..) < 16 {
            ctx.note("still here");
            writeln!(io::stdout(), "still here")?;
        }
    }
    Ok(())
}

#[belljar::test(ignore = "run by another test")]
fn leaks_processes() -> Result {
    Command::new("sh").args(["-c", "sleep 1000 & sleep 1000 &"]).status()?;
    Ok(())
}

/// What has been killed is as good as gone.
#[belljar::test(ignore = "run by another test")]
fn kills_and_does_not_wait() -> Result {
    let mut child = Command::new("sleep").arg("1000").spawn()?;
    child.kill()?;
    Ok(())
}

#[belljar::test(ignore = "run by another test")]
fn kills_everybody() -> Result {
    Command::new("sh").args(["-c", "kill -9 1; kill -9 -1"]).status()?;
    Ok(())
}

#[belljar::test(ignore = "run by another test")]
fn drops_a_fork_bomb() -> Result {
    Command::new("sh").args(["-c", "bomb() { bomb | bomb & }; bomb"]).status()?;
    loop {
        thread::park();
    }
}

#[belljar::test(ignore = "run by another test")]
fn skips(ctx: &Ctx) -> Result {
    ctx.skip("no such device")
}

#[belljar::test(ignore = "run by another test")]
fn cannot_decide(ctx: &Ctx) -> Result {
    ctx.inconclusive("too noisy")
}

#[belljar::test(ignore = "run by another test", expect_fail = "widget 7")]
fn is_to_fail_and_does() {
    panics_about(7);
}

#[belljar::test(ignore = "run by another test", expect_fail = "widget 7")]
fn is_to_fail_and_does_otherwise() {
    panics_about(8);
}

#[belljar::test(ignore = "run by another test", expect_fail)]
fn is_to_fail_and_passes() {}

fn panics_about(widget: u32) {
    panic!("widget {widget} is gone");
}
