//! Kernels of a Debian suite, through an apt state of our own.
//!
//! The machine's configuration is read for two things: which mirror serves Debian here, and how it
//! is reached (keys, proxies, credentials). Lists, cache, status and preferences are private and
//! hold one suite, so nothing of the machine's changes and no other suite gets mixed in. Nothing is
//! installed, and signatures are checked by apt.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde::{Deserialize, Serialize};

use crate::control::{Stanza, compare_versions, version_starts_with};
use crate::error::{Context, Error, Result};
use crate::lock::Lock;
use crate::progress::{Event, Progress};
use crate::text::closest;

/// The suites that Debian has, to tell its mirrors from others and slips from suites. A suite that
/// is not here is asked for all the same.
pub(crate) const SUITES: [&str; 12] = [
    "sid",
    "unstable",
    "experimental",
    "testing",
    "stable",
    "oldstable",
    "bookworm",
    "bookworm-backports",
    "trixie",
    "trixie-backports",
    "forky",
    "duke",
];

/// The VMs are x86-64, whatever the machine is.
const ARCHITECTURE: &str = "amd64";

/// A package of a cached kernel.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Package {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// SHA-256 from the signed lists; empty for files that were given.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub sha256: String,
    /// Its size.
    #[serde(rename = "size_bytes")]
    pub bytes: u64,
}

/// The mirror that serves Debian on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Mirror {
    uri: String,
    /// A `Signed-By` field: key files, fingerprints, or a key.
    signed_by: Option<String>,
}

/// An apt state for one suite.
pub(crate) struct Apt<'a> {
    dir: PathBuf,
    lock: &'a Lock,
    suite: &'a str,
    /// What the user wrote, for messages.
    source_text: String,
    mirror: Mirror,
}

impl<'a> Apt<'a> {
    /// Makes or takes up the state in `dir`, which `lock` guards.
    pub(crate) fn open(
        dir: &Path,
        lock: &'a Lock,
        suite: &'a str,
        source_text: String,
    ) -> Result<Self> {
        let machine = Machine { lock };
        let mirror = machine.mirror(&source_text)?;
        let apt = Self { dir: dir.to_owned(), lock, suite, source_text, mirror };
        for sub in ["lists/partial", "cache/archives/partial", "sources", "nothing"] {
            let path = apt.dir.join(sub);
            fs::create_dir_all(&path).doing("create", &path)?;
        }
        let write = |name: &str, text: &str| {
            let path = apt.dir.join(name);
            fs::write(&path, text).doing("write", &path)
        };
        write("status", "")?;
        write("preferences", "")?;
        let signed_by = apt
            .mirror
            .signed_by
            .as_ref()
            .map_or_else(String::new, |it| format!("Signed-By: {it}\n"));
        write(
            "sources/kernel.sources",
            &format!(
                "Types: deb\nURIs: {}\nSuites: {suite}\nComponents: main\nArchitectures: {ARCHITECTURE}\n{signed_by}",
                apt.mirror.uri
            ),
        )?;
        write("apt.conf", &apt.configuration(&machine.settings()?))?;
        Ok(apt)
    }

