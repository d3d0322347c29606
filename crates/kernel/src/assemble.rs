//! From parts to the directory of a cached kernel.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;

use crate::btf::BtfState;
use crate::compression::Compression;
use crate::config::Config;
use crate::elf::Elf;
use crate::error::{Context, Error, Result};
use crate::image::{Image, ImageError};
use crate::kernel::{FileEntry, Manifest, file, hash_file};
use crate::module::{ModuleIndex, module_name};
use crate::parts::Parts;
use crate::progress::{Event, Progress};
use crate::source::Source;

/// Debian's packages now carry one line in the place of the symbols; a real table has megabytes.
const SYSTEM_MAP_BYTES_MIN: u64 = 4096;

/// What the kernel itself says.
struct Inside {
    release: String,
    compression: Option<Compression>,
    pvh_entry: Option<u64>,
    btf: BtfState,
}

impl Parts {
    /// Fills `dir`, which is made here; `kernel.json` is written last.
    pub(crate) fn assemble(
        self,
        source: &Source,
        dir: &Path,
        progress: &dyn Progress,
    ) -> Result<Manifest> {
        fs::create_dir_all(dir).doing("create", dir)?;
        let inside = self.place_kernel(dir, progress)?;
        let modules = self.place_modules(dir, progress)?;

        let mut files = Vec::new();
        describe(dir, dir, &mut files)?;
        files.sort_by(|a, b| a.path.cmp(&b.path));
        let mut content = blake3::Hasher::new();
        for entry in &files {
            content.update(format!("{} {}\n", entry.blake3, entry.path.display()).as_bytes());
        }
        let Inside { release, compression, pvh_entry, btf } = inside;
        let package = self.packages.iter().find(|package| package.name.ends_with(&release));
        let manifest = Manifest {
            format: Manifest::FORMAT,
            id: format!("{}-{release}-{}", source.kind(), &content.finalize().to_hex()[..12]),
            source: source.to_string(),
            version: package.map_or_else(|| release.clone(), |package| package.version.clone()),
            release,
            packages: self.packages,
            compression,
            pvh_entry,
            btf,
            modules,
            stored_unix_s: SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .map_or(0, |it| it.as_secs()),
            bytes: files.iter().map(|entry| entry.bytes).sum(),
            files,
        };
        write_json(&dir.join(file::MANIFEST), &manifest)?;
        Ok(manifest)
    }

    /// Places the kernel in its forms, its configuration and its symbols.
    fn place_kernel(&self, dir: &Path, progress: &dyn Progress) -> Result<Inside> {
        let bytes = fs::read(&self.image).doing("read", &self.image)?;
        let image = Image::new(&bytes);
        let bad_image = |source| Error::Image { path: self.image.clone(), source };
        if let Some(compression) = image.compression() {
            progress.event(&Event::Decompressing { compression, bytes: bytes.len() as u64 });
        }
        let (vmlinux, compression) = image.vmlinux().map_err(bad_image)?;
        let release = image.release().ok_or_else(|| bad_image(ImageError::NoRelease))?;
        let path = dir.join(file::VMLINUX);
        fs::write(&path, &vmlinux).doing("write", &path)?;
        if let Some(boot_image) = &self.boot_image {
            self.place(boot_image, &dir.join(file::VMLINUZ))?;
        } else if !image.is_elf() {
            self.place(&self.image, &dir.join(file::VMLINUZ))?;
        }
        if let Some(config) = &self.config {
            self.place(config, &dir.join(file::CONFIG))?;
        } else if let Some(config) = Config::embedded(&vmlinux) {
            let path = dir.join(file::CONFIG);
            fs::write(&path, config).doing("write", &path)?;
        }
        if let Some(map) = &self.system_map
            && fs::metadata(map).is_ok_and(|found| found.len() >= SYSTEM_MAP_BYTES_MIN)
        {
            self.place(map, &dir.join(file::SYSTEM_MAP))?;
        }
        let elf = Elf::parse(&vmlinux);
        let section = |name| elf.and_then(|elf| elf.section(name));
        Ok(Inside {
            release,
            compression,
            pvh_entry: elf.and_then(Elf::pvh_entry),
            btf: BtfState::read(section(".BTF"), section(".BTF_ids")),
        })
    }

    /// Places the modules and their index, and counts them.
    fn place_modules(&self, dir: &Path, progress: &dyn Progress) -> Result<usize> {
        let modules = dir.join(file::MODULES);
        fs::create_dir_all(&modules).doing("create", &modules)?;
        for (path, from) in &self.modules {
            self.place(from, &modules.join(path))?;
        }
        let count = self.modules.keys().filter(|path| module_name(path).is_some()).count();
        progress.event(&Event::Indexing { modules: count });
        write_json(&dir.join(file::MODULE_INDEX), &ModuleIndex::build(&modules)?)?;
        Ok(count)
    }

    fn place(&self, from: &Path, to: &Path) -> Result<()> {
        if let Some(parent) = to.parent() {
            fs::create_dir_all(parent).doing("create", parent)?;
        }
        let placed = if self.owned { fs::rename(from, to) } else { fs::copy(from, to).map(|_| ()) };
        placed.doing("store", to)
    }
}

/// Adds every file under `dir`.
fn describe(root: &Path, dir: &Path, files: &mut Vec<FileEntry>) -> Result<()> {
    for entry in fs::read_dir(dir).doing("list", dir)? {
        let entry = entry.doing("list", dir)?;
        let path = entry.path();
        if entry.file_type().doing("examine", &path)?.is_dir() {
            describe(root, &path, files)?;
        } else {
            files.push(FileEntry {
                path: path.strip_prefix(root).map(PathBuf::from).unwrap_or_default(),
                bytes: entry.metadata().doing("examine", &path)?.len(),
                blake3: hash_file(&path).doing("read", &path)?,
            });
        }
    }
    Ok(())
}

fn write_json(path: &Path, value: &impl Serialize) -> Result<()> {
    let text =
        serde_json::to_vec_pretty(value).map_err(std::io::Error::other).doing("write", path)?;
    fs::write(path, text).doing("write", path)
}
