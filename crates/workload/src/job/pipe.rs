//! Wake-ups through pipes: `pipe_read`, `pipe_write`, and the synchronous wake-up of the reader.

use std::os::fd::OwnedFd;
use std::sync::atomic::Ordering::{Acquire, Release};

use super::Job;
use crate::hand::{Brief, Hand, Outcome, Refusal, Tried};

/// A pipe for each worker, to which the others write.
pub(super) struct Pipes(Vec<(OwnedFd, OwnedFd)>);

impl Pipes {
    pub(super) fn new(count: u32) -> Result<Self, Refusal> {
        let pipes: Result<_, _> = (0..count).map(|_| rustix::pipe::pipe()).collect();
        pipes.map(Self).tried(|| format!("make {count} pipes: raise the limit on open files"))
    }

    /// Writes a message to a worker's pipe, and when.
    pub(super) fn send(&self, hand: &Hand<'_>, to: u32) -> Outcome {
        hand.desk(to).stamps[0].store(hand.now_ns(), Release);
        // There is room: no more than one message is ever under way.
        let written = rustix::io::write(&self.0[to as usize].1, &[1]);
        written.map(drop).tried(|| "write to a pipe".into())
    }

    /// Waits for a message in the worker's own pipe; false when told to stop.
    pub(super) fn receive(&self, hand: &mut Hand<'_>) -> Result<bool, Refusal> {
        let end = &self.0[hand.index as usize].0;
        while !hand.is_told_to_stop() {
            let mut byte = [0];
            match hand.wait(|| rustix::io::read(end, &mut byte)) {
                Ok(_) => {
                    hand.woke(hand.desk(hand.index).stamps[0].load(Acquire));
                    return Ok(true);
                }
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(Refusal(format!("cannot read a pipe: {error}"))),
            }
        }
        Ok(false)
    }

    /// Two take turns: each does `work`, which tells how many units that was, writes to the other,
    /// and waits for its answer.
    pub(super) fn take_turns(
        &self,
        hand: &mut Hand<'_>,
        mut work: impl FnMut(&mut Hand<'_>) -> u64,
    ) -> Outcome {
        let team = hand.team();
        let mut mine = team.position == 0;
        while hand.goes_on() {
            if mine {
                let units = work(hand);
                self.send(hand, team.partner())?;
                hand.did(units);
            } else if !self.receive(hand)? {
                break;
            }
            mine = !mine;
        }
        Ok(())
    }
}

/// Each burst ends with a message to the other, and a wait for its answer.
pub(super) struct PipeIo {
    pipes: Pipes,
    burst: u64,
}

impl PipeIo {
    pub(super) fn new(brief: &Brief, burst: u64) -> Result<Self, Refusal> {
        Ok(Self { pipes: Pipes::new(brief.count)?, burst })
    }
}

impl Job for PipeIo {
    fn work(&self, hand: &mut Hand<'_>) -> Outcome {
        self.pipes.take_turns(hand, |hand| hand.spin_units(self.burst, 1024) + 1)
    }
}
