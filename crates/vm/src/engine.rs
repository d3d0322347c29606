//! Makes templates and forks.

use crate::cache::Cache;
use crate::console::is_stale_breakpoint;
use crate::error::Error;
use crate::fork::Fork;
use crate::machine::Machine;
use crate::mode::Mode;
use crate::payload::Payload;
use crate::qemu::Qemu;
use crate::template::{Template, TemplateInfo};
use crate::vm::Vm;
use belljar_guest::channel::{State, WINDOW};
use std::collections::HashMap;
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// What a template may take on disk beyond the machine's memory.
const STATE_MIB: u64 = 64;

/// Makes templates and forks of them, with one QEMU and one cache.
#[derive(Debug)]
pub struct Engine {
    qemu: Qemu,
    cache: Cache,
    limit_bytes: u64,
    progress: Listener,
    cancelled: Arc<AtomicBool>,
    opened: Mutex<HashMap<String, Arc<Template>>>,
}

struct Listener(Box<dyn Fn(&Progress) + Send + Sync>);

impl std::fmt::Debug for Listener {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Listener")
    }
}

/// Something that takes longer than a fork.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Progress {
    /// Another process or thread makes the same template; this one waits for it.
    Waiting(String),
    /// A machine is being booted.
    Booting(String),
    /// It is made once more: QEMU ran into [a breakpoint that was gone](is_stale_breakpoint).
    Again(String),
    /// It has been, in so long.
    Booted(String, Duration),
    /// A payload is being put into a booted machine.
    Layering(String),
    /// It has been, in so long.
    Layered(String, Duration),
    /// A template in the cache is unusable and is made again: why.
    Discarded(String),
}

impl Engine {
    /// How large the cache may grow by default.
    pub const LIMIT_BYTES: u64 = 10 << 30;

    /// An engine with the QEMU of this host and the cache in a directory.
    ///
    /// # Errors
    /// When there is no QEMU, or the directory cannot be made.
    pub fn open(cache: &Path) -> Result<Engine, Error> {
        Ok(Engine::new(Qemu::find()?, Cache::open(cache)?))
    }

    /// An engine with this QEMU and this cache.
    pub fn new(qemu: Qemu, cache: Cache) -> Engine {
        Engine {
            qemu,
            cache,
            limit_bytes: Engine::LIMIT_BYTES,
            progress: Listener(Box::new(|_| ())),
            cancelled: Arc::default(),
            opened: Mutex::default(),
        }
    }

    /// With `hear` called for what takes longer than a fork.
    #[must_use]
    pub fn progress(mut self, hear: impl Fn(&Progress) + Send + Sync + 'static) -> Engine {
        self.progress = Listener(Box::new(hear));
        self
    }

    /// With the making of templates given up when this is set.
    #[must_use]
    pub fn cancelled_by(mut self, cancelled: &Arc<AtomicBool>) -> Engine {
        self.cancelled = Arc::clone(cancelled);
        self
    }

    /// With this limit to the size of the cache.
    #[must_use]
    pub fn cache_limit(mut self, bytes: u64) -> Engine {
        self.limit_bytes = bytes;
        self
    }

    /// The QEMU.
    pub fn qemu(&self) -> &Qemu {
        &self.qemu
    }

    /// The cache.
    pub fn cache(&self) -> &Cache {
        &self.cache
    }

    /// The machine, booted to where its agent waits for a payload.
    ///
    /// # Errors
    /// When it does not get there.
    pub fn base(&self, machine: &Machine) -> Result<Arc<Template>, Error> {
        check_memory(machine)?;
        let mut hasher = blake3::Hasher::new();
        hasher.update(b"belljar base 1\0");
        hasher.update(machine.fingerprint()?.as_bytes());
        hasher.update(self.qemu.banner().as_bytes());
        hasher.update(belljar_guest::AGENT);
        self.template(machine, &key(&hasher), None, "agent", |directory| {
            let name = machine.describe();
            self.say(&Progress::Booting(name.clone()));
            let started = Instant::now();
            let mut vm = Vm::boot(&self.qemu, machine, directory)?;
            vm.obey(&self.cancelled);
            vm.resume()?;
            vm.reach(machine, "booting", &[State::Ready], patience(machine))?;
            vm.save(&self.qemu, machine, directory)?;
            self.say(&Progress::Booted(name, started.elapsed()));
            Ok(())
        })
    }

    /// A booted machine with a payload in it whose process waits for its request.
    ///
    /// # Errors
    /// When the process does not get there.
    pub fn layer(&self, base: &Template, payload: &Payload) -> Result<Arc<Template>, Error> {
        self.layer_archive(base, payload.name(), &payload.archive())
    }

