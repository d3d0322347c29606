//! A program of the host with everything that its loader will look for.
//!
//! The libraries are found as the dynamic loader finds them: `DT_RPATH` and
//! `DT_RUNPATH` with `$ORIGIN`, then the loader's cache directories. Only names in
//! ELF files are followed; what a program opens at run time is its user's to ask for.

use crate::slim::without_debug_sections;
use object::elf;
use object::read::elf::{Dyn, ElfFile64, FileHeader, ProgramHeader};
use object::{Endianness, Object};
use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// The directories in which libraries are looked for when no program says otherwise.
const LIBRARY_DIRECTORIES: [&str; 9] = [
    "/usr/local/lib/x86_64-linux-gnu",
    "/usr/local/lib",
    "/lib/x86_64-linux-gnu",
    "/usr/lib/x86_64-linux-gnu",
    "/lib64",
    "/usr/lib64",
    "/lib",
    "/usr/lib",
    "/usr/lib/x86_64-linux-gnu/systemd",
];

/// Files to bring along, by the path at which the guest will look for them.
#[derive(Clone, Debug, Default)]
pub struct Closure {
    /// Programs and libraries.
    pub programs: BTreeMap<PathBuf, Vec<u8>>,
    /// Symbolic links: from, to.
    pub links: BTreeMap<PathBuf, PathBuf>,
}

/// A program's closure could not be found.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClosureError {
    /// A program is not there.
    #[error("the program `{program}` is not on the PATH of this host; install it or name its path")]
    NoProgram {
        /// The program.
        program: String,
    },
    /// A file cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What happened.
        source: io::Error,
    },
    /// A file is not what it must be.
    #[error("{} is not a 64-bit x86 ELF program: {problem}", path.display())]
    NotElf {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// A library is not there.
    #[error("{} needs the library {library}, which is in none of the places where loaders look", path.display())]
    NoLibrary {
        /// Who needs it.
        path: PathBuf,
        /// What it needs.
        library: String,
    },
}

impl Closure {
    /// A program that the guest will find at `inside`.
    pub(crate) fn of_program_as(program: &Path, inside: &Path) -> Result<Closure, ClosureError> {
        let mut closure = Closure::default();
        let bytes = read(program)?;
        closure.follow(program, &bytes)?;
        closure.programs.insert(inside.to_owned(), bytes);
        Ok(closure)
    }

    /// A program found on the PATH, or at a path. A script brings its interpreter.
    pub(crate) fn of_tool(name: &str) -> Result<Closure, ClosureError> {
        let found = find_on_path(name)
            .ok_or_else(|| ClosureError::NoProgram { program: name.to_owned() })?;
        let mut closure = Closure::default();
        let real = fs::canonicalize(&found)
            .map_err(|source| ClosureError::Read { path: found.clone(), source })?;
        let bytes = read(&real)?;
        let inside = Path::new("/usr/bin").join(found.file_name().unwrap_or_default());
        if let Some(interpreter) = interpreter(&bytes) {
            let interpreter = Closure::of_tool(&interpreter)?;
            closure.programs.extend(interpreter.programs);
            closure.links.extend(interpreter.links);
        } else {
            closure.follow(&real, &bytes)?;
        }
        closure.programs.insert(inside, bytes);
        // Scripts name these places.
        for (link, target) in [("/bin", "usr/bin"), ("/sbin", "usr/bin"), ("/usr/sbin", "bin")] {
            closure.links.insert(link.into(), target.into());
        }
        Ok(closure)
    }

    /// Adds the loader and the libraries of the ELF file at `path`.
    fn follow(&mut self, path: &Path, bytes: &[u8]) -> Result<(), ClosureError> {
        let needs = needs(bytes)
            .map_err(|problem| ClosureError::NotElf { path: path.to_owned(), problem })?;
        if let Some(loader) = &needs.loader {
            self.add_library(Path::new(loader))?;
        }
        for library in &needs.libraries {
            let found = find_library(library, path, &needs.search).ok_or_else(|| {
                ClosureError::NoLibrary { path: path.to_owned(), library: library.clone() }
            })?;
            self.add_library(&found)?;
        }
        Ok(())
    }

    /// Adds a library at the very path at which it was found: the guest's loader
    /// looks in the same places. What it needs is followed too.
    fn add_library(&mut self, path: &Path) -> Result<(), ClosureError> {
        let inside = canonical_directory(path);
        if self.programs.contains_key(&inside) {
            return Ok(());
        }
        let bytes = read(path)?;
        self.programs.insert(inside, bytes.clone());
        // Where /lib is a link to /usr/lib, as Debian has it, it is one in the guest.
        for name in ["lib", "lib64"] {
            let link = Path::new("/").join(name);
            if let Ok(target) = fs::read_link(&link) {
                self.links.insert(link, target);
            }
        }
        self.follow(path, &bytes)
    }
}

