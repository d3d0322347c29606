//! What the benchmark and its tests share.

mod load;

pub use load::Load;
