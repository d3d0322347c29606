//! The directory of one run: which file a record goes to, and how it gets there whole.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Once;
use std::time::Duration;

use tempfile::NamedTempFile;

use crate::identity::Identity;
use crate::project::Project;
use crate::record::Record;
use crate::said::Said;

/// The run directory, `{root}/{kernel}-{commit}`, in which each variant has one record,
/// `{test}.{variant}.{hash}.json`.
///
/// A newer run of the same variant replaces the older record, so a directory holds the latest
/// answer for each variant on that kernel and that commit. Names are made of the letters, digits
/// and signs that need no quoting in a shell, and are at most 200 bytes long.
#[derive(Debug)]
pub struct Directory {
    path: PathBuf,
    swept: Once,
}

const TEMPORARY_PREFIX: &str = ".belljar-";
const TEMPORARY_SUFFIX: &str = ".tmp";

/// The age from which a temporary file is left over from a process that was killed.
const TEMPORARY_AGE_MAX: Duration = Duration::from_secs(3600);

impl Directory {
    /// The run directory under `root` for a kernel's id and the commit of a project; either is
    /// `unknown` in the name where it is not known. Touches no file.
    pub fn new(root: &Path, kernel: Option<&str>, project: &Project) -> Self {
        let kernel = file_name_part(kernel.unwrap_or_default(), 100, "unknown");
        let commit = file_name_part(&project.short().unwrap_or_default(), 90, "unknown");
        Self { path: root.join(format!("{kernel}-{commit}")), swept: Once::new() }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The file for a record of `identity`.
    pub fn record_path(&self, identity: &Identity) -> PathBuf {
        let test = file_name_part(&identity.test.replace("::", "."), 115, "unknown");
        let variant = file_name_part(&identity.variant, 60, "base");
        self.path.join(format!("{test}.{variant}.{}.json", identity.variant_hash))
    }

    /// Writes `record`, and `said` beside it where there is one, in place of what an older run of
    /// the same variant left there. Makes the directory when it is missing. Gives the record's path.
    ///
    /// A reader sees the older record or this one, never a part. Both files are on the disk, not
    /// only in its cache, when this returns.
    ///
    /// # Errors
    ///
    /// [`WriteError`] when the disk is full or something else is wrong with it. The older record is
    /// then still there, and no temporary file is.
    pub fn write(&self, record: &Record, said: Option<&Said>) -> Result<PathBuf, WriteError> {
        let path = self.record_path(&record.identity);
        let said_path = said_path(&path);
        let in_directory = |error| WriteError::new("make directory", &self.path, error);
        fs::create_dir_all(&self.path).map_err(in_directory)?;
        self.swept.call_once(|| sweep(&self.path));

        // All that needs space comes before all that is seen.
        let staged = Staged::new(&path, &record.to_json())?;
        let staged_said =
            said.map(|said| Staged::new(&said_path, &said.to_string())).transpose()?;
        match staged_said {
            Some(staged_said) => staged_said.commit()?,
            None => match fs::remove_file(&said_path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(WriteError::new("remove", &said_path, error));
                }
                _ => {}
            },
        }
        staged.commit()?;
        let directory = fs::File::open(&self.path).and_then(|directory| directory.sync_all());
        directory.map_err(|error| WriteError::new("write", &self.path, error))?;
        Ok(path)
    }
}

/// The file beside a record that holds what the guest [`Said`].
pub fn said_path(record_path: &Path) -> PathBuf {
    record_path.with_extension("said")
}

/// Whether a file's name is one that [`Directory::record_path`] gives.
pub(crate) fn is_record_name(name: &str) -> bool {
    let hash = name.strip_suffix(".json").and_then(|stem| stem.rsplit_once('.'));
    hash.is_some_and(|(stem, hash)| {
        !stem.starts_with('.') && hash.parse::<crate::identity::VariantHash>().is_ok()
    })
}

/// A file that is complete, under a name that nobody looks for. Dropped, it is gone.
struct Staged<'a> {
    file: NamedTempFile,
    path: &'a Path,
}

impl<'a> Staged<'a> {
    fn new(path: &'a Path, text: &str) -> Result<Self, WriteError> {
        let stage = || {
            let directory = path.parent().unwrap_or(Path::new("."));
            let mut file = tempfile::Builder::new()
                .prefix(TEMPORARY_PREFIX)
                .suffix(TEMPORARY_SUFFIX)
                .permissions(fs::Permissions::from_mode(0o666))
                .tempfile_in(directory)?;
            file.write_all(text.as_bytes())?;
            file.as_file().sync_all()?;
            Ok(file)
        };
        let file = stage().map_err(|error| WriteError::new("write", path, error))?;
        Ok(Self { file, path })
    }

