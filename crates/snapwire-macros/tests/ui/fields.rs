//! Types that have no layout.

use snapwire::Record;

#[derive(Record)]
struct Fields<'a, const N: usize> {
    length: usize,
    wide: u128,
    letter: char,
    maybe: Option<u32>,
    computed: [u8; N],
    empty: [u8; 0],
    names: [&'a str; 2],
    table: Vec<Vec<u8>>,
    pair: (u32, u32),
    mutable: &'a mut [u8],
    pointer: *const u8,
    own: Vec<Self>,
    #[record(version = 2)]
    option: u8,
    fine: u8,
}

struct Plain;

#[derive(Record)]
struct Inner {
    plain: Plain,
}

#[derive(Record)]
struct Tuple(u32);

#[derive(Record)]
enum Choice {
    One,
}

#[derive(Record)]
#[record(version = 0)]
struct Zero;

#[derive(Record)]
#[record(size = 8)]
struct Unknown;

#[derive(Record)]
struct Large {
    one: [u64; 4096],
    more: [u64; 4096],
    too_many: [u8; 32769],
}

#[derive(Record)]
struct Deep {
    one: [u64; 4096],
    more: [u64; 4096],
    less: u8,
}

fn main() {}
