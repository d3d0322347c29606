//! The other process of a measurement.

use crate::bare::{self, Bytes};
use anyhow::{Context, Result, ensure};
use belljar_bench::process_cpu_ns;
use rustix::process::{Pid, WaitId, WaitIdOptions, getpid, waitid};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use rustix::time::{ClockId, clock_gettime};
use snapwire::codec::{App, AppCgroup, Limit, Orchestrator, Profiles, SnapshotItem};
use snapwire::{
    AppsLookup, CgroupsLookup, CgroupsSnapshot, Endpoint, Increment, Offer, Server, ServerConfig,
    SnapshotImage,
};
use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::{self, Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread;

/// What a peer serves, as a word of its command line.
#[derive(Clone, Copy, Debug, clap::Subcommand)]
pub(crate) enum Serve {
    /// Bare packets, each answered with itself.
    BareUds,
    /// Bare shared memory, each request answered with so many bytes.
    BareShm {
        /// Where they are.
        place: Bytes,
        /// How many.
        length: usize,
    },
    /// INCREMENT over a profile.
    Increment {
        /// The profile's bit.
        profile: u32,
    },
    /// A snapshot of so many cgroups over a profile.
    Snapshot {
        /// The profile's bit.
        profile: u32,
        /// How many.
        items: u32,
        /// In what each differs from the one before.
        changing: Changing,
    },
    /// CGROUPS_LOOKUP over a profile.
    Cgroups {
        /// The profile's bit.
        profile: u32,
    },
    /// APPS_LOOKUP over a profile.
    Apps {
        /// The profile's bit.
        profile: u32,
    },
}

/// In what each snapshot differs from the one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Changing {
    /// In nothing.
    Nothing,
    /// In its generation.
    Generation,
    /// In its cgroups, too: the first has gone, and another has come.
    Cgroups,
}

/// Which CPU a peer is kept on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// The client's: nothing overlaps, and nobody has to be woken on an idle core.
    Beside,
    /// The last one.
    Apart,
}

impl Place {
    fn cpu(self) -> Option<usize> {
        let (first, last) = *PINNED.get()?;
        Some(if self == Place::Beside { first } else { last })
    }
}

impl Serve {
    /// Where it is fastest.
    fn place(self) -> Place {
        let is_socket = match self {
            Serve::BareUds => true,
            Serve::BareShm { .. } => false,
            Serve::Increment { profile }
            | Serve::Snapshot { profile, .. }
            | Serve::Cgroups { profile }
            | Serve::Apps { profile } => Profiles(profile) == Profiles::BASELINE,
        };
        if is_socket { Place::Beside } else { Place::Apart }
    }

    fn words(self) -> Vec<String> {
        let words: Vec<String> = match self {
            Serve::BareUds => vec!["bare-uds".into()],
            Serve::BareShm { place, length } => {
                let place = if place == Bytes::Apart { "apart" } else { "together" };
                vec!["bare-shm".into(), place.into(), length.to_string()]
            }
            Serve::Increment { profile } => vec!["increment".into(), profile.to_string()],
            Serve::Snapshot { profile, items, changing } => {
                let changing = match changing {
                    Changing::Nothing => "nothing",
                    Changing::Generation => "generation",
                    Changing::Cgroups => "cgroups",
                };
                vec!["snapshot".into(), profile.to_string(), items.to_string(), changing.into()]
            }
            Serve::Cgroups { profile } => vec!["cgroups".into(), profile.to_string()],
            Serve::Apps { profile } => vec!["apps".into(), profile.to_string()],
        };
        words
    }
}

/// The client's CPU and that of servers in shared memory, when they are kept where they are.
static PINNED: OnceLock<(usize, usize)> = OnceLock::new();

/// Keeps this process on its first CPU, and peers where they are placed.
pub(crate) fn pin() -> Result<()> {
    let allowed = sched_getaffinity(None)?;
    let cpus: Vec<usize> = (0..CpuSet::MAX_CPU).filter(|cpu| allowed.is_set(*cpu)).collect();
    let (first, last) = (cpus[0], cpus[cpus.len() - 1]);
    PINNED.get_or_init(|| (first, last));
    move_to(first)
}

/// Whether [`pin`] was called.
pub(crate) fn is_pinned() -> bool {
    PINNED.get().is_some()
}

/// How many CPUs the machine has.
pub(crate) fn cpus() -> usize {
    (0..CpuSet::MAX_CPU)
        .take_while(|cpu| Path::new(&format!("/sys/devices/system/cpu/cpu{cpu}")).is_dir())
        .count()
}

/// Keeps this process on a CPU.
pub(crate) fn move_to(cpu: usize) -> Result<()> {
    let mut set = CpuSet::new();
    set.set(cpu);
    Ok(sched_setaffinity(None, &set)?)
}

/// What both peers offer for a profile.
pub(crate) fn offer(profile: Profiles) -> Offer {
    Offer {
        profiles: profile | Profiles::BASELINE,
        preferred: profile,
        request: Limit { payload_bytes: 1 << 16, batch_items: 1000 },
        response: Limit { payload_bytes: 1 << 20, batch_items: 1000 },
        ..Offer::default()
    }
}

/// The endpoint in a directory.
pub(crate) fn endpoint(directory: &Path) -> Result<Endpoint> {
    Ok(Endpoint::new(directory, "bench")?)
}

