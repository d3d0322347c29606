//! A snapshot at hand: look-ups without a call.

use crate::client::{Client, ClientConfig, State};
use crate::codec::{Fault, Malformed, Snapshot, SnapshotItem};
use crate::endpoint::Endpoint;
use crate::error::Error;
use crate::patience::AbortHandle;
use crate::service::CgroupsSnapshot;
use crate::shelf::Shelf;
use arc_swap::{ArcSwap, Guard};
use hashbrown::{DefaultHashBuilder, HashTable};
use std::cell::Cell;
use std::hash::BuildHasher;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// A snapshot, all of it checked, with an index by hash and name.
#[derive(Debug, Default)]
pub struct CachedSnapshot {
    /// Shared with later snapshots as long as the cgroups stay the same.
    cgroups: Arc<Cgroups>,
    systemd_enabled: u32,
    generation: u64,
    populated: bool,
}

/// The cgroups of a response.
#[derive(Debug, Default)]
struct Cgroups {
    /// The first response that had them.
    payload: Vec<u8>,
    index: HashTable<Slot>,
    hasher: DefaultHashBuilder,
    /// Whether the provider's hashes alone do not tell the items apart well.
    by_name: bool,
}

/// An item in the index. The rest of it is read where it is, beside the name, which must be looked
/// at anyway: with more in here, fewer of them would be in the CPU's caches.
#[derive(Clone, Copy, Debug)]
struct Slot {
    hash: u32,
    /// Where the item is in the payload, which is below 4 GiB: its length is a `u32` on the wire.
    start: u32,
}

/// So many items of one hash are looked through before names go into the index as well.
const SAME_HASH_MAX: usize = 4;

impl Cgroups {
    /// Checks every item of a response whose directory was checked, and keeps a copy of it.
    fn of(payload: &[u8]) -> Result<Cgroups, Malformed> {
        let mut cgroups = Cgroups { payload: payload.to_vec(), ..Cgroups::default() };
        if !cgroups.fill_index()? {
            cgroups.by_name = true;
            cgroups.fill_index()?;
        }
        Ok(cgroups)
    }

    /// Checks all items and puts them into the index, unless many would be in one place of it.
    fn fill_index(&mut self) -> Result<bool, Malformed> {
        let snapshot = Snapshot::decode_again(&self.payload)?;
        let mut index = HashTable::with_capacity(snapshot.len());
        let mut names_len = 0;
        for bytes in snapshot.items_bytes() {
            let item = SnapshotItem::decode(bytes)?;
            let place = self.place(item.hash, item.name);
            if self.by_name {
                // Items may overlap, but then they must not take longer to read than they are long.
                names_len += item.name.len();
                if names_len > self.payload.len() {
                    return Err(Malformed::new(Fault::BadLayout, "snapshot names"));
                }
                if self.find(&index, place, item.hash, item.name).is_some() {
                    continue;
                }
            } else {
                let same = index.iter_hash(place).filter(|other: &&Slot| other.hash == item.hash);
                if same.count() >= SAME_HASH_MAX {
                    return Ok(false);
                }
            }
            let start = (bytes.as_ptr().addr() - self.payload.as_ptr().addr()) as u32;
            // There is room: nothing is hashed again.
            index.insert_unique(place, Slot { hash: item.hash, start }, |_| place);
        }
        self.index = index;
        Ok(true)
    }

    /// Where in the index an item is. Providers hash the names themselves; what makes the index hard
    /// to crowd on purpose is that the hash is hashed, with a key of this process's own.
    #[inline]
    fn place(&self, hash: u32, name: &[u8]) -> u64 {
        if self.by_name { self.place_by_name(hash, name) } else { self.hasher.hash_one(hash) }
    }

    #[cold]
    fn place_by_name(&self, hash: u32, name: &[u8]) -> u64 {
        self.hasher.hash_one((hash, name))
    }

    #[inline]
    fn item(&self, slot: &Slot) -> Option<SnapshotItem<'_>> {
        SnapshotItem::decode_again(self.payload.get(slot.start as usize..)?)
    }

    /// Looks through all in one place of an index.
    #[cold]
    fn find(
        &self,
        index: &HashTable<Slot>,
        place: u64,
        hash: u32,
        name: &[u8],
    ) -> Option<SnapshotItem<'_>> {
        let mut items = index.iter_hash(place).filter_map(|slot| self.item(slot));
        items.find(|item| item.hash == hash && item.name == name)
    }
}

