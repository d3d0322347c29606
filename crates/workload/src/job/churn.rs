//! Tasks that change themselves, or come and go.

use belljar_scenario::Policy;
use belljar_topology::CpuId;
use rustix::io::Errno;
use rustix::process::{Pid, WaitOptions, waitpid};
use std::time::Duration;

use super::Job;
use super::futex::become_policy;
use crate::hand::{Hand, Outcome, Refusal, Tried};
use crate::sys::{self, Forked};

/// How long to wait when there can be no more processes for now.
const BREATH: Duration = Duration::from_millis(1);

/// `fork(2)`, `exit(2)`, `wait(2)`: `sched_fork`, `wake_up_new_task`, `task_dead`.
pub(super) struct ForkExit;

impl Job for ForkExit {
    fn work(&self, hand: &mut Hand<'_>) -> Outcome {
        while hand.goes_on() {
            let Some(child) = fork_or_breathe(hand, || 0)? else { continue };
            wait_for(hand, child)?;
            hand.did(1);
        }
        Ok(())
    }
}

/// Forks a child that does this and exits; none when the limit on processes is reached.
pub(super) fn fork_or_breathe(
    hand: &mut Hand<'_>,
    child: impl FnOnce() -> i32,
) -> Result<Option<Pid>, Refusal> {
    match sys::fork() {
        Ok(Forked::Child) => sys::exit_now(child()),
        Ok(Forked::Parent(pid)) => Ok(Some(pid)),
        Err(error) if error.raw_os_error() == Some(libc::EAGAIN) => {
            hand.nap(BREATH);
            Ok(None)
        }
        Err(error) => Err(Refusal(format!("cannot fork: {error}"))),
    }
}

/// Waits until a child has ended; an exit code other than 0 is the child's refusal.
pub(super) fn wait_for(hand: &mut Hand<'_>, child: Pid) -> Outcome {
    loop {
        match hand.wait(|| waitpid(Some(child), WaitOptions::empty())) {
            Err(Errno::INTR) => {}
            Ok(Some((_, status))) if status.exit_status().is_some_and(|code| code != 0) => {
                let code = std::io::Error::from_raw_os_error(status.exit_status().unwrap_or(0));
                return Err(Refusal(format!("a child could not do its part: {code}")));
            }
            result => return result.map(drop).tried(|| "wait for a child".into()),
        }
    }
}

/// `setpriority(2)` through all nice values: `reweight_task`.
pub(super) struct NiceSweep;

impl Job for NiceSweep {
    fn work(&self, hand: &mut Hand<'_>) -> Outcome {
        let mut values = (-20..20).cycle();
        while hand.goes_on() {
            let nice = values.next().unwrap_or(0);
            rustix::process::setpriority_process(None, nice)
                .tried(|| format!("set the nice value {nice}"))?;
            hand.spin(512);
            hand.did(1);
        }
        Ok(())
    }
}

/// `sched_setaffinity(2)` of oneself or of the others in the group: `__set_cpus_allowed_ptr`, the
/// stopper thread, and a migration each time.
pub(super) struct AffinityChurn {
    pub(super) spin: u64,
    pub(super) of_others: bool,
}

impl Job for AffinityChurn {
    fn work(&self, hand: &mut Hand<'_>) -> Outcome {
        let count = hand.brief.count;
        let mut at = hand.rng.usize(0..1 << 16);
        let mut other = hand.index;
        while hand.goes_on() {
            let cpus: Vec<CpuId> = online(hand)?;
            let cpu = cpus[at % cpus.len()];
            at += 1;
            other = (other + 1) % count;
            if other == hand.index {
                other = (other + 1) % count;
            }
            let thread = self.of_others.then(|| hand.thread(other));
            match sys::set_affinity(thread, &std::iter::once(cpu).collect()) {
                // The cpuset has just changed, or the other one has just ended.
                Err(error) if matches!(error.raw_os_error(), Some(libc::EINVAL | libc::ESRCH)) => {}
                result => result.tried(|| format!("bind a worker to CPU {cpu}"))?,
            }
            let units = hand.spin_units(self.spin, 1024);
            hand.did(units + 1);
        }
        Ok(())
    }
}

/// The CPUs that are both declared and allowed; if that is none, those that the kernel allows.
pub(super) fn online(hand: &Hand<'_>) -> Result<Vec<CpuId>, Refusal> {
    let allowed = hand.allowed().intersection(&hand.topology().cpus());
    let allowed = if allowed.is_empty() {
        sys::affinity().tried(|| "read the affinity".into())?
    } else {
        allowed
    };
    Ok(allowed.iter().collect())
}

/// `sched_setscheduler(2)` of oneself: dequeue from one class, enqueue to another.
pub(super) struct PolicyChurn {
    pub(super) spin: u64,
}

impl Job for PolicyChurn {
    fn work(&self, hand: &mut Hand<'_>) -> Outcome {
        let (fifo, rr) = (Policy::Fifo { priority: 1 }, Policy::RoundRobin { priority: 1 });
        let mut policies = vec![Policy::Normal, Policy::Batch, Policy::Idle];
        if become_policy(fifo).is_ok() {
            policies.extend([fifo, rr]);
        }
        let mut at = 0;
        while hand.goes_on() {
            become_policy(policies[at % policies.len()])?;
            at += 1;
            let units = hand.spin_units(self.spin, 1024);
            hand.did(units + 1);
        }
        Ok(())
    }
}

/// `mmap(2)`, first touches, `munmap(2)`: `do_anonymous_page`, the page allocator, TLB shootdowns.
pub(super) struct PageFaults {
    pub(super) bytes: u64,
    pub(super) touches: u32,
    pub(super) spin: u64,
}

impl Job for PageFaults {
    fn work(&self, hand: &mut Hand<'_>) -> Outcome {
        let pages = (self.bytes as usize / sys::PAGE).max(1);
        // From page to page by a step that is coprime with most sizes.
        const STEP: usize = 97;
        while hand.goes_on() {
            let mut mapping = sys::Mapping::new(pages * sys::PAGE)
                .tried(|| format!("map {} bytes", self.bytes))?;
            for touch in 0..self.touches as usize {
                if !hand.goes_on() {
                    break;
                }
                mapping.bytes_mut()[touch * STEP % pages * sys::PAGE] = 1;
                hand.spin(self.spin);
                hand.did_part(1);
            }
            hand.did(0);
        }
        Ok(())
    }
}
