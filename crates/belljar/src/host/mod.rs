//! The host's side of a test: from its declaration to its record.
//!
//! A [`Host`] holds what tests share: kernels, templates, the pool of forks, and where
//! records go. [`Host::plan`] resolves what a [`Spec`] declares against the
//! configuration and this machine; [`Host::prepare`] makes the template that the plan
//! needs; [`Host::run`] does both, runs the test, and writes its record.

mod plan;
mod run;
mod scheduler;
mod test;

pub use belljar_record::first_difference;
pub use plan::Plan;
pub(crate) use plan::topology_of;
pub use run::{Finished, why_stopped};
#[doc(hidden)]
pub use scheduler::cargo;
pub use test::run_as_test;

use crate::case::Spec;
use crate::config::{Config, ConfigError};
use crate::guest;
use crate::message::Request;
use crate::scheduler::SchedulerSource;
pub use crate::show::Shown;
use belljar_kernel::{Kernel, Source, Store};
use belljar_record::Reason;
use belljar_vm::{Cache, Engine, Pool, Progress, Qemu, Template};
use std::collections::HashMap;
use std::env;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// What is said outside of the tests: for all tests that declare nothing else.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The mode.
    pub mode: Option<String>,
    /// The kernel.
    pub kernel: Option<String>,
    /// The seed, even of tests that declare one: for a replay.
    pub seed: Option<u64>,
    /// How much host time a machine gets beyond its time limit before it counts as hung;
    /// 30 s if not given.
    pub grace: Option<Duration>,
    /// Where records go, if not below the target directory.
    pub records: Option<PathBuf>,
    /// Where templates are kept, if not in the user's cache.
    pub cache: Option<PathBuf>,
    /// What ties the records of one invocation together.
    pub session: Option<String>,
    /// Set to end all runs.
    pub cancelled: Arc<AtomicBool>,
}

impl Options {
    /// The options in the environment: `BELLJAR_MODE`, `BELLJAR_KERNEL`,
    /// `BELLJAR_RECORDS`.
    pub fn from_environment() -> Options {
        let text = |name| env::var(name).ok().filter(|text| !text.is_empty());
        Options {
            mode: text("BELLJAR_MODE"),
            kernel: text("BELLJAR_KERNEL"),
            records: text("BELLJAR_RECORDS").map(PathBuf::from),
            session: text("NEXTEST_RUN_ID"),
            ..Options::default()
        }
    }
}

/// The host's side of tests cannot be set up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HostError {
    /// There is no place for caches.
    #[error("there is no place for caches: neither XDG_CACHE_HOME nor HOME is set")]
    NoCache,
    /// QEMU or the cache of templates cannot be used.
    #[error(transparent)]
    Vm(#[from] belljar_vm::Error),
    /// The cache of kernels cannot be used.
    #[error(transparent)]
    Kernel(#[from] belljar_kernel::Error),
    /// The configuration cannot be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
}

/// The directory for everything that belljar keeps between runs:
/// `$XDG_CACHE_HOME/belljar`, or `~/.cache/belljar`.
///
/// # Errors
/// When neither variable is set.
pub fn cache_root() -> Result<PathBuf, HostError> {
    let of = |name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    of("XDG_CACHE_HOME")
        .filter(|path| path.is_absolute())
        .or_else(|| Some(of("HOME")?.join(".cache")))
        .map(|path| path.join("belljar"))
        .ok_or(HostError::NoCache)
}

/// What tests share on the host.
pub struct Host {
    engine: Arc<Engine>,
    pool: Pool,
    kernels: Store,
    options: Options,
    session: String,
    say: Arc<dyn Fn(&str) + Send + Sync>,
    configs: Mutex<HashMap<PathBuf, Config>>,
    resolved: Mutex<HashMap<String, Kernel>>,
    templates: Mutex<HashMap<plan::TemplateKey, Arc<Template>>>,
    failures: Mutex<HashMap<plan::TemplateKey, Reason>>,
    binaries: Mutex<HashMap<PathBuf, String>>,
    schedulers: Mutex<HashMap<SchedulerSource, Result<PathBuf, String>>>,
}

impl std::fmt::Debug for Host {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Host").field("engine", &self.engine).finish_non_exhaustive()
    }
}

