//! CPU time, as the kernel counts it.

use std::fs;
use std::io;

use rustix::process::Pid;

use crate::orphan::children;

/// The CPU time of a process with all its threads, those that have ended too, in nanoseconds.
///
/// This is the process's CPU-time clock (clock_getcpuclockid(3)): it has the scheduler's resolution,
/// where `/proc/PID/stat` counts in hundredths of a second. It can be read until the process has been
/// waited for.
///
/// # Errors
///
/// The kernel's, for a process that is not there.
#[expect(unsafe_code)]
pub fn process_cpu_ns(pid: Pid) -> io::Result<u64> {
    let mut clock = 0;
    // SAFETY: `clock` is a valid place for a clock id.
    let error = unsafe { libc::clock_getcpuclockid(pid.as_raw_nonzero().get(), &raw mut clock) };
    if error != 0 {
        return Err(io::Error::from_raw_os_error(error));
    }
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a valid place for a time.
    if unsafe { libc::clock_gettime(clock, &raw mut time) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // Neither is ever negative.
    Ok(time.tv_sec.unsigned_abs() * 1_000_000_000 + time.tv_nsec.unsigned_abs())
}

/// What all processes of the machine have used since it was booted.
#[derive(Clone, Copy, Debug)]
pub struct MachineCpu {
    busy_ns: u64,
    cpus: u64,
}

impl MachineCpu {
    /// Up to now. What a hypervisor gave to other machines counts too. The resolution is a tick for
    /// each CPU.
    ///
    /// # Errors
    ///
    /// When `/proc/stat` cannot be read.
    pub fn now() -> io::Result<Self> {
        let text = fs::read_to_string("/proc/stat")?;
        let missing = || io::Error::other("/proc/stat has no `cpu` line");
        let ticks = busy_ticks(&text).ok_or_else(missing)?;
        let tick_ns = 1_000_000_000 / rustix::param::clock_ticks_per_second();
        Ok(Self { busy_ns: ticks.saturating_mul(tick_ns), cpus: cpus(&text) })
    }

    /// What others than those who used `used_ns` have used since `before`, in a time of `wall_ns`; no
    /// more than there are CPUs, since ticks are coarse.
    pub fn foreign_ns(&self, before: &Self, used_ns: u64, wall_ns: u64) -> u64 {
        let busy_ns = self.busy_ns.saturating_sub(before.busy_ns);
        busy_ns.saturating_sub(used_ns).min(wall_ns.saturating_mul(self.cpus))
    }
}

/// CPUs that `/proc/stat` has a line for: those that are online.
fn cpus(stat: &str) -> u64 {
    let lines = stat.lines().filter(|line| line.starts_with("cpu") && !line.starts_with("cpu "));
    lines.count() as u64
}

/// Ticks of `/proc/stat` in which a CPU was not idle: user, nice, system, irq, softirq and steal.
/// See proc_stat(5). Time in guests is in user and nice already.
fn busy_ticks(stat: &str) -> Option<u64> {
    let line = stat.lines().find_map(|line| line.strip_prefix("cpu "))?;
    let fields: Vec<u64> =
        line.split_whitespace().map(|field| field.parse().ok()).collect::<Option<_>>()?;
    let busy = [0, 1, 2, 5, 6, 7].map(|index| fields.get(index).copied());
    busy.into_iter().try_fold(0_u64, |sum, ticks| sum.checked_add(ticks?))
}

/// Whether other processes work for this one: it has children, or had some that used CPU time enough
/// to be counted (a tick, which is most often 10 ms).
pub(crate) fn has_other_processes(pid: Pid) -> io::Result<bool> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let unknown = || io::Error::other(format!("/proc/{pid}/stat is not understood"));
    if children_ticks(&stat).ok_or_else(unknown)? > 0 {
        return Ok(true);
    }
    Ok(!children(pid)?.is_empty())
}

/// User and system time of children that were waited for: the 16th and 17th field of proc_pid_stat(5).
fn children_ticks(stat: &str) -> Option<u64> {
    // The second field is a name in brackets, which may contain anything.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace().skip(13);
    let mut ticks = || fields.next()?.parse::<u64>().ok();
    Some(ticks()? + ticks()?)
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use rustix::process::{WaitId, WaitIdOptions, waitid};

    use super::*;

    #[test]
    fn others_use_what_is_left_and_no_more_than_there_is() {
        let [before, now] =
            [(100, 2), (1000, 2)].map(|(busy_ns, cpus)| MachineCpu { busy_ns, cpus });
        assert_eq!(now.foreign_ns(&before, 600, 700), 300);
        assert_eq!(now.foreign_ns(&before, 1000, 700), 0);
        assert_eq!(now.foreign_ns(&before, 0, 400), 800);
    }

    #[test]
    fn kernel_files_are_understood() {
        let stat = "cpu  10 20 30 1000 500 1 2 3 4 5\ncpu0 10 20 30 1000 500 1 2 3 4 5\n";
        assert_eq!((busy_ticks(stat), cpus(stat)), (Some(66), 1));
        assert_eq!(busy_ticks("cpu  1 2 3\n"), None);
        let stat = "7 (a) b) S 1 7 7 0 -1 0 0 0 0 0 11 12 13 14 20 0 1 0 5";
        assert_eq!(children_ticks(stat), Some(27));
        assert_eq!(children_ticks("7 (a"), None);
    }

    /// The kernel counts what a process uses until it is waited for, and never less.
    #[test]
    fn the_dead_still_have_their_time() {
        let busy = "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done";
        let mut child = Command::new("sh").args(["-c", busy]).spawn().unwrap();
        let pid = Pid::from_child(&child);
        let early_ns = process_cpu_ns(pid).unwrap();
        let ended = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        waitid(WaitId::Pid(pid), ended).unwrap();
        let end_ns = process_cpu_ns(pid).unwrap();
        assert!(end_ns > early_ns && end_ns > 1_000_000, "{early_ns} {end_ns}");
        assert_eq!(process_cpu_ns(pid).unwrap(), end_ns);
        assert!(!has_other_processes(pid).unwrap());
        let machine = MachineCpu::now().unwrap();
        assert!(machine.busy_ns >= end_ns / 2 && machine.cpus > 0, "{machine:?}");
        child.wait().unwrap();
        assert!(process_cpu_ns(pid).is_err());
    }

    #[test]
    fn children_are_seen() {
        let mut child = Command::new("sh")
            .args(["-c", "sleep 1000 & echo; wait"])
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        // The line comes once the child is there.
        let mut line = [0];
        io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut line).unwrap();
        let pid = Pid::from_child(&child);
        let task = format!("/proc/{0}/task/{0}/children", child.id());
        let sleep = fs::read_to_string(task).unwrap();
        assert!(has_other_processes(pid).unwrap());
        let sleep = Pid::from_raw(sleep.trim().parse().unwrap()).unwrap();
        rustix::process::kill_process(sleep, rustix::process::Signal::KILL).unwrap();
        child.wait().unwrap();
    }
}
