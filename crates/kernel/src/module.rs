//! A kernel's modules: which there are, what each needs, and in which order to load them.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde::{Deserialize, Serialize};

use crate::compression::Compression;
use crate::elf::Elf;
use crate::error::{Context, Error, Result};
use crate::text::closest;

/// The most that one module may take: the largest, with debug information, are near 100 MiB.
const MODULE_BYTES_MAX: usize = 512 << 20;

/// The modules of one kernel by name. `-` and `_` are the same in names, as for Linux.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModuleIndex {
    /// What can be loaded.
    modules: BTreeMap<String, Module>,
    /// What is part of the kernel.
    builtin: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Module {
    /// Under the directory of modules.
    path: PathBuf,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    depends: Vec<String>,
}

/// Where a module is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ModuleState {
    /// In the kernel itself.
    Builtin,
    /// In a file.
    Loadable,
    /// Nowhere.
    Absent,
}

/// A module to load.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ModuleFile {
    /// Its name as `lsmod` shows it.
    pub name: String,
    /// Its file as it came in its package, perhaps compressed; see [`ModuleFile::read`].
    pub path: PathBuf,
}

impl ModuleFile {
    /// The module as `finit_module` takes it: decompressed.
    ///
    /// # Errors
    ///
    /// If the file cannot be read or decompressed.
    pub fn read(&self) -> Result<Vec<u8>> {
        read_plain(&self.path)
    }
}

impl ModuleIndex {
    /// Reads the modules under `root`: their needs from `modules.dep` if it is there, else from the
    /// modules themselves.
    pub(crate) fn build(root: &Path) -> Result<Self> {
        let builtin = match fs::read_to_string(root.join("modules.builtin")) {
            Ok(text) => text.lines().filter_map(|line| module_name(Path::new(line))).collect(),
            Err(_) => Vec::new(),
        };
        let mut paths = Vec::new();
        walk(root, root, &mut paths)?;
        paths.sort();
        let modules = match fs::read_to_string(root.join("modules.dep")) {
            Ok(text) => Self::from_dep(&text, &paths),
            Err(_) => Self::from_modules(root, &paths)?,
        };
        Ok(Self { modules, builtin })
    }

    fn from_dep(text: &str, paths: &[PathBuf]) -> BTreeMap<String, Module> {
        text.lines()
            .filter_map(|line| {
                let (path, depends) = line.split_once(':')?;
                let path = PathBuf::from(path);
                paths.binary_search(&path).ok()?;
                let depends =
                    depends.split_whitespace().filter_map(|it| module_name(Path::new(it)));
                Some((module_name(&path)?, Module { depends: depends.collect(), path }))
            })
            .collect()
    }

