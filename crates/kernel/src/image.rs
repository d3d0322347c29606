//! Boot images: from a compressed bzImage to the ELF kernel inside.

use std::borrow::Cow;

use crate::compression::{Compression, DecompressError};

/// The most that an uncompressed kernel may take: a full debug build stays below it.
pub const VMLINUX_BYTES_MAX: usize = 1 << 30;

const ELF_MAGIC: &[u8] = b"\x7fELF";
const BANNER: &[u8] = b"Linux version ";

/// An x86 boot image, or the ELF kernel itself. The bytes are treated as hostile.
#[derive(Debug, Clone, Copy)]
pub struct Image<'a> {
    bytes: &'a [u8],
}

/// Why an image holds no kernel that can be taken out.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// Neither an x86 boot image nor an ELF file.
    #[error("it is neither an x86 boot image (no `HdrS` at 0x202) nor an ELF kernel")]
    Unknown,
    /// Boot protocol older than 2.08: nothing says where the payload is.
    #[error(
        "its boot protocol {}.{:02} does not say where the kernel is; 2.08 (Linux 2.6.26) and later do",
        version >> 8,
        version & 0xff
    )]
    TooOld {
        /// As the header holds it, 0x0206 for 2.06.
        version: u16,
    },
    /// The header points outside of the file.
    #[error("it is cut short: the compressed kernel should end at byte {end}, the file has {len}")]
    Truncated {
        /// Where the payload should end.
        end: u64,
        /// How long the file is.
        len: usize,
    },
    /// The payload starts with no magic that is known here.
    #[error("its payload starts with {magic:02x?}, which is no compression that Linux uses")]
    UnknownCompression {
        /// The first bytes.
        magic: Vec<u8>,
    },
    /// The payload cannot be decompressed.
    #[error("its payload cannot be decompressed")]
    Decompress(#[from] DecompressError),
    /// Nothing says which release it is.
    #[error("it does not say which Linux version it is")]
    NoRelease,
    /// What came out is no ELF file.
    #[error("its {compression} payload holds no ELF kernel")]
    NotElf {
        /// How it was packed.
        compression: Compression,
    },
}

impl<'a> Image<'a> {
    /// An image in memory. Nothing is looked at yet.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }

    /// Whether this is an ELF file already.
    #[must_use]
    pub fn is_elf(self) -> bool {
        self.bytes.starts_with(ELF_MAGIC)
    }

    /// What `uname -r` will say: the first word of the version in the setup header, or of the
    /// banner in an ELF kernel.
    #[must_use]
    pub fn release(self) -> Option<String> {
        if !self.is_elf() {
            self.version().ok()?;
            return release_at(self.bytes.get(usize::from(self.word16(0x20e)?) + 0x200..)?);
        }
        let mut rest = self.bytes;
        loop {
            rest = &rest[find(rest, BANNER)? + BANNER.len()..];
            if let Some(release) = release_at(rest) {
                return Some(release);
            }
        }
    }

    /// How the kernel inside is packed, if it is.
    #[must_use]
    pub fn compression(self) -> Option<Compression> {
        if self.is_elf() { None } else { Compression::detect(self.payload().ok()?) }
    }

    /// The ELF kernel, and how it was packed if it was.
    ///
    /// # Errors
    ///
    /// If this is no kernel image, or a damaged one.
    pub fn vmlinux(self) -> Result<(Cow<'a, [u8]>, Option<Compression>), ImageError> {
        if self.is_elf() {
            return Ok((Cow::Borrowed(self.bytes), None));
        }
        let payload = self.payload()?;
        let Some(compression) = Compression::detect(payload) else {
            // An image built without compression has the ELF file as it is.
            if payload.starts_with(ELF_MAGIC) {
                return Ok((Cow::Borrowed(payload), None));
            }
            let magic = payload.iter().take(6).copied().collect();
            return Err(ImageError::UnknownCompression { magic });
        };
        let vmlinux = compression.decompress(payload, VMLINUX_BYTES_MAX)?;
        if !vmlinux.starts_with(ELF_MAGIC) {
            return Err(ImageError::NotElf { compression });
        }
        Ok((Cow::Owned(vmlinux), Some(compression)))
    }

    fn version(self) -> Result<u16, ImageError> {
        if self.bytes.get(0x202..0x206) != Some(b"HdrS") {
            return Err(ImageError::Unknown);
        }
        self.word16(0x206).ok_or(ImageError::Unknown)
    }

    fn payload(self) -> Result<&'a [u8], ImageError> {
        let version = self.version()?;
        if version < 0x208 {
            return Err(ImageError::TooOld { version });
        }
        let (Some(&sectors), Some(offset), Some(len)) =
            (self.bytes.get(0x1f1), self.word32(0x248), self.word32(0x24c))
        else {
            return Err(ImageError::Truncated { end: 0x250, len: self.bytes.len() });
        };
        let setup = (u64::from(if sectors == 0 { 4 } else { sectors }) + 1) * 512;
        let start = setup + u64::from(offset);
        let end = start + u64::from(len);
        usize::try_from(start)
            .ok()
            .zip(usize::try_from(end).ok())
            .and_then(|(start, end)| self.bytes.get(start..end))
            .ok_or(ImageError::Truncated { end, len: self.bytes.len() })
    }

    fn word16(self, at: usize) -> Option<u16> {
        self.bytes.get(at..)?.first_chunk().map(|bytes| u16::from_le_bytes(*bytes))
    }

    fn word32(self, at: usize) -> Option<u32> {
        self.bytes.get(at..)?.first_chunk().map(|bytes| u32::from_le_bytes(*bytes))
    }
}

