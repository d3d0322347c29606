//! Locks between processes.

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};
use std::{io, thread};

use crate::error::{Context, Result};

/// How long somebody else's work is waited for: a fetch over a slow line.
const LIMIT: Duration = Duration::from_secs(30 * 60);
/// How often it is looked whether it is over.
const PACE: Duration = Duration::from_millis(50);

/// An exclusive `flock`, held until it is dropped and every child that shares it has ended.
#[derive(Debug)]
pub(crate) struct Lock {
    file: File,
    path: PathBuf,
}

impl Lock {
    /// Takes the lock; calls `waiting` once if somebody else holds it, and gives up after half an hour.
    pub(crate) fn take(path: &Path, waiting: impl FnOnce()) -> Result<Self> {
        if let Some(lock) = Self::try_take(path)? {
            return Ok(lock);
        }
        waiting();
        let deadline = Instant::now() + LIMIT;
        while Instant::now() < deadline {
            thread::sleep(PACE);
            if let Some(lock) = Self::try_take(path)? {
                return Ok(lock);
            }
        }
        let minutes = LIMIT.as_secs() / 60;
        let held = format!(
            "another process has held it for {minutes} minutes; see `fuser {}`",
            path.display()
        );
        Err(io::Error::new(io::ErrorKind::TimedOut, held)).doing("lock", path)
    }

    /// Takes the lock if nobody holds it.
    pub(crate) fn try_take(path: &Path) -> Result<Option<Self>> {
        let file = open(path)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Self { file, path: path.to_owned() })),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(source)) => Err(source).doing("lock", path),
        }
    }

    /// The same lock for a child, to hold as its standard input.
    pub(crate) fn share(&self) -> Result<Stdio> {
        Ok(self.file.try_clone().doing("share the lock", &self.path)?.into())
    }
}

fn open(path: &Path) -> Result<File> {
    if let Some(dir) = path.parent() {
        fs::create_dir_all(dir).doing("create", dir)?;
    }
    File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .read(true)
        .open(path)
        .doing("open", path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_is_held_once_and_by_children_too() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("locks/a");
        let lock = Lock::try_take(&path).unwrap().unwrap();
        assert!(Lock::try_take(&path).unwrap().is_none());
        let mut child = std::process::Command::new("sleep")
            .arg("60")
            .stdin(lock.share().unwrap())
            .spawn()
            .unwrap();
        drop(lock);
        assert!(Lock::try_take(&path).unwrap().is_none(), "the child holds it");
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(Lock::try_take(&path).unwrap().is_some());
    }
}
