//! Wake-ups through futexes: `futex_wait`, `futex_wake`, `wake_q`.

use std::sync::atomic::Ordering::{Acquire, Release};

use super::Job;
use crate::hand::{Hand, Outcome};
use crate::sys;

/// Two take turns: each wakes the other and waits to be woken.
pub(super) struct PingPong {
    pub(super) spin: u64,
}

impl Job for PingPong {
    fn work(&self, hand: &mut Hand<'_>) -> Outcome {
        let team = hand.team();
        // Whose turn it is: even for the first one.
        let turn = &hand.desk(team.first).words[0];
        while hand.goes_on() {
            let now = turn.load(Acquire);
            if now % 2 != team.position {
                if !hand.wait_word(turn, now) {
                    break;
                }
                hand.woke(hand.desk(team.first).stamps[team.position as usize].load(Acquire));
                continue;
            }
            let units = hand.spin_units(self.spin, 1024);
            let other = 1 - team.position;
            hand.desk(team.first).stamps[other as usize].store(hand.now_ns(), Release);
            turn.store(now.wrapping_add(1), Release);
            sys::futex_wake(turn, 1);
            hand.did(units + 1);
        }
        Ok(())
    }
}
