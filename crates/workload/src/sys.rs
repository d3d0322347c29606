//! The system calls that the standard library and rustix do not offer, and short names for those
//! that they do.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::AsRawFd;
use std::sync::atomic::AtomicU32;
use std::time::Duration;

use belljar_scenario::{MemoryFlags, MemoryPolicy, Policy};
use belljar_topology::{CpuId, CpuSet};
use rustix::thread::futex;
use rustix::time::{ClockId, Timespec, clock_gettime};

/// The signal that gets a worker out of a system call in which it waits. It is ignored by whoever
/// does not ask for it, so that it does no harm to a worker's children.
pub(crate) const NUDGE: libc::c_int = libc::SIGURG;

/// The signal that storms of signals consist of.
pub(crate) const STORM: libc::c_int = libc::SIGUSR2;

/// Guest time, in nanoseconds.
#[inline]
pub(crate) fn now_ns() -> u64 {
    nanoseconds(clock_gettime(ClockId::Monotonic))
}

/// CPU time of this thread, in nanoseconds.
pub(crate) fn thread_cpu_ns() -> u64 {
    nanoseconds(clock_gettime(ClockId::ThreadCPUTime))
}

/// CPU time of this process, in nanoseconds.
pub(crate) fn process_cpu_ns() -> u64 {
    nanoseconds(clock_gettime(ClockId::ProcessCPUTime))
}

/// CPU time of another process, in nanoseconds; none when it is gone.
pub(crate) fn cpu_ns_of(process: rustix::process::Pid) -> Option<u64> {
    let (mut clock, mut time) = (0, libc::timespec { tv_sec: 0, tv_nsec: 0 });
    // SAFETY: `clock` is a valid place for the answer.
    let found =
        unsafe { libc::clock_getcpuclockid(process.as_raw_nonzero().get(), &raw mut clock) };
    // SAFETY: `time` is a valid place for the answer.
    let read = found == 0 && unsafe { libc::clock_gettime(clock, &raw mut time) } == 0;
    read.then_some(time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64)
}

