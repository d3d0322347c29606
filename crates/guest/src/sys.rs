//! The few C library functions that the standard library does not offer.
//!
//! Declared by hand because the agent is compiled without dependencies (see
//! `build.rs`). Constants and types are those of Linux on x86-64.

#![allow(dead_code, unreachable_pub, reason = "agent and library each use a part")]

use std::ffi::{CString, c_char, c_int, c_long, c_ulong, c_void};
use std::io;
use std::os::fd::AsRawFd;

mod c {
    use super::{c_char, c_int, c_long, c_ulong, c_void};

    #[repr(C)]
    pub(super) struct Timespec {
        pub(super) seconds: i64,
        pub(super) nanoseconds: i64,
    }

    #[repr(C)]
    pub(super) struct PollFd {
        pub(super) fd: c_int,
        pub(super) events: i16,
        pub(super) revents: i16,
    }

    unsafe extern "C" {
        pub(super) fn mmap(
            address: *mut c_void,
            len: usize,
            protection: c_int,
            flags: c_int,
            fd: c_int,
            offset: i64,
        ) -> *mut c_void;
        pub(super) fn madvise(address: *mut c_void, len: usize, advice: c_int) -> c_int;
        pub(super) fn ioperm(from: c_ulong, count: c_ulong, on: c_int) -> c_int;
        pub(super) fn clock_gettime(clock: c_int, time: *mut Timespec) -> c_int;
        pub(super) fn clock_settime(clock: c_int, time: *const Timespec) -> c_int;
        pub(super) fn mount(
            source: *const c_char,
            target: *const c_char,
            kind: *const c_char,
            flags: c_ulong,
            data: *const c_void,
        ) -> c_int;
        pub(super) fn poll(fds: *mut PollFd, count: c_ulong, timeout_ms: c_int) -> c_int;
        pub(super) fn waitpid(pid: c_int, status: *mut c_int, options: c_int) -> c_int;
        pub(super) fn reboot(command: c_int) -> c_int;
        pub(super) fn fcntl(fd: c_int, command: c_int, ...) -> c_int;
        pub(super) fn ioctl(fd: c_int, request: c_ulong, ...) -> c_int;
        pub(super) fn setsid() -> c_int;
        pub(super) fn timerfd_create(clock: c_int, flags: c_int) -> c_int;
        pub(super) fn timerfd_settime(
            fd: c_int,
            flags: c_int,
            new: *const [Timespec; 2],
            old: *mut [Timespec; 2],
        ) -> c_int;
        pub(super) fn signal(signal: c_int, handler: usize) -> usize;
        pub(super) fn syscall(number: c_long, ...) -> c_long;
    }
}

fn checked(result: c_int) -> io::Result<c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// Maps `len` bytes of `fd` from `offset`, shared, readable and writable, for as
/// long as the process lives.
pub(crate) fn map_shared(fd: c_int, offset: u64, len: usize) -> io::Result<*mut u8> {
    const READ_WRITE: c_int = 3;
    const SHARED: c_int = 1;
    // SAFETY: no address is asked for, so no existing mapping is touched.
    let address =
        unsafe { c::mmap(std::ptr::null_mut(), len, READ_WRITE, SHARED, fd, offset as i64) };
    if address as isize == -1 { Err(io::Error::last_os_error()) } else { Ok(address.cast()) }
}

/// Has the kernel map what this program and its libraries execute, now instead of when they
/// come to it. Only as far as it can: this makes nothing work, only faster.
pub(crate) fn map_code() {
    const POPULATE_READ: c_int = 22;
    for line in std::fs::read_to_string("/proc/self/maps").unwrap_or_default().lines() {
        let Some((range, rest)) = line.split_once(" r-xp ") else { continue };
        let ends = range
            .split_once('-')
            .map(|(from, to)| (usize::from_str_radix(from, 16), usize::from_str_radix(to, 16)));
        if let Some((Ok(from), Ok(to))) = ends
            && rest.contains('/')
        {
            let address = std::ptr::without_provenance_mut(from);
            // SAFETY: reading pages in changes nothing that the program could see.
            unsafe { c::madvise(address, to - from, POPULATE_READ) };
        }
    }
}

