//! Linux kernels to test on: find, fetch, unpack and cache them, and read what they can do before
//! anything is booted.
//!
//! ```no_run
//! use belljar_kernel::{Event, Need, Source, Store};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let cache = &std::env::temp_dir();
//! let store = Store::open(cache)?;
//! let source: Source = "debian:sid".parse()?;
//! let kernel = store.fetch(&source, &|event: &Event| eprintln!("{event}"))?;
//!
//! // Does it have what the test needs? If not, which one does?
//! let needs: Vec<Need> = vec!["sched_ext".parse()?, "config:CONFIG_FUSE_FS".parse()?];
//! for lack in kernel.missing(&needs)? {
//!     eprintln!("{} lacks {lack}", kernel.id());
//! }
//! for other in store.who_has(&needs)? {
//!     eprintln!("{} has it all", other.id());
//! }
//!
//! // What to boot, and what to load in which order.
//! println!("{}", kernel.vmlinux().display());
//! for module in kernel.module_closure(&["tcp_diag"])? {
//!     let bytes = module.read()?;
//!     println!("{} has {} bytes", module.name, bytes.len());
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # Map
//!
//! | start here | holds |
//! | --- | --- |
//! | [`Source`] | how a kernel is named: `debian:sid`, `deb:...`, `tree:...`, `image:...`, `host` |
//! | [`Store`], [`Kernel`], [`Manifest`] | the cache, a kernel in it, and what `kernel.json` says |
//! | [`Event`], [`Progress`] | what a fetch tells while it goes on |
//! | [`Ability`], [`Need`], [`Abilities`] | what kernels can do, what tests need, and why it is lacking |
//! | [`ModuleIndex`], [`ModuleFile`] | modules and their order |
//! | [`Image`], [`Compression`] | from a boot image to the ELF kernel inside |
//! | [`BtfState`], [`Config`] | what abilities are told from |
//! | [`Error`] | what went wrong, and what to do |
//!
//! # A cached kernel
//!
//! A directory that is complete or not there at all. A killed fetch leaves nothing that can be
//! taken for a kernel, and the next fetch clears away what it left.
//!
//! ```text
//! debian-7.2.13+deb14-cloud-amd64-0123456789ab/
//!   vmlinux        the ELF kernel
//!   vmlinuz        the boot image it came out of, if it came in one
//!   config         if it came along or is inside the kernel
//!   System.map     if it came along; Debian's split packages (6.19 and later) have none
//!   modules/       as /lib/modules/RELEASE, the modules compressed as they came
//!   modules.json   each module's file and needs, and what is builtin
//!   kernel.json    what it is, where it came from, size and hash of each file
//! ```
//!
//! The id's last part is a hash over all files: the same kernel from two sources is kept once.
//!
//! # Debian
//!
//! Packages come through an apt state of our own in the cache, which holds one suite. From the
//! machine's configuration it takes the mirror, the keys and the proxies; it changes nothing of
//! the machine's and installs nothing. apt checks the signatures.
//!
//! # What this crate must never depend on
//!
//! It knows nothing of virtual machines, QEMU or guests, and depends on no other crate of the
//! workspace. It speaks to the network through apt alone. Images, BTF, ELF and packages are
//! treated as hostile input: no bytes in them may cause a panic.
//!
//! # Limits
//!
//! * Kernels for x86-64. `debian:` needs the programs of the packages apt and dpkg, `deb:` those of dpkg.
//! * A tree is taken as it was built; nothing is built here.
//! * Modules are ordered by what they depend on; soft dependencies and aliases are not read.
//! * Abilities say what a kernel was built with. What its command line turns off is not seen.
#![forbid(unsafe_code)]

mod ability;
mod apt;
mod assemble;
mod btf;
mod compression;
mod config;
mod control;
mod elf;
mod error;
mod image;
mod kernel;
mod lock;
mod lzo;
mod module;
mod parts;
mod progress;
mod source;
mod store;
mod text;

pub use ability::{Abilities, Ability, Lack, Need, ParseNeedError, Support};
pub use apt::Package;
pub use btf::BtfState;
pub use compression::{Compression, DecompressError};
pub use config::{Config, Setting};
pub use error::{Error, Result};
pub use image::{Image, ImageError, VMLINUX_BYTES_MAX};
pub use kernel::{FileEntry, Kernel, Manifest, Summary};
pub use module::{ModuleFile, ModuleIndex, ModuleState};
pub use progress::{Event, Progress};
pub use source::{ParseSourceError, Source};
pub use store::{Listed, Store};
