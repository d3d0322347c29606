//! LZO1X, as `lzop` writes it. The published decoders are GPL or unmaintained, and the format is
//! one page long.

use std::io;

/// The first bytes of an lzop file.
pub(crate) const MAGIC: &[u8] = &[0x89, b'L', b'Z', b'O', 0, 0x0d, 0x0a, 0x1a, 0x0a];

/// The largest block that lzop takes back.
const BLOCK_BYTES_MAX: usize = 64 << 20;

/// Appends the blocks of an lzop file to `out`, until its end mark or beyond `limit_bytes`.
/// Checksums are skipped, as the kernel's own decompressor does.
pub(crate) fn decompress(bytes: &[u8], limit_bytes: usize, out: &mut Vec<u8>) -> io::Result<()> {
    let mut input = Input { bytes, at: MAGIC.len() };
    let version = input.big_endian(2)?;
    input.skip(if version >= 0x940 { 2 + 2 + 1 + 1 } else { 2 + 1 })?;
    let flags = input.big_endian(4)?;
    if flags & FLAG_FILTER != 0 {
        input.skip(4)?;
    }
    input.skip(4 + 4 + if version >= 0x940 { 4 } else { 0 })?;
    let name_len = input.byte()?;
    input.skip(usize::from(name_len) + 4)?;

    while out.len() <= limit_bytes {
        let plain_len = input.big_endian(4)?;
        if plain_len == 0 {
            break;
        }
        let packed_len = input.big_endian(4)?;
        if plain_len > BLOCK_BYTES_MAX || packed_len > plain_len {
            return Err(damaged());
        }
        input.skip(4 * (flags & (FLAG_ADLER32_PLAIN | FLAG_CRC32_PLAIN)).count_ones() as usize)?;
        if packed_len < plain_len {
            let sums = flags & (FLAG_ADLER32_PACKED | FLAG_CRC32_PACKED);
            input.skip(4 * sums.count_ones() as usize)?;
            block(input.take(packed_len)?, plain_len, out)?;
        } else {
            out.extend_from_slice(input.take(packed_len)?);
        }
    }
    Ok(())
}

const FLAG_ADLER32_PLAIN: usize = 1;
const FLAG_ADLER32_PACKED: usize = 2;
const FLAG_CRC32_PLAIN: usize = 0x100;
const FLAG_CRC32_PACKED: usize = 0x200;
const FLAG_FILTER: usize = 0x800;

/// One LZO1X block that must yield exactly `plain_len` bytes. The instructions are those of
/// `Documentation/staging/lzo.rst` in the kernel's tree.
fn block(packed: &[u8], plain_len: usize, out: &mut Vec<u8>) -> io::Result<()> {
    let mut input = Input { bytes: packed, at: 0 };
    let start = out.len();
    // How many literals the last instruction copied: 0 to 3 by a match, 4 by a run of literals.
    let mut state = 0;
    if let Some(&first) = packed.first()
        && first > 17
    {
        input.skip(1)?;
        let len = usize::from(first) - 17;
        out.extend_from_slice(input.take(len)?);
        state = len.min(4);
    }
    loop {
        let code = usize::from(input.byte()?);
        let (len, distance, literals) = match code {
            0..16 if state == 0 => {
                let len = 3 + input.length(code, 15)?;
                out.extend_from_slice(input.take(len)?);
                state = 4;
                if out.len() - start > plain_len {
                    return Err(damaged());
                }
                continue;
            }
            0..16 => {
                let distance = (code >> 2) + (usize::from(input.byte()?) << 2);
                let (len, base) = if state == 4 { (3, 2049) } else { (2, 1) };
                (len, distance + base, code & 3)
            }
            16..32 => {
                let len = 2 + input.length(code & 7, 7)?;
                let tail = input.little_endian16()?;
                let distance = 16384 + ((code & 8) << 11) + (tail >> 2);
                if distance == 16384 {
                    break;
                }
                (len, distance, tail & 3)
            }
            32..64 => {
                let len = 2 + input.length(code & 31, 31)?;
                let tail = input.little_endian16()?;
                (len, 1 + (tail >> 2), tail & 3)
            }
            _ => {
                let distance = 1 + ((code >> 2) & 7) + (usize::from(input.byte()?) << 3);
                (
                    if code < 128 { 3 + ((code >> 5) & 1) } else { 5 + ((code >> 5) & 3) },
                    distance,
                    code & 3,
                )
            }
        };
        let done = out.len() - start;
        if distance > done || done + len + literals > plain_len {
            return Err(damaged());
        }
        let from = out.len() - distance;
        if distance >= len {
            out.extend_from_within(from..from + len);
        } else {
            // The match runs into what it is writing, and so repeats it.
            for at in from..from + len {
                out.push(out[at]);
            }
        }
        out.extend_from_slice(input.take(literals)?);
        state = literals;
    }
    if out.len() - start == plain_len { Ok(()) } else { Err(damaged()) }
}

