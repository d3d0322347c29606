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
    /// How long a call may take, with everything that it needs. Zero is forever, except for a
    /// `refresh`, which takes at most 5 seconds.
    pub timeout: Duration,
    /// Bounds of look-ups.
    pub lookup: LookupMax,
}

/// How long a handshake may take, where a call's own time is longer.
const HANDSHAKE_MAX: Duration = Duration::from_secs(5);

impl ClientConfig {
    /// How long it may take to connect.
    pub(crate) fn handshake_timeout(&self) -> Duration {
        match self.timeout {
            Duration::ZERO => HANDSHAKE_MAX,
            timeout => timeout.min(HANDSHAKE_MAX),
        }
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handshake_has_an_end_even_if_a_call_has_none() {
        let timeout = |timeout| ClientConfig { timeout, ..Default::default() }.handshake_timeout();
        assert_eq!(timeout(Duration::ZERO), HANDSHAKE_MAX);
        assert_eq!(timeout(Duration::MAX), HANDSHAKE_MAX);
        assert_eq!(timeout(Duration::from_millis(7)), Duration::from_millis(7));
    }
}