/// The path with every link in its directories resolved, but not the last name.
fn canonical_directory(path: &Path) -> PathBuf {
    match (path.parent().map(fs::canonicalize), path.file_name()) {
        (Some(Ok(directory)), Some(name)) => directory.join(name),
        _ => path.to_owned(),
    }
}

/// A program or library, without what only a debugger reads.
fn read(path: &Path) -> Result<Vec<u8>, ClosureError> {
    fs::read(path)
        .map(without_debug_sections)
        .map_err(|source| ClosureError::Read { path: path.to_owned(), source })
}

/// The program of this name on the PATH of this host; a name with a slash is a path.
pub fn find_on_path(name: &str) -> Option<PathBuf> {
    if name.contains('/') {
        return Some(PathBuf::from(name)).filter(|path| path.is_file());
    }
    let path = env::var_os("PATH").unwrap_or_default();
    let system = ["/usr/sbin", "/sbin", "/usr/bin", "/bin"].map(PathBuf::from);
    env::split_paths(&path)
        .chain(system)
        .map(|directory| directory.join(name))
        .find(|path| path.is_file())
}

/// The program that a script names in its first line.
fn interpreter(bytes: &[u8]) -> Option<String> {
    let line = bytes.strip_prefix(b"#!")?.split(|byte| *byte == b'\n').next()?;
    let mut words = std::str::from_utf8(line).ok()?.split_whitespace();
    let program = words.next()?;
    // `#!/usr/bin/env python3`
    if program.ends_with("/env") { words.next() } else { Some(program) }.map(str::to_owned)
}

struct Needs {
    loader: Option<String>,
    libraries: Vec<String>,
    search: Vec<String>,
}

/// What an ELF file asks its loader for.
fn needs(bytes: &[u8]) -> Result<Needs, String> {
    let text = |error: object::Error| error.to_string();
    let file = ElfFile64::<Endianness>::parse(bytes).map_err(text)?;
    if file.architecture() != object::Architecture::X86_64 {
        return Err(String::from("it is for another processor"));
    }
    let endian = file.endian();
    let mut needs = Needs { loader: None, libraries: Vec::new(), search: Vec::new() };
    for segment in file.elf_header().program_headers(endian, bytes).map_err(text)? {
        if let Ok(Some(loader)) = segment.interpreter(endian, bytes) {
            needs.loader = Some(String::from_utf8_lossy(loader).into_owned());
        }
    }
    let sections = file.elf_header().sections(endian, bytes).map_err(text)?;
    let Some((dynamic, link)) = sections.dynamic(endian, bytes).map_err(text)? else {
        return Ok(needs);
    };
    let strings = sections.strings(endian, bytes, link).map_err(text)?;
    for entry in dynamic {
        let string = || -> Result<String, String> {
            let bytes = entry.string(endian, strings).map_err(text)?;
            Ok(String::from_utf8_lossy(bytes).into_owned())
        };
        match entry.tag(endian) {
            elf::DT_NEEDED => needs.libraries.push(string()?),
            elf::DT_RPATH | elf::DT_RUNPATH => {
                needs.search.extend(string()?.split(':').map(str::to_owned));
            }
            _ => {}
        }
    }
    Ok(needs)
}

fn find_library(name: &str, needed_by: &Path, search: &[String]) -> Option<PathBuf> {
    if name.contains('/') {
        return Some(PathBuf::from(name)).filter(|path| path.is_file());
    }
    let origin = needed_by.parent().unwrap_or(Path::new("/")).to_string_lossy().into_owned();
    search
        .iter()
        .map(|directory| directory.replace("$ORIGIN", &origin).replace("${ORIGIN}", &origin))
        .chain(LIBRARY_DIRECTORIES.map(String::from))
        .map(|directory| Path::new(&directory).join(name))
        .find(|path| path.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_test_brings_its_libraries() {
        let program = env::current_exe().unwrap();
        let closure = Closure::of_program_as(&program, Path::new("/payload/t")).unwrap();
        let names: Vec<String> =
            closure.programs.keys().map(|path| path.display().to_string()).collect();
        assert!(names.iter().any(|name| name == "/payload/t"), "{names:?}");
        assert!(names.iter().any(|name| name.ends_with("/libc.so.6")), "{names:?}");
        assert!(names.iter().any(|name| name.ends_with("ld-linux-x86-64.so.2")), "{names:?}");
    }

    #[test]
    fn scripts_name_their_interpreter() {
        assert_eq!(interpreter(b"#!/bin/sh -e\nexit"), Some("/bin/sh".into()));
        assert_eq!(interpreter(b"#!/usr/bin/env python3\n"), Some("python3".into()));
        assert_eq!(interpreter(b"\x7fELF"), None);
    }

    #[test]
    fn what_is_missing_is_named() {
        let error = Closure::of_tool("no-such-tool").unwrap_err();
        assert!(error.to_string().contains("`no-such-tool`"), "{error}");
        let error = Closure::of_program_as(Path::new("/etc/passwd"), Path::new("/p")).unwrap_err();
        assert!(matches!(error, ClosureError::NotElf { .. }), "{error}");
    }
}
