//! Installs Debian packages without a change to how the machine is set up.
//!
//! The lists, the sources and the downloads are private, and gone afterwards. The sources hold the
//! suites of the machine's own release and, where wanted, its backports, from which only QEMU and
//! its firmware are taken. Any other suite would lift whatever the new packages depend on, the C
//! library first. Everything else, keys and proxies included, is as the machine has it.

use crate::program::{on_path, output};
use crate::say;
use crate::sources::{Entry, backports, codename, own_suites};
use anyhow::{Context as _, Result, bail, ensure};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// Only root writes there. What a killed run has left, the next one takes up and removes.
const STATE: &str = "/var/cache/belljar-xtask";

/// What backports are used for.
const FROM_BACKPORTS: &str = "qemu-* seabios ipxe-qemu";

/// Which installed packages may be upgraded on the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Upgrades {
    /// Those that the release itself has newer: headers come with the library of their version.
    InRelease,
    /// Only what is [`FROM_BACKPORTS`].
    Qemu,
}

/// A private apt state.
pub(crate) struct Apt {
    dir: PathBuf,
    codename: String,
    entries: Vec<Entry>,
    /// Held while the state is in use.
    _lock: File,
}

impl Apt {
    /// Whether this machine has apt.
    pub(crate) fn is_here() -> bool {
        on_path("apt-get")
    }

    /// A state with the lists of the machine's own suites.
    pub(crate) fn open() -> Result<Apt> {
        let release = "/etc/os-release";
        let text = fs::read_to_string(release).with_context(|| format!("cannot read {release}"))?;
        let codename = codename(&text)?.to_owned();
        let machine = Machine::read()?;
        let own = own_suites(&machine.entries, &codename);
        ensure!(
            !own.is_empty(),
            "no package source of this machine has the main part of `{codename}`, its own release; looked in {} and {}",
            machine.list.display(),
            machine.parts.display()
        );
        let lock = File::open("/var/cache").context("cannot open /var/cache")?;
        lock.lock().context("cannot lock /var/cache")?;
        let dir = PathBuf::from(STATE);
        let apt = Apt { dir, codename, entries: machine.entries, _lock: lock };
        for sub in ["lists/partial", "archives/partial", "sources"] {
            let path = apt.dir.join(sub);
            fs::create_dir_all(&path).with_context(|| format!("cannot make {}", path.display()))?;
        }
        apt.write("sources/own.sources", &own)?;
        let pins = format!(
            "{}\n\nPackage: {FROM_BACKPORTS}\nPin: release n={}-backports\nPin-Priority: 990\n",
            machine.preferences.trim_end(),
            apt.codename
        );
        apt.write("preferences", &pins)?;
        say::line(&format!("reading the package lists of {}", apt.codename));
        apt.update()?;
        Ok(apt)
    }

    /// Adds the backports of the release. False when its mirror has none.
    pub(crate) fn add_backports(&self) -> Result<bool> {
        let Some(text) = backports(&self.entries, &self.codename) else { return Ok(false) };
        self.write("sources/backports.sources", &text)?;
        say::line(&format!("reading the package lists of {}-backports", self.codename));
        let Err(error) = self.update() else { return Ok(true) };
        if !format!("{error:#}").contains("does not have a Release file") {
            return Err(error);
        }
        fs::remove_file(self.dir.join("sources/backports.sources"))?;
        self.update()?;
        Ok(false)
    }

    /// The version of a package that would be installed.
    pub(crate) fn candidate(&self, package: &str) -> Result<Option<String>> {
        let said = self.call("apt-cache", &["policy", package])?;
        let version = said.lines().find_map(|line| line.trim().strip_prefix("Candidate: "));
        Ok(version.filter(|version| *version != "(none)").map(str::to_owned))
    }

