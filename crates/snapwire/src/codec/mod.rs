//! Byte layouts: views, builders, and every check. No I/O, no allocation when reading, no
//! `unsafe`.
//!
//! Integers are in host byte order, since both peers are on one host. A view borrows the payload
//! it was made of. What is malformed is refused, never repaired; what follows a fully described
//! payload is ignored. Layouts are those of netdata's netipc.
#![forbid(unsafe_code)]

mod apps;
mod batch;
mod bytes;
mod cgroups;
mod chunk;
mod fault;
mod header;
mod hello;
pub mod increment;
mod lookup;
pub(crate) mod lookup_parts;
mod profile;
mod reply;
mod snapshot;
pub mod text;

pub use apps::{
    App, AppCgroup, AppCgroupStatus, AppItem, AppStatus, AppsReply, AppsRequest, AppsResponse, Pid,
    Pids,
};
pub use batch::{Batch, BatchBuilder};
pub use cgroups::{CgroupItem, CgroupStatus, CgroupsReply, CgroupsRequest, CgroupsResponse, Paths};
pub use chunk::{CHUNK_MAGIC, Chunk};
pub use fault::{BuildError, Fault, Malformed};
pub use header::{Code, HEADER_LEN, Header, Kind, MESSAGE_MAGIC, Status, VERSION};
pub use hello::{Hello, HelloAck, Limit};
pub(crate) use lookup::Lookup;
pub use lookup::{Label, Labels, LookupRequest, LookupResponse, Orchestrator};
pub use profile::Profiles;
pub use reply::{LookupReply, Placed};
pub use snapshot::{Snapshot, SnapshotBuilder, SnapshotItem, SnapshotRequest};