    /// The machine's way to a mirror, then our own places. Options that hooks or weaker checks could
    /// come in by are left out.
    fn configuration(&self, machine: &str) -> String {
        let mut conf = String::new();
        for line in machine.lines() {
            let name = line.split_once(' ').map_or(line, |(name, _)| name).to_ascii_lowercase();
            let wanted = name.starts_with("acquire::") || name.starts_with("dir::");
            let refused = ["acquire::allow", "acquire::indextargets", "acquire::languages"]
                .iter()
                .any(|refused| name.starts_with(refused));
            if wanted && !refused {
                conf.push_str(line);
                conf.push('\n');
            }
        }
        let dir = self.dir.display();
        conf.push_str(&format!(
            r#"Dir::Etc::Main "{dir}/nothing/apt.conf";
Dir::Etc::Parts "{dir}/nothing";
Dir::Etc::SourceList "{dir}/nothing/sources.list";
Dir::Etc::SourceParts "{dir}/sources";
Dir::Etc::Preferences "{dir}/preferences";
Dir::Etc::PreferencesParts "{dir}/nothing";
Dir::State "{dir}";
Dir::State::Lists "{dir}/lists";
Dir::State::Status "{dir}/status";
Dir::State::Extended_States "{dir}/extended_states";
Dir::Cache "{dir}/cache";
Dir::Cache::Archives "{dir}/cache/archives";
Dir::Log "{dir}";
APT::Architecture "{ARCHITECTURE}";
APT::Architectures {{ "{ARCHITECTURE}"; }};
APT::Sandbox::User "root";
APT::Update::Error-Mode "any";
Acquire::AllowInsecureRepositories "false";
Acquire::AllowWeakRepositories "false";
Acquire::AllowDowngradeToInsecureRepositories "false";
Acquire::AllowReleaseInfoChange "true";
Acquire::Languages {{ "none"; }};
"#
        ));
        conf
    }

    /// Brings the lists up to date.
    pub(crate) fn update(&self, progress: &dyn Progress) -> Result<()> {
        progress.event(&Event::UpdatingLists {
            suite: self.suite.to_owned(),
            mirror: self.mirror.uri.clone(),
        });
        let output = self.apt("apt-get", ["update", "-q"], None)?;
        if output.status.success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&output.stderr).into_owned()
            + &String::from_utf8_lossy(&output.stdout);
        let absent = said.contains("404") || said.contains("File not found");
        if absent && said.contains("does not have a Release file") {
            return Err(Error::UnknownSuite {
                suite: self.suite.to_owned(),
                mirror: self.mirror.uri.clone(),
                closest: closest(self.suite, SUITES)
                    .filter(|it| *it != self.suite)
                    .map(str::to_owned),
            });
        }
        Err(self.network("the package lists", &said))
    }

    /// The packages that make up the kernel: the suite's own choice, or the newest that fits
    /// `version`. Kernels of which the suite has only some packages are passed over: backports
    /// suites keep the signed ones of old versions and drop the rest.
    pub(crate) fn resolve(&self, version: Option<&str>, flavour: &str) -> Result<Vec<Package>> {
        let regex = format!("^linux-(image|binary|base|modules)-.*{ARCHITECTURE}$");
        let output = self.apt("apt-cache", ["show", &regex], None)?;
        let shelf = Shelf::new(Stanza::parse_all(&String::from_utf8_lossy(&output.stdout)));
        let kernels = shelf.kernels(flavour);
        let chosen = match version {
            None => shelf.suites_choice(flavour).or(kernels.first().map(|kernel| kernel.image)),
            Some(wanted) => {
                kernels.iter().find(|kernel| kernel.fits(wanted)).map(|kernel| kernel.image)
            }
        };
        if let Some(packages) = chosen.and_then(|image| shelf.parts(image)) {
            return Ok(packages);
        }
        let wanted = version.unwrap_or_default();
        let mut available: Vec<&str> =
            kernels.iter().map(|kernel| version_of(kernel.image)).collect();
        available.dedup();
        // Newest first; the stable sort then puts those that begin alike before the others.
        let alike =
            |version: &str| version.bytes().zip(wanted.bytes()).take_while(|(a, b)| a == b).count();
        available.sort_by_key(|version| std::cmp::Reverse(alike(version)));
        Err(Error::UnknownVersion {
            suite: self.suite.to_owned(),
            what: match version {
                Some(version) => {
                    format!("{flavour} kernel of version {version} with all of its packages")
                }
                None => format!("{flavour} kernel"),
            },
            available: available.into_iter().map(str::to_owned).collect(),
        })
    }

    /// Downloads `packages` into `dir`.
    pub(crate) fn download(
        &self,
        packages: &[Package],
        dir: &Path,
        progress: &dyn Progress,
    ) -> Result<Vec<PathBuf>> {
        progress.event(&Event::Downloading {
            packages: packages.iter().map(|it| it.name.clone()).collect(),
            bytes: packages.iter().map(|it| it.bytes).sum(),
        });
        fs::create_dir_all(dir).doing("create", dir)?;
        let specs = packages.iter().map(|it| format!("{}={}", it.name, it.version));
        let args = ["download".to_owned(), "-q".to_owned()].into_iter().chain(specs);
        let output = self.apt("apt-get", args, Some(dir))?;
        let mut files: Vec<PathBuf> = fs::read_dir(dir)
            .doing("list", dir)?
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(|path| path.extension() == Some(OsStr::new("deb")))
            .collect();
        files.sort();
        if !output.status.success() || files.len() != packages.len() {
            return Err(self.network("the packages", &String::from_utf8_lossy(&output.stderr)));
        }
        Ok(files)
    }

    fn apt<S: AsRef<OsStr>>(
        &self,
        program: &'static str,
        args: impl IntoIterator<Item = S>,
        dir: Option<&Path>,
    ) -> Result<Output> {
        let mut command = Command::new(program);
        command
            .args(args)
            .env("APT_CONFIG", self.dir.join("apt.conf"))
            .current_dir(dir.unwrap_or(&self.dir));
        run(command, program, self.lock)
    }

    fn network(&self, what: &'static str, said: &str) -> Error {
        Error::Network {
            what,
            source_text: self.source_text.clone(),
            mirror: self.mirror.uri.clone(),
            said: last_words(said),
        }
    }
}

