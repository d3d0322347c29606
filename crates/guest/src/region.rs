//! The guest's side of the channel's region.

#![allow(dead_code, reason = "agent and library each use a part")]

use crate::channel::{
    self, AGENT_LOG, Code, DONE, FREEZE_PORT, FREEZES, FROZEN_AT, GO, LogArea, PROCESS_LOG,
    REQUEST, REQUEST_LEN, ROUND_NS, State, WINDOW, WINDOW_LAST, WINDOW_LEN, encode_frame,
};
use crate::rounds::Rounds;
use crate::sys;
use std::fs::OpenOptions;
use std::io;
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

/// The region, mapped for as long as the process lives.
#[derive(Debug)]
pub(crate) struct Region {
    base: *mut u8,
    rounds: Option<Rounds>,
}

// SAFETY: the mapping is never removed. Words are only touched as atomics, and each
// log has one owner (`Log`); what the host writes, it writes while the machine is
// frozen.
unsafe impl Send for Region {}
// SAFETY: as above.
unsafe impl Sync for Region {}

impl Region {
    /// Maps the region and opens the freeze port to this thread.
    pub(crate) fn map() -> io::Result<Region> {
        let memory = OpenOptions::new().read(true).write(true).open("/dev/mem")?;
        let base = sys::map_shared(memory.as_raw_fd(), channel::BASE, channel::SIZE)?;
        sys::allow_port(FREEZE_PORT)?;
        let mut region = Region { base, rounds: None };
        if region.word(ROUND_NS).load(Ordering::Relaxed) > 0 {
            region.rounds = Some(Rounds::map(&memory)?);
        }
        Ok(region)
    }

    /// Writes the number by which the host knows the region.
    pub(crate) fn claim(&self) {
        let (low, high) = (channel::MAGIC as u32, (channel::MAGIC >> 32) as u32);
        self.word(0).store(low, Ordering::Relaxed);
        self.word(4).store(high, Ordering::Relaxed);
    }

    /// Freezes the machine until the host has acted on `state`.
    pub(crate) fn freeze(&self, state: State) {
        self.word(channel::STATE).store(state as u32, Ordering::Relaxed);
        let freeze = self.word(FREEZES).load(Ordering::Relaxed).wrapping_add(1);
        self.word(FREEZES).store(freeze, Ordering::Release);
        self.long(FROZEN_AT).store(sys::time_stamp(), Ordering::Release);
        sys::write_port(FREEZE_PORT, 1);
        while self.word(GO).load(Ordering::Acquire) != freeze {
            std::hint::spin_loop();
        }
    }

    /// [`Region::freeze`], for a machine of which a template is being made.
    ///
    /// A freeze stops the CPU that asks for it at that instruction, and the others a
    /// moment of host time later. What they do in that moment must not be in a template
    /// that has to come out the same whenever it is made, so they get the time to come
    /// to rest first. (In `det` that time costs next to nothing.) Nor must QEMU find
    /// anything to do then: see [`Rounds::guard`].
    pub(crate) fn freeze_at_rest(&self, state: State) {
        // Where templates do not repeat anyway, the middle of a payload is no time to rest.
        if self.rounds.is_some() || state != State::Want {
            std::thread::sleep(Duration::from_millis(20));
        }
        if let Some(rounds) = &self.rounds {
            rounds.guard();
        }
        self.freeze(state);
        let round_ns = match state {
            State::Waiting => self.word(ROUND_NS).load(Ordering::Relaxed),
            _ => 0,
        };
        self.set_round(round_ns);
    }

    /// Has every CPU get its turn within so much guest time, where they take turns; 0 for
    /// whenever.
    pub(crate) fn set_round(&self, round_ns: u32) {
        if let Some(rounds) = &self.rounds {
            rounds.set(round_ns);
        }
    }

    /// The same with the host's choice, but at least `round_ns`; none if the host wants none.
    pub(crate) fn set_round_at_least(&self, round_ns: u32) {
        let chosen_ns = self.word(ROUND_NS).load(Ordering::Relaxed);
        self.set_round(if chosen_ns == 0 { 0 } else { chosen_ns.max(round_ns) });
    }

