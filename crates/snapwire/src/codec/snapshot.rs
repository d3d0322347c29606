//! CGROUPS_SNAPSHOT: every cgroup at once.

use super::batch::{ENTRY_LEN, Entry, Packer, check_directory, split_directory};
use super::bytes::{Fixed, Writer, wire_len};
use super::fault::{BuildError, Fault, Malformed};

const HEADER_LEN: usize = 24;
const ITEM_LEN: usize = 32;
/// A directory entry and the smallest item: what a slot costs when nobody says how many come.
const SLOT_LEN: usize = ENTRY_LEN + 40;
const LAYOUT_VERSION: u16 = 1;
const WHAT: &str = "snapshot";

/// The request: nothing but a version.
///
/// | offset | size | field |
/// | --- | --- | --- |
/// | 0 | 2 | layout version, 1 |
/// | 2 | 2 | flags, 0 |
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SnapshotRequest;

impl SnapshotRequest {
    /// Its length in bytes.
    pub const LEN: usize = 4;

    /// Reads a request.
    ///
    /// # Errors
    /// [`Fault::Truncated`] and [`Fault::BadLayout`].
    pub fn decode(payload: &[u8]) -> Result<SnapshotRequest, Malformed> {
        let refuse = |fault| Err(Malformed::new(fault, "snapshot request"));
        let Some(fixed) = Fixed::<{ SnapshotRequest::LEN }>::of(payload) else {
            return refuse(Fault::Truncated);
        };
        if fixed.u16(0) != LAYOUT_VERSION || fixed.u16(2) != 0 {
            return refuse(Fault::BadLayout);
        }
        Ok(SnapshotRequest)
    }

    /// The request's bytes.
    pub fn encode(&self) -> [u8; SnapshotRequest::LEN] {
        Writer::new().u16(LAYOUT_VERSION).u16(0).done()
    }
}

/// One cgroup of a snapshot. Hash and name together identify it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SnapshotItem<'a> {
    /// The provider's hash.
    pub hash: u32,
    /// The provider's options.
    pub options: u32,
    /// Whether it is enabled. Not 0: yes.
    pub enabled: u32,
    /// Its name. Bytes, not necessarily UTF-8.
    pub name: &'a [u8],
    /// Its path. Bytes, not necessarily UTF-8.
    pub path: &'a [u8],
}

