//! Finding QEMU.

use crate::error::Error;
use std::env;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

const PROGRAM: &str = "qemu-system-x86_64";

/// A QEMU that can be run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Qemu {
    program: PathBuf,
    version: Version,
    banner: String,
}

/// A version of QEMU.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    /// The first number.
    pub major: u32,
    /// The second.
    pub minor: u32,
    /// The third.
    pub micro: u32,
}

impl Version {
    /// The oldest version that belljar works with.
    pub const OLDEST: Version = Version { major: 7, minor: 2, micro: 0 };
    /// The oldest version whose `det` turns are fair: since then a turn is divided
    /// among the CPUs, where before a busy CPU kept its turn for tens of milliseconds.
    pub const FAIR_TURNS: Version = Version { major: 8, minor: 1, micro: 0 };
    /// The oldest version that migrates to and from a file by name.
    pub(crate) const MIGRATES_FILES: Version = Version { major: 8, minor: 2, micro: 0 };
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.micro)
    }
}

impl Qemu {
    /// The QEMU that `BELLJAR_QEMU` names, or else the one on the PATH.
    ///
    /// # Errors
    /// When there is none, or it is too old.
    pub fn find() -> Result<Qemu, Error> {
        match env::var_os("BELLJAR_QEMU") {
            Some(program) if !program.is_empty() => Qemu::at(Path::new(&program)),
            _ => Qemu::at(Path::new(PROGRAM)),
        }
    }

    /// The QEMU at a path, or with a name on the PATH.
    ///
    /// # Errors
    /// As for [`Qemu::find`].
    pub fn at(program: &Path) -> Result<Qemu, Error> {
        let output = Command::new(program).arg("--version").output().map_err(|error| {
            if error.kind() == io::ErrorKind::NotFound {
                Error::QemuMissing { program: program.display().to_string() }
            } else {
                Error::io(format!("run `{} --version`", program.display()), error)
            }
        })?;
        let text = String::from_utf8_lossy(&output.stdout);
        let banner = text.lines().next().unwrap_or_default().to_owned();
        let Some(version) = parse_version(&banner) else {
            return Err(Error::QemuUnknown { program: program.to_owned(), answer: banner });
        };
        if version < Version::OLDEST {
            return Err(Error::QemuTooOld { found: version });
        }
        Ok(Qemu { program: program.to_owned(), version, banner })
    }

    /// What to execute.
    pub fn program(&self) -> &Path {
        &self.program
    }

    /// Its version.
    pub fn version(&self) -> Version {
        self.version
    }

    /// The line in which it says its version, the distribution's included.
    pub fn banner(&self) -> &str {
        &self.banner
    }

    /// What `det` cannot promise with this QEMU, if there is something.
    pub fn det_caveat(&self) -> Option<String> {
        (self.version < Version::FAIR_TURNS).then(|| {
            format!(
                "QEMU {} gives a busy CPU turns of tens of milliseconds: det runs repeat, but their \
                 latencies and fairness mean nothing (fair since {})",
                self.version,
                Version::FAIR_TURNS
            )
        })
    }
}

fn parse_version(banner: &str) -> Option<Version> {
    let numbers = banner.strip_prefix("QEMU emulator version ")?;
    let end = numbers.find(|c: char| c != '.' && !c.is_ascii_digit()).unwrap_or(numbers.len());
    let mut numbers = numbers[..end].split('.').map(|number| number.parse().ok());
    let (major, minor) = (numbers.next()??, numbers.next()??);
    Some(Version { major, minor, micro: numbers.next().flatten().unwrap_or(0) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read() {
        let version = |major, minor, micro| Some(Version { major, minor, micro });
        let banner = "QEMU emulator version 10.0.2 (Debian 1:10.0.2+ds-2+deb13u1~bpo12+1)";
        assert_eq!(parse_version(banner), version(10, 0, 2));
        assert_eq!(parse_version("QEMU emulator version 7.2"), version(7, 2, 0));
        assert_eq!(parse_version("QEMU emulator version 9.0.50 (v9-rc)"), version(9, 0, 50));
        assert_eq!(parse_version("bash: qemu: not found"), None);
        assert_eq!(parse_version("QEMU emulator version x"), None);
    }

    #[test]
    fn a_missing_program_is_named() {
        let error = Qemu::at(Path::new("/nonexistent/qemu")).unwrap_err();
        assert!(matches!(&error, Error::QemuMissing { .. }), "{error}");
        assert!(error.to_string().contains("/nonexistent/qemu"), "{error}");
    }
}
