//! Numbers of CPUs, cores, LLCs and nodes, each its own type so that none passes for another.

use std::fmt;

use serde::{Deserialize, Serialize};

macro_rules! id {
    ($(#[$meta:meta])* $name:ident) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
        #[serde(transparent)]
        pub struct $name(pub u32);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

id! {
    /// A logical CPU, as Linux numbers it: in order of node, LLC, core and thread, from 0.
    CpuId
}
id! {
    /// A core, counted over the whole machine from 0. (Linux's own `core_id` starts again in
    /// every package.)
    CoreId
}
id! {
    /// A last-level cache, counted over the whole machine from 0.
    LlcId
}
id! {
    /// A NUMA node, as Linux numbers it, from 0.
    NodeId
}
