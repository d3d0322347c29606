//! Plays a scenario on the running kernel, and gives the evidence of it.
//!
//! It runs in the guest, as root, in a process with one thread: cgroup v2, workers, operations,
//! external programs and schedulers under test are its means. Nobody is judged here.
//!
//! ```no_run
//! use belljar_scenario::{Cgroup, Cpuset, Scenario, Step, Work};
//! use belljar_stage::{Setting, play};
//!
//! let scenario = Scenario::new().step(
//!     Step::new("load")
//!         .cgroup(Cgroup::new("a").cpuset(Cpuset::llc(0)).workers(4, Work::SpinWait))
//!         .cgroup(Cgroup::new("b").cpuset(Cpuset::llc(1)).workers(4, Work::SpinWait)),
//! );
//! let topology = "1n2l4c1t".parse()?;
//! let evidence = play(&scenario, &Setting::new(&topology, 7), None, &mut |event| {
//!     eprintln!("{event}");
//! })?;
//! assert!(evidence.workers.iter().all(|worker| worker.units > 0));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Map
//!
//! | start here | holds |
//! | --- | --- |
//! | [`play`] | a whole scenario |
//! | [`Stage`] | one cgroup, operation, step at a time, with code of your own in between |
//! | [`Setting`] | where it is played, and with what |
//! | [`attach`], [`Attached`] | schedulers under test; how they ended |
//! | [`Tree`] | cgroup v2 |
//! | [`extract`](fn@extract) | figures from the JSON of programs |
//! | [`fold`](fn@fold) | logs of the BPF verifier |
//! | [`LogLine`], [`trouble`] | the kernel's log |
//!
//! # Time
//!
//! All moments are of `CLOCK_MONOTONIC`. Holds end at absolute moments. While one lasts the player sleeps
//! in a single `poll` on what could end or speak, and its thread comes before all that it plays. It reads
//! no other clock, and takes random numbers from the seed alone: where the machine repeats, so does this.
//!
//! # What this crate must never depend on
//!
//! Whatever is on the host: the crates for virtual machines, records and tests. It knows nothing of
//! limits and verdicts.

mod capture;
mod cgroup;
mod clock;
mod ending;
mod error;
mod event;
mod extract;
mod fold;
mod kmsg;
mod payload;
mod player;
mod precedence;
mod process;
mod scheduler;
mod setting;
mod stage;
mod sysfs;

pub use cgroup::{CgroupError, Controller, CpuStat, Tree};
pub use error::{PlayError, Trouble};
pub use event::Event;
pub use extract::{DEPTH_MAX, Extraction, FIGURES_MAX, extract};
pub use fold::fold;
pub use kmsg::{LogLine, trouble};
pub use payload::OUTPUT_MAX_BYTES;
pub use player::play;
pub use scheduler::{Attached, SchedulerSpec, attach};
pub use setting::Setting;
pub use stage::Stage;
