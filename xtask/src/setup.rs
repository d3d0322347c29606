//! What this machine needs beyond the Rust toolchain, and getting it.

use crate::apt::{Apt, Upgrades};
use crate::program::{belljar, on_path, run};
use crate::qemu::{OLDEST, PACKAGE, Qemu, Version, WANTED};
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

/// What is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    /// To build, and to run tests without virtual machines.
    Build,
    /// Everything.
    Machines,
}

/// Something that is needed, and Debian's packages that have it.
struct Need {
    what: &'static str,
    package: &'static str,
    is_here: fn() -> bool,
}

const FOR_BUILDS: [Need; 8] = [
    Need { what: "a C compiler", package: "gcc", is_here: || on_path("cc") },
    Need { what: "a C++ compiler", package: "g++", is_here: || on_path("c++") },
    Need { what: "the static C library", package: "libc6-dev", is_here: has_static_libc },
    Need { what: "git", package: "git", is_here: || on_path("git") },
    // Programs for the kernel are C that clang compiles and libbpf loads.
    Need { what: "clang 19", package: "clang-19", is_here: || on_path("clang-19") },
    Need { what: "libelf", package: "libelf-dev", is_here: || header("libelf.h") },
    Need { what: "zlib", package: "zlib1g-dev", is_here: || header("zlib.h") },
    Need {
        what: "pkg-config and make",
        package: "pkgconf make",
        is_here: || on_path("pkg-config") && on_path("make"),
    },
];

/// What tests take along from the host (`tools = [...]`) or run on it.
const FOR_MACHINES: [Need; 7] = [
    Need { what: "unshare", package: "util-linux", is_here: || on_path("unshare") },
    Need { what: "mount", package: "mount", is_here: || on_path("mount") },
    Need { what: "hostname", package: "hostname", is_here: || on_path("hostname") },
    Need { what: "ip and ss", package: "iproute2", is_here: || on_path("ip") && on_path("ss") },
    Need { what: "stress-ng", package: "stress-ng", is_here: || on_path("stress-ng") },
    Need { what: "fio", package: "fio", is_here: || on_path("fio") },
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
        bail!("BELLJAR_QEMU names `{}`, which is no QEMU {OLDEST} or newer", Qemu::program());
    }
    let is_old = lacks.is_empty() && qemu.is_usable();
    if !check && is_root()? && Apt::is_here() {
        return match install(&lacks, qemu) {
            Err(error) if is_old => {
                say::line(&format!("QEMU stays older than {WANTED}: {error:#}"));
                Ok(())
            }
            result => result,
        };
    }
    if is_old {
        say::line(&format!("QEMU is older than {WANTED}: det will say what it cannot promise"));
        return Ok(());
    }
    let mut what: Vec<String> = lacks.iter().map(|need| need.what.to_owned()).collect();
    let mut packages: Vec<String> =
        lacks.iter().flat_map(|need| need.package.split(' ')).map(str::to_owned).collect();
    if !qemu.is_usable() {
        what.push(format!("QEMU for x86 ({OLDEST}, better {WANTED} or newer)"));
        packages.push(PACKAGE.to_owned());
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

fn install(lacks: &[&Need], qemu: Qemu) -> Result<()> {
    let apt = Apt::open()?;
    if !lacks.is_empty() {
        let packages: Vec<&str> = lacks.iter().flat_map(|need| need.package.split(' ')).collect();
        apt.install(&packages, Upgrades::InRelease)?;
    }
    if qemu.is_good() {
        return Ok(());
    }
    let candidate = || -> Result<Option<Version>> {
        Ok(apt.candidate(PACKAGE)?.as_deref().and_then(Version::of_package))
    };
    let mut offered = candidate()?;
    if offered < Some(WANTED) && apt.add_backports()? {
        offered = candidate()?;
    }
    match offered {
        Some(version) if qemu.is_usable() && version < WANTED => {
            bail!("this release has no newer one")
        }
        Some(version) if version >= OLDEST => apt.install(&[PACKAGE], Upgrades::Qemu)?,
        Some(version) => bail!("this release has QEMU {version}; belljar needs {OLDEST}"),
        None => bail!("this release has no package {PACKAGE}"),
    }
    match Qemu::find() {
        Qemu::Here(version) => say::line(&format!("QEMU {version} is here now")),
        _ => bail!("{PACKAGE} is installed, but `{}` does not run", Qemu::program()),
    }
    Ok(())
}

/// Fetches the kernel that tests run on, unless it is in the cache.
pub(crate) fn kernel() -> Result<()> {
    run(belljar(["kernel", "fetch", KERNEL]).stdout(Stdio::null()))
}

fn has_static_libc() -> bool {
    // The compiler answers with a path when there is one, and else with the name alone.
    let output = Command::new("cc").arg("-print-file-name=libc.a").output();
    output.is_ok_and(|it| Path::new(String::from_utf8_lossy(&it.stdout).trim()).is_absolute())
}

/// Whether the C compiler has this header.
fn header(name: &str) -> bool {
    Path::new("/usr/include").join(name).exists()
}

fn is_root() -> Result<bool> {
    let this = fs::metadata("/proc/self").context("find out which user this is")?;
    Ok(this.uid() == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

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
