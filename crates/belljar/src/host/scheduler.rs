//! Schedulers' programs: built, found, or fetched.

use super::Host;
use crate::scheduler::{SchedulerSource, SchedulerSpec};
use belljar_vm::chain;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::PoisonError;

/// How much of a failed build's output is kept: its end, where cargo says what was wrong.
const BUILD_OUTPUT_BYTES: usize = 4096;

impl Host {
    /// The program of a scheduler on this host: it is built or fetched now if need be, once in this
    /// process.
    ///
    /// # Errors
    /// What was tried and how it failed, for people.
    pub(super) fn scheduler_program(&self, spec: &SchedulerSpec) -> Result<PathBuf, String> {
        let mut programs = self.schedulers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(program) = programs.get(&spec.source) {
            return program.clone();
        }
        let program = match &spec.source {
            SchedulerSource::Package { package } => self.build(&spec.manifest_dir, package),
            SchedulerSource::Release { package, version } => self.install(package, version),
            SchedulerSource::Path { path } if path.is_file() => Ok(path.clone()),
            SchedulerSource::Path { path } => Err(format!(
                "the scheduler {} is declared at {}, where no file is",
                spec.name,
                path.display()
            )),
            SchedulerSource::Program { program } => {
                belljar_vm::find_on_path(program).ok_or_else(|| {
                    format!(
                        "the scheduler {} is declared as the program `{program}`, which is not on \
                         the PATH of this host; install it or name its path",
                        spec.name
                    )
                })
            }
        };
        programs.insert(spec.source.clone(), program.clone());
        program
    }

    /// Builds a package of the workspace around `manifest_dir`.
    fn build(&self, manifest_dir: &Path, package: &str) -> Result<PathBuf, String> {
        (self.say)(&format!("building the scheduler {package}"));
        let mut cargo = cargo();
        cargo.args(["build", "--package", package, "--message-format", "json-render-diagnostics"]);
        cargo.current_dir(manifest_dir);
        let output = run(&mut cargo, &format!("building the scheduler {package}"))?;
        let wanted = package.replace('-', "_");
        let executables: Vec<PathBuf> = String::from_utf8_lossy(&output)
            .lines()
            .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
            .filter_map(|message| Some(PathBuf::from(message.get("executable")?.as_str()?)))
            .collect();
        let named = executables.iter().find(|path| {
            path.file_name().is_some_and(|name| name.to_string_lossy().replace('-', "_") == wanted)
        });
        match (named, executables.as_slice()) {
            (Some(program), _) | (None, [program]) => Ok(program.clone()),
            _ => Err(format!("the package {package} has no binary of the name `{wanted}`")),
        }
    }

    /// Builds a published crate into the cache, once.
    fn install(&self, package: &str, version: &str) -> Result<PathBuf, String> {
        let what = format!("{package} {version}");
        let place = |error: io::Error| format!("cannot keep the scheduler {what}: {error}");
        let root = super::cache_root().map_err(|error| chain(&error))?.join("schedulers");
        let directory = root.join(format!("{package}-{version}"));
        let program = directory.join("bin").join(package);
        fs::create_dir_all(&root).map_err(place)?;
        let lock = File::create(root.join(format!("{package}-{version}.lock"))).map_err(place)?;
        lock.lock().map_err(place)?;
        if program.is_file() {
            return Ok(program);
        }
        (self.say)(&format!("building the scheduler {what}: once, for some minutes"));
        let building = root.join(format!("{package}-{version}.building"));
        let target = root.join("target");
        let mut cargo = cargo();
        cargo.args(["install", package, "--version", &format!("={version}"), "--locked", "--root"]);
        cargo.arg(&building).env("CARGO_TARGET_DIR", &target);
        if std::env::var_os("BPF_CLANG").is_none()
            && let Some(clang) = clang()
        {
            cargo.env("BPF_CLANG", clang);
        }
        let built = run(&mut cargo, &format!("building the scheduler {what}"));
        // Only what was built is kept: its objects are some hundred megabytes.
        let _ = fs::remove_dir_all(&target);
        built.and_then(|_| fs::rename(&building, &directory).map_err(place)).inspect_err(|_| {
            let _ = fs::remove_dir_all(&building);
        })?;
        Ok(program)
    }
}

/// The newest clang here; schedulers' build scripts look for `clang` alone.
fn clang() -> Option<PathBuf> {
    let versions = (14..=30).rev().map(|version| format!("clang-{version}"));
    versions.chain([String::from("clang")]).find_map(|name| belljar_vm::find_on_path(&name))
}

/// Cargo, as whoever called us did.
pub fn cargo() -> Command {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    // Started by cargo we have variables that describe us. A build script that looks at one would
    // run again.
    for (name, _) in std::env::vars_os() {
        let about_us = ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_", "CARGO_CRATE_"];
        if about_us.iter().any(|start| name.to_string_lossy().starts_with(start)) {
            cargo.env_remove(name);
        }
    }
    cargo
}

/// Runs cargo and returns its standard output.
fn run(cargo: &mut Command, what: &str) -> Result<Vec<u8>, String> {
    let output = cargo
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("{what}: cannot start cargo: {error}"))?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    let text = String::from_utf8_lossy(&output.stderr);
    let start = text.len().saturating_sub(BUILD_OUTPUT_BYTES);
    let start = (start..text.len()).find(|at| text.is_char_boundary(*at)).unwrap_or(text.len());
    Err(format!("{what} failed ({}):\n{}", output.status, text[start..].trim()))
}
