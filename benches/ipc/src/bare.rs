//! What the figures are measured against: the transports with nothing around them.
//!
//! Each baseline moves as many bytes as a message of the library has, and is as fast as we know how
//! to write it: one system call for a packet; in shared memory a cache line for each direction, or a
//! line with its words and one with its bytes, a spin of at most 50 us, and a wake-up only for a reader that sleeps.
#![expect(unsafe_code, reason = "raw shared memory is what this measures")]

use anyhow::{Context, Result, ensure};
use rustix::fs::{FallocateFlags, fallocate};
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};
use rustix::net::{
    self, AddressFamily, RecvFlags, SendFlags, SocketAddrUnix, SocketFlags, SocketType,
};
use rustix::thread::futex;
use std::fs::File;
use std::hint::spin_loop;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::ptr;
use std::sync::atomic::{AtomicU32, Ordering, fence};
use std::time::{Duration, Instant};

/// Header and number: what an INCREMENT is on the wire.
pub(crate) const MESSAGE_LEN: usize = 40;

fn socket() -> Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC;
    Ok(net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?)
}

/// Answers every packet with itself, until the client goes.
pub(crate) fn serve_uds(path: &Path, ready: impl FnOnce()) -> Result<()> {
    let listener = socket()?;
    net::bind(&listener, &SocketAddrUnix::new(path)?)?;
    net::listen(&listener, 1)?;
    ready();
    let client = net::accept(&listener)?;
    let mut packet = [0; 4096];
    loop {
        let (length, _) = net::recv(&client, &mut packet[..], RecvFlags::empty())?;
        if length == 0 {
            return Ok(());
        }
        net::send(&client, &packet[..length], SendFlags::NOSIGNAL)?;
    }
}

/// The asking end.
pub(crate) struct Uds(OwnedFd);

impl Uds {
    pub(crate) fn connect(path: &Path) -> Result<Uds> {
        let fd = socket()?;
        net::connect(&fd, &SocketAddrUnix::new(path)?)?;
        Ok(Uds(fd))
    }

    /// So many there, and then all of them back.
    pub(crate) fn window(&mut self, number: u64, depth: u64) -> Result<()> {
        for index in 0..depth {
            let mut packet = [0; MESSAGE_LEN];
            packet[32..].copy_from_slice(&(number + index).to_ne_bytes());
            net::send(&self.0, &packet, SendFlags::NOSIGNAL)?;
        }
        (0..depth).try_for_each(|index| self.answer(number + index))
    }

    fn answer(&mut self, number: u64) -> Result<()> {
        let mut packet = [0; MESSAGE_LEN];
        let (length, _) = net::recv(&self.0, &mut packet[..], RecvFlags::empty())?;
        ensure!(length == MESSAGE_LEN && packet[32..] == number.to_ne_bytes(), "not the answer");
        Ok(())
    }
}

/// A line of the cache.
const LINE: usize = 64;
/// Where a direction's words are: number, then whether a reader sleeps.
const WORDS_LEN: usize = 8;

/// Where the bytes of a direction are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Bytes {
    /// In lines of their own, as in the contract's profile.
    Apart,
    /// Behind the words, in the same line as far as they go, as in the library's own profile.
    Together,
}

const SPIN_MAX: Duration = Duration::from_micros(50);

/// One end of a shared piece of memory with a direction each way.
pub(crate) struct Shm {
    start: *mut u8,
    len: usize,
    /// Where this end writes and where it reads: 0 and 1, or the other way round.
    outbound: usize,
    capacity: usize,
    bytes: Bytes,
    sent: u32,
    received: u32,
}

// SAFETY: the mapping belongs to the process, and one thread at a time has the value.
unsafe impl Send for Shm {}

