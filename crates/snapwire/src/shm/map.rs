//! A file in memory that another process writes to as well. Most of the crate's `unsafe` is here.
//!
//! Nothing hands out a reference to plain bytes: they could change under it. Words are atomics, and
//! bytes are copied out before anybody looks at them.
#![expect(unsafe_code)]

use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};
use std::io;
use std::os::fd::BorrowedFd;
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicU32, AtomicU64};

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
    pub(crate) fn new(file: BorrowedFd<'_>, len: usize) -> io::Result<Map> {
        let access = ProtFlags::READ | ProtFlags::WRITE;
        let flags = MapFlags::SHARED | MapFlags::POPULATE;
        // SAFETY: the kernel chooses a place where nothing else is mapped.
        let start = unsafe { mmap(ptr::null_mut(), len, access, flags, file, 0) }?;
        let start = NonNull::new(start.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Map { start, len })
    }

    /// Where a range begins. It must be inside the mapping: its offsets were checked when the
    /// region's header was.
    #[inline]
    fn range(&self, offset: usize, len: usize) -> *mut u8 {
        let inside = offset.checked_add(len).is_some_and(|end| end <= self.len);
        assert!(inside, "{len} bytes at {offset} are not in a mapping of {}", self.len);
        // SAFETY: the offset is inside the mapping, by the check above.
        unsafe { self.start.as_ptr().add(offset) }
    }

    /// A word of 4 bytes at a multiple of 4.
    #[inline]
    pub(crate) fn u32(&self, offset: usize) -> &AtomicU32 {
        assert!(offset.is_multiple_of(4));
        let word = self.range(offset, 4).cast();
        // SAFETY: it is inside the mapping, which is aligned to pages and lives as long as `self`,
        // and no one of this process uses it other than as an atomic.
        unsafe { AtomicU32::from_ptr(word) }
    }

    /// A word of 8 bytes at a multiple of 8.
    #[inline]
    pub(crate) fn u64(&self, offset: usize) -> &AtomicU64 {
        assert!(offset.is_multiple_of(8));
        let word = self.range(offset, 8).cast();
        // SAFETY: as for the shorter word.
        unsafe { AtomicU64::from_ptr(word) }
    }

    /// Copies bytes out. When the peer writes at the same time they are a mixture, and the caller
    /// finds out by its protocol: what is copied is input, whatever it is.
    #[inline]
    pub(crate) fn read(&self, offset: usize, bytes: &mut [u8]) {
        let from = self.range(offset, bytes.len());
        // SAFETY: the source is inside the mapping, the target is the caller's own memory, and so
        // they do not overlap. Only another process can write the source meanwhile; every pattern
        // of bits is a byte.
        unsafe { ptr::copy_nonoverlapping(from, bytes.as_mut_ptr(), bytes.len()) }
    }

    /// Copies bytes in.
    #[inline]
    pub(crate) fn write(&self, offset: usize, bytes: &[u8]) {
        let to = self.range(offset, bytes.len());
        // SAFETY: the target is inside the mapping, the source is the caller's own memory, and so
        // they do not overlap. Nothing of this process reads the target meanwhile.
        unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), to, bytes.len()) }
    }
}

impl Drop for Map {
    fn drop(&mut self) {
        // SAFETY: it is this value's mapping, and no reference into it outlives the value.
        let _ = unsafe { munmap(self.start.as_ptr().cast(), self.len) };
    }
}
