//! Messengers and workers as in schbench (C. Mason): a messenger wakes workers that have posted
//! themselves; a worker sleeps a little, computes under a lock of its CPU, and posts itself again.
//! Measures wake-up latency (messenger to worker) and how long requests take.

use std::os::fd::OwnedFd;
use std::sync::atomic::Ordering::{Acquire, Release};
use std::sync::atomic::{AtomicU32, AtomicU64};
use std::sync::{Mutex, PoisonError};

use belljar_scenario::SchbenchParameters;
use rustix::io::Errno;

use super::Job;
use super::churn::online;
use super::matrix::Matrices;
use super::own::{self, Body, Own};
use crate::hand::{Hand, Outcome, Refusal, Tried};
use crate::sys;

/// One worker process with its own threads.
pub(super) struct Schbench(pub(super) SchbenchParameters);

/// How often the rate of requests is steered towards a share of CPU time.
const STEER_EVERY_NS: u64 = 100_000_000;

/// A worker as its messenger sees it.
struct Post {
    /// Not 0 when a message is there.
    message: AtomicU32,
    sent_ns: AtomicU64,
    pipe: Option<(OwnedFd, OwnedFd)>,
}

/// A messenger's, and those that have posted themselves.
struct Office {
    /// Grows when somebody posts himself.
    bell: AtomicU32,
    waiting: Mutex<Vec<usize>>,
    posts: Vec<Post>,
}

/// What all threads of the worker share.
struct Bench<'a> {
    parameters: &'a SchbenchParameters,
    cpus: u64,
    offices: Vec<Office>,
    /// The footprint of each CPU, behind its lock.
    of_cpus: Vec<Mutex<Matrices>>,
    own_bytes: u64,
}

impl Job for Schbench {
    fn work(&self, hand: &mut Hand<'_>) -> Outcome {
        let parameters = &self.0;
        let cpus = online(hand)?;
        let messengers = parameters.message_threads.max(1);
        let workers = match parameters.worker_threads {
            0 => (cpus.len() as u32).div_ceil(messengers).max(1),
            count => count,
        };
        // Without locks nothing can be shared.
        let own_percent = match parameters.split_percent {
            Some(percent) if !parameters.skip_locking => u64::from(percent.min(100)),
            _ => 100,
        };
        let own_bytes = parameters.cache_bytes / 100 * own_percent;
        let cpu_bytes = parameters.cache_bytes - own_bytes;
        let highest = cpus.last().map_or(0, |cpu| cpu.0);
        let offices: Result<_, _> = (0..messengers)
            .map(|_| Office::new(workers, parameters.pipe_transfer_bytes > 0))
            .collect();
        let bench = Bench {
            parameters,
            cpus: cpus.len() as u64,
            offices: offices?,
            of_cpus: (0..=highest).map(|_| Mutex::new(Matrices::new(cpu_bytes))).collect(),
            own_bytes,
        };
        let mut bodies: Vec<Body<'_>> = Vec::new();
        for office in &bench.offices {
            let bench = &bench;
            bodies.push(Box::new(move |own| bench.send_messages(office, own)));
            for post in 0..office.posts.len() {
                bodies.push(Box::new(move |own| bench.answer(office, post, own)));
            }
        }
        own::run(hand, bodies)
    }
}

impl Office {
    fn new(workers: u32, pipes: bool) -> Result<Self, Refusal> {
        let post = || -> rustix::io::Result<Post> {
            let pipe = pipes.then(rustix::pipe::pipe).transpose()?;
            Ok(Post { message: AtomicU32::new(0), sent_ns: AtomicU64::new(0), pipe })
        };
        let posts: Result<_, _> = (0..workers).map(|_| post()).collect();
        let posts = posts.tried(|| format!("make {workers} pipes"))?;
        Ok(Self { bell: AtomicU32::new(0), waiting: Mutex::default(), posts })
    }

    fn take_waiting(&self, at_most: usize) -> Vec<usize> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let count = waiting.len().min(at_most);
        waiting.drain(..count).collect()
    }
}