/// Allows this thread to use one I/O port.
pub(crate) fn allow_port(port: u16) -> io::Result<()> {
    // SAFETY: the call takes plain numbers and changes no memory of the process.
    checked(unsafe { c::ioperm(c_ulong::from(port), 1, 1) }).map(drop)
}

/// Writes one byte to an I/O port that [`allow_port`] has opened.
pub(crate) fn write_port(port: u16, value: u8) {
    // SAFETY: the instruction reads two registers. A port that is not open to the
    // thread raises a signal, which ends the process and touches no memory.
    unsafe {
        std::arch::asm!("out dx, al", in("dx") port, in("al") value, options(nostack, preserves_flags));
    }
}

/// This CPU's time-stamp counter.
pub(crate) fn time_stamp() -> u64 {
    // SAFETY: every x86-64 CPU has it, and Linux lets programs read it.
    unsafe { std::arch::x86_64::_rdtsc() }
}

/// This system's monotonic clock, in nanoseconds.
#[must_use]
pub fn monotonic_ns() -> u64 {
    const MONOTONIC: c_int = 1;
    let mut time = c::Timespec { seconds: 0, nanoseconds: 0 };
    // SAFETY: `time` is a valid place for the answer; the clock always exists.
    unsafe { c::clock_gettime(MONOTONIC, &mut time) };
    time.seconds as u64 * 1_000_000_000 + time.nanoseconds as u64
}

/// Sets the wall clock to this many nanoseconds after the epoch.
pub(crate) fn set_wall_clock(since_epoch_ns: u64) -> io::Result<()> {
    const REALTIME: c_int = 0;
    let time = c::Timespec {
        seconds: (since_epoch_ns / 1_000_000_000) as i64,
        nanoseconds: (since_epoch_ns % 1_000_000_000) as i64,
    };
    // SAFETY: `time` is read only during the call.
    checked(unsafe { c::clock_settime(REALTIME, &time) }).map(drop)
}

/// Mounts a file system that has no device.
pub(crate) fn mount(kind: &str, target: &str, data: &str) -> io::Result<()> {
    let (kind, target) = (CString::new(kind)?, CString::new(target)?);
    let data = CString::new(data)?;
    // SAFETY: all four strings end in zero and live until the call returns.
    let result =
        unsafe { c::mount(kind.as_ptr(), target.as_ptr(), kind.as_ptr(), 0, data.as_ptr().cast()) };
    checked(result).map(drop)
}

/// Waits until one of `fds` can be read or its other end has been closed; tells for
/// each whether it is so. A negative one is passed over.
pub(crate) fn poll_readable<const N: usize>(fds: [c_int; N]) -> [bool; N] {
    const IN: i16 = 1;
    let mut polled = fds.map(|fd| c::PollFd { fd, events: IN, revents: 0 });
    // SAFETY: the pointer and the count describe `polled`.
    unsafe { c::poll(polled.as_mut_ptr(), N as c_ulong, -1) };
    polled.map(|polled| polled.revents != 0)
}

/// Reaps one child that has ended, if there is one: its id and wait status.
pub(crate) fn reap() -> Option<(c_int, c_int)> {
    const NO_HANG: c_int = 1;
    let mut status = 0;
    // SAFETY: `status` is a valid place for the answer.
    let pid = unsafe { c::waitpid(-1, &mut status, NO_HANG) };
    (pid > 0).then_some((pid, status))
}

/// A descriptor that becomes readable when the process ends.
pub(crate) fn pidfd(pid: c_int) -> io::Result<c_int> {
    const PIDFD_OPEN: c_long = 434;
    // SAFETY: the call takes plain numbers and returns a new descriptor.
    checked(unsafe { c::syscall(PIDFD_OPEN, pid, 0) } as c_int)
}

/// A descriptor that becomes readable when the time that [`set_timer`] sets is over.
pub(crate) fn timer() -> io::Result<c_int> {
    const MONOTONIC: c_int = 1;
    // SAFETY: the call takes plain numbers and returns a new descriptor.
    checked(unsafe { c::timerfd_create(MONOTONIC, 0) })
}

/// Sets a timer to go off in so many nanoseconds, at least one.
pub(crate) fn set_timer(fd: c_int, in_ns: u64) -> io::Result<()> {
    let in_ns = in_ns.max(1);
    let once = c::Timespec { seconds: 0, nanoseconds: 0 };
    let first = c::Timespec {
        seconds: (in_ns / 1_000_000_000) as i64,
        nanoseconds: (in_ns % 1_000_000_000) as i64,
    };
    let new = [once, first];
    // SAFETY: `new` holds interval and first expiry; the old ones are not asked for.
    checked(unsafe { c::timerfd_settime(fd, 0, &new, std::ptr::null_mut()) }).map(drop)
}