/// The kernel packages of a suite.
struct Shelf {
    /// Newest first.
    stanzas: Vec<Stanza>,
}

/// A kernel of which a suite has all packages.
struct Complete<'a> {
    image: &'a Stanza,
    /// As in the package's name.
    release: &'a str,
}

impl Complete<'_> {
    fn fits(&self, wanted: &str) -> bool {
        self.release == wanted || version_starts_with(version_of(self.image), wanted)
    }
}

impl Shelf {
    fn new(mut stanzas: Vec<Stanza>) -> Self {
        stanzas.sort_by(|a, b| compare_versions(version_of(b), version_of(a)));
        Self { stanzas }
    }

    fn find(&self, name: &str, version: Option<&str>) -> Option<&Stanza> {
        self.stanzas.iter().find(|stanza| {
            stanza.field("package") == Some(name)
                && version.is_none_or(|version| version_of(stanza) == version)
        })
    }

    /// The image that the suite's package without a version needs.
    fn suites_choice(&self, flavour: &str) -> Option<&Stanza> {
        let meta = self.find(&format!("linux-image{}", suffix(flavour)), None)?;
        let (name, version) =
            meta.depends().into_iter().find(|(name, _)| is_part(name, "image"))?;
        self.find(name, version)
    }

    /// The complete kernels of a flavour, newest first.
    fn kernels(&self, flavour: &str) -> Vec<Complete<'_>> {
        let suffix = suffix(flavour);
        let complete = |image| {
            let release = Stanza::field(image, "package")?.strip_prefix("linux-image-")?;
            // `6.1.0-50` is a version, `6.1.0-50-cloud` is one of another flavour.
            let is_version = release.strip_suffix(&suffix)?.split('-').all(starts_with_digit);
            (is_version && self.parts(image).is_some()).then_some(Complete { image, release })
        };
        self.stanzas.iter().filter_map(complete).collect()
    }

    /// The packages of the kernel with this image, unless one is missing that has a part of it.
    fn parts(&self, image: &Stanza) -> Option<Vec<Package>> {
        // Before the split the image has everything, and `linux-base-` only helps to install it.
        let split = image.depends().iter().any(|(name, _)| is_part(name, "binary"));
        let mut packages = BTreeSet::from([package(image)]);
        let mut open = vec![image];
        while let Some(stanza) = open.pop() {
            for (name, version) in stanza.depends() {
                if !["image", "binary", "modules", "base"].iter().any(|kind| is_part(name, kind)) {
                    continue;
                }
                match self.find(name, version) {
                    Some(found) if packages.insert(package(found)) => open.push(found),
                    Some(_) => {}
                    None if split => return None,
                    None => {}
                }
            }
        }
        Some(packages.into_iter().collect())
    }
}