    fn commit(self) -> Result<(), WriteError> {
        let Self { file, path } = self;
        let persisted = file.persist(path);
        persisted.map(drop).map_err(|error| WriteError::new("write", path, error.error))
    }
}

/// Removes what killed processes left. Whatever goes wrong here is no reason not to write.
fn sweep(directory: &Path) {
    let Ok(entries) = fs::read_dir(directory) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let is_temporary = name.starts_with(TEMPORARY_PREFIX) && name.ends_with(TEMPORARY_SUFFIX);
        let age = || entry.metadata().ok()?.modified().ok()?.elapsed().ok();
        if is_temporary && age().is_some_and(|age| age > TEMPORARY_AGE_MAX) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// `text` as a part of a file's name: at most `bytes_max` bytes, never empty, never hidden.
fn file_name_part(text: &str, bytes_max: usize, when_empty: &str) -> String {
    let safe = |c: char| c.is_ascii_alphanumeric() || "._-+=,@".contains(c);
    let part: String =
        text.chars().map(|c| if safe(c) { c } else { '_' }).take(bytes_max).collect();
    match part.strip_prefix('.') {
        Some(rest) => format!("_{rest}"),
        None if part.is_empty() => when_empty.to_string(),
        None => part,
    }
}

/// Why a record was not written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WriteError {
    /// The file system, or the user's share of it, is full.
    #[error(
        "could not {action} {path}: no space is left there; free some, or let records go elsewhere"
    )]
    NoSpace {
        /// What was being done.
        action: &'static str,
        /// To which file or directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Anything else.
    #[error("could not {action} {path}")]
    Io {
        /// What was being done.
        action: &'static str,
        /// To which file or directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl WriteError {
    fn new(action: &'static str, path: &Path, source: io::Error) -> Self {
        let path = path.to_path_buf();
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                Self::NoSpace { action, path, source }
            }
            _ => Self::Io { action, path, source },
        }
    }
}

#[cfg(test)]
mod tests {
    use std::env;
    use std::process::Command;
    use std::time::SystemTime;

    use proptest::prelude::*;

    use super::*;
    use crate::read::read;
    use crate::testing;

    fn directory_in(root: &Path) -> Directory {
        Directory::new(root, Some("debian:sid:7.2.13-1"), &Project::default())
    }

