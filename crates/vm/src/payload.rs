//! What is put into a booted machine: files, modules, and what to start.

use crate::closure::{Closure, ClosureError};
use belljar_guest::archive::{Archive, Entry};
use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Files, modules, and what to start.
#[derive(Clone, Debug)]
pub struct Payload {
    name: String,
    files: BTreeMap<PathBuf, Vec<u8>>,
    programs: BTreeMap<PathBuf, Vec<u8>>,
    links: BTreeMap<PathBuf, PathBuf>,
    modules: Vec<(String, Vec<u8>)>,
    start: String,
}

impl Payload {
    /// A payload whose process is `program` with `arguments`: one that takes its seat
    /// on the channel and waits for a request.
    ///
    /// # Errors
    /// When the program or a library that it needs cannot be read.
    pub fn process(program: &Path, arguments: &[&str]) -> Result<Payload, ClosureError> {
        let inside = Path::new("/payload").join(program.file_name().unwrap_or_default());
        let mut start = format!("process\n{}\n", inside.display());
        for argument in arguments {
            start.push_str(argument);
            start.push('\n');
        }
        let name = program.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let mut payload = Payload::empty(name, start);
        payload.add(Closure::of_program_as(program, &inside)?);
        Ok(payload)
    }

    /// A payload with these programs, found on the PATH; which of them to start is
    /// for the request to say.
    ///
    /// # Errors
    /// When a program is not found, or it or a library cannot be read.
    pub fn command(programs: &[&str]) -> Result<Payload, ClosureError> {
        let mut payload = Payload::empty(programs.join(" "), String::from("command\n"));
        payload.tools(programs)?;
        Ok(payload)
    }

    fn empty(name: String, start: String) -> Payload {
        Payload {
            name,
            files: BTreeMap::new(),
            programs: BTreeMap::new(),
            links: BTreeMap::new(),
            modules: Vec::new(),
            start,
        }
    }

    /// Adds programs of the host, found on the PATH, with their libraries.
    ///
    /// # Errors
    /// When one is not found, or it or a library cannot be read.
    pub fn tools(&mut self, programs: &[impl AsRef<str>]) -> Result<(), ClosureError> {
        for program in programs {
            self.add(Closure::of_tool(program.as_ref())?);
        }
        Ok(())
    }

    /// Adds a program of the host with its libraries, to be found at `inside` in the guest.
    ///
    /// # Errors
    /// When it or a library cannot be read.
    pub fn program(&mut self, program: &Path, inside: &Path) -> Result<(), ClosureError> {
        self.add(Closure::of_program_as(program, inside)?);
        Ok(())
    }

    /// Adds a file.
    pub fn file(&mut self, path: impl Into<PathBuf>, contents: Vec<u8>) {
        self.files.insert(path.into(), contents);
    }

    /// Adds a kernel module, to be loaded after those before it.
    pub fn module(&mut self, name: &str, image: Vec<u8>) {
        self.modules.push((name.to_owned(), image));
    }

    /// Its name, for people.
    pub fn name(&self) -> &str {
        &self.name
    }

    fn add(&mut self, closure: Closure) {
        self.programs.extend(closure.programs);
        self.links.extend(closure.links);
    }

    /// The archive that the agent unpacks.
    pub(crate) fn archive(&self) -> Vec<u8> {
        let modules: Vec<String> =
            self.modules.iter().map(|(name, _)| format!("/.belljar/modules.d/{name}.ko")).collect();
        let list = modules.iter().map(|path| format!("{path}\n")).collect::<String>();
        let mut entries: BTreeMap<&Path, Entry<'_>> = BTreeMap::new();
        entries.insert(Path::new("/.belljar/start"), Entry::File(self.start.as_bytes()));
        if !modules.is_empty() {
            entries.insert(Path::new("/.belljar/modules"), Entry::File(list.as_bytes()));
        }
        for (path, (_, image)) in modules.iter().zip(&self.modules) {
            entries.insert(Path::new(path), Entry::File(image));
        }
        for (path, contents) in &self.files {
            entries.insert(path, Entry::File(contents));
        }
        for (path, contents) in &self.programs {
            entries.insert(path, Entry::Program(contents));
        }
        let targets: Vec<(&Path, String)> = self
            .links
            .iter()
            .map(|(path, target)| (path.as_path(), target.to_string_lossy().into_owned()))
            .collect();
        for (path, target) in &targets {
            entries.insert(path, Entry::Symlink(target));
        }
        let mut archive = Archive::new();
        for directory in directories(entries.keys().copied(), &self.links) {
            archive.push(relative(directory), Entry::Directory);
        }
        for (path, entry) in entries {
            if let Some(path) = path.to_str() {
                archive.push(relative(Path::new(path)), entry);
            }
        }
        archive.finish()
    }
}

/// Every directory above `paths`, parents first, but for those that are links.
fn directories<'a>(
    paths: impl Iterator<Item = &'a Path>,
    links: &BTreeMap<PathBuf, PathBuf>,
) -> BTreeSet<&'a Path> {
    paths
        .flat_map(|path| path.ancestors().skip(1))
        .filter(|path| path.parent().is_some() && !links.contains_key(*path))
        .collect()
}

fn relative(path: &Path) -> &str {
    path.to_str().map_or("", |path| path.trim_start_matches('/'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use belljar_guest::archive::parse_header;

    #[test]
    fn parents_come_first_and_bytes_do_not_vary() {
        let mut payload = Payload::empty("t".into(), "command\n".into());
        payload.file("/boot/config-7", b"CONFIG_X=y".to_vec());
        payload.module("tcp_diag", b"elf".to_vec());
        let bytes = payload.archive();
        assert_eq!(bytes, payload.clone().archive());
        let (mut at, mut paths) = (0, Vec::new());
        while let Some((header, len)) = parse_header(&bytes[at..]).unwrap() {
            at += (len + header.body_len).next_multiple_of(4);
            paths.push(header.path);
        }
        assert_eq!(
            paths,
            [
                ".belljar",
                ".belljar/modules.d",
                "boot",
                ".belljar/modules",
                ".belljar/modules.d/tcp_diag.ko",
                ".belljar/start",
                "boot/config-7",
                "TRAILER!!!"
            ]
        );
    }
}
