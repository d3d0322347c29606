//! The engine on real machines: what it makes, and what it does when what it stands on
//! gives way.

mod cache;
mod det;
mod disk;
mod pool;
mod processes;
mod qemu;
mod support;
