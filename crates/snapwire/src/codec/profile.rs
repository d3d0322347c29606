//! The transports that a session can use, as bits.

use std::fmt;
use std::ops::{BitAnd, BitOr};

/// A set of transport profiles.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Profiles(pub u32);

impl Profiles {
    /// The socket itself. Always there: it carries the handshake.
    pub const BASELINE: Profiles = Profiles(0x01);
    /// Shared memory: spin, then futex. Every publication wakes.
    pub const SHM_HYBRID: Profiles = Profiles(0x02);
    /// Reserved by the contract; on Linux another name for [`Profiles::SHM_HYBRID`].
    pub const SHM_FUTEX: Profiles = Profiles(0x04);
    /// Shared memory in which a reader says that it sleeps, so that nobody is woken in vain.
    /// An extension of this crate: peers that do not know the bit drop it.
    pub const SHM_WAITERS: Profiles = Profiles(0x10);
    /// Every profile over shared memory.
    pub const SHM: Profiles = Profiles(0x02 | 0x04 | 0x10);
    /// Everything that this crate speaks.
    pub const ALL: Profiles = Profiles(0x01 | 0x02 | 0x04 | 0x10);

    /// Whether nothing is in it.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether any of these is in it.
    pub const fn intersects(self, other: Profiles) -> bool {
        self.0 & other.0 != 0
    }

    /// What is left without these.
    #[must_use]
    pub const fn without(self, other: Profiles) -> Profiles {
        Profiles(self.0 & !other.0)
    }

    /// The one with the highest bit, which is the one that is preferred.
    pub const fn highest(self) -> Option<Profiles> {
        match self.0.checked_ilog2() {
            Some(bit) => Some(Profiles(1 << bit)),
            None => None,
        }
    }
}

impl BitAnd for Profiles {
    type Output = Profiles;

    fn bitand(self, other: Profiles) -> Profiles {
        Profiles(self.0 & other.0)
    }
}

impl BitOr for Profiles {
    type Output = Profiles;

    fn bitor(self, other: Profiles) -> Profiles {
        Profiles(self.0 | other.0)
    }
}

impl fmt::Display for Profiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = [
            (Profiles::BASELINE, "baseline"),
            (Profiles::SHM_HYBRID, "shm"),
            (Profiles::SHM_FUTEX, "shm-futex"),
            (Profiles::SHM_WAITERS, "shm-waiters"),
        ];
        let known = names.iter().filter(|(profile, _)| self.intersects(*profile));
        let mut text: Vec<String> = known.map(|(_, name)| String::from(*name)).collect();
        let rest = self.without(Profiles::ALL);
        if !rest.is_empty() || text.is_empty() {
            text.push(format!("{:#x}", rest.0));
        }
        f.write_str(&text.join("+"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_bit_wins_and_sets_have_names() {
        assert_eq!(Profiles::ALL.highest(), Some(Profiles::SHM_WAITERS));
        assert_eq!(Profiles(0).highest(), None);
        assert_eq!(Profiles(0x8000_0000).highest(), Some(Profiles(0x8000_0000)));
        assert_eq!(Profiles(0x43).to_string(), "baseline+shm+0x40");
        assert_eq!(Profiles(0).to_string(), "0x0");
    }
}
