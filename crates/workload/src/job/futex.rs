//! Wake-ups through futexes: `futex_wait`, `futex_wake`, `wake_q`, and the choice of a CPU for who is
//! woken (`select_task_rq`).

use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};
use std::time::Duration;

use belljar_scenario::{Futex, Policy};

use super::Job;
use super::lock::Lock;
use super::matrix::Matrices;
use super::pipe::Pipes;
use crate::hand::{Hand, Outcome, Refusal, Tried};
use crate::sys;

/// Two take turns: each wakes the other and waits to be woken. They may be of different policies:
/// then each wake-up crosses scheduling classes.
pub(super) struct PingPong {
    pub(super) spin: u64,
    pub(super) policies: Option<[Policy; 2]>,
}

impl Job for PingPong {
    fn work(&self, hand: &mut Hand<'_>) -> Outcome {
        let team = hand.team();
        if let Some(policies) = self.policies {
            become_policy(policies[team.position as usize % 2])?;
        }
        let desk = hand.desk(team.first);
        // Whose turn it is: even for the first one.
        let turn = &desk.words[0];
        while hand.goes_on() {
            let now = turn.load(Acquire);
            if now % 2 != team.position {
                if !hand.wait_word(turn, now) {
                    break;
                }
                hand.woke(desk.stamps[team.position as usize].load(Acquire));
                continue;
            }
            let units = hand.spin_units(self.spin, 1024);
            desk.stamps[1 - team.position as usize].store(hand.now_ns(), Release);
            turn.store(now.wrapping_add(1), Release);
            sys::futex_wake(turn, 1);
            hand.did(units + 1);
        }
        Ok(())
    }
}

pub(super) fn become_policy(policy: Policy) -> Outcome {
    sys::set_policy(policy, 0).tried(|| format!("set the policy {policy}"))
}

/// One wakes all others with one call (`wake_q` of many), and waits until they have worked.
pub(super) struct FanOut {
    pub(super) spin: u64,
}

impl Job for FanOut {
    fn work(&self, hand: &mut Hand<'_>) -> Outcome {
        let team = hand.team();
        let desk = hand.desk(team.first);
        let [round, back, ..] = &desk.words;
        let others = team.size - 1;
        let mut seen = 0;
        while hand.goes_on() {
            if team.position == 0 {
                back.store(0, Relaxed);
                desk.stamps[0].store(hand.now_ns(), Release);
                round.fetch_add(1, Release);
                sys::futex_wake(round, others);
                let units = hand.spin_units(self.spin, 1024);
                hand.did(units + 1);
                loop {
                    let count = back.load(Acquire);
                    if count >= others || !hand.wait_word(back, count) {
                        break;
                    }
                }
                continue;
            }
            if !hand.wait_word(round, seen) {
                break;
            }
            seen = round.load(Acquire);
            hand.woke(desk.stamps[0].load(Acquire));
            let units = hand.spin_units(self.spin, 1024);
            hand.did(units + 1);
            if back.fetch_add(1, AcqRel) + 1 == others {
                sys::futex_wake(back, 1);
            }
        }
        Ok(())
    }
}

/// A broadcast at each interval: all waiters become runnable at once.
pub(super) struct Herd {
    pub(super) batches: u32,
    pub(super) interval: Duration,
}

impl Job for Herd {
    fn work(&self, hand: &mut Hand<'_>) -> Outcome {
        let team = hand.team();
        let desk = hand.desk(team.first);
        let broadcast = &desk.words[0];
        let (mut next, mut batch, mut seen) = (hand.now_ns(), 0, 0);
        while hand.goes_on() {
            if team.position > 0 {
                if !hand.wait_word(broadcast, seen) {
                    break;
                }
                seen = broadcast.load(Acquire);
                hand.woke(desk.stamps[0].load(Acquire));
                hand.did(1);
                continue;
            }
            desk.stamps[0].store(hand.now_ns(), Release);
            broadcast.fetch_add(1, Release);
            sys::futex_wake(broadcast, i32::MAX as u32);
            hand.did(1);
            batch += 1;
            if batch == self.batches {
                (batch, next) = (0, hand.now_ns());
            }
            next = next.saturating_add(sys::ns(self.interval)).max(hand.now_ns());
            hand.sleep_until(next);
        }
        Ok(())
    }
}

