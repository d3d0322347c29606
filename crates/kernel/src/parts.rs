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
use crate::source::Source;

/// Files that together are one kernel.
#[derive(Debug, Default)]
pub(crate) struct Parts {
    /// The boot image, if there is one.
    pub(crate) vmlinuz: Option<PathBuf>,
    /// The ELF kernel, if it need not be taken out of the image.
    pub(crate) vmlinux: Option<PathBuf>,
    pub(crate) config: Option<PathBuf>,
    pub(crate) system_map: Option<PathBuf>,
    /// Modules and the lists of them: path under the directory of modules, and where it is now.
    pub(crate) modules: BTreeMap<PathBuf, PathBuf>,
    pub(crate) packages: Vec<Package>,
    /// The files are ours and may be moved.
    pub(crate) owned: bool,
}

impl Parts {
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

        let mut parts =
            Self { packages: listed.unwrap_or(packages), owned: true, ..Self::default() };
        let mut images = Vec::new();
        let boot = dir.join("boot");
        for file in list(&boot) {
            let name = file.file_name().and_then(OsStr::to_str).unwrap_or_default();
            if name.starts_with("vmlinuz-") {
                images.push(file);
            } else if name.starts_with("config-") {
                parts.config = Some(file);
            } else if name.starts_with("System.map-") {
                parts.system_map = Some(file);
            }
        }
        for root in ["lib/modules", "usr/lib/modules"].iter().flat_map(|root| list(&dir.join(root)))
        {
            images.extend(existing(root.join("vmlinuz")));
            parts.config = existing(root.join("config")).or(parts.config);
            parts.system_map = existing(root.join("System.map")).or(parts.system_map);
            parts.add_modules(&root)?;
        }
        parts.vmlinuz = match images.as_slice() {
            [image] => Some(image.clone()),
            [] => {
                return Err(Error::Incomplete {
                    source_text: source_text.to_owned(),
                    what: "kernel image",
                    advice: "the packages hold neither boot/vmlinuz-* nor usr/lib/modules/*/vmlinuz; \
                             kernels from 6.19 on are split, so name linux-binary-*, linux-modules-* and \
                             linux-base-* as well"
                        .into(),
                });
            }
            _ => {
                return Err(Error::Incomplete {
                    source_text: source_text.to_owned(),
                    what: "single kernel",
                    advice: format!("the packages hold {}; name those of one kernel", images.len()),
                });
            }
        };
        Ok(parts)
    }

    /// Looks for the parts in a place that is not ours.
    pub(crate) fn of_place(source: &Source) -> Result<Self> {
        let source_text = source.to_string();
        let needed = |path: PathBuf, what, advice: &str| {
            existing(path.clone()).ok_or_else(|| Error::Incomplete {
                source_text: source_text.clone(),
                what,
                advice: format!("{} is no readable file; {advice}", path.display()),
            })
        };
        let mut parts = Self::default();
        match source {
            Source::Tree(dir) => {
                parts.vmlinux =
                    Some(needed(dir.join("vmlinux"), "kernel", "build the tree with `make`")?);
                parts.vmlinuz = existing(dir.join("arch/x86/boot/bzImage"));
                parts.config = existing(dir.join(".config"));
                parts.system_map = existing(dir.join("System.map"));
                parts.add_tree_modules(dir)?;
            }
            Source::Image { image, modules, config } => {
                parts.vmlinuz =
                    Some(needed(image.clone(), "image", "name a boot image or an ELF kernel")?);
                if let Some(config) = config {
                    let advice = "name the configuration that the kernel was built with";
                    parts.config = Some(needed(config.clone(), "configuration", advice)?);
                }
                if let Some(modules) = modules {
                    parts.add_modules(modules)?;
                    if parts.modules.is_empty() {
                        return Err(Error::Incomplete {
                            source_text,
                            what: "modules",
                            advice: format!(
                                "{} holds none; name a directory as /lib/modules/RELEASE",
                                modules.display()
                            ),
                        });
                    }
                }
            }
            Source::Host => {
                let release = host_release()?;
                let boot = |name: &str| PathBuf::from(format!("/boot/{name}-{release}"));
                let modules = Path::new("/lib/modules").join(&release);
                let image = existing(modules.join("vmlinuz")).unwrap_or_else(|| boot("vmlinuz"));
                let advice =
                    "the kernel that runs here came from elsewhere; take one with `debian:SUITE`";
                parts.vmlinuz = Some(needed(image, "image", advice)?);
                parts.config =
                    existing(boot("config")).or_else(|| existing(modules.join("config")));
                parts.system_map = existing(boot("System.map"));
                parts.add_modules(&modules)?;
            }
            Source::Debian { .. } | Source::Deb(_) => {}
        }
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
            if existing(root.join(&path)).is_some() {
                self.modules.insert(path.clone(), root.join(path));
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

/// `path` if a file is there. A link counts only where the user can have made it.
fn existing(path: PathBuf) -> Option<PathBuf> {
    let found = fs::symlink_metadata(&path).ok()?;
    let found = if found.is_symlink() && path.starts_with("/boot") {
        fs::metadata(&path).ok()?
    } else {
        found
    };
    found.is_file().then_some(path)
}

/// What is in a directory, in order; nothing if it is none.
fn list(dir: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(dir) else { return Vec::new() };
    let mut paths: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    paths.sort();
    paths
}
