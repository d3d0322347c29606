//! Work on memory: a footprint that competes for the caches, and migrates with cost.

use super::Job;
use super::pipe::Pipes;
use crate::hand::{Brief, Hand, Outcome, Refusal};

/// Memory that is read and written, over and over.
pub(super) struct Footprint {
    bytes: Vec<u8>,
    stride: usize,
    at: usize,
}

impl Footprint {
    pub(super) fn new(bytes: u64, stride: u64) -> Self {
        Self { bytes: vec![0; bytes.max(1) as usize], stride: stride.max(1) as usize, at: 0 }
    }

    /// Reads and writes so many times, a stride from one to the next, and tells whether that ended a
    /// pass over all of it.
    pub(super) fn touch(&mut self, times: u64) -> bool {
        let mut wrapped = false;
        for _ in 0..times {
            let byte = &mut self.bytes[self.at];
            *byte = std::hint::black_box(byte.wrapping_add(1));
            self.at += self.stride;
            if self.at >= self.bytes.len() {
                (self.at, wrapped) = (0, true);
            }
        }
        wrapped
    }

    /// Reads and writes once, far from where it did before (by a multiplicative generator, and so
    /// that the next place depends on what was read).
    pub(super) fn touch_far(&mut self) {
        let byte = std::hint::black_box(&mut self.bytes[self.at]);
        *byte = byte.wrapping_add(1) | 1;
        let far = self.at.wrapping_mul(0x9e37_79b1).wrapping_add(usize::from(*byte) * 4099);
        self.at = far % self.bytes.len();
    }

    /// How many accesses are a pass.
    fn pass(&self) -> u64 {
        self.bytes.len().div_ceil(self.stride) as u64
    }
}

/// A footprint for itself: what a migration, or a neighbour on the same cache, costs. With a yield
/// after each pass `sched_yield(2)` brings the neighbours in.
pub(super) struct Cache {
    pub(super) bytes: u64,
    pub(super) stride: u64,
    pub(super) yields: bool,
}

impl Job for Cache {
    fn work(&self, hand: &mut Hand<'_>) -> Outcome {
        let mut footprint = Footprint::new(self.bytes, self.stride);
        let (mut until_yield, mut done) = (footprint.pass(), 0);
        while hand.goes_on() {
            let part = if self.yields { until_yield.min(1024) } else { 1024 };
            footprint.touch(part);
            done += part;
            hand.did(done / 1024);
            done %= 1024;
            until_yield -= part.min(until_yield);
            if self.yields && until_yield == 0 {
                rustix::thread::sched_yield();
                until_yield = footprint.pass();
            }
        }
        Ok(())
    }
}

/// Pairs: work on a footprint that is hot, and wake the other through a pipe. The wake-up's choice of
/// CPU decides whether the footprint still is.
pub(super) struct CachePipe {
    pipes: Pipes,
    bytes: u64,
    burst: u64,
}

impl CachePipe {
    pub(super) fn new(brief: &Brief, bytes: u64, burst: u64) -> Result<Self, Refusal> {
        Ok(Self { pipes: Pipes::new(brief.count)?, bytes, burst })
    }
}

impl Job for CachePipe {
    fn work(&self, hand: &mut Hand<'_>) -> Outcome {
        let mut footprint = Footprint::new(self.bytes, 64);
        let mut done = 0;
        self.pipes.take_turns(hand, |hand| {
            let mut left = self.burst;
            while left > 0 && hand.goes_on() {
                let part = left.min(1024);
                footprint.touch(part);
                left -= part;
                done += part;
            }
            let units = done / 1024;
            done %= 1024;
            units
        })
    }
}