impl Bench<'_> {
    fn send_messages(&self, office: &Office, own: &mut Own<'_>) {
        let messengers = self.offices.len() as u64;
        let mut rate = u64::from(self.parameters.requests_per_sec).div_ceil(messengers);
        if self.parameters.auto_rps > 0 && rate == 0 {
            rate = 10;
        }
        let mut next_ns = sys::now_ns();
        let (mut steered_ns, mut cpu_ns) = (next_ns, sys::process_cpu_ns());
        while own.goes_on() {
            let bell = office.bell.load(Acquire);
            let at_most = if rate > 0 { 1 } else { usize::MAX };
            let woken = office.take_waiting(at_most);
            if woken.is_empty() && !own.wait_word(&office.bell, bell) {
                return;
            }
            for post in &woken {
                let post = &office.posts[*post];
                post.sent_ns.store(sys::now_ns(), Release);
                post.message.store(1, Release);
                sys::futex_wake(&post.message, 1);
                self.transfer(own, post.pipe.as_ref().map(|pipe| &pipe.1), |end, bytes| {
                    rustix::io::write(end, bytes)
                });
            }
            if rate == 0 || woken.is_empty() {
                continue;
            }
            let now = sys::now_ns();
            if self.parameters.auto_rps > 0 && now - steered_ns >= STEER_EVERY_NS {
                let used = sys::process_cpu_ns() - cpu_ns;
                let wanted =
                    (now - steered_ns) * self.cpus / 100 * u64::from(self.parameters.auto_rps);
                // At most twice or half as many as before.
                rate = (rate * wanted / used.max(1)).clamp(rate.div_ceil(2), rate * 2);
                (steered_ns, cpu_ns) = (now, cpu_ns + used);
            }
            next_ns = next_ns.saturating_add(1_000_000_000 / rate).max(now);
            own.sleep_until(next_ns);
        }
    }

    fn answer(&self, office: &Office, at: usize, own: &mut Own<'_>) {
        let post = &office.posts[at];
        let mut mine = Matrices::new(self.own_bytes);
        while own.goes_on() {
            office.waiting.lock().unwrap_or_else(PoisonError::into_inner).push(at);
            office.bell.fetch_add(1, Release);
            sys::futex_wake(&office.bell, 1);
            if !own.wait_word(&post.message, 0) {
                return;
            }
            own.woke(post.sent_ns.load(Acquire));
            post.message.store(0, Release);
            self.transfer(own, post.pipe.as_ref().map(|pipe| &pipe.0), |end, bytes| {
                rustix::io::read(end, bytes)
            });
            let began_ns = sys::now_ns();
            own.sleep(self.parameters.sleep);
            let mut done = true;
            for _ in 0..self.parameters.operations {
                if !done {
                    break;
                }
                if self.parameters.skip_locking {
                    done &= mine.multiply(|| own.goes_on());
                    continue;
                }
                let cpu = sys::current_cpu() as usize % self.of_cpus.len();
                let mut shared = self.of_cpus[cpu].lock().unwrap_or_else(PoisonError::into_inner);
                done &= mine.multiply(|| own.goes_on());
                if self.parameters.split_percent.is_some() {
                    done &= shared.multiply(|| own.goes_on());
                }
            }
            if done {
                own.did(sys::now_ns() - began_ns);
            }
        }
    }

    /// Passes bytes through one end of a pipe, if there is one.
    fn transfer(
        &self,
        own: &Own<'_>,
        end: Option<&OwnedFd>,
        pass: impl Fn(&OwnedFd, &mut [u8]) -> rustix::io::Result<usize>,
    ) {
        let Some(end) = end else { return };
        let mut buffer = [0; 4096];
        let mut left = self.parameters.pipe_transfer_bytes as usize;
        while left > 0 && own.goes_on() {
            match pass(end, &mut buffer[..left.min(4096)]) {
                Ok(count) => left -= count,
                Err(Errno::INTR) => {}
                Err(_) => return,
            }
        }
    }
}
