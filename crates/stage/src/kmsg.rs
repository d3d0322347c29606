//! The kernel's log, from a moment on.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// The most that is kept of the log; a kernel that says more has said enough.
const LINES_MAX: usize = 5000;
/// The longest record that the kernel writes into its log's file.
const RECORD_MAX_BYTES: usize = 8192;
/// After the first line of a warning or an oops, the lines that belong to it.
const TRACE_LINES: usize = 30;

/// Lines of the kernel's log with the level `LOG_ERR` and those that are worse.
const ERROR: u8 = 3;

/// A line of the kernel's log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLine {
    /// Its level, from 0 for emergencies to 7 for debugging.
    pub level: u8,
    /// When it was written, by the kernel's own clock, which need not be that of everything else.
    pub at_us: u64,
    /// The text.
    pub text: String,
}

impl LogLine {
    /// Reads a record of `/dev/kmsg` (`Documentation/ABI/testing/dev-kmsg`):
    /// `level and facility,sequence,microseconds,flags;text`, and lines of details after that.
    #[must_use]
    pub fn parse(record: &str) -> Option<Self> {
        let (prefix, text) = record.split_once(';')?;
        let mut fields = prefix.split(',');
        let level: u32 = fields.next()?.parse().ok()?;
        let at_us = fields.nth(1)?.parse().ok()?;
        let text = text.lines().next().unwrap_or_default().to_owned();
        Some(Self { level: (level & 7) as u8, at_us, text })
    }

    /// Whether it speaks of trouble: a warning, a bug, a lockup, a hung task, a stall, a lack of
    /// memory of the whole machine, or an error of sched_ext.
    #[must_use]
    pub fn is_trouble(&self) -> bool {
        const BEGINNINGS: [&str; 6] = [
            "WARNING: ",
            "BUG: ",
            "Oops",
            "Kernel panic",
            "general protection fault",
            "Out of memory",
        ];
        const PARTS: [&str; 12] = [
            "kernel BUG at",
            "soft lockup",
            "hard LOCKUP",
            "blocked for more than",
            "detected stall",
            "self-detected stall",
            "kthread starved",
            "scheduling while atomic",
            "possible circular locking",
            "suspicious RCU usage",
            "UBSAN: ",
            "KASAN: ",
        ];
        let text = &self.text;
        BEGINNINGS.iter().any(|beginning| text.starts_with(beginning))
            || PARTS.iter().any(|part| text.contains(part))
            || (self.level <= ERROR && text.starts_with("sched_ext: "))
    }

    /// Whether it begins a report of several lines.
    fn begins_trace(&self) -> bool {
        ["WARNING: ", "BUG: ", "Oops"].iter().any(|beginning| self.text.starts_with(beginning))
            || self.text.contains("soft lockup")
    }
}

/// Those of the lines that speak of trouble, each with the trace that belongs to it.
#[must_use]
pub fn trouble(lines: &[LogLine]) -> Vec<String> {
    let mut found = Vec::new();
    let mut trace = 0;
    for line in lines {
        if line.is_trouble() {
            trace = if line.begins_trace() { TRACE_LINES } else { trace };
            found.push(line.text.clone());
        } else if trace > 0 {
            found.push(line.text.clone());
            trace = if line.text.contains("---[ end trace") { 0 } else { trace - 1 };
        }
    }
    found
}

/// Reads the kernel's log from the moment on at which it was opened.
#[derive(Debug)]
pub(crate) struct KernelLog {
    file: File,
    lines: Vec<LogLine>,
}

impl KernelLog {
    /// Opens the log, which is the file `/dev/kmsg`, behind its last line.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let mut file = File::options().read(true).custom_flags(libc::O_NONBLOCK).open(path)?;
        file.seek(SeekFrom::End(0))?;
        Ok(Self { file, lines: Vec::new() })
    }

    /// Takes what is new, and gives those lines.
    pub(crate) fn read(&mut self) -> &[LogLine] {
        let known = self.lines.len();
        let mut record = [0; RECORD_MAX_BYTES];
        loop {
            match self.file.read(&mut record) {
                Ok(0) => break,
                Ok(len) => {
                    let line = LogLine::parse(&String::from_utf8_lossy(&record[..len]));
                    if self.lines.len() < LINES_MAX {
                        self.lines.extend(line);
                    }
                }
                // Records were overwritten before they were read: the next read has the oldest.
                Err(error) if error.raw_os_error() == Some(libc::EPIPE) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => break,
            }
        }
        &self.lines[known..]
    }

    /// All lines that were read.
    pub(crate) fn lines(&self) -> &[LogLine] {
        &self.lines
    }
}

impl AsFd for KernelLog {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn line(level: u8, text: &str) -> LogLine {
        LogLine { level, at_us: 0, text: text.to_owned() }
    }

    #[test]
    fn records_are_read_as_the_kernel_writes_them() {
        let record = "12,339,5140900,-;hello; you\n SUBSYSTEM=acpi\n DEVICE=+acpi:PNP0A03:00\n";
        let parsed = LogLine { level: 4, at_us: 5_140_900, text: "hello; you".to_owned() };
        assert_eq!(LogLine::parse(record), Some(parsed));
        assert_eq!(LogLine::parse("x,1,2;y"), None);
        assert_eq!(LogLine::parse("6,1"), None);
    }

    #[test]
    fn trouble_is_told_from_talk() {
        for text in [
            "watchdog: BUG: soft lockup - CPU#1 stuck for 22s! [spin:71]",
            "INFO: task kworker/0:1:12 blocked for more than 120 seconds.",
            "rcu: INFO: rcu_preempt self-detected stall on CPU",
            "rcu: INFO: rcu_sched detected stalls on CPUs/tasks:",
            "WARNING: CPU: 3 PID: 71 at kernel/sched/core.c:1 f+0x1/0x2",
            "BUG: kernel NULL pointer dereference, address: 0000000000000000",
            "BUG: scheduling while atomic: w/7/0x2",
        ] {
            assert!(line(4, text).is_trouble(), "{text}");
        }
        assert!(
            line(3, "sched_ext: BPF scheduler \"x\" disabled (runnable task stall)").is_trouble()
        );
        for text in [
            "sched_ext: BPF scheduler \"x\" enabled",
            "sched_ext: BPF scheduler \"x\" disabled (unregistered from user space)",
            "Memory cgroup out of memory: Killed process 7 (w)",
            "hrtimer: interrupt took 2342 ns",
        ] {
            assert!(!line(6, text).is_trouble(), "{text}");
        }
        let deprecated = "sched_ext: Writing directly to p->scx.slice/dsq_vtime is deprecated";
        assert!(!line(4, deprecated).is_trouble());
    }

    #[test]
    fn a_warning_keeps_its_trace() {
        let log = [
            line(6, "before"),
            line(4, "WARNING: CPU: 3 PID: 71 at kernel/sched/core.c:1 f+0x1/0x2"),
            line(4, "Call Trace:"),
            line(4, "---[ end trace 0000000000000000 ]---"),
            line(6, "after"),
        ];
        let texts: Vec<String> = log[1..4].iter().map(|line| line.text.clone()).collect();
        assert_eq!(trouble(&log), texts);
    }

    proptest! {
        #[test]
        fn any_record_ends_without_panic(record in any::<String>(), level in any::<u32>()) {
            let _ = LogLine::parse(&record);
            let parsed = LogLine::parse(&format!("{level},1,2,-;{record}")).unwrap();
            prop_assert!(parsed.level <= 7);
        }
    }
}
