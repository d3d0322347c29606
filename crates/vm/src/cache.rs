//! The directory in which templates are kept.
//!
//! `templates/KEY/` holds a template, `templates/.KEY.PID.N/` one that is being
//! made, `locks/KEY` is locked by whoever makes it. Whoever uses a template, or is
//! making it, holds a lock on its directory.

use crate::error::Error;
use crate::template::TemplateInfo;
use rustix::fs::{FlockOperation, flock, statvfs};
use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

/// How long somebody else may take to make a template, and how often it is looked whether he has.
const LOCK_LIMIT: Duration = Duration::from_secs(10 * 60);
const LOCK_PACE: Duration = Duration::from_millis(20);

/// A cache of templates.
#[derive(Clone, Debug)]
pub struct Cache {
    root: PathBuf,
}

/// A template in the cache, and what it takes.
#[derive(Clone, Debug)]
pub struct Usage {
    /// What it says of itself.
    pub info: TemplateInfo,
    /// Where it lies.
    pub directory: PathBuf,
    /// Bytes on disk.
    pub bytes: u64,
    /// When it was used last.
    pub used: SystemTime,
}

/// A template in the making. It is removed when this is dropped, and by the next
/// clean-up should this process not live to do so.
#[derive(Debug)]
pub(crate) struct Staging {
    path: PathBuf,
    target: PathBuf,
    key: String,
    _lock: File,
}

impl Cache {
    /// The cache in `root`, which is made when it is missing.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn open(root: &Path) -> Result<Cache, Error> {
        for directory in ["templates", "locks"] {
            let path = root.join(directory);
            fs::create_dir_all(&path)
                .map_err(|e| Error::io(format!("create {}", path.display()), e))?;
        }
        Ok(Cache { root: root.to_owned() })
    }

    /// Where it lies.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where the template with a key lies, or would.
    pub(crate) fn template(&self, key: &str) -> PathBuf {
        self.root.join("templates").join(key)
    }

    /// Locks a key against others who would make the same template; `wait` is called
    /// when somebody else is at it. They get ten minutes.
    pub(crate) fn lock(&self, key: &str, wait: impl FnOnce()) -> Result<File, Error> {
        let path = self.root.join("locks").join(key);
        let cannot = |error| Error::io(format!("lock {}", path.display()), error);
        let file = File::create(&path).map_err(cannot)?;
        if file.try_lock().is_ok() {
            return Ok(file);
        }
        wait();
        let deadline = Instant::now() + LOCK_LIMIT;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(file),
                Err(TryLockError::Error(error)) => return Err(cannot(error)),
                Err(TryLockError::WouldBlock) if Instant::now() < deadline => {
                    thread::sleep(LOCK_PACE);
                }
                Err(TryLockError::WouldBlock) => {
                    let minutes = LOCK_LIMIT.as_secs() / 60;
                    let held = format!("another process has held it for {minutes} minutes");
                    return Err(cannot(io::Error::new(io::ErrorKind::TimedOut, held)));
                }
            }
        }
    }

    /// Starts a template, given that its key is locked and `needed_mib` is free.
    pub(crate) fn stage(&self, key: &str, needed_mib: u64) -> Result<Staging, Error> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let free_mib = self.free_mib()?;
        if free_mib < needed_mib {
            return Err(Error::NoSpace { place: self.root.clone(), free_mib, needed_mib });
        }
        let target = self.template(key);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!(".{key}.{}.{number}", std::process::id());
        let path = target.with_file_name(name);
        let cannot = |error| Error::io(format!("create {}", path.display()), error);
        fs::create_dir(&path).map_err(cannot)?;
        let lock = File::open(&path).map_err(cannot)?;
        flock(&lock, FlockOperation::LockExclusive).map_err(|e| cannot(e.into()))?;
        Ok(Staging { path, target, key: key.to_owned(), _lock: lock })
    }

    /// Whether there is next to no room left.
    pub(crate) fn is_full(&self) -> bool {
        self.free_mib().is_ok_and(|free_mib| free_mib < 16)
    }

    /// The error for a template that found no room.
    pub(crate) fn no_space(&self, needed_mib: u64) -> Error {
        let free_mib = self.free_mib().unwrap_or(0);
        Error::NoSpace { place: self.root.clone(), free_mib, needed_mib }
    }

    fn free_mib(&self) -> Result<u64, Error> {
        let space = statvfs(&self.root).map_err(|e| {
            Error::io(format!("ask {} for its space", self.root.display()), e.into())
        })?;
        Ok(space.f_bavail.saturating_mul(space.f_frsize) >> 20)
    }

    /// The templates, the most recently used first.
    ///
    /// # Errors
    /// When the directory cannot be read.
    pub fn list(&self) -> Result<Vec<Usage>, Error> {
        let mut found = Vec::new();
        for directory in self.directories()?.into_iter().filter(|path| !is_staging(path)) {
            let Ok(info) = TemplateInfo::read(&directory) else { continue };
            let bytes = info.disk_bytes(&directory);
            let used = fs::metadata(&directory).and_then(|metadata| metadata.modified());
            found.push(Usage {
                info,
                bytes,
                used: used.unwrap_or(SystemTime::UNIX_EPOCH),
                directory,
            });
        }
        found.sort_by_key(|usage| std::cmp::Reverse(usage.used));
        Ok(found)
    }

    /// Removes a template, unless somebody uses it; returns whether it did.
    ///
    /// # Errors
    /// When it cannot be removed.
    pub fn remove(&self, key: &str) -> Result<bool, Error> {
        self.remove_directory(&self.template(key))
    }

    /// Removes what a killed process left behind and what is damaged, then the least
    /// recently used templates until the rest takes at most `limit_bytes`. Returns
    /// how many bytes it freed of the latter. What is in use stays.
    ///
    /// # Errors
    /// When the directory cannot be read or something cannot be removed.
    pub fn collect(&self, limit_bytes: u64) -> Result<u64, Error> {
        for directory in self.directories()? {
            if is_staging(&directory) || TemplateInfo::read(&directory).is_err() {
                self.remove_directory(&directory)?;
            }
        }
        let mut list = self.list()?;
        let mut total: u64 = list.iter().map(|usage| usage.bytes).sum();
        let mut freed = 0;
        while total > limit_bytes {
            let Some(oldest) = list.pop() else { break };
            if self.remove_directory(&oldest.directory)? {
                total -= oldest.bytes;
                freed += oldest.bytes;
            }
        }
        Ok(freed)
    }

    fn directories(&self) -> Result<Vec<PathBuf>, Error> {
        let path = self.root.join("templates");
        let entries = fs::read_dir(&path)
            .and_then(Iterator::collect::<io::Result<Vec<_>>>)
            .map_err(|e| Error::io(format!("read {}", path.display()), e))?;
        Ok(entries.into_iter().map(|entry| entry.path()).collect())
    }

    fn remove_directory(&self, path: &Path) -> Result<bool, Error> {
        let Ok(directory) = File::open(path) else { return Ok(false) };
        if flock(&directory, FlockOperation::NonBlockingLockExclusive).is_err() {
            return Ok(false);
        }
        match fs::remove_dir_all(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(Error::io(format!("remove {}", path.display()), error))
            }
            _ => Ok(true),
        }
    }
}