impl CachedSnapshot {
    /// The cgroup of this hash and name, in constant time.
    #[inline]
    pub fn get(&self, hash: u32, name: &[u8]) -> Option<SnapshotItem<'_>> {
        let cgroups = &*self.cgroups;
        let place = cgroups.place(hash, name);
        // Nearly always there is one of that hash at most.
        let item = cgroups.item(cgroups.index.find(place, |slot| slot.hash == hash)?)?;
        if item.name == name { Some(item) } else { cgroups.find(&cgroups.index, place, hash, name) }
    }

    /// All cgroups, in the provider's order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = SnapshotItem<'_>> {
        let items = self.as_snapshot().items_bytes();
        items.map(|bytes| SnapshotItem::decode_again(bytes).unwrap_or_default())
    }

    fn as_snapshot(&self) -> Snapshot<'_> {
        // Before the first response there is none.
        Snapshot::decode_again(&self.cgroups.payload).unwrap_or_default()
    }

    /// The number of cgroups.
    pub fn len(&self) -> usize {
        self.as_snapshot().len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.as_snapshot().is_empty()
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
        let refreshed = client.connect().and_then(|()| self.fetch(&mut client));
        if matches!(refreshed, Err(Error::Malformed(_))) {
            // A provider that sends what it should not is not to be trusted with the next one.
            client.close();
        }
        let state = client.state();
        if **self.connection.load() != state {
            self.connection.store(Arc::new(state));
        }
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
        let are_there = Cell::new(false);
        client.call_checked((), client.timeout(), |payload| {
            let there = &current.cgroups.payload;
            are_there.set(Snapshot::have_same_cgroups(there, payload));
            // What is there has been checked.
            match are_there.get() {
                true => Snapshot::decode_again(payload).map(drop),
                false => Snapshot::decode(payload).map(drop),
            }
        })?;
        let payload = client.last_response();
        let snapshot = Snapshot::decode_again(payload)?;
        let header = (snapshot.systemd_enabled(), snapshot.generation());
        if are_there.get() && header == (current.systemd_enabled, current.generation) {
            return Ok(None);
        }
        let cgroups = match are_there.get() {
            true => Arc::clone(&current.cgroups),
            false => Arc::new(Cgroups::of(payload)?),
        };
        let (systemd_enabled, generation) = header;
        Ok(Some(CachedSnapshot { cgroups, systemd_enabled, generation, populated: true }))
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
        let cgroups = Arc::new(Cgroups::of(&payload[..len]).unwrap());
        CachedSnapshot { cgroups, ..CachedSnapshot::default() }
    }

    /// A provider that repeats itself costs no more than time in proportion to what it sends.
    #[test]
    fn items_that_are_one_are_indexed_once() {
        let repeated = |name: &[u8]| {
            let mut payload = vec![0; 4096];
            let mut builder = SnapshotBuilder::new(&mut payload, Some(1)).unwrap();
            builder
                .push(&SnapshotItem { hash: 7, options: 0, enabled: 1, name, path: b"/" })
                .unwrap();
            let item = 32..builder.finish().unwrap();
            payload[4..8].copy_from_slice(&5000u32.to_ne_bytes());
            let entry = &payload[24..32];
            Cgroups::of(&[&payload[..24], &entry.repeat(5000), &payload[item]].concat())
        };
        let cgroups = Arc::new(repeated(b"name").unwrap());
        assert_eq!(cgroups.index.len(), 1);
        let cached = CachedSnapshot { cgroups, ..CachedSnapshot::default() };
        assert_eq!((cached.len(), cached.iter().len(), cached.is_empty()), (5000, 5000, false));
        assert_eq!(cached.get(7, b"name").unwrap().path, b"/");
        // All of these names are the same bytes.
        assert!(repeated(&[b'n'; 1000]).is_err());
    }

    #[test]
    fn names_go_into_the_index_only_where_hashes_do_not_tell_items_apart() {
        let hashes: [fn(u32) -> u32; 4] =
            [|at| at, |at| at / SAME_HASH_MAX as u32, |at| at % 3, |_| 7];
        for (hash, by_name) in hashes.into_iter().zip([false, false, true, true]) {
            let cached = snapshot((0..3000).map(hash));
            assert_eq!(cached.cgroups.by_name, by_name);
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