/// CPU time, as of the last tick, and run delay of any thread, in nanoseconds.
pub(crate) fn schedstat(thread: u32) -> Option<(u64, u64)> {
    let line = std::fs::read_to_string(format!("/proc/{thread}/schedstat")).ok()?;
    let mut numbers = line.split_ascii_whitespace().map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

fn nanoseconds(time: Timespec) -> u64 {
    (time.tv_sec as u64).wrapping_mul(1_000_000_000).wrapping_add(time.tv_nsec as u64)
}

/// A moment or a time as the kernel wants it.
pub(crate) fn timespec(ns: u64) -> Timespec {
    Timespec { tv_sec: (ns / 1_000_000_000) as i64, tv_nsec: (ns % 1_000_000_000) as i64 }
}

/// The nanoseconds of a time; 584 years at most.
pub(crate) fn ns(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// The CPU that this thread runs on; the C library reads it from memory that the kernel keeps (rseq).
#[inline]
pub(crate) fn current_cpu() -> u32 {
    // SAFETY: the call takes nothing and changes nothing.
    let cpu = unsafe { libc::sched_getcpu() };
    cpu.max(0) as u32
}

/// Waits until `word` is no longer `seen`, for a signal, or for `timeout`.
pub(crate) fn futex_wait(word: &AtomicU32, seen: u32, timeout: Option<Duration>) {
    let timeout = timeout.map(|time| timespec(ns(time)));
    // Whatever ends the wait, the caller looks at the word again.
    let _ = futex::wait(word, futex::Flags::empty(), seen, timeout.as_ref());
}

/// Wakes as many as `count` that wait for `word`, and tells how many there were.
pub(crate) fn futex_wake(word: &AtomicU32, count: u32) -> usize {
    futex::wake(word, futex::Flags::empty(), count).unwrap_or(0)
}

/// What [`fork`] returns.
pub(crate) enum Forked {
    /// To the child.
    Child,
    /// To the parent.
    Parent(rustix::process::Pid),
}

/// Makes a child process.
pub(crate) fn fork() -> io::Result<Forked> {
    // SAFETY: the child goes on with a copy of this thread alone. It allocates memory, which the C
    // library makes safe after a fork, and takes no lock that another thread may have held.
    let pid = unsafe { libc::fork() };
    match rustix::process::Pid::from_raw(pid) {
        Some(pid) if pid.as_raw_nonzero().get() > 0 => Ok(Forked::Parent(pid)),
        None => Ok(Forked::Child),
        Some(_) => Err(io::Error::last_os_error()),
    }
}

/// Ends this process at once, and runs nothing that was set up for its end.
pub(crate) fn exit_now(code: i32) -> ! {
    // SAFETY: the call does not return.
    unsafe { libc::_exit(code) }
}

/// Sends a signal to one thread of a process. A thread that is gone is no error.
pub(crate) fn signal_thread(process: u32, thread: u32, signal: libc::c_int) {
    // SAFETY: the call takes plain numbers.
    unsafe { libc::syscall(libc::SYS_tgkill, process, thread, signal) };
}

extern "C" fn nothing(_: libc::c_int) {}

/// Has a signal interrupt system calls of this process, and do nothing else.
pub(crate) fn interrupt_on(signal: libc::c_int) {
    // SAFETY: all-zero is a valid `sigaction`: no flags, an empty mask.
    let mut action: libc::sigaction = unsafe { MaybeUninit::zeroed().assume_init() };
    action.sa_sigaction = nothing as *const () as usize;
    // SAFETY: the handler does nothing, which is safe whenever it runs.
    unsafe { libc::sigaction(signal, &raw const action, std::ptr::null_mut()) };
}

/// Ignores a signal, or goes back to what it does by default.
pub(crate) fn ignore_signal(signal: libc::c_int, ignore: bool) {
    let action = if ignore { libc::SIG_IGN } else { libc::SIG_DFL };
    // SAFETY: no handler is installed that could run.
    unsafe { libc::signal(signal, action) };
}

/// Sets how late the timers of the calling thread may be.
pub(crate) fn set_timer_slack(slack_ns: u64) -> io::Result<()> {
    // SAFETY: the call takes plain numbers.
    let result = unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, slack_ns) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Brings up the loopback device, if it is not.
pub(crate) fn bring_up_loopback() -> io::Result<()> {
    let socket = std::net::UdpSocket::bind("0.0.0.0:0")?;
    // SAFETY: all-zero is a valid `ifreq`.
    let mut request: libc::ifreq = unsafe { MaybeUninit::zeroed().assume_init() };
    request.ifr_name[..2].copy_from_slice(&[b'l' as libc::c_char, b'o' as libc::c_char]);
    let ask = |number, request: &mut libc::ifreq| {
        // SAFETY: both requests take an `ifreq`.
        let result = unsafe { libc::ioctl(socket.as_raw_fd(), number, &raw mut *request) };
        if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    };
    ask(libc::SIOCGIFFLAGS, &mut request)?;
    let up = libc::IFF_UP as libc::c_short;
    // SAFETY: the request has just filled in the flags.
    let flags = unsafe { request.ifr_ifru.ifru_flags };
    if flags & up != 0 {
        return Ok(());
    }
    request.ifr_ifru.ifru_flags = flags | up;
    ask(libc::SIOCSIFFLAGS, &mut request)
}

/// Anonymous memory of this process alone, zero at first.
pub(crate) struct Mapping {
    base: *mut u8,
    len: usize,
}

// SAFETY: the memory is the value's own.
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}

impl Mapping {
    pub(crate) fn new(len: usize) -> io::Result<Self> {
        use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap_anonymous};
        let read_write = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: no address is asked for, so no existing mapping is touched.
        let base =
            unsafe { mmap_anonymous(std::ptr::null_mut(), len, read_write, MapFlags::PRIVATE) }?;
        // Faults and moves are counted by page, so huge ones are not welcome. A kernel without them
        // refuses, and has none.
        // SAFETY: the advice does not change what is in the memory.
        let _ = unsafe { madvise(base, len, Advice::LinuxNoHugepage) };
        Ok(Self { base: base.cast(), len })
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        // SAFETY: the mapping has this length, and is borrowed.
        unsafe { std::slice::from_raw_parts(self.base, self.len) }
    }

    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: the mapping has this length, and is borrowed exclusively.
        unsafe { std::slice::from_raw_parts_mut(self.base, self.len) }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: all references to the mapping borrow from `self`.
        let _ = unsafe { rustix::mm::munmap(self.base.cast(), self.len) };
    }
}

