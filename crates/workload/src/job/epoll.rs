//! Events: `eventfd_write`, `ep_poll_callback`, and wake-ups of all that wait in `epoll_wait(2)`.

use std::os::fd::OwnedFd;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Release};

use rustix::event::{EventfdFlags, epoll, eventfd};
use rustix::io::Errno;

use super::Job;
use crate::hand::{Brief, Hand, Outcome, Refusal, Tried};
use crate::sys;

/// Producers write bursts of events; each event is taken by one consumer, and wakes them all.
pub(super) struct Storm {
    /// One for each team.
    counters: Vec<OwnedFd>,
    producers: u32,
    events: u32,
}

impl Storm {
    pub(super) fn new(brief: &Brief, producers: u32, events: u32) -> Result<Self, Refusal> {
        let flags = EventfdFlags::SEMAPHORE | EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC;
        let teams = brief.count / brief.workers.work.group_size().together(brief.count).max(1);
        let counters: Result<_, _> = (0..teams).map(|_| eventfd(0, flags)).collect();
        let counters = counters.tried(|| format!("make {teams} eventfds"))?;
        Ok(Self { counters, producers, events })
    }
}

impl Job for Storm {
    fn work(&self, hand: &mut Hand<'_>) -> Outcome {
        let team = hand.team();
        let counter = &self.counters[(team.first / team.size) as usize];
        let desk = hand.desk(team.first);
        // Events that were taken, to wait for; those that are under way are the level.
        let taken = &desk.words[0];
        if team.position < self.producers {
            while hand.goes_on() {
                let seen = taken.load(Acquire);
                if desk.level.load(Acquire) >= i64::from(self.events) {
                    if !hand.wait_word(taken, seen) {
                        break;
                    }
                    continue;
                }
                desk.stamps[0].store(hand.now_ns(), Release);
                for _ in 0..self.events {
                    desk.level.fetch_add(1, AcqRel);
                    rustix::io::write(counter, &1u64.to_ne_bytes())
                        .tried(|| "write to an eventfd".into())?;
                    hand.did_part(1);
                }
                hand.did(0);
            }
            return Ok(());
        }
        let poll = epoll::create(epoll::CreateFlags::CLOEXEC).tried(|| "make an epoll".into())?;
        let readable = epoll::EventFlags::IN;
        epoll::add(&poll, counter, epoll::EventData::new_u64(0), readable)
            .tried(|| "wait for an eventfd".into())?;
        let mut events = [epoll::Event { flags: readable, data: epoll::EventData::new_u64(0) }];
        while hand.goes_on() {
            if hand.is_told_to_stop() {
                break;
            }
            match hand.wait(|| epoll::wait(&poll, &mut events, None)) {
                Ok(_) => {}
                Err(Errno::INTR) => continue,
                Err(error) => return Err(Refusal(format!("cannot wait for events: {error}"))),
            }
            hand.woke(desk.stamps[0].load(Acquire));
            hand.did(1);
            // Another consumer may have been faster.
            if rustix::io::read(counter, &mut [0; 8]).is_ok()
                && desk.level.fetch_sub(1, AcqRel) <= i64::from(self.events / 2)
            {
                taken.fetch_add(1, Release);
                sys::futex_wake(taken, self.producers);
            }
        }
        Ok(())
    }
}
