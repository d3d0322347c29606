//! A snapshot at hand: look-ups without a call.

use crate::client::{Client, ClientConfig, State};
use crate::codec::{Malformed, Snapshot, SnapshotItem};
use crate::endpoint::Endpoint;
use crate::error::Error;
use crate::patience::AbortHandle;
use crate::service::CgroupsSnapshot;
use crate::shelf::Shelf;
use arc_swap::{ArcSwap, Guard};
use hashbrown::{DefaultHashBuilder, HashTable};
use std::cell::Cell;
use std::hash::BuildHasher;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The cgroups of a snapshot, all checked, with an index by hash and name.
#[derive(Debug, Default)]
pub struct CachedSnapshot {
    /// The payload that the items were read from.
    payload: Vec<u8>,
    items: Vec<Place>,
    /// The same ones, so that a look-up goes to one place less.
    index: HashTable<Place>,
    hasher: DefaultHashBuilder,
    /// Whether the provider's hashes alone do not tell the items apart well.
    by_name: bool,
    systemd_enabled: u32,
    generation: u64,
    populated: bool,
}

/// Where an item's parts are in the payload.
#[derive(Clone, Debug)]
struct Place {
    hash: u32,
    options: u32,
    enabled: u32,
    name: Range<u32>,
    path: Range<u32>,
}

/// Where a part of a payload is in it.
fn range_of(payload: &[u8], part: &[u8]) -> Range<u32> {
    // Both are below 4 GiB: a payload's length is a `u32` on the wire.
    let start = (part.as_ptr().addr() - payload.as_ptr().addr()) as u32;
    start..start + part.len() as u32
}

/// So many items of one hash are looked through before names go into the index as well.
const SAME_HASH_MAX: usize = 4;

impl CachedSnapshot {
    /// Checks every item of a response whose directory was checked, and keeps a copy of it.
    fn of(payload: &[u8]) -> Result<CachedSnapshot, Malformed> {
        let snapshot = Snapshot::decode_again(payload)?;
        let mut cached = CachedSnapshot {
            payload: payload.to_vec(),
            items: Vec::with_capacity(snapshot.len()),
            index: HashTable::with_capacity(snapshot.len()),
            systemd_enabled: snapshot.systemd_enabled(),
            generation: snapshot.generation(),
            populated: true,
            ..CachedSnapshot::default()
        };
        for item in snapshot.iter() {
            let SnapshotItem { hash, options, enabled, name, path } = item?;
            let (name, path) = (range_of(payload, name), range_of(payload, path));
            cached.items.push(Place { hash, options, enabled, name, path });
        }
        if !cached.fill_index() {
            cached.by_name = true;
            cached.index.clear();
            cached.fill_index();
        }
        Ok(cached)
    }

    /// Puts all items into the index, unless many would be in one place of it.
    fn fill_index(&mut self) -> bool {
        for at in 0..self.items.len() {
            let place = self.items[at].clone();
            let slot = self.slot(place.hash, self.part(&place.name));
            let same = self.index.iter_hash(slot).filter(|other| other.hash == place.hash);
            if !self.by_name && same.count() >= SAME_HASH_MAX {
                return false;
            }
            // There is room: nothing is hashed again.
            self.index.insert_unique(slot, place, |_| slot);
        }
        true
    }

    /// Where in the index an item is. Providers hash the names themselves; what makes the index hard
    /// to crowd on purpose is that the hash is hashed, with a key of this process's own.
    #[inline]
    fn slot(&self, hash: u32, name: &[u8]) -> u64 {
        if self.by_name { self.slot_by_name(hash, name) } else { self.hasher.hash_one(hash) }
    }

    #[cold]
    fn slot_by_name(&self, hash: u32, name: &[u8]) -> u64 {
        self.hasher.hash_one((hash, name))
    }

    #[inline]
    fn part(&self, range: &Range<u32>) -> &[u8] {
        self.payload.get(range.start as usize..range.end as usize).unwrap_or_default()
    }

