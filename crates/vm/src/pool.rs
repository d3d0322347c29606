//! Forks made ahead of time.
//!
//! A paused fork costs some 25 MiB and no CPU. Making it takes 30 to 40 ms, which a
//! test that comes next need not wait for.

use crate::engine::{Engine, available_memory_mib};
use crate::error::Error;
use crate::fork::Fork;
use crate::mode::Mode;
use crate::template::Template;
use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

/// Makes forks ahead of time, as many at once as it keeps, for whoever has said that
/// they will be wanted.
#[derive(Debug)]
pub struct Pool {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    engine: Arc<Engine>,
    capacity: usize,
    warm_up: Option<Vec<u8>>,
    state: Mutex<PoolState>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct PoolState {
    /// What will be wanted, the next first.
    expected: VecDeque<Arc<Template>>,
    ready: Vec<Fork>,
    /// The templates of the forks that are being made.
    making: Vec<Arc<Template>>,
    closed: bool,
}

impl Pool {
    /// A pool that keeps at most `capacity` forks. Those that are not `det` have run the
    /// request `warm_up`, after which their process waits again.
    pub fn new(engine: Arc<Engine>, capacity: usize, warm_up: Option<Vec<u8>>) -> Pool {
        let shared = Arc::new(Shared {
            engine,
            capacity,
            warm_up,
            state: Mutex::default(),
            changed: Condvar::new(),
        });
        // Without the threads every fork is made when it is taken.
        for _ in 0..capacity.max(1) {
            let worker = Arc::clone(&shared);
            let name = String::from("belljar-pool");
            let _ = thread::Builder::new().name(name).spawn(move || worker.work());
        }
        Pool { shared }
    }

    /// The capacity that suits this host: a fork for every core that could run one,
    /// as far as a quarter of the available memory goes.
    pub fn capacity_of_host(memory_mib: u64) -> usize {
        let cores = thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let fitting = available_memory_mib().unwrap_or(0) / 4 / memory_mib.max(1);
        cores.min(usize::try_from(fitting).unwrap_or(usize::MAX))
    }

    /// Says that a fork of this template will be taken, after those that were
    /// expected before.
    pub fn expect(&self, template: &Arc<Template>) {
        self.shared.lock().expected.push_back(Arc::clone(template));
        self.shared.changed.notify_all();
    }

    /// Waits until what was expected has been made, as far as there is room.
    pub fn wait(&self) {
        let mut state = self.shared.lock();
        while !state.making.is_empty()
            || (!state.expected.is_empty() && state.ready.len() < self.shared.capacity)
        {
            state = self.shared.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// A fork of this template, made before or made now.
    ///
    /// # Errors
    /// As for [`Engine::fork`].
    pub fn take(&self, template: &Arc<Template>) -> Result<Fork, Error> {
        let is_it = |other: &Arc<Template>| other.key() == template.key();
        let mut state = self.shared.lock();
        loop {
            if let Some(at) = state.ready.iter().position(|fork| is_it(fork.template())) {
                let fork = state.ready.remove(at);
                drop(state);
                self.shared.changed.notify_all();
                return Ok(fork);
            }
            // Half a fork is worth more than none.
            if !state.making.iter().any(is_it) {
                break;
            }
            state = self.shared.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        if let Some(at) = state.expected.iter().position(is_it) {
            state.expected.remove(at);
        }
        drop(state);
        self.shared.engine.fork(template)
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.closed = true;
        state.ready.clear();
        drop(state);
        self.shared.changed.notify_all();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, PoolState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn make(&self, template: &Arc<Template>) -> Result<Fork, Error> {
        let mut fork = self.engine.fork(template)?;
        match &self.warm_up {
            Some(request) if template.machine().mode() != Mode::Det => fork.warm_up(request)?,
            _ => {}
        }
        Ok(fork)
    }

    fn work(&self) {
        let mut state = self.lock();
        while !state.closed {
            let room = state.ready.len() + state.making.len() < self.capacity;
            let next = if room { state.expected.pop_front() } else { None };
            let Some(template) = next else {
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            state.making.push(Arc::clone(&template));
            drop(state);
            // An error comes up again when the fork is taken, for whoever takes it.
            let made = self.make(&template);
            state = self.lock();
            if let Some(at) = state.making.iter().position(|other| Arc::ptr_eq(other, &template)) {
                state.making.remove(at);
            }
            if !state.closed {
                state.ready.extend(made.ok());
            }
            self.changed.notify_all();
        }
    }
}
