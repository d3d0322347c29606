//! The machine as its kernel shows it, in sysfs.

use belljar_topology::{CpuId, CpuSet};
use std::io;
use std::path::{Path, PathBuf};
use std::{fs, str::FromStr};

/// The machine as its kernel shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View {
    /// The CPUs that are online.
    pub cpus: CpuSet,
    /// The CPUs of each last-level cache, in order of their first CPU.
    pub llcs: Vec<CpuSet>,
    /// The CPUs of each core, in order of their first CPU.
    pub cores: Vec<CpuSet>,
    /// The memory nodes, in order of their numbers.
    pub nodes: Vec<NodeView>,
}

/// A memory node as the kernel shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeView {
    /// Its number.
    pub number: u32,
    /// Its CPUs; empty for a node that only has memory.
    pub cpus: CpuSet,
    /// Its memory in bytes, as far as the kernel manages it.
    pub memory_bytes: u64,
    /// Its distance to every node, its own number included.
    pub distances: Vec<u8>,
}

impl View {
    /// The view of the system that this runs in.
    ///
    /// # Errors
    /// When sysfs cannot be read or makes no sense.
    pub fn of_system() -> io::Result<View> {
        View::below(Path::new("/sys/devices/system"))
    }

    /// Whether cores have several threads.
    pub fn has_smt(&self) -> bool {
        self.cores.iter().any(|core| core.len() > 1)
    }

    /// The last-level cache that a CPU uses, as an index into `llcs`.
    pub fn llc_of(&self, cpu: CpuId) -> Option<usize> {
        self.llcs.iter().position(|llc| llc.contains(cpu))
    }

    fn below(root: &Path) -> io::Result<View> {
        let cpus: CpuSet = read(&root.join("cpu/online"))?;
        let mut llcs: Vec<CpuSet> = Vec::new();
        let mut cores: Vec<CpuSet> = Vec::new();
        for cpu in cpus.iter() {
            let cpu = root.join(format!("cpu/cpu{cpu}"));
            let core = read(&cpu.join("topology/thread_siblings_list"))?;
            if !cores.contains(&core) {
                cores.push(core);
            }
            let llc = last_level_cache(&cpu.join("cache"))?;
            if let Some(llc) = llc.filter(|llc| !llcs.contains(llc)) {
                llcs.push(llc);
            }
        }
        Ok(View { cpus, llcs, cores, nodes: nodes(&root.join("node"))? })
    }
}

/// The CPUs that share the cache with the highest level.
fn last_level_cache(caches: &Path) -> io::Result<Option<CpuSet>> {
    let mut last: Option<(u32, PathBuf)> = None;
    for index in entries(caches, "index") {
        let level: u32 = read(&index.1.join("level"))?;
        if last.as_ref().is_none_or(|(highest, _)| level > *highest) {
            last = Some((level, index.1));
        }
    }
    last.map(|(_, cache)| read(&cache.join("shared_cpu_list"))).transpose()
}

fn nodes(directory: &Path) -> io::Result<Vec<NodeView>> {
    let mut nodes = Vec::new();
    for (number, path) in entries(directory, "node") {
        let memory = fs::read_to_string(path.join("meminfo")).unwrap_or_default();
        let total = memory.lines().find_map(|line| line.split_once("MemTotal:"));
        let kib: u64 =
            total.and_then(|(_, rest)| rest.split_whitespace().next()?.parse().ok()).unwrap_or(0);
        let distances = fs::read_to_string(path.join("distance"))?;
        nodes.push(NodeView {
            number,
            cpus: read(&path.join("cpulist"))?,
            memory_bytes: kib * 1024,
            distances: distances
                .split_whitespace()
                .map(|distance| distance.parse().map_err(io::Error::other))
                .collect::<io::Result<_>>()?,
        });
    }
    Ok(nodes)
}

/// The entries of a directory called `prefix` and a number, in order of the numbers.
fn entries(directory: &Path, prefix: &str) -> Vec<(u32, PathBuf)> {
    let mut found: Vec<(u32, PathBuf)> = fs::read_dir(directory)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let name = entry.file_name();
            let number = name.to_str()?.strip_prefix(prefix)?.parse().ok()?;
            Some((number, entry.path()))
        })
        .collect();
    found.sort();
    found
}

fn read<T: FromStr<Err: std::error::Error + Send + Sync + 'static>>(path: &Path) -> io::Result<T> {
    let text = fs::read_to_string(path)
        .map_err(|e| io::Error::new(e.kind(), format!("cannot read {}: {e}", path.display())))?;
    text.trim().parse().map_err(|error: T::Err| {
        io::Error::other(format!("{} makes no sense: {error}", path.display()))
    })
}