    #[inline]
    fn read(&self, place: &Place) -> SnapshotItem<'_> {
        SnapshotItem {
            hash: place.hash,
            options: place.options,
            enabled: place.enabled,
            name: self.part(&place.name),
            path: self.part(&place.path),
        }
    }

    /// The cgroup of this hash and name, in constant time.
    #[inline(always)] // A call more is a fifth of it.
    pub fn get(&self, hash: u32, name: &[u8]) -> Option<SnapshotItem<'_>> {
        let is_it = |place: &Place| place.hash == hash && self.part(&place.name) == name;
        let place = self.index.find(self.slot(hash, name), is_it)?;
        Some(self.read(place))
    }

    /// All cgroups, in the provider's order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = SnapshotItem<'_>> {
        self.items.iter().map(|place| self.read(place))
    }

    /// The number of cgroups.
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Whether the provider found systemd. Not 0: yes.
    pub fn systemd_enabled(&self) -> u32 {
        self.systemd_enabled
    }

    /// The provider's generation.
    pub fn generation(&self) -> u64 {
        self.generation
    }
}

/// Looks into a [`SnapshotCache`] and keeps the snapshot that it saw last.
#[derive(Clone, Debug)]
pub struct CacheReader(arc_swap::Cache<Arc<ArcSwap<CachedSnapshot>>, Arc<CachedSnapshot>>);

impl CacheReader {
    /// The snapshot as it is now.
    #[inline]
    pub fn load(&mut self) -> &CachedSnapshot {
        self.0.load()
    }
}

/// How a cache fares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheStatus {
    /// Whether there ever was a snapshot. An empty one counts.
    pub populated: bool,
    /// The number of cgroups.
    pub items: usize,
    /// Whether the provider found systemd. Not 0: yes.
    pub systemd_enabled: u32,
    /// The provider's generation.
    pub generation: u64,
    /// Refreshes that brought a snapshot.
    pub successes: u64,
    /// Refreshes that did not.
    pub failures: u64,
    /// Where the connection stood after the last refresh.
    pub connection: State,
    /// How long ago the last successful refresh was.
    pub age: Option<Duration>,
}

/// The last snapshot of a service, kept when a later one cannot be had.
///
/// Any number of threads read at any time; a refresh builds beside them and swaps. Nothing that a
/// reader does waits for a refresh, and the other way round.
#[derive(Debug)]
pub struct SnapshotCache {
    client: Mutex<Client<CgroupsSnapshot>>,
    abort: AbortHandle,
    shelf: Shelf<CachedSnapshot>,
    connection: ArcSwap<State>,
    /// When the clock of the shelf began.
    born: Instant,
}

impl SnapshotCache {
    /// An empty cache.
    pub fn new(endpoint: &Endpoint, config: &ClientConfig) -> SnapshotCache {
        let client = Client::new(endpoint, config);
        SnapshotCache {
            abort: client.abort_handle(),
            client: Mutex::new(client),
            shelf: Shelf::new(CachedSnapshot::default()),
            connection: ArcSwap::default(),
            born: Instant::now(),
        }
    }

    fn client(&self) -> MutexGuard<'_, Client<CgroupsSnapshot>> {
        self.client.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Connects if need be, and gets a snapshot.
    ///
    /// # Errors
    /// Why there is none. The old one stays.
    pub fn refresh(&self) -> Result<(), Error> {
        let mut client = self.client();
        client.refresh();
        let refreshed = self.fetch(&mut client);
        if matches!(refreshed, Err(Error::Malformed(_))) {
            // A provider that sends what it should not is not to be trusted with the next one.
            client.close();
        }
        self.connection.store(Arc::new(client.state()));
        match refreshed {
            Ok(new) => {
                let now_ns = u64::try_from(self.born.elapsed().as_nanos()).unwrap_or(u64::MAX);
                self.shelf.succeed(new, now_ns);
                Ok(())
            }
            Err(error) => {
                self.shelf.fail();
                Err(error)
            }
        }
    }

