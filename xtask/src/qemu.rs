//! Which QEMU this machine has.

use std::env;
use std::fmt;
use std::process::Command;

/// Debian's package.
pub(crate) const PACKAGE: &str = "qemu-system-x86";
/// The oldest that works.
pub(crate) const OLDEST: Version = Version(7, 2);
/// The oldest whose `det` mode is fair.
pub(crate) const WANTED: Version = Version(8, 1);

/// The first two numbers of a version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Version(u32, u32);

impl Version {
    /// From how a version begins.
    fn parse(text: &str) -> Option<Version> {
        let mut numbers = text.split(|c: char| !c.is_ascii_digit()).map(|it| it.parse().ok());
        Some(Version(numbers.next()??, numbers.next()??))
    }

    /// From the version of a package, in which an epoch may come first.
    pub(crate) fn of_package(text: &str) -> Option<Version> {
        Version::parse(text.split_once(':').map_or(text, |(_, version)| version))
    }

    /// From what `qemu-system-x86_64 --version` says.
    fn of_qemu(banner: &str) -> Option<Version> {
        Version::parse(banner.strip_prefix("QEMU emulator version ")?)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.0, self.1)
    }
}

/// The QEMU of this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Qemu {
    NotNeeded,
    Absent,
    Here(Version),
}

impl Qemu {
    pub(crate) fn program() -> String {
        env::var("BELLJAR_QEMU")
            .ok()
            .filter(|program| !program.is_empty())
            .unwrap_or_else(|| "qemu-system-x86_64".to_owned())
    }

    pub(crate) fn find() -> Qemu {
        let output = Command::new(Qemu::program()).arg("--version").output();
        let banner = output.map(|it| String::from_utf8_lossy(&it.stdout).into_owned());
        Version::of_qemu(&banner.unwrap_or_default()).map_or(Qemu::Absent, Qemu::Here)
    }

    pub(crate) fn is_good(self) -> bool {
        match self {
            Qemu::NotNeeded => true,
            Qemu::Absent => false,
            Qemu::Here(version) => version >= WANTED,
        }
    }

    pub(crate) fn is_usable(self) -> bool {
        self.is_good() || matches!(self, Qemu::Here(version) if version >= OLDEST)
    }
}

impl fmt::Display for Qemu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Qemu::Here(version) => write!(f, ", QEMU {version}"),
            Qemu::NotNeeded | Qemu::Absent => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_qemu_are_read_and_compared() {
        let banner = "QEMU emulator version 10.0.2 (Debian 1:10.0.2+ds-2+deb13u1~bpo12+1)\n";
        assert_eq!(Version::of_qemu(banner), Some(Version(10, 0)));
        assert_eq!(Version::of_qemu("qemu: command not found"), None);
        assert_eq!(Version::of_package("1:7.2+dfsg-7+deb12u18"), Some(Version(7, 2)));
        assert_eq!(Version::of_package("10.0.2"), Some(Version(10, 0)));
        assert!(Qemu::Here(Version(7, 2)).is_usable() && !Qemu::Here(Version(7, 2)).is_good());
        assert!(Qemu::Here(Version(10, 0)).is_good() && !Qemu::Here(Version(6, 2)).is_usable());
    }
}
