//! Debian's control format: the records of packages and of package sources, and versions.

use std::cmp::Ordering;
use std::collections::BTreeMap;

/// One record. Field names are held in lower case, continuation lines with their line breaks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Stanza(BTreeMap<String, String>);

impl Stanza {
    /// All records of a text. What is no field is passed over.
    pub(crate) fn parse_all(text: &str) -> Vec<Self> {
        let mut stanzas = Vec::new();
        let mut stanza = Self::default();
        let mut last: Option<String> = None;
        for line in text.lines().chain([""]) {
            if line.starts_with('#') {
                continue;
            } else if line.trim().is_empty() {
                last = None;
                if !stanza.0.is_empty() {
                    stanzas.push(std::mem::take(&mut stanza));
                }
            } else if line.starts_with([' ', '\t']) {
                if let Some(value) = last.as_ref().and_then(|name| stanza.0.get_mut(name)) {
                    value.push('\n');
                    value.push_str(line);
                }
            } else if let Some((name, value)) = line.split_once(':') {
                let name = name.to_ascii_lowercase();
                stanza.0.insert(name.clone(), value.trim().to_owned());
                last = Some(name);
            }
        }
        stanzas
    }

    /// A field by its name in lower case.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// The words of a field.
    pub(crate) fn words(&self, name: &str) -> impl Iterator<Item = &str> {
        self.field(name).unwrap_or_default().split_whitespace()
    }

    /// What the package needs: name, and version if one alone will do. Of alternatives, the first.
    pub(crate) fn depends(&self) -> Vec<(&str, Option<&str>)> {
        ["pre-depends", "depends"]
            .iter()
            .filter_map(|name| self.field(name))
            .flat_map(|value| value.split(','))
            .filter_map(|group| {
                let first = group.split('|').next()?.trim();
                let (name, relation) = first.split_once(' ').unwrap_or((first, ""));
                let exact = relation.trim().strip_prefix("(=").and_then(|it| it.strip_suffix(')'));
                Some((name, exact.map(str::trim)))
            })
            .collect()
    }
}

/// Orders package versions as dpkg does.
pub(crate) fn compare_versions(a: &str, b: &str) -> Ordering {
    fn split(version: &str) -> (u64, &str, &str) {
        let (epoch, rest) = version.split_once(':').unwrap_or(("0", version));
        let (upstream, revision) = rest.rsplit_once('-').unwrap_or((rest, ""));
        (epoch.parse().unwrap_or(0), upstream, revision)
    }
    let (a, b) = (split(a), split(b));
    a.0.cmp(&b.0).then_with(|| compare_parts(a.1, b.1)).then_with(|| compare_parts(a.2, b.2))
}

fn compare_parts(mut a: &str, mut b: &str) -> Ordering {
    // `~` sorts before the end, the end before letters, letters before all else.
    fn weight(byte: Option<u8>) -> u16 {
        match byte {
            Some(b'~') => 0,
            None => 1,
            Some(byte) if byte.is_ascii_digit() => 1,
            Some(byte) if byte.is_ascii_alphabetic() => 2 + u16::from(byte),
            Some(byte) => 300 + u16::from(byte),
        }
    }
    fn number<'a>(text: &mut &'a str) -> &'a str {
        let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let (digits, rest) = text.split_at(end);
        *text = rest;
        digits.trim_start_matches('0')
    }
    loop {
        let (digits_a, digits_b) = (number(&mut a), number(&mut b));
        let numbers = digits_a.len().cmp(&digits_b.len()).then_with(|| digits_a.cmp(digits_b));
        if numbers != Ordering::Equal || (a.is_empty() && b.is_empty()) {
            return numbers;
        }
        loop {
            let (byte_a, byte_b) = (a.bytes().next(), b.bytes().next());
            let order = weight(byte_a).cmp(&weight(byte_b));
            if order != Ordering::Equal {
                return order;
            }
            // Equal weights are equal bytes, or two places where a number starts or nothing is.
            if weight(byte_a) == 1 {
                break;
            }
            let width = a.chars().next().map_or(0, char::len_utf8);
            (a, b) = (&a[width..], &b[b.chars().next().map_or(0, char::len_utf8)..]);
        }
    }
}

/// Whether `wanted` is `version` or a beginning of it that ends where a number ends.
pub(crate) fn version_starts_with(version: &str, wanted: &str) -> bool {
    version.strip_prefix(wanted).is_some_and(|rest| {
        let cuts_number = wanted.ends_with(|c: char| c.is_ascii_digit())
            && rest.starts_with(|c: char| c.is_ascii_digit());
        !cuts_number
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn records_have_fields_comments_and_continuations() {
        let text = "Types: deb\n# a mirror\nURIs: mirror+file:/x\nSigned-By:\n -----BEGIN\n .\n\n\n\
                    Package: a\nDepends: kmod, linux-base-7 (= 7.2-1), x | y (>= 3)\n";
        let stanzas = Stanza::parse_all(text);
        assert_eq!(stanzas.len(), 2);
        assert_eq!(stanzas[0].field("uris"), Some("mirror+file:/x"));
        assert_eq!(stanzas[0].field("signed-by"), Some("\n -----BEGIN\n ."));
        assert_eq!(
            stanzas[1].depends(),
            [("kmod", None), ("linux-base-7", Some("7.2-1")), ("x", None)]
        );
    }

    #[test]
    fn versions_are_ordered_as_dpkg_orders_them() {
        let ordered = [
            "6.1.9-1",
            "6.1.176-1",
            "6.12~rc1-1",
            "6.12-1",
            "6.12.1-1~bpo12+1",
            "6.12.1-1",
            "6.12.1-1+b1",
            "6.12.1-2",
            "6.12.1a-1",
            "6.12.1+x-1",
            "7.0-1",
            "1:0.1-1",
        ];
        for (i, a) in ordered.iter().enumerate() {
            for (j, b) in ordered.iter().enumerate() {
                assert_eq!(compare_versions(a, b), i.cmp(&j), "{a} {b}");
            }
        }
        assert_eq!(compare_versions("1.00-1", "1.0-1"), Ordering::Equal);
    }

    #[test]
    fn a_beginning_ends_where_a_number_ends() {
        assert!(version_starts_with("6.12.9-1", "6.12"));
        assert!(version_starts_with("7.2.13-1", "7.2.13-1"));
        assert!(!version_starts_with("6.12.9-1", "6.1"));
        assert!(!version_starts_with("6.1.9-1", "6.1.9-2"));
    }

    proptest! {
        #[test]
        fn any_text_is_compared_and_parsed(a in "\\PC{0,12}", b in "[0-9~+:.é-]{0,12}") {
            prop_assert_eq!(compare_versions(&a, &b), compare_versions(&b, &a).reverse());
            for stanza in Stanza::parse_all(&format!("{a}\nDepends: {b}")) {
                stanza.depends();
            }
        }
    }
}