/// What the names of a flavour's packages end with.
fn suffix(flavour: &str) -> String {
    match flavour {
        "generic" => format!("-{ARCHITECTURE}"),
        flavour => format!("-{flavour}-{ARCHITECTURE}"),
    }
}

fn starts_with_digit(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_digit())
}

fn version_of(stanza: &Stanza) -> &str {
    stanza.field("version").unwrap_or_default()
}

fn package(stanza: &Stanza) -> Package {
    let field = |name| stanza.field(name).unwrap_or_default().to_owned();
    Package {
        name: field("package"),
        version: field("version"),
        sha256: field("sha256"),
        bytes: field("size").parse().unwrap_or(0),
    }
}

/// Whether a package holds a part of one kernel: `linux-KIND-` and a version.
fn is_part(name: &str, kind: &str) -> bool {
    name.strip_prefix("linux-")
        .and_then(|rest| rest.strip_prefix(kind)?.strip_prefix('-'))
        .is_some_and(starts_with_digit)
}

/// The machine's own configuration, which is only read.
struct Machine<'a> {
    lock: &'a Lock,
}

impl Machine<'_> {
    fn settings(&self) -> Result<String> {
        self.ask("apt-config", &["dump"])
    }

    fn mirror(&self, source_text: &str) -> Result<Mirror> {
        let paths = self.ask(
            "apt-config",
            &["shell", "LIST", "Dir::Etc::sourcelist/f", "PARTS", "Dir::Etc::sourceparts/d"],
        )?;
        let path = |name: &str| {
            let line = paths.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='))?;
            Some(PathBuf::from(line.trim_matches('\'')))
        };
        let mut looked: Vec<PathBuf> = path("LIST").into_iter().collect();
        if let Some(parts) = path("PARTS") {
            let mut entries: Vec<PathBuf> = fs::read_dir(&parts)
                .map(|dir| dir.filter_map(|entry| Some(entry.ok()?.path())).collect())
                .unwrap_or_default();
            entries.sort();
            looked.extend(entries);
        }
        // Only the lists of the last update say who signed what; a fresh container has none.
        let targets = self
            .ask(
                "apt-get",
                &["indextargets", "--format", "$(LABEL) $(SITE)", "Created-By: Packages"],
            )
            .unwrap_or_default();
        let sites: Vec<&str> =
            targets.lines().filter_map(|line| line.strip_prefix("Debian ")).collect();

        let mut best: Option<(u8, Mirror)> = None;
        for file in &looked {
            let Ok(text) = fs::read_to_string(file) else { continue };
            for (rank, mirror) in match file.extension().and_then(OsStr::to_str) {
                Some("sources") => mirrors_deb822(&text, &sites),
                Some("list") => mirrors_one_line(&text, &sites),
                _ => Vec::new(),
            } {
                if best.as_ref().is_none_or(|(best, _)| rank > *best) {
                    best = Some((rank, mirror));
                }
            }
        }
        best.map(|(_, mirror)| mirror)
            .ok_or_else(|| Error::NoMirror { source_text: source_text.to_owned(), looked })
    }

    fn ask(&self, program: &'static str, args: &[&str]) -> Result<String> {
        let mut command = Command::new(program);
        command.args(args);
        let output = run(command, program, self.lock)?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        Err(failed(program, args, &output))
    }
}

/// How surely an entry serves Debian's main archive; 0 if it does not.
fn rank(uri: &str, suite: &str, components: &[&str], sites: &[&str]) -> u8 {
    let uri = uri.trim_end_matches('/');
    let base = suite.split(['-', '/']).next().unwrap_or_default();
    let known = SUITES.contains(&base);
    if !components.contains(&"main")
        || suite.contains("security")
        || !(known || sites.contains(&uri))
    {
        return 0;
    }
    1 + 4 * u8::from(sites.contains(&uri))
        + 2 * u8::from(uri.ends_with("/debian"))
        + u8::from(known)
}