    /// Says that the test process has said all that it has to say.
    pub(crate) fn set_done(&self) {
        self.word(DONE).store(1, Ordering::Release);
    }

    /// Whether the test process has.
    pub(crate) fn is_done(&self) -> bool {
        self.word(DONE).load(Ordering::Acquire) != 0
    }

    /// The request.
    pub(crate) fn request(&self) -> Vec<u8> {
        let len = self.word(REQUEST_LEN).load(Ordering::Acquire) as usize;
        self.copy_out(REQUEST.offset, len.min(REQUEST.len))
    }

    /// The bytes in the window, and whether they are the payload's last.
    pub(crate) fn window(&self) -> (&[u8], bool) {
        let len = self.word(WINDOW_LEN).load(Ordering::Acquire) as usize;
        let last = self.word(WINDOW_LAST).load(Ordering::Acquire) != 0;
        let start = self.base.wrapping_add(WINDOW.offset);
        // SAFETY: the window lies within the mapping. Nobody in the guest writes to it,
        // and the host only while this program stands still in a freeze, which borrows
        // nothing of it.
        let bytes = unsafe { std::slice::from_raw_parts(start, len.min(WINDOW.len)) };
        (bytes, last)
    }

    /// The agent's log; to be taken once, by the agent.
    pub(crate) fn agent_log(&'static self) -> Log {
        Log::new(self, AGENT_LOG)
    }

    /// The process's log; to be taken once, by the test process.
    pub(crate) fn process_log(&'static self) -> Log {
        Log::new(self, PROCESS_LOG)
    }

    fn copy_out(&self, offset: usize, len: usize) -> Vec<u8> {
        assert!(offset + len <= channel::SIZE);
        let mut bytes = vec![0; len];
        // SAFETY: the range lies within the mapping, and the host writes it only
        // while the machine is frozen.
        unsafe {
            std::ptr::copy_nonoverlapping(self.base.wrapping_add(offset), bytes.as_mut_ptr(), len);
        }
        bytes
    }

    fn word(&self, offset: usize) -> &AtomicU32 {
        assert!(offset.is_multiple_of(4) && offset < channel::SIZE);
        // SAFETY: the word lies within the mapping and is aligned, since mappings
        // start at a page.
        unsafe { AtomicU32::from_ptr(self.base.wrapping_add(offset).cast()) }
    }

    fn long(&self, offset: usize) -> &AtomicU64 {
        assert!(offset.is_multiple_of(8) && offset < channel::SIZE);
        // SAFETY: as in `word`.
        unsafe { AtomicU64::from_ptr(self.base.wrapping_add(offset).cast()) }
    }
}

/// A log that this process appends to.
#[derive(Debug)]
pub(crate) struct Log {
    region: &'static Region,
    area: LogArea,
    frames: u64,
    scratch: Vec<u8>,
}

impl Log {
    fn new(region: &'static Region, area: LogArea) -> Log {
        Log { region, area, frames: 0, scratch: Vec::new() }
    }

    /// Appends a frame, or counts its bytes as dropped when it does not fit.
    pub(crate) fn append(&mut self, code: Code, body: &[u8]) {
        self.scratch.clear();
        encode_frame(&mut self.scratch, code, self.frames, sys::monotonic_ns(), body);
        let committed = self.region.word(self.area.control);
        let at = committed.load(Ordering::Relaxed) as usize;
        if at + self.scratch.len() > self.area.data.len {
            let dropped = self.region.long(self.area.control + 8);
            dropped.fetch_add(body.len() as u64, Ordering::Relaxed);
            return;
        }
        let to = self.region.base.wrapping_add(self.area.data.offset + at);
        // SAFETY: the range lies within this log's area, of which `self` is the only
        // writer, and which the host reads only up to `committed`.
        unsafe { std::ptr::copy_nonoverlapping(self.scratch.as_ptr(), to, self.scratch.len()) };
        committed.store((at + self.scratch.len()) as u32, Ordering::Release);
        self.frames += 1;
    }
}
