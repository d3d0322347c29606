//! Bytes as a derived record of snapwire, with everything that a record can have. What is read is
//! the only value with these bytes: written again it is the same.

#![no_main]

use libfuzzer_sys::fuzz_target;
use snapwire::Record;
use snapwire::record::{decode, encode};

#[derive(Record)]
struct Whole<'a> {
    flag: bool,
    number: u64,
    array: [i16; 3],
    text: &'a str,
    bytes: &'a [u8],
    numbers: Vec<u32>,
    flags: Vec<bool>,
    texts: Vec<&'a str>,
    part: Part<'a>,
    parts: Vec<Part<'a>>,
}

#[derive(Record)]
#[record(version = 2)]
struct Part<'a> {
    kind: u8,
    name: &'a str,
    children: Vec<Part<'a>>,
}

fn part<'a>(view: PartView<'a>) -> Part<'a> {
    let children = view.children.iter().map(part).collect();
    Part { kind: view.kind, name: view.name, children }
}

fuzz_target!(|payload: &[u8]| {
    let Ok(view) = decode::<Whole<'_>>(payload) else {
        return;
    };
    let whole = Whole {
        flag: view.flag,
        number: view.number,
        array: view.array,
        text: view.text,
        bytes: view.bytes,
        numbers: view.numbers.iter().collect(),
        flags: view.flags.iter().collect(),
        texts: view.texts.iter().collect(),
        part: part(view.part),
        parts: view.parts.iter().map(part).collect(),
    };
    assert_eq!(view.parts.len(), whole.parts.len());
    let mut again = vec![0xff; payload.len()];
    let length = encode(&whole, &mut again).expect("it fits where it was read from");
    assert_eq!(again[..length], payload[..length]);
});
