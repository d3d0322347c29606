//! Programs without what only a debugger reads.
//!
//! Of a test binary that is built as tests are, half are debug sections, and more when it
//! has full debug information. None of them is ever loaded, and all of them would have to
//! go through the guest. The
//! symbol table stays, so backtraces name functions; the places of panics come from the
//! program itself.
//!
//! Source of the form: System V ABI, chapter 4, "Object Files".

use object::elf::{self, FileHeader64, SectionHeader64};
use object::read::elf::{FileHeader, ProgramHeader, SectionHeader};
use object::{LittleEndian, U64, pod};
use std::ops::Range;

type Section = SectionHeader64<LittleEndian>;
type Header = FileHeader64<LittleEndian>;

/// The ELF file without its debug sections; as it is when it has none, when it is no ELF
/// file, or when one of them lies where something is loaded from.
pub(crate) fn without_debug_sections(bytes: Vec<u8>) -> Vec<u8> {
    slim(&bytes).unwrap_or(bytes)
}

/// Keeps the file up to its first debug section, moves up what follows, and marks the
/// headers of the debug sections as unused: the others keep their numbers that way.
fn slim(bytes: &[u8]) -> Option<Vec<u8>> {
    let e = LittleEndian;
    let header = Header::parse(bytes).ok()?;
    let sections = header.sections(e, bytes).ok()?;
    let is_debug = |section: &Section| {
        let name = sections.section_name(e, section).unwrap_or_default();
        let of_debugger = [&b".debug_"[..], b".zdebug_", b".gdb_index"];
        section.sh_flags(e).0 & elf::SHF_ALLOC.0 == 0
            && of_debugger.iter().any(|prefix| name.starts_with(prefix))
    };
    let in_file = |section: &Section| -> Option<Range<usize>> {
        let (offset, size) = section.file_range(e).unwrap_or_default();
        let start = usize::try_from(offset).ok()?;
        Some(start..start.checked_add(usize::try_from(size).ok()?)?)
    };
    let debug = sections.iter().filter(|section| is_debug(section) && section.sh_size(e) > 0);
    let cut = debug.filter_map(|section| Some(in_file(section)?.start)).min()?;
    for segment in header.program_headers(e, bytes).ok()? {
        let (offset, size) = segment.file_range(e);
        if size > 0 && offset.checked_add(size)? > cut as u64 {
            return None;
        }
    }
    let mut kept = bytes.get(..cut)?.to_vec();
    let mut headers: Vec<Section> = sections.iter().copied().collect();
    for section in &mut headers {
        let range = in_file(section)?;
        if is_debug(section) {
            *section = *pod::from_bytes::<Section>(&[0; size_of::<Section>()]).ok()?.0;
        } else if range.start >= cut && !range.is_empty() {
            let align = usize::try_from(section.sh_addralign(e)).ok()?.clamp(1, 4096);
            kept.resize(kept.len().next_multiple_of(align), 0);
            section.sh_offset = U64::new(e, kept.len() as u64);
            kept.extend_from_slice(bytes.get(range)?);
        } else if range.end > cut && !range.is_empty() {
            return None;
        }
    }
    kept.resize(kept.len().next_multiple_of(8), 0);
    let mut header = *header;
    header.e_shoff = U64::new(e, kept.len() as u64);
    kept.extend_from_slice(pod::bytes_of_slice(&headers));
    kept.get_mut(..size_of::<Header>())?.copy_from_slice(pod::bytes_of(&header));
    Some(kept)
}

#[cfg(test)]
mod tests {
    use super::*;
    use object::{Object, ObjectSection, ObjectSymbol};
    use proptest::prelude::*;
    use std::process::Command;

    /// This test, which is built with line tables, without them: it still runs, and all
    /// that is loaded and all names are as they were.
    #[test]
    fn a_program_runs_without_them() {
        let path = std::env::current_exe().unwrap();
        let fat = std::fs::read(path).unwrap();
        let slim = without_debug_sections(fat.clone());
        assert!(slim.len() * 4 < fat.len() * 3, "{} of {} bytes", slim.len(), fat.len());
        assert_eq!(without_debug_sections(slim.clone()), slim);
        let (was, is) = (object::File::parse(&*fat).unwrap(), object::File::parse(&*slim).unwrap());
        let sections = |file: &object::File<'_>| -> Vec<(String, Vec<u8>)> {
            let kept = file.sections().filter(|s| !s.name().unwrap().starts_with(".debug_"));
            let read = |s: object::Section<'_, '_>| {
                (s.name().unwrap().to_owned(), s.data().unwrap().to_vec())
            };
            kept.map(read).filter(|(name, _)| !name.is_empty()).collect()
        };
        assert_eq!(sections(&is), sections(&was));
        let symbols = |file: &object::File<'_>| -> Vec<(String, u64)> {
            file.symbols().map(|s| (s.name().unwrap().to_owned(), s.address())).collect()
        };
        assert_eq!(symbols(&is), symbols(&was));
        let directory = tempfile::tempdir().unwrap();
        let copy = directory.path().join("slim");
        std::fs::copy(std::env::current_exe().unwrap(), &copy).unwrap();
        std::fs::write(&copy, &slim).unwrap();
        let listed = Command::new(copy).arg("--list").output().unwrap();
        let listed = String::from_utf8(listed.stdout).unwrap();
        assert!(listed.contains("slim::tests::a_program_runs_without_them"), "{listed}");
    }

    proptest! {
        #[test]
        fn any_bytes_end_without_panic(at in 0usize..4096, flips: Vec<(usize, u8)>) {
            static SELF: std::sync::OnceLock<Vec<u8>> = std::sync::OnceLock::new();
            let small = SELF.get_or_init(small_elf);
            let mut bytes = small.clone();
            for (place, value) in flips {
                let len = bytes.len();
                bytes[place % len] ^= value;
            }
            bytes.truncate(bytes.len().saturating_sub(at % 64));
            let _ = without_debug_sections(bytes);
        }
    }

    /// A header, three sections and their table.
    fn small_elf() -> Vec<u8> {
        let mut bytes = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
        bytes.extend([2, 0, 62, 0, 1, 0, 0, 0]);
        for long in [0u64, 0, 96] {
            bytes.extend(long.to_le_bytes());
        }
        bytes.extend(0u32.to_le_bytes());
        for half in [64u16, 56, 0, 64, 3, 2] {
            bytes.extend(half.to_le_bytes());
        }
        bytes.extend(b"\0.debug_x\0.names\0 some of debug");
        bytes.resize(96, 0);
        for (name, kind, at, len) in [(0u32, 0u32, 0u64, 0u64), (1, 1, 81, 14), (10, 3, 64, 17)] {
            bytes.extend(name.to_le_bytes());
            bytes.extend(kind.to_le_bytes());
            for long in [0, 0, at, len] {
                bytes.extend(long.to_le_bytes());
            }
            bytes.extend([0; 8]);
            bytes.extend([1, 0, 0, 0, 0, 0, 0, 0]);
            bytes.extend([0; 8]);
        }
        bytes
    }

    #[test]
    fn headers_stay_in_their_places() {
        let slim = without_debug_sections(small_elf());
        let file = object::File::parse(&*slim).unwrap();
        assert_eq!(slim.len(), 88 + 3 * 64);
        assert!(file.section_by_name(".debug_x").is_none());
        assert_eq!(file.section_by_name(".names").unwrap().data().unwrap().len(), 17);
    }
}
