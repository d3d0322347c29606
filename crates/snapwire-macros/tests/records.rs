//! Derived records: what they look like as bytes, and that nothing else is taken for one.
#![deny(warnings, missing_docs, unused, unreachable_pub, clippy::all, clippy::pedantic)]

use proptest::prelude::*;
use snapwire::Record;
use snapwire::codec::{BuildError, Fault};
use snapwire::record::{decode, encode};

/// Everything that a record can have.
#[derive(Clone, Debug, PartialEq, Record)]
struct Whole<'a> {
    flag: bool,
    /// A number.
    size: u64,
    digest: [u8; 3],
    ratios: [f32; 2],
    name: &'a str,
    r#type: String,
    blob: Vec<u8>,
    blocks: &'a [u16],
    flags: Vec<bool>,
    links: Vec<String>,
    owner: Owner<'a>,
    parts: Vec<Owner<'a>>,
}

/// In another record.
#[derive(Clone, Debug, PartialEq, Record)]
#[record(version = 7)]
struct Owner<'a> {
    uid: i32,
    groups: &'a [&'a str],
}

/// Nothing but a version.
#[derive(Clone, Debug, PartialEq, Record)]
struct Nothing;

/// As deep as one likes.
#[derive(Debug, Record)]
struct Tree {
    number: u8,
    children: Vec<Tree>,
}

fn bytes<R: Record>(record: &R) -> Vec<u8> {
    let mut payload = vec![0xee; 4096];
    let length = encode(record, &mut payload).unwrap();
    payload.truncate(length);
    payload
}

/// What was read, as it would be written.
fn written_again(view: &WholeView<'_>) -> Vec<u8> {
    let owners: Vec<Vec<&str>> =
        view.parts.iter().map(|owner| owner.groups.iter().collect()).collect();
    let groups: Vec<&str> = view.owner.groups.iter().collect();
    let blocks: Vec<u16> = view.blocks.iter().collect();
    bytes(&Whole {
        flag: view.flag,
        size: view.size,
        digest: view.digest,
        ratios: view.ratios,
        name: view.name,
        r#type: view.r#type.into(),
        blob: view.blob.into(),
        blocks: &blocks,
        flags: view.flags.iter().collect(),
        links: view.links.iter().map(String::from).collect(),
        owner: Owner { uid: view.owner.uid, groups: &groups },
        parts: view
            .parts
            .iter()
            .zip(&owners)
            .map(|(owner, groups)| Owner { uid: owner.uid, groups })
            .collect(),
    })
}

fn example() -> Whole<'static> {
    Whole {
        flag: true,
        size: 0x0102_0304,
        digest: [1, 2, 3],
        ratios: [0.5, -1.0],
        name: "né",
        r#type: String::new(),
        blob: vec![9, 0],
        blocks: &[258, 3],
        flags: vec![true, false],
        links: vec!["b".into(), String::new()],
        owner: Owner { uid: -1, groups: &["x"] },
        parts: vec![Owner { uid: 5, groups: &[] }, Owner { uid: 6, groups: &["y", "z"] }],
    }
}

#[cfg(test)]
mod layout {
    use super::*;

