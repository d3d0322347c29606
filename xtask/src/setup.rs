//! What this machine needs beyond the Rust toolchain, and getting it.

use crate::apt::{Apt, Upgrades};
use crate::program::{belljar, on_path, run};
use crate::say;
use anyhow::{Context as _, Result, bail};
use std::env;
use std::fmt;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

/// What the tests' kernel is by default.
const KERNEL: &str = "debian:sid";
/// Debian's package of QEMU.
const QEMU_PACKAGE: &str = "qemu-system-x86";
/// The oldest QEMU that works, and the oldest whose `det` mode is fair.
const QEMU_OLDEST: Version = Version(7, 2);
const QEMU_WANTED: Version = Version(8, 1);

/// What is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    /// To build, and to run tests without virtual machines.
    Build,
    /// Everything.
    Machines,
}

/// Something that is needed, and Debian's package that has it.
struct Need {
    what: &'static str,
    package: &'static str,
    is_here: fn() -> bool,
}

const FOR_BUILDS: [Need; 3] = [
    Need { what: "a C compiler", package: "gcc", is_here: || on_path("cc") },
    Need { what: "the static C library", package: "libc6-dev", is_here: has_static_libc },
    Need { what: "git", package: "git", is_here: || on_path("git") },
];

/// What tests take along from the host (`tools = [...]`).
const FOR_MACHINES: [Need; 4] = [
    Need { what: "unshare", package: "util-linux", is_here: || on_path("unshare") },
    Need { what: "hostname", package: "hostname", is_here: || on_path("hostname") },
    Need { what: "ip and ss", package: "iproute2", is_here: || on_path("ip") && on_path("ss") },
    Need { what: "ps", package: "procps", is_here: || on_path("ps") },
];

/// Something is missing that only root can install.
#[derive(Debug)]
pub(crate) struct Missing {
    what: Vec<String>,
    packages: Vec<String>,
    command: Option<String>,
}

impl std::error::Error for Missing {}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "this machine lacks {}.", self.what.join(", "))?;
        match &self.command {
            Some(command) => write!(
                f,
                "Run this, then the same command again:\n\n    {command}\n\nIt installs {} and \
                 leaves the configuration of packages as it is.",
                self.packages.join(", ")
            ),
            None => {
                write!(f, "It has no apt-get: install that with the package manager that it has.")
            }
        }
    }
}

/// Installs what is missing, or fails with [`Missing`] when that takes another user or `check` says
/// not to.
pub(crate) fn packages(scope: Scope, check: bool) -> Result<()> {
    let needs: &[&[Need]] = match scope {
        Scope::Build => &[&FOR_BUILDS],
        Scope::Machines => &[&FOR_BUILDS, &FOR_MACHINES],
    };
    let lacks: Vec<&Need> =
        needs.iter().copied().flatten().filter(|need| !(need.is_here)()).collect();
    let qemu = if scope == Scope::Machines { Qemu::find() } else { Qemu::NotNeeded };
    if lacks.is_empty() && qemu.is_good() {
        say::line(&format!("a C compiler, the host's programs{qemu}: all here"));
        return Ok(());
    }
    if !qemu.is_usable() && env::var_os("BELLJAR_QEMU").is_some_and(|it| !it.is_empty()) {
        bail!("BELLJAR_QEMU names `{}`, which is no QEMU {QEMU_OLDEST} or newer", Qemu::program());
    }
    let may_install = !check && is_root()? && Apt::is_here();
    if may_install {
        return install(&lacks, &qemu);
    }
    if lacks.is_empty() && qemu.is_usable() {
        say::line(&format!(
            "QEMU is older than {QEMU_WANTED}: det will say what it cannot promise"
        ));
        return Ok(());
    }
    let mut what: Vec<String> = lacks.iter().map(|need| need.what.to_owned()).collect();
    let mut packages: Vec<String> = lacks.iter().map(|need| need.package.to_owned()).collect();
    if !qemu.is_usable() {
        what.push(format!("QEMU for x86 ({QEMU_OLDEST}, better {QEMU_WANTED} or newer)"));
        packages.push(QEMU_PACKAGE.to_owned());
    }
    let command = Apt::is_here().then(as_root).transpose()?;
    Err(Missing { what, packages, command }.into())
}

/// The command for another user that installs what is missing.
fn as_root() -> Result<String> {
    let this = env::current_exe().context("find out where xtask is")?;
    let command = format!("{} setup --packages", this.display());
    Ok(match (is_root()?, on_path("sudo")) {
        (true, _) => command,
        (false, true) => format!("sudo {command}"),
        (false, false) => format!("su -c '{command}'"),
    })
}

