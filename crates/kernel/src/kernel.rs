//! A kernel in the cache.

use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::ability::{Abilities, Evidence, Lack, Need};
use crate::apt::Package;
use crate::btf::BtfState;
use crate::compression::Compression;
use crate::config::Config;
use crate::error::{Context, Error, Result};
use crate::module::{ModuleFile, ModuleIndex};

/// The names of a kernel's files under its directory.
pub(crate) mod file {
    pub(crate) const VMLINUX: &str = "vmlinux";
    pub(crate) const VMLINUZ: &str = "vmlinuz";
    pub(crate) const CONFIG: &str = "config";
    pub(crate) const SYSTEM_MAP: &str = "System.map";
    pub(crate) const MODULES: &str = "modules";
    pub(crate) const MODULE_INDEX: &str = "modules.json";
    pub(crate) const MANIFEST: &str = "kernel.json";
}

/// What is known of a cached kernel: the content of its `kernel.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// The version of this form; see [`Manifest::FORMAT`].
    pub format: u32,
    /// Kind of source, release, and the first digits of the hash of all files.
    pub id: String,
    /// The source that it was fetched from first.
    pub source: String,
    /// What `uname -r` says in it.
    pub release: String,
    /// The version of its packages, else its release.
    pub version: String,
    /// The packages that it came in.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub packages: Vec<Package>,
    /// How its boot image was packed.
    pub compression: Option<Compression>,
    /// Where PVH enters it, if it can be entered so.
    pub pvh_entry: Option<u64>,
    /// What its BTF is good for.
    pub btf: BtfState,
    /// How many modules it has.
    pub modules: usize,
    /// When it was stored, in seconds since 1970.
    pub stored_unix_s: u64,
    /// What all files take together.
    #[serde(rename = "size_bytes")]
    pub bytes: u64,
    /// All files but this one, by path.
    pub files: Vec<FileEntry>,
}

/// A kernel in one line of a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Summary<'a> {
    /// What commands take.
    pub id: &'a str,
    /// The source that it was fetched from first.
    pub source: &'a str,
    /// What `uname -r` says in it.
    pub release: &'a str,
    /// The version of its packages, else its release.
    pub version: &'a str,
    /// How many modules it has.
    pub modules: usize,
    /// What all files take together.
    pub size_bytes: u64,
    /// When it was stored, in seconds since 1970.
    pub stored_unix_s: u64,
}

/// One file of a cached kernel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileEntry {
    /// Under the kernel's directory.
    pub path: PathBuf,
    /// Its size.
    #[serde(rename = "size_bytes")]
    pub bytes: u64,
    /// Its BLAKE3 hash in hex.
    pub blake3: String,
}

impl Manifest {
    /// The version of `kernel.json` that is written and read here. A kernel of another one is taken
    /// for corrupt, and rebuilt when it is fetched.
    pub const FORMAT: u32 = 1;

    /// The same without its files and what is known of its inside.
    #[must_use]
    pub fn summary(&self) -> Summary<'_> {
        Summary {
            id: &self.id,
            source: &self.source,
            release: &self.release,
            version: &self.version,
            modules: self.modules,
            size_bytes: self.bytes,
            stored_unix_s: self.stored_unix_s,
        }
    }
}

/// A cached kernel. Its files do not change while it is there.
#[derive(Debug, Clone)]
pub struct Kernel {
    dir: PathBuf,
    manifest: Manifest,
}

impl Kernel {
    /// Opens a directory. `Err` says what is wrong with it.
    pub(crate) fn open(dir: &Path) -> Result<Self, String> {
        let path = dir.join(file::MANIFEST);
        let bytes = fs::read(&path).map_err(|error| format!("{}: {error}", file::MANIFEST))?;
        let damaged = |error: serde_json::Error| format!("{}: {error}", file::MANIFEST);
        let value: serde_json::Value = serde_json::from_slice(&bytes).map_err(damaged)?;
        match value.get("format").and_then(serde_json::Value::as_u64) {
            Some(format) if format == u64::from(Manifest::FORMAT) => {}
            format => {
                let format = format.map_or("without a number".into(), |format| format.to_string());
                return Err(format!(
                    "its format is {format}, this version reads {}",
                    Manifest::FORMAT
                ));
            }
        }
        let manifest: Manifest = serde_json::from_value(value).map_err(damaged)?;
        if dir.file_name().is_none_or(|name| name != manifest.id.as_str()) {
            return Err(format!("{} is of {}", file::MANIFEST, manifest.id));
        }
        Ok(Self { dir: dir.to_owned(), manifest })
    }

