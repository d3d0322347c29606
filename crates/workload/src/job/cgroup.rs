//! Moves between cgroups: `cgroup_attach_task`, `sched_move_task`, `cpu_cgroup_attach`.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use belljar_scenario::Reap;
use rustix::io::Errno;
use rustix::process::{WaitOptions, wait};

use super::Job;
use super::churn::{fork_or_breathe, wait_for};
use crate::hand::{Brief, Hand, Outcome, Refusal, Tried};
use crate::sys;

/// Children that nobody waits for are waited for by the dozen, so that they do not pile up.
const UNREAPED: u64 = 16;

/// A cgroup that this job made, or found; open for those who move into it.
struct Cgroup {
    directory: PathBuf,
    procs: File,
    is_own: bool,
}

impl Cgroup {
    fn make(directory: PathBuf) -> Result<Self, Refusal> {
        std::fs::create_dir(&directory)
            .tried(|| format!("make the cgroup `{}`", directory.display()))?;
        let made = Self::open(directory.clone());
        if made.is_err() {
            let _ = std::fs::remove_dir(directory);
        }
        made.map(|cgroup| Self { is_own: true, ..cgroup })
    }

    fn open(directory: PathBuf) -> Result<Self, Refusal> {
        let path = directory.join("cgroup.procs");
        let procs = OpenOptions::new().write(true).open(&path);
        let procs = procs.tried(|| format!("open `{}`", path.display()))?;
        Ok(Self { directory, procs, is_own: false })
    }

    /// Moves the calling process.
    fn enter(&self) -> std::io::Result<()> {
        // 0 is whoever writes it.
        (&self.procs).write_all(b"0")
    }

    fn clean(&self) {
        if self.is_own {
            // The kernel lets go of the dead a moment later than it tells of their death.
            for _ in 0..100 {
                match std::fs::remove_dir(&self.directory) {
                    Err(error) if error.raw_os_error() == Some(libc::EBUSY) => {
                        std::thread::sleep(Duration::from_millis(1));
                    }
                    _ => break,
                }
            }
        }
    }
}

/// A process that moves itself from one cgroup below its own to the next.
pub(super) struct Churn {
    home: Cgroup,
    cgroups: Vec<Cgroup>,
    interval: Duration,
}

impl Churn {
    pub(super) fn new(brief: &Brief, groups: u32, interval: Duration) -> Result<Self, Refusal> {
        let home = Cgroup::open(brief.cgroup_dir.clone())?;
        let mut churn = Self { home, cgroups: Vec::new(), interval };
        for at in 0..groups {
            let name = format!("churn-{}-{at}", brief.group);
            let made = Cgroup::make(brief.cgroup_dir.join(name));
            if made.is_err() {
                churn.clean();
            }
            churn.cgroups.push(made?);
        }
        Ok(churn)
    }
}

impl Job for Churn {
    fn work(&self, hand: &mut Hand<'_>) -> Outcome {
        let mut at = hand.rng.usize(0..self.cgroups.len());
        while hand.goes_on() {
            let cgroup = &self.cgroups[at % self.cgroups.len()];
            cgroup.enter().tried(|| format!("move to `{}`", cgroup.directory.display()))?;
            at += 1;
            let until = hand.now_ns().saturating_add(sys::ns(self.interval));
            hand.spin_until(until, 256);
            hand.did(0);
        }
        self.home.enter().tried(|| "move back".into())
    }

    fn clean(&self) {
        self.cgroups.iter().for_each(Cgroup::clean);
    }
}

/// Children that move themselves into another cgroup and exit.
pub(super) struct AttachStorm {
    destination: Cgroup,
    reap: Reap,
}

impl AttachStorm {
    pub(super) fn new(brief: &Brief, destination: &str, reap: Reap) -> Result<Self, Refusal> {
        let destination = if destination.is_empty() {
            Cgroup::make(brief.cgroup_dir.join(format!("storm-{}", brief.group)))?
        } else {
            // The scenario's root lies above the group's cgroup, by as many levels as its name has.
            let levels = Path::new(&brief.cgroup).components().count();
            let root = brief.cgroup_dir.ancestors().nth(levels).unwrap_or(Path::new("/"));
            Cgroup::open(root.join(destination))?
        };
        Ok(Self { destination, reap })
    }
}

impl Job for AttachStorm {
    fn work(&self, hand: &mut Hand<'_>) -> Outcome {
        if self.reap == Reap::Ignore {
            sys::ignore_signal(libc::SIGCHLD, true);
        }
        let mut unreaped = 0;
        let enter = || {
            self.destination.enter().map_or_else(|error| error.raw_os_error().unwrap_or(1), |()| 0)
        };
        while hand.goes_on() {
            let Some(child) = fork_or_breathe(hand, enter)? else { continue };
            match self.reap {
                Reap::Wait => wait_for(hand, child)
                    .tried(|| format!("move to `{}`", self.destination.directory.display()))?,
                Reap::Ignore => {
                    unreaped += 1;
                    while unreaped >= UNREAPED && !hand.is_told_to_stop() {
                        // Ends with an error when there is none left.
                        if matches!(hand.wait(|| wait(WaitOptions::empty())), Err(Errno::CHILD)) {
                            unreaped = 0;
                        }
                    }
                }
            }
            hand.did(1);
        }
        Ok(())
    }

    fn clean(&self) {
        self.destination.clean();
    }
}