    /// Decompressing a thousand modules takes seconds, so every CPU takes a share.
    fn from_modules(root: &Path, paths: &[PathBuf]) -> Result<BTreeMap<String, Module>> {
        let next = AtomicUsize::new(0);
        let found = Mutex::new(Ok(BTreeMap::new()));
        let work = || {
            while let Some(path) = paths.get(next.fetch_add(1, Ordering::Relaxed)) {
                let Some(name) = module_name(path) else { continue };
                let depends = read_plain(&root.join(path)).map(|bytes| depends(&bytes));
                let mut found = found.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                match (&mut *found, depends) {
                    (Ok(modules), Ok(depends)) => {
                        modules.insert(name, Module { path: path.clone(), depends });
                    }
                    (Ok(_), Err(error)) => *found = Err(error),
                    (Err(_), _) => break,
                }
            }
        };
        std::thread::scope(|scope| {
            let threads = std::thread::available_parallelism().map_or(1, usize::from).min(8);
            for _ in 0..threads {
                scope.spawn(work);
            }
        });
        found.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Where a module is.
    #[must_use]
    pub fn state(&self, name: &str) -> ModuleState {
        let name = normal(name);
        if self.modules.contains_key(&name) {
            ModuleState::Loadable
        } else if self.builtin.contains(&name) {
            ModuleState::Builtin
        } else {
            ModuleState::Absent
        }
    }

    /// The names of all modules that can be loaded.
    pub fn names(&self) -> impl ExactSizeIterator<Item = &str> {
        self.modules.keys().map(String::as_str)
    }

    /// What is to be loaded for `names`, in this order; nothing for what is builtin. `Err` has the
    /// name that is unknown, and the known one closest to it.
    pub(crate) fn closure(
        &self,
        root: &Path,
        names: &[&str],
    ) -> Result<Vec<ModuleFile>, (String, Option<String>)> {
        let mut order: Vec<ModuleFile> = Vec::new();
        // Names still to do; `true` when all that a module needs is in `order` before it.
        let mut open: Vec<(String, bool)> =
            names.iter().rev().map(|name| (normal(name), false)).collect();
        let mut seen: Vec<String> = Vec::new();
        while let Some((name, ready)) = open.pop() {
            let Some(module) = self.modules.get(&name) else {
                if self.builtin.contains(&name) {
                    continue;
                }
                let known = self.names().chain(self.builtin.iter().map(String::as_str));
                let closest = closest(&name, known).map(str::to_owned);
                return Err((name, closest));
            };
            if ready {
                order.push(ModuleFile { path: root.join(&module.path), name });
            } else if !seen.contains(&name) {
                seen.push(name.clone());
                open.push((name, true));
                open.extend(module.depends.iter().rev().map(|name| (name.clone(), false)));
            }
        }
        Ok(order)
    }
}

/// What a module says that it needs: `depends=a,b` in its section `.modinfo`.
fn depends(bytes: &[u8]) -> Vec<String> {
    let info = Elf::parse(bytes).and_then(|elf| elf.section(".modinfo")).unwrap_or_default();
    info.split(|&byte| byte == 0)
        .filter_map(|entry| std::str::from_utf8(entry.strip_prefix(b"depends=")?).ok())
        .flat_map(|names| names.split(','))
        .filter(|name| !name.is_empty())
        .map(normal)
        .collect()
}

fn normal(name: &str) -> String {
    name.replace('-', "_")
}

/// The name of the module in a file, if it is one: `net/tcp-diag.ko.xz` has `tcp_diag`.
pub(crate) fn module_name(path: &Path) -> Option<String> {
    let file = path.file_name()?.to_str()?;
    let (name, packed) = file.split_once(".ko")?;
    matches!(packed, "" | ".xz" | ".zst" | ".gz").then(|| normal(name))
}

fn read_plain(path: &Path) -> Result<Vec<u8>> {
    let bytes = fs::read(path).doing("read", path)?;
    let Some(compression) = Compression::detect(&bytes) else { return Ok(bytes) };
    compression
        .decompress(&bytes, MODULE_BYTES_MAX)
        .map_err(|source| Error::Image { path: path.to_owned(), source: source.into() })
}

/// The modules under `dir`, relative to `root`. Links are not followed.
pub(crate) fn walk(root: &Path, dir: &Path, found: &mut Vec<PathBuf>) -> Result<()> {
    let entries = match fs::read_dir(dir) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        entries => entries.doing("list", dir)?,
    };
    for entry in entries {
        let entry = entry.doing("list", dir)?;
        let (path, kind) = (entry.path(), entry.file_type().doing("examine", dir)?);
        if kind.is_dir() {
            walk(root, &path, found)?;
        } else if kind.is_file() && module_name(&path).is_some() {
            found.extend(path.strip_prefix(root).map(Path::to_owned));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::elf::sample;

    fn tree(modules: &[(&str, &str)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("kernel/net")).unwrap();
        fs::write(dir.path().join("modules.builtin"), "kernel/fs/pstore-blk.ko\n").unwrap();
        for (file, depends) in modules {
            let info = format!("license=GPL\0depends={depends}\0name=x\0");
            let mut bytes = sample(&[(".modinfo", info.as_bytes())], None);
            if file.ends_with(".gz") {
                let mut gz = flate2::read::GzEncoder::new(&*bytes, flate2::Compression::fast());
                let mut packed = Vec::new();
                std::io::copy(&mut gz, &mut packed).unwrap();
                bytes = packed;
            }
            fs::write(dir.path().join("kernel/net").join(file), bytes).unwrap();
        }
        dir
    }

    fn order(index: &ModuleIndex, names: &[&str]) -> Vec<String> {
        index
            .closure(Path::new("/m"), names)
            .unwrap()
            .into_iter()
            .map(|module| module.name)
            .collect()
    }

    #[test]
    fn what_a_module_needs_comes_before_it_and_once() {
        let dir = tree(&[
            ("tcp_diag.ko.gz", "inet-diag,net_core"),
            ("inet_diag.ko", "net_core"),
            ("net-core.ko", "pstore_blk"),
            ("udp_diag.ko", "inet_diag"),
        ]);
        let index = ModuleIndex::build(dir.path()).unwrap();
        assert_eq!(
            order(&index, &["tcp-diag", "udp_diag"]),
            ["net_core", "inet_diag", "tcp_diag", "udp_diag"]
        );
        assert_eq!(order(&index, &["pstore-blk"]), Vec::<String>::new());
        assert_eq!(index.state("pstore_blk"), ModuleState::Builtin);
        let (name, closest) = index.closure(dir.path(), &["tcp_dag"]).unwrap_err();
        assert_eq!((&*name, closest.as_deref()), ("tcp_dag", Some("tcp_diag")));
        let file = &index.closure(dir.path(), &["tcp_diag"]).unwrap()[2];
        assert!(file.read().unwrap().starts_with(b"\x7fELF"));
    }

    #[test]
    fn a_ring_of_modules_ends() {
        let dir = tree(&[("a.ko", "b"), ("b.ko", "a")]);
        assert_eq!(order(&ModuleIndex::build(dir.path()).unwrap(), &["a"]), ["b", "a"]);
    }

    #[test]
    fn depmods_file_is_believed() {
        let dir = tree(&[("a.ko", ""), ("b.ko", "")]);
        fs::write(
            dir.path().join("modules.dep"),
            "kernel/net/a.ko: kernel/net/b.ko\nkernel/net/b.ko:\n",
        )
        .unwrap();
        assert_eq!(order(&ModuleIndex::build(dir.path()).unwrap(), &["a"]), ["b", "a"]);
    }
}