/// The word that a version's text starts with, if it is a release.
fn release_at(text: &[u8]) -> Option<String> {
    let len = text.iter().take(128).position(|byte| !byte.is_ascii_graphic())?;
    let release = std::str::from_utf8(&text[..len]).ok()?;
    let is_release =
        release.starts_with(|c: char| c.is_ascii_digit()) && crate::text::is_file_name(release);
    is_release.then(|| release.to_owned())
}

/// Where `needle` is first.
pub(crate) fn find(bytes: &[u8], needle: &[u8]) -> Option<usize> {
    let (&first, rest) = needle.split_first()?;
    let mut at = 0;
    loop {
        at += bytes.get(at..)?.iter().position(|&byte| byte == first)?;
        if bytes[at + 1..].starts_with(rest) {
            return Some(at);
        }
        at += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compression::samples;
    use proptest::prelude::*;

    /// An ELF kernel that no compressor stores as it is.
    fn kernel() -> Vec<u8> {
        let mut elf = crate::elf::sample(&[(".BTF", b"types")], None);
        for i in 0..40_000_u32 {
            elf.extend((i.wrapping_mul(i) >> 5).to_le_bytes());
        }
        elf
    }

    /// A boot image with this payload, as the kernel's build makes it: two setup sectors, some code
    /// before the payload, and the length of the kernel after it.
    pub(crate) fn image(payload: &[u8], kernel_len: usize) -> Vec<u8> {
        let mut bytes = vec![0; 3 * 512 + 100];
        bytes[0x1f1] = 2;
        bytes[0x202..0x206].copy_from_slice(b"HdrS");
        bytes[0x206..0x208].copy_from_slice(&0x020f_u16.to_le_bytes());
        bytes[0x20e..0x210].copy_from_slice(&0x0180_u16.to_le_bytes());
        bytes[0x380..0x380 + 24].copy_from_slice(b"6.6.6-test (me@here) #1\0");
        bytes[0x248..0x24c].copy_from_slice(&100_u32.to_le_bytes());
        bytes[0x24c..0x250].copy_from_slice(&(payload.len() as u32 + 4).to_le_bytes());
        bytes.extend(payload);
        bytes.extend((kernel_len as u32).to_le_bytes());
        bytes.extend(b"code after the payload");
        bytes
    }

    #[test]
    fn every_compression_gives_the_kernel_back() {
        let kernel = kernel();
        for (compression, payload) in samples(&kernel) {
            let bytes = image(&payload, kernel.len());
            let image = Image::new(&bytes);
            let (vmlinux, found) = image.vmlinux().unwrap();
            assert_eq!(found, Some(compression));
            assert!(*vmlinux == *kernel, "{compression}");
            assert_eq!(image.release().as_deref(), Some("6.6.6-test"));
        }
    }

    #[test]
    fn an_elf_kernel_is_taken_as_it_is() {
        let mut bytes = kernel();
        bytes.extend(b"Linux version %s\0Linux version 6.6.6-elf (me@here)\0");
        assert_eq!(Image::new(&bytes).release().as_deref(), Some("6.6.6-elf"));
        assert_eq!(Image::new(&bytes).vmlinux().unwrap(), (Cow::Borrowed(&*bytes), None));
        let wrapped = image(&bytes, bytes.len());
        assert!(Image::new(&wrapped).vmlinux().unwrap().0.starts_with(&bytes));
    }

    #[test]
    fn what_is_wrong_is_said() {
        let says = |bytes: &[u8]| {
            let error = Image::new(bytes).vmlinux().unwrap_err();
            let source = std::error::Error::source(&error).map(ToString::to_string);
            [error.to_string(), source.unwrap_or_default()].join(": ")
        };
        let (_, payload) = samples(b"no kernel").swap_remove(0);
        let good = image(&payload, 9);
        assert!(says(b"").contains("no `HdrS`"));
        assert!(says(&good).contains("its gzip payload holds no ELF kernel"));
        assert!(
            says(&good[..1650])
                .contains("it is cut short: the compressed kernel should end at byte")
        );
        let mut old = good.clone();
        old[0x206] = 5;
        assert!(says(&old).contains("its boot protocol 2.05 does not say"));
        assert!(says(&image(b"plain", 5)).contains("no compression that Linux uses"));
        let mut damaged = good;
        damaged[1636 + 12] ^= 0xff;
        assert!(says(&damaged).contains("cannot be decompressed: the gzip stream is damaged"));
    }

    proptest! {
        #[test]
        fn any_header_is_read_without_panic(
            changes in prop::collection::vec((0x1f0usize..0x250, any::<u8>()), 0..8), cut in 0usize..2000,
        ) {
            let (_, payload) = samples(b"\x7fELF").swap_remove(0);
            let mut bytes = image(&payload, 4);
            for (at, value) in changes {
                bytes[at] = value;
            }
            bytes.truncate(cut);
            let _ = (Image::new(&bytes).vmlinux(), Image::new(&bytes).release());
        }
    }
}
