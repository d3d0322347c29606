//! Processor time of a process, as the kernel has it.

use std::fs;
use std::time::Duration;

/// The time that all threads of a process have had, those that have ended included; nothing for a
/// process that cannot be seen. As fine as the kernel's ticks, mostly 10 ms.
pub(crate) fn time_of(pid: u32) -> Option<Duration> {
    parse(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// Fields 14 and 15 of `/proc/PID/stat` (proc_pid_stat(5)); the second field may hold anything.
fn parse(stat: &str) -> Option<Duration> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    let per_second = rustix::param::clock_ticks_per_second();
    Some(Duration::from_millis((user + system) * 1000 / per_second.max(1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_may_be_called_anything() {
        let stat = "7 (a) b (c) S 1 2 3 4 5 6 7 8 9 10 150 50 0 0";
        let ticks = rustix::param::clock_ticks_per_second();
        assert_eq!(parse(stat), Some(Duration::from_millis(200_000 / ticks)));
        assert_eq!(parse("7 (a) S 1 2"), None);
        assert!(time_of(std::process::id()).is_some() && time_of(u32::MAX).is_none());
    }
}
