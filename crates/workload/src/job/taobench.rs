//! A cache server as in taobench (DCPerf): clients look keys up; what is there is copied on the spot,
//! what is not is fetched by slow threads behind a queue, which sleep as long as a database takes.
//! Measures how long each operation takes, and the wake-up of clients that waited.

use std::collections::VecDeque;
use std::sync::atomic::Ordering::{Acquire, Release};
use std::sync::atomic::{AtomicU32, AtomicU64};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use belljar_scenario::TaobenchParameters;

use super::Job;
use super::churn::online;
use super::own::{self, Body, Own};
use crate::hand::{Hand, Outcome, Tried};
use crate::sys;

/// What is stored under a key.
const ITEM: usize = 256;

/// One worker process with its own threads.
pub(super) struct Taobench(pub(super) TaobenchParameters);

struct Server<'a> {
    parameters: &'a TaobenchParameters,
    items: sys::Mapping,
    /// Clients that wait for a slow thread.
    queue: Mutex<VecDeque<usize>>,
    /// Grows when the queue does.
    bell: AtomicU32,
    clients: Vec<Answer>,
}

#[derive(Default)]
struct Answer {
    /// Not 0 when it is there.
    there: AtomicU32,
    sent_ns: AtomicU64,
}

impl Job for Taobench {
    fn work(&self, hand: &mut Hand<'_>) -> Outcome {
        let parameters = &self.0;
        let clients = match parameters.client_threads {
            0 => online(hand)?.len() as u32,
            count => count,
        };
        let slow = match parameters.slow_threads {
            0 => (clients / 3).max(1),
            count => count,
        };
        let bytes = (parameters.cache_bytes as usize).max(ITEM);
        let server = Server {
            parameters,
            items: sys::Mapping::new(bytes).tried(|| format!("map {bytes} bytes"))?,
            queue: Mutex::default(),
            bell: AtomicU32::new(0),
            clients: (0..clients).map(|_| Answer::default()).collect(),
        };
        let mut bodies: Vec<Body<'_>> = Vec::new();
        for client in 0..server.clients.len() {
            let server = &server;
            bodies.push(Box::new(move |own| server.ask(client, own)));
        }
        for _ in 0..slow {
            bodies.push(Box::new(|own| server.fetch(own)));
        }
        own::run(hand, bodies)
    }
}

impl Server<'_> {
    fn ask(&self, client: usize, own: &mut Own<'_>) {
        let arrival = sys::ns(self.parameters.arrival);
        let answer = &self.clients[client];
        let mut next_ns = sys::now_ns();
        let mut sum = 0;
        while own.goes_on() {
            if arrival > 0 {
                // An open loop: what comes late counts from when it was due.
                next_ns = next_ns.saturating_add(arrival);
                own.sleep_until(next_ns);
            } else {
                next_ns = sys::now_ns();
            }
            let hits = own.rng.u32(0..100) < self.parameters.hit_percent;
            if !hits {
                answer.there.store(0, Release);
                self.queue.lock().unwrap_or_else(PoisonError::into_inner).push_back(client);
                self.bell.fetch_add(1, Release);
                sys::futex_wake(&self.bell, 1);
                if !own.wait_word(&answer.there, 0) {
                    return;
                }
                own.woke(answer.sent_ns.load(Acquire));
            }
            let items = self.items.bytes().len() / ITEM;
            let from = own.rng.usize(0..items) * ITEM;
            let item = &self.items.bytes()[from..from + ITEM];
            sum += item.iter().map(|byte| u64::from(*byte)).sum::<u64>();
            own.did(sys::now_ns().saturating_sub(next_ns));
        }
        std::hint::black_box(sum);
    }

    fn fetch(&self, own: &mut Own<'_>) {
        while own.goes_on() {
            let bell = self.bell.load(Acquire);
            let next = self.queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
            let Some(client) = next else {
                if own.wait_word(&self.bell, bell) {
                    continue;
                }
                return;
            };
            let time = self.slow_time(own);
            own.sleep(time);
            let answer = &self.clients[client];
            answer.sent_ns.store(sys::now_ns(), Release);
            answer.there.store(1, Release);
            sys::futex_wake(&answer.there, 1);
        }
    }

    /// How long a slow operation sleeps: the same each time, or Pareto distributed from that time on
    /// with the 99th percentile that was given.
    fn slow_time(&self, own: &mut Own<'_>) -> Duration {
        let (least, p99) = (self.parameters.slow_sleep, self.parameters.slow_p99);
        if p99 <= least || least.is_zero() {
            return least;
        }
        // P(X > x) = (least / x)^a, and 0.01 at the percentile.
        let a = 100f64.ln() / (p99.as_secs_f64() / least.as_secs_f64()).ln();
        let stretch = (1.0 - own.rng.f64()).powf(-1.0 / a);
        least.mul_f64(stretch.min(1000.0))
    }
}
