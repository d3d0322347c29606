//! Taking cpusets away.
//!
//! sched_ext does not let a scheduler run a task where its cpuset or affinity forbids it, so no
//! scheduler can break that rule. What can is a privileged process beside it, and this is one.

use crate::selector::Selector;
use rustix::process::Pid;
use rustix::thread::{CpuSet, sched_setaffinity};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Where processes and cgroups are found.
#[derive(Clone, Debug)]
pub(crate) struct System {
    /// `/proc`.
    pub(crate) processes: PathBuf,
    /// Where the cgroup hierarchy (version 2) is mounted.
    pub(crate) cgroups: PathBuf,
}

impl Default for System {
    fn default() -> System {
        System { processes: "/proc".into(), cgroups: "/sys/fs/cgroup".into() }
    }
}

/// A thread that a selector means.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Thread {
    tid: u32,
    /// As `/busy/a`.
    cgroup: String,
}

impl System {
    /// Lets the tasks that are meant run on every CPU: the cpusets of their cgroups, and of all
    /// above, are emptied, which means those of the level above; their affinity becomes all CPUs.
    /// Returns the cgroups whose cpuset was not empty before. What goes away meanwhile is left
    /// alone.
    pub(crate) fn take_cpusets_away(&self, whose: &Selector) -> Vec<String> {
        let mut cgroups = BTreeSet::new();
        for thread in self.threads(whose) {
            for (end, _) in thread.cgroup.match_indices('/').skip(1) {
                cgroups.insert(thread.cgroup[..end].to_owned());
            }
            cgroups.insert(thread.cgroup);
            if let Some(pid) = Pid::from_raw(thread.tid as i32) {
                let mut all = CpuSet::new();
                for cpu in 0..CpuSet::MAX_CPU {
                    all.set(cpu);
                }
                // It may have ended.
                let _ = sched_setaffinity(Some(pid), &all);
            }
        }
        // Sorted, what is above comes first.
        cgroups.retain(|cgroup| {
            let file = self.cgroups.join(cgroup.trim_start_matches('/')).join("cpuset.cpus");
            let set = fs::read_to_string(&file).is_ok_and(|cpus| !cpus.trim().is_empty());
            set && fs::write(&file, "\n").is_ok()
        });
        cgroups.into_iter().collect()
    }

    /// The threads that are meant.
    fn threads(&self, whose: &Selector) -> Vec<Thread> {
        let this = std::process::id();
        let mut found = Vec::new();
        for process in numbers_in(&self.processes).into_iter().filter(|&pid| pid != this) {
            let process = self.processes.join(process.to_string());
            // Kernel threads have no command line.
            if fs::read(process.join("cmdline")).is_ok_and(|line| line.is_empty()) {
                continue;
            }
            let tasks = process.join("task");
            for tid in numbers_in(&tasks) {
                let task = tasks.join(tid.to_string());
                let (Ok(comm), Ok(cgroup)) =
                    (fs::read(task.join("comm")), fs::read_to_string(task.join("cgroup")))
                else {
                    continue;
                };
                let Some(cgroup) = cgroup.lines().find_map(|line| line.strip_prefix("0::")) else {
                    continue;
                };
                let comm = comm.strip_suffix(b"\n").unwrap_or(&comm);
                if whose.matches(tid, comm, cgroup) {
                    found.push(Thread { tid, cgroup: cgroup.to_owned() });
                }
            }
        }
        found
    }
}

/// The entries of a directory that are numbers; none where there is no directory.
fn numbers_in(directory: &Path) -> Vec<u32> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A system with one thread in `/busy/a` and one in `/other`. Their ids are beyond those that
    /// the kernel gives, so that nobody's affinity changes.
    fn system(root: &Path) -> System {
        let system = System { processes: root.join("proc"), cgroups: root.join("cgroup") };
        for (tid, comm, cgroup) in
            [(2_000_000_000, "worker-1", "/busy/a"), (2_000_000_001, "idler", "/other")]
        {
            let task = system.processes.join(format!("{tid}/task/{tid}"));
            fs::create_dir_all(&task).unwrap();
            fs::write(task.join("comm"), format!("{comm}\n")).unwrap();
            fs::write(task.join("cgroup"), format!("0::{cgroup}\n")).unwrap();
            fs::create_dir_all(system.cgroups.join(&cgroup[1..])).unwrap();
        }
        for (cgroup, cpus) in [("busy", "\n"), ("busy/a", "0-1\n"), ("other", "2\n")] {
            fs::write(system.cgroups.join(cgroup).join("cpuset.cpus"), cpus).unwrap();
        }
        system
    }

    #[test]
    fn only_cpusets_of_those_meant_go_and_only_once() {
        let root = tempfile::tempdir().unwrap();
        let system = system(root.path());
        let whose: Selector = "work".parse().unwrap();
        assert_eq!(system.take_cpusets_away(&whose), ["/busy/a"]);
        let cpus = |cgroup: &str| {
            fs::read_to_string(system.cgroups.join(cgroup).join("cpuset.cpus")).unwrap()
        };
        assert_eq!((cpus("busy/a").as_str(), cpus("other").as_str()), ("\n", "2\n"));
        assert!(system.take_cpusets_away(&whose).is_empty());
        let cgroup: Selector = "cgroup:other".parse().unwrap();
        assert_eq!(system.take_cpusets_away(&cgroup), ["/other"]);
    }

    #[test]
    fn where_nothing_is_nothing_happens() {
        let root = tempfile::tempdir().unwrap();
        let nowhere = root.path().join("none");
        let system = System { processes: nowhere.clone(), cgroups: nowhere };
        assert!(system.take_cpusets_away(&Selector::everybody()).is_empty());
    }
}
