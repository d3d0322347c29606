//! The memory that a crew and its workers share: all that must outlive a worker's death lies here.

use std::io;
use std::sync::atomic::Ordering::{Acquire, Relaxed};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, AtomicU64};

use belljar_topology::{CpuId, CpuSet};

use crate::histogram::Histogram;

/// CPUs that can be told apart, which is what affinity masks of the C library hold.
pub(crate) const CPUS: usize = 1024;
/// Migrations that are kept one by one.
pub(crate) const MOVES: usize = 64;
/// Sightings outside of what was allowed that are kept, one for each CPU.
pub(crate) const STRAYS: usize = 64;

/// How far a worker has come: the values of [`Slot::state`]. It is 0 from the fork on.
pub(crate) mod state {
    pub(crate) const READY: u32 = 1;
    pub(crate) const RUNNING: u32 = 2;
    pub(crate) const STOPPED: u32 = 3;
    pub(crate) const COMPLETED: u32 = 4;
    pub(crate) const NOT_STARTED: u32 = 5;
    pub(crate) const FAILED: u32 = 6;
    pub(crate) const PANICKED: u32 = 7;
}

/// What workers are told: the values of [`Board::stop`]. It is 0 until then.
pub(crate) mod stop {
    /// To stop, and to report.
    pub(crate) const REPORT: u32 = 1;
    /// To stop: nobody takes reports.
    pub(crate) const GO: u32 = 2;
}

/// What all workers of a crew read. All zero at first, as is everything here.
#[repr(C, align(128))]
pub(crate) struct Board {
    /// Not 0 when all shall stop: see [`stop`]. Whoever has ended before waits for that.
    pub(crate) stop: AtomicU32,
    /// Grows, and wakes, whenever a worker becomes ready, ends or has reported.
    pub(crate) news: AtomicU32,
    /// Odd while nobody is to be judged by where he runs; even and greater than before when that is
    /// over.
    pub(crate) epoch: AtomicU32,
    /// The step in which things happen, plus one; 0 for none.
    pub(crate) step: AtomicU32,
    /// Grows when a hold begins or ends.
    pub(crate) hold: AtomicU32,
    /// When that was.
    pub(crate) hold_ns: AtomicU64,
}

/// What one worker writes (and the crew reads) while it works. What it knows only at its end is in its
/// [`Report`](crate::report::Report).
#[repr(C, align(128))]
pub(crate) struct Slot {
    /// See [`state`].
    pub(crate) state: AtomicU32,
    /// Whether it has ended and has reported, or has given up reporting.
    pub(crate) is_through: AtomicBool,
    /// Not 0 when the worker may begin.
    pub(crate) gate: AtomicU32,
    pub(crate) tid: AtomicU32,
    /// Whether it waits of its own accord.
    pub(crate) waits: AtomicBool,
    pub(crate) began_ns: AtomicU64,
    /// The last checkpoint, or the end of the last wait.
    pub(crate) last_ns: AtomicU64,
    pub(crate) units: AtomicU64,
    pub(crate) iterations: AtomicU64,
    /// What the kernel had counted at the beginning; the counters that follow start there.
    pub(crate) first_cpu_ns: AtomicU64,
    pub(crate) first_run_delay_ns: AtomicU64,
    pub(crate) cpu_ns: AtomicU64,
    pub(crate) run_delay_ns: AtomicU64,
    pub(crate) migrations: AtomicU64,
    pub(crate) node_migrations: AtomicU64,
    pub(crate) gap: GapCell,
    /// The longest gap since a hold began or ended, and which that was.
    pub(crate) hold_gap: GapCell,
    pub(crate) hold: AtomicU32,
    pub(crate) used: Mask,
    pub(crate) allowed: Mask,
    pub(crate) moves: [MoveCell; MOVES],
    pub(crate) strays: [StrayCell; STRAYS],
    pub(crate) stray_count: AtomicU32,
    pub(crate) wake: Histogram,
    pub(crate) timer: Histogram,
    pub(crate) cost: Histogram,
}

#[repr(C)]
pub(crate) struct GapCell {
    pub(crate) wall_ns: AtomicU64,
    pub(crate) cpu_ns: AtomicU64,
    pub(crate) run_delay_ns: AtomicU64,
    pub(crate) at_ns: AtomicU64,
    pub(crate) cpu: AtomicU32,
    pub(crate) step: AtomicU32,
}

#[repr(C)]
pub(crate) struct MoveCell {
    pub(crate) at_ns: AtomicU64,
    pub(crate) from: AtomicU32,
    pub(crate) to: AtomicU32,
}

#[repr(C)]
pub(crate) struct StrayCell {
    pub(crate) at_ns: AtomicU64,
    pub(crate) cpu: AtomicU32,
    pub(crate) epoch: AtomicU32,
}