/// A messenger that wakes workers one by one, each on a word of its own, and the workers multiply
/// matrices: wake-ups of many by one that hardly runs, and CPU-bound work between them.
pub(super) struct Compute {
    pub(super) bytes: u64,
    pub(super) operations: u32,
    pub(super) sleep: Duration,
}

impl Job for Compute {
    fn work(&self, hand: &mut Hand<'_>) -> Outcome {
        let team = hand.team();
        if team.position == 0 {
            while hand.goes_on() {
                for worker in 1..team.size {
                    let desk = hand.desk(team.member(worker));
                    // Who still works gets no second message.
                    if desk.words[0].load(Acquire) == 0 {
                        desk.stamps[0].store(hand.now_ns(), Release);
                        desk.words[0].store(1, Release);
                        sys::futex_wake(&desk.words[0], 1);
                        hand.did_part(1);
                    }
                }
                hand.did(0);
                hand.nap(self.sleep.max(Duration::from_micros(1)));
            }
            return Ok(());
        }
        let mut matrices = Matrices::new(self.bytes);
        let desk = hand.desk(hand.index);
        while hand.goes_on() {
            if !hand.wait_word(&desk.words[0], 0) {
                break;
            }
            hand.woke(desk.stamps[0].load(Acquire));
            for _ in 0..self.operations {
                if matrices.multiply(|| hand.goes_on()) {
                    hand.did_part(1);
                }
            }
            hand.did(0);
            desk.words[0].store(0, Release);
        }
        Ok(())
    }
}

/// A ring in which each works for a while and wakes the next: one runnable task that hops.
pub(super) struct Chain {
    /// Pipes (whose wake-up is a synchronous one), or futexes.
    pub(super) pipes: Option<Pipes>,
    pub(super) hop: Duration,
}

impl Job for Chain {
    fn work(&self, hand: &mut Hand<'_>) -> Outcome {
        let team = hand.team();
        let next = team.member(team.position + 1);
        let mut has_token = team.position == 0;
        let mine = hand.desk(hand.index);
        while hand.goes_on() {
            if !has_token {
                let came = match &self.pipes {
                    Some(pipes) => pipes.receive(hand)?,
                    None => hand.wait_word(&mine.words[0], 0),
                };
                if !came {
                    break;
                }
                if self.pipes.is_none() {
                    hand.woke(mine.stamps[0].load(Acquire));
                    mine.words[0].store(0, Release);
                }
            }
            has_token = false;
            let until = hand.now_ns().saturating_add(sys::ns(self.hop));
            while hand.now_ns() < until && hand.goes_on() {
                hand.spin(256);
            }
            hand.did(1);
            if let Some(pipes) = &self.pipes {
                pipes.send(hand, next)?;
            } else {
                let desk = hand.desk(next);
                desk.stamps[0].store(hand.now_ns(), Release);
                desk.words[0].store(1, Release);
                sys::futex_wake(&desk.words[0], 1);
            }
        }
        Ok(())
    }
}

/// A lock that all want: each hand-over is a wake-up, and who holds it may be preempted with it.
pub(super) struct Contention {
    pub(super) hold: u64,
    pub(super) work: u64,
}

impl Job for Contention {
    fn work(&self, hand: &mut Hand<'_>) -> Outcome {
        let lock = Lock::new(hand.desk(hand.team().first), Futex::Plain);
        while hand.goes_on() {
            let mut units = hand.spin_units(self.work, 1024);
            if !lock.take(hand) {
                break;
            }
            units += hand.spin_units(self.hold, 1024);
            lock.give(hand);
            hand.did(units);
        }
        Ok(())
    }
}

