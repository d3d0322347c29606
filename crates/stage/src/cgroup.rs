//! Control groups (cgroup v2) of a scenario, below a directory of its own.
//!
//! In cgroup v2 a group that hands controllers to its children must hold no process itself. A
//! scenario does not know of that: in it `a` may have workers, and there may be an `a/inner`. So a
//! group holds its processes in its own directory for as long as it has no children, and in a leaf
//! `_workers` below it from then on: what ran in it is moved there before the first child is made.
//! The leaf has no limits of its own. The scenario's root is treated alike.

use std::fs::{self, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::Pid;

use crate::clock::{self, Wants};

/// Where processes of a group with children are held.
const LEAF: &str = "_workers";
/// How long the kernel may take to do what it was told: freeze, end what was killed, let go.
const PATIENCE: Duration = Duration::from_secs(2);
/// Between two tries of what the kernel refuses for being busy.
const RETRY: Duration = Duration::from_millis(1);

/// A controller of cgroup v2.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Controller {
    /// Weights and quotas.
    Cpu,
    /// CPUs and memory nodes.
    Cpuset,
    /// Memory.
    Memory,
    /// Block devices.
    Io,
    /// The number of processes.
    Pids,
}

impl Controller {
    /// What the kernel calls it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Cpuset => "cpuset",
            Self::Memory => "memory",
            Self::Io => "io",
            Self::Pids => "pids",
        }
    }

    /// What a kernel is built with that has it.
    const fn option(self) -> &'static str {
        match self {
            Self::Cpu => "CONFIG_FAIR_GROUP_SCHED",
            Self::Cpuset => "CONFIG_CPUSETS",
            Self::Memory => "CONFIG_MEMCG",
            Self::Io => "CONFIG_BLK_CGROUP",
            Self::Pids => "CONFIG_CGROUP_PIDS",
        }
    }
}

/// Something that could not be done with a cgroup.
#[derive(Debug, thiserror::Error)]
pub enum CgroupError {
    /// The kernel has no such controller, or has given it away.
    #[error(
        "{} needs the controller `{}`, and {root} has only `{present}`: run on a kernel with {}, and \
         without cgroup v1 mounts that hold the controller",
        shown(cgroup), controller.name(), controller.option()
    )]
    NoController {
        /// The cgroup.
        cgroup: String,
        /// The controller.
        controller: Controller,
        /// The directory whose controllers were read.
        root: String,
        /// Those that it has.
        present: String,
    },
    /// There is no cgroup file system to use.
    #[error("cannot use {root} as a cgroup v2 directory: {source}: mount cgroup2 there")]
    NoFileSystem {
        /// Where it should be.
        root: String,
        /// What was said of it.
        source: io::Error,
    },
    /// A name that no cgroup can have here.
    #[error(
        "cgroup name `{0}` is not a path such as `a` or `a/inner`, without `..` and `_workers`"
    )]
    Name(String),
    /// A cgroup that does not exist.
    #[error("there is no cgroup `{0}` at this point")]
    Unknown(String),
    /// A cgroup that exists.
    #[error("there is a cgroup `{0}` already")]
    Exists(String),
    /// The kernel refused.
    #[error("cannot {attempt} {} ({path}): {source}", shown(cgroup))]
    Refused {
        /// What was tried, as in "write `150` to cpu.weight of".
        attempt: String,
        /// The cgroup; empty for the scenario's root.
        cgroup: String,
        /// The file or directory.
        path: String,
        /// What the kernel said.
        source: io::Error,
    },
    /// It did not happen in time.
    #[error("{} did not {event} within {waited:?}: cgroup.events says `{said}`", shown(cgroup))]
    Late {
        /// The cgroup.
        cgroup: String,
        /// What was waited for.
        event: &'static str,
        /// For how long.
        waited: Duration,
        /// What the kernel said of it last.
        said: String,
    },
}

/// What `cpu.stat` says of a cgroup.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CpuStat {
    /// CPU time of everything in it.
    pub usage_ns: u64,
    /// How often its quota held it back.
    pub throttled: u64,
    /// How long its quota held it back, summed over CPUs.
    pub throttled_ns: u64,
}

impl CpuStat {
    /// Reads `cpu.stat`. What a kernel does not count is 0.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let value = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
            line.and_then(|value| value.trim().parse::<u64>().ok()).unwrap_or(0)
        };
        Self {
            usage_ns: value("usage_usec").saturating_mul(1000),
            throttled: value("nr_throttled"),
            throttled_ns: value("throttled_usec").saturating_mul(1000),
        }
    }
}

