//! PID 1 of a belljar VM.
//!
//! Built on its own by `build.rs`, statically and without dependencies; see the
//! crate's documentation for its place and `channel.rs` for how it talks to the
//! host. It never exits: where it cannot go on it says why and freezes for good.

#[path = "../archive.rs"]
#[allow(dead_code, reason = "the agent only reads archives")]
mod archive;
#[path = "../channel.rs"]
#[allow(dead_code, reason = "the agent only writes frames")]
mod channel;
mod mounts;
mod payload;
#[path = "../region.rs"]
mod region;
#[path = "../rounds.rs"]
mod rounds;
mod supervise;
#[path = "../sys.rs"]
mod sys;

use channel::{Code, State};
use region::{Log, Region};
use std::fmt::Display;
use std::fs;
use std::sync::OnceLock;
use std::thread;
use std::time::Duration;

/// An error that ends the agent's work: what was attempted, and what happened.
pub(crate) struct Failure(String);

impl Failure {
    pub(crate) fn new(attempted: impl Display, happened: impl Display) -> Failure {
        Failure(format!("{attempted}: {happened}"))
    }
}

fn main() {
    if std::process::id() != 1 {
        eprintln!("this is belljar's agent: it runs as the init of a virtual machine");
        std::process::exit(2);
    }
    static REGION: OnceLock<Region> = OnceLock::new();
    if let Err(failure) = mounts::mount_all() {
        give_up(&failure.0);
    }
    let region = match Region::map() {
        Ok(region) => REGION.get_or_init(|| region),
        Err(error) => give_up(&format!("mapping the channel through /dev/mem: {error}")),
    };
    region.claim();
    settle();
    let mut log = region.agent_log();
    region.freeze_at_rest(State::Ready);
    if let Err(failure) = serve(region, &mut log) {
        log.append(Code::Failed, failure.0.as_bytes());
    }
    region.freeze(State::Ended);
    sys::power_off();
    give_up("the machine did not power off");
}

/// Waits until the kernel has settled on its clock. It measures the TSC for about a
/// second after boot and then switches over, which no fork should have to live through.
fn settle() {
    const CLOCK: &str = "/sys/devices/system/clocksource/clocksource0/current_clocksource";
    let give_up_ns = sys::monotonic_ns() + 3_000_000_000;
    let is_early = || fs::read_to_string(CLOCK).is_ok_and(|clock| clock.trim() == "tsc-early");
    while is_early() && sys::monotonic_ns() < give_up_ns {
        thread::sleep(Duration::from_millis(20));
    }
}

fn serve(region: &'static Region, log: &mut Log) -> Result<(), Failure> {
    payload::unpack(region)?;
    payload::load_modules()?;
    match payload::start()? {
        payload::Start::Process(words) => supervise::process(region, log, &words),
        payload::Start::Command => {
            region.freeze_at_rest(State::Waiting);
            supervise::command(region, log, &region.request())
        }
    }
}

/// Without a channel there is only the console, and a panic, to say it with.
fn give_up(why: &str) -> ! {
    let _ = fs::write("/dev/kmsg", format!("belljar agent: {why}"));
    eprintln!("belljar agent: {why}");
    std::process::exit(1);
}
