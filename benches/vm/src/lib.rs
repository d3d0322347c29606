//! What the benchmarks of machines and scenarios, and their tests, share.

mod figure;
mod load;
mod report;
mod subject;

pub use figure::{Figure, Samples};
pub use load::Load;
pub use report::Report;
pub use subject::{Subject, suite};