/// `struct sched_attr` of `sched_setattr(2)`, in its first version.
#[repr(C)]
#[derive(Default)]
struct SchedAttr {
    size: u32,
    policy: u32,
    flags: u64,
    nice: i32,
    priority: u32,
    runtime: u64,
    deadline: u64,
    period: u64,
}

/// Does something during which the calling thread passes its scheduling policy on to threads that it
/// starts, even where it does not otherwise (`SCHED_RESET_ON_FORK`).
pub(crate) fn passing_policy_on<T>(work: impl FnOnce() -> T) -> T {
    let mut parameters = libc::sched_param { sched_priority: 0 };
    // SAFETY: the place is valid for what the call writes; 0 is the calling thread.
    let known = unsafe { libc::sched_getparam(0, &mut parameters) } == 0;
    // SAFETY: the call takes a plain number.
    let policy = unsafe { libc::sched_getscheduler(0) };
    if !known || policy < 0 || policy & libc::SCHED_RESET_ON_FORK == 0 {
        return work();
    }
    let set = |policy| {
        // SAFETY: the parameters are only read; 0 is the calling thread. Where it is refused, the
        // policy stays what it was.
        unsafe { libc::sched_setscheduler(0, policy, &parameters) };
    };
    set(policy & !libc::SCHED_RESET_ON_FORK);
    let result = work();
    set(policy);
    result
}

/// Gives the calling thread a scheduling policy.
pub(crate) fn set_policy(policy: Policy, nice: i32) -> io::Result<()> {
    const RESET_ON_FORK: u64 = 1;
    let mut attr = SchedAttr { size: size_of::<SchedAttr>() as u32, nice, ..SchedAttr::default() };
    match policy {
        Policy::Normal => attr.policy = libc::SCHED_OTHER as u32,
        Policy::Batch => attr.policy = libc::SCHED_BATCH as u32,
        Policy::Idle => attr.policy = libc::SCHED_IDLE as u32,
        Policy::Fifo { priority } => {
            (attr.policy, attr.priority) = (libc::SCHED_FIFO as u32, priority);
        }
        Policy::RoundRobin { priority } => {
            (attr.policy, attr.priority) = (libc::SCHED_RR as u32, priority);
        }
        Policy::Deadline { runtime, deadline, period } => {
            attr.policy = libc::SCHED_DEADLINE as u32;
            (attr.runtime, attr.deadline, attr.period) = (ns(runtime), ns(deadline), ns(period));
            // Without this it could not fork.
            attr.flags = RESET_ON_FORK;
        }
        // SCHED_EXT, which the C library has no name for.
        Policy::Ext => attr.policy = 7,
    }
    // SAFETY: `attr` is a whole `sched_attr`, and only read.
    let result = unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const attr, 0) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Gives the calling thread a memory policy.