    /// Whether all files are there with their sizes. `Err` names the first that is not.
    pub(crate) fn check_sizes(&self) -> Result<(), String> {
        for entry in &self.manifest.files {
            let path = entry.path.display();
            match fs::symlink_metadata(self.dir.join(&entry.path)) {
                Ok(found) if found.is_file() && found.len() == entry.bytes => {}
                Ok(found) => {
                    return Err(format!(
                        "{path} has {} bytes instead of {}",
                        found.len(),
                        entry.bytes
                    ));
                }
                Err(error) => return Err(format!("{path}: {error}")),
            }
        }
        Ok(())
    }

    /// Whether all files have the content that was stored. `Err` names the first that has not.
    pub(crate) fn check_content(&self) -> Result<(), String> {
        self.check_sizes()?;
        for entry in &self.manifest.files {
            let hash = hash_file(&self.dir.join(&entry.path))
                .map_err(|error| format!("{}: {error}", entry.path.display()))?;
            if hash != entry.blake3 {
                return Err(format!(
                    "{} has another content than was stored",
                    entry.path.display()
                ));
            }
        }
        Ok(())
    }

    /// The id: what commands show and take.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.manifest.id
    }

    /// What `uname -r` says in it.
    #[must_use]
    pub fn release(&self) -> &str {
        &self.manifest.release
    }

    /// Everything else that is known without reading its files.
    #[must_use]
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Its directory.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The uncompressed ELF kernel.
    #[must_use]
    pub fn vmlinux(&self) -> PathBuf {
        self.dir.join(file::VMLINUX)
    }

    /// The boot image, if it came as one.
    #[must_use]
    pub fn vmlinuz(&self) -> Option<PathBuf> {
        self.part(file::VMLINUZ)
    }

    /// The configuration it was built with, if it is known.
    #[must_use]
    pub fn config_path(&self) -> Option<PathBuf> {
        self.part(file::CONFIG)
    }

    /// The table of its symbols. Debian's newer packages have none.
    #[must_use]
    pub fn system_map(&self) -> Option<PathBuf> {
        self.part(file::SYSTEM_MAP)
    }

    /// The directory of its modules, as `/lib/modules/RELEASE` in the guest.
    #[must_use]
    pub fn modules_dir(&self) -> PathBuf {
        self.dir.join(file::MODULES)
    }

    fn part(&self, name: &str) -> Option<PathBuf> {
        let there = self.manifest.files.iter().any(|entry| entry.path == Path::new(name));
        there.then(|| self.dir.join(name))
    }

    /// The configuration; empty if it is not known.
    ///
    /// # Errors
    ///
    /// If the file cannot be read.
    pub fn config(&self) -> Result<Config> {
        let Some(path) = self.config_path() else { return Ok(Config::default()) };
        let bytes = fs::read(&path).doing("read", &path)?;
        Ok(Config::parse(&String::from_utf8_lossy(&bytes)))
    }

    /// The modules.
    ///
    /// # Errors
    ///
    /// If the index cannot be read.
    pub fn modules(&self) -> Result<ModuleIndex> {
        let path = self.dir.join(file::MODULE_INDEX);
        let bytes = fs::read(&path).doing("read", &path)?;
        serde_json::from_slice(&bytes).map_err(|error| Error::Malformed {
            path,
            what: "an index of modules",
            reason: error.to_string(),
        })
    }

    /// What is to be loaded for `names`, in this order; nothing for what is builtin.
    ///
    /// # Errors
    ///
    /// If a module is unknown, or the index cannot be read.
    pub fn module_closure(&self, names: &[&str]) -> Result<Vec<ModuleFile>> {
        self.modules()?.closure(&self.modules_dir(), names).map_err(|(name, closest)| {
            Error::UnknownModule { release: self.release().to_owned(), name, closest }
        })
    }

    /// What it can do.
    ///
    /// # Errors
    ///
    /// If its configuration cannot be read.
    pub fn abilities(&self) -> Result<Abilities> {
        Ok(self.evidence(&self.config()?).abilities())
    }

    /// Which of `needs` it does not meet, and why.
    ///
    /// # Errors
    ///
    /// If its configuration cannot be read.
    pub fn missing(&self, needs: &[Need]) -> Result<Vec<Lack>> {
        let config = self.config()?;
        Ok(needs.iter().filter_map(|need| self.evidence(&config).lack(need)).collect())
    }

    fn evidence<'a>(&'a self, config: &'a Config) -> Evidence<'a> {
        Evidence {
            release: self.release(),
            config,
            btf: &self.manifest.btf,
            pvh: self.manifest.pvh_entry.is_some(),
        }
    }
}

/// A file's BLAKE3 hash in hex.
pub(crate) fn hash_file(path: &Path) -> std::io::Result<String> {
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(fs::File::open(path)?)?;
    Ok(hasher.finalize().to_hex().to_string())
}