    /// Installs packages, once it is clear what that does.
    pub(crate) fn install(&self, packages: &[&str], upgrades: Upgrades) -> Result<()> {
        let mut args = vec!["--yes", "--no-install-recommends", "--no-remove", "install"];
        args.extend(packages);
        let simulated = [&["--simulate"], args.as_slice()].concat();
        let plan = Plan::parse(&self.call("apt-get", &simulated)?);
        plan.check(upgrades)
            .with_context(|| format!("`apt-get install {}` was not done", packages.join(" ")))?;
        let number = plan.fresh + plan.upgraded.len();
        let packages = packages.join(", ");
        say::line(&format!("installing {packages} ({} in all)", say::count(number, "package")));
        self.call("apt-get", &args)?;
        Ok(())
    }

    fn update(&self) -> Result<()> {
        self.call("apt-get", &["update"])
            .context("cannot read the package lists; check the network and the proxy of apt")?;
        Ok(())
    }

    fn write(&self, name: &str, text: &str) -> Result<()> {
        let path = self.dir.join(name);
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
    }

    /// Runs a program of apt's in this state; what it says is shown when it fails.
    fn call(&self, program: &str, args: &[&str]) -> Result<String> {
        let dir = self.dir.display();
        let mut command = Command::new(program);
        for option in [
            format!("Dir::Etc::SourceList={dir}/none"),
            format!("Dir::Etc::SourceParts={dir}/sources"),
            format!("Dir::Etc::Preferences={dir}/preferences"),
            format!("Dir::State::Lists={dir}/lists"),
            format!("Dir::Cache={dir}"),
            format!("Dir::Cache::Archives={dir}/archives"),
            "Acquire::Languages=none".to_owned(),
            "Acquire::Retries=2".to_owned(),
            "APT::Update::Error-Mode=any".to_owned(),
            "DPkg::Lock::Timeout=300".to_owned(),
            "Dpkg::Use-Pty=0".to_owned(),
        ] {
            command.args(["-o", &option]);
        }
        command
            .args(args)
            .env("LC_ALL", "C.UTF-8")
            .env("DEBIAN_FRONTEND", "noninteractive")
            .stdin(Stdio::null());
        let output = command.output().with_context(|| format!("cannot start {program}"))?;
        if !output.status.success() {
            bail!("`{program} {}` failed: {}", args.join(" "), last_words(&output));
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

impl Drop for Apt {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.dir) {
            say::line(&format!("{} was not removed: {error}", self.dir.display()));
        }
    }
}

/// What the machine is told about packages.
struct Machine {
    list: PathBuf,
    parts: PathBuf,
    entries: Vec<Entry>,
    preferences: String,
}

impl Machine {
    fn read() -> Result<Machine> {
        let places = output(Command::new("apt-config").args([
            "shell",
            "LIST",
            "Dir::Etc::SourceList/f",
            "PARTS",
            "Dir::Etc::SourceParts/d",
            "PREFERENCES",
            "Dir::Etc::Preferences/f",
        ]))?;
        let place = |name: &str| {
            let mut lines = places.lines();
            let value = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
            PathBuf::from(value.unwrap_or_default().trim_matches('\''))
        };
        let (list, parts) = (place("LIST"), place("PARTS"));
        let mut files = vec![list.clone()];
        match fs::read_dir(&parts) {
            Ok(directory) => files.extend(directory.filter_map(|it| Some(it.ok()?.path()))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error).context(format!("cannot list {}", parts.display())),
        }
        files[1..].sort();
        let entries = files.iter().flat_map(|file| entries_of(file)).collect();
        let preferences = fs::read_to_string(place("PREFERENCES")).unwrap_or_default();
        Ok(Machine { list, parts, entries, preferences })
    }
}

/// The entries of a file; a file that cannot be read or is no list of sources has none.
fn entries_of(file: &Path) -> Vec<Entry> {
    let text = fs::read_to_string(file).unwrap_or_default();
    match file.extension().and_then(|it| it.to_str()) {
        Some("sources") => Entry::parse_deb822(&text),
        Some("list") => Entry::parse_list(&text),
        _ => Vec::new(),
    }
}

/// What apt would do.
#[derive(Debug, Default, PartialEq, Eq)]
struct Plan {
    fresh: usize,
    upgraded: Vec<String>,
    removed: Vec<String>,
}

impl Plan {
    /// From what `apt-get --simulate` says.
    fn parse(said: &str) -> Plan {
        let mut plan = Plan::default();
        for line in said.lines() {
            let mut words = line.split_whitespace();
            match (words.next(), words.next(), words.next()) {
                (Some("Remv"), Some(name), _) => plan.removed.push(name.to_owned()),
                // The version that is installed stands in brackets.
                (Some("Inst"), Some(name), Some(next)) if next.starts_with('[') => {
                    plan.upgraded.push(name.to_owned());
                }
                (Some("Inst"), ..) => plan.fresh += 1,
                _ => {}
            }
        }
        plan
    }