fn install(lacks: &[&Need], qemu: &Qemu) -> Result<()> {
    let apt = match Apt::open() {
        Err(error) if lacks.is_empty() && qemu.is_usable() => {
            say::line(&format!("QEMU stays older than {QEMU_WANTED}: {error:#}"));
            return Ok(());
        }
        apt => apt?,
    };
    if !lacks.is_empty() {
        let mut packages: Vec<&str> = lacks.iter().map(|need| need.package).collect();
        packages.dedup();
        apt.install(&packages, Upgrades::InRelease)?;
    }
    if qemu.is_good() {
        return Ok(());
    }
    let candidate = || -> Result<Option<Version>> {
        Ok(apt.candidate(QEMU_PACKAGE)?.as_deref().and_then(Version::of_package))
    };
    let mut offered = candidate()?;
    if offered < Some(QEMU_WANTED) && apt.add_backports()? {
        offered = candidate()?;
    }
    match offered {
        Some(version) if qemu.is_usable() && version < QEMU_WANTED => {
            say::line(&format!(
                "QEMU stays older than {QEMU_WANTED}: this release has no newer one"
            ));
        }
        Some(version) if version >= QEMU_OLDEST => {
            apt.install(&[QEMU_PACKAGE], Upgrades::Qemu)?;
            let qemu = Qemu::find();
            if !qemu.is_usable() {
                bail!("{QEMU_PACKAGE} is installed, but `{}` does not run", Qemu::program());
            }
            say::line(&format!("installed{}", qemu.to_string().trim_start_matches(',')));
        }
        Some(version) => bail!("this release has QEMU {version}; belljar needs {QEMU_OLDEST}"),
        None => bail!("this release has no package {QEMU_PACKAGE}"),
    }
    Ok(())
}

/// Fetches the kernel that tests run on, unless it is in the cache.
pub(crate) fn kernel() -> Result<()> {
    run(belljar(["kernel", "fetch", KERNEL]).stdout(Stdio::null()))
}

/// The first two numbers of a version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Version(u32, u32);

impl Version {
    /// From how a version begins.
    fn parse(text: &str) -> Option<Version> {
        let mut numbers = text.split(|c: char| !c.is_ascii_digit()).map(|it| it.parse().ok());
        Some(Version(numbers.next()??, numbers.next()??))
    }

    /// From the version of a package, in which an epoch may come first.
    fn of_package(text: &str) -> Option<Version> {
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
enum Qemu {
    NotNeeded,
    Absent,
    Here(Version),
}

impl Qemu {
    fn program() -> String {
        env::var("BELLJAR_QEMU")
            .ok()
            .filter(|program| !program.is_empty())
            .unwrap_or_else(|| "qemu-system-x86_64".to_owned())
    }

    fn find() -> Qemu {
        let output = Command::new(Qemu::program()).arg("--version").output();
        let banner = output.map(|it| String::from_utf8_lossy(&it.stdout).into_owned());
        Version::of_qemu(&banner.unwrap_or_default()).map_or(Qemu::Absent, Qemu::Here)
    }

    fn is_good(self) -> bool {
        match self {
            Qemu::NotNeeded => true,
            Qemu::Absent => false,
            Qemu::Here(version) => version >= QEMU_WANTED,
        }
    }

    fn is_usable(self) -> bool {
        self.is_good() || matches!(self, Qemu::Here(version) if version >= QEMU_OLDEST)
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

fn has_static_libc() -> bool {
    // The compiler answers with a path when there is one, and else with the name alone.
    let output = Command::new("cc").arg("-print-file-name=libc.a").output();
    output.is_ok_and(|it| Path::new(String::from_utf8_lossy(&it.stdout).trim()).is_absolute())
}

fn is_root() -> Result<bool> {
    let this = fs::metadata("/proc/self").context("find out which user this is")?;
    Ok(this.uid() == 0)
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

    #[test]
    fn the_way_out_is_an_exact_command() {
        let missing = Missing {
            what: vec!["git".into(), "ps".into()],
            packages: vec!["git".into(), "procps".into()],
            command: Some("sudo /t/xtask setup --packages".into()),
        };
        let text = missing.to_string();
        assert!(text.starts_with("this machine lacks git, ps.\n"), "{text}");
        assert!(text.contains("\n    sudo /t/xtask setup --packages\n"), "{text}");
    }
}
