//! The cache: a directory with one directory for each kernel, complete or not there at all.
//!
//! ```text
//! ROOT/debian-7.2.13+deb14-cloud-amd64-0123456789ab/   one kernel, see the crate's documentation
//! ROOT/default                                         the id of the default kernel
//! ROOT/.state/sources.json                             which source gave which kernel
//! ROOT/.state/locks/                                   one file for each source and suite
//! ROOT/.state/apt/SUITE/                               private apt states
//! ROOT/.state/staging/                                 what is being made, or was when it was killed
//! ```

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use serde::{Deserialize, Serialize};

use crate::ability::Need;
use crate::apt::{Apt, Package};
use crate::control::version_starts_with;
use crate::error::{Context, Error, Result};
use crate::kernel::{Kernel, Manifest};
use crate::lock::Lock;
use crate::parts::{Parts, host_release};
use crate::progress::{Event, Progress};
use crate::source::Source;
use crate::text::{closest, is_file_name};

/// A cache of kernels. Any number of processes may use one at the same time.
#[derive(Debug, Clone)]
pub struct Store {
    root: PathBuf,
}

/// A kernel in a list.
#[derive(Debug, Clone)]
pub enum Listed {
    /// It is there with all its files.
    Intact(Box<Kernel>),
    /// It is damaged.
    Corrupt {
        /// The name of its directory.
        id: String,
        /// What is wrong.
        reason: String,
    },
}

/// Which kernel a source gave.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Memo {
    id: String,
    /// Of the files that the source names, when it was fetched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    inputs: Option<String>,
    /// As in the signed lists, when it was fetched.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    packages: Vec<Package>,
}

type Memos = BTreeMap<String, Memo>;

/// A directory for work in progress. Its lock tells others that somebody is at work.
struct Staging {
    dir: tempfile::TempDir,
    lock: Lock,
}

impl Store {
    /// Opens the cache in `root`, which is made if it is not there.
    ///
    /// # Errors
    ///
    /// If the directory cannot be made.
    pub fn open(root: &Path) -> Result<Self> {
        let root = std::path::absolute(root).doing("find", root)?;
        fs::create_dir_all(&root).doing("create", &root)?;
        Ok(Self { root })
    }

    /// The directory of the cache.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The kernel of a source: from the cache if the source was fetched before and, for files on
    /// this machine, has not changed since. A damaged one is rebuilt. Blocks while another process
    /// fetches the same source.
    ///
    /// # Errors
    ///
    /// If the source gives no kernel; the cache is then as it was.
    pub fn fetch(&self, source: &Source, progress: &dyn Progress) -> Result<Kernel> {
        self.obtain(source, false, progress)
    }

    /// The same, but a Debian suite is asked again for what it has now. What has not changed is
    /// not downloaded.
    ///
    /// # Errors
    ///
    /// As for [`Store::fetch`].
    pub fn refresh(&self, source: &Source, progress: &dyn Progress) -> Result<Kernel> {
        self.obtain(source, true, progress)
    }

    fn obtain(&self, source: &Source, refresh: bool, progress: &dyn Progress) -> Result<Kernel> {
        let source = source.clone().absolute();
        let name = source.to_string();
        let lock = self.lock(&format!("source-{}", &blake3::hash(name.as_bytes()).to_hex()[..16]));
        let _lock = Lock::take(&lock, || progress.event(&Event::Waiting { what: name.clone() }))?;
        self.sweep()?;
        let inputs = inputs(&source);
        if let Some(memo) = self.memos()?.get(&name) {
            let changed = inputs.is_some() && memo.inputs != inputs;
            match self.intact(&memo.id) {
                Some(Ok(kernel)) if !refresh && !changed => {
                    progress.event(&Event::Found { id: memo.id.clone() });
                    return Ok(kernel);
                }
                Some(Err(reason)) => {
                    progress.event(&Event::Rebuilding { id: memo.id.clone(), reason });
                    self.discard(&memo.id)?;
                }
                _ => {}
            }
        }
        let staging = self.staging()?;
        let (found, packages) = self.gather(&source, &staging, progress)?;
        let kernel = match found {
            Gathered::Cached(kernel) => {
                progress.event(&Event::Found { id: kernel.id().to_owned() });
                *kernel
            }
            Gathered::Parts(parts) => {
                let dir = staging.dir.path().join("kernel");
                let manifest = parts.assemble(&source, &dir, progress)?;
                let kernel = self.publish(&manifest, &staging)?;
                progress
                    .event(&Event::Stored { id: kernel.id().to_owned(), bytes: manifest.bytes });
                kernel
            }
        };
        let memo = Memo { id: kernel.id().to_owned(), inputs, packages };
        self.change_memos(|memos| {
            memos.insert(name, memo);
        })?;
        Ok(kernel)
    }