/// The cgroups of a scenario. All of them, and every process in them, are gone when it is dropped.
#[derive(Debug)]
pub struct Tree {
    base: PathBuf,
    dir: PathBuf,
    controllers: Vec<Controller>,
    /// In the order in which they were made; the first is the root, with an empty name.
    nodes: Vec<Node>,
}

#[derive(Debug)]
struct Node {
    name: String,
    /// Hands controllers to children; its processes are in its leaf.
    inner: bool,
}

impl Tree {
    /// Makes the scenario's root below `base`, where cgroup v2 is mounted: `belljar.0`, or the next
    /// number that is free. Its children have the CPU controller.
    ///
    /// # Errors
    /// If `base` is no cgroup, has no CPU controller, or the kernel refuses.
    pub fn create(base: &Path) -> Result<Self, CgroupError> {
        let root = base.display().to_string();
        fs::metadata(base.join("cgroup.controllers"))
            .map_err(|source| CgroupError::NoFileSystem { root: root.clone(), source })?;
        let dir = (0u32..)
            .map(|number| base.join(format!("belljar.{number}")))
            .find_map(|dir| match fs::create_dir(&dir) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => None,
                Err(source) => Some(Err(CgroupError::NoFileSystem { root: root.clone(), source })),
                Ok(()) => Some(Ok(dir)),
            })
            .expect("numbers do not run out")?;
        let node = Node { name: String::new(), inner: false };
        let mut tree =
            Self { base: base.to_owned(), dir, controllers: Vec::new(), nodes: vec![node] };
        tree.require("", Controller::Cpu)?;
        Ok(tree)
    }

    /// The scenario's root in the file system.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Whether there is such a cgroup; the root's name is empty.
    #[must_use]
    pub fn has(&self, cgroup: &str) -> bool {
        self.nodes.iter().any(|node| node.name == cgroup)
    }

    /// The cgroups below one, itself not among them.
    pub fn below<'a>(&'a self, cgroup: &'a str) -> impl DoubleEndedIterator<Item = &'a str> {
        self.nodes.iter().map(|node| node.name.as_str()).filter(move |name| is_below(name, cgroup))
    }

    /// Makes a cgroup without limits. Its parent must exist.
    ///
    /// # Errors
    /// If the name is no such path, is taken, has no parent, or the kernel refuses.
    pub fn make(&mut self, cgroup: &str) -> Result<(), CgroupError> {
        let is_name =
            |part: &str| !matches!(part, "" | "." | ".." | LEAF) && !part.contains(['\0', '\n']);
        if !cgroup.split('/').all(is_name) {
            return Err(CgroupError::Name(cgroup.to_owned()));
        }
        if self.has(cgroup) {
            return Err(CgroupError::Exists(cgroup.to_owned()));
        }
        self.make_inner(parent(cgroup))?;
        let dir = self.path(cgroup);
        fs::create_dir(&dir).map_err(|error| refused("make", cgroup, &dir, error))?;
        self.nodes.push(Node { name: cgroup.to_owned(), inner: false });
        Ok(())
    }

    /// Has a cgroup hold its processes in its leaf, and hand its controllers to children.
    fn make_inner(&mut self, cgroup: &str) -> Result<(), CgroupError> {
        let at = self.index(cgroup)?;
        if self.nodes[at].inner {
            return Ok(());
        }
        let leaf = self.path(cgroup).join(LEAF);
        // What has no process yet needs no leaf either.
        if !processes_in(cgroup, &self.path(cgroup))?.is_empty() {
            make_leaf(cgroup, &leaf)?;
            drain(cgroup, &self.path(cgroup), &leaf)?;
        }
        self.nodes[at].inner = true;
        self.controllers
            .clone()
            .into_iter()
            .try_for_each(|controller| hand_down(cgroup, &self.path(cgroup), controller))
    }

    /// Has a controller in all cgroups of the scenario.
    ///
    /// # Errors
    /// If the kernel does not have it, naming `cgroup` as the one that needs it.
    pub fn require(&mut self, cgroup: &str, controller: Controller) -> Result<(), CgroupError> {
        if self.controllers.contains(&controller) {
            return Ok(());
        }
        let present = self.base.join("cgroup.controllers");
        let present =
            fs::read_to_string(&present).map_err(|e| refused("read", cgroup, &present, e))?;
        if !present.split_whitespace().any(|name| name == controller.name()) {
            return Err(CgroupError::NoController {
                cgroup: cgroup.to_owned(),
                controller,
                root: self.base.display().to_string(),
                present: present.trim().to_owned(),
            });
        }
        hand_down("", &self.base, controller)?;
        for node in self.nodes.iter().filter(|node| node.inner) {
            hand_down(&node.name, &self.path(&node.name), controller)?;
        }
        self.controllers.push(controller);
        Ok(())
    }

    /// Writes a limit. The controller that it belongs to is there afterwards.
    ///
    /// # Errors
    /// If the kernel does not have the controller, or refuses the value.
    pub fn set(
        &mut self,
        cgroup: &str,
        controller: Controller,
        file: &str,
        value: &str,
    ) -> Result<(), CgroupError> {
        self.index(cgroup)?;
        // The controller comes from the parent: the scenario's root gets its own from `base`.
        self.require(cgroup, controller)?;
        if !cgroup.is_empty() {
            self.make_inner(parent(cgroup))?;
        }
        self.write(cgroup, file, value)
    }

    fn write(&self, cgroup: &str, file: &str, value: &str) -> Result<(), CgroupError> {
        let path = self.path(cgroup).join(file);
        write(&path, value).map_err(|error| {
            refused(&format!("write `{}` to {file} of", value.trim_end()), cgroup, &path, error)
        })
    }

    /// Reads a file of a cgroup.
    ///
    /// # Errors
    /// If there is no such cgroup or file.
    pub fn read(&self, cgroup: &str, file: &str) -> Result<String, CgroupError> {
        self.index(cgroup)?;
        let path = self.path(cgroup).join(file);
        fs::read_to_string(&path)
            .map_err(|error| refused(&format!("read {file} of"), cgroup, &path, error))
    }

    /// The directory that holds the processes of a cgroup.
    ///
    /// # Errors
    /// If there is no such cgroup, or its leaf cannot be made.
    pub fn holder(&self, cgroup: &str) -> Result<PathBuf, CgroupError> {
        let dir = self.path(cgroup);
        if !self.nodes[self.index(cgroup)?].inner {
            return Ok(dir);
        }
        let leaf = dir.join(LEAF);
        make_leaf(cgroup, &leaf)?;
        Ok(leaf)
    }

    /// Moves processes, with all their threads, into a cgroup.
    ///
    /// # Errors
    /// If there is no such cgroup or process, or the kernel refuses.
    pub fn place(&self, cgroup: &str, processes: &[Pid]) -> Result<(), CgroupError> {
        let path = self.holder(cgroup)?.join("cgroup.procs");
        let open = OpenOptions::new().write(true).open(&path);
        let mut file =
            open.map_err(|error| refused("open cgroup.procs of", cgroup, &path, error))?;
        processes.iter().try_for_each(|pid| {
            let pid = pid.as_raw_nonzero().get();
            file.write_all(format!("{pid}").as_bytes())
                .map_err(|error| refused(&format!("move process {pid} into"), cgroup, &path, error))
        })
    }

    /// Moves all processes of one cgroup, but not of those below it, into another.
    ///
    /// # Errors
    /// If one of them does not exist, or processes are made faster than they can be moved.
    pub fn move_all(&self, from: &str, to: &str) -> Result<(), CgroupError> {
        drain(from, &self.holder(from)?, &self.holder(to)?)
    }

    /// The processes of a cgroup, but not of those below it, in the kernel's order.
    ///
    /// # Errors
    /// If there is no such cgroup.
    pub fn processes(&self, cgroup: &str) -> Result<Vec<i32>, CgroupError> {
        processes_in(cgroup, &self.holder(cgroup)?)
    }

    /// Freezes a cgroup, or lets it go on, and waits until the kernel says that it is so.
    ///
    /// # Errors
    /// If there is no such cgroup, or it takes longer than 2 s.
    pub fn freeze(&self, cgroup: &str, freeze: bool) -> Result<(), CgroupError> {
        self.index(cgroup)?;
        let (value, line, event) =
            if freeze { ("1", "frozen 1", "freeze") } else { ("0", "frozen 0", "go on") };
        self.write(cgroup, "cgroup.freeze", value)?;
        self.await_event(cgroup, line, event)
    }

    /// Kills all processes of a cgroup and of those below it, and waits until they are gone.
    ///
    /// # Errors
    /// If there is no such cgroup, or it takes longer than 2 s.
    pub fn kill(&self, cgroup: &str) -> Result<(), CgroupError> {
        self.index(cgroup)?;
        self.write(cgroup, "cgroup.kill", "1")?;
        self.await_event(cgroup, "populated 0", "empty")
    }

    /// Whether a cgroup and those below it hold no process.
    ///
    /// # Errors
    /// If there is no such cgroup.
    pub fn is_empty(&self, cgroup: &str) -> Result<bool, CgroupError> {
        Ok(self.read(cgroup, "cgroup.events")?.lines().any(|line| line == "populated 0"))
    }

    /// What a cgroup has used.
    ///
    /// # Errors
    /// If there is no such cgroup.
    pub fn cpu_stat(&self, cgroup: &str) -> Result<CpuStat, CgroupError> {
        Ok(CpuStat::parse(&self.read(cgroup, "cpu.stat")?))
    }

    /// Kills what is left in a cgroup and in those below it, and removes them.
    ///
    /// # Errors
    /// If there is no such cgroup, or the kernel does not let go of it within 2 s.
    pub fn remove(&mut self, cgroup: &str) -> Result<(), CgroupError> {
        self.index(cgroup)?;
        if !self.is_empty(cgroup)? {
            self.kill(cgroup)?;
        }
        remove_dir(cgroup, &self.path(cgroup))?;
        self.nodes.retain(|node| node.name != cgroup && !is_below(&node.name, cgroup));
        Ok(())
    }

    fn await_event(
        &self,
        cgroup: &str,
        line: &str,
        event: &'static str,
    ) -> Result<(), CgroupError> {
        let path = self.path(cgroup).join("cgroup.events");
        let failed = |error| refused("read cgroup.events of", cgroup, &path, error);
        let mut file = fs::File::open(&path).map_err(failed)?;
        let until = clock::after(PATIENCE);
        let mut is_over = false;
        loop {
            let mut said = String::new();
            file.rewind().map_err(failed)?;
            file.read_to_string(&mut said).map_err(failed)?;
            if said.lines().any(|said| said == line) {
                return Ok(());
            }
            if is_over {
                let said = said.trim_end().replace('\n', ", ");
                let cgroup = cgroup.to_owned();
                return Err(CgroupError::Late { cgroup, event, waited: PATIENCE, said });
            }
            is_over = !clock::wait(&[(file.as_fd(), Wants::Change)], until);
        }
    }

    fn index(&self, cgroup: &str) -> Result<usize, CgroupError> {
        let at = self.nodes.iter().position(|node| node.name == cgroup);
        at.ok_or_else(|| CgroupError::Unknown(cgroup.to_owned()))
    }

    /// The directory of a cgroup.
    #[must_use]
    pub fn path(&self, cgroup: &str) -> PathBuf {
        if cgroup.is_empty() { self.dir.clone() } else { self.dir.join(cgroup) }
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        if self.has("") {
            // Nobody is left to be told; what could not be removed lies in sight below `base`.
            let _ = self.remove("");
        }
    }
}

