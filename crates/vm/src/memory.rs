//! A guest's memory, seen from outside.
//!
//! Reading it costs the guest nothing and cannot disturb it, not even in `det`.
//! What is read may be changing and may be anything: it is input.

use crate::error::Error;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

/// An address in a guest's physical memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct GuestPhysical(pub u64);

/// An address in the QEMU process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct HostVirtual(u64);

/// The memory of one machine: the files that it is mapped from, in QEMU's process.
#[derive(Debug)]
pub struct GuestMemory {
    process: File,
    pieces: Vec<Piece>,
}

#[derive(Debug)]
struct Piece {
    guest: GuestPhysical,
    len: u64,
    host: HostVirtual,
}

/// Below this address guest-physical memory is the memory files, one after the
/// other. (A q35 machine keeps 2 GiB there; what is above moves beyond 4 GiB.)
const LOW_MEMORY_END: u64 = 2 << 30;

impl GuestMemory {
    /// Finds the memory files, given in guest-physical order, in a QEMU process.
    ///
    /// # Errors
    /// When a file is not mapped there, or the process may not be looked into.
    pub(crate) fn attach(pid: u32, files: &[PathBuf]) -> Result<GuestMemory, Error> {
        let cannot =
            |error| Error::io(format!("look into the memory of QEMU (process {pid})"), error);
        let maps = fs::read_to_string(format!("/proc/{pid}/maps")).map_err(cannot)?;
        let process = File::options()
            .read(true)
            .write(true)
            .open(format!("/proc/{pid}/mem"))
            .map_err(cannot)?;
        let mut pieces = Vec::new();
        let mut file_start = 0;
        for file in files {
            let path = file.to_string_lossy();
            let mut file_len = 0;
            for mapping in maps.lines().filter_map(|line| parse_mapping(line, &path)) {
                pieces.push(Piece {
                    guest: GuestPhysical(file_start + mapping.offset),
                    len: mapping.end - mapping.start,
                    host: HostVirtual(mapping.start),
                });
                file_len = file_len.max(mapping.offset + mapping.end - mapping.start);
            }
            if file_len == 0 {
                let error = io::Error::other(format!("{path} is not mapped"));
                return Err(cannot(error));
            }
            file_start += file_len;
        }
        Ok(GuestMemory { process, pieces })
    }

    /// Fills `bytes` from the guest's memory.
    ///
    /// # Errors
    /// When the range is not memory, or QEMU is gone.
    pub fn read(&self, address: GuestPhysical, bytes: &mut [u8]) -> io::Result<()> {
        let at = self.translate(address, bytes.len())?;
        self.process.read_exact_at(bytes, at.0)
    }

    /// Writes `bytes` to the guest's memory.
    ///
    /// # Errors
    /// As for [`GuestMemory::read`].
    pub fn write(&self, address: GuestPhysical, bytes: &[u8]) -> io::Result<()> {
        let at = self.translate(address, bytes.len())?;
        self.process.write_all_at(bytes, at.0)
    }

    fn translate(&self, address: GuestPhysical, len: usize) -> io::Result<HostVirtual> {
        let end = address.0.checked_add(len as u64).filter(|end| *end <= LOW_MEMORY_END);
        self.pieces
            .iter()
            .find(|piece| {
                piece.guest <= address && end.is_some_and(|end| end <= piece.guest.0 + piece.len)
            })
            .map(|piece| HostVirtual(piece.host.0 + (address.0 - piece.guest.0)))
            .ok_or_else(|| {
                let text = format!("{len} bytes at guest-physical {:#x} are not memory", address.0);
                io::Error::new(io::ErrorKind::InvalidInput, text)
            })
    }
}

#[derive(Debug, PartialEq, Eq)]
struct Mapping {
    start: u64,
    end: u64,
    offset: u64,
}

/// The mapping in a line of `/proc/PID/maps`, if it is one of `path`.
fn parse_mapping(line: &str, path: &str) -> Option<Mapping> {
    let mut fields = line.splitn(6, ' ');
    let (start, end) = fields.next()?.split_once('-')?;
    let offset = fields.nth(1)?;
    let name = fields.nth(2)?.trim_start();
    if name != path {
        return None;
    }
    let number = |digits| u64::from_str_radix(digits, 16).ok();
    Some(Mapping { start: number(start)?, end: number(end)?, offset: number(offset)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mappings_are_read() {
        let line =
            "7f5c00000000-7f5c20000000 rw-p 00001000 fe:00 1234                       /c/ram 0";
        let mapping = Mapping { start: 0x7f5c_0000_0000, end: 0x7f5c_2000_0000, offset: 0x1000 };
        assert_eq!(parse_mapping(line, "/c/ram 0"), Some(mapping));
        assert_eq!(parse_mapping(line, "/c/ram"), None);
        assert_eq!(parse_mapping("7f5c00000000-7f5c20000000 rw-p 0 0:0 0 ", "/c/ram"), None);
        assert_eq!(parse_mapping("", "/c/ram"), None);
    }

    #[test]
    fn this_process_can_be_read_and_bounds_hold() {
        let bytes = *b"under glass";
        let memory = GuestMemory {
            process: File::options().read(true).write(true).open("/proc/self/mem").unwrap(),
            pieces: vec![Piece {
                guest: GuestPhysical(0x1000),
                len: bytes.len() as u64,
                host: HostVirtual(bytes.as_ptr() as u64),
            }],
        };
        let mut read = [0; 5];
        memory.read(GuestPhysical(0x1006), &mut read).unwrap();
        assert_eq!(&read, b"glass");
        for (address, len) in [(0x1006, 6), (0xfff, 1), (u64::MAX, 2), (0x1000, usize::MAX >> 1)] {
            assert!(memory.translate(GuestPhysical(address), len).is_err());
        }
    }
}
