//! Templates: machines at rest, on disk.
//!
//! A template is a directory: the memory of each node (`ram0`, ...), the devices
//! (`state`), a stand-in for the kernel (`stub`) and what it is (`template.json`).
//! The directory's name is the hash of everything that shaped it. It is written
//! under another name and renamed when it is whole.

use crate::cache::{Cache, Staging};
use crate::error::Error;
use crate::machine::Machine;
use crate::vm::{STATE_FILE, STUB_FILE};
use rustix::fs::{FlockOperation, SeekFrom, copy_file_range, flock, seek};
use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

pub(crate) const INFO_FILE: &str = "template.json";
const FORMAT: u32 = 2;

/// A machine at rest, ready to be forked. While this exists the cache does not
/// throw the template away.
#[derive(Debug)]
pub struct Template {
    directory: PathBuf,
    machine: Machine,
    key: String,
    /// Holds a shared lock.
    _in_use: File,
}

/// What a template says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TemplateInfo {
    format: u32,
    /// Its key: 32 hexadecimal digits.
    pub key: String,
    /// The key of the template it was made from, if it was.
    pub base: Option<String>,
    /// The machine, for people.
    pub machine: String,
    /// What is in it, for people: `agent` or the payload's name.
    pub contents: String,
    /// How long it took to make.
    pub made_in_ms: u64,
    files: Vec<FileInfo>,
    /// The host's boot in which the files were hashed last.
    #[serde(default)]
    verified_in_boot: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct FileInfo {
    name: String,
    bytes: u64,
    hash: String,
    /// Change time of the file when it was hashed, in nanoseconds.
    changed_ns: i128,
}

impl Template {
    /// Opens the template in `directory`, or says what is wrong with it.
    pub(crate) fn open(
        cache: &Cache,
        machine: &Machine,
        key: &str,
    ) -> Result<Option<Template>, String> {
        let directory = cache.template(key);
        let in_use = match File::open(&directory) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.to_string()),
        };
        flock(&in_use, FlockOperation::LockShared).map_err(|error| error.to_string())?;
        let mut info = TemplateInfo::read(&directory)?;
        if info.key != key {
            return Err(format!("it says that it is {}", info.key));
        }
        info.verify(&directory)?;
        // The least recently used are thrown away first.
        let _ = in_use.set_modified(SystemTime::now());
        Ok(Some(Template {
            directory,
            machine: machine.clone(),
            key: key.to_owned(),
            _in_use: in_use,
        }))
    }

    /// Where it lies.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The machine.
    pub fn machine(&self) -> &Machine {
        &self.machine
    }

    /// Its key.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// Copies the memory into a staging directory, for a layer on top.
    pub(crate) fn copy_memory(&self, staging: &Path) -> Result<(), Error> {
        for from in self.machine.memory_files(&self.directory) {
            let to = staging.join(from.file_name().unwrap_or_default());
            copy_sparse(&from, &to).map_err(|error| {
                Error::io(format!("copy {} to {}", from.display(), to.display()), error)
            })?;
        }
        Ok(())
    }
}

impl TemplateInfo {
    /// Reads what the template in a directory says of itself.
    pub(crate) fn read(directory: &Path) -> Result<TemplateInfo, String> {
        let bytes = fs::read(directory.join(INFO_FILE)).map_err(|error| error.to_string())?;
        let info: TemplateInfo = serde_json::from_slice(&bytes).map_err(|e| e.to_string())?;
        if info.format != FORMAT {
            return Err(format!("it has format {}, and this is {FORMAT}", info.format));
        }
        Ok(info)
    }

    /// Hashes the files of a template that has just been made, writes the info beside
    /// them and gives the directory its name.
    pub(crate) fn finish(
        staging: Staging,
        machine: &Machine,
        base: Option<&Template>,
        contents: &str,
        made_in_ms: u64,
    ) -> Result<(), Error> {
        let directory = staging.path();
        let mut paths = machine.memory_files(directory);
        paths.extend([STATE_FILE, STUB_FILE].map(|name| directory.join(name)));
        let files = paths.iter().map(|path| FileInfo::of(path)).collect::<io::Result<_>>();
        let info = TemplateInfo {
            format: FORMAT,
            key: staging.key().to_owned(),
            base: base.map(|base| base.key.clone()),
            machine: machine.describe(),
            contents: contents.to_owned(),
            made_in_ms,
            files: files.map_err(|e| Error::io("hash a template's files", e))?,
            verified_in_boot: boot_id(),
        };
        info.write(directory)?;
        staging.publish()
    }

    fn write(&self, directory: &Path) -> Result<(), Error> {
        let text = serde_json::to_vec_pretty(self).expect("it has no maps with odd keys");
        let path = directory.join(INFO_FILE);
        let new = directory.join(format!("{INFO_FILE}.{}", std::process::id()));
        fs::write(&new, text)
            .and_then(|()| fs::rename(&new, &path))
            .map_err(|e| Error::io(format!("write {}", path.display()), e))
    }

