//! The compressions that kernel images and modules come in.

use std::fmt;
use std::io::{self, Read};

use serde::{Deserialize, Serialize};

use crate::lzo;

/// A compression, told by its first bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Compression {
    /// `CONFIG_KERNEL_GZIP`, `.ko.gz`.
    Gzip,
    /// `CONFIG_KERNEL_BZIP2`.
    Bzip2,
    /// `CONFIG_KERNEL_LZMA`: the old format without a checksum.
    Lzma,
    /// `CONFIG_KERNEL_XZ`, `.ko.xz`.
    Xz,
    /// `CONFIG_KERNEL_LZO`: the file format of `lzop`.
    Lzo,
    /// `CONFIG_KERNEL_LZ4`: the legacy frame.
    Lz4,
    /// `CONFIG_KERNEL_ZSTD`, `.ko.zst`.
    Zstd,
}

/// Why bytes could not be decompressed.
#[derive(Debug, thiserror::Error)]
pub enum DecompressError {
    /// The stream is damaged or uses something its format forbids.
    #[error("the {compression} stream is damaged")]
    Damaged {
        /// What the first bytes said it is.
        compression: Compression,
        /// What the decoder said.
        source: io::Error,
    },
    /// The stream is longer than anything that can be meant.
    #[error("the {compression} stream holds more than {limit_bytes} bytes, the most that is taken")]
    TooLong {
        /// What the first bytes said it is.
        compression: Compression,
        /// The most that is taken.
        limit_bytes: usize,
    },
}

/// The windows of Debian's and upstream's images reach 128 MiB (zstd -22); a header that asks for
/// more is damaged or hostile.
const WINDOW_BYTES_MAX: u32 = 128 << 20;

impl Compression {
    /// All of them with their first bytes.
    pub const MAGIC: [(Self, &'static [u8]); 7] = [
        (Self::Gzip, &[0x1f, 0x8b]),
        (Self::Bzip2, b"BZh"),
        (Self::Lzma, &[0x5d, 0, 0]),
        (Self::Xz, &[0xfd, b'7', b'z', b'X', b'Z', 0]),
        (Self::Lzo, lzo::MAGIC),
        (Self::Lz4, &LZ4_LEGACY_MAGIC.to_le_bytes()),
        (Self::Zstd, &[0x28, 0xb5, 0x2f, 0xfd]),
    ];

    /// What `bytes` begin with, if it is a compression known here.
    #[must_use]
    pub fn detect(bytes: &[u8]) -> Option<Self> {
        Self::MAGIC.iter().find(|(_, magic)| bytes.starts_with(magic)).map(|&(kind, _)| kind)
    }

    /// The first stream in `bytes`; whatever follows it is left alone.
    ///
    /// # Errors
    ///
    /// If the stream is damaged, or longer than `limit_bytes`.
    pub fn decompress(self, bytes: &[u8], limit_bytes: usize) -> Result<Vec<u8>, DecompressError> {
        let mut out = Vec::new();
        let mut drain = |reader: &mut dyn Read| {
            reader.take(limit_bytes as u64 + 1).read_to_end(&mut out).map(|_| ())
        };
        let window_kib = WINDOW_BYTES_MAX / 1024 * 2;
        match self {
            Self::Gzip => drain(&mut flate2::bufread::GzDecoder::new(bytes)),
            Self::Bzip2 => drain(&mut bzip2::bufread::BzDecoder::new(bytes)),
            Self::Lzma => lzma_rust2::LzmaReader::new_mem_limit(bytes, window_kib, None)
                .and_then(|mut reader| drain(&mut reader)),
            Self::Xz => drain(&mut lzma_rust2::XzReader::new_mem_limit(bytes, false, window_kib)),
            Self::Lzo => lzo::decompress(bytes, limit_bytes, &mut out),
            Self::Lz4 => lz4_legacy(bytes, limit_bytes, &mut out),
            Self::Zstd => ruzstd::decoding::StreamingDecoder::new_with_max_window_size(
                bytes,
                u64::from(WINDOW_BYTES_MAX),
            )
            .map_err(io::Error::other)
            .and_then(|mut reader| drain(&mut reader)),
        }
        .map_err(|source| DecompressError::Damaged { compression: self, source })?;
        if out.len() > limit_bytes {
            return Err(DecompressError::TooLong { compression: self, limit_bytes });
        }
        Ok(out)
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Gzip => "gzip",
            Self::Bzip2 => "bzip2",
            Self::Lzma => "lzma",
            Self::Xz => "xz",
            Self::Lzo => "lzo",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        })
    }
}

