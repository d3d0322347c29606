//! The player comes before what it plays: a scheduler under test does not schedule it.

use std::io;

/// This thread runs under `SCHED_FIFO` until this is dropped. What it starts does not.
///
/// sched_ext has the fair classes alone. Were the player among them, a scheduler that starves
/// everybody would hold up the test that is to find this out, and releases, changes of CPUs and ends
/// of holds would come when the scheduler pleases.
#[derive(Debug)]
pub(crate) struct Precedence {
    policy: i32,
    parameters: libc::sched_param,
}

impl Precedence {
    pub(crate) fn take() -> io::Result<Self> {
        let mut parameters = libc::sched_param { sched_priority: 0 };
        // SAFETY: the place is valid for what the call writes; 0 is the calling thread.
        checked(unsafe { libc::sched_getparam(0, &mut parameters) })?;
        // SAFETY: the call takes a plain number.
        let policy = checked(unsafe { libc::sched_getscheduler(0) })?;
        let first = libc::sched_param { sched_priority: 99 };
        set(libc::SCHED_FIFO | libc::SCHED_RESET_ON_FORK, &first)?;
        Ok(Self { policy, parameters })
    }
}

impl Drop for Precedence {
    fn drop(&mut self) {
        // It was so before, and giving up precedence is always allowed.
        let _ = set(self.policy, &self.parameters);
    }
}

fn set(policy: i32, parameters: &libc::sched_param) -> io::Result<()> {
    // SAFETY: the parameters are only read; 0 is the calling thread.
    checked(unsafe { libc::sched_setscheduler(0, policy, parameters) }).map(drop)
}

fn checked(result: i32) -> io::Result<i32> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}
