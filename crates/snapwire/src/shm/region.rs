//! A file of shared memory for one session: made by the server, used by both.
//!
//! | offset | size | field |
//! | --- | --- | --- |
//! | 0 | 4 | magic, "NSHM" |
//! | 4, 6 | 2, 2 | version, 3; length of this header, 64 |
//! | 8, 12 | 4, 4 | the owner's pid; its generation, not 0 |
//! | 16, 20 | 4, 4 | offset and capacity of the request's area |
//! | 24, 28 | 4, 4 | of the response's |
//! | 32, 40 | 8, 8 | numbers of published requests and responses |
//! | 48, 52 | 4, 4 | their lengths |
//! | 56, 60 | 4, 4 | the words that readers sleep on |
//!
//! In the profile with waiters the last six are not used, and each area begins with words of its
//! own: number (8), on whose lower half readers sleep; whether one does (4); length (4). The
//! message follows. What a reader spins on is in the line of what it then reads: a message of up to
//! 48 bytes moves one line.

use super::lane::Lane;
use super::map::{Area, Map, Word};
use crate::codec::{HEADER_LEN, Profiles};
use crate::endpoint::Endpoint;
use crate::error::{Error, RegionProblem};
use crate::handshake::Terms;
use rustix::fs::{
    self, AtFlags, FallocateFlags, FileType, Mode, OFlags, Stat, fstat, openat, statat, unlinkat,
};
use rustix::io::{Errno, pread};
use rustix::process::{Pid, test_kill_process};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{SystemTime, UNIX_EPOCH};

const MAGIC: u32 = 0x4e53_484d;
const VERSION: u16 = 3;
const REGION_HEADER_LEN: usize = 64;
const ALIGNMENT: u32 = 64;
/// Where the message begins in an area of that profile.
const WAITERS_MESSAGE_AT: u32 = 16;

/// One direction: its words and its area.
#[derive(Debug)]
pub(crate) struct Direction {
    seq: Word<AtomicU64>,
    len: Word<AtomicU32>,
    signal: Word<AtomicU32>,
    waiting: Option<Word<AtomicU32>>,
    /// Where a message goes.
    pub(crate) area: Area,
}

/// Which direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// From the client to the server.
    Request,
    /// And back.
    Response,
}

/// What identifies a file, so that nobody else's is removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Identity {
    device: u64,
    inode: u64,
}

impl Identity {
    fn of(stat: &Stat) -> Identity {
        Identity { device: stat.st_dev, inode: stat.st_ino }
    }
}

/// Where the owner finds its file again.
#[derive(Debug)]
struct Ownership {
    directory: OwnedFd,
    name: String,
    identity: Identity,
}

/// A mapped region. Its owner removes the file when it drops it.
#[derive(Debug)]
pub(crate) struct Region {
    request: Direction,
    response: Direction,
    owned: Option<Ownership>,
}

/// What the header says about the areas.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Layout {
    request_at: u32,
    request_capacity: u32,
    response_at: u32,
    response_capacity: u32,
}

impl Layout {
    /// Areas for these payloads.
    fn for_payloads(profile: Profiles, request: u32, response: u32) -> Option<Layout> {
        let request_at = REGION_HEADER_LEN as u32;
        let before = message_at(profile) + HEADER_LEN as u32;
        let area = |payload: u32| payload.checked_add(before)?.checked_next_multiple_of(ALIGNMENT);
        let (request_capacity, response_capacity) = (area(request)?, area(response)?);
        let response_at = request_at.checked_add(request_capacity)?;
        response_at.checked_add(response_capacity)?;
        Some(Layout { request_at, request_capacity, response_at, response_capacity })
    }

    /// The length of the file. It was checked to fit.
    fn file_len(&self) -> u64 {
        u64::from(self.response_at) + u64::from(self.response_capacity)
    }

