//! Where a scenario is played.

use std::path::Path;
use std::time::Duration;

use belljar_topology::Topology;

use crate::SchedulerSpec;

/// Where a scenario is played, and with what.
#[derive(Clone, Copy, Debug)]
pub struct Setting<'a> {
    /// The machine as it was declared.
    pub topology: &'a Topology,
    /// What the order of starts, affinities that are drawn, and the work's own dice follow from.
    pub seed: u64,
    /// The schedulers that operations may start.
    pub schedulers: &'a [SchedulerSpec],
    /// A directory for files of workers.
    pub scratch: &'a Path,
    /// The directory that payloads' programs were shipped to; if none, they are found on the PATH.
    pub programs: Option<&'a Path>,
    /// Where cgroup v2 is mounted.
    pub cgroups: &'a Path,
    /// How long a scheduler may take to attach.
    pub attach_limit: Duration,
    /// How long a payload without a time limit is waited for.
    pub wait_limit: Duration,
    /// Whether the CPUs take turns on one thread of the host: workers then give theirs up often.
    pub takes_turns: bool,
}

impl<'a> Setting<'a> {
    /// The guest as its agent leaves it: cgroup v2 at `/sys/fs/cgroup`, files in `/tmp`, programs on the
    /// PATH; 60 s for a scheduler to attach, and for a payload that is waited for.
    #[must_use]
    pub fn new(topology: &'a Topology, seed: u64) -> Self {
        Self {
            topology,
            seed,
            schedulers: &[],
            scratch: Path::new("/tmp"),
            programs: None,
            cgroups: Path::new("/sys/fs/cgroup"),
            attach_limit: Duration::from_secs(60),
            wait_limit: Duration::from_secs(60),
            takes_turns: false,
        }
    }
}
