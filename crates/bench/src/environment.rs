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
    /// The priority of the runner and of all that it starts: 0 unless somebody has changed it.
    pub nice: i32,
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
            nice: rustix::process::getpriority_process(None).unwrap_or(0),
            load_1min: load.and_then(|text| text.split(' ').next()?.parse().ok()),
            project: Project::of_directory(directory),
            programs,
        }
    }

    /// What differs such that samples cannot stand in one table.
    pub(crate) fn difference(&self, other: &Self) -> Option<String> {
        for (is_other, what) in [
            (self.host != other.host, "the machine or its kernel"),
            (self.governor != other.governor, "the CPU governor"),
            (self.nice != other.nice, "the priority (nice)"),
        ] {
            if is_other {
                return Some(format!("{what} is another one"));
            }
        }
        let changed = self.programs.iter().find(|program| !other.programs.contains(program))?;
        Some(format!("{} is not what it was", changed.path.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_makes_figures_differ_is_named() {
        let here = Environment::default();
        let governor = Environment { governor: Some("powersave".into()), ..here.clone() };
        let nice = Environment { nice: 19, load_1min: Some(1.0), ..here.clone() };
        let difference = |other| here.difference(&other).unwrap_or_default();
        assert_eq!(difference(governor), "the CPU governor is another one");
        assert_eq!(difference(nice), "the priority (nice) is another one");
        assert_eq!(difference(Environment { load_1min: Some(1.0), ..here.clone() }), "");
    }
}