    /// Whether both areas lie behind the words, aligned, apart, and in the file.
    fn check(&self, file_len: u64) -> Result<(), RegionProblem> {
        let Layout { request_at, request_capacity, response_at, response_capacity } = *self;
        let nothing = request_capacity == 0 || response_capacity == 0;
        if nothing
            || request_at < REGION_HEADER_LEN as u32
            || response_at < REGION_HEADER_LEN as u32
        {
            return Err(RegionProblem::NotReady);
        }
        let values = [request_at, request_capacity, response_at, response_capacity];
        let aligned = values.iter().all(|value| value.is_multiple_of(ALIGNMENT));
        let request_end = request_at.checked_add(request_capacity);
        let apart = request_end.is_some_and(|end| response_at >= end);
        if !aligned || !apart || file_len < self.file_len() {
            return Err(RegionProblem::BadSize);
        }
        Ok(())
    }
}

/// The region's header as it was read, once.
#[derive(Clone, Copy, Debug)]
struct RegionHeader {
    owner_pid: i32,
    generation: u32,
    layout: Layout,
}

impl RegionHeader {
    fn decode(bytes: &[u8; REGION_HEADER_LEN]) -> Result<RegionHeader, RegionProblem> {
        let u16_at = |at: usize| u16::from_ne_bytes([bytes[at], bytes[at + 1]]);
        if !bytes.starts_with(&MAGIC.to_ne_bytes()) {
            return Err(RegionProblem::BadMagic);
        }
        if u16_at(4) != VERSION {
            return Err(RegionProblem::BadVersion);
        }
        if usize::from(u16_at(6)) != REGION_HEADER_LEN {
            return Err(RegionProblem::BadHeader);
        }
        Ok(RegionHeader::read(bytes))
    }

    /// What stands after magic number, version and length, unchecked.
    fn read(bytes: &[u8; REGION_HEADER_LEN]) -> RegionHeader {
        let u32_at = |at: usize| {
            u32::from_ne_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
        };
        RegionHeader {
            owner_pid: u32_at(8).cast_signed(),
            generation: u32_at(12),
            layout: Layout {
                request_at: u32_at(16),
                request_capacity: u32_at(20),
                response_at: u32_at(24),
                response_capacity: u32_at(28),
            },
        }
    }

    /// The first 32 bytes.
    fn encode(&self) -> [u8; 32] {
        let mut bytes = [0; 32];
        bytes[4..6].copy_from_slice(&VERSION.to_ne_bytes());
        bytes[6..8].copy_from_slice(&(REGION_HEADER_LEN as u16).to_ne_bytes());
        let words = [
            MAGIC,
            u32::from_ne_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]),
            self.owner_pid.cast_unsigned(),
            self.generation,
            self.layout.request_at,
            self.layout.request_capacity,
            self.layout.response_at,
            self.layout.response_capacity,
        ];
        for (target, word) in bytes.chunks_exact_mut(4).zip(words) {
            target.copy_from_slice(&word.to_ne_bytes());
        }
        bytes
    }

    /// Whether the process that made the region is there.
    fn is_live(&self) -> bool {
        let alive = |pid| match test_kill_process(pid) {
            Ok(()) | Err(Errno::PERM) => true,
            Err(_) => false,
        };
        // As the first process of a container this one has the number of who was there before.
        let is_before_us =
            self.owner_pid.cast_unsigned() == std::process::id() && self.generation != generation();
        self.generation != 0
            && !is_before_us
            && self.owner_pid > 0
            && Pid::from_raw(self.owner_pid).is_some_and(alive)
    }
}

fn message_at(profile: Profiles) -> u32 {
    if profile == Profiles::SHM_WAITERS { WAITERS_MESSAGE_AT } else { 0 }
}

/// The directory of the endpoint, to name files in it without racing for it.
fn run_dir(endpoint: &Endpoint) -> Result<OwnedFd, Errno> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    fs::open(endpoint.run_dir(), flags, Mode::empty())
}

/// What tells this process from others that had its number: never 0.
fn generation() -> u32 {
    static OURS: OnceLock<u32> = OnceLock::new();
    *OURS.get_or_init(|| {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        (now.as_secs() as u32 ^ (now.subsec_nanos() >> 10)).max(1)
    })
}