/// Loads a kernel module from its bytes.
pub(crate) fn load_module(image: &[u8]) -> io::Result<()> {
    const INIT_MODULE: c_long = 175;
    // SAFETY: pointer and length describe `image`; the parameters are an empty
    // string that ends in zero.
    let result = unsafe { c::syscall(INIT_MODULE, image.as_ptr(), image.len(), c"".as_ptr()) };
    checked(result as c_int).map(drop)
}

/// Powers the machine off. Returns only when that fails.
pub(crate) fn power_off() {
    const POWER_OFF: c_int = 0x4321_fedc;
    // SAFETY: the call takes a plain number.
    unsafe { c::reboot(POWER_OFF) };
}

/// Closes a descriptor when another program is started.
pub(crate) fn close_on_exec(fd: c_int) -> io::Result<()> {
    const SET_FLAGS: c_int = 2;
    const CLOSE_ON_EXEC: c_int = 1;
    // SAFETY: the call takes plain numbers.
    checked(unsafe { c::fcntl(fd, SET_FLAGS, CLOSE_ON_EXEC) }).map(drop)
}

/// Makes reads from a descriptor return at once.
pub(crate) fn never_block(fd: c_int) -> io::Result<()> {
    const SET_STATUS: c_int = 4;
    const NON_BLOCKING: c_int = 0o4000;
    // SAFETY: the call takes plain numbers.
    checked(unsafe { c::fcntl(fd, SET_STATUS, NON_BLOCKING) }).map(drop)
}

/// Starts a session and makes the terminal on standard input its own.
///
/// Safe to call between fork and exec: it does nothing but system calls.
pub(crate) fn take_terminal() -> io::Result<()> {
    const SET_CONTROLLING: c_ulong = 0x540e;
    // SAFETY: the call takes no argument.
    checked(unsafe { c::setsid() })?;
    // SAFETY: the request takes a plain number.
    checked(unsafe { c::ioctl(0, SET_CONTROLLING, 0) }).map(drop)
}

/// Has a broken pipe be an error instead of a signal, as Rust programs expect from
/// their runtime. A test runs before its runtime is set up.
///
/// Safe to call between fork and exec: it does nothing but a system call.
pub(crate) fn ignore_broken_pipes() -> io::Result<()> {
    const BROKEN_PIPE: c_int = 13;
    const IGNORE: usize = 1;
    // SAFETY: no handler is installed that could run.
    unsafe { c::signal(BROKEN_PIPE, IGNORE) };
    Ok(())
}

/// Sets the size of the terminal behind a descriptor.
pub(crate) fn set_terminal_size(fd: c_int, rows: u16, columns: u16) -> io::Result<()> {
    const SET_SIZE: c_ulong = 0x5414;
    let size = [rows, columns, 0, 0];
    // SAFETY: the request reads four 16-bit numbers, which `size` holds.
    checked(unsafe { c::ioctl(fd, SET_SIZE, size.as_ptr()) }).map(drop)
}

/// Mixes `seed` into the kernel's random numbers, as if all of it were random, and
/// has them start afresh from it.
pub(crate) fn seed_random(urandom: &std::fs::File, seed: [u8; 32]) -> io::Result<()> {
    const ADD_ENTROPY: c_ulong = 0x4008_5203;
    const RESEED: c_ulong = 0x5207;
    // struct rand_pool_info: bits of entropy, bytes, the bytes.
    let mut info = [0u8; 40];
    info[..4].copy_from_slice(&256u32.to_le_bytes());
    info[4..8].copy_from_slice(&32u32.to_le_bytes());
    info[8..].copy_from_slice(&seed);
    // SAFETY: the request reads the 40 bytes that `info` holds.
    checked(unsafe { c::ioctl(urandom.as_raw_fd(), ADD_ENTROPY, info.as_ptr()) })?;
    // SAFETY: the request takes no argument.
    checked(unsafe { c::ioctl(urandom.as_raw_fd(), RESEED) }).map(drop)
}
