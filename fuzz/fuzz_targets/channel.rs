//! The host's side of the channel, against a guest that writes what it likes.
//!
//! The input is a row of guest's moves; after each the host reads both logs, as it does
//! while a machine runs.

#![no_main]

use belljar_guest::channel::{AGENT_LOG, Code, LogArea, PROCESS_LOG, SIZE, encode_frame};
use belljar_vm::LogReader;
use libfuzzer_sys::fuzz_target;
use std::cell::RefCell;

thread_local! {
    static REGION: RefCell<Vec<u8>> = RefCell::new(vec![0; SIZE]);
}

/// What a guest can do between two looks of the host.
enum Move<'a> {
    /// Append a frame as the rules say, with a body of these bytes.
    Append(&'a [u8]),
    /// Write these bytes somewhere in the log.
    Write(usize, &'a [u8]),
    /// Claim that so much has been committed.
    Commit(u32),
}

/// A move and its log from the front of the input.
fn next<'a>(input: &mut &'a [u8]) -> Option<(LogArea, Move<'a>)> {
    let (head, rest) = input.split_first_chunk::<4>()?;
    let area = if head[0] & 1 == 0 { AGENT_LOG } else { PROCESS_LOG };
    let len = usize::from(head[1]).min(rest.len());
    let (bytes, rest) = rest.split_at(len);
    *input = rest;
    let number = u32::from_le_bytes([head[2], head[3], 0, 0]);
    let it = match head[0] >> 1 & 3 {
        0 | 1 => Move::Append(bytes),
        2 => Move::Write(number as usize, bytes),
        // Small and huge numbers alike.
        _ => Move::Commit(number << (head[0] >> 3)),
    };
    Some((area, it))
}

fuzz_target!(|input: &[u8]| {
    REGION.with_borrow_mut(|region| {
        let mut input = input;
        let mut readers = [LogReader::new(AGENT_LOG), LogReader::new(PROCESS_LOG)];
        let mut ended = [false; 2];
        let mut frames = [0u64; 2];
        let mut touched = [0usize; 2];
        while let Some((area, it)) = next(&mut input) {
            let which = usize::from(area == PROCESS_LOG);
            let log = &mut region[area.data.offset..area.data.offset + area.data.len];
            let mut committed = None;
            match it {
                Move::Append(body) => {
                    let mut frame = Vec::new();
                    encode_frame(&mut frame, Code::Stdout, frames[which], 1, body);
                    let end = touched[which] + frame.len();
                    log[touched[which]..end].copy_from_slice(&frame);
                    touched[which] = end;
                    frames[which] += 1;
                    committed = Some(end as u32);
                }
                Move::Write(at, bytes) => {
                    log[at..at + bytes.len()].copy_from_slice(bytes);
                    touched[which] = touched[which].max(at + bytes.len());
                }
                Move::Commit(number) => committed = Some(number),
            }
            if let Some(number) = committed {
                region[area.control..area.control + 4].copy_from_slice(&number.to_le_bytes());
            }
            for (reader, ended) in readers.iter_mut().zip(&mut ended) {
                let mut bytes = 0;
                let read = reader.drain(&region[..], |frame| bytes += frame.body.len());
                // What is handed over lies within the log, and nothing comes after an error.
                assert!(bytes <= reader.limit());
                *ended |= read.is_err();
                let _ = reader.dropped(&region[..]);
            }
            if ended == [true; 2] {
                break;
            }
        }
        // The next input starts with an empty region.
        for (area, touched) in [AGENT_LOG, PROCESS_LOG].into_iter().zip(touched) {
            region[area.data.offset..area.data.offset + touched].fill(0);
            region[area.control..area.control + 16].fill(0);
        }
    });
});
