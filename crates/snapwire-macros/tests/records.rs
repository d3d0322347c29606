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
             | 0 | 4 | check, 0xf4784013, of version 1 |\n\
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
        words(&[0xf478_4013]);
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
        words(&[0xee26_7e07, 7, 16, 1]);
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

    /// Structures as macros make them, and names that only their author allows.
    #[test]
    fn records_may_be_made_by_macros() {
        macro_rules! record {
            ($name:ident<$life:lifetime> { $field:ident: $ty:ty }, $version:literal, $length:expr) => {
                #[expect(non_snake_case)]
                #[derive(Record)]
                #[record(version = $version)]
                struct $name<$life> {
                    $field: [$ty; $length],
                    list: &$life [$ty],
                    #[deprecated = "for the test"]
                    others: Vec<Owner<$life>>,
                }
            };
        }
        record!(Made<'m> { someWords: u32 }, 9, 3);
        #[expect(deprecated)]
        let made = Made { someWords: [1, 2, 3], list: &[4], others: Vec::new() };
        let payload = bytes(&made);
        let view = decode::<Made<'_>>(&payload).unwrap();
        assert_eq!((view.someWords, view.list.get(0)), ([1, 2, 3], Some(4)));
        assert!(Made::LAYOUT.contains("of version 9 |\n| 4 | 12 | `someWords`: `[u32; 3]` |"));
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
        // Nothing may follow, not even zeros.
        assert!(decode::<Whole<'_>>(&[payload, vec![0; 8]].concat()).is_err());
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
        assert_eq!(with(0, !good[0]), (Fault::OtherLayout, "Whole"));
        assert_eq!(with(3, !good[3]), (Fault::OtherLayout, "Whole"));
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

    /// Whoever was built with other fields is refused, though everything would fit.
    #[test]
    fn other_fields_are_another_layout() {
        macro_rules! refused {
            ($($field:ident: $ty:ty = $value:expr),*) => {{
                #[derive(Record)]
                struct Other {
                    $($field: $ty,)*
                }
                let malformed = decode::<Span>(&bytes(&Other { $($field: $value,)* })).unwrap_err();
                assert_eq!((malformed.fault, malformed.what), (Fault::OtherLayout, "Span"));
                assert!(malformed.to_string().contains("build both from one source"));
            }};
        }
        #[derive(Record)]
        struct Span {
            from: u32,
            to: u32,
        }
        assert_eq!(decode::<Span>(&bytes(&Span { from: 1, to: 2 })).unwrap().to, 2);
        refused!(to: u32 = 1, from: u32 = 2);
        refused!(from: u32 = 1, to: f32 = 2.0);
        refused!(from: u32 = 1, to: u32 = 2, unit: u8 = 3);
        refused!(from: u32 = 1);
    }

    /// 2 MiB of stack are enough for whatever is accepted, without optimisation, too.
    #[test]
    fn large_records_are_less_deep() {
        #[derive(Record)]
        struct Large {
            array: [u64; 2000],
            other: [u64; 2000],
            children: Vec<Large>,
        }
        let large = |children| Box::new(Large { array: [7; 2000], other: [8; 2000], children });
        let fixed = Large::FIXED_LEN;
        let leaf = {
            let mut payload = vec![0; fixed];
            assert_eq!(encode(&*large(Vec::new()), &mut payload), Ok(fixed));
            payload
        };
        let around = |inner: Vec<u8>| {
            let places = [fixed, 1, fixed.next_multiple_of(8) + 8, inner.len()];
            let places = places.map(|place| u32::try_from(place).unwrap().to_ne_bytes()).concat();
            [&leaf[..fixed - 8], &places, &inner].concat()
        };
        let deep = |levels| (1..levels).fold(leaf.clone(), |inner, _| around(inner));
        let payload = deep(4);
        let view = decode::<Large>(&payload).unwrap();
        assert_eq!(view.children.get(0).unwrap().children.get(0).unwrap().other, [8; 2000]);
        for levels in [5, 31] {
            let malformed = decode::<Large>(&deep(levels)).unwrap_err();
            assert_eq!((malformed.fault, malformed.what), (Fault::BadLayout, "Large"));
        }
        let nested = (1..5).fold(large(Vec::new()), |inner, _| large(vec![*inner]));
        let error = encode(&*nested, &mut vec![0; 1 << 20]).unwrap_err();
        assert!(matches!(error, BuildError::Unfit { what: "Large", .. }), "{error}");
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

        /// Offsets and lengths of any size, wherever a record may have one.
        #[test]
        fn any_word_is_refused_or_means_itself(
            at in 1usize..80, word in prop_oneof![any::<u32>(), 0u32..320, (u32::MAX - 320)..=u32::MAX],
            rest in prop::collection::vec(any::<u8>(), 0..9),
        ) {
            let mut payload = bytes(&example());
            let at = at * 4 % (payload.len() - 4);
            payload[at..at + 4].copy_from_slice(&word.to_ne_bytes());
            payload.extend(rest);
            if let Ok(view) = decode::<Whole<'_>>(&payload) {
                prop_assert_eq!(written_again(&view), payload);
            }
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
                prop_assert_eq!(payload, again);
            }
        }
    }
}