    /// Finds the parts of a kernel, and the packages that the signed lists name for it.
    fn gather(
        &self,
        source: &Source,
        staging: &Staging,
        progress: &dyn Progress,
    ) -> Result<(Gathered, Vec<Package>)> {
        let text = source.to_string();
        let unpacked = staging.dir.path().join("unpacked");
        let lock = &staging.lock;
        let (parts, packages) = match source {
            Source::Debian { suite, version, flavour } => {
                let what = format!("the lists of {suite}");
                let apt_lock = Lock::take(&self.lock(&format!("apt-{suite}")), || {
                    progress.event(&Event::Waiting { what });
                })?;
                let apt =
                    Apt::open(&self.state("apt").join(suite), &apt_lock, suite, text.clone())?;
                apt.update(progress)?;
                let packages = apt.resolve(version.as_deref(), flavour)?;
                let same = self.memos()?.into_values().find(|memo| memo.packages == packages);
                if let Some(Ok(kernel)) = same.and_then(|memo| self.intact(&memo.id)) {
                    return Ok((Gathered::Cached(Box::new(kernel)), packages));
                }
                let files =
                    apt.download(&packages, &staging.dir.path().join("packages"), progress)?;
                let listed = Some(packages.clone());
                (Parts::of_packages(&text, &files, listed, &unpacked, lock, progress)?, packages)
            }
            Source::Deb(files) => {
                (Parts::of_packages(&text, files, None, &unpacked, lock, progress)?, Vec::new())
            }
            Source::Tree(dir) => (Parts::of_tree(&text, dir)?, Vec::new()),
            Source::Image { image, modules, config } => {
                let (modules, config) = (modules.as_deref(), config.as_deref());
                (Parts::of_image(&text, image, modules, config)?, Vec::new())
            }
            Source::Host => (Parts::of_host(&text)?, Vec::new()),
        };
        Ok((Gathered::Parts(Box::new(parts)), packages))
    }

    /// Puts a finished directory in its place, after its content has reached the disk. If the same
    /// kernel is there from another source, that one serves.
    fn publish(&self, manifest: &Manifest, staging: &Staging) -> Result<Kernel> {
        let made = staging.dir.path().join("kernel");
        File::open(&made)
            .and_then(|dir| rustix::fs::syncfs(dir).map_err(Into::into))
            .doing("write to disk", &made)?;
        let place = self.root.join(&manifest.id);
        let _lock = self.change()?;
        let content = manifest.id.trim_start_matches(|c| c != '-');
        for id in self.ids()?.into_iter().filter(|id| id.ends_with(content)) {
            if let Some(Ok(same)) = self.intact(&id) {
                return Ok(same);
            }
        }
        if place.exists() {
            let trash = staging.dir.path().join("trash");
            fs::rename(&place, &trash).doing("replace", &place)?;
        }
        fs::rename(&made, &place).doing("store", &place)?;
        File::open(&self.root).and_then(|dir| dir.sync_all()).doing("write to disk", &self.root)?;
        self.open_checked(&manifest.id)
    }

    /// All cached kernels by id, the damaged ones too.
    ///
    /// # Errors
    ///
    /// If the cache cannot be read.
    pub fn list(&self) -> Result<Vec<Listed>> {
        let ids = self.ids()?.into_iter();
        Ok(ids
            .filter_map(|id| match self.intact(&id)? {
                Ok(kernel) => Some(Listed::Intact(Box::new(kernel))),
                Err(reason) => Some(Listed::Corrupt { id, reason }),
            })
            .collect())
    }

    /// The kernel that `query` means: an id or an unambiguous beginning of one, a source that was
    /// fetched before, or a version or release.
    ///
    /// # Errors
    ///
    /// If it means none, several, or a damaged one.
    pub fn get(&self, query: &str) -> Result<Kernel> {
        self.open_checked(&self.find(query)?)
    }

    /// Removes the kernel that `query` means, damaged or not, and tells its id. A VM that runs from
    /// it keeps the files it has open.
    ///
    /// # Errors
    ///
    /// If it means none or several, or cannot be removed.
    pub fn remove(&self, query: &str) -> Result<String> {
        let id = self.find(query)?;
        self.discard(&id)?;
        self.change_memos(|memos| memos.retain(|_, memo| memo.id != id))?;
        if self.default_id()?.as_deref() == Some(&id) {
            let path = self.root.join("default");
            fs::remove_file(&path).doing("remove", &path)?;
        }
        Ok(id)
    }

