//! Typed local IPC over SEQPACKET sockets and shared memory.
#![deny(unsafe_code)]

pub mod codec;
