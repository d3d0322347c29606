//! Boot images as they come out of a package: the header, and every decompressor.

#![no_main]

use belljar_kernel::Image;
use libfuzzer_sys::fuzz_target;

/// A boot image with these bytes as its payload, as the kernel's build makes it.
fn image(payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; 1024];
    bytes[0x1f1] = 1;
    bytes[0x202..0x206].copy_from_slice(b"HdrS");
    bytes[0x206..0x208].copy_from_slice(&0x20f_u16.to_le_bytes());
    bytes[0x24c..0x250].copy_from_slice(&(payload.len() as u32).to_le_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

fn look(bytes: &[u8]) {
    let image = Image::new(bytes);
    if let Some(release) = image.release() {
        assert!(!release.contains('/'));
    }
    let _ = image.compression();
    if let Ok((vmlinux, _)) = image.vmlinux() {
        assert!(vmlinux.starts_with(b"\x7fELF"));
    }
}

fuzz_target!(|bytes: &[u8]| {
    // Half of the inputs are payloads: few would find their way past the header.
    match bytes.split_first() {
        Some((kind, payload)) if kind & 1 == 1 => look(&image(payload)),
        _ => look(bytes),
    }
});
