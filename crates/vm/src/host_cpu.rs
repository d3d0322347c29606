//! The CPU of the host that a `det` machine runs on.
//!
//! QEMU runs all CPUs of such a machine on one thread. Its main thread looks after the clock as well: when
//! it finds all CPUs idle, it turns the clock forward to the next timer. If it comes by just when the last
//! CPU has gone idle, but its last instructions are not yet counted, it reads the clock too early, and
//! the machine is some nanoseconds off from there on. Two threads on one CPU of the host take
//! turns at places where this cannot be, or nearly so; on two CPUs, one run of five was off on a busy host.

use rustix::io::Errno;
use rustix::process::Pid;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use std::fs;
use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// A CPU for one machine, which nobody else takes as long as this value lives, unless there are more
/// machines than CPUs.
#[derive(Debug)]
pub(crate) struct HostCpu {
    cpu: usize,
    /// A name that one socket of the host can have, and that goes with its process.
    _taken: Option<UnixDatagram>,
}

impl HostCpu {
    /// One that this thread may use.
    pub(crate) fn take() -> io::Result<HostCpu> {
        let allowed = sched_getaffinity(None)?;
        let cpus: Vec<usize> = (0..CpuSet::MAX_CPU).filter(|cpu| allowed.is_set(*cpu)).collect();
        for &cpu in &cpus {
            let name = SocketAddr::from_abstract_name(format!("belljar-det-cpu-{cpu}"))?;
            match UnixDatagram::bind_addr(&name) {
                Ok(taken) => return Ok(HostCpu { cpu, _taken: Some(taken) }),
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
                Err(error) => return Err(error),
            }
        }
        let any = std::process::id() as usize % cpus.len().max(1);
        let cpu = *cpus.get(any).ok_or_else(|| io::Error::other("this thread may use no CPU"))?;
        Ok(HostCpu { cpu, _taken: None })
    }

    /// Has all threads of a process run here, and those that they start.
    pub(crate) fn keep(&self, process: u32) -> io::Result<()> {
        let mut only = CpuSet::new();
        only.set(self.cpu);
        for thread in fs::read_dir(format!("/proc/{process}/task"))? {
            let thread = thread?.file_name();
            let thread = thread.to_str().and_then(|thread| thread.parse().ok());
            match sched_setaffinity(thread.and_then(Pid::from_raw), &only) {
                // It has ended meanwhile.
                Ok(()) | Err(Errno::SRCH) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn a_process_is_kept_where_nobody_else_is() {
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let pid = Pid::from_raw(child.id().cast_signed());
        let all = sched_getaffinity(pid).unwrap().count();
        let places: Vec<HostCpu> = (0..=all).map(|_| HostCpu::take().unwrap()).collect();
        for (index, place) in places.iter().enumerate() {
            place.keep(child.id()).unwrap();
            let now = sched_getaffinity(pid).unwrap();
            assert!(now.count() == 1 && now.is_set(place.cpu));
            let before = &places[..index];
            let is_shared = before.iter().any(|other| other.cpu == place.cpu);
            assert!(place._taken.is_none() || !is_shared);
        }
        assert!(places.last().unwrap()._taken.is_none(), "there are no more");
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
