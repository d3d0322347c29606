//! Whom a fault is for.

use std::str::FromStr;

/// The kernel cuts names of threads off after so many bytes.
pub(crate) const COMM_BYTES: usize = 15;
/// Longer names of cgroups are not told apart by the scheduler.
pub(crate) const CGROUP_BYTES: usize = 62;

/// Some of the machine's threads: by name or by cgroup, all of those or every so manieth.
///
/// It is written `NAME` or `comm:NAME` for threads whose name begins so, and `cgroup:NAME` for
/// threads in a cgroup of that name, or below one. `%N` behind it leaves of these only threads
/// whose id is a multiple of N. Kernel threads and this program are never meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Selector {
    /// The beginning of the thread's name, at most [`COMM_BYTES`]; empty for any.
    pub(crate) comm: String,
    /// The name of a cgroup on the way to the thread's, at most [`CGROUP_BYTES`]; empty for any.
    pub(crate) cgroup: String,
    /// Only threads whose id is a multiple of this; never 0.
    pub(crate) one_in: u32,
}

/// Why a selector cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SelectorError {
    /// Nobody is named.
    #[error("it names nobody; write `NAME`, `comm:NAME` or `cgroup:NAME`, with `%N` for one of N")]
    Empty,
    /// A name that no thread can have.
    #[error("`{0}` is longer than the {COMM_BYTES} bytes of a thread's name")]
    CommTooLong(String),
    /// A name that the scheduler could not tell from others.
    #[error("`{0}` is longer than {CGROUP_BYTES} bytes; take another cgroup on its path")]
    CgroupTooLong(String),
    /// A path instead of a name.
    #[error("`{0}` is a path; give the name of one cgroup on it, wherever it lies")]
    Path(String),
    /// A wrong number after `%`.
    #[error("`{0}` is no number of threads; write `%2` for every second one")]
    OneIn(String),
    /// A byte that ends names.
    #[error("a name has no zero byte in it")]
    ZeroByte,
}

impl FromStr for Selector {
    type Err = SelectorError;

    fn from_str(text: &str) -> Result<Selector, SelectorError> {
        if text.contains('\0') {
            return Err(SelectorError::ZeroByte);
        }
        let (name, one_in) = match text.rsplit_once('%') {
            None => (text, 1),
            Some((name, number)) => match number.parse() {
                Ok(one_in) if one_in > 0 => (name, one_in),
                _ => return Err(SelectorError::OneIn(number.to_owned())),
            },
        };
        let (comm, cgroup) = match name.strip_prefix("cgroup:") {
            Some("") => return Err(SelectorError::Empty),
            Some(cgroup) => ("", cgroup),
            None => (name.strip_prefix("comm:").unwrap_or(name), ""),
        };
        if comm.is_empty() && cgroup.is_empty() && one_in == 1 {
            return Err(SelectorError::Empty);
        }
        if comm.len() > COMM_BYTES {
            return Err(SelectorError::CommTooLong(comm.to_owned()));
        }
        if cgroup.contains('/') {
            return Err(SelectorError::Path(cgroup.to_owned()));
        }
        if cgroup.len() > CGROUP_BYTES {
            return Err(SelectorError::CgroupTooLong(cgroup.to_owned()));
        }
        Ok(Selector { comm: comm.to_owned(), cgroup: cgroup.to_owned(), one_in })
    }
}

impl Selector {
    /// Everybody but kernel threads and this program.
    pub(crate) fn everybody() -> Selector {
        Selector { comm: String::new(), cgroup: String::new(), one_in: 1 }
    }

    /// Whether a thread is meant, as the scheduler decides it. `cgroup` is the path in the
    /// hierarchy, as `/busy/a`.
    pub(crate) fn matches(&self, tid: u32, comm: &[u8], cgroup: &str) -> bool {
        let mut on_the_way = cgroup.split('/').filter(|name| !name.is_empty());
        tid.is_multiple_of(self.one_in)
            && comm.starts_with(self.comm.as_bytes())
            && (self.cgroup.is_empty() || on_the_way.any(|name| name == self.cgroup))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn selector(text: &str) -> Selector {
        text.parse().unwrap()
    }

    #[test]
    fn it_is_a_name_or_a_cgroup_and_a_share() {
        let comm = |comm: &str, one_in| Selector {
            comm: comm.to_owned(),
            one_in,
            ..Selector::everybody()
        };
        assert_eq!(selector("worker"), comm("worker", 1));
        assert_eq!(selector("comm:worker%2"), comm("worker", 2));
        assert_eq!(selector("%3"), comm("", 3));
        assert_eq!(selector("a%b%4"), comm("a%b", 4));
        let cgroup = Selector { cgroup: "work".to_owned(), ..Selector::everybody() };
        assert_eq!(selector("cgroup:work"), cgroup);
    }

    #[test]
    fn what_the_kernel_could_not_match_is_refused() {
        use SelectorError::*;
        let fits = "x".repeat(COMM_BYTES);
        assert_eq!(selector(&fits).comm, fits);
        let too_long = "x".repeat(COMM_BYTES + 1);
        let long_cgroup = "y".repeat(CGROUP_BYTES + 1);
        let cases = [
            ("", Empty),
            ("comm:", Empty),
            ("cgroup:", Empty),
            ("cgroup:%2", Empty),
            ("%1", Empty),
            ("w%0", OneIn("0".to_owned())),
            ("w%", OneIn(String::new())),
            ("w%-1", OneIn("-1".to_owned())),
            ("cgroup:/busy/a", Path("/busy/a".to_owned())),
            ("a\0b", ZeroByte),
            (&too_long, CommTooLong(too_long.clone())),
            (&format!("cgroup:{long_cgroup}"), CgroupTooLong(long_cgroup)),
        ];
        for (text, error) in cases {
            assert_eq!(text.parse::<Selector>(), Err(error), "{text:?}");
        }
    }

    #[test]
    fn threads_match_by_beginning_cgroup_and_id() {
        assert!(selector("work").matches(7, b"worker-1", "/"));
        assert!(!selector("worker-10").matches(7, b"worker-1", "/"));
        assert!(selector("%7").matches(14, b"", "/"));
        assert!(!selector("%7").matches(15, b"", "/"));
        let below = selector("cgroup:a%2");
        assert!(below.matches(2, b"x", "/busy/a/b"));
        assert!(!below.matches(3, b"x", "/busy/a/b"));
        assert!(!below.matches(2, b"x", "/busy/ab"));
        assert!(Selector::everybody().matches(1, b"", ""));
    }

    proptest! {
        #[test]
        fn whatever_is_read_fits(text in "\\PC{0,20}|(comm:|cgroup:)?[a-z%0-9]{0,70}") {
            if let Ok(selector) = text.parse::<Selector>() {
                prop_assert!(selector.comm.len() <= COMM_BYTES);
                prop_assert!(selector.cgroup.len() <= CGROUP_BYTES);
                prop_assert!(selector.one_in > 0 && selector != Selector::everybody());
            }
        }
    }
}
