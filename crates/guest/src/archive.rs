//! The archive that carries files into a guest: cpio in the `newc` form.
//!
//! It is what the kernel unpacks as initramfs (the agent comes that way) and what
//! the agent unpacks as payload, so one form serves both. The same entries always
//! give the same bytes: inode numbers count up, and times and owners are zero.
//! Source of the form: the kernel's `Documentation/driver-api/early-userspace/buffer-format.rst`.

use std::fmt;

const FILE: u32 = 0o100_000;
const DIRECTORY: u32 = 0o040_000;
const SYMLINK: u32 = 0o120_000;
const CHARACTER_DEVICE: u32 = 0o020_000;
const HEADER_LEN: usize = 110;
const TRAILER: &str = "TRAILER!!!";

/// What stands at a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry<'a> {
    /// A directory, mode 0755.
    Directory,
    /// A file, mode 0644.
    File(&'a [u8]),
    /// A file, mode 0755.
    Program(&'a [u8]),
    /// A symbolic link to this path.
    Symlink(&'a str),
    /// A character device with these numbers, mode 0600.
    CharacterDevice(u32, u32),
}

/// Builds an archive in memory.
#[derive(Debug, Default)]
pub struct Archive {
    bytes: Vec<u8>,
    entries: u32,
}

impl Archive {
    /// An archive without entries.
    pub fn new() -> Archive {
        Archive::default()
    }

    /// Appends an entry at `path`, relative to the root. The directories above it
    /// must have been appended before.
    pub fn push(&mut self, path: &str, entry: Entry<'_>) {
        let (mode, body, device): (u32, &[u8], (u32, u32)) = match entry {
            Entry::Directory => (DIRECTORY | 0o755, &[], (0, 0)),
            Entry::File(body) => (FILE | 0o644, body, (0, 0)),
            Entry::Program(body) => (FILE | 0o755, body, (0, 0)),
            Entry::Symlink(target) => (SYMLINK | 0o777, target.as_bytes(), (0, 0)),
            Entry::CharacterDevice(major, minor) => (CHARACTER_DEVICE | 0o600, &[], (major, minor)),
        };
        self.append(path, mode, body, device);
    }

    /// The archive's bytes.
    pub fn finish(mut self) -> Vec<u8> {
        self.append(TRAILER, 0, &[], (0, 0));
        self.bytes
    }

    fn append(&mut self, path: &str, mode: u32, body: &[u8], device: (u32, u32)) {
        self.entries += 1;
        let links = if mode & DIRECTORY == DIRECTORY { 2 } else { 1 };
        let body_len = u32::try_from(body.len()).unwrap_or(u32::MAX);
        let fields = [
            self.entries,
            mode,
            0, // user
            0, // group
            links,
            0, // time
            body_len,
            0, // device that holds the file
            0,
            device.0,
            device.1,
            path.len() as u32 + 1,
            0, // checksum, unused in this form
        ];
        self.bytes.extend_from_slice(b"070701");
        for field in fields {
            self.bytes.extend_from_slice(format!("{field:08x}").as_bytes());
        }
        self.bytes.extend_from_slice(path.as_bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend_from_slice(body);
        self.pad();
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

/// An entry on its way out of an archive: where, what kind, and how many bytes of
/// body follow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// Path relative to the root.
    pub path: String,
    /// Kind and permissions, as in `st_mode`.
    pub mode: u32,
    /// Bytes of body.
    pub body_len: usize,
}

impl Header {
    /// Whether the entry is a directory.
    pub fn is_directory(&self) -> bool {
        self.mode & 0o170_000 == DIRECTORY
    }

    /// Whether the entry is a symbolic link; its body is the target.
    pub fn is_symlink(&self) -> bool {
        self.mode & 0o170_000 == SYMLINK
    }

    /// Whether this entry ends the archive.
    pub fn is_trailer(&self) -> bool {
        self.path == TRAILER
    }
}

/// Bytes that are not an archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ArchiveError(&'static str);

impl fmt::Display for ArchiveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the payload is not a newc archive: {}", self.0)
    }
}

impl std::error::Error for ArchiveError {}

/// Reads the header at the start of `bytes`.
///
/// Returns it with the number of bytes it takes, padding included, or `None` when
/// more bytes are needed.
///
/// # Errors
/// When the bytes cannot be a header.
pub fn parse_header(bytes: &[u8]) -> Result<Option<(Header, usize)>, ArchiveError> {
    if bytes.len() < HEADER_LEN {
        return Ok(None);
    }
    if &bytes[..6] != b"070701" {
        return Err(ArchiveError("the magic number is wrong"));
    }
    let field = |index: usize| -> Result<usize, ArchiveError> {
        let digits = &bytes[6 + index * 8..14 + index * 8];
        let digits = std::str::from_utf8(digits).map_err(|_| ArchiveError("not a number"))?;
        usize::from_str_radix(digits, 16).map_err(|_| ArchiveError("not a number"))
    };
    let (mode, body_len, path_len) = (field(1)?, field(6)?, field(11)?);
    if !(2..=4096).contains(&path_len) {
        return Err(ArchiveError("a path is empty or too long"));
    }
    let end = (HEADER_LEN + path_len).next_multiple_of(4);
    if bytes.len() < end {
        return Ok(None);
    }
    let path = std::str::from_utf8(&bytes[HEADER_LEN..HEADER_LEN + path_len - 1])
        .map_err(|_| ArchiveError("a path is not UTF-8"))?;
    Ok(Some((Header { path: path.to_owned(), mode: mode as u32, body_len }, end)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_pushed_comes_out() {
        let mut archive = Archive::new();
        archive.push("dev", Entry::Directory);
        archive.push("dev/console", Entry::CharacterDevice(5, 1));
        archive.push("bin", Entry::Symlink("usr/bin"));
        archive.push("note", Entry::File(b"12345"));
        let bytes = archive.finish();
        let mut seen = Vec::new();
        let mut at = 0;
        loop {
            let (header, len) = parse_header(&bytes[at..]).unwrap().unwrap();
            let body = &bytes[at + len..at + len + header.body_len];
            at += (len + header.body_len).next_multiple_of(4);
            if header.is_trailer() {
                break;
            }
            seen.push((header.path.clone(), header.mode, body.to_vec()));
        }
        assert_eq!(at, bytes.len());
        assert_eq!(
            seen,
            [
                ("dev".into(), 0o40755, vec![]),
                ("dev/console".into(), 0o20600, vec![]),
                ("bin".into(), 0o120_777, b"usr/bin".to_vec()),
                ("note".into(), 0o100_644, b"12345".to_vec()),
            ]
        );
    }

    proptest! {
        #[test]
        fn any_bytes_end_without_panic(mut bytes: Vec<u8>, magic: bool) {
            if magic && bytes.len() >= 6 {
                bytes[..6].copy_from_slice(b"070701");
            }
            let _ = parse_header(&bytes);
        }
    }
}