fn mirrors_deb822(text: &str, sites: &[&str]) -> Vec<(u8, Mirror)> {
    let mut mirrors = Vec::new();
    for stanza in Stanza::parse_all(text) {
        if stanza.field("enabled").is_some_and(|value| matches!(value, "no" | "false" | "0"))
            || !stanza.words("types").any(|word| word == "deb")
        {
            continue;
        }
        let components: Vec<&str> = stanza.words("components").collect();
        let Some(uri) = stanza.words("uris").next() else { continue };
        let rank = stanza.words("suites").map(|suite| rank(uri, suite, &components, sites)).max();
        if let Some(rank) = rank.filter(|rank| *rank > 0) {
            let signed_by = stanza.field("signed-by").map(str::to_owned);
            mirrors.push((rank, Mirror { uri: uri.to_owned(), signed_by }));
        }
    }
    mirrors
}

fn mirrors_one_line(text: &str, sites: &[&str]) -> Vec<(u8, Mirror)> {
    let mut mirrors = Vec::new();
    for line in text.lines() {
        let line = line.split('#').next().unwrap_or_default().trim();
        let Some(mut rest) = line.strip_prefix("deb").filter(|rest| rest.starts_with([' ', '\t']))
        else {
            continue;
        };
        rest = rest.trim_start();
        let mut signed_by = None;
        if let Some((options, after)) = rest.strip_prefix('[').and_then(|it| it.split_once(']')) {
            signed_by = options
                .split_whitespace()
                .find_map(|option| option.strip_prefix("signed-by="))
                .map(|keys| keys.replace(',', " "));
            rest = after;
        }
        let words: Vec<&str> = rest.split_whitespace().collect();
        if let [uri, suite, components @ ..] = words.as_slice() {
            let rank = rank(uri, suite, components, sites);
            if rank > 0 {
                mirrors.push((rank, Mirror { uri: (*uri).to_owned(), signed_by }));
            }
        }
    }
    mirrors
}

/// Runs a program of Debian's to its end. It holds `lock` as its standard input: if we are killed
/// and it lives on, the lock stays taken until it is done.
pub(crate) fn run(mut command: Command, program: &'static str, lock: &Lock) -> Result<Output> {
    command.env("LC_ALL", "C.UTF-8").stdin(lock.share()?);
    command.output().map_err(|source| Error::Tool {
        program,
        advice: match program {
            "dpkg-deb" => "it unpacks Debian packages and comes with Debian's package dpkg",
            _ => "it comes with Debian's package apt; elsewhere name downloaded packages with `deb:FILE[,FILE...]`",
        },
        source,
    })
}

/// A program of Debian's ended with an error.
pub(crate) fn failed<S: AsRef<OsStr>>(program: &str, args: &[S], output: &Output) -> Error {
    let args: Vec<_> = args.iter().map(|arg| arg.as_ref().to_string_lossy()).collect();
    Error::ToolFailed {
        command: format!("{program} {}", args.join(" ")),
        status: output.status.to_string(),
        said: last_words(&String::from_utf8_lossy(&output.stderr)),
    }
}

