//! Where each field is, and the table that says so.

use crate::field::Shape;
use std::fmt::Write;

/// The check.
const HEADER_LEN: usize = 4;

/// A field in its place.
#[derive(Clone)]
pub(crate) struct Placed {
    pub(crate) name: String,
    pub(crate) shape: Shape,
    /// From the record's start, in bytes.
    pub(crate) at: usize,
    /// How many zeros come before it, in bytes.
    pub(crate) padding: usize,
}

/// The fixed part of a record.
#[derive(Clone)]
pub(crate) struct Layout {
    pub(crate) version: u16,
    pub(crate) fields: Vec<Placed>,
    /// The length of the fixed part in bytes.
    pub(crate) len: usize,
}

impl Layout {
    /// Places fields one after the other, each at a multiple of its alignment.
    pub(crate) fn of(version: u16, shapes: impl IntoIterator<Item = (String, Shape)>) -> Layout {
        let mut end = HEADER_LEN;
        let place = |(name, shape): (String, Shape)| {
            let (size, alignment) = shape.size();
            let at = end.next_multiple_of(alignment);
            let padding = at - end;
            end = at + size;
            Placed { name, shape, at, padding }
        };
        let fields = shapes.into_iter().map(place).collect();
        Layout { version, fields, len: end }
    }

    /// The table for people, and the check, which is the FNV-1a of what follows it.
    pub(crate) fn table(&self) -> (String, u32) {
        let rest = format!("of version {} |\n{}", self.version, self.rows());
        let step = |hash: u32, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193);
        let check = rest.bytes().fold(0x811c_9dc5, step);
        let head = "| offset | size | field |\n| --- | --- | --- |\n| 0 | 4 | check";
        (format!("{head}, {check:#010x}, {rest}"), check)
    }

    fn rows(&self) -> String {
        let mut table = String::new();
        let mut row = |at: usize, size: usize, what: &str| {
            // Writing to a string does not fail.
            let _ = writeln!(table, "| {at} | {size} | {what} |");
        };
        for Placed { name, shape, at, padding } in &self.fields {
            if *padding > 0 {
                row(at - padding, *padding, "0");
            }
            let kind = shape.describe();
            if shape.is_part() {
                row(*at, 4, &format!("`{name}`: {kind}, its offset"));
                row(at + 4, 4, &format!("`{name}`: its length"));
            } else {
                row(*at, shape.size().0, &format!("`{name}`: {kind}"));
            }
        }
        let parts = self.fields.iter().filter(|field| field.shape.is_part());
        let parts: Vec<String> = parts.map(|field| format!("`{}`", field.name)).collect();
        if !parts.is_empty() {
            let _ = writeln!(table, "| {} | | {} |", self.len, parts.join(", "));
        }
        table
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(fields: &[(&str, &str)]) -> Layout {
        let shape = |ty: &str| Shape::of(&syn::parse_str(ty).unwrap()).unwrap();
        Layout::of(2, fields.iter().map(|(name, ty)| (String::from(*name), shape(ty))))
    }

    #[test]
    fn fields_are_at_multiples_of_their_size() {
        let layout = layout(&[("a", "u8"), ("b", "u64"), ("c", "[u16; 3]"), ("d", "Vec<&str>")]);
        let places: Vec<_> = layout.fields.iter().map(|field| (field.at, field.padding)).collect();
        assert_eq!(places, [(4, 0), (8, 3), (16, 0), (24, 2)]);
        assert_eq!(layout.len, 32);
        assert_eq!(
            layout.table().0,
            "| offset | size | field |\n| --- | --- | --- |\n\
             | 0 | 4 | check, 0x64cc7d5f, of version 2 |\n\
             | 4 | 1 | `a`: `u8` |\n| 5 | 3 | 0 |\n| 8 | 8 | `b`: `u64` |\n\
             | 16 | 6 | `c`: `[u16; 3]` |\n| 22 | 2 | 0 |\n\
             | 24 | 4 | `d`: list of texts, its offset |\n| 28 | 4 | `d`: its length |\n\
             | 32 | | `d` |\n"
        );
    }

    #[test]
    fn a_record_without_fields_is_its_version() {
        let layout = layout(&[]);
        assert_eq!(layout.len, 4);
        assert!(layout.table().0.ends_with("| 0 | 4 | check, 0x81e64414, of version 2 |\n"));
    }
}
