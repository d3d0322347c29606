//! The rounds in which CPUs that share a thread of the host take their turns.
//!
//! With an instruction-counted clock QEMU lets the CPUs run one after the other until
//! the next of its timers is due, each for its share of that time. In a guest that
//! computes, that may be milliseconds off, and whoever waits for another CPU waits that
//! long. So the guest sets a timer that is due once a round: a comparator of the HPET
//! that the kernel leaves alone, whose interrupt is a message to an address where nobody
//! listens. Neither kernel nor programs notice anything of it.
//!
//! Source of the registers: IA-PC HPET specification 1.0a, chapter 2.

use crate::sys;
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

/// Guest-physical address of the HPET on a PC.
const HPET: u64 = 0xfed0_0000;
const HPET_LEN: usize = 1024;
/// Capabilities: the comparators but one in bits 8 to 12.
const CAPABILITIES: usize = 0x000;
/// Femtoseconds of a tick.
const TICK_FS: usize = 0x004;
/// Configuration of the whole: bit 0 has the counter count.
const CONFIGURATION: usize = 0x010;
/// The counter's lower half.
const COUNTER: usize = 0x0f0;
/// The first comparator: its configuration, value, and message with address. The others
/// follow at a distance of [`STRIDE`].
const COMPARATOR: usize = 0x100;
const STRIDE: usize = 0x20;
/// How many the registers' space holds.
const COMPARATORS_MAX: usize = (HPET_LEN - COMPARATOR) / STRIDE;
const VALUE: usize = 0x08;
const MESSAGE: usize = 0x10;
const ADDRESS: usize = 0x14;

const ENABLE: u32 = 1 << 2;
const PERIODIC: u32 = 1 << 3;
/// The next value written is not yet the period.
const SET_VALUE: u32 = 1 << 6;
const HALF_WIDTH: u32 = 1 << 8;
/// The interrupt is a message; and whether it can be one.
const SEND: u32 = 1 << 14;
const CAN_SEND: u32 = 1 << 15;

/// Where nobody listens: above the memory and below the devices of a PC.
const NOWHERE: u32 = 0xd000_0000;

/// How long after it is set the guard is due: later than the freeze that follows, and
/// earlier than anything else in a guest at rest.
const GUARD_NS: u32 = 50_000;

/// A timer that makes QEMU's clock stop.
#[derive(Debug)]
pub(crate) struct Rounds {
    hpet: *mut u8,
    comparator: usize,
}

impl Rounds {
    /// Takes the HPET's last comparator: kernels take the first ones.
    pub(crate) fn map(memory: &File) -> io::Result<Rounds> {
        let hpet = sys::map_shared(memory.as_raw_fd(), HPET, HPET_LEN)?;
        let mut rounds = Rounds { hpet, comparator: COMPARATOR };
        let last = (rounds.read(CAPABILITIES) >> 8 & 0x1f) as usize;
        rounds.comparator += last.min(COMPARATORS_MAX - 1) * STRIDE;
        if rounds.read(TICK_FS) == 0 || rounds.read(rounds.comparator) & CAN_SEND == 0 {
            return Err(io::Error::other("the HPET cannot send its interrupts as messages"));
        }
        Ok(rounds)
    }

    /// Has every CPU get its turn within `round_ns` from now on; 0 for whenever.
    pub(crate) fn set(&self, round_ns: u32) {
        self.write(self.comparator, 0);
        let ticks = self.ticks(round_ns);
        if ticks == 0 {
            return;
        }
        self.route();
        self.write(self.comparator, ENABLE | PERIODIC | SET_VALUE | HALF_WIDTH | SEND);
        self.write(self.comparator + VALUE, self.read(COUNTER).wrapping_add(ticks));
        self.write(self.comparator + VALUE, ticks);
    }

    /// Makes sure that nothing happens in the moment between a freeze and QEMU's hearing
    /// of it.
    ///
    /// The CPU that asks for a freeze stops at that instruction. If QEMU's main thread
    /// then comes by before it hears of the freeze, it sees a machine that has nothing to
    /// do, turns its clock forward to the next timer and lets that go off: a tick of the
    /// kernel, say, which is then in the template. Whether it comes by is up to the
    /// host's scheduler. With the guard it is the guard that goes off, which leaves no
    /// trace; and the clock can be put right.
    pub(crate) fn guard(&self) {
        self.set(0);
        self.route();
        let due = self.read(COUNTER).wrapping_add(self.ticks(GUARD_NS));
        self.write(self.comparator + VALUE, due);
        self.write(self.comparator, ENABLE | HALF_WIDTH | SEND);
    }

    fn route(&self) {
        self.write(CONFIGURATION, self.read(CONFIGURATION) | 1);
        self.write(self.comparator + MESSAGE, 0);
        self.write(self.comparator + ADDRESS, NOWHERE);
    }

    fn ticks(&self, ns: u32) -> u32 {
        (u64::from(ns) * 1_000_000 / u64::from(self.read(TICK_FS))) as u32
    }

    fn read(&self, register: usize) -> u32 {
        // SAFETY: every register lies within the mapping, which is never removed.
        unsafe { self.hpet.wrapping_add(register).cast::<u32>().read_volatile() }
    }

    fn write(&self, register: usize, value: u32) {
        // SAFETY: as in `read`; the device's memory is no memory of the program.
        unsafe { self.hpet.wrapping_add(register).cast::<u32>().write_volatile(value) }
    }
}