    /// The kernel that is used where none is named, if one was set.
    ///
    /// # Errors
    ///
    /// If it is damaged or was removed.
    pub fn default_kernel(&self) -> Result<Option<Kernel>> {
        self.default_id()?.map(|id| self.get(&id)).transpose()
    }

    /// Makes the kernel that `query` means the default.
    ///
    /// # Errors
    ///
    /// As for [`Store::get`], or if the choice cannot be written.
    pub fn set_default(&self, query: &str) -> Result<Kernel> {
        let kernel = self.get(query)?;
        write_atomic(&self.root.join("default"), format!("{}\n", kernel.id()).as_bytes())?;
        Ok(kernel)
    }

    fn default_id(&self) -> Result<Option<String>> {
        let path = self.root.join("default");
        match fs::read_to_string(&path) {
            Ok(text) => Ok(Some(text.trim().to_owned())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).doing("read", &path),
        }
    }

    /// Reads all files of a kernel and compares them with what was stored.
    ///
    /// # Errors
    ///
    /// If the kernel is not there, or one of its files is damaged.
    pub fn verify(&self, query: &str) -> Result<Kernel> {
        let kernel = self.get(query)?;
        match kernel.check_content() {
            Ok(()) => Ok(kernel),
            Err(reason) => Err(self.corrupt(kernel.id(), reason)),
        }
    }

    /// The cached kernels that meet all of `needs`.
    ///
    /// # Errors
    ///
    /// If the cache cannot be read.
    pub fn who_has(&self, needs: &[Need]) -> Result<Vec<Kernel>> {
        let mut found = Vec::new();
        for kernel in self.kernels()? {
            if kernel.missing(needs)?.is_empty() {
                found.push(kernel);
            }
        }
        Ok(found)
    }

    fn kernels(&self) -> Result<Vec<Kernel>> {
        let intact = |listed| match listed {
            Listed::Intact(kernel) => Some(*kernel),
            Listed::Corrupt { .. } => None,
        };
        Ok(self.list()?.into_iter().filter_map(intact).collect())
    }

    fn ids(&self) -> Result<Vec<String>> {
        let mut ids: Vec<String> = fs::read_dir(&self.root)
            .doing("list", &self.root)?
            .filter_map(|entry| {
                let entry = entry.ok()?;
                let name = entry.file_name().into_string().ok()?;
                (entry.file_type().ok()?.is_dir() && is_file_name(&name)).then_some(name)
            })
            .collect();
        ids.sort();
        Ok(ids)
    }

    /// The id that `query` means.
    fn find(&self, query: &str) -> Result<String> {
        let ids = self.ids()?;
        if ids.iter().any(|id| id == query) {
            return Ok(query.to_owned());
        }
        if let Ok(source) = query.parse::<Source>()
            && let Some(memo) = self.memos()?.get(&source.absolute().to_string())
            && ids.contains(&memo.id)
        {
            return Ok(memo.id.clone());
        }
        let kernels = self.kernels()?;
        let by_version = |fits: &dyn Fn(&Manifest) -> bool| {
            let fitting = kernels.iter().filter(|kernel| fits(kernel.manifest()));
            fitting.map(|kernel| kernel.id().to_owned()).collect::<Vec<_>>()
        };
        let by_prefix =
            || ids.iter().filter(|id| id.starts_with(query)).cloned().collect::<Vec<_>>();
        let candidates = [
            by_version(&|manifest| manifest.version == query || manifest.release == query),
            if query.is_empty() { Vec::new() } else { by_prefix() },
            by_version(&|manifest| {
                !query.is_empty() && version_starts_with(&manifest.version, query)
            }),
        ];
        let mut found = candidates.into_iter().find(|found| !found.is_empty()).unwrap_or_default();
        match found.len() {
            1 => Ok(found.remove(0)),
            0 => {
                let closest = closest(query, ids.iter().map(String::as_str)).map(str::to_owned);
                Err(Error::NotFound { query: query.to_owned(), closest, cached: ids })
            }
            _ => Err(Error::Ambiguous { query: query.to_owned(), ids: found }),
        }
    }

    /// The kernel of that id if its directory is there; `Err` says what is wrong with it.
    fn intact(&self, id: &str) -> Option<Result<Kernel, String>> {
        let dir = self.root.join(id);
        dir.is_dir().then(|| {
            let kernel = Kernel::open(&dir)?;
            kernel.check_sizes()?;
            Ok(kernel)
        })
    }

