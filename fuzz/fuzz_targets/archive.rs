//! The reader of archive headers: what the agent unpacks, and what it is to survive.

#![no_main]

use belljar_guest::archive::parse_header;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let mut rest = bytes;
    while let Ok(Some((header, len))) = parse_header(rest) {
        assert!(len <= rest.len() && len.is_multiple_of(4));
        assert!(!header.path.is_empty());
        let Some(next) = len.checked_add(header.body_len.next_multiple_of(4)) else { break };
        match rest.get(next..) {
            Some(tail) if !header.is_trailer() => rest = tail,
            _ => break,
        }
    }
});
