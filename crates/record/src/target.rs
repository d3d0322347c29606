//! Where records go when nobody says.

use std::env;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

/// The root for the records of a test binary: `belljar` in the target directory of cargo that
/// `exe` is in, which is the closest that [`is_target_directory`]; otherwise `belljar` in the user's
/// state directory (`$XDG_STATE_HOME`, by default `~/.local/state`).
///
/// `None` when there is no such ancestor and the user has no home directory.
pub fn target_root(exe: &Path) -> Option<PathBuf> {
    let state = env::var_os("XDG_STATE_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let home = env::home_dir().filter(|path| path.is_absolute());
    let base = target_directory(exe)
        .map(Path::to_path_buf)
        .or(state)
        .or_else(|| home.map(|home| home.join(".local/state")))?;
    Some(base.join("belljar"))
}

fn target_directory(exe: &Path) -> Option<&Path> {
    exe.ancestors().skip(1).find(|directory| is_target_directory(directory))
}

/// Whether cargo builds in this directory. It puts a `CACHEDIR.TAG` into one that it makes, and into
/// one that was there before, such as cargo-nextest's, only what it knows of the compiler.
pub fn is_target_directory(directory: &Path) -> bool {
    let is_file = |name| directory.join(name).is_file();
    is_file(".rustc_info.json") || is_tag(&directory.join("CACHEDIR.TAG"))
}

/// Whether the file begins as <https://bford.info/cachedir/> says.
fn is_tag(path: &Path) -> bool {
    const SIGNATURE: &[u8; 43] = b"Signature: 8a477f597d28d172789f06886806bc55";
    let mut start = [0; SIGNATURE.len()];
    // A pipe would be waited for.
    fs::metadata(path).is_ok_and(|facts| facts.is_file())
        && fs::File::open(path).and_then(|mut file| file.read_exact(&mut start)).is_ok()
        && start == *SIGNATURE
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_test_is_in_a_target_directory() {
        let exe = env::current_exe().unwrap();
        let root = target_root(&exe).unwrap();
        assert!(exe.starts_with(root.parent().unwrap()), "{root:?}");
    }

    #[test]
    fn only_a_real_tag_counts() {
        let directory = tempfile::tempdir().unwrap();
        let inner = directory.path().join("target/debug/deps");
        fs::create_dir_all(&inner).unwrap();
        fs::write(inner.join("CACHEDIR.TAG"), "Signature: something else").unwrap();
        let exe = inner.join("boot-0123");
        assert_eq!(target_directory(&exe), None);
        let target = directory.path().join("target");
        let tag = "Signature: 8a477f597d28d172789f06886806bc55\n# by cargo.\n";
        fs::write(target.join("CACHEDIR.TAG"), tag).unwrap();
        assert_eq!(target_directory(&exe), Some(target.as_path()));
        assert_eq!(target_root(&exe), Some(target.join("belljar")));
        fs::remove_file(target.join("CACHEDIR.TAG")).unwrap();
        fs::write(target.join(".rustc_info.json"), "{}").unwrap();
        assert_eq!(target_directory(&exe), Some(target.as_path()), "it was there before cargo");
    }
}
