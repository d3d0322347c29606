//! What runs inside a belljar VM.
//!
//! Two programs share a guest. The **agent** is PID 1: it mounts what a program
//! expects, unpacks the payload, loads modules, starts the test process, forwards
//! its output, enforces the time limit and reports how it ended. It is compiled
//! once, statically, without a dependency, and embedded here as [`AGENT`]. The
//! **test process** is the user's own test binary; it takes its [`Seat`] on the
//! channel and waits for a request.
//!
//! Both talk to the host through one region of guest memory, laid out in
//! [`channel`]. Whatever the host hands in comes as an [`archive`].
//!
//! ```
//! use belljar_guest::archive::{Archive, Entry};
//! use belljar_guest::channel::{Code, encode_frame, frame_len};
//!
//! // A frame as a guest writes it: header, guest time, body, and zeros up to 8 bytes.
//! let mut log = Vec::new();
//! encode_frame(&mut log, Code::Stdout, 0, 1_500, b"hello");
//! assert_eq!(log.len(), frame_len(5));
//! assert!(log.ends_with(b"hello\0\0\0"));
//!
//! // An initramfs that holds nothing but the agent.
//! let mut archive = Archive::new();
//! archive.push("init", Entry::Program(belljar_guest::AGENT));
//! assert!(archive.finish().starts_with(b"070701"));
//! ```
//!
//! This crate must never depend on another crate: the agent is built by plain
//! `rustc`, and a template must stay valid whatever a workspace updates.

pub mod archive;
pub mod channel;
mod region;
mod rounds;
mod seat;
mod sys;

pub use seat::{Seat, SeatError};
pub use sys::monotonic_ns;

/// The agent: a static x86-64 ELF program, to be started as `/init`.
pub const AGENT: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/agent"));