struct Input<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Input<'a> {
    fn take(&mut self, len: usize) -> io::Result<&'a [u8]> {
        let end = self.at.checked_add(len).ok_or_else(damaged)?;
        let taken = self.bytes.get(self.at..end).ok_or(io::ErrorKind::UnexpectedEof)?;
        self.at = end;
        Ok(taken)
    }

    fn skip(&mut self, len: usize) -> io::Result<()> {
        self.take(len).map(|_| ())
    }

    fn byte(&mut self) -> io::Result<u8> {
        Ok(self.take(1)?[0])
    }

    fn big_endian(&mut self, len: usize) -> io::Result<usize> {
        Ok(self.take(len)?.iter().fold(0, |sum, &byte| sum << 8 | usize::from(byte)))
    }

    fn little_endian16(&mut self) -> io::Result<usize> {
        let bytes = self.take(2)?;
        Ok(usize::from(bytes[0]) | usize::from(bytes[1]) << 8)
    }

    /// A length of `short` bits, or if those are zero: zero bytes count 255 each, the first other
    /// byte ends it, and `base` is what the short form could reach.
    fn length(&mut self, short: usize, base: usize) -> io::Result<usize> {
        if short != 0 {
            return Ok(short);
        }
        let mut len = base;
        loop {
            match self.byte()? {
                0 => len += 255,
                last => return Ok(len + usize::from(last)),
            }
        }
    }
}

fn damaged() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "not an LZO1X block")
}

/// An lzop file as the kernel's build makes it (`lzop -9`), for tests.
#[cfg(test)]
pub(crate) fn compress(bytes: &[u8]) -> Vec<u8> {
    let mut file = MAGIC.to_vec();
    file.extend([0x10, 0x30, 0x20, 0xa0, 0x09, 0x40, 3, 9]);
    file.extend((FLAG_ADLER32_PLAIN as u32).to_be_bytes());
    file.extend([0; 12]);
    file.push(0);
    file.extend([0; 4]);
    for block in bytes.chunks(256 << 10) {
        let packed = lzokay_native::compress(block).unwrap();
        let packed = if packed.len() < block.len() { &*packed } else { block };
        file.extend((block.len() as u32).to_be_bytes());
        file.extend((packed.len() as u32).to_be_bytes());
        file.extend([0; 4]);
        file.extend(packed);
    }
    file.extend([0; 4]);
    file
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_another_implementation_packs_is_unpacked(
            words in prop::collection::vec(("[a-d]{1,9}", 1usize..400), 1..60),
        ) {
            let plain: String = words.iter().map(|(word, count)| word.repeat(*count)).collect();
            let mut out = Vec::new();
            decompress(&compress(plain.as_bytes()), usize::MAX, &mut out).unwrap();
            prop_assert!(out == plain.as_bytes());
        }

        #[test]
        fn any_block_ends_without_panic(packed in prop::collection::vec(any::<u8>(), 0..300), len in 0usize..5000) {
            let mut out = Vec::new();
            if block(&packed, len, &mut out).is_ok() {
                prop_assert_eq!(out.len(), len);
            }
        }
    }
}