    /// The provider's snapshot, unless it is the one that is there.
    fn fetch(&self, client: &mut Client<CgroupsSnapshot>) -> Result<Option<CachedSnapshot>, Error> {
        let current = self.shelf.load();
        let is_there = Cell::new(false);
        client.call_checked((), client.timeout(), |payload| {
            is_there.set(current.populated && current.payload == payload);
            // What is there has been checked.
            if is_there.get() { Ok(()) } else { Snapshot::decode(payload).map(drop) }
        })?;
        Ok(match is_there.get() {
            true => None,
            false => Some(CachedSnapshot::of(client.last_response())?),
        })
    }

    /// Calls off refreshes, from any thread, also while one is running.
    pub fn abort_handle(&self) -> AbortHandle {
        self.abort.clone()
    }

    /// Whether there ever was a snapshot, connected or not.
    pub fn is_populated(&self) -> bool {
        self.shelf.load().populated
    }

    /// The snapshot as it is now, for as long as the guard is kept. For many look-ups in a row this
    /// is cheaper than asking each time, and all of them see the same snapshot.
    pub fn load(&self) -> Guard<Arc<CachedSnapshot>> {
        self.shelf.current().load()
    }

    /// A reader of one thread's own. For single look-ups it is the cheapest: it only looks whether
    /// the snapshot is still the one that it has.
    pub fn reader(&self) -> CacheReader {
        CacheReader(arc_swap::Cache::new(self.shelf.current().share()))
    }

    /// The snapshot as it is now, to keep.
    pub fn snapshot(&self) -> Arc<CachedSnapshot> {
        Arc::clone(&self.shelf.load())
    }

    /// How it fares. Does not wait for a refresh.
    pub fn status(&self) -> CacheStatus {
        let (tally, snapshot) = self.shelf.look();
        let age = || self.born.elapsed().saturating_sub(Duration::from_nanos(tally.refreshed_ns));
        CacheStatus {
            populated: snapshot.populated,
            items: snapshot.len(),
            systemd_enabled: snapshot.systemd_enabled,
            generation: snapshot.generation,
            successes: tally.successes,
            failures: tally.failures,
            connection: **self.connection.load(),
            age: (tally.successes > 0).then(age),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::SnapshotBuilder;

    fn snapshot(hashes: impl Iterator<Item = u32>) -> CachedSnapshot {
        let mut payload = vec![0; 1 << 20];
        let mut builder = SnapshotBuilder::new(&mut payload, None).unwrap();
        for (at, hash) in hashes.enumerate() {
            let (name, path) = (format!("name-{at}"), format!("/{at}"));
            let (name, path) = (name.as_bytes(), path.as_bytes());
            builder.push(&SnapshotItem { hash, options: 0, enabled: 1, name, path }).unwrap();
        }
        let len = builder.finish().unwrap();
        CachedSnapshot::of(&payload[..len]).unwrap()
    }

    #[test]
    fn names_go_into_the_index_only_where_hashes_do_not_tell_items_apart() {
        let hashes: [fn(u32) -> u32; 4] =
            [|at| at, |at| at / SAME_HASH_MAX as u32, |at| at % 3, |_| 7];
        for (hash, by_name) in hashes.into_iter().zip([false, false, true, true]) {
            let cached = snapshot((0..3000).map(hash));
            assert_eq!(cached.by_name, by_name);
            for at in 0..3000 {
                let (name, path) = (format!("name-{at}"), format!("/{at}"));
                let found = cached.get(hash(at), name.as_bytes()).unwrap();
                assert_eq!((found.name, found.path), (name.as_bytes(), path.as_bytes()));
                assert!(cached.get(hash(at), b"another").is_none());
                assert!(cached.get(u32::MAX, name.as_bytes()).is_none());
            }
        }
    }
}