/// A snapshot of these cgroups, with names and paths as long as real ones.
pub(crate) fn image(items: Range<u32>, generation: u64) -> Result<SnapshotImage> {
    let image = SnapshotImage::build(1 << 20, |builder| {
        builder.set_generation(generation);
        for index in items {
            let name = name(index);
            let path = format!("/sys/fs/cgroup/system.slice/{name}.service");
            let (name, path) = (name.as_bytes(), path.as_bytes());
            builder.push(&SnapshotItem { hash: index, options: 0, enabled: 1, name, path })?;
        }
        Ok(())
    })?;
    Ok(image)
}

/// The name of a cgroup of [`image`].
pub(crate) fn name(index: u32) -> String {
    format!("service-{index:05}")
}

/// Serves until standard input ends.
pub(crate) fn serve(what: Serve, directory: &Path) -> Result<()> {
    end_with_input(directory.to_owned());
    let ready = || {
        let _ = writeln!(io::stdout(), "READY");
    };
    let config =
        |profile| ServerConfig { offer: offer(Profiles(profile)), ..ServerConfig::default() };
    let endpoint = endpoint(directory)?;
    let _server = match what {
        Serve::BareUds => return bare::serve_uds(&directory.join("bare.sock"), ready),
        Serve::BareShm { place, length } => {
            return bare::serve_shm(&directory.join("bare.shm"), place, length, ready);
        }
        Serve::Increment { profile } => {
            Server::start::<Increment>(&endpoint, &config(profile), |number, reply| {
                reply.set(number.wrapping_add(1));
                Ok(())
            })?
        }
        Serve::Snapshot { profile, items, changing } => {
            let images = match changing {
                Changing::Nothing => vec![image(0..items, 1)?],
                Changing::Generation => vec![image(0..items, 1)?, image(0..items, 2)?],
                Changing::Cgroups => vec![image(0..items, 1)?, image(1..items + 1, 2)?],
            };
            let asked = AtomicUsize::new(0);
            Server::start::<CgroupsSnapshot>(&endpoint, &config(profile), move |_, reply| {
                let which = asked.fetch_add(1, Ordering::Relaxed) % images.len();
                Ok(reply.set_image(&images[which])?)
            })?
        }
        Serve::Cgroups { profile } => {
            Server::start::<CgroupsLookup>(&endpoint, &config(profile), |_, reply| {
                while let Some(path) = reply.next_path() {
                    let name = path.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
                    reply.known(Orchestrator::SYSTEMD, name, &[])?;
                }
                Ok(())
            })?
        }
        Serve::Apps { profile } => {
            Server::start::<AppsLookup>(&endpoint, &config(profile), |_, reply| {
                while let Some(pid) = reply.next_pid() {
                    let cgroup = AppCgroup::Known {
                        orchestrator: Orchestrator::SYSTEMD,
                        path: b"/system.slice/some.service",
                        name: b"some.service",
                        labels: &[],
                    };
                    reply.known(&App {
                        parent: snapwire::codec::Pid(1),
                        uid: Some(0),
                        starttime_jiffies: pid.0.into(),
                        comm: b"worker",
                        cgroup,
                    })?;
                }
                Ok(())
            })?
        }
    };
    ready();
    loop {
        thread::park();
    }
}

/// Ends this process with its input, which is when whoever measures has ended in whatever way, and
/// leaves nothing.
fn end_with_input(directory: PathBuf) {
    thread::spawn(move || {
        let _ = io::stdin().read_to_end(&mut Vec::new());
        // It may be gone already.
        let _ = fs::remove_dir_all(directory);
        process::exit(0);
    });
}

/// A process that serves, and ends when this value does.
pub(crate) struct Peer(Child);

impl Peer {
    /// Where it is fastest.
    pub(crate) fn start(what: Serve, directory: &Path) -> Result<Peer> {
        Peer::start_at(what, what.place(), directory)
    }

    pub(crate) fn start_at(what: Serve, place: Place, directory: &Path) -> Result<Peer> {
        let mut child = Command::new(std::env::current_exe()?)
            .arg("--directory")
            .arg(directory)
            .args(place.cpu().map(|cpu| format!("--cpu={cpu}")))
            .arg("serve")
            .args(what.words())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start the other process")?;
        let stdout = child.stdout.take().context("it has no output")?;
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line)?;
        ensure!(line.trim() == "READY", "the other process ended before it was ready");
        Ok(Peer(child))
    }

    /// What it has used of the CPUs so far, in seconds.
    pub(crate) fn cpu_s(&self) -> Result<f64> {
        Ok(process_cpu_ns(Pid::from_child(&self.0))? as f64 / 1e9)
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // It ends with its input, and has its time until it is waited for.
        drop(self.0.stdin.take());
        let pid = Pid::from_child(&self.0);
        let _ = waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT);
        PEERS_NS.fetch_add(process_cpu_ns(pid).unwrap_or(0), Ordering::Relaxed);
        let _ = self.0.wait();
    }
}

/// CPU time of peers that have ended.
static PEERS_NS: AtomicU64 = AtomicU64::new(0);

/// What this process and its peers that have ended have used of the CPUs so far, in nanoseconds.
pub(crate) fn used_ns() -> Result<u64> {
    Ok(process_cpu_ns(getpid())? + PEERS_NS.load(Ordering::Relaxed))
}

/// What this thread has used of the CPU so far, in seconds.
pub(crate) fn own_cpu_s() -> f64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}
