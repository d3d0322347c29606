//! Building test binaries with cargo.

use crate::args::{BuildArgs, TargetArgs};
use crate::failure::{Exit, Failure};
use anyhow::Context;
use belljar::host::cargo;
use serde::Deserialize;
use std::ffi::OsString;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::Stdio;

/// A test binary that cargo has built.
#[derive(Clone, Debug)]
pub(crate) struct Artifact {
    /// Cargo's id of the package.
    pub(crate) package_id: String,
    /// The name of the target.
    pub(crate) target: String,
    /// Its kinds, as `test` or `lib`.
    pub(crate) kinds: Vec<String>,
    /// The binary.
    pub(crate) executable: PathBuf,
}

/// One of cargo's messages, as far as it matters here.
#[derive(Deserialize)]
struct Message {
    reason: String,
    package_id: Option<String>,
    target: Option<Target>,
    executable: Option<PathBuf>,
    profile: Option<Profile>,
}

#[derive(Deserialize)]
struct Target {
    name: String,
    kind: Vec<String>,
}

#[derive(Deserialize)]
struct Profile {
    test: bool,
}

impl BuildArgs {
    /// The arguments for `cargo test`.
    fn arguments(&self) -> Vec<OsString> {
        let mut arguments: Vec<OsString> = Vec::new();
        let flags = [
            ("--release", self.release),
            ("--all-features", self.all_features),
            ("--no-default-features", self.no_default_features),
        ];
        arguments.extend(flags.iter().filter(|(_, on)| *on).map(|(flag, _)| flag.into()));
        let mut option = |name: &str, value: OsString| arguments.extend([name.into(), value]);
        if let Some(profile) = &self.profile {
            option("--profile", profile.into());
        }
        for features in &self.features {
            option("--features", features.into());
        }
        if let Some(directory) = &self.target_dir {
            option("--target-dir", directory.into());
        }
        arguments.extend(self.metadata_arguments());
        arguments
    }

    /// Those that `cargo metadata` takes too.
    fn metadata_arguments(&self) -> Vec<OsString> {
        let mut arguments: Vec<OsString> = Vec::new();
        if let Some(path) = &self.manifest_path {
            arguments.extend(["--manifest-path".into(), path.into()]);
        }
        let flags = [("--locked", self.locked), ("--offline", self.offline)];
        arguments.extend(flags.iter().filter(|(_, on)| *on).map(|(flag, _)| flag.into()));
        arguments
    }
}

impl TargetArgs {
    /// Only this package.
    pub(crate) fn package(name: &str) -> TargetArgs {
        TargetArgs { package: vec![name.to_owned()], ..TargetArgs::default() }
    }

    fn arguments(&self) -> Vec<OsString> {
        let mut arguments: Vec<OsString> = Vec::new();
        for (name, values) in
            [("--package", &self.package), ("--exclude", &self.exclude), ("--test", &self.test)]
        {
            arguments.extend(values.iter().flat_map(|value| [name.into(), value.into()]));
        }
        let flags = [("--workspace", self.workspace), ("--lib", self.lib)];
        arguments.extend(flags.iter().filter(|(_, on)| *on).map(|(flag, _)| flag.into()));
        arguments
    }
}

/// Builds tests and gives their binaries. What cargo and the compiler have to say goes
/// to standard error.
pub(crate) fn build(how: &BuildArgs, what: &TargetArgs) -> anyhow::Result<Vec<Artifact>> {
    let mut command = cargo();
    command
        .args(["test", "--no-run", "--message-format=json-render-diagnostics"])
        .args(how.arguments())
        .args(what.arguments())
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    let mut child = command.spawn().map_err(|error| {
        Failure::new(Exit::Setup, format!("cannot start {}", command.get_program().display()))
            .source(error)
            .hint("install Rust, as from https://rustup.rs, or name cargo in CARGO")
    })?;
    let stdout = child.stdout.take().context("cargo has no standard output")?;
    let mut artifacts = Vec::new();
    for line in BufReader::new(stdout).lines() {
        let line = line.context("cannot read cargo's messages")?;
        let Ok(message) = serde_json::from_str::<Message>(&line) else { continue };
        artifacts.extend(message.artifact());
    }
    let status = child.wait().context("cannot wait for cargo")?;
    if !status.success() {
        let failure = Failure::new(Exit::BuildFailed, format!("the build failed ({status})"));
        return Err(failure.hint("what cargo said is above").into());
    }
    // Cargo gives them in the order in which they were finished.
    artifacts.sort_by(|a, b| (&a.package_id, &a.target).cmp(&(&b.package_id, &b.target)));
    Ok(artifacts)
}

impl Message {
    fn artifact(self) -> Option<Artifact> {
        let is_test = self.reason == "compiler-artifact" && self.profile?.test;
        let target = self.target?;
        is_test.then_some(Artifact {
            package_id: self.package_id?,
            target: target.name,
            kinds: target.kind,
            executable: self.executable?,
        })
    }
}

/// The target directory.
pub(crate) fn target_directory(how: &BuildArgs) -> anyhow::Result<PathBuf> {
    #[derive(Deserialize)]
    struct Metadata {
        target_directory: PathBuf,
    }
    if let Some(directory) = &how.target_dir {
        return Ok(directory.clone());
    }
    let metadata: Metadata = serde_json::from_str(&metadata(how, &["--no-deps"])?)
        .context("cannot understand `cargo metadata`")?;
    Ok(metadata.target_directory)
}

/// What `cargo metadata` says.
pub(crate) fn metadata(how: &BuildArgs, arguments: &[&str]) -> anyhow::Result<String> {
    let output = cargo()
        .args(["metadata", "--format-version=1"])
        .args(arguments)
        .args(how.metadata_arguments())
        .output()
        .context("cannot start `cargo metadata`")?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        let failure = Failure::new(Exit::BuildFailed, "`cargo metadata` failed");
        return Err(failure.source(said).into());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
