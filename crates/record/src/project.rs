//! The code under test, by its commit.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{LazyLock, Mutex, PoisonError};

use serde::{Deserialize, Serialize};

/// The commit that a working tree stands on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Project {
    /// The commit in full, in hex; `None` outside a repository, before its first commit, or
    /// without the `git` command.
    pub commit: Option<String>,
    /// Whether tracked files differ from the commit. Submodules and untracked files do not count.
    pub dirty: bool,
}

impl Project {
    /// The working tree that `directory` is in, as the `git` command sees it.
    ///
    /// The answer is remembered for as long as this process lives, unless it is that there is none.
    pub fn of_directory(directory: &Path) -> Self {
        static KNOWN: LazyLock<Mutex<HashMap<PathBuf, Project>>> = LazyLock::new(Mutex::default);
        let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(project) = known.get(directory) {
            return project.clone();
        }
        let Some(project) = ask_git(directory) else { return Self::default() };
        known.insert(directory.to_path_buf(), project.clone());
        project
    }

    /// The first 12 digits of the commit, with `-dirty` behind them where it applies.
    pub fn short(&self) -> Option<String> {
        let commit: String = self.commit.as_ref()?.chars().take(12).collect();
        Some(if self.dirty { format!("{commit}-dirty") } else { commit })
    }
}

/// One call for both facts: with the commit in its header, status lists what is changed.
fn ask_git(directory: &Path) -> Option<Project> {
    let mut git = Command::new("git");
    git.args(["-c", "core.fsmonitor=false", "-c", "core.quotePath=true", "status"])
        .args(["--porcelain=v2", "--branch", "--untracked-files=no", "--ignore-submodules=all"])
        .current_dir(directory)
        .env("GIT_OPTIONAL_LOCKS", "0")
        .stdin(Stdio::null())
        .stderr(Stdio::null());
    // Inside a hook these name the repository of the hook, whatever the directory.
    for name in ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX"] {
        git.env_remove(name);
    }
    let output = git.output().ok().filter(|output| output.status.success())?;
    parse_status(&String::from_utf8(output.stdout).ok()?)
}

fn parse_status(status: &str) -> Option<Project> {
    let commit = status.lines().find_map(|line| line.strip_prefix("# branch.oid "))?;
    let is_hex = commit.len() >= 40 && commit.bytes().all(|byte| byte.is_ascii_hexdigit());
    let dirty = status.lines().any(|line| !line.starts_with('#'));
    is_hex.then(|| Project { commit: Some(commit.to_string()), dirty })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::testing;

    #[test]
    fn status_is_understood() {
        let oid = "0123456789abcdef0123456789abcdef01234567";
        let clean = parse_status(&format!("# branch.oid {oid}\n# branch.head main\n")).unwrap();
        assert_eq!(clean.short().as_deref(), Some("0123456789ab"));
        let dirty =
            parse_status(&format!("# branch.oid {oid}\n1 .M N... 1 1 1 1 1 a.rs\n")).unwrap();
        assert_eq!(dirty.short().as_deref(), Some("0123456789ab-dirty"));
        assert_eq!(parse_status("# branch.oid (initial)\n# branch.head main\n"), None);
    }

    #[test]
    fn a_commit_is_found_and_remembered() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("file");
        let git = |arguments: &[&str]| {
            let user = ["-c", "user.name=t", "-c", "user.email=t@localhost"];
            let mut git = Command::new("git");
            git.current_dir(&directory).args(user).args(arguments).stdout(Stdio::null());
            git.env("GIT_CONFIG_GLOBAL", "/dev/null").status().is_ok_and(|status| status.success())
        };
        if !git(&["init", "-q"]) {
            return testing::say_skipped("a_commit_is_found_and_remembered", "no git command");
        }
        assert_eq!(Project::of_directory(directory.path()), Project::default());
        fs::write(&file, "1").unwrap();
        assert!(git(&["add", "file"]) && git(&["commit", "-q", "-m", "one", "--no-gpg-sign"]));
        let first = Project::of_directory(directory.path());
        assert!(first.commit.is_some() && !first.dirty);
        fs::write(&file, "22").unwrap();
        assert_eq!(Project::of_directory(directory.path()), first);
        let changed = ask_git(directory.path()).unwrap();
        assert_eq!((changed.commit, changed.dirty), (first.commit, true));
    }

    #[test]
    fn there_is_none_outside_a_repository() {
        assert_eq!(Project::of_directory("/proc".as_ref()), Project::default());
        assert_eq!(Project::of_directory("/no/such/directory".as_ref()), Project::default());
    }
}