impl<'a> SnapshotItem<'a> {
    /// Reads an item.
    ///
    /// | offset | size | field |
    /// | --- | --- | --- |
    /// | 0, 2 | 2, 2 | layout version, 1; flags, 0 |
    /// | 4, 8, 12 | 4 each | hash, options, enabled |
    /// | 16, 20 | 4, 4 | name: offset from the item's start, length without its NUL |
    /// | 24, 28 | 4, 4 | path: likewise |
    /// | 32 | | the strings, each with a NUL |
    pub(crate) fn decode(item: &'a [u8]) -> Result<SnapshotItem<'a>, Malformed> {
        let refuse = |fault| Malformed::new(fault, "snapshot item");
        let fixed = Fixed::<ITEM_LEN>::of(item).ok_or(refuse(Fault::Truncated))?;
        if fixed.u16(0) != LAYOUT_VERSION || fixed.u16(2) != 0 {
            return Err(refuse(Fault::BadLayout));
        }
        let string = |at| {
            let (offset, length) = (fixed.len(at), fixed.len(at + 4));
            if offset < ITEM_LEN {
                return Err(refuse(Fault::OutOfBounds));
            }
            // Both are below 2^32, and usize is wider than that or the slice is refused.
            let end = offset.checked_add(length).ok_or(refuse(Fault::OutOfBounds))?;
            let text = item.get(offset..end).ok_or(refuse(Fault::OutOfBounds))?;
            match item.get(end) {
                None => Err(refuse(Fault::OutOfBounds)),
                Some(0) => Ok((text, offset, end)),
                Some(_) => Err(refuse(Fault::MissingNul)),
            }
        };
        let (name, name_start, name_end) = string(16)?;
        let (path, path_start, path_end) = string(24)?;
        if name_start <= path_end && path_start <= name_end {
            return Err(refuse(Fault::BadLayout));
        }
        Ok(SnapshotItem {
            hash: fixed.u32(4),
            options: fixed.u32(8),
            enabled: fixed.u32(12),
            name,
            path,
        })
    }

    /// Reads an item that was checked before, so it is there. More may follow it.
    #[inline]
    pub(crate) fn decode_again(item: &'a [u8]) -> Option<SnapshotItem<'a>> {
        let fixed = Fixed::<ITEM_LEN>::of(item)?;
        let string = |at| item.get(fixed.len(at)..fixed.len(at) + fixed.len(at + 4));
        Some(SnapshotItem {
            hash: fixed.u32(4),
            options: fixed.u32(8),
            enabled: fixed.u32(12),
            name: string(16)?,
            path: string(24)?,
        })
    }
}

/// A snapshot, seen in a payload. Its header and directory are checked when it is made, an item
/// when it is handed out.
///
/// | offset | size | field |
/// | --- | --- | --- |
/// | 0, 2 | 2, 2 | layout version, 1; flags, 0 |
/// | 4 | 4 | number of items |
/// | 8 | 4 | whether systemd is enabled |
/// | 12 | 4 | reserved, 0 |
/// | 16 | 8 | generation |
/// | 24 | 8 each | directory; offsets count from its end |
#[derive(Clone, Copy, Debug, Default)]
pub struct Snapshot<'a> {
    systemd_enabled: u32,
    generation: u64,
    directory: &'a [[u8; ENTRY_LEN]],
    packed: &'a [u8],
}

impl<'a> Snapshot<'a> {
    /// A view of a response.
    ///
    /// # Errors
    /// [`Fault::Truncated`], [`Fault::BadLayout`], [`Fault::BadAlignment`],
    /// [`Fault::OutOfBounds`].
    pub fn decode(payload: &'a [u8]) -> Result<Snapshot<'a>, Malformed> {
        let snapshot = Snapshot::decode_again(payload)?;
        check_directory(snapshot.directory, snapshot.packed.len(), ITEM_LEN, WHAT)?;
        Ok(snapshot)
    }

    /// A view of a response whose directory was checked before.
    pub(crate) fn decode_again(payload: &'a [u8]) -> Result<Snapshot<'a>, Malformed> {
        let refuse = |fault| Malformed::new(fault, WHAT);
        let fixed = Fixed::<HEADER_LEN>::of(payload).ok_or(refuse(Fault::Truncated))?;
        if fixed.u16(0) != LAYOUT_VERSION || fixed.u16(2) != 0 || fixed.u32(12) != 0 {
            return Err(refuse(Fault::BadLayout));
        }
        let (directory, packed) = split_directory(&payload[HEADER_LEN..], fixed.u32(4), WHAT)?;
        Ok(Snapshot { systemd_enabled: fixed.u32(8), generation: fixed.u64(16), directory, packed })
    }

    /// Whether two responses have the same cgroups: all is alike but what their headers say beside
    /// the number of items.
    pub(crate) fn have_same_cgroups(one: &'a [u8], other: &'a [u8]) -> bool {
        let parts = |payload: &'a [u8]| Some((payload.get(4..8)?, payload.get(HEADER_LEN..)?));
        parts(one).is_some_and(|cgroups| parts(other) == Some(cgroups))
    }

    /// The number of cgroups.
    pub fn len(&self) -> usize {
        self.directory.len()
    }

    /// Whether there are none. An empty snapshot is a valid one.
    pub fn is_empty(&self) -> bool {
        self.directory.is_empty()
    }

    /// Whether the provider found systemd. Not 0: yes.
    pub fn systemd_enabled(&self) -> u32 {
        self.systemd_enabled
    }

    /// The provider's generation.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// One cgroup.
    ///
    /// # Errors
    /// Why the item is malformed; [`Fault::BadItemCount`] when there are not so many.
    pub fn item(&self, index: usize) -> Result<SnapshotItem<'a>, Malformed> {
        let entry = self.directory.get(index);
        let entry = entry.ok_or(Malformed::new(Fault::BadItemCount, "snapshot item"))?;
        SnapshotItem::decode(self.bytes_of(entry))
    }

    /// Where an entry's item is. That it is there was checked when the view was made.
    fn bytes_of(&self, entry: &[u8; ENTRY_LEN]) -> &'a [u8] {
        let Entry { offset, length } = Entry::of(entry);
        self.packed.get(offset..offset + length).unwrap_or_default()
    }

    /// The bytes of each item, in order.
    pub(crate) fn items_bytes(&self) -> impl ExactSizeIterator<Item = &'a [u8]> + use<'a> {
        let snapshot = *self;
        self.directory.iter().map(move |entry| snapshot.bytes_of(entry))
    }

    /// The cgroups in order.
    pub fn iter(&self) -> impl Iterator<Item = Result<SnapshotItem<'a>, Malformed>> + use<'a> {
        self.items_bytes().map(SnapshotItem::decode)
    }
}

/// Writes a snapshot. Its first error stays: [`SnapshotBuilder::finish`] returns it.
#[derive(Debug)]
pub struct SnapshotBuilder<'a> {
    packer: Packer<'a>,
    systemd_enabled: u32,
    generation: u64,
    failed: Option<BuildError>,
}

