//! The tests that binaries have.

use crate::build::Artifact;
use anyhow::Context;
use belljar::Spec;
use belljar::host::tests_of;
use nextest_metadata::{RustBinaryId, RustTestBinaryKind};
use std::process::{Command, Stdio};
use std::sync::Arc;

/// A test binary with belljar tests.
#[derive(Debug)]
pub(crate) struct Binary {
    /// What cargo built.
    pub(crate) artifact: Artifact,
    /// Its name as nextest has it: `package`, `package::target` or `package::kind/target`.
    pub(crate) id: RustBinaryId,
    /// Its kind as nextest has it.
    pub(crate) kind: RustTestBinaryKind,
    /// How many tests it has that are none of belljar's.
    pub(crate) ordinary: usize,
}

/// One test of a binary.
#[derive(Clone, Debug)]
pub(crate) struct Test {
    /// Where it is.
    pub(crate) binary: Arc<Binary>,
    /// What it declares.
    pub(crate) spec: Spec,
}

/// All belljar tests of the binaries, in the order of binaries and names.
pub(crate) fn tests(artifacts: Vec<Artifact>) -> anyhow::Result<Vec<Test>> {
    let mut tests = Vec::new();
    for artifact in artifacts {
        let specs = tests_of(&artifact.executable).with_context(|| {
            format!("cannot ask {} for its tests", artifact.executable.display())
        })?;
        let Some(first) = specs.first() else { continue };
        let kind = kind(&artifact.kinds);
        let binary = Arc::new(Binary {
            id: RustBinaryId::from_parts(&first.package, &kind, &artifact.target),
            kind,
            ordinary: ordinary(&artifact, &specs),
            artifact,
        });
        let binary = &binary;
        tests.extend(specs.into_iter().map(|spec| Test { binary: Arc::clone(binary), spec }));
    }
    Ok(tests)
}

fn kind(kinds: &[String]) -> RustTestBinaryKind {
    match kinds.first().map_or("", String::as_str) {
        "test" => RustTestBinaryKind::TEST,
        "bin" => RustTestBinaryKind::BIN,
        "example" => RustTestBinaryKind::EXAMPLE,
        "bench" => RustTestBinaryKind::BENCH,
        "proc-macro" => RustTestBinaryKind::PROC_MACRO,
        _ => RustTestBinaryKind::LIB,
    }
}

/// How many tests the harness in the binary knows that are none of ours. A binary that
/// does not tell has none.
fn ordinary(artifact: &Artifact, specs: &[Spec]) -> usize {
    let output = Command::new(&artifact.executable)
        .args(["--list", "--format", "terse"])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output();
    let Ok(output) = output else { return 0 };
    let text = String::from_utf8_lossy(&output.stdout);
    let names = text.lines().filter_map(|line| line.strip_suffix(": test"));
    names.filter(|name| specs.iter().all(|spec| spec.name() != *name)).count()
}