/// A place of a worker that those it works with read and write.
#[repr(C, align(128))]
#[derive(Default)]
pub(crate) struct Desk {
    /// Words to wait for.
    pub(crate) words: [AtomicU32; 8],
    /// Moments, mostly.
    pub(crate) stamps: [AtomicU64; 8],
    /// A number that may be negative.
    pub(crate) level: AtomicI64,
}

/// A set of CPUs.
#[repr(C)]
pub(crate) struct Mask([AtomicU64; CPUS / 64]);

impl Mask {
    /// Whether it has a CPU. What is too high to be told apart is in all of them.
    pub(crate) fn has(&self, cpu: u32) -> bool {
        self.0.get(cpu as usize / 64).is_none_or(|word| word.load(Relaxed) >> (cpu % 64) & 1 == 1)
    }

    /// Puts a CPU in.
    pub(crate) fn insert(&self, cpu: u32) {
        if let Some(word) = self.0.get(cpu as usize / 64) {
            let bit = 1 << (cpu % 64);
            if word.load(Relaxed) & bit == 0 {
                word.fetch_or(bit, Relaxed);
            }
        }
    }

    /// Makes it hold these and no others.
    pub(crate) fn set(&self, cpus: &CpuSet) {
        let mut words = [0u64; CPUS / 64];
        for CpuId(cpu) in cpus.iter() {
            if let Some(word) = words.get_mut(cpu as usize / 64) {
                *word |= 1 << (cpu % 64);
            }
        }
        for (cell, word) in self.0.iter().zip(words) {
            cell.store(word, Relaxed);
        }
    }

    /// What it holds.
    pub(crate) fn get(&self) -> CpuSet {
        let words = self.0.iter().map(|word| word.load(Relaxed));
        (0..)
            .zip(words)
            .flat_map(|(at, word)| {
                (0..64).filter(move |bit| word >> bit & 1 == 1).map(move |bit| CpuId(at * 64 + bit))
            })
            .collect()
    }
}

impl Slot {
    /// Whether the worker has ended in an orderly way.
    pub(crate) fn has_ended(&self) -> bool {
        self.state.load(Acquire) >= state::STOPPED
    }
}

/// The mapping: a board, and for each worker a slot and a desk, and a pool of numbers.
pub(crate) struct Memory {
    base: *mut u8,
    len: usize,
    workers: usize,
    pool: usize,
}

// SAFETY: what the pointer leads to consists of atomics, and stays until the value is dropped.
unsafe impl Send for Memory {}
// SAFETY: as above.
unsafe impl Sync for Memory {}

const BOARD: usize = size_of::<Board>();

impl Memory {
    /// Maps memory for so many workers, and `pool` numbers more.
    pub(crate) fn new(workers: usize, pool: usize) -> io::Result<Self> {
        use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous};
        let each = size_of::<Slot>() + size_of::<Desk>();
        let len = BOARD + workers * each + pool * 8;
        // SAFETY: no address is asked for, so no existing mapping is touched.
        let base = unsafe {
            mmap_anonymous(
                std::ptr::null_mut(),
                len,
                ProtFlags::READ | ProtFlags::WRITE,
                MapFlags::SHARED,
            )
        }?;
        Ok(Self { base: base.cast(), len, workers, pool })
    }

    /// How many workers it is for.
    pub(crate) fn workers(&self) -> usize {
        self.workers
    }

    pub(crate) fn board(&self) -> &Board {
        // SAFETY: the mapping starts with it, at a page; all-zero is valid, and it is all atomics.
        unsafe { &*self.base.cast() }
    }

    pub(crate) fn slots(&self) -> &[Slot] {
        let first = self.base.wrapping_add(BOARD);
        // SAFETY: they follow the board, whose size is a multiple of their alignment.
        unsafe { std::slice::from_raw_parts(first.cast(), self.workers) }
    }

    pub(crate) fn desks(&self) -> &[Desk] {
        let first = self.base.wrapping_add(BOARD + self.workers * size_of::<Slot>());
        // SAFETY: they follow the slots, whose size is a multiple of their alignment.
        unsafe { std::slice::from_raw_parts(first.cast(), self.workers) }
    }

    pub(crate) fn pool(&self) -> &[AtomicU64] {
        let first = self.base.wrapping_add(self.len - self.pool * 8);
        // SAFETY: it follows the desks, and fills the mapping to its end.
        unsafe { std::slice::from_raw_parts(first.cast(), self.pool) }
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: all references to the mapping borrow from `self`. The only failure is that of an
        // impossible address.
        let _ = unsafe { rustix::mm::munmap(self.base.cast(), self.len) };
    }
}