    fn check(&self, upgrades: Upgrades) -> Result<()> {
        if !self.removed.is_empty() {
            bail!("it would remove {}", self.removed.join(", "));
        }
        let allowed = |name: &str| {
            FROM_BACKPORTS.split(' ').any(|pattern| match pattern.strip_suffix('*') {
                Some(beginning) => name.starts_with(beginning),
                None => name == pattern,
            })
        };
        let refused: Vec<&str> =
            self.upgraded.iter().map(String::as_str).filter(|name| !allowed(name)).collect();
        if upgrades == Upgrades::Qemu && !refused.is_empty() {
            bail!(
                "it would upgrade {}, and only QEMU is to change; bring the machine up to date first (`apt-get upgrade`)",
                refused.join(", ")
            );
        }
        Ok(())
    }
}

/// What apt says went wrong, or else the last of what it says.
fn last_words(output: &Output) -> String {
    let said = [output.stdout.as_slice(), output.stderr.as_slice()]
        .map(|bytes| String::from_utf8_lossy(bytes).into_owned())
        .concat();
    let said: Vec<&str> = said.lines().filter(|line| !line.trim().is_empty()).collect();
    let is_error = |it: &&str| it.starts_with("E: ") && !it.contains("Some index files failed");
    let mut lines: Vec<&str> = said.iter().copied().filter(is_error).collect();
    if lines.is_empty() {
        lines = said[said.len().saturating_sub(5)..].to_vec();
    }
    lines.dedup();
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIMULATED: &str = "\
NOTE: This is only a simulation!
Inst libslirp0 (4.7.0-1 Debian:12.15/oldstable [amd64])
Inst qemu-system-x86 [1:7.2+dfsg-7] (1:10.0.2+ds-2~bpo12+1 Debian Backports:oldstable-backports [amd64])
Conf libslirp0 (4.7.0-1 Debian:12.15/oldstable [amd64])
";

    #[test]
    fn upgrades_are_told_from_new_packages() {
        let plan = Plan::parse(SIMULATED);
        assert_eq!((plan.fresh, plan.removed.len()), (1, 0));
        assert_eq!(plan.upgraded, ["qemu-system-x86"]);
        plan.check(Upgrades::Qemu).unwrap();
    }

    #[test]
    fn the_c_library_is_never_upgraded_for_qemu() {
        let text = format!("{SIMULATED}Inst libc6 [2.36-9] (2.41-1 Debian:sid [amd64]) []\n");
        let plan = Plan::parse(&text);
        assert!(plan.check(Upgrades::Qemu).unwrap_err().to_string().contains("upgrade libc6"));
        plan.check(Upgrades::InRelease).unwrap();
    }

    #[test]
    fn nothing_is_ever_removed() {
        let plan = Plan::parse("Remv coreutils [9.1-1]\n");
        assert!(plan.check(Upgrades::InRelease).unwrap_err().to_string().contains("coreutils"));
    }
}
