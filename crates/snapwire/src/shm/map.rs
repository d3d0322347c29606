//! A file in memory that another process writes to as well. Most of the crate's `unsafe` is here.
//!
//! Nothing hands out a reference to plain bytes: they could change under it. Words are atomics, and
//! bytes are copied out before anybody looks at them.
#![expect(unsafe_code)]

use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};
use std::io;
use std::marker::PhantomData;
use std::ops::Deref;
use std::os::fd::BorrowedFd;
use std::ptr::{self, NonNull};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64};

/// What is longer, in bytes, is brought in page by page as it is used. At once it would take longer
/// than a caller may wait, and how long it is says the peer.
const POPULATE_MAX: usize = 128 << 20;

/// A mapping, shared with other processes, that lasts as long as this value.
#[derive(Debug)]
pub(crate) struct Map {
    start: NonNull<u8>,
    len: usize,
}

// SAFETY: the mapping belongs to the process, not to a thread, and is only used through atomics and
// copies.
unsafe impl Send for Map {}
// SAFETY: as above; no method needs exclusive access.
unsafe impl Sync for Map {}

impl Map {
    /// Maps the first `len` bytes of a file, all of which exist.
    pub(crate) fn new(file: BorrowedFd<'_>, len: usize) -> io::Result<Arc<Map>> {
        let access = ProtFlags::READ | ProtFlags::WRITE;
        let now = if len <= POPULATE_MAX { MapFlags::POPULATE } else { MapFlags::empty() };
        let flags = MapFlags::SHARED | now;
        // SAFETY: the kernel chooses a place where nothing else is mapped.
        let start = unsafe { mmap(ptr::null_mut(), len, access, flags, file, 0) }?;
        let start = NonNull::new(start.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Arc::new(Map { start, len }))
    }

    /// A part of the mapping. It must be inside: offsets were checked when the region's header was.
    pub(crate) fn area(self: &Arc<Map>, offset: usize, len: usize) -> Area {
        let inside = offset.checked_add(len).is_some_and(|end| end <= self.len);
        assert!(inside, "{len} bytes at {offset} are not in a mapping of {}", self.len);
        // SAFETY: the offset is inside the mapping, by the check above.
        let start = unsafe { self.start.add(offset) };
        Area { start, len, _map: Arc::clone(self) }
    }

    /// A word of 4 bytes at a multiple of 4.
    pub(crate) fn u32(self: &Arc<Map>, offset: usize) -> Word<AtomicU32> {
        self.word(offset)
    }

    /// A word of 8 bytes at a multiple of 8.
    pub(crate) fn u64(self: &Arc<Map>, offset: usize) -> Word<AtomicU64> {
        self.word(offset)
    }

    fn word<T>(self: &Arc<Map>, offset: usize) -> Word<T> {
        assert!(offset.is_multiple_of(size_of::<T>()));
        Word(self.area(offset, size_of::<T>()), PhantomData)
    }
}

/// A part of a mapping, checked once. It keeps the mapping.
#[derive(Debug)]
pub(crate) struct Area {
    start: NonNull<u8>,
    len: usize,
    _map: Arc<Map>,
}

// SAFETY: as for the mapping, which it keeps.
unsafe impl Send for Area {}
// SAFETY: as above.
unsafe impl Sync for Area {}

impl Area {
    /// Its length in bytes.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    #[inline]
    fn range(&self, at: usize, len: usize) -> *mut u8 {
        let inside = at.checked_add(len).is_some_and(|end| end <= self.len);
        assert!(inside, "{len} bytes at {at} are not in an area of {}", self.len);
        // SAFETY: it is inside the area, by the check above, and the area inside the mapping.
        unsafe { self.start.as_ptr().add(at) }
    }

    /// Copies bytes out. When the peer writes at the same time they are a mixture, and the caller
    /// finds out by its protocol: what is copied is input, whatever it is.
    #[inline]
    pub(crate) fn read(&self, at: usize, bytes: &mut [u8]) {
        let from = self.range(at, bytes.len());
        // SAFETY: the source is inside the mapping, the target is the caller's own memory, and so
        // they do not overlap. Only another process can write the source meanwhile; every pattern
        // of bits is a byte.
        unsafe { ptr::copy_nonoverlapping(from, bytes.as_mut_ptr(), bytes.len()) }
    }

    /// Copies bytes in.
    #[inline]
    pub(crate) fn write(&self, at: usize, bytes: &[u8]) {
        let to = self.range(at, bytes.len());
        // SAFETY: the target is inside the mapping, the source is the caller's own memory, and so
        // they do not overlap. Nothing of this process reads the target meanwhile.
        unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), to, bytes.len()) }
    }
}

/// A word of a mapping: an atomic. Only [`Map`] makes it.
#[derive(Debug)]
pub(crate) struct Word<T>(Area, PhantomData<T>);

impl<T> Deref for Word<T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: the area has the length of an atomic, which is aligned since its offset is and the
        // mapping is to pages; it is mapped as long as `self` lives, every pattern of bits is a
        // value, and no one of this process uses it other than as an atomic.
        unsafe { self.0.start.cast().as_ref() }
    }
}

impl Drop for Map {
    fn drop(&mut self) {
        // SAFETY: it is this value's mapping, and no reference into it outlives the value.
        let _ = unsafe { munmap(self.start.as_ptr().cast(), self.len) };
    }
}
