//! Workers for scheduler scenarios: they are started, placed, released together, and measured.
//!
//! A [`Crew`] is the workers of one group. It runs in the guest, in the test's own process, and as
//! well on any Linux host:
//!
//! ```
//! use std::path::Path;
//! use std::time::Duration;
//!
//! use belljar_scenario::{Work, Workers};
//! use belljar_workload::{Crew, Order};
//!
//! let workers = Workers::exactly(2, Work::futex_ping_pong());
//! let mut crew = Crew::start(&Order {
//!     cgroup: "a",
//!     group: 0,
//!     step: None,
//!     workers: &workers,
//!     count: 2,
//!     allowed: &"0-1023".parse()?,
//!     affinity: &[],
//!     topology: &"1n1l2c1t".parse()?,
//!     seed: 7,
//!     scratch: &std::env::temp_dir(),
//!     cgroup_dir: Path::new("/sys/fs/cgroup/a"),
//!     takes_turns: false,
//! })?;
//! // Here the processes are placed into their cgroup.
//! crew.bind()?;
//! crew.release();
//! while crew.is_alive() && crew.units().contains(&0) {
//!     std::thread::sleep(Duration::from_millis(1));
//! }
//! crew.stop(false, Duration::from_secs(5));
//! for report in crew.reports() {
//!     assert!(report.units > 0 && report.wake.count > 0, "{report:?}");
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What this crate must never depend on
//!
//! What a virtual machine, a test or a verdict is: it makes facts, and nobody's judgement of them.
//! It reads no clock but the guest's, and takes random numbers from the order's seed alone.

mod crew;
mod hand;
mod histogram;
mod job;
mod memory;
mod report;
mod start;
mod sys;

pub use crew::{BindError, Crew, Order, StartError};
