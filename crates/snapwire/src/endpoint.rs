//! Where a service is: a run directory and a name.

use crate::error::Error;
use std::fmt;
use std::path::{Path, PathBuf};

/// The longest path of a socket with its NUL, such that every implementation of the contract can
/// use it.
const SOCKET_PATH_MAX: usize = 104;
/// The longest path of a region with its NUL.
const REGION_PATH_MAX: usize = 256;

/// The server's number for a session: 1, 2, ... Refused connections have one, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(pub u64);

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A service in a run directory. The directory's permissions are the security boundary.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Endpoint {
    run_dir: PathBuf,
    service: String,
}

impl Endpoint {
    /// The endpoint of a service.
    ///
    /// # Errors
    /// [`Error::BadName`] and [`Error::PathTooLong`], before any system call.
    pub fn new(run_dir: impl Into<PathBuf>, service: impl Into<String>) -> Result<Endpoint, Error> {
        let (run_dir, service) = (run_dir.into(), service.into());
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        if service.is_empty() || service == "." || service == ".." || !service.bytes().all(allowed)
        {
            return Err(Error::BadName { name: service });
        }
        let endpoint = Endpoint { run_dir, service };
        let too_long = |path: PathBuf, max| match path.as_os_str().len() < max {
            true => Ok(()),
            false => Err(Error::PathTooLong { path, max_bytes: max - 1 }),
        };
        too_long(endpoint.socket_path(), SOCKET_PATH_MAX)?;
        too_long(endpoint.region_path(SessionId(0)), REGION_PATH_MAX)?;
        Ok(endpoint)
    }

    /// The directory.
    pub fn run_dir(&self) -> &Path {
        &self.run_dir
    }

    /// The service's name.
    pub fn service(&self) -> &str {
        &self.service
    }

    /// The socket, `{run_dir}/{service}.sock`.
    pub fn socket_path(&self) -> PathBuf {
        self.run_dir.join(format!("{}.sock", self.service))
    }

    /// The name of a session's region.
    pub(crate) fn region_name(&self, session: SessionId) -> String {
        format!("{}-{:016x}.ipcshm", self.service, session.0)
    }

    /// A session's region, `{run_dir}/{service}-{16 hexadecimal digits}.ipcshm`.
    pub fn region_path(&self, session: SessionId) -> PathBuf {
        self.run_dir.join(self.region_name(session))
    }

    /// Whether a file's name is that of a region of this service, and not of one whose name only
    /// starts alike.
    pub(crate) fn is_region_name(&self, name: &str) -> bool {
        let digits = name
            .strip_prefix(self.service.as_str())
            .and_then(|rest| rest.strip_prefix('-'))
            .and_then(|rest| rest.strip_suffix(".ipcshm"));
        let hex = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        digits.is_some_and(|digits| digits.len() == 16 && digits.bytes().all(hex))
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.socket_path().display().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked_before_anything_else() {
        for name in ["", ".", "..", "a/b", "a b", "a\0", "ä", "a\n"] {
            assert!(matches!(Endpoint::new("/r", name), Err(Error::BadName { .. })), "{name:?}");
        }
        let endpoint = Endpoint::new("/r", "cgroups.v2_a-b").unwrap();
        assert_eq!(endpoint.socket_path(), Path::new("/r/cgroups.v2_a-b.sock"));
        assert_eq!(
            endpoint.region_path(SessionId(0xab)),
            Path::new("/r/cgroups.v2_a-b-00000000000000ab.ipcshm")
        );
    }

    #[test]
    fn paths_must_fit_an_address() {
        let longest = "x".repeat(103 - "/r/.sock".len());
        assert!(Endpoint::new("/r", longest.clone()).is_ok());
        let error = Endpoint::new("/r", longest + "x").unwrap_err();
        assert!(matches!(error, Error::PathTooLong { max_bytes: 103, .. }), "{error}");
    }

    #[test]
    fn regions_of_other_services_are_not_ours() {
        let endpoint = Endpoint::new("/r", "a").unwrap();
        assert!(endpoint.is_region_name("a-0123456789abcdef.ipcshm"));
        for name in [
            "a-b-0123456789abcdef.ipcshm",
            "a-0123456789abcde.ipcshm",
            "a-0123456789ABCDEF.ipcshm",
            "ab-0123456789abcdef.ipcshm",
            "a.sock",
        ] {
            assert!(!endpoint.is_region_name(name), "{name}");
        }
    }
}