    /// Checks the files: sizes and change times always, contents when the host has
    /// been booted since they were hashed last or when something touched a file.
    fn verify(&mut self, directory: &Path) -> Result<(), String> {
        let boot = boot_id();
        let mut hashed = false;
        for file in &mut self.files {
            let path = directory.join(&file.name);
            let metadata = fs::metadata(&path).map_err(|e| format!("{}: {e}", file.name))?;
            if metadata.len() != file.bytes {
                let len = metadata.len();
                return Err(format!("{} has {len} bytes, not {}", file.name, file.bytes));
            }
            if boot == self.verified_in_boot && changed_ns(&metadata) == file.changed_ns {
                continue;
            }
            let now = FileInfo::of(&path).map_err(|e| format!("{}: {e}", file.name))?;
            if now.hash != file.hash {
                return Err(format!("{} has been damaged", file.name));
            }
            *file = now;
            hashed = true;
        }
        if hashed {
            self.verified_in_boot = boot;
            let _ = self.write(directory);
        }
        Ok(())
    }

    /// Bytes on disk.
    pub fn disk_bytes(&self, directory: &Path) -> u64 {
        let blocks = |file: &FileInfo| fs::metadata(directory.join(&file.name)).map(|m| m.blocks());
        self.files.iter().filter_map(|file| blocks(file).ok()).sum::<u64>() * 512
    }
}

/// A page of zeros: comparing with it is fast even where nothing is optimised.
const ZEROS: [u8; 4096] = [0; 4096];

impl FileInfo {
    fn of(path: &Path) -> io::Result<FileInfo> {
        let file = File::open(path)?;
        let metadata = file.metadata()?;
        let mut hasher = blake3::Hasher::new();
        let mut buffer = vec![0; 1 << 20];
        // A machine's memory is mostly holes, and where they begin and end is up to
        // the file system: pages of zeros count for nothing.
        for (start, end) in data_ranges(&file, metadata.len())? {
            let mut at = start;
            while at < end {
                // Cut at round places, wherever this range began.
                let len = buffer.len() as u64;
                let want = (end - at).min(len - at % len) as usize;
                file.read_exact_at(&mut buffer[..want], at)?;
                hash_runs(&mut hasher, at, &buffer[..want]);
                at += want as u64;
            }
        }
        Ok(FileInfo {
            name: path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            bytes: metadata.len(),
            hash: hasher.finalize().to_hex().to_string(),
            changed_ns: changed_ns(&metadata),
        })
    }
}

/// Hashes every run of pages that are not all zeros, with its place in the file.
fn hash_runs(hasher: &mut blake3::Hasher, at: u64, bytes: &[u8]) {
    let mut pages = bytes.chunks(ZEROS.len()).enumerate().peekable();
    while let Some((first, page)) = pages.next() {
        if page == &ZEROS[..page.len()] {
            continue;
        }
        let start = first * ZEROS.len();
        let mut end = start + page.len();
        while let Some((_, page)) = pages.next_if(|(_, page)| *page != &ZEROS[..page.len()]) {
            end += page.len();
        }
        hasher.update(&(at + start as u64).to_le_bytes());
        hasher.update(&(end as u64 - start as u64).to_le_bytes());
        hasher.update(&bytes[start..end]);
    }
}

fn changed_ns(metadata: &fs::Metadata) -> i128 {
    i128::from(metadata.ctime()) * 1_000_000_000 + i128::from(metadata.ctime_nsec())
}

/// The ranges of a file that hold data.
fn data_ranges(file: &File, len: u64) -> io::Result<Vec<(u64, u64)>> {
    let mut ranges = Vec::new();
    let mut at = 0;
    while at < len {
        let start = match seek(file, SeekFrom::Data(at)) {
            Ok(start) => start,
            Err(rustix::io::Errno::NXIO) => break,
            Err(error) => return Err(error.into()),
        };
        let end = seek(file, SeekFrom::Hole(start))?;
        ranges.push((start, end));
        at = end;
    }
    Ok(ranges)
}

fn copy_sparse(from: &Path, to: &Path) -> io::Result<()> {
    let (source, target) = (File::open(from)?, File::create_new(to)?);
    let len = source.metadata()?.len();
    target.set_len(len)?;
    for (start, end) in data_ranges(&source, len)? {
        let (mut at, mut written) = (start, start);
        while at < end {
            let want = usize::try_from(end - at).unwrap_or(usize::MAX);
            if copy_file_range(&source, Some(&mut at), &target, Some(&mut written), want)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }
    Ok(())
}

fn boot_id() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holes_stay_holes_and_damage_is_seen() {
        let directory = tempfile::tempdir().unwrap();
        let (a, b) = (directory.path().join("a"), directory.path().join("b"));
        let file = File::create(&a).unwrap();
        file.set_len(64 << 20).unwrap();
        file.write_all_at(b"data", 5 << 20).unwrap();
        copy_sparse(&a, &b).unwrap();
        let info = FileInfo::of(&a).unwrap();
        assert_eq!(FileInfo::of(&b).unwrap().hash, info.hash);
        assert!(fs::metadata(&b).unwrap().blocks() * 512 < 1 << 20);
        File::options().write(true).open(&b).unwrap().write_all_at(b"x", (5 << 20) + 1).unwrap();
        assert_ne!(FileInfo::of(&b).unwrap().hash, info.hash);
    }
}
