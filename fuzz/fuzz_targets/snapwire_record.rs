//! Bytes as a derived record of snapwire, with everything that a record can have: any, and those of a
//! record in which some were changed. What is read is the only value with these bytes: written again it
//! is the same.

#![no_main]

use libfuzzer_sys::arbitrary::{Error, Result, Unstructured};
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

/// A structure, of which there are so many levels.
fn any_part<'a>(dice: &mut Unstructured<'a>, levels: u8) -> Result<Part<'a>> {
    let children = if levels == 0 { Vec::new() } else { any_parts(dice, levels - 1)? };
    Ok(Part { kind: dice.arbitrary()?, name: dice.arbitrary()?, children })
}

fn any_parts<'a>(dice: &mut Unstructured<'a>, levels: u8) -> Result<Vec<Part<'a>>> {
    (0..dice.int_in_range(0..=2)?).map(|_| any_part(dice, levels)).collect()
}

/// A record that is right, but for some of its words.
fn nearly_right(dice: &mut Unstructured<'_>) -> Result<Vec<u8>> {
    let words: Vec<(u16, u8)> = dice.arbitrary()?;
    let whole = Whole {
        flag: dice.arbitrary()?,
        number: dice.arbitrary()?,
        array: dice.arbitrary()?,
        part: any_part(dice, 3)?,
        parts: any_parts(dice, 2)?,
        numbers: dice.arbitrary()?,
        flags: dice.arbitrary()?,
        texts: dice.arbitrary()?,
        text: dice.arbitrary()?,
        bytes: dice.arbitrary()?,
    };
    let mut payload = vec![0xff; 1 << 16];
    let length = encode(&whole, &mut payload).map_err(|_| Error::IncorrectFormat)?;
    payload.truncate(length);
    for (at, value) in words {
        let at = usize::from(at) % length;
        payload[at] = value;
    }
    Ok(payload)
}

fuzz_target!(|input: &[u8]| {
    if let Ok(payload) = nearly_right(&mut Unstructured::new(input)) {
        check(&payload);
    }
    check(input);
});

fn check(payload: &[u8]) {
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
    assert_eq!(again[..length], *payload);
}
