//! Where and with what a run was measured.

use std::fs;
use std::path::{Path, PathBuf};

use belljar_record::{Host, Project};
use serde::{Deserialize, Serialize};

/// The machine, the code and the programs of a run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Environment {
    /// The machine.
    pub host: Host,
    /// How the kernel chooses the clock of the first CPU; `None` where it does not choose.
    pub governor: Option<String>,
    /// The load of the minute before the run began.
    pub load_1min: Option<f64>,
    /// The working tree that the matrix is in.
    pub project: Project,
    /// The programs of clients and servers.
    pub programs: Vec<Program>,
}

/// A program, by its content.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Program {
    /// Where it is.
    pub path: PathBuf,
    /// The BLAKE3 hash of its bytes, in hex.
    pub hash: String,
}

impl Environment {
    /// This machine, and the tree that `directory` is in.
    pub(crate) fn here(directory: &Path, programs: Vec<Program>) -> Self {
        let governor = "/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor";
        let load = fs::read_to_string("/proc/loadavg").ok();
        Self {
            host: Host::current(),
            governor: fs::read_to_string(governor).ok().map(|text| text.trim().to_owned()),
            load_1min: load.and_then(|text| text.split(' ').next()?.parse().ok()),
            project: Project::of_directory(directory),
            programs,
        }
    }

    /// What differs such that samples cannot stand in one table.
    pub(crate) fn difference(&self, other: &Self) -> Option<String> {
        if self.host != other.host {
            return Some(String::from("the machine or its kernel is another one"));
        }
        if self.governor != other.governor {
            return Some(String::from("the CPU governor is another one"));
        }
        let changed = self.programs.iter().find(|program| !other.programs.contains(program))?;
        Some(format!("{} is not what it was", changed.path.display()))
    }
}
