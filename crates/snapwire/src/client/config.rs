//! What a client asks for.

use crate::handshake::Offer;
use std::time::Duration;

/// Bounds of a logical look-up, which may take many calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LookupMax {
    /// Keys.
    pub keys: usize,
    /// Calls.
    pub calls: usize,
    /// The response, put together, in bytes.
    pub bytes: usize,
}

impl Default for LookupMax {
    /// 65536 keys, 4096 calls, 64 MiB.
    fn default() -> LookupMax {
        LookupMax { keys: 65536, calls: 4096, bytes: 64 << 20 }
    }
}

/// What a client asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientConfig {
    /// Transports, limits and token. Request limits grow up to 1 MiB when something does not fit.
    pub offer: Offer,
    /// How long a call may take, with everything that it needs.
    pub timeout: Duration,
    /// Bounds of look-ups.
    pub lookup: LookupMax,
}

impl Default for ClientConfig {
    /// Every transport, 30 seconds for a call.
    fn default() -> ClientConfig {
        ClientConfig {
            offer: Offer::default(),
            timeout: Duration::from_secs(30),
            lookup: LookupMax::default(),
        }
    }
}
