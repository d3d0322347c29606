//! Schedulers under test.

use belljar_verdict::Limits;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::{Path, PathBuf};

/// Where schedulers and their configurations lie in the guest.
const DIRECTORY: &str = "/.belljar/schedulers";

/// A scheduler under test, as a test binary declares it with [`scheduler!`](crate::scheduler!).
#[derive(Clone, Copy, Debug)]
pub struct Scheduler {
    id: &'static str,
    name: &'static str,
    manifest_dir: &'static str,
    source: StaticSource,
    args: &'static [&'static str],
    config: Option<&'static str>,
    needs: &'static [&'static str],
    topology: Option<&'static str>,
    limits: fn() -> Limits,
}

#[derive(Clone, Copy, Debug)]
enum StaticSource {
    Kernel,
    Package(&'static str),
    Path(&'static str),
    Program(&'static str),
    Release(&'static str, &'static str),
}

/// The kernel's own scheduler: nothing is attached.
pub static EEVDF: Scheduler = Scheduler::new("eevdf", "EEVDF", "", StaticSource::Kernel).needs(&[]);

impl Scheduler {
    const fn new(
        id: &'static str,
        name: &'static str,
        manifest_dir: &'static str,
        source: StaticSource,
    ) -> Scheduler {
        Scheduler {
            id,
            name,
            manifest_dir,
            source,
            args: &[],
            config: None,
            needs: &["sched_ext"],
            topology: None,
            limits: Limits::new,
        }
    }

    /// A package of the workspace, whose binary has the package's name, with `_` for `-`
    /// where there is none of that name. It is built when it is needed.
    #[doc(hidden)]
    pub const fn package(
        id: &'static str,
        name: &'static str,
        manifest_dir: &'static str,
        package: &'static str,
    ) -> Scheduler {
        Scheduler::new(id, name, manifest_dir, StaticSource::Package(package))
    }

    /// A program at a path, relative to the directory of the package that declares it.
    #[doc(hidden)]
    pub const fn path(
        id: &'static str,
        name: &'static str,
        manifest_dir: &'static str,
        path: &'static str,
    ) -> Scheduler {
        Scheduler::new(id, name, manifest_dir, StaticSource::Path(path))
    }

    /// A program on the host's PATH.
    #[doc(hidden)]
    pub const fn program(
        id: &'static str,
        name: &'static str,
        manifest_dir: &'static str,
        program: &'static str,
    ) -> Scheduler {
        Scheduler::new(id, name, manifest_dir, StaticSource::Program(program))
    }

    /// A published crate in one version. It is built once, and kept in the cache.
    #[doc(hidden)]
    pub const fn release(
        id: &'static str,
        name: &'static str,
        manifest_dir: &'static str,
        package: &'static str,
        version: &'static str,
    ) -> Scheduler {
        Scheduler::new(id, name, manifest_dir, StaticSource::Release(package, version))
    }

    /// Its arguments. `{config}` in one stands for the path of its configuration.
    #[must_use]
    pub const fn args(mut self, args: &'static [&'static str]) -> Scheduler {
        self.args = args;
        self
    }

    /// The text of its configuration file.
    #[must_use]
    pub const fn config(mut self, text: &'static str) -> Scheduler {
        self.config = Some(text);
        self
    }

    /// What the kernel must be able to do for it; `sched_ext` if not given.
    #[must_use]
    pub const fn needs(mut self, needs: &'static [&'static str]) -> Scheduler {
        self.needs = needs;
        self
    }

    /// The topology of tests that declare none.
    #[must_use]
    pub const fn topology(mut self, notation: &'static str) -> Scheduler {
        self.topology = Some(notation);
        self
    }

    /// What tests with it are held to, over the defaults and under the test's own limits.
    #[must_use]
    pub const fn limits(mut self, limits: fn() -> Limits) -> Scheduler {
        self.limits = limits;
        self
    }

    /// The name that it is declared by.
    pub fn name(&self) -> &'static str {
        self.name
    }

    pub(crate) fn id(&self) -> &'static str {
        self.id
    }

    pub(crate) fn held_to(&self) -> Limits {
        (self.limits)()
    }

    /// Itself for whoever is not in this process; none for the kernel's own.
    pub(crate) fn spec(&self) -> Option<SchedulerSpec> {
        let text = |text: &str| text.to_owned();
        let source = match self.source {
            StaticSource::Kernel => return None,
            StaticSource::Package(package) => SchedulerSource::Package { package: text(package) },
            StaticSource::Path(path) => {
                SchedulerSource::Path { path: Path::new(self.manifest_dir).join(path) }
            }
            StaticSource::Program(program) => SchedulerSource::Program { program: text(program) },
            StaticSource::Release(package, version) => {
                SchedulerSource::Release { package: text(package), version: text(version) }
            }
        };
        Some(SchedulerSpec {
            id: text(self.id),
            name: text(self.name),
            manifest_dir: PathBuf::from(self.manifest_dir),
            source,
            args: self.args.iter().map(|arg| text(arg)).collect(),
            config: self.config.map(text),
            needs: self.needs.iter().map(|need| text(need)).collect(),
            topology: self.topology.map(text),
        })
    }
}

