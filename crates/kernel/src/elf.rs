//! The little of ELF that kernels and modules need: sections by name, and notes. 64-bit, little
//! endian. The bytes are treated as hostile; what does not fit is absent.

/// An ELF file in memory.
#[derive(Clone, Copy)]
pub(crate) struct Elf<'a> {
    bytes: &'a [u8],
}

const NOTE_SEGMENT: u64 = 4;
const NOTE_XEN_PHYS32_ENTRY: u64 = 18;

impl<'a> Elf<'a> {
    pub(crate) fn parse(bytes: &'a [u8]) -> Option<Self> {
        bytes.starts_with(b"\x7fELF\x02\x01").then_some(Self { bytes })
    }

    /// The content of the first section of that name.
    pub(crate) fn section(self, name: &str) -> Option<&'a [u8]> {
        let headers = self.table(0x28, 0x3a, 0x3c, 64)?;
        let content =
            |header: &'a [u8]| slice(self.bytes, word(header, 0x18, 8)?, word(header, 0x20, 8)?);
        let names = content(headers.get(usize::try_from(word(self.bytes, 0x3e, 2)?).ok()?)?)?;
        headers.iter().find_map(|header| {
            let found = names.get(usize::try_from(word(header, 0, 4)?).ok()?..)?;
            let found = found.strip_prefix(name.as_bytes())?;
            if found.first() == Some(&0) { content(header) } else { None }
        })
    }

    /// Where the kernel is entered by PVH: the note that QEMU and others look for.
    pub(crate) fn pvh_entry(self) -> Option<u64> {
        self.table(0x20, 0x36, 0x38, 56)?.iter().find_map(|header| {
            if word(header, 0, 4)? != NOTE_SEGMENT {
                return None;
            }
            let mut notes = slice(self.bytes, word(header, 8, 8)?, word(header, 0x20, 8)?)?;
            loop {
                let (name_len, content_len) = (word(notes, 0, 4)?, word(notes, 4, 4)?);
                let name = slice(notes, 12, name_len)?;
                let start = 12 + name_len.next_multiple_of(4);
                let content = slice(notes, start, content_len)?;
                if word(notes, 8, 4)? == NOTE_XEN_PHYS32_ENTRY && name == b"Xen\0" {
                    return word(content, 0, content.len().min(8));
                }
                let next = start + content_len.next_multiple_of(4);
                notes = notes.get(usize::try_from(next).ok()?..)?;
            }
        })
    }

    /// A table of headers, from where the file's header holds its offset, entry size and count.
    fn table(
        self,
        offset: usize,
        size: usize,
        count: usize,
        size_min: u64,
    ) -> Option<Vec<&'a [u8]>> {
        let start = word(self.bytes, offset, 8)?;
        let size = word(self.bytes, size, 2)?;
        if size < size_min {
            return None;
        }
        (0..word(self.bytes, count, 2)?)
            .map(|i| slice(self.bytes, start.checked_add(i * size)?, size))
            .collect()
    }
}

/// A little-endian number of up to 8 bytes.
fn word(bytes: &[u8], at: usize, len: usize) -> Option<u64> {
    let bytes = bytes.get(at..at.checked_add(len)?)?;
    Some(bytes.iter().rev().fold(0, |sum, &byte| sum << 8 | u64::from(byte)))
}

fn slice(bytes: &[u8], at: u64, len: u64) -> Option<&[u8]> {
    let start = usize::try_from(at).ok()?;
    bytes.get(start..start.checked_add(usize::try_from(len).ok()?)?)
}

/// An ELF file with one section or note segment, for tests.
#[cfg(test)]
pub(crate) fn sample(sections: &[(&str, &[u8])], note: Option<(&[u8], u32, &[u8])>) -> Vec<u8> {
    let mut bytes = vec![0; 64];
    bytes[..6].copy_from_slice(b"\x7fELF\x02\x01");
    let put = |bytes: &mut Vec<u8>, at: usize, value: &[u8]| {
        bytes[at..at + value.len()].copy_from_slice(value);
    };
    if let Some((name, kind, content)) = note {
        let mut header = vec![0; 56];
        let mut segment = Vec::new();
        for word in [name.len() as u32, content.len() as u32, kind] {
            segment.extend(word.to_le_bytes());
        }
        for part in [name, content] {
            segment.extend(part);
            segment.resize(segment.len().next_multiple_of(4), 0);
        }
        put(&mut header, 0, &4u32.to_le_bytes());
        put(&mut header, 8, &(64u64 + 56).to_le_bytes());
        put(&mut header, 0x20, &(segment.len() as u64).to_le_bytes());
        put(&mut bytes, 0x20, &64u64.to_le_bytes());
        put(&mut bytes, 0x36, &56u16.to_le_bytes());
        put(&mut bytes, 0x38, &1u16.to_le_bytes());
        bytes.extend(header);
        bytes.extend(segment);
    }
    let (mut headers, mut names) = (vec![0; 64], vec![0]);
    let name_section = ("", &[][..]);
    for (name, content) in sections.iter().chain([&name_section]) {
        let mut header = vec![0; 64];
        put(&mut header, 0, &(names.len() as u32).to_le_bytes());
        names.extend(name.as_bytes());
        names.push(0);
        let content: Vec<u8> = if name.is_empty() { names.clone() } else { content.to_vec() };
        put(&mut header, 0x18, &(bytes.len() as u64).to_le_bytes());
        put(&mut header, 0x20, &(content.len() as u64).to_le_bytes());
        bytes.extend(content);
        headers.extend(header);
    }
    let count = sections.len() as u16 + 2;
    let offset = bytes.len() as u64;
    put(&mut bytes, 0x28, &offset.to_le_bytes());
    put(&mut bytes, 0x3a, &64u16.to_le_bytes());
    put(&mut bytes, 0x3c, &count.to_le_bytes());
    put(&mut bytes, 0x3e, &(count - 1).to_le_bytes());
    bytes.extend(headers);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn sections_are_found_by_their_whole_name() {
        let bytes = sample(&[(".BTF_ids", b"no"), (".BTF", b"yes")], None);
        let elf = Elf::parse(&bytes).unwrap();
        assert_eq!(elf.section(".BTF"), Some(&b"yes"[..]));
        assert_eq!(elf.section(".BT"), None);
        assert_eq!(elf.pvh_entry(), None);
    }

    #[test]
    fn the_pvh_note_is_told_by_owner_and_type() {
        let entry = 0x0300_5140_u64.to_le_bytes();
        let with = |owner, kind| {
            Elf::parse(&sample(&[], Some((owner, kind, &entry)))).unwrap().pvh_entry()
        };
        assert_eq!(with(&b"Xen\0"[..], 18), Some(0x0300_5140));
        assert_eq!(with(b"Xen\0", 17), None);
        assert_eq!(with(b"GNU\0", 18), None);
    }

    proptest! {
        #[test]
        fn damaged_files_are_read_without_panic(at in 0usize..400, value: u8, cut in 0usize..400) {
            let mut bytes = sample(&[(".BTF", b"12345678")], Some((b"Xen\0", 18, b"1234")));
            if let Some(byte) = bytes.get_mut(at) {
                *byte = value;
            }
            bytes.truncate(cut.max(6));
            if let Some(elf) = Elf::parse(&bytes) {
                elf.section(".BTF");
                elf.pvh_entry();
            }
        }
    }
}
