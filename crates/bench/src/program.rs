//! Which programs rows use, and whether they are still the same.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::env;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use crate::cell::Cell;
use crate::environment::Program;
use crate::matrix::words_of_run;

/// Where a program is: as it stands when it is a path, else in `PATH`, as a shell would find it.
pub(crate) fn resolve(program: &str, base: &Path) -> io::Result<PathBuf> {
    if program.contains('/') {
        return Ok(base.join(program));
    }
    let path = env::var_os("PATH").unwrap_or_default();
    let is_program = |path: &PathBuf| {
        fs::metadata(path).is_ok_and(|facts| facts.is_file() && facts.mode() & 0o111 != 0)
    };
    let found = env::split_paths(&path).map(|directory| directory.join(program)).find(is_program);
    let missing = || io::Error::new(io::ErrorKind::NotFound, format!("PATH has no `{program}`"));
    found.ok_or_else(missing)
}

/// The programs of rows, and the files that their arguments name, such as scripts.
#[derive(Debug)]
pub(crate) struct Programs(BTreeMap<PathBuf, (Stamp, String)>);

/// What changes when a file is written to or replaced: device, inode, size, and change time.
type Stamp = (u64, u64, u64, i64, i64);

impl Programs {
    /// Finds and hashes them.
    pub(crate) fn of(cells: &[Cell], base: &Path) -> Result<Self, (PathBuf, io::Error)> {
        let mut programs = BTreeMap::new();
        for cell in cells {
            let words = words_of_run(&cell.work.words, Path::new("/nonexistent"), "service");
            for command in
                [Some(&cell.work.client), cell.work.server.as_ref()].into_iter().flatten()
            {
                // A matrix is checked, so this does not fail.
                let Ok(words) = command.expand(&words) else { continue };
                let Some((program, arguments)) = words.split_first() else { continue };
                let path = resolve(program, base).map_err(|error| (program.into(), error))?;
                let files = arguments.iter().map(|argument| base.join(argument));
                let files = files.filter(|file| file.is_file());
                for path in [path].into_iter().chain(files) {
                    if let Entry::Vacant(vacant) = programs.entry(path) {
                        let facts = facts(vacant.key());
                        let facts = facts.map_err(|error| (vacant.key().clone(), error))?;
                        vacant.insert(facts);
                    }
                }
            }
        }
        Ok(Self(programs))
    }

    /// What is kept of them in a run.
    pub(crate) fn list(&self) -> Vec<Program> {
        let program = |(path, (_, hash)): (&PathBuf, &(Stamp, String))| Program {
            path: path.clone(),
            hash: hash.clone(),
        };
        self.0.iter().map(program).collect()
    }

    /// One that is no longer what it was.
    pub(crate) fn changed(&self) -> Option<&Path> {
        let is_changed = |path: &Path, before: Stamp| {
            fs::metadata(path).map_or(true, |facts| stamp(&facts) != before)
        };
        let changed = self.0.iter().find(|(path, (before, _))| is_changed(path, *before));
        changed.map(|(path, _)| path.as_path())
    }
}

fn stamp(facts: &fs::Metadata) -> Stamp {
    (facts.dev(), facts.ino(), facts.size(), facts.ctime(), facts.ctime_nsec())
}

fn facts(path: &Path) -> io::Result<(Stamp, String)> {
    let file = File::open(path)?;
    let stamp = stamp(&file.metadata()?);
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(file)?;
    Ok((stamp, hasher.finalize().to_hex().to_string()))
}