    fn open_checked(&self, id: &str) -> Result<Kernel> {
        match self.intact(id) {
            Some(Ok(kernel)) => Ok(kernel),
            Some(Err(reason)) => Err(self.corrupt(id, reason)),
            None => {
                Err(Error::NotFound { query: id.to_owned(), closest: None, cached: self.ids()? })
            }
        }
    }

    fn corrupt(&self, id: &str, reason: String) -> Error {
        let memos = self.memos().unwrap_or_default();
        let source = memos.into_iter().find(|(_, memo)| memo.id == id).map(|(source, _)| source);
        Error::Corrupt {
            id: id.to_owned(),
            reason,
            fetch: source.unwrap_or_else(|| "its source".into()),
        }
    }

    /// Takes a kernel's directory away at once, then deletes it.
    fn discard(&self, id: &str) -> Result<()> {
        let staging = self.staging()?;
        let _lock = self.change()?;
        let place = self.root.join(id);
        fs::rename(&place, staging.dir.path().join("trash")).doing("remove", &place)
    }

    fn state(&self, name: &str) -> PathBuf {
        self.root.join(".state").join(name)
    }

    fn lock(&self, name: &str) -> PathBuf {
        self.state("locks").join(name)
    }

    /// The lock for every change to the cache itself; held for moments only.
    fn change(&self) -> Result<Lock> {
        Lock::take(&self.lock("store"), || {})
    }

    fn memos(&self) -> Result<Memos> {
        let path = self.state("sources.json");
        match fs::read(&path) {
            // What was fetched from where is found out again if this file is damaged.
            Ok(bytes) => Ok(serde_json::from_slice(&bytes).unwrap_or_default()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Memos::new()),
            Err(error) => Err(error).doing("read", &path),
        }
    }

    fn change_memos(&self, change: impl FnOnce(&mut Memos)) -> Result<()> {
        let _lock = self.change()?;
        let mut memos = self.memos()?;
        change(&mut memos);
        let text = serde_json::to_vec_pretty(&memos).unwrap_or_default();
        write_atomic(&self.state("sources.json"), &text)
    }

    fn staging(&self) -> Result<Staging> {
        let root = self.state("staging");
        let _lock = self.change()?;
        fs::create_dir_all(&root).doing("create", &root)?;
        let dir =
            tempfile::Builder::new().prefix("fetch-").tempdir_in(&root).doing("create", &root)?;
        let lock = Lock::take(&dir.path().join("lock"), || {})?;
        Ok(Staging { dir, lock })
    }

    /// Removes what killed fetches left.
    fn sweep(&self) -> Result<()> {
        let root = self.state("staging");
        let _lock = self.change()?;
        let Ok(entries) = fs::read_dir(&root) else { return Ok(()) };
        for path in entries.filter_map(|entry| Some(entry.ok()?.path())) {
            // What cannot be removed now may just be going away; if not, it is the next fetch's.
            if let Ok(Some(_stale)) = Lock::try_take(&path.join("lock")) {
                let _ = fs::remove_dir_all(&path);
            }
        }
        Ok(())
    }
}

enum Gathered {
    /// The same packages are in the cache.
    Cached(Box<Kernel>),
    Parts(Box<Parts>),
}

impl Listed {
    /// The id.
    #[must_use]
    pub fn id(&self) -> &str {
        match self {
            Self::Intact(kernel) => kernel.id(),
            Self::Corrupt { id, .. } => id,
        }
    }
}

/// The state of the files that a source names, or nothing if they are not (all) there.
fn inputs(source: &Source) -> Option<String> {
    let mut paths = source.inputs();
    if *source == Source::Host {
        paths = vec![format!("/boot/vmlinuz-{}", host_release().ok()?).into()];
    }
    let mut hasher = blake3::Hasher::new();
    let mut any = false;
    for path in paths {
        let Ok(found) = fs::metadata(&path) else { continue };
        any = true;
        let modified = found.modified().ok()?.duration_since(UNIX_EPOCH).unwrap_or_default();
        hasher.update(
            format!("{} {} {}\n", path.display(), found.len(), modified.as_nanos()).as_bytes(),
        );
    }
    any.then(|| hasher.finalize().to_hex()[..16].to_owned())
}

/// Replaces a file in one step.
fn write_atomic(path: &Path, bytes: &[u8]) -> Result<()> {
    let dir = path.parent().unwrap_or(path);
    let mut file =
        tempfile::Builder::new().prefix(".new-").tempfile_in(dir).doing("write in", dir)?;
    file.write_all(bytes).and_then(|()| file.as_file().sync_all()).doing("write", path)?;
    file.persist(path).map_err(|error| error.error).doing("write", path)?;
    Ok(())
}