impl Region {
    /// Makes the region of a session, with all its storage.
    pub(crate) fn create(endpoint: &Endpoint, terms: &Terms) -> Result<Region, Error> {
        Region::try_create(endpoint, terms)
            .map_err(|problem| Error::Region { path: endpoint.region_path(terms.session), problem })
    }

    fn try_create(endpoint: &Endpoint, terms: &Terms) -> Result<Region, RegionProblem> {
        let (request, response) = (terms.request.payload_bytes, terms.response.payload_bytes);
        let layout = Layout::for_payloads(terms.profile, request, response)
            .ok_or(RegionProblem::TooLarge)?;
        let directory = run_dir(endpoint).map_err(|error| RegionProblem::Io(error.into()))?;
        let name = endpoint.region_name(terms.session);
        let file = create_exclusive(&directory, &name)?;
        let io = |error: Errno| RegionProblem::Io(error.into());
        let identity = Identity::of(&fstat(&file).map_err(io)?);
        let owned = Ownership { directory, name, identity };
        reserve(&file, layout.file_len()).map_err(|error| {
            owned.remove();
            RegionProblem::Allocate(error.into())
        })?;
        let map = Map::new(file.as_fd(), layout.file_len() as usize).inspect_err(|_| {
            owned.remove();
        })?;
        let owner_pid = std::process::id().cast_signed();
        let header = RegionHeader { owner_pid, generation: generation(), layout };
        let bytes = header.encode();
        // A new file is all zeros. The magic number comes last: who sees it sees the rest.
        map.area(0, bytes.len()).write(4, &bytes[4..]);
        map.u32(0).store(MAGIC, Ordering::Release);
        let mut region = Region::of(&map, &header, terms.profile);
        region.owned = Some(owned);
        Ok(region)
    }

    /// Comes into the region that the server of a session has made.
    pub(crate) fn attach(endpoint: &Endpoint, terms: &Terms) -> Result<Region, RegionProblem> {
        let io = |error: Errno| RegionProblem::Io(error.into());
        let flags = OFlags::RDWR | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let directory = run_dir(endpoint).map_err(io)?;
        let name = endpoint.region_name(terms.session);
        let file = openat(directory, name.as_str(), flags, Mode::empty()).map_err(io)?;
        Region::attach_to(file.as_fd(), terms.profile)
    }

    fn attach_to(file: BorrowedFd<'_>, profile: Profiles) -> Result<Region, RegionProblem> {
        let io = |error: Errno| RegionProblem::Io(error.into());
        let stat = fstat(file).map_err(io)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(RegionProblem::BadHeader);
        }
        let mut bytes = [0; REGION_HEADER_LEN];
        if pread(file, &mut bytes, 0).map_err(io)? < REGION_HEADER_LEN {
            return Err(RegionProblem::NotReady);
        }
        let header = RegionHeader::decode(&bytes)?;
        header.layout.check(stat.st_size.cast_unsigned())?;
        // The areas and no more: the file may be of any length, and mapping takes up memory.
        let len = usize::try_from(header.layout.file_len()).map_err(|_| RegionProblem::BadSize)?;
        Ok(Region::of(&Map::new(file, len)?, &header, profile))
    }

    fn of(map: &Arc<Map>, header: &RegionHeader, profile: Profiles) -> Region {
        let Layout { request_at, request_capacity, response_at, response_capacity } = header.layout;
        let waiters = profile == Profiles::SHM_WAITERS;
        let direction = |index: usize, area: u32, capacity: u32| {
            let (area, capacity) = (area as usize, capacity as usize);
            if waiters {
                let before = WAITERS_MESSAGE_AT as usize;
                let lower_half = if cfg!(target_endian = "little") { 0 } else { 4 };
                Direction {
                    seq: map.u64(area),
                    len: map.u32(area + 12),
                    signal: map.u32(area + lower_half),
                    waiting: Some(map.u32(area + 8)),
                    area: map.area(area + before, capacity - before),
                }
            } else {
                Direction {
                    seq: map.u64(32 + 8 * index),
                    len: map.u32(48 + 4 * index),
                    signal: map.u32(56 + 4 * index),
                    waiting: None,
                    area: map.area(area, capacity),
                }
            }
        };
        Region {
            request: direction(0, request_at, request_capacity),
            response: direction(1, response_at, response_capacity),
            owned: None,
        }
    }

    /// One direction.
    #[inline]
    pub(crate) fn direction(&self, way: Way) -> &Direction {
        match way {
            Way::Request => &self.request,
            Way::Response => &self.response,
        }
    }
}

