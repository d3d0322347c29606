//! What several tests use.

use std::path::PathBuf;

use belljar_record::Timestamp;

use crate::cell::Cell;
use crate::environment::Environment;
use crate::limit::Selection;
use crate::matrix::Matrix;
use crate::measurement::Measurement;
use crate::protocol::LatencyNs;
use crate::state::{Begun, Outcome, Sample, State};

/// A matrix with two families, one of them without a server.
pub(crate) const MATRIX: &str = r#"
title = "Pings"
description = "How fast one asks another."

[policy]
samples = 5
duration_s = 0.05
duration_max_rate_s = 0.05
settle_ms = 0

[axes]
client = { rust = "out/rust", c = "out/c" }
server = ["rust", "c"]

[[family]]
name = "ping"
axes = ["client", "server"]
rates = ["max", 1000]
client = ["{client.value}", "ping", "{run_dir}/{service}", "{duration_s}", "{rate_per_s}"]
server = ["out/{server}", "serve", "{run_dir}/{service}"]
ready_paths = ["{run_dir}/{service}"]

[[family]]
name = "copy"
axes = ["client"]
only = { client = ["c"] }
latency = false
client = ["{client.value}", "copy", "{duration_s}", "{rate_per_s}"]

[[limit]]
where = { family = "ping", rate = "max" }
metric = "operations_per_s"
at_least = 900

[[limit]]
where = { family = "copy" }
metric = "throughput_per_s"
at_least = 1

[[limit]]
where = { family = "ping", client = "c" , rate = "max", server = "c" }
metric = "operations_per_s"
relative_to = { family = "copy", server = "" }
at_least = 0.5
"#;

/// A sample with nothing wrong, at so many operations a second.
pub(crate) fn good(cell: &Cell, operations_per_s: f64) -> Measurement {
    let elapsed_ns = 1_000_000_000;
    let operations = operations_per_s as u64;
    let latency = LatencyNs { p50: 9_000, p95: 12_000, p99: 20_000, p999: 90_000, max: 800_000 };
    Measurement {
        operations,
        items: operations,
        elapsed_ns,
        latency_ns: cell.has_latency.then_some(latency),
        wall_ns: elapsed_ns + 20_000_000,
        client_cpu_ns: 600_000_000,
        server_cpu_ns: cell.has_server().then_some(400_000_000),
        foreign_cpu_ns: 1_000_000,
    }
}

/// [`MATRIX`] with these builds, which its clients are told of if there are any.
pub(crate) fn built(builds: &[&str]) -> Matrix {
    let told = if builds.is_empty() { "" } else { ", \"{build}\"" };
    let text = MATRIX.replace(", \"{rate_per_s}\"", &format!(", \"{{rate_per_s}}\"{told}"));
    let builds = builds.iter().map(|name| ((*name).to_owned(), format!("out/{name}")));
    Matrix::understand(&text).unwrap().with_builds(builds).unwrap()
}

/// A whole run of [`MATRIX`], with these builds.
pub(crate) fn complete(builds: &[&str]) -> State {
    let matrix = built(builds);
    let mut samples = Vec::new();
    for round in 0..matrix.policy.samples {
        samples.extend(matrix.cells().iter().map(|cell| {
            let outcome = Outcome::Measured(good(cell, 1000.0));
            Sample { cell: cell.key.clone(), round, at: Timestamp::UNIX_EPOCH, outcome }
        }));
    }
    let (base, selection) = (PathBuf::from("/base"), Selection::default());
    let begun = Begun {
        at: Timestamp::UNIX_EPOCH,
        ..Begun::now(matrix, base, selection, 7, Environment::default())
    };
    State { begun, samples, interrupted: 0, leftovers: Vec::new() }
}

/// Sets the throughputs of the row at `index` among the rows of the matrix.
pub(crate) fn with_throughputs(state: &mut State, index: usize, per_s: &[f64]) {
    let cell = &state.begun.matrix.cells()[index];
    for sample in state.samples.iter_mut().filter(|sample| sample.cell == cell.key) {
        let measured = good(cell, per_s[sample.round as usize]);
        sample.outcome = Outcome::Measured(measured);
    }
}
