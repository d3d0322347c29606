//! The clock of a `det` machine that has frozen itself.
//!
//! The CPU that asks for a freeze stops at that instruction. QEMU's main thread learns
//! of it a moment later, and if it finds no CPU busy in that moment it does what it
//! always does then: it turns the clock forward to the next timer. Whether it finds that
//! is up to the host's scheduler, so two machines that froze at the same instruction,
//! with the same memory, may have clocks that are milliseconds apart, and go different
//! ways from there.
//!
//! The guest sees to it that the timer is one that leaves no trace (`Rounds::guard` in
//! `belljar_guest`). And it notes its time-stamp counter with the freeze. In `det` that is QEMU's
//! clock, and the clock in a saved state is set to what it was then.

use crate::error::Error;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// QEMU's name for the part of a saved state that holds the instruction count: after the
/// name comes its version (32 bits), then the offset of the clock in nanoseconds and the
/// count (64 bits each), all big endian.
const SECTION: &[u8] = b"timer/icount";

/// What lies between the guest's look at its counter and the freeze, and more: a clock
/// must not be turned back.
const MARGIN_NS: i64 = 10_000;

/// Sets the clock in a saved state to when its machine froze. `shift` is what the
/// machine counts an instruction as: 2 to that power, in nanoseconds.
pub(crate) fn set_to_freeze(state: &Path, frozen_at_ns: u64, shift: u32) -> Result<(), Error> {
    let change = || -> io::Result<()> {
        let file = File::options().read(true).write(true).open(state)?;
        let mut bytes = vec![0; file.metadata()?.len() as usize];
        file.read_exact_at(&mut bytes, 0)?;
        let missing = || io::Error::other("it has no instruction count");
        let at = bytes.windows(SECTION.len()).position(|bytes| bytes == SECTION);
        let at = at.ok_or_else(missing)? + SECTION.len() + 4;
        let word = |at: usize| bytes.get(at..)?.first_chunk().map(|word| i64::from_be_bytes(*word));
        let (offset_ns, count) = word(at).zip(word(at + 8)).ok_or_else(missing)?;
        let frozen_ns = i64::try_from(frozen_at_ns).map_err(io::Error::other)? + MARGIN_NS;
        let counted_ns = count.checked_shl(shift).ok_or_else(missing)?;
        let clock_ns = offset_ns.saturating_add(counted_ns);
        if clock_ns < frozen_ns - MARGIN_NS {
            return Err(io::Error::other("its clock is behind the guest's"));
        }
        file.write_all_at(&frozen_ns.saturating_sub(counted_ns).to_be_bytes(), at as u64)
    };
    change().map_err(|e| Error::io(format!("set the clock in {}", state.display()), e))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_is_what_it_was_at_the_freeze() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("state");
        let state = |offset_ns: i64| {
            let words = [&[0, 0, 0, 1][..], &offset_ns.to_be_bytes(), &1000_i64.to_be_bytes()];
            [b"before\x0ctimer/icount", &words.concat()[..], b"after"].concat()
        };
        for turned_forward_ns in [0, 4_000_000] {
            std::fs::write(&path, state(500 + turned_forward_ns)).unwrap();
            set_to_freeze(&path, 4400, 2).unwrap();
            assert_eq!(std::fs::read(&path).unwrap(), state(400 + MARGIN_NS));
        }
        assert!(set_to_freeze(&path, 1 << 40, 2).is_err());
        std::fs::write(&path, "something else").unwrap();
        assert!(set_to_freeze(&path, 4400, 2).is_err());
    }
}