pub(crate) fn set_memory_policy(policy: &MemoryPolicy) -> io::Result<()> {
    let nothing = MemoryFlags::None;
    let (mode, nodes, flags) = match policy {
        MemoryPolicy::Default => return Ok(()),
        MemoryPolicy::Bind { nodes, flags } => (libc::MPOL_BIND, nodes.as_slice(), *flags),
        MemoryPolicy::Preferred { node, flags } => {
            (libc::MPOL_PREFERRED, std::slice::from_ref(node), *flags)
        }
        MemoryPolicy::Interleave { nodes, flags } => {
            (libc::MPOL_INTERLEAVE, nodes.as_slice(), *flags)
        }
        MemoryPolicy::Local => (libc::MPOL_LOCAL, [].as_slice(), nothing),
        MemoryPolicy::PreferredMany { nodes, flags } => (5, nodes.as_slice(), *flags),
        MemoryPolicy::WeightedInterleave { nodes, flags } => (6, nodes.as_slice(), *flags),
    };
    let flags = match flags {
        MemoryFlags::None => 0,
        MemoryFlags::StaticNodes => libc::MPOL_F_STATIC_NODES,
        MemoryFlags::RelativeNodes => libc::MPOL_F_RELATIVE_NODES,
        MemoryFlags::NumaBalancing => libc::MPOL_F_NUMA_BALANCING,
    };
    let mask = node_mask(nodes)?;
    let (address, bits) =
        if nodes.is_empty() { (std::ptr::null(), 0) } else { (mask.as_ptr(), NODES + 1) };
    // SAFETY: the mask has as many bits as is said (the kernel takes one less), and is only read.
    let result = unsafe { libc::syscall(libc::SYS_set_mempolicy, mode | flags, address, bits) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Nodes that a mask has room for, which is what kernels are built for at most.
pub(crate) const NODES: usize = 1024;

fn node_mask(nodes: &[u32]) -> io::Result<[u64; NODES / 64]> {
    let mut mask = [0u64; NODES / 64];
    for node in nodes {
        let word = mask.get_mut(*node as usize / 64).ok_or_else(|| {
            io::Error::new(io::ErrorKind::InvalidInput, format!("there is no node {node}"))
        })?;
        *word |= 1 << (node % 64);
    }
    Ok(mask)
}

/// Moves the pages of a range of memory to a node, and those to come as well.
pub(crate) fn move_to_node(memory: &mut [u8], node: u32) -> io::Result<()> {
    // MPOL_MF_MOVE, which the C library has no name for.
    const MOVE: u32 = 2;
    let mask = node_mask(&[node])?;
    // SAFETY: moving pages does not change what is in them; the mask is only read.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mbind,
            memory.as_mut_ptr(),
            memory.len(),
            libc::MPOL_BIND,
            mask.as_ptr(),
            NODES + 1,
            MOVE,
        )
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// The node of each page of `memory`, which starts at a page; none for pages that are not there.
pub(crate) fn nodes_of_pages(memory: &[u8]) -> io::Result<Vec<Option<u32>>> {
    let pages: Vec<*const u8> = memory.chunks(PAGE).map(<[u8]>::as_ptr).collect();
    let mut status = vec![-1i32; pages.len()];
    let nowhere = std::ptr::null::<i32>();
    // SAFETY: both vectors have as many elements as is said; without target nodes nothing is moved.
    let result = unsafe {
        libc::syscall(
            libc::SYS_move_pages,
            0,
            pages.len(),
            pages.as_ptr(),
            nowhere,
            status.as_mut_ptr(),
            0,
        )
    };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(status.into_iter().map(|node| u32::try_from(node).ok()).collect())
}

/// The size of a page.
pub(crate) const PAGE: usize = 4096;

/// Binds a thread, or the calling one, to CPUs.
pub(crate) fn set_affinity(thread: Option<u32>, cpus: &CpuSet) -> io::Result<()> {
    let mut set = rustix::thread::CpuSet::new();
    for CpuId(cpu) in cpus.iter() {
        if cpu as usize >= rustix::thread::CpuSet::MAX_CPU {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("CPU {cpu} is above {}", rustix::thread::CpuSet::MAX_CPU - 1),
            ));
        }
        set.set(cpu as usize);
    }
    let thread = thread.and_then(|thread| rustix::thread::Pid::from_raw(thread as i32));
    Ok(rustix::thread::sched_setaffinity(thread, &set)?)
}

/// The CPUs that the calling thread may run on.
pub(crate) fn affinity() -> io::Result<CpuSet> {
    let set = rustix::thread::sched_getaffinity(None)?;
    let cpus = 0..rustix::thread::CpuSet::MAX_CPU;
    Ok(cpus.filter(|cpu| set.is_set(*cpu)).map(|cpu| CpuId(cpu as u32)).collect())
}

/// Context switches of the calling thread, or of its whole process: by waiting, and forced.
pub(crate) fn switches(process: bool) -> (u64, u64) {
    let whose = if process { libc::RUSAGE_SELF } else { libc::RUSAGE_THREAD };
    let mut usage = MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: `usage` is a valid place for the answer.
    unsafe { libc::getrusage(whose, usage.as_mut_ptr()) };
    // SAFETY: all-zero is a valid `rusage`, should the call have failed.
    let usage = unsafe { usage.assume_init() };
    (usage.ru_nvcsw as u64, usage.ru_nivcsw as u64)
}
