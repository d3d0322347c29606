//! A small library with something to test on a real kernel.

use std::fs;
use std::io;

/// Where file systems of memory are mounted, as `/proc/mounts` tells.
///
/// # Errors
/// When there is no `/proc`.
pub fn memory_file_systems() -> io::Result<Vec<String>> {
    let mounts = fs::read_to_string("/proc/mounts")?;
    let place = |line: &str| {
        let mut words = line.split_whitespace();
        let (kind, place) = (words.next()?, words.next()?);
        (kind == "tmpfs").then(|| place.to_owned())
    };
    Ok(mounts.lines().filter_map(place).collect())
}