/// What a program said went wrong: its errors and warnings if it marks them, without repetition.
fn last_words(said: &str) -> String {
    let marked = |line: &&str| line.starts_with("E: ") || line.starts_with("W: ");
    let vague = |line: &&str| line.contains("Some index files failed to download");
    let all: Vec<&str> = said.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let mut lines: Vec<&str> = all.iter().copied().filter(marked).collect();
    if lines.is_empty() {
        lines = all;
    }
    lines.retain(|line| !vague(line));
    lines.dedup();
    lines.truncate(4);
    let lines: Vec<&str> =
        lines.iter().map(|line| line.trim_start_matches("E: ").trim_start_matches("W: ")).collect();
    if lines.is_empty() { "it said nothing".into() } else { lines.join("; ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_entry_that_serves_debian_is_found_in_both_forms() {
        let deb822 = "Types: deb deb-src\nURIs: https://mirror.example/debian-security\n\
            Suites: bookworm-security\nComponents: main\n\n\
            Types: deb\nURIs: https://mirror.example/debian/\nSuites: bookworm bookworm-updates\n\
            Components: main contrib\nSigned-By: /keys/a.gpg\n\n\
            Types: deb\nEnabled: no\nURIs: https://off.example/debian\nSuites: sid\nComponents: main\n";
        let debian = Mirror {
            uri: "https://mirror.example/debian/".into(),
            signed_by: Some("/keys/a.gpg".into()),
        };
        assert_eq!(mirrors_deb822(deb822, &[]), [(4, debian.clone())]);
        assert_eq!(
            mirrors_deb822(deb822, &["https://mirror.example/debian"]),
            [(8, debian.clone())]
        );

        let lines = "# deb https://off.example/debian sid main\ndeb-src https://x.example/debian sid main\n\
            deb https://node.example/node_20.x nodistro main\n\
            deb [arch=amd64 signed-by=/keys/a.gpg] https://mirror.example/debian/ trixie main # ours\n";
        assert_eq!(mirrors_one_line(lines, &[]), [(4, debian)]);
    }

    #[test]
    fn the_newest_kernel_with_all_its_packages_is_chosen() {
        let package = |name: &str, version: &str, depends: &str| {
            format!("Package: linux-{name}\nVersion: {version}\nDepends: {depends}\n\n")
        };
        let split = |version: &str, parts: &[&str]| {
            let release = format!("{version}+deb14-cloud-amd64");
            let depends = ["base", "binary", "modules"]
                .map(|kind| format!("linux-{kind}-{release} (= {version}-1)"));
            let image =
                package(&format!("image-{release}"), &format!("{version}-1"), &depends.join(", "));
            let parts = parts
                .iter()
                .map(|kind| package(&format!("{kind}-{release}"), &format!("{version}-1"), "kmod"));
            image + &parts.collect::<String>()
        };
        let text = split("7.2.9", &["base", "binary", "modules"])
            + &split("7.2.13", &["base", "binary", "modules"])
            + &split("7.2.14", &["binary"])
            + &package(
                "image-6.18.9+deb14-cloud-amd64",
                "6.18.9-1",
                "linux-base-6.18.9+deb14-cloud-amd64",
            )
            + &package("image-6.1.0-50-amd64", "6.1.176-1", "kmod")
            + &package(
                "image-cloud-amd64",
                "7.2.9-1",
                "linux-image-7.2.9+deb14-cloud-amd64 (= 7.2.9-1)",
            );
        let shelf = Shelf::new(Stanza::parse_all(&text));
        let versions = |flavour| {
            let kernels = shelf.kernels(flavour);
            kernels.iter().map(|kernel| version_of(kernel.image).to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(versions("cloud"), ["7.2.13-1", "7.2.9-1", "6.18.9-1"]);
        assert_eq!(versions("generic"), ["6.1.176-1"]);
        let choice = shelf.suites_choice("cloud").unwrap();
        assert_eq!(version_of(choice), "7.2.9-1");
        assert_eq!(shelf.parts(choice).unwrap().len(), 4);
        assert!(
            shelf.kernels("cloud")[0].fits("7.2")
                && shelf.kernels("cloud")[0].fits("7.2.13+deb14-cloud-amd64")
        );
    }

    #[test]
    fn parts_of_a_kernel_have_a_version_in_their_name() {
        assert!(is_part("linux-base-7.2.13+deb14-cloud-amd64", "base"));
        assert!(!is_part("linux-base", "base"));
        assert!(!is_part("linux-image-cloud-amd64", "image"));
    }

    #[test]
    fn what_apt_said_is_cut_to_what_matters() {
        assert_eq!(last_words("Err:1 x\nW: a\nW: a\nE: b\n"), "a; b");
        assert_eq!(last_words("dpkg-deb: error: no archive\n"), "dpkg-deb: error: no archive");
        assert_eq!(last_words(" \n"), "it said nothing");
    }
}
