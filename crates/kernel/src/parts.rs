//! The parts of one kernel, where its source has them.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::apt::{Package, failed, run};
use crate::control::Stanza;
use crate::error::{Context, Error, Result};
use crate::lock::Lock;
use crate::module;
use crate::progress::{Event, Progress};

/// Files that together are one kernel.
#[derive(Debug)]
pub(crate) struct Parts {
    /// The ELF kernel, or the boot image to take it out of.
    pub(crate) image: PathBuf,
    /// The boot image that was made of the ELF kernel, where that is there by itself.
    pub(crate) boot_image: Option<PathBuf>,
    pub(crate) config: Option<PathBuf>,
    pub(crate) system_map: Option<PathBuf>,
    /// Modules and the lists of them: path under the directory of modules, and where it is now.
    pub(crate) modules: BTreeMap<PathBuf, PathBuf>,
    pub(crate) packages: Vec<Package>,
    /// The files are ours and may be moved.
    pub(crate) owned: bool,
}

impl Parts {
    fn new(image: PathBuf, owned: bool) -> Self {
        Self {
            image,
            boot_image: None,
            config: None,
            system_map: None,
            modules: BTreeMap::new(),
            packages: Vec::new(),
            owned,
        }
    }

    /// Unpacks packages into `dir` and looks for the one kernel in them. `listed` is what the
    /// signed lists say about them, if they came from there.
    pub(crate) fn of_packages(
        source_text: &str,
        files: &[PathBuf],
        listed: Option<Vec<Package>>,
        dir: &Path,
        lock: &Lock,
        progress: &dyn Progress,
    ) -> Result<Self> {
        fs::create_dir_all(dir).doing("create", dir)?;
        let mut packages = Vec::new();
        for package in files {
            progress.event(&Event::Unpacking { package: package.clone() });
            let bytes = fs::metadata(package).doing("read", package)?.len();
            let dpkg = |args: &[&OsStr]| {
                let mut command = Command::new("dpkg-deb");
                command.args(args);
                let output = run(command, "dpkg-deb", lock)?;
                if output.status.success() {
                    Ok(output)
                } else {
                    Err(failed("dpkg-deb", args, &output))
                }
            };
            dpkg(&["-x".as_ref(), package.as_os_str(), dir.as_os_str()])?;
            if listed.is_none() {
                let output = dpkg(&["-f".as_ref(), package.as_os_str()])?;
                let stanza =
                    Stanza::parse_all(&String::from_utf8_lossy(&output.stdout)).into_iter().next();
                let field = |name| {
                    stanza
                        .as_ref()
                        .and_then(|stanza| stanza.field(name))
                        .unwrap_or_default()
                        .to_owned()
                };
                packages.push(Package {
                    name: field("package"),
                    version: field("version"),
                    sha256: String::new(),
                    bytes,
                });
            }
        }
        packages.sort();

        let (mut images, mut configs, mut maps) = (Vec::new(), Vec::new(), Vec::new());
        let root = fs::canonicalize(dir).doing("find", dir)?;
        for file in plain(&root.join("boot")) {
            match file.file_name().and_then(OsStr::to_str).unwrap_or_default() {
                name if name.starts_with("vmlinuz-") => images.push(file),
                name if name.starts_with("config-") => configs.push(file),
                name if name.starts_with("System.map-") => maps.push(file),
                _ => {}
            }
        }
        let roots = ["lib/modules", "usr/lib/modules"].map(|path| root.join(path));
        let releases: Vec<PathBuf> = roots.iter().flat_map(|root| plain(root)).collect();
        for file in releases.iter().flat_map(|release| plain(release)) {
            match file.file_name().and_then(OsStr::to_str).unwrap_or_default() {
                "vmlinuz" => images.push(file),
                "config" => configs.push(file),
                "System.map" => maps.push(file),
                _ => {}
            }
        }
        let [image] = images.as_slice() else {
            return Err(Error::Incomplete {
                source_text: source_text.to_owned(),
                what: "single kernel image",
                advice: match images.len() {
                    0 => "the packages hold neither boot/vmlinuz-* nor usr/lib/modules/*/vmlinuz; \
                          kernels from 6.19 on are split, so name linux-binary-*, linux-modules-* \
                          and linux-base-*"
                        .into(),
                    several => format!("the packages hold {several}; name those of one kernel"),
                },
            });
        };
        let mut parts = Self::new(image.clone(), true);
        parts.config = configs.pop();
        parts.system_map = maps.pop();
        parts.packages = listed.unwrap_or(packages);
        for release in &releases {
            parts.add_modules(release)?;
        }
        Ok(parts)
    }

    /// Looks for the parts in a built tree.
    pub(crate) fn of_tree(source_text: &str, dir: &Path) -> Result<Self> {
        let vmlinux = dir.join("vmlinux");
        let vmlinux = needed(source_text, vmlinux, "kernel", "build the tree with `make`")?;
        let mut parts = Self::new(vmlinux, false);
        parts.boot_image = existing(dir.join("arch/x86/boot/bzImage"));
        parts.config = existing(dir.join(".config"));
        parts.system_map = existing(dir.join("System.map"));
        parts.add_tree_modules(dir)?;
        Ok(parts)
    }