impl<'a> SnapshotBuilder<'a> {
    /// A snapshot of at most so many items; without a number, as many as the payload can hold.
    ///
    /// # Errors
    /// [`BuildError::Overflow`] when not even header and directory fit.
    pub fn new(
        payload: &'a mut [u8],
        max_items: Option<u32>,
    ) -> Result<SnapshotBuilder<'a>, BuildError> {
        let slots = payload.len().saturating_sub(HEADER_LEN) / SLOT_LEN;
        let slots = max_items.map_or(slots, |items| items as usize);
        Ok(SnapshotBuilder {
            packer: Packer::new(payload, HEADER_LEN, slots, "snapshot")?,
            systemd_enabled: 0,
            generation: 0,
            failed: None,
        })
    }

    /// Says whether there is systemd.
    pub fn set_systemd_enabled(&mut self, enabled: u32) {
        self.systemd_enabled = enabled;
    }

    /// Sets the generation.
    pub fn set_generation(&mut self, generation: u64) {
        self.generation = generation;
    }

    /// Appends a cgroup.
    ///
    /// # Errors
    /// [`BuildError::Overflow`] when it does not fit. The error stays.
    pub fn push(&mut self, item: &SnapshotItem<'_>) -> Result<(), BuildError> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        let pushed = self.write(item);
        self.failed = pushed.err();
        pushed
    }

    fn write(&mut self, item: &SnapshotItem<'_>) -> Result<(), BuildError> {
        let (name_len, path_len) = (item.name.len(), item.path.len());
        let path_at = ITEM_LEN + name_len + 1;
        let length = path_at + path_len + 1;
        if self.packer.count() == self.packer.max_items() {
            // Without an announced number a full directory is a full buffer.
            return Err(BuildError::overflow("snapshot item", length, 0));
        }
        let slot = self.packer.slot()?;
        let room = slot.len();
        let target =
            slot.get_mut(..length).ok_or(BuildError::overflow("snapshot item", length, room))?;
        let fixed: [u8; ITEM_LEN] = Writer::new()
            .u16(LAYOUT_VERSION)
            .u16(0)
            .u32(item.hash)
            .u32(item.options)
            .u32(item.enabled)
            .u32(ITEM_LEN as u32)
            .u32(wire_len(name_len))
            .u32(wire_len(path_at))
            .u32(wire_len(path_len))
            .done();
        target[..ITEM_LEN].copy_from_slice(&fixed);
        target[ITEM_LEN..path_at - 1].copy_from_slice(item.name);
        target[path_at - 1] = 0;
        target[path_at..length - 1].copy_from_slice(item.path);
        target[length - 1] = 0;
        self.packer.commit(length);
        Ok(())
    }

    /// The payload's length in bytes.
    ///
    /// # Errors
    /// The first error of any [`SnapshotBuilder::push`].
    pub fn finish(self) -> Result<usize, BuildError> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        let header: [u8; HEADER_LEN] = Writer::new()
            .u16(LAYOUT_VERSION)
            .u16(0)
            .u32(wire_len(self.packer.count()))
            .u32(self.systemd_enabled)
            .u32(0)
            .u64(self.generation)
            .done();
        Ok(self.packer.finish_with(&header))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn built(
        items: &[(u32, Vec<u8>, Vec<u8>)],
        room: usize,
        max: Option<u32>,
    ) -> Result<Vec<u8>, BuildError> {
        let mut payload = vec![0x55; room];
        let mut builder = SnapshotBuilder::new(&mut payload, max)?;
        builder.set_generation(9);
        builder.set_systemd_enabled(1);
        for (hash, name, path) in items {
            let _ = builder.push(&SnapshotItem { hash: *hash, options: 2, enabled: 1, name, path });
        }
        let length = builder.finish()?;
        payload.truncate(length);
        Ok(payload)
    }

    #[test]
    fn the_same_cgroups_are_those_of_which_nothing_differs() {
        let one = built(&[(7, b"a".to_vec(), b"/b".to_vec())], 256, Some(1)).unwrap();
        for at in 0..one.len() {
            let mut other = one.clone();
            other[at] ^= 1;
            // Layout and flags, systemd, what is reserved, generation.
            let is_about_others = (0..4).contains(&at) || (8..24).contains(&at);
            assert_eq!(Snapshot::have_same_cgroups(&one, &other), is_about_others, "byte {at}");
            assert!(!Snapshot::have_same_cgroups(&one, &one[..at]), "{at} bytes");
        }
        assert!(!Snapshot::have_same_cgroups(&[], &[]), "there are none");
    }

    #[test]
    fn each_fault_has_its_name() {
        let good = built(&[(7, b"a".to_vec(), b"/b".to_vec())], 256, Some(1)).unwrap();
        let item = 24 + 8;
        let whole = |at: usize, value: u8| {
            let mut bad = good.clone();
            bad[at] = value;
            let snapshot = Snapshot::decode(&bad).map_err(|error| error.fault)?;
            snapshot.item(0).map(|_| ()).map_err(|error| error.fault)
        };
        assert_eq!(Snapshot::decode(&good[..23]).unwrap_err().fault, Fault::Truncated);
        for (at, value, fault) in [
            (0, 2, Fault::BadLayout),
            (2, 1, Fault::BadLayout),
            (12, 1, Fault::BadLayout),
            (4, 9, Fault::Truncated),
            (7, 0xff, Fault::Truncated),
            (24, 4, Fault::BadAlignment),
            (24, 8, Fault::OutOfBounds),
            (28, 31, Fault::Truncated),
            (28, 64, Fault::OutOfBounds),
            (item, 2, Fault::BadLayout),
            (item + 2, 1, Fault::BadLayout),
            (item + 16, 31, Fault::OutOfBounds),
            (item + 20, 200, Fault::OutOfBounds),
            (item + 20, 2, Fault::MissingNul),
            (item + 23, 0xff, Fault::OutOfBounds),
            (item + 24, 31, Fault::OutOfBounds),
            (item + 28, 1, Fault::MissingNul),
            (item + 28, 3, Fault::OutOfBounds),
        ] {
            assert_eq!(whole(at, value), Err(fault), "byte {at} = {value}");
        }
        // The path begins at the name's NUL.
        let mut bad = good.clone();
        bad[item + 24] = 33;
        bad[item + 28] = 3;
        assert_eq!(Snapshot::decode(&bad).unwrap().item(0).unwrap_err().fault, Fault::BadLayout);
        assert_eq!(
            Snapshot::decode(&good).unwrap().item(1).unwrap_err().fault,
            Fault::BadItemCount
        );
    }

    #[test]
    fn an_empty_snapshot_is_a_header() {
        let payload = built(&[], 24, None).unwrap();
        let snapshot = Snapshot::decode(&payload).unwrap();
        assert_eq!((payload.len(), snapshot.len(), snapshot.generation()), (24, 0, 9));
    }

    #[test]
    fn a_request_of_another_layout_is_refused() {
        assert_eq!(SnapshotRequest::decode(&SnapshotRequest.encode()), Ok(SnapshotRequest));
        assert_eq!(SnapshotRequest::decode(&[1, 0, 0]).unwrap_err().fault, Fault::Truncated);
        assert_eq!(SnapshotRequest::decode(&[2, 0, 0, 0]).unwrap_err().fault, Fault::BadLayout);
        assert_eq!(SnapshotRequest::decode(&[1, 0, 1, 0]).unwrap_err().fault, Fault::BadLayout);
    }

    #[test]
    fn the_first_error_stays() {
        let mut payload = [0; 24 + 8 + 40];
        let mut builder = SnapshotBuilder::new(&mut payload, Some(1)).unwrap();
        let big = SnapshotItem { hash: 1, options: 0, enabled: 0, name: &[b'x'; 40], path: b"" };
        let small = SnapshotItem { name: b"x", ..big };
        let error = builder.push(&big).unwrap_err();
        assert_eq!(error, BuildError::overflow("snapshot item", 32 + 41 + 1, 40));
        assert_eq!(builder.push(&small), Err(error));
        assert_eq!(builder.finish(), Err(error));
        assert!(SnapshotBuilder::new(&mut payload[..31], Some(1)).is_err());
    }

    proptest! {
        #[test]
        fn items_come_back(
            items in prop::collection::vec((any::<u32>(), prop::collection::vec(any::<u8>(), 0..30), prop::collection::vec(any::<u8>(), 0..30)), 0..12),
            announced in any::<bool>(),
        ) {
            let payload = built(&items, 4096, announced.then_some(items.len() as u32)).unwrap();
            let snapshot = Snapshot::decode(&payload).unwrap();
            prop_assert_eq!(snapshot.len(), items.len());
            for (item, (hash, name, path)) in snapshot.iter().zip(&items) {
                let item = item.unwrap();
                prop_assert_eq!((item.hash, item.name, item.path), (*hash, &name[..], &path[..]));
            }
        }

        #[test]
        fn damaged_bytes_are_refused_or_read(at in 0usize..80, value in any::<u8>(), cut in 0usize..90) {
            let items = [(1, b"name".to_vec(), b"/path".to_vec()), (2, b"n".to_vec(), b"".to_vec())];
            let mut payload = built(&items, 512, Some(2)).unwrap();
            if let Some(byte) = payload.get_mut(at) {
                *byte = value;
            }
            payload.truncate(payload.len() - cut.min(payload.len()));
            if let Ok(snapshot) = Snapshot::decode(&payload) {
                for item in snapshot.iter() {
                    let _ = item;
                }
            }
        }
    }
}