    #[test]
    fn bytes_are_those_of_the_table() {
        #[derive(Record)]
        struct File<'a> {
            is_directory: bool,
            size: u64,
            name: &'a str,
            blocks: Vec<u32>,
            owners: Vec<Owner<'a>>,
        }
        assert_eq!(
            File::LAYOUT,
            "| offset | size | field |\n| --- | --- | --- |\n\
             | 0 | 2 | layout version, 1 |\n| 2 | 2 | 0 |\n\
             | 4 | 1 | `is_directory`: `bool` |\n| 5 | 3 | 0 |\n| 8 | 8 | `size`: `u64` |\n\
             | 16 | 4 | `name`: text, its offset |\n| 20 | 4 | `name`: its length |\n\
             | 24 | 4 | `blocks`: list of `u32`, its offset |\n| 28 | 4 | `blocks`: its length |\n\
             | 32 | 4 | `owners`: list of records `Owner`, its offset |\n\
             | 36 | 4 | `owners`: its length |\n| 40 | | `name`, `blocks`, `owners` |\n"
        );
        let owners = vec![Owner { uid: 7, groups: &["g"] }];
        let file = File { is_directory: true, size: 9, name: "ab", blocks: vec![1, 2], owners };
        let mut expected = Vec::new();
        let mut words = |words: &[u32]| {
            expected.extend(words.iter().flat_map(|word| word.to_ne_bytes()));
        };
        words(&[if cfg!(target_endian = "little") { 1 } else { 0x0001_0000 }]);
        expected.extend([1, 0, 0, 0]);
        expected.extend(9u64.to_ne_bytes());
        let mut words = |words: &[u32]| {
            expected.extend(words.iter().flat_map(|word| word.to_ne_bytes()));
        };
        words(&[40, 2, 44, 2, 56, 1]);
        expected.extend(*b"ab\0\0");
        let mut words = |words: &[u32]| {
            expected.extend(words.iter().flat_map(|word| word.to_ne_bytes()));
        };
        words(&[1, 2, 0]);
        // The directory of `owners` at 56, its only record at 64: 26 bytes.
        words(&[64, 26]);
        words(&[if cfg!(target_endian = "little") { 7 } else { 0x0007_0000 }]);
        words(&[7, 16, 1]);
        words(&[24, 1]);
        expected.extend(*b"g\0");
        // The list's zeros before its alignment: 44 + 8 = 52, then 4.
        assert_eq!(bytes(&file), expected);
        let view = decode::<File<'_>>(&expected).unwrap();
        assert!(view.is_directory && view.size == 9 && view.name == "ab");
        assert!(view.blocks.iter().eq([1, 2]));
        assert_eq!(view.owners.get(0).unwrap().groups.get(0), Some("g"));
        assert!(view.owners.get(1).is_none() && view.blocks.get(2).is_none());
    }

    #[test]
    fn a_record_without_fields_is_its_version() {
        assert_eq!(bytes(&Nothing).len(), 4);
        assert!(decode::<Nothing>(&bytes(&Nothing)).is_ok());
        assert_eq!(decode::<Nothing>(&[1, 0, 0]).unwrap_err().fault, Fault::Truncated);
    }

    #[test]
    fn everything_comes_back() {
        let payload = bytes(&example());
        let view = decode::<Whole<'_>>(&payload).unwrap();
        assert_eq!((view.name, view.r#type, view.blob), ("né", "", &[9, 0][..]));
        assert_eq!(view.parts.iter().map(|owner| owner.uid).collect::<Vec<_>>(), [5, 6]);
        assert_eq!(written_again(&view), payload);
        assert!(format!("{view:?}").contains(r#"groups: ["y", "z"]"#), "{view:?}");
        // What follows is not looked at.
        assert!(decode::<Whole<'_>>(&[payload, vec![1; 9]].concat()).is_ok());
    }
}

#[cfg(test)]
mod refusal {
    use super::*;

    fn fault(payload: &[u8]) -> (Fault, &'static str) {
        let malformed = decode::<Whole<'_>>(payload).unwrap_err();
        (malformed.fault, malformed.what)
    }

    #[test]
    fn each_fault_has_its_name_and_field() {
        let good = bytes(&example());
        let with = |at: usize, value: u8| {
            let mut bad = good.clone();
            bad[at] = value;
            fault(&bad)
        };
        assert_eq!(with(0, 2), (Fault::BadLayout, "Whole"));
        assert_eq!(with(2, 1), (Fault::BadLayout, "Whole"));
        assert_eq!(with(4, 2), (Fault::BadLayout, "Whole.flag"));
        assert_eq!(with(5, 1), (Fault::BadLayout, "Whole"), "padding");
        let name = 28;
        assert_eq!(with(name, 0), (Fault::BadLayout, "Whole.name"), "an overlap");
        assert_eq!(with(name, 0xff), (Fault::BadLayout, "Whole.name"), "a gap");
        assert_eq!(with(name + 7, 1), (Fault::OutOfBounds, "Whole.name"));
        assert_eq!(with(name + 4, 2), (Fault::MissingNul, "Whole.name"));
        let text = usize::from(good[name]);
        assert_eq!(with(text + 1, b'x'), (Fault::BadLayout, "Whole.name"), "not UTF-8");
        assert_eq!(with(text + 3, 1), (Fault::MissingNul, "Whole.name"));
        assert_eq!(fault(&good[..name + 8]), (Fault::Truncated, "Whole"));
        assert_eq!(fault(&good[..good.len() - 1]).0, Fault::OutOfBounds);
    }

    #[test]
    fn what_does_not_fit_is_an_overflow() {
        let whole = example();
        let length = bytes(&whole).len();
        let mut payload = vec![0; length];
        for room in 0..length {
            let error = encode(&whole, &mut payload[..room]).unwrap_err();
            assert!(
                matches!(error, BuildError::Overflow { room_bytes, .. } if room_bytes == room),
                "{error}"
            );
        }
        assert_eq!(encode(&whole, &mut payload), Ok(length));
    }

    #[test]
    fn depth_has_an_end() {
        let tree = |depth| {
            let leaf = Tree { number: 0, children: Vec::new() };
            (1..depth).fold(leaf, |tree, number| Tree { number, children: vec![tree] })
        };
        let payload = bytes(&tree(32));
        let mut view = decode::<Tree>(&payload).unwrap();
        for number in (0..31).rev() {
            view = view.children.get(0).unwrap();
            assert_eq!(view.number, number);
        }
        let error = encode(&tree(33), &mut [0; 4096]).unwrap_err();
        assert!(matches!(error, BuildError::Unfit { .. }), "{error}");
        // Bytes that go on and on, each record the only child of the one around it.
        let leaf = bytes(&tree(1));
        let around = |inner: Vec<u8>| {
            let words = [16, 1, 24, u32::try_from(inner.len()).unwrap()];
            let places = words.map(u32::to_ne_bytes).concat();
            [&leaf[..8], &places, &inner].concat()
        };
        let deep = |levels| (1..levels).fold(leaf.clone(), |inner, _| around(inner));
        assert!(decode::<Tree>(&deep(32)).is_ok());
        for levels in [33, 1000] {
            let malformed = decode::<Tree>(&deep(levels)).unwrap_err();
            assert_eq!((malformed.fault, malformed.what), (Fault::BadLayout, "Tree"));
        }
    }

    proptest! {
        #[test]
        fn values_come_back(
            size in any::<u64>(), flag in any::<bool>(), name in ".{0,20}", blob in prop::collection::vec(any::<u8>(), 0..20),
            blocks in prop::collection::vec(any::<u16>(), 0..20), flags in prop::collection::vec(any::<bool>(), 0..5),
            links in prop::collection::vec(".{0,9}", 0..5), uids in prop::collection::vec(any::<i32>(), 0..5),
        ) {
            let groups: Vec<&str> = links.iter().map(String::as_str).collect();
            let owner = |uid: &i32| Owner { uid: *uid, groups: &groups };
            let whole = Whole {
                flag, size, name: &name, blob, blocks: &blocks, flags, links: links.clone(),
                parts: uids.iter().map(owner).collect(), ..example()
            };
            let payload = bytes(&whole);
            let view = decode::<Whole<'_>>(&payload).unwrap();
            prop_assert_eq!(view.name, &name);
            prop_assert_eq!(written_again(&view), payload.clone());
            prop_assert_eq!(view.parts.iter().map(|owner| owner.uid).collect::<Vec<_>>(), uids);
        }

        /// Whatever is taken for a record is the one way to write it.
        #[test]
        fn damaged_bytes_are_refused_or_mean_themselves(
            at in 0usize..300, value in any::<u8>(), also_at in 0usize..300, also in any::<u8>(), cut in 0usize..20,
        ) {
            let mut payload = bytes(&example());
            let length = payload.len();
            payload[at % length] = value;
            payload[also_at % length] ^= also & 0x11;
            payload.truncate(length - cut);
            if let Ok(view) = decode::<Whole<'_>>(&payload) {
                let again = written_again(&view);
                prop_assert_eq!(&payload[..again.len()], &again[..]);
            }
        }
    }
}
