//! What the kernel says of sched_ext (`Documentation/scheduler/sched-ext.rst`).

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

/// Where the kernel says it.
#[derive(Clone, Debug)]
pub(crate) struct SchedExt {
    /// The directory in sysfs.
    pub(crate) sysfs: PathBuf,
    /// The kernel's log.
    pub(crate) kmsg: PathBuf,
    /// Where keys of SysRq are written.
    pub(crate) sysrq: PathBuf,
}

impl Default for SchedExt {
    fn default() -> Self {
        Self {
            sysfs: "/sys/kernel/sched_ext".into(),
            kmsg: "/dev/kmsg".into(),
            sysrq: "/proc/sysrq-trigger".into(),
        }
    }
}

impl SchedExt {
    /// A kernel of plain files, below a directory.
    #[cfg(test)]
    pub(crate) fn at(dir: &std::path::Path) -> Self {
        Self { sysfs: dir.to_owned(), kmsg: dir.join("kmsg"), sysrq: dir.join("sysrq") }
    }

    /// Whether the kernel was built with it.
    pub(crate) fn exists(&self) -> bool {
        self.sysfs.is_dir()
    }

    /// `disabled`, `enabling`, `enabled` or `disabling`.
    pub(crate) fn state(&self) -> String {
        self.read("state")
    }

    /// The name of the scheduler that is attached; empty if there is none.
    pub(crate) fn ops(&self) -> String {
        self.read("root/ops")
    }

    /// How many schedulers were attached since boot; none where the kernel does not count them.
    pub(crate) fn enable_seq(&self) -> Option<u64> {
        self.read("enable_seq").parse().ok()
    }

    /// What the kernel has counted for the scheduler that is attached.
    pub(crate) fn events(&self) -> BTreeMap<String, u64> {
        let text = self.read("root/events");
        let pair = |line: &str| {
            let (name, count) = line.split_once(' ')?;
            Some((name.to_owned(), count.trim().parse().ok()?))
        };
        text.lines().filter_map(pair).collect()
    }

    /// A file's text; empty where it cannot be read, as while a scheduler comes or goes.
    fn read(&self, file: &str) -> String {
        let text = fs::read_to_string(self.sysfs.join(file)).unwrap_or_default();
        text.trim_end().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let sched_ext = SchedExt::at(dir.path());
        assert_eq!((sched_ext.state(), sched_ext.ops()), (String::new(), String::new()));
        assert_eq!(sched_ext.enable_seq(), None);
        fs::create_dir(dir.path().join("root")).unwrap();
        let files = [
            ("state", "enabled\n"),
            ("enable_seq", "3\n"),
            ("root/ops", "belljar\n"),
            ("root/events", "SCX_EV_SELECT_CPU_FALLBACK 4\nSCX_EV_X -1\nodd\n"),
        ];
        for (file, text) in files {
            fs::write(dir.path().join(file), text).unwrap();
        }
        assert_eq!((sched_ext.state(), sched_ext.ops()), ("enabled".into(), "belljar".into()));
        assert_eq!(sched_ext.enable_seq(), Some(3));
        let fallbacks = ("SCX_EV_SELECT_CPU_FALLBACK".to_owned(), 4);
        assert_eq!(sched_ext.events(), BTreeMap::from([fallbacks]));
    }
}