impl Host {
    /// A host with the caches of this user. `say` is called with a line for people
    /// whenever something takes longer than a fork.
    ///
    /// # Errors
    /// When there is no QEMU, or the caches cannot be used.
    pub fn open(
        options: Options,
        config: &Config,
        say: impl Fn(&str) + Send + Sync + 'static,
    ) -> Result<Host, HostError> {
        let root = cache_root()?;
        let say: Arc<dyn Fn(&str) + Send + Sync> = Arc::new(say);
        let heard = Arc::clone(&say);
        let cache = Cache::open(options.cache.as_deref().unwrap_or(&root))?;
        let engine = Engine::new(Qemu::find()?, cache)
            .cache_limit(u64::from(config.cache_gib) << 30)
            .cancelled_by(&options.cancelled)
            .progress(move |progress| heard(&sentence(progress)));
        let engine = Arc::new(engine);
        let capacity = Pool::capacity_of_host(u64::from(config.memory_mib));
        let session = options.session.clone().unwrap_or_else(|| {
            let now = jiff::Timestamp::now().strftime("%Y%m%dT%H%M%SZ");
            format!("{now}-{}", std::process::id())
        });
        Ok(Host {
            pool: Pool::new(Arc::clone(&engine), capacity, Some(Request::warm_up().encode())),
            engine,
            kernels: Store::open(&root.join("kernels"))?,
            options,
            session,
            say,
            configs: Mutex::default(),
            resolved: Mutex::default(),
            templates: Mutex::default(),
            failures: Mutex::default(),
            binaries: Mutex::default(),
            schedulers: Mutex::default(),
        })
    }

    /// Makes templates and forks.
    pub fn engine(&self) -> &Arc<Engine> {
        &self.engine
    }

    /// The cache of kernels.
    pub fn kernels(&self) -> &Store {
        &self.kernels
    }

    /// What ties the records of this invocation together.
    pub fn session(&self) -> &str {
        &self.session
    }

    /// The configuration for a package.
    fn config(&self, manifest_dir: &Path) -> Result<Config, ConfigError> {
        let mut configs = self.configs.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(config) = configs.get(manifest_dir) {
            return Ok(config.clone());
        }
        let config = Config::of_package(manifest_dir)?;
        configs.insert(manifest_dir.to_owned(), config.clone());
        Ok(config)
    }

    /// The kernel that a word means: one in the cache, or else a source to fetch now.
    ///
    /// # Errors
    /// When it is neither, or cannot be fetched.
    pub fn kernel(&self, word: &str) -> Result<Kernel, belljar_kernel::Error> {
        let mut resolved = self.resolved.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(kernel) = resolved.get(word) {
            return Ok(kernel.clone());
        }
        let kernel = match word.parse::<Source>() {
            Ok(source) => {
                let say = |event: &belljar_kernel::Event| match event {
                    belljar_kernel::Event::Found { .. } => {}
                    event => (self.say)(&format!("kernel: {event}")),
                };
                self.kernels.fetch(&source, &say)?
            }
            Err(_) => self.kernels.get(word)?,
        };
        resolved.insert(word.to_owned(), kernel.clone());
        Ok(kernel)
    }
}

fn sentence(progress: &Progress) -> String {
    match progress {
        Progress::Waiting(what) => format!("waiting for a template that is being made: {what}"),
        Progress::Booting(what) => format!("booting a template: {what}"),
        Progress::Again(what) => format!("once more, after a fault of QEMU's: {what}"),
        Progress::Booted(what, took) => format!("booted in {:.1} s: {what}", took.as_secs_f64()),
        Progress::Layering(what) => format!("putting {what} into a template"),
        Progress::Layered(what, took) => format!("{what} waits ({:.2} s)", took.as_secs_f64()),
        Progress::Discarded(why) => format!("a template is made again: {why}"),
        _ => String::from("working"),
    }
}

/// Asks a test binary to show one of its tests.
///
/// # Errors
/// When it cannot be run, has no such test, or its answer makes no sense.
pub fn shown(binary: &Path, name: &str) -> io::Result<Shown> {
    let output = Command::new(binary)
        .args(["--list", "--format", "terse"])
        .env(guest::SHOW, name)
        .stdin(Stdio::null())
        .output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let Some(line) = text.lines().find_map(|line| line.strip_prefix(guest::SHOW_MARK)) else {
        let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        return Err(io::Error::new(io::ErrorKind::NotFound, said));
    };
    serde_json::from_str(line).map_err(|error| {
        let text = format!("{} was built with another belljar: {error}", binary.display());
        io::Error::new(io::ErrorKind::InvalidData, text)
    })
}

/// Asks a test binary for its belljar tests; a binary without any has none.
///
/// # Errors
/// When it cannot be run, or its answer makes no sense.
pub fn tests_of(binary: &Path) -> io::Result<Vec<Spec>> {
    let output = Command::new(binary)
        .args(["--list", "--format", "terse"])
        .env(guest::LIST, "1")
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let Some(line) = text.lines().find_map(|line| line.strip_prefix(guest::LIST_MARK)) else {
        return Ok(Vec::new());
    };
    serde_json::from_str(line).map_err(|error| {
        let text = format!("{} was built with another belljar: {error}", binary.display());
        io::Error::new(io::ErrorKind::InvalidData, text)
    })
}