    /// Takes an image, and what was named beside it.
    pub(crate) fn of_image(
        source_text: &str,
        image: &Path,
        modules: Option<&Path>,
        config: Option<&Path>,
    ) -> Result<Self> {
        let advice = "name a boot image or an ELF kernel";
        let mut parts = Self::new(needed(source_text, image.into(), "image", advice)?, false);
        if let Some(config) = config {
            let advice = "name the configuration that the kernel was built with";
            parts.config = Some(needed(source_text, config.into(), "configuration", advice)?);
        }
        if let Some(modules) = modules {
            parts.add_modules(modules)?;
            if parts.modules.is_empty() {
                return Err(Error::Incomplete {
                    source_text: source_text.to_owned(),
                    what: "modules",
                    advice: format!(
                        "{} holds none; name a directory as /lib/modules/RELEASE",
                        modules.display()
                    ),
                });
            }
        }
        Ok(parts)
    }

    /// Looks for the parts of the kernel that runs here.
    pub(crate) fn of_host(source_text: &str) -> Result<Self> {
        let release = host_release()?;
        let boot = |name: &str| PathBuf::from(format!("/boot/{name}-{release}"));
        let modules = Path::new("/lib/modules").join(&release);
        let image = existing(modules.join("vmlinuz")).unwrap_or_else(|| boot("vmlinuz"));
        let advice = "the kernel that runs here came from elsewhere; take one with `debian:SUITE`";
        let mut parts = Self::new(needed(source_text, image, "image", advice)?, false);
        parts.config = existing(boot("config")).or_else(|| existing(modules.join("config")));
        parts.system_map = existing(boot("System.map"));
        parts.add_modules(&modules)?;
        Ok(parts)
    }

    /// Adds the modules under `root`, and the lists of them.
    fn add_modules(&mut self, root: &Path) -> Result<()> {
        let mut found = Vec::new();
        module::walk(root, root, &mut found)?;
        let lists = list(root).into_iter().filter_map(|path| {
            let name = path.file_name()?.to_str()?;
            // The files that depmod makes in binary form are of no use here.
            (name.starts_with("modules.") && !name.ends_with(".bin")).then(|| PathBuf::from(name))
        });
        for path in found.into_iter().chain(lists) {
            let file = root.join(&path);
            if fs::symlink_metadata(&file).is_ok_and(|found| found.is_file()) {
                self.modules.insert(path, file);
            }
        }
        Ok(())
    }

    /// Adds the modules of a built tree: those that its build listed, else those that are there.
    fn add_tree_modules(&mut self, dir: &Path) -> Result<()> {
        let mut found: Vec<PathBuf> = match fs::read_to_string(dir.join("modules.order")) {
            // Its lines were `kernel/fs/a.ko`, then `fs/a.ko`, and are `fs/a.o` now.
            Ok(text) => text
                .lines()
                .map(|line| {
                    Path::new(line.strip_prefix("kernel/").unwrap_or(line)).with_extension("ko")
                })
                .collect(),
            Err(_) => Vec::new(),
        };
        if found.is_empty() {
            module::walk(dir, dir, &mut found)?;
        }
        for path in found {
            if let Some(file) = existing(dir.join(&path)) {
                self.modules.insert(Path::new("kernel").join(path), file);
            }
        }
        for name in ["modules.builtin", "modules.builtin.modinfo"] {
            if let Some(file) = existing(dir.join(name)) {
                self.modules.insert(name.into(), file);
            }
        }
        Ok(())
    }
}

/// What `uname -r` says here.
pub(crate) fn host_release() -> Result<String> {
    let path = Path::new("/proc/sys/kernel/osrelease");
    Ok(fs::read_to_string(path).doing("read", path)?.trim().to_owned())
}

/// `path` if a file is there; an error that names it if not.
fn needed(source_text: &str, path: PathBuf, what: &'static str, advice: &str) -> Result<PathBuf> {
    existing(path.clone()).ok_or_else(|| Error::Incomplete {
        source_text: source_text.to_owned(),
        what,
        advice: format!("{} is no readable file; {advice}", path.display()),
    })
}

/// `path` if a file is there, or a link to one.
fn existing(path: PathBuf) -> Option<PathBuf> {
    path.is_file().then_some(path)
}

/// What is in a directory, in order; nothing if it is none.
fn list(dir: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(dir) else { return Vec::new() };
    let mut paths: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    paths.sort();
    paths
}

/// The same without links, in the entries and on the way to them. `dir` must start from a path
/// without any. What comes in a package is moved, so it must not lead out of where it was unpacked.
fn plain(dir: &Path) -> Vec<PathBuf> {
    let mut paths = list(dir);
    paths.retain(|path| fs::canonicalize(path).is_ok_and(|real| real == *path));
    paths
}
