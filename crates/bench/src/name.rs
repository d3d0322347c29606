//! Names of families, axes, values and builds.

/// The longest name, in bytes.
const NAME_BYTES_MAX: usize = 64;

/// Names that mean something else in a command's placeholders or in a selection.
const RESERVED: [&str; 7] =
    ["family", "build", "rate", "run_dir", "service", "duration_s", "rate_per_s"];

/// Whether `name` can stand in tables, keys and file names without being quoted: letters, digits,
/// `.`, `_`, `+` and `-`, at most 64 bytes.
pub(crate) fn is_name(name: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._+-".contains(&byte);
    (1..=NAME_BYTES_MAX).contains(&name.len()) && name.bytes().all(is_plain)
}

/// Whether `name` can be an axis: a name without a dot that means nothing else.
pub(crate) fn is_axis_name(name: &str) -> bool {
    is_name(name) && !name.contains('.') && !RESERVED.contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_need_no_quotes() {
        for good in ["a", "shm-ping-pong", "c++17", "v1.2_3"] {
            assert!(is_name(good), "{good}");
        }
        for bad in ["", "a b", "a=b", "a,b", "ä", "a/b", &"a".repeat(65)] {
            assert!(!is_name(bad), "{bad}");
        }
        assert!(is_axis_name("client") && !is_axis_name("rate") && !is_axis_name("a.b"));
    }
}
