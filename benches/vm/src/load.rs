//! Something else for the host's cores to do.

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

/// Keeps every core busy until it is dropped.
#[derive(Debug)]
pub struct Load {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Load {
    /// Starts a busy thread for every core.
    pub fn start() -> Load {
        let stop = Arc::new(AtomicBool::new(false));
        let cores = thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let busy = |stop: Arc<AtomicBool>| {
            move || {
                let mut sum = 0u64;
                while !stop.load(Ordering::Relaxed) {
                    for step in 0..10_000u64 {
                        sum = black_box(sum.wrapping_mul(31).wrapping_add(step));
                    }
                }
            }
        };
        let threads = (0..cores).map(|_| thread::spawn(busy(Arc::clone(&stop)))).collect();
        Load { stop, threads }
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}
