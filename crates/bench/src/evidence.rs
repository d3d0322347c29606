//! What is kept of a failed sample.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, openat, statat};

/// The most that is kept of a file of a sample's directory, and of everything.
const FILE_BYTES_MAX: u64 = 1 << 20;
const BYTES_MAX: u64 = 4 << 20;
/// The most that is listed.
const ENTRIES_MAX: usize = 1000;
/// How many directories deep it is looked.
const DEPTH_MAX: usize = 4;

/// What the processes of a failed sample have left. It is written once the failure is on record: a full
/// disk must not make it unhappened.
#[derive(Debug, Default)]
pub(crate) struct Evidence {
    files: Vec<(PathBuf, Vec<u8>)>,
    list: String,
}

/// Where the evidence of a failed sample is kept.
pub(crate) fn evidence_path(directory: &Path, cell: usize, round: u32) -> PathBuf {
    directory.join(format!("{cell:04}-{round}"))
}

impl Evidence {
    pub(crate) fn add(&mut self, name: impl Into<PathBuf>, bytes: impl Into<Vec<u8>>) {
        self.files.push((name.into(), bytes.into()));
    }

    /// Adds what is in a sample's own directory, as `run_dir`, and a list of it. What cannot be read is
    /// listed as that.
    pub(crate) fn add_run_dir(&mut self, directory: &Path) {
        if let Err(error) = self.look_into(CWD, directory.into(), "run_dir".as_ref()) {
            let _ = writeln!(self.list, "run_dir: {error}");
        }
    }

    fn look_into(&mut self, parent: impl AsFd, name: OsString, path: &Path) -> io::Result<()> {
        let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let directory = openat(parent, name, flags, Mode::empty())?;
        let mut names = Vec::new();
        // One more than is listed, for it to be noticed.
        for entry in Dir::read_from(&directory)?.take(ENTRIES_MAX + 3) {
            names.push(OsString::from_vec(entry?.file_name().to_bytes().to_owned()));
        }
        names.retain(|name| name != "." && name != "..");
        names.sort_unstable();
        for name in names {
            if self.list.lines().count() >= ENTRIES_MAX {
                let _ = writeln!(self.list, "and more");
                break;
            }
            let path = path.join(&name);
            let what = self.look_at(&directory, name, &path);
            let what = what.unwrap_or_else(|error| format!("cannot be read: {error}"));
            let _ = writeln!(self.list, "{}: {what}", path.to_string_lossy().escape_debug());
        }
        Ok(())
    }

    fn look_at(&mut self, parent: impl AsFd, name: OsString, path: &Path) -> io::Result<String> {
        let facts = statat(&parent, &name, AtFlags::SYMLINK_NOFOLLOW)?;
        Ok(String::from(match FileType::from_raw_mode(facts.st_mode) {
            FileType::RegularFile => {
                let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
                let file = File::from(openat(parent, &name, flags, Mode::empty())?);
                let used: usize = self.files.iter().map(|(_, bytes)| bytes.len()).sum();
                let room = BYTES_MAX.saturating_sub(used as u64).min(FILE_BYTES_MAX);
                let mut bytes = Vec::new();
                file.take(room).read_to_end(&mut bytes)?;
                let (size, kept) = (facts.st_size, bytes.len());
                self.add(path, bytes);
                let cut = format!(", of which the first {kept} are kept");
                return Ok(format!("{size} bytes{}", if size > kept as i64 { &cut } else { "" }));
            }
            FileType::Directory if path.components().count() > DEPTH_MAX => "a directory, not read",
            FileType::Directory => {
                self.look_into(parent, name, path)?;
                "a directory"
            }
            FileType::Symlink => "a symbolic link",
            FileType::Socket => "a socket",
            FileType::Fifo => "a fifo",
            _ => "a device",
        }))
    }

    /// Writes it into a directory, which is made, in place of what is there.
    pub(crate) fn write(&self, directory: &Path) -> io::Result<()> {
        fs::create_dir_all(directory)?;
        for (name, bytes) in &self.files {
            let path = directory.join(name);
            fs::create_dir_all(path.parent().unwrap_or(directory))?;
            fs::write(path, bytes)?;
        }
        fs::write(directory.join("run_dir.txt"), &self.list)
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt as _;
    use std::os::unix::fs::symlink;
    use std::os::unix::net::UnixListener;

    use super::*;

    /// The list of a directory, and how much is kept of each file.
    fn kept(directory: &Path) -> (String, Vec<(String, usize)>) {
        let mut evidence = Evidence::default();
        evidence.add_run_dir(directory);
        let place = tempfile::tempdir().unwrap();
        evidence.write(place.path()).unwrap();
        let size = |(path, _): &(PathBuf, _)| {
            let size = fs::symlink_metadata(place.path().join(path)).unwrap().len();
            (path.to_string_lossy().into_owned(), size as usize)
        };
        let list = fs::read_to_string(place.path().join("run_dir.txt")).unwrap();
        (list, evidence.files.iter().map(size).collect())
    }

    #[test]
    fn files_are_kept_and_the_rest_is_listed() {
        let place = tempfile::tempdir().unwrap();
        let run_dir = place.path().join("x");
        assert_eq!(kept(&run_dir).0, "run_dir: No such file or directory (os error 2)\n");
        fs::create_dir_all(run_dir.join("a/b/c/d")).unwrap();
        for (name, size) in [("a/b/c/d/e", 1), ("a/f", 2), ("big", (1 << 20) + 1)] {
            fs::write(run_dir.join(name), vec![b'x'; size]).unwrap();
        }
        fs::write(run_dir.join(OsStr::from_bytes(b"new\nline\xff")), "odd").unwrap();
        symlink(place.path(), run_dir.join("link")).unwrap();
        symlink(run_dir.join("big"), run_dir.join("link-to-file")).unwrap();
        let _listener = UnixListener::bind(run_dir.join("socket")).unwrap();
        let (list, files) = kept(&run_dir);
        assert_eq!(
            list,
            "run_dir/a/b/c/d: a directory, not read\n\
             run_dir/a/b/c: a directory\n\
             run_dir/a/b: a directory\n\
             run_dir/a/f: 2 bytes\n\
             run_dir/a: a directory\n\
             run_dir/big: 1048577 bytes, of which the first 1048576 are kept\n\
             run_dir/link: a symbolic link\n\
             run_dir/link-to-file: a symbolic link\n\
             run_dir/new\\nline\u{fffd}: 3 bytes\n\
             run_dir/socket: a socket\n"
        );
        let expected = [("a/f", 2), ("big", 1 << 20), ("new\nline\u{fffd}", 3)];
        assert_eq!(files, expected.map(|(name, size)| (format!("run_dir/{name}"), size)));
    }

    #[test]
    fn what_is_kept_has_an_end() {
        let run_dir = tempfile::tempdir().unwrap();
        for number in 0..=ENTRIES_MAX {
            let file = File::create(run_dir.path().join(format!("{number:04}"))).unwrap();
            file.set_len(if number < 5 { 1 << 40 } else { 0 }).unwrap();
        }
        let (list, files) = kept(run_dir.path());
        assert_eq!(files.iter().map(|(_, size)| *size as u64).sum::<u64>(), BYTES_MAX);
        assert_eq!((files.len(), list.lines().count()), (ENTRIES_MAX, ENTRIES_MAX + 1));
        assert!(list.ends_with("\nand more\n"), "{list}");
    }
}