impl Shm {
    /// Opens a file as one end of it; the client makes it.
    pub(crate) fn open(path: &Path, bytes: Bytes, most: usize, is_client: bool) -> Result<Shm> {
        let capacity = (WORDS_LEN + most.max(MESSAGE_LEN)).next_multiple_of(LINE);
        let len = 2 * (LINE + capacity);
        let file =
            File::options().read(true).write(true).create(is_client).truncate(false).open(path)?;
        if is_client {
            fallocate(&file, FallocateFlags::empty(), 0, len as u64)?;
        }
        let access = ProtFlags::READ | ProtFlags::WRITE;
        let flags = MapFlags::SHARED | MapFlags::POPULATE;
        // SAFETY: the kernel chooses a free place.
        let start = unsafe { mmap(ptr::null_mut(), len, access, flags, &file, 0) }?.cast();
        let outbound = usize::from(!is_client);
        Ok(Shm { start, len, outbound, capacity, bytes, sent: 0, received: 0 })
    }

    /// Where the words and the bytes of a direction begin.
    fn places(&self, lane: usize) -> (usize, usize) {
        match self.bytes {
            Bytes::Apart => (lane * LINE, 2 * LINE + lane * self.capacity),
            Bytes::Together => (lane * self.capacity, lane * self.capacity + WORDS_LEN),
        }
    }

    fn word(&self, lane: usize, at: usize) -> &AtomicU32 {
        // SAFETY: the offset is a multiple of 4 inside the mapping.
        let word = unsafe { self.start.add(self.places(lane).0 + at) }.cast();
        // SAFETY: aligned, in the mapping, and only used as an atomic.
        unsafe { AtomicU32::from_ptr(word) }
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) -> Result<()> {
        assert!(WORDS_LEN + bytes.len() <= self.capacity);
        // SAFETY: the area is inside the mapping, by the check above.
        let to = unsafe { self.start.add(self.places(self.outbound).1) };
        // SAFETY: as long as the area at most; the reader waits for the number below.
        unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), to, bytes.len()) };
        self.sent = self.sent.wrapping_add(1);
        let number = self.word(self.outbound, 0);
        number.store(self.sent, Ordering::Release);
        fence(Ordering::SeqCst);
        if self.word(self.outbound, 4).load(Ordering::Relaxed) != 0 {
            futex::wake(number, futex::Flags::empty(), 1)?;
        }
        Ok(())
    }

    pub(crate) fn recv(&mut self, bytes: &mut [u8]) -> Result<()> {
        assert!(WORDS_LEN + bytes.len() <= self.capacity);
        let lane = 1 - self.outbound;
        let (number, waiting) = (self.word(lane, 0), self.word(lane, 4));
        let mut began = None;
        let mut looks = 0u32;
        while number.load(Ordering::Acquire) == self.received {
            looks += 1;
            if !looks.is_multiple_of(64)
                || began.get_or_insert_with(Instant::now).elapsed() < SPIN_MAX
            {
                spin_loop();
                continue;
            }
            waiting.store(1, Ordering::Relaxed);
            fence(Ordering::SeqCst);
            if number.load(Ordering::Acquire) == self.received {
                let _ = futex::wait(number, futex::Flags::empty(), self.received, None);
            }
            waiting.store(0, Ordering::Relaxed);
        }
        self.received = self.received.wrapping_add(1);
        // SAFETY: the area is inside the mapping, by the check above.
        let from = unsafe { self.start.add(self.places(lane).1) };
        // SAFETY: as long as the area at most; the writer waits for an answer.
        unsafe { ptr::copy_nonoverlapping(from, bytes.as_mut_ptr(), bytes.len()) };
        Ok(())
    }
}

impl Drop for Shm {
    fn drop(&mut self) {
        // SAFETY: it is this value's mapping.
        let _ = unsafe { munmap(self.start.cast(), self.len) };
    }
}

/// Answers every request with so many bytes, until a request says to stop.
pub(crate) fn serve_shm(
    path: &Path,
    bytes: Bytes,
    response_len: usize,
    ready: impl FnOnce(),
) -> Result<()> {
    let mut shm = Shm::open(path, bytes, response_len, false).context("no memory to serve")?;
    ready();
    let mut request = [0; MESSAGE_LEN];
    let mut response = vec![7; response_len];
    loop {
        shm.recv(&mut request)?;
        response[32..MESSAGE_LEN].copy_from_slice(&request[32..]);
        shm.send(&response)?;
    }
}
