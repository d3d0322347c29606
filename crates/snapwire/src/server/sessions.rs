//! The sessions that are open, and how to end them from outside.

use super::left;
use crate::session::Session;
use crate::shm::Region;
use crate::socket::Socket;
use hashbrown::HashMap;
use rustix::net::Shutdown;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// A session, as an entry of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct EntryId(u64);

#[derive(Debug)]
struct Entry {
    socket: Arc<Socket>,
    region: Option<Arc<Region>>,
    requests: Arc<RequestCount>,
}

/// How many requests a session has had. Its thread alone counts, so that sessions do not fight for
/// a line of the cache.
#[derive(Debug, Default)]
pub(crate) struct RequestCount(AtomicU64);

impl RequestCount {
    /// One more.
    #[inline]
    pub(crate) fn count(&self) {
        self.0.store(self.0.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

#[derive(Debug, Default)]
struct Table {
    next: u64,
    open: HashMap<EntryId, Entry>,
    /// Requests of the sessions that are over.
    requests: u64,
    threads: HashMap<EntryId, JoinHandle<()>>,
}

/// All sessions of a server.
#[derive(Debug, Default)]
pub(crate) struct Sessions {
    table: Mutex<Table>,
    changed: Condvar,
}

impl Sessions {
    fn table(&self) -> MutexGuard<'_, Table> {
        // Nothing panics while it is held.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many are open.
    pub(crate) fn len(&self) -> usize {
        self.table().open.len()
    }

    /// Whether one is about to end, because its client has gone.
    pub(crate) fn is_one_leaving(&self) -> bool {
        self.table().open.values().any(|entry| entry.socket.is_deserted())
    }

    /// How many requests all sessions have had.
    pub(crate) fn requests(&self) -> u64 {
        let table = self.table();
        table.requests + table.open.values().map(|entry| entry.requests.get()).sum::<u64>()
    }

    /// Takes note of a session.
    pub(crate) fn enter(&self, session: &Session) -> (EntryId, Arc<RequestCount>) {
        let mut table = self.table();
        table.next += 1;
        let id = EntryId(table.next);
        let region = session.lanes().map(|lanes| Arc::clone(lanes.region()));
        let (socket, requests) = (Arc::clone(session.socket()), Arc::<RequestCount>::default());
        table.open.insert(id, Entry { socket, region, requests: Arc::clone(&requests) });
        (id, requests)
    }

    /// Keeps the thread of a session, to be waited for; lets go of those that have ended.
    pub(crate) fn keep(&self, id: EntryId, thread: JoinHandle<()>) {
        let mut table = self.table();
        table.threads.retain(|_, thread| !thread.is_finished());
        table.threads.insert(id, thread);
    }

    /// The session is over.
    pub(crate) fn leave(&self, id: EntryId) {
        let mut table = self.table();
        if let Some(entry) = table.open.remove(&id) {
            table.requests += entry.requests.get();
        }
        drop(table);
        self.changed.notify_all();
    }

    /// Ends the connections of all sessions in these directions, and wakes who sleeps in them.
    pub(crate) fn shutdown(&self, how: Shutdown) {
        for entry in self.table().open.values() {
            entry.socket.shutdown(how);
            if let Some(region) = &entry.region {
                region.wake_all();
            }
        }
    }

    /// Waits until no session is open; says whether that came about in time.
    pub(crate) fn wait_until_empty(&self, timeout: Duration) -> bool {
        let began = Instant::now();
        let mut table = self.table();
        while !table.open.is_empty() {
            let Some(left) = left(began, timeout) else {
                return false;
            };
            let waited = self.changed.wait_timeout(table, left);
            table = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }

    /// Waits for the threads of all sessions.
    pub(crate) fn join(&self) {
        let threads = std::mem::take(&mut self.table().threads);
        for thread in threads.into_values() {
            // A handler that panicked has been dealt with.
            let _ = thread.join();
        }
    }
}
