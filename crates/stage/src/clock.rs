//! The guest's monotonic clock, and waiting on it.

use std::os::fd::BorrowedFd;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::time::{ClockId, clock_gettime};

/// A moment of `CLOCK_MONOTONIC` in nanoseconds, as all moments in evidence are.
pub(crate) fn now_ns() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// A duration in nanoseconds.
pub(crate) fn ns(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// The moment `time` from now.
pub(crate) fn after(time: Duration) -> u64 {
    now_ns().saturating_add(ns(time))
}

/// Sleeps to a moment, whatever signals come.
pub(crate) fn sleep_until(until_ns: u64) {
    wait(&[], until_ns);
}

/// What a file is waited for.
#[derive(Clone, Copy)]
pub(crate) enum Wants {
    /// There is something to read, or nobody will write any more.
    Read,
    /// The kernel has changed it, as it does with files of cgroups.
    Change,
}

/// Waits until one of `files` has what it is waited for, or for a moment: true when a file has it.
///
/// The moment is absolute: what is read from `files` meanwhile does not move it.
pub(crate) fn wait(files: &[(BorrowedFd<'_>, Wants)], until_ns: u64) -> bool {
    let mut polled: Vec<PollFd<'_>> = files
        .iter()
        .map(|(fd, wants)| {
            let events = match wants {
                Wants::Read => PollFlags::IN,
                Wants::Change => PollFlags::PRI,
            };
            PollFd::from_borrowed_fd(*fd, events)
        })
        .collect();
    loop {
        let left = until_ns.saturating_sub(now_ns());
        let left = Timespec {
            tv_sec: i64::try_from(left / 1_000_000_000).unwrap_or(i64::MAX),
            tv_nsec: (left % 1_000_000_000) as i64,
        };
        match poll(&mut polled, Some(&left)) {
            Ok(0) if now_ns() >= until_ns => return false,
            Ok(0) | Err(Errno::INTR) => {}
            Ok(_) => return true,
            // Out of kernel memory, or more files than the process may have: time still passes.
            Err(_) if polled.is_empty() => return false,
            Err(_) => polled.clear(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn a_wait_ends_at_its_moment_or_with_its_file() {
        let until = after(Duration::from_millis(2));
        assert!(!wait(&[], until));
        assert!(now_ns() >= until);

        let (reader, writer) = std::io::pipe().unwrap();
        drop(writer);
        assert!(wait(&[(reader.as_fd(), Wants::Read)], u64::MAX));
    }
}