/// A lock between a high and a low priority, and work of a middle one (`rt_mutex_setprio`, where the
/// lock passes priority on). Priorities are real-time ones; a group that has a policy of its own
/// keeps it, and nice values take their place.
pub(super) struct Inversion {
    pub(super) high: u32,
    pub(super) medium: u32,
    pub(super) hold: u64,
    pub(super) work: u64,
    pub(super) futex: Futex,
}

impl Job for Inversion {
    fn work(&self, hand: &mut Hand<'_>) -> Outcome {
        let team = hand.team();
        let rank = match team.position {
            at if at < self.high => 2,
            at if at < self.high + self.medium => 1,
            _ => 0,
        };
        if hand.brief.workers.policy == Policy::Normal {
            become_policy(Policy::Fifo { priority: 10 * (rank + 1) })?;
        } else {
            let nice = 10 - 10 * rank as i32;
            rustix::process::setpriority_process(None, nice)
                .tried(|| format!("set the nice value {nice}"))?;
        }
        let lock = Lock::new(hand.desk(team.first), self.futex);
        while hand.goes_on() {
            if rank == 1 {
                // Long enough to keep the holder off its CPU, and not for ever.
                hand.spin_and_count(8 * (self.hold + self.work));
            } else {
                let mut units = hand.spin_units(self.work, 1024);
                if !lock.take(hand) {
                    break;
                }
                units += hand.spin_units(self.hold, 1024);
                lock.give(hand);
                hand.did_part(units);
            }
            hand.did(0);
            hand.nap(Duration::from_micros(200));
        }
        Ok(())
    }
}

/// A bounded queue with a lock: who adds wakes who takes, and the other way round when it is full.
pub(super) struct Queue {
    pub(super) producers: u32,
    pub(super) rate_hz: u32,
    pub(super) consume_spin: u64,
    pub(super) depth: u32,
}

impl Job for Queue {
    fn work(&self, hand: &mut Hand<'_>) -> Outcome {
        let team = hand.team();
        let desk = hand.desk(team.first);
        let lock = Lock::new(desk, Futex::Plain);
        let [_, added, taken, ..] = &desk.words;
        let depth = self.depth as usize;
        let from = (team.first / team.size) as usize * depth;
        let Some(items) = hand.pool().get(from..from + depth) else {
            return Err(Refusal("the queue has no room".into()));
        };
        let interval = 1_000_000_000 / u64::from(self.rate_hz.max(1));
        let mut next = hand.now_ns();
        while hand.goes_on() {
            let produces = team.position < self.producers;
            if produces {
                next = next.saturating_add(interval).max(hand.now_ns());
                hand.sleep_until(next);
            }
            let mut waited = false;
            loop {
                if !lock.take(hand) {
                    return Ok(());
                }
                let (ins, outs) = (added.load(Acquire), taken.load(Acquire));
                let level = ins.wrapping_sub(outs);
                let may = if produces { level < self.depth } else { level > 0 };
                if may {
                    if produces {
                        items[ins as usize % depth].store(hand.now_ns(), Release);
                        added.store(ins.wrapping_add(1), Release);
                    } else {
                        let sent_ns = items[outs as usize % depth].load(Acquire);
                        taken.store(outs.wrapping_add(1), Release);
                        if waited {
                            hand.woke(sent_ns);
                        }
                    }
                }
                lock.give(hand);
                if may {
                    sys::futex_wake(if produces { added } else { taken }, 1);
                    break;
                }
                let (other, seen) = if produces { (taken, outs) } else { (added, ins) };
                if !hand.wait_word(other, seen) {
                    return Ok(());
                }
                waited = true;
            }
            if !produces {
                hand.spin(self.consume_spin);
            }
            hand.did(1);
        }
        Ok(())
    }
}
