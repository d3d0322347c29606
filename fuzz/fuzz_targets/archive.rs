//! The reader of archive headers: what the agent unpacks, and what it is to survive.

#![no_main]

use belljar_guest::archive::parse_header;
use libfuzzer_sys::fuzz_target;

/// A header whose fields are the numbers that the bytes start with, and the rest as it is.
fn with_header(bytes: &[u8]) -> Vec<u8> {
    let (fields, rest) = bytes.split_at(bytes.len().min(26));
    let mut text = b"070701".to_vec();
    for field in 0..13 {
        let number =
            fields.get(field * 2..field * 2 + 2).map_or(0, |b| u16::from_le_bytes([b[0], b[1]]));
        text.extend_from_slice(format!("{number:08x}").as_bytes());
    }
    text.extend_from_slice(rest);
    text
}

fn walk(bytes: &[u8]) {
    let mut rest = bytes;
    while let Ok(Some((header, len))) = parse_header(rest) {
        assert!(len <= rest.len() && len.is_multiple_of(4));
        let Some(next) = header
            .body_len
            .checked_next_multiple_of(4)
            .and_then(|body_len| len.checked_add(body_len))
        else {
            break;
        };
        match rest.get(next..) {
            Some(tail) if !header.is_trailer() => rest = tail,
            _ => break,
        }
    }
}

fuzz_target!(|bytes: &[u8]| {
    walk(bytes);
    // Few inputs would find their way past the magic number and the digits.
    walk(&with_header(bytes));
});
