//! Reading records back, one or a directory of them.

use std::fmt;
use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use crate::directory::{is_record_name, said_path};
use crate::record::{ParseError, Record};
use crate::said::{Digest, Said, SaidError};

/// Larger files are not read: no record comes near it.
const FILE_BYTES_MAX: u64 = 64 << 20;

/// Reads the record in the file `path`.
///
/// # Errors
///
/// [`ReadError::Unreadable`] when the file cannot be read, [`ReadError::Unparsable`] when what is
/// in it is no record or one of another major format.
pub fn read(path: &Path) -> Result<Record, ReadError> {
    let bytes = read_file(path)?;
    Record::from_json(&bytes)
        .map_err(|source| ReadError::Unparsable { path: path.to_path_buf(), source })
}

/// Reads what the guest said in the run whose record is in `record_path` and has this `digest`.
///
/// # Errors
///
/// [`ReadError`] when the file beside the record cannot be read, is damaged, or belongs to another
/// run.
pub fn read_said(record_path: &Path, digest: &Digest) -> Result<Said, ReadError> {
    let path = said_path(record_path);
    let text = String::from_utf8_lossy(&read_file(&path)?).into_owned();
    match text.parse::<Said>() {
        Ok(said) if said.total() == digest.total => Ok(said),
        Ok(_) => Err(ReadError::SaidOfAnother { path }),
        Err(source) => Err(ReadError::Said { path, source }),
    }
}

fn read_file(path: &Path) -> Result<Vec<u8>, ReadError> {
    let read = || {
        // A pipe would be waited for.
        if !fs::metadata(path)?.is_file() {
            return Err(io::Error::other("not a regular file"));
        }
        let mut bytes = Vec::new();
        fs::File::open(path)?.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > FILE_BYTES_MAX {
            return Err(io::Error::other("larger than 64 MiB, which no record is"));
        }
        Ok(bytes)
    };
    read().map_err(|source| ReadError::Unreadable { path: path.to_path_buf(), source })
}

/// Reads all records in `directory` and in the directories right in it, which may so be a run
/// directory or the root of all. Files that are not named like a record are passed over.
///
/// Nothing makes this stop: what cannot be read, `directory` itself included, is in the answer.
pub fn read_all(directory: &Path) -> Collected {
    let mut collected = Collected::default();
    for path in list(directory, &mut collected) {
        if path.is_dir() {
            let files = list(&path, &mut collected).into_iter().filter(|path| !path.is_dir());
            files.for_each(|path| collected.read(path));
        } else {
            collected.read(path);
        }
    }
    collected
}

/// What is in `directory` and not hidden, in the order of names.
fn list(directory: &Path, collected: &mut Collected) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).and_then(Iterator::collect::<io::Result<Vec<_>>>);
    match entries {
        Ok(mut entries) => {
            entries.sort_by_key(fs::DirEntry::file_name);
            entries.retain(|entry| !entry.file_name().as_encoded_bytes().starts_with(b"."));
            entries.iter().map(fs::DirEntry::path).collect()
        }
        Err(source) => {
            let path = directory.to_path_buf();
            collected.unreadable.push(ReadError::Unreadable { path, source });
            Vec::new()
        }
    }
}

/// What [`read_all`] found. `Display` counts it: `12 records, 1 unreadable, 2 unparsable`.
#[derive(Debug, Default)]
pub struct Collected {
    /// The records with their files, in the order of paths.
    pub records: Vec<(PathBuf, Record)>,
    /// Files and directories that could not be read.
    pub unreadable: Vec<ReadError>,
    /// Files that were read and are no record that this belljar reads.
    pub unparsable: Vec<ReadError>,
}

impl Collected {
    fn read(&mut self, path: PathBuf) {
        if !path.file_name().and_then(|name| name.to_str()).is_some_and(is_record_name) {
            return;
        }
        match read(&path) {
            Ok(record) => self.records.push((path, record)),
            Err(error @ ReadError::Unreadable { .. }) => self.unreadable.push(error),
            Err(error) => self.unparsable.push(error),
        }
    }
}

impl fmt::Display for Collected {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plural = if self.records.len() == 1 { "" } else { "s" };
        write!(out, "{} record{plural}", self.records.len())?;
        for (count, word) in
            [(self.unreadable.len(), "unreadable"), (self.unparsable.len(), "unparsable")]
        {
            if count > 0 {
                write!(out, ", {count} {word}")?;
            }
        }
        Ok(())
    }
}

/// Why a record was not read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The file could not be read.
    #[error("could not read {path}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// What is in the file is no record that this belljar reads.
    #[error("could not understand {path}")]
    Unparsable {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: ParseError,
    },
    /// What the guest said is damaged.
    #[error("could not understand {path}")]
    Said {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: SaidError,
    },
    /// What the guest said belongs to another run than the record.
    #[error("{path} belongs to another run than the record beside it")]
    SaidOfAnother {
        /// The file.
        path: PathBuf,
    },
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;

    use super::*;
    use crate::directory::Directory;
    use crate::testing;

    #[test]
    fn bad_files_are_counted_and_stop_nothing() {
        let root = tempfile::tempdir().unwrap();
        let directory = Directory::new(root.path(), None, &Default::default());
        let whole = directory.write(&testing::failed(), None).unwrap();
        directory.write(&testing::passed(), None).unwrap();
        let json = fs::read(&whole).unwrap();
        let file = |digit: char| {
            let name = format!("t.base.{}.json", digit.to_string().repeat(16));
            directory.path().join(name)
        };
        fs::write(file('1'), &json[..json.len() / 2]).unwrap();
        fs::write(file('2'), [0xFF; 100]).unwrap();
        fs::write(file('3'), r#"{"format":{"major":9,"minor":0}}"#).unwrap();
        fs::File::create(file('4')).unwrap().set_len(FILE_BYTES_MAX + 1).unwrap();
        std::os::unix::fs::symlink("nowhere", file('5')).unwrap();
        fs::create_dir(file('6')).unwrap();
        fs::write(directory.path().join("junit.json"), "{}").unwrap();

        for directory in [root.path(), directory.path()] {
            let collected = read_all(directory);
            assert_eq!(collected.to_string(), "2 records, 2 unreadable, 3 unparsable");
            assert_eq!(collected.records[1].0, whole);
            let newer = collected.unparsable[2].source().unwrap().to_string();
            assert!(newer.contains("format 9.0") && newer.contains("another version"), "{newer}");
        }
        assert!(matches!(read(&file('6')), Err(ReadError::Unreadable { .. })));
        assert_eq!(read_all("/no/such".as_ref()).to_string(), "0 records, 1 unreadable");
    }

    #[test]
    fn what_another_run_said_is_not_taken_for_this_ones() {
        let root = tempfile::tempdir().unwrap();
        let directory = Directory::new(root.path(), None, &Default::default());
        let path = directory.write(&testing::failed(), Some(&testing::said())).unwrap();
        let (digest, _) = crate::Transcript::new().finish(b"");
        assert!(matches!(read_said(&path, &digest), Err(ReadError::SaidOfAnother { .. })));
        fs::write(said_path(&path), [0xFF]).unwrap();
        assert!(matches!(read_said(&path, &digest), Err(ReadError::Said { .. })));
    }
}