impl Staging {
    /// Where to put the files.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The key of the template it will be.
    pub(crate) fn key(&self) -> &str {
        &self.key
    }

    /// Gives the directory the template's name, in place of a damaged one.
    pub(crate) fn publish(self) -> Result<(), Error> {
        if self.target.exists() {
            fs::remove_dir_all(&self.target)
                .map_err(|e| Error::io(format!("remove {}", self.target.display()), e))?;
        }
        fs::rename(&self.path, &self.target)
            .map_err(|e| Error::io(format!("rename {}", self.path.display()), e))
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        // Gone already when it has been published.
        let _ = fs::remove_dir_all(&self.path);
    }
}

fn is_staging(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_published_is_gone_and_what_is_in_use_stays() {
        let root = tempfile::tempdir().unwrap();
        let cache = Cache::open(root.path()).unwrap();
        let staging = cache.stage("k", 0).unwrap();
        let path = staging.path().to_owned();
        assert!(path.exists());
        // A clean-up leaves alone what somebody is making.
        cache.collect(0).unwrap();
        assert!(path.exists());
        drop(staging);
        assert!(!path.exists());
        // What a killed process left has no lock.
        fs::create_dir(root.path().join("templates/.k.1.1")).unwrap();
        fs::create_dir(root.path().join("templates/damaged")).unwrap();
        cache.collect(u64::MAX).unwrap();
        assert_eq!(fs::read_dir(root.path().join("templates")).unwrap().count(), 0);
    }

    #[test]
    fn a_full_file_system_is_an_error_beforehand() {
        let root = tempfile::tempdir().unwrap();
        let cache = Cache::open(root.path()).unwrap();
        let error = cache.stage("k", u64::MAX).unwrap_err();
        assert!(matches!(error, Error::NoSpace { .. }), "{error}");
        assert_eq!(fs::read_dir(root.path().join("templates")).unwrap().count(), 0);
    }
}
