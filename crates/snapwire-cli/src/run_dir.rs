//! What is in a run directory: sockets, and regions of shared memory.

use crate::failure::{Exit, Failure};
use crate::probe::{self, Found};
use rustix::fs::{self, AtFlags, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;
use rustix::process::{Pid, test_kill_process};
use snapwire::{Endpoint, Error};
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// A region's first word, and the length of its header. The layout is on the page of the region in
/// the crate `snapwire`.
const REGION_MAGIC: u32 = 0x4e53_484d;
const REGION_HEADER_LEN: usize = 64;

/// Whether a file is of use to anybody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Life {
    /// The process that made it is there.
    Live,
    /// That process is gone.
    Stale,
    /// It cannot be read, or is not finished, or is something else.
    Unknown,
}

/// A session's region.
#[derive(Debug)]
pub(crate) struct Region {
    pub(crate) file: OsString,
    pub(crate) life: Life,
    /// The process that made it, where that can be read.
    pub(crate) pid: Option<i32>,
    pub(crate) bytes: u64,
}

/// The files of a service.
#[derive(Debug, Default)]
pub(crate) struct Files {
    /// Whether there is something that is called as its socket is.
    pub(crate) has_socket: bool,
    pub(crate) regions: Vec<Region>,
}

/// A run directory that is there.
#[derive(Debug)]
pub(crate) struct RunDir {
    pub(crate) path: PathBuf,
    pub(crate) fd: OwnedFd,
    /// By the service's name, which may be none that a service can have.
    pub(crate) services: BTreeMap<OsString, Files>,
}

impl RunDir {
    /// Looks into a directory.
    pub(crate) fn read(path: &Path) -> Result<RunDir, Failure> {
        let failed = |error: Errno| {
            let exit = match error {
                Errno::NOENT | Errno::NOTDIR => Exit::NotFound,
                Errno::ACCESS | Errno::PERM => Exit::Refused,
                _ => Exit::Failed,
            };
            let message = format!("cannot look into {}: {error}", path.display());
            Failure::new(exit, message).hint("give the directory that the service was told to use")
        };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = fs::open(path, flags, Mode::empty()).map_err(failed)?;
        let mut services: BTreeMap<OsString, Files> = BTreeMap::new();
        for entry in fs::Dir::read_from(&fd).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let file = OsStr::from_bytes(entry.file_name().to_bytes());
            if let Some(service) = file.as_bytes().strip_suffix(b".sock") {
                services.entry(OsStr::from_bytes(service).into()).or_default().has_socket = true;
            } else if let Some(service) = service_of_region(file.as_bytes())
                && let Some(region) = region(fd.as_fd(), file)
            {
                let files = services.entry(OsStr::from_bytes(service).into()).or_default();
                files.regions.push(region);
            }
        }
        for files in services.values_mut() {
            files.regions.sort_by(|one, other| one.file.cmp(&other.file));
        }
        Ok(RunDir { path: path.to_owned(), fd, services })
    }

    /// Connects to a service, however long the path of its socket is.
    pub(crate) fn connect(&self, service: &OsStr) -> Found {
        let file = socket_of(service);
        match probe::connect(&self.path.join(&file)) {
            Found::Other(Errno::NAMETOOLONG) => {}
            found => return found,
        }
        // The file's descriptor has a short path.
        match fs::openat(&self.fd, &file, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()) {
            Ok(fd) => probe::connect(Path::new(&format!("/proc/self/fd/{}", fd.as_raw_fd()))),
            Err(Errno::NOENT) => Found::Gone,
            Err(error) => Found::Other(error),
        }
    }

    /// Whether a server can start under a name in it, or why it cannot.
    pub(crate) fn check(&self, service: &OsStr) -> Result<(), Error> {
        // No text is no name either.
        Endpoint::new(&self.path, service.to_str().unwrap_or_default()).map(drop)
    }

    /// What a name in it stands for, links followed as clients do.
    pub(crate) fn followed(&self, file: &OsStr) -> Option<FileType> {
        let stat = fs::statat(&self.fd, file, AtFlags::empty()).ok()?;
        Some(FileType::from_raw_mode(stat.st_mode))
    }

    /// What is known of a file in it.
    pub(crate) fn stat(&self, file: &OsStr) -> Result<Stat, Errno> {
        fs::statat(&self.fd, file, AtFlags::SYMLINK_NOFOLLOW)
    }
}

/// The name of a service's socket.
pub(crate) fn socket_of(service: &OsStr) -> OsString {
    let mut file = service.to_owned();
    file.push(".sock");
    file
}

/// The service of `{service}-{16 hexadecimal digits}.ipcshm`.
fn service_of_region(file: &[u8]) -> Option<&[u8]> {
    let (rest, digits) = file.strip_suffix(b".ipcshm")?.split_last_chunk::<16>()?;
    let hex = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    rest.strip_suffix(b"-").filter(|_| digits.iter().all(hex))
}

/// A region as its header has it; nothing when it has gone in the meantime.
pub(crate) fn region(directory: impl AsFd, file: &OsStr) -> Option<Region> {
    let unknown = |bytes| Region { file: file.into(), life: Life::Unknown, pid: None, bytes };
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let fd = match fs::openat(directory, file, flags, Mode::empty()) {
        Ok(fd) => fd,
        Err(Errno::NOENT) => return None,
        Err(_) => return Some(unknown(0)),
    };
    let Ok(stat) = fs::fstat(&fd) else {
        return Some(unknown(0));
    };
    let bytes = stat.st_size.cast_unsigned();
    let mut header = [0; REGION_HEADER_LEN];
    let is_file = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
    if !is_file || rustix::io::pread(&fd, &mut header, 0) != Ok(REGION_HEADER_LEN) {
        return Some(unknown(bytes));
    }
    let word = |at: usize| {
        u32::from_ne_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]])
    };
    // Its maker writes the first word last: what it is without it, nobody can say.
    if word(0) != REGION_MAGIC {
        return Some(unknown(bytes));
    }
    let pid = word(8).cast_signed();
    let is_alive = |pid| !matches!(test_kill_process(pid), Err(Errno::SRCH));
    let is_live = pid > 0 && Pid::from_raw(pid).is_some_and(is_alive) && word(12) != 0;
    let life = if is_live { Life::Live } else { Life::Stale };
    Some(Region { file: file.into(), life, pid: Some(pid), bytes })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn regions_belong_to_services() {
        assert_eq!(service_of_region(b"a-b-0123456789abcdef.ipcshm"), Some(&b"a-b"[..]));
        for other in ["a-0123456789ABCDEF.ipcshm", "a-1.ipcshm", "a.sock", "ipcshm", ".ipcshm"] {
            assert_eq!(service_of_region(other.as_bytes()), None, "{other}");
        }
    }
}
