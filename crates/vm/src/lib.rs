//! QEMU virtual machines that are booted once and forked in milliseconds.
//!
//! A [`Machine`] says what to run: kernel, topology, memory, [`Mode`]. An
//! [`Engine`] boots it to the point where its agent waits, and keeps that as a
//! [`Template`]; puts a [`Payload`] into it and keeps that as another; and makes
//! [`Fork`]s of either: fresh QEMU processes that map the template's memory
//! privately and go on where it stopped. Nothing is booted for a fork.
//!
//! ```no_run
//! use belljar_vm::{Engine, Machine, Mode, Payload, Watch};
//! use std::{path::Path, time::Duration};
//!
//! # fn main() -> Result<(), belljar_vm::Error> {
//! let engine = Engine::open(Path::new("/var/cache/belljar"))?;
//! let machine = Machine::new("1n1l4c1t".parse().unwrap(), Path::new("vmlinux"), Mode::Tcg);
//! let base = engine.base(&machine)?;
//! let template = engine.layer(&base, &Payload::command(&["echo"])?)?;
//! let run = engine.fork(&template)?.run(
//!     b"0\x000\x000\x00/\x00echo\x00hello\x00",
//!     &Watch::limit(Duration::from_secs(10)),
//!     |said| println!("{said:?}"),
//! );
//! println!("{:?}", run.stop);
//! # Ok(())
//! # }
//! ```
//!
//! While a `det` machine runs, nothing may wake QEMU: this crate sends it no
//! command and gives it no device to wait on, and reads its memory from outside.
//!
//! This crate must never depend on what a test or a record is: it runs machines.

mod cache;
mod channel;
mod clock;
mod closure;
mod console;
mod engine;
mod error;
mod fork;
mod frame;
mod host_cpu;
mod machine;
mod memory;
mod mode;
mod payload;
mod pool;
mod probe;
mod process;
mod qemu;
mod slim;
mod spawn;
mod template;
mod vm;

pub use cache::{Cache, Usage};
pub use channel::{ChannelError, LogReader, RegionBytes};
pub use closure::{Closure, ClosureError, find_on_path};
pub use console::{KernelFault, is_stale_breakpoint, kernel_fault};
pub use engine::{Engine, Progress};
pub use error::{Error, chain};
pub use fork::{Fork, Run, Said, Stop, Timings, Watch};
pub use frame::{Frame, FrameError, FrameProblem, FrameReader};
pub use machine::{DET_ROUND, Machine};
pub use memory::{GuestMemory, GuestPhysical};
pub use mode::{Mode, UnknownMode};
pub use payload::Payload;
pub use pool::Pool;
pub use probe::KvmProbe;
pub use qemu::{Qemu, Version};
pub use template::{Template, TemplateInfo};
