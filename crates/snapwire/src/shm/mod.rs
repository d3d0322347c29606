//! Messages through shared memory: one in flight in each direction, and the socket beside it to
//! tell when the peer is gone.

mod lane;
mod lanes;
mod map;
mod region;
mod spin;

pub(crate) use lanes::Lanes;
pub(crate) use region::{Region, sweep};