/// A cgroup in an error.
fn shown(cgroup: &str) -> String {
    if cgroup.is_empty() {
        "the scenario's root cgroup".to_owned()
    } else {
        format!("cgroup `{cgroup}`")
    }
}

/// A cgroup's parent; the root's name is empty.
pub(crate) fn parent(cgroup: &str) -> &str {
    cgroup.rsplit_once('/').map_or("", |(parent, _)| parent)
}

/// Whether a cgroup is below another.
pub(crate) fn is_below(cgroup: &str, above: &str) -> bool {
    match cgroup.strip_prefix(above) {
        Some(rest) if above.is_empty() => !rest.is_empty(),
        Some(rest) => rest.starts_with('/'),
        None => false,
    }
}

fn refused(attempt: &str, cgroup: &str, path: &Path, source: io::Error) -> CgroupError {
    let (attempt, cgroup) = (attempt.to_owned(), cgroup.to_owned());
    CgroupError::Refused { attempt, cgroup, path: path.display().to_string(), source }
}

fn write(path: &Path, value: &str) -> io::Result<()> {
    // Not `fs::write`: it would make a file where the kernel has none.
    OpenOptions::new().write(true).open(path)?.write_all(value.as_bytes())
}

fn hand_down(cgroup: &str, dir: &Path, controller: Controller) -> Result<(), CgroupError> {
    let path = dir.join("cgroup.subtree_control");
    let value = format!("+{}", controller.name());
    write(&path, &value).map_err(|error| {
        refused(&format!("write `{value}` to cgroup.subtree_control of"), cgroup, &path, error)
    })
}

