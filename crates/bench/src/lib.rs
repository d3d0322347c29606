//! Benchmarks of clients and servers that can be believed, or are not published at all.
//!
//! A *matrix* declares what is measured: families of rows, their axes and rates, and the commands of a
//! client and a server. A *run* measures every row at least five times, each sample with new processes,
//! in a random order, and keeps what came of it in a file that survives a crash. A *judge* makes a table
//! of a run, or gives the reasons why there is none: a row that is missing, doubled, without throughput
//! or latency, unstable, or measured while the machine was busy with something else. Reports are made of
//! a judge's results and of nothing else.
//!
//! ```
//! use belljar_bench::{Cancel, Event, Matrix, Run, Selection, judge};
//!
//! let matrix = Matrix::parse(r#"
//!     title = "A client without a server"
//!
//!     [policy]
//!     duration_max_rate_s = 0.001
//!     spread_max = 10
//!     foreign_cpus_max = 1024
//!
//!     [axes]
//!     answer = ["42"]
//!
//!     [[family]]
//!     name = "count"
//!     axes = ["answer"]
//!     latency = false
//!     client = ["sh", "-c", '''sleep {duration_s}
//!         echo '{{"belljar_bench":1,"operations":{answer},"elapsed_ns":1000000}}' ''']
//!
//!     [[limit]]
//!     metric = "throughput_per_s"
//!     at_least = 40000
//! "#)?;
//! let directory = tempfile::tempdir()?;
//! let run_directory = directory.path().join("run");
//! let mut run = Run::create(&run_directory, matrix, directory.path(), Selection::default(), 1)?;
//! assert!(judge(run.state()).is_err(), "nothing is there yet");
//!
//! run.execute(&Cancel::new()?, |event| {
//!     if let Event::Ended { cell, progress, .. } = event {
//!         println!("{cell} {} {} left", progress.bar(20), progress.left_text());
//!     }
//! })?;
//! let results = judge(run.state())?;
//! assert!(results.is_good() && results.rows.len() == 1);
//! let report = results.publish(&run_directory)?;
//! assert!(report.join("report.html").exists());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Map
//!
//! | start here | holds |
//! | --- | --- |
//! | [`Matrix`], [`Build`], [`Family`], [`Policy`], [`Limit`] | the declaration, field by field |
//! | [`Cell`], [`CellKey`], [`Rate`] | a row before it is measured |
//! | [`protocol`] | what clients and servers say |
//! | [`Pacer`], [`Meter`] | the same for clients in Rust |
//! | [`Run`], [`Event`], [`Cancel`], [`Progress`] | measuring |
//! | [`State`], [`Sample`], [`Measurement`], [`Fault`] | what is kept of a run |
//! | [`judge`](judge()), [`Refusal`], [`Problem`] | whether it is whole and stable |
//! | [`Results`], [`Row`], [`Comparison`], [`LimitCheck`], [`Metric`] | what is published |
//! | [`Spread`], [`Interval`], [`median`] | the statistics |
//! | [`Diagnosis`] | a bad row measured once more alone, for whoever looks for the reason |
//!
//! # What this crate must never depend on
//!
//! Virtual machines, kernels, tests: it measures any programs on any Linux. Of the workspace it uses only
//! what is pure or describes the host (`belljar-topology`, `belljar-record`). It writes nothing outside
//! of a run's directory but the directories of samples, which are temporary.
//!
//! # Limits
//!
//! * Clients and servers are one process each, on one machine.
//! * A client's CPU time is that of its whole life: how it starts counts too.
//! * How much other processes use is counted in ticks, 10 ms most often, so it means little for samples
//!   that are shorter than a second.

#![deny(unsafe_code)]

mod cancel;
mod cell;
mod client;
mod command;
mod cpu;
mod diagnosis;
mod environment;
mod estimate;
mod evidence;
mod fault;
mod judge;
mod limit;
mod matrix;
mod measurement;
mod metric;
mod name;
mod order;
mod orphan;
mod policy;
mod process;
mod program;
pub mod protocol;
mod rate;
mod report;
mod results;
mod run;
mod sample;
mod state;
mod statistics;
#[cfg(test)]
mod testing;

pub use cancel::Cancel;
pub use cell::{Cell, CellKey};
pub use client::{Meter, Pacer};
pub use cpu::{MachineCpu, process_cpu_ns};
pub use diagnosis::{Diagnosis, Status, Tries};
pub use environment::{Environment, Program};
pub use estimate::Progress;
pub use fault::Fault;
pub use judge::{Assessment, Problem, Refusal, assess, judge};
pub use limit::{Label, Limit, Selection};
pub use matrix::{Axis, Build, Family, Matrix, MatrixError};
pub use measurement::Measurement;
pub use metric::Metric;
pub use policy::Policy;
pub use process::Role;
pub use protocol::{ClientReport, LatencyNs};
pub use rate::Rate;
pub use report::{PublishError, withdraw};
pub use results::{Comparison, LimitCheck, Note, Results, Row};
pub use run::{Event, Run, RunError};
pub use state::{Begun, Outcome, Sample, State, StateError};
pub use statistics::{Interval, SAMPLES_MIN, Spread, median};