const LZ4_LEGACY_MAGIC: u32 = 0x184c_2102;

/// Every block but the last of a legacy frame holds 8 MiB.
const LZ4_BLOCK_BYTES: usize = 8 << 20;

/// A legacy frame: the magic, then blocks with their length before them. It has no end mark; what
/// is too short to be a block (the size that the kernel's build appends) ends it.
fn lz4_legacy(bytes: &[u8], limit_bytes: usize, out: &mut Vec<u8>) -> io::Result<()> {
    let mut rest = bytes;
    while let Some((head, tail)) = rest.split_first_chunk::<4>() {
        let word = u32::from_le_bytes(*head);
        if word == LZ4_LEGACY_MAGIC {
            rest = tail;
            continue;
        }
        if tail.is_empty() {
            break;
        }
        let block = tail.get(..word as usize).ok_or(io::ErrorKind::UnexpectedEof)?;
        let room = LZ4_BLOCK_BYTES.min(limit_bytes.saturating_sub(out.len()) + 1);
        let start = out.len();
        out.resize(start + room, 0);
        let size = lz4_flex::block::decompress_into(block, &mut out[start..])
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        out.truncate(start + size);
        if out.len() > limit_bytes {
            break;
        }
        rest = &tail[word as usize..];
    }
    Ok(())
}

/// `bytes` in each compression, for tests.
#[cfg(test)]
pub(crate) fn samples(bytes: &[u8]) -> Vec<(Compression, Vec<u8>)> {
    use std::io::Write;

    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(bytes).unwrap();
    let mut bzip2 = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
    bzip2.write_all(bytes).unwrap();
    // As in the kernel's build: no length in the header but an end mark.
    let options = lzma_rust2::LzmaOptions::with_preset(1);
    let mut lzma = lzma_rust2::LzmaWriter::new_use_header(Vec::new(), &options, None).unwrap();
    lzma.write_all(bytes).unwrap();
    // As in the kernel's build: with the filter for x86 code.
    let mut options = lzma_rust2::XzOptions::with_preset(1);
    options.prepend_pre_filter(lzma_rust2::FilterType::BcjX86, 0);
    options.set_check_sum_type(lzma_rust2::CheckType::Crc32);
    let mut xz = lzma_rust2::XzWriter::new(Vec::new(), options).unwrap();
    xz.write_all(bytes).unwrap();
    let mut lz4 = LZ4_LEGACY_MAGIC.to_le_bytes().to_vec();
    for block in bytes.chunks(LZ4_BLOCK_BYTES) {
        let packed = lz4_flex::block::compress(block);
        lz4.extend((packed.len() as u32).to_le_bytes());
        lz4.extend(packed);
    }
    let level = ruzstd::encoding::CompressionLevel::Fastest;
    vec![
        (Compression::Gzip, gzip.finish().unwrap()),
        (Compression::Bzip2, bzip2.finish().unwrap()),
        (Compression::Lzma, lzma.finish().unwrap()),
        (Compression::Xz, xz.finish().unwrap()),
        (Compression::Lzo, lzo::compress(bytes)),
        (Compression::Lz4, lz4),
        (Compression::Zstd, ruzstd::encoding::compress_to_vec(bytes, level)),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn no_stream_grows_beyond_the_limit() {
        let zeros = vec![0; 1 << 20];
        for (compression, packed) in samples(&zeros) {
            assert_eq!(Compression::detect(&packed), Some(compression));
            assert!(compression.decompress(&packed, zeros.len()).is_ok(), "{compression}");
            let result = compression.decompress(&packed, 1000);
            assert!(result.is_err(), "{compression}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]
        #[test]
        fn damaged_streams_end_without_panic(
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
            cut in any::<prop::sample::Index>(),
            text in "[a-f ]{0,300}",
        ) {
            for (compression, mut packed) in samples(text.repeat(3).as_bytes()) {
                for (at, value) in &changes {
                    let at = at.index(packed.len());
                    packed[at] = *value;
                }
                let _ = compression.decompress(&packed, 1 << 16);
                packed.truncate(cut.index(packed.len()));
                let _ = compression.decompress(&packed, 1 << 16);
            }
        }

        #[test]
        fn any_bytes_after_a_magic_end_without_panic(tail in prop::collection::vec(any::<u8>(), 0..200)) {
            for (compression, magic) in Compression::MAGIC {
                let _ = compression.decompress(&[magic, &tail].concat(), 1 << 16);
            }
        }
    }
}