fn make_leaf(cgroup: &str, leaf: &Path) -> Result<(), CgroupError> {
    match fs::create_dir(leaf) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            Err(refused("make the leaf of", cgroup, leaf, error))
        }
        _ => Ok(()),
    }
}

fn processes_in(cgroup: &str, dir: &Path) -> Result<Vec<i32>, CgroupError> {
    let path = dir.join("cgroup.procs");
    let text = fs::read_to_string(&path);
    let text = text.map_err(|error| refused("read cgroup.procs of", cgroup, &path, error))?;
    Ok(text.lines().filter_map(|line| line.parse().ok()).collect())
}

/// Moves processes until none is left, however many are made meanwhile.
fn drain(cgroup: &str, from: &Path, to: &Path) -> Result<(), CgroupError> {
    let path = to.join("cgroup.procs");
    let until = clock::after(PATIENCE);
    loop {
        let processes = processes_in(cgroup, from)?;
        if processes.is_empty() {
            return Ok(());
        }
        for pid in processes {
            match write(&path, &pid.to_string()) {
                // It has ended, or is about to.
                Err(error) if error.raw_os_error() == Some(libc::ESRCH) => {}
                Err(error) => {
                    return Err(refused(&format!("move process {pid} from"), cgroup, &path, error));
                }
                Ok(()) => {}
            }
        }
        if clock::now_ns() >= until {
            let error = io::Error::other("it makes processes faster than they can be moved");
            return Err(refused("move all processes from", cgroup, &path, error));
        }
    }
}