impl Direction {
    /// Its words.
    #[inline]
    pub(crate) fn lane(&self) -> Lane<'_> {
        let waiting = self.waiting.as_deref();
        Lane { seq: &self.seq, len: &self.len, signal: &self.signal, waiting }
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        if let Some(owned) = &self.owned {
            owned.remove();
        }
    }
}

impl Ownership {
    /// Removes the file, if it is still this one.
    fn remove(&self) {
        remove(self.directory.as_fd(), &self.name, Some(self.identity));
    }
}

/// Creates a file that was not there, once whatever a dead server left is gone.
fn create_exclusive(directory: &OwnedFd, name: &str) -> Result<OwnedFd, RegionProblem> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    let mode = Mode::RUSR | Mode::WUSR;
    let create = || openat(directory, name, flags, mode);
    let created = match create() {
        Err(Errno::EXIST) if reclaim(directory.as_fd(), name) => create(),
        created => created,
    };
    created.map_err(|error| match error {
        Errno::EXIST => RegionProblem::InUse,
        error => RegionProblem::Io(error.into()),
    })
}

/// Reserves storage for all of a file, so that touching a page of it later cannot fail. There is no
/// second way: a sparse file on a full file system ends the process that writes to it.
fn reserve(file: &OwnedFd, len: u64) -> Result<(), Errno> {
    loop {
        match fs::fallocate(file, FallocateFlags::empty(), 0, len) {
            Err(Errno::INTR) => {}
            reserved => return reserved,
        }
    }
}

/// Frees a region's name unless a live process owns the region; says whether it is free.
fn reclaim(directory: BorrowedFd<'_>, name: &str) -> bool {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let file = match openat(directory, name, flags, Mode::empty()) {
        Ok(file) => file,
        Err(Errno::NOENT) => return true,
        // Nothing can be said about it.
        Err(Errno::MFILE | Errno::NFILE) => return false,
        Err(_) => return remove(directory, name, None),
    };
    let Ok(stat) = fstat(&file) else {
        return false;
    };
    let mut bytes = [0; REGION_HEADER_LEN];
    let is_region = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile
        && pread(&file, &mut bytes, 0) == Ok(REGION_HEADER_LEN)
        && bytes.starts_with(&MAGIC.to_ne_bytes());
    // A live owner's, whatever its version: what comes after the magic number is read as ours.
    let is_live = is_region && RegionHeader::read(&bytes).is_live();
    !is_live && remove(directory, name, Some(Identity::of(&stat)))
}

/// Removes a name, if it still means the same; says whether it is gone.
fn remove(directory: BorrowedFd<'_>, name: &str, identity: Option<Identity>) -> bool {
    let stat = match statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => stat,
        Err(error) => return error == Errno::NOENT,
    };
    if identity.is_some_and(|identity| identity != Identity::of(&stat)) {
        return false;
    }
    let flags = match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => AtFlags::REMOVEDIR,
        _ => AtFlags::empty(),
    };
    matches!(unlinkat(directory, name, flags), Ok(()) | Err(Errno::NOENT))
}

/// Removes the regions that dead servers of this service have left; returns how many.
pub(crate) fn sweep(endpoint: &Endpoint) -> Result<usize, Error> {
    let failed = |error| Error::io("look for old regions in", endpoint.run_dir(), error);
    let directory = run_dir(endpoint).map_err(|error| failed(error.into()))?;
    let mut removed = 0;
    for entry in std::fs::read_dir(endpoint.run_dir()).map_err(failed)? {
        let name = entry.map_err(failed)?.file_name();
        let Some(name) = name.to_str().filter(|name| endpoint.is_region_name(name)) else {
            continue;
        };
        removed += usize::from(reclaim(directory.as_fd(), name));
    }
    Ok(removed)
}

#[cfg(test)]
mod tests;
