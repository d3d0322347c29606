//! The machine that VMs run on.

use std::fs;

use serde::{Deserialize, Serialize};

/// Facts about the machine that a VM ran on; `None` for what it does not tell.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Host {
    /// Its operating system, as in `Debian GNU/Linux 12 (bookworm)`.
    pub os: Option<String>,
    /// Its kernel's release, as `uname -r` has it.
    pub kernel_release: Option<String>,
    /// The model of its first CPU.
    pub cpu_model: Option<String>,
    /// CPUs that this process may use, affinity and cgroup quota counted in.
    pub cpus: Option<u32>,
    /// Its memory in MiB.
    pub memory_mib: Option<u64>,
}

impl Host {
    /// The machine that this runs on. Reads a few files of `/proc` and `/etc`.
    pub fn current() -> Self {
        let read = |path| fs::read_to_string(path).ok();
        let os = read("/etc/os-release").or_else(|| read("/usr/lib/os-release"));
        let cpus = std::thread::available_parallelism().ok();
        Self {
            os: os.and_then(|text| os_name(&text)),
            kernel_release: read("/proc/sys/kernel/osrelease").map(|text| text.trim().to_string()),
            cpu_model: read("/proc/cpuinfo").and_then(|text| cpu_model(&text)),
            cpus: cpus.and_then(|cpus| u32::try_from(cpus.get()).ok()),
            memory_mib: read("/proc/meminfo").and_then(|text| memory_mib(&text)),
        }
    }
}

fn os_name(os_release: &str) -> Option<String> {
    let name = os_release.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="))?;
    Some(name.trim().trim_matches(['"', '\'']).to_string())
}

fn cpu_model(cpuinfo: &str) -> Option<String> {
    let line = cpuinfo.lines().find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim().to_string())
}

fn memory_mib(meminfo: &str) -> Option<u64> {
    let total = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = total.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib / 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn linux_files_are_understood() {
        let os = os_name("NAME=\"Debian\"\nPRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\n");
        assert_eq!(os.as_deref(), Some("Debian GNU/Linux 12 (bookworm)"));
        let model = cpu_model("processor\t: 0\nmodel name\t: Some CPU @ 2.0GHz\n");
        assert_eq!(model.as_deref(), Some("Some CPU @ 2.0GHz"));
        assert_eq!(memory_mib("MemTotal:        8165640 kB\nMemFree: 1 kB\n"), Some(7974));
        assert_eq!(memory_mib("MemTotal: lots\n"), None);
    }

    #[test]
    fn this_machine_tells_something() {
        let host = Host::current();
        assert!(host.cpus > Some(0));
        assert!(host.kernel_release.is_some_and(|release| !release.is_empty()));
    }
}