/// A scheduler under test, as the command and the records know it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct SchedulerSpec {
    /// What tells it from all others of the binary: the path of its declaration.
    pub id: String,
    /// The name that it is declared by.
    pub name: String,
    /// The directory of the package that declares it.
    pub manifest_dir: PathBuf,
    /// Where its program comes from.
    pub source: SchedulerSource,
    /// Its arguments.
    pub args: Vec<String>,
    /// The text of its configuration file.
    pub config: Option<String>,
    /// What the kernel must be able to do.
    pub needs: Vec<String>,
    /// The topology of tests that declare none.
    pub topology: Option<String>,
}

/// Where a scheduler's program comes from.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "from", rename_all = "kebab-case")]
pub enum SchedulerSource {
    /// A package of the workspace that declares it.
    Package {
        /// Its name.
        package: String,
    },
    /// A file.
    Path {
        /// Where.
        path: PathBuf,
    },
    /// A program on the PATH.
    Program {
        /// Its name.
        program: String,
    },
    /// A published crate.
    Release {
        /// Its name, and that of its binary.
        package: String,
        /// Its version.
        version: String,
    },
}

impl fmt::Display for SchedulerSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SchedulerSource::Package { package } => write!(f, "package {package}"),
            SchedulerSource::Path { path } => write!(f, "path {}", path.display()),
            SchedulerSource::Program { program } => write!(f, "program {program}"),
            SchedulerSource::Release { package, version } => {
                write!(f, "release {package} {version}")
            }
        }
    }
}

impl SchedulerSpec {
    /// Where its program lies in the guest.
    pub(crate) fn guest_program(&self) -> PathBuf {
        let program = match &self.source {
            SchedulerSource::Package { package } | SchedulerSource::Release { package, .. } => {
                package.replace('-', "_")
            }
            SchedulerSource::Path { path } => file_name(path),
            SchedulerSource::Program { program } => file_name(Path::new(program)),
        };
        Path::new(DIRECTORY).join(program)
    }

    /// Where its configuration lies in the guest.
    pub(crate) fn guest_config(&self) -> PathBuf {
        Path::new(DIRECTORY).join(format!("{}.config", self.id.replace("::", ".")))
    }

    /// Its command line in the guest.
    pub(crate) fn command(&self) -> Vec<String> {
        let config = self.guest_config().to_string_lossy().into_owned();
        let args = self.args.iter().map(|arg| arg.replace("{config}", &config));
        [self.guest_program().to_string_lossy().into_owned()].into_iter().chain(args).collect()
    }
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// Declares schedulers under test.
///
/// Each is a `static` that tests name in `scheduler = ...` and `staged = ...`. It comes from a
/// package of the workspace (built when it is needed), from a path, from the host's PATH, or from a
/// crate that is published (built once and kept in the cache):
///
/// ```
/// belljar::scheduler! {
///     /// Ours, with slices of 5 ms.
///     pub static OURS = package("scx-ours").args(&["--slice-us", "5000"]);
///     /// What is compared with it.
///     static RUSTY = release("scx_rusty", "1.1.4").topology("1n2l2c1t");
///     static INSTALLED = program("scx_simple");
///     static CONFIGURED = path("../target/scx_mine").args(&["-c", "{config}"]).config("slice = 3\n");
/// }
/// # fn main() { let _ = [&OURS, &RUSTY, &INSTALLED, &CONFIGURED]; }
/// ```
///
/// What follows are the methods of [`Scheduler`](crate::Scheduler).
#[macro_export]
macro_rules! scheduler {
    ($(
        $(#[$meta:meta])*
        $vis:vis static $name:ident = $source:ident($($from:expr),* $(,)?)
            $(.$method:ident($($value:expr),* $(,)?))*;
    )*) => {
        $(
            $(#[$meta])*
            $vis static $name: $crate::Scheduler = $crate::Scheduler::$source(
                ::core::concat!(::core::module_path!(), "::", ::core::stringify!($name)),
                ::core::stringify!($name),
                ::core::env!("CARGO_MANIFEST_DIR"),
                $($from),*
            )$(.$method($($value),*))*;
        )*
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    crate::scheduler! {
        static MINE = package("scx-mine").args(&["--config", "{config}", "-v"]).config("x = 1");
        static OTHERS = release("scx_rusty", "1.1.4").topology("1n2l2c1t").needs(&["sched_ext", "btf"]);
    }

    #[test]
    fn a_declaration_becomes_a_command_line_in_the_guest() {
        let spec = MINE.spec().unwrap();
        assert_eq!(spec.id, "belljar::scheduler::tests::MINE");
        assert_eq!(spec.needs, ["sched_ext"]);
        assert_eq!(
            spec.command(),
            [
                "/.belljar/schedulers/scx_mine",
                "--config",
                "/.belljar/schedulers/belljar.scheduler.tests.MINE.config",
                "-v"
            ]
        );
        let other = OTHERS.spec().unwrap();
        assert_eq!(other.guest_program(), Path::new("/.belljar/schedulers/scx_rusty"));
        assert_eq!((other.name.as_str(), other.topology.as_deref()), ("OTHERS", Some("1n2l2c1t")));
        assert_eq!(EEVDF.spec(), None);
        let json = serde_json::to_string(&spec).unwrap();
        assert_eq!(serde_json::from_str::<SchedulerSpec>(&json).unwrap(), spec);
    }
}