/// Removes a directory with all below it, also what workers made there.
fn remove_dir(cgroup: &str, dir: &Path) -> Result<(), CgroupError> {
    let failed = |error| refused("remove", cgroup, dir, error);
    for entry in fs::read_dir(dir).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        if entry.file_type().map_err(failed)?.is_dir() {
            remove_dir(cgroup, &entry.path())?;
        }
    }
    let until = clock::after(PATIENCE);
    loop {
        match fs::remove_dir(dir) {
            Err(error) if error.raw_os_error() == Some(libc::EBUSY) && clock::now_ns() < until => {
                clock::sleep_until(clock::after(RETRY));
            }
            result => return result.map_err(failed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_stat_is_read_with_and_without_a_quota() {
        let with = "usage_usec 12\nuser_usec 1\nsystem_usec 2\nnr_periods 3\nnr_throttled 4\n\
                    throttled_usec 56\nnr_bursts 0\n";
        let stat = CpuStat { usage_ns: 12_000, throttled: 4, throttled_ns: 56_000 };
        assert_eq!(CpuStat::parse(with), stat);
        assert_eq!(
            CpuStat::parse("usage_usec 7\n"),
            CpuStat { usage_ns: 7000, ..CpuStat::default() }
        );
        assert_eq!(CpuStat::parse("\0 usage_usec -1"), CpuStat::default());
    }

    #[test]
    fn paths_nest_by_whole_names() {
        assert_eq!([parent("a"), parent("a/b/c")], ["", "a/b"]);
        assert!(is_below("a", "") && is_below("a/b", "a") && is_below("a/b/c", "a"));
        assert!(!is_below("", "") && !is_below("a", "a") && !is_below("ab", "a"));
    }

    #[test]
    fn a_missing_controller_is_named_with_what_the_kernel_lacks() {
        let base = tempfile::tempdir().unwrap();
        fs::write(base.path().join("cgroup.controllers"), "cpuset cpu\n").unwrap();
        fs::write(base.path().join("cgroup.subtree_control"), "").unwrap();
        // Only what is checked before the kernel is asked works in a directory of plain files.
        let mut tree = Tree::create(base.path()).unwrap();
        assert_eq!(fs::read_to_string(base.path().join("cgroup.subtree_control")).unwrap(), "+cpu");
        let error = tree.set("", Controller::Memory, "memory.max", "1").unwrap_err().to_string();
        let root = base.path().display();
        assert_eq!(
            error,
            format!(
                "the scenario's root cgroup needs the controller `memory`, and {root} has only `cpuset \
                 cpu`: run on a kernel with CONFIG_MEMCG, and without cgroup v1 mounts that hold the \
                 controller"
            )
        );
        for name in ["", "/a", "a/", "..", "a/../b", "a/_workers", "a\nb"] {
            assert!(matches!(tree.make(name), Err(CgroupError::Name(_))), "{name:?}");
        }
        assert!(matches!(tree.read("a", "cpu.stat"), Err(CgroupError::Unknown(_))));
        assert!(matches!(
            Tree::create(&base.path().join("none")),
            Err(CgroupError::NoFileSystem { .. })
        ));
    }
}