    /// [`Engine::layer`] with a payload that has been put into its archive before.
    ///
    /// # Errors
    /// As for [`Engine::layer`].
    pub(crate) fn layer_archive(
        &self,
        base: &Template,
        name: &str,
        archive: &[u8],
    ) -> Result<Arc<Template>, Error> {
        let machine = base.machine();
        let mut hasher = blake3::Hasher::new();
        hasher.update(b"belljar layer 1\0");
        hasher.update(base.key().as_bytes());
        hasher.update(archive);
        self.template(machine, &key(&hasher), Some(base), name, |directory| {
            self.say(&Progress::Layering(name.to_owned()));
            let started = Instant::now();
            base.copy_memory(directory)?;
            let mut vm = Vm::restore(&self.qemu, machine, base.directory(), directory, true, None)?;
            vm.obey(&self.cancelled);
            let mut pieces = archive.chunks(WINDOW.len).peekable();
            vm.resume()?;
            let unpacking = "unpacking the payload";
            while let Some(piece) = pieces.next() {
                vm.reach(machine, unpacking, &[State::Want], patience(machine))?;
                vm = vm.settled(&self.qemu, machine, directory)?;
                vm.channel().set_window(piece, pieces.peek().is_none())?;
                vm.resume()?;
            }
            let what = format!("starting {name}");
            match vm.reach(machine, &what, &[State::Waiting, State::Ended], patience(machine))? {
                State::Waiting => vm.save(&self.qemu, machine, directory)?,
                _ => {
                    return Err(Error::Template {
                        machine: machine.describe(),
                        problem: format!("{what}: {}", vm.last_words()),
                        console: String::new(),
                    });
                }
            }
            self.say(&Progress::Layered(name.to_owned(), started.elapsed()));
            Ok(())
        })
    }

    /// A fresh machine that stands where the template stopped.
    ///
    /// # Errors
    /// When QEMU cannot be started or does not take the template.
    pub fn fork(&self, template: &Arc<Template>) -> Result<Fork, Error> {
        self.fork_with_terminal(template, None)
    }

    /// [`Engine::fork`], with the guest's second serial port connected to a socket.
    ///
    /// # Errors
    /// As for [`Engine::fork`].
    pub fn fork_with_terminal(
        &self,
        template: &Arc<Template>,
        terminal: Option<OwnedFd>,
    ) -> Result<Fork, Error> {
        let started = Instant::now();
        let directory = template.directory();
        let machine = template.machine();
        let vm = Vm::restore(&self.qemu, machine, directory, directory, false, terminal)?;
        Ok(Fork::new(vm, Arc::clone(template), started.elapsed()))
    }

    /// The template with a key: opened before, from the cache, or made now.
    fn template(
        &self,
        machine: &Machine,
        key: &str,
        base: Option<&Template>,
        contents: &str,
        make: impl Fn(&Path) -> Result<(), Error>,
    ) -> Result<Arc<Template>, Error> {
        let opened = || self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(template) = opened().get(key) {
            return Ok(Arc::clone(template));
        }
        let wait = || self.say(&Progress::Waiting(machine.describe()));
        let _lock = self.cache.lock(key, wait)?;
        let found = match Template::open(&self.cache, machine, key) {
            Ok(found) => found,
            Err(problem) => {
                self.say(&Progress::Discarded(problem));
                None
            }
        };
        let template = match found {
            Some(template) => template,
            None => {
                self.cache.collect(self.limit_bytes)?;
                let started = Instant::now();
                let needed_mib = machine.memory_mib() + STATE_MIB;
                let attempt = || {
                    let staging = self.cache.stage(key, needed_mib)?;
                    make(staging.path()).map_err(|error| self.explain(error, needed_mib))?;
                    Ok(staging)
                };
                let staging = match attempt() {
                    Err(Error::Template { console, .. }) if is_stale_breakpoint(&console) => {
                        self.say(&Progress::Again(machine.describe()));
                        attempt()
                    }
                    staging => staging,
                }?;
                let made_in_ms = started.elapsed().as_millis() as u64;
                TemplateInfo::finish(staging, machine, base, contents, made_in_ms)
                    .map_err(|error| self.explain(error, needed_mib))?;
                Template::open(&self.cache, machine, key)
                    .and_then(|template| template.ok_or_else(|| String::from("it is gone")))
                    .map_err(|problem| Error::Template {
                        machine: machine.describe(),
                        problem,
                        console: String::new(),
                    })?
            }
        };
        let template = Arc::new(template);
        opened().insert(key.to_owned(), Arc::clone(&template));
        Ok(template)
    }

    /// A full disk looks different to everyone who meets it, and a QEMU whose memory
    /// file finds no room is killed by SIGBUS: say what it is.
    fn explain(&self, error: Error, needed_mib: u64) -> Error {
        let is_full = match &error {
            Error::Io { source, .. } => source.kind() == io::ErrorKind::StorageFull,
            Error::QemuDied { status, .. } => status.contains("SIGBUS") && self.cache.is_full(),
            Error::Qmp { .. } => self.cache.is_full(),
            _ => false,
        };
        if is_full { self.cache.no_space(needed_mib) } else { error }
    }

    fn say(&self, progress: &Progress) {
        (self.progress.0)(progress);
    }
}

fn key(hasher: &blake3::Hasher) -> String {
    hasher.finalize().to_hex()[..32].to_owned()
}

/// How long a machine may take for a step that makes a template.
fn patience(machine: &Machine) -> Duration {
    let cpus = u64::from(machine.topology().cpu_count());
    match machine.mode() {
        Mode::Kvm => Duration::from_secs(30),
        Mode::Tcg => Duration::from_secs(60 + 10 * cpus),
        Mode::Det => Duration::from_secs(120 + 20 * cpus),
    }
}

fn check_memory(machine: &Machine) -> Result<(), Error> {
    let Some(available_mib) = available_memory_mib() else { return Ok(()) };
    let needed_mib = machine.memory_mib();
    if needed_mib > available_mib {
        return Err(Error::NoMemory { needed_mib, available_mib });
    }
    Ok(())
}

/// Memory that this host can give, where it tells.
pub(crate) fn available_memory_mib() -> Option<u64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kib: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kib >> 10)
}