    fn names(directory: &Directory) -> Vec<String> {
        let entries = fs::read_dir(directory.path()).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_newer_run_replaces_the_older_one() {
        let root = tempfile::tempdir().unwrap();
        let directory = directory_in(root.path());
        let (mut record, said) = (testing::failed(), testing::said());
        let path = directory.write(&record, Some(&said)).unwrap();
        assert!(path.starts_with(root.path().join("debian_sid_7.2.13-1-unknown")));
        let stem = "cpus.all_online.2n4l2c1t.0123456789abcdef";
        assert_eq!(names(&directory), [format!("{stem}.json"), format!("{stem}.said")]);
        assert_eq!(crate::read_said(&path, record.digest.as_ref().unwrap()).unwrap(), said);

        record.notes.push("second".to_string());
        assert_eq!(directory.write(&record, None).unwrap(), path);
        assert_eq!(names(&directory), [format!("{stem}.json")]);
        assert_eq!(read(&path).unwrap(), record);
    }

    #[test]
    fn readers_never_see_a_part() {
        let root = tempfile::tempdir().unwrap();
        let directory = directory_in(root.path());
        let path = directory.write(&testing::passed(), None).unwrap();
        std::thread::scope(|scope| {
            let writer = scope.spawn(|| {
                for count in 0..40 {
                    let mut record = testing::passed();
                    record.stdout = crate::Tail::new("line\n".repeat(count * 500).as_bytes());
                    directory.write(&record, None).unwrap();
                }
            });
            while !writer.is_finished() {
                read(&path).unwrap();
            }
        });
    }

    #[test]
    fn what_a_killed_process_left_is_swept() {
        let root = tempfile::tempdir().unwrap();
        let directory = directory_in(root.path());
        fs::create_dir_all(directory.path()).unwrap();
        for (name, age) in [(".belljar-old.tmp", 2), (".belljar-new.tmp", 0), (".other.tmp", 2)] {
            let file = fs::File::create(directory.path().join(name)).unwrap();
            file.set_modified(SystemTime::now() - age * TEMPORARY_AGE_MAX).unwrap();
        }
        directory.write(&testing::passed(), None).unwrap();
        assert_eq!(names(&directory)[..2], [".belljar-new.tmp", ".other.tmp"]);
    }

    #[test]
    fn an_unwritable_place_is_named() {
        let error = directory_in("/proc".as_ref()).write(&testing::passed(), None).unwrap_err();
        let expected = "could not make directory /proc/debian_sid_7.2.13-1-unknown";
        assert_eq!(error.to_string(), expected);
    }

    /// Runs itself again in a mount namespace of its own, where 64 KiB are mounted over a
    /// directory, so that the mount is gone with the process however that ends.
    #[test]
    fn a_full_disk_leaves_the_older_record_and_nothing_else() {
        const NAME: &str = "a_full_disk_leaves_the_older_record_and_nothing_else";
        if let Some(root) = env::var_os("BELLJAR_RECORD_FULL_DISK") {
            return fill_the_disk(root.as_ref());
        }
        let root = tempfile::tempdir().unwrap();
        let in_small_disk = |namespaces: &[&str], program: &Path, arguments: &[&str]| {
            Command::new("unshare")
                .args(namespaces)
                .args(["--mount", "sh", "-ec"])
                .arg(r#"mount -t tmpfs -o size=64k tmpfs "$0"; exec "$@""#)
                .args([root.path(), program])
                .args(arguments)
                .env("BELLJAR_RECORD_FULL_DISK", root.path())
                .output()
        };
        let works = |namespaces: &&&[&str]| {
            let output = in_small_disk(namespaces, "true".as_ref(), &[]);
            output.is_ok_and(|output| output.status.success())
        };
        // A user of any name first, then as root where user namespaces are switched off.
        let choices: [&[&str]; 2] = [&["--user", "--map-root-user"], &[]];
        let Some(namespaces) = choices.iter().find(works) else {
            return testing::say_skipped(NAME, "`unshare --mount` is missing or not permitted");
        };
        let exe = env::current_exe().unwrap();
        let test = format!("directory::tests::{NAME}");
        let output = in_small_disk(namespaces, &exe, &[&test, "--exact", "--nocapture"]).unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && text.contains("1 passed"), "{output:?}");
    }

    fn fill_the_disk(root: &Path) {
        let directory = directory_in(root);
        let older = testing::failed();
        let path = directory.write(&older, Some(&testing::said())).unwrap();
        let before = names(&directory);

        let mut large = older.clone();
        large.stdout = crate::Tail::new("line\n".repeat(12_000).as_bytes());
        let mut transcript = crate::Transcript::new();
        (0..3000).for_each(|count| transcript.frame(count, "note", &[0; 100]));
        let (_, large_said) = transcript.finish(b"");
        for (record, said) in [(&large, None), (&older, Some(&large_said))] {
            let error = directory.write(record, said).unwrap_err();
            assert!(matches!(error, WriteError::NoSpace { .. }), "{error:?}");
            let words =
                ["could not write", path.file_stem().unwrap().to_str().unwrap(), "no space"];
            assert!(words.iter().all(|word| error.to_string().contains(word)), "{error}");
            assert_eq!(names(&directory), before);
            assert_eq!(read(&path).unwrap(), older);
            assert!(crate::read_said(&path, older.digest.as_ref().unwrap()).is_ok());
        }
        directory.write(&older, Some(&testing::said())).unwrap();
    }

    proptest! {
        #[test]
        fn names_are_safe_and_short(
            test in any::<String>(),
            variant in "\\PC{0,300}",
            kernel in proptest::option::of("[./a-z]{0,300}"),
        ) {
            let directory = Directory::new("/r".as_ref(), kernel.as_deref(), &Project::default());
            let mut identity = testing::passed().identity;
            (identity.test, identity.variant) = (test, variant);
            let path = directory.record_path(&identity);
            let parts: Vec<_> = path.to_str().unwrap().split('/').collect();
            prop_assert_eq!(parts.len(), 4);
            for part in &parts[2..] {
                prop_assert!(part.len() <= 200 && !part.starts_with('.'), "{}", part);
                prop_assert!(part.bytes().all(|byte| byte.is_ascii_graphic()));
            }
            prop_assert!(is_record_name(parts[3]));
        }
    }
}
