//! What a server allows.

use crate::codec::Limit;
use crate::handshake::Offer;
use crate::listener::Peers;
use std::time::Duration;

/// The limit up to which things grow when nobody configured one, in bytes.
pub(crate) const GROWTH_MAX: u32 = 1 << 20;

/// What a server allows.
#[derive(Clone, Debug)]
pub struct ServerConfig {
    /// Transports and limits. A request limit of zero is 1 MiB. A response limit of zero begins
    /// with 64 KiB and grows up to 1 MiB when a response did not fit.
    pub offer: Offer,
    /// How many sessions may be open. At least 1.
    pub workers: usize,
    /// How long a session may be without a request. Zero: for ever.
    pub idle: Duration,
    /// How long a client may take to send the rest of a message or to read one. Zero: for ever.
    pub stall: Duration,
    /// Who may connect.
    pub peers: Peers,
}

impl Default for ServerConfig {
    /// Every transport, 8 workers, 5 minutes idle, 5 seconds of stall.
    fn default() -> ServerConfig {
        ServerConfig {
            offer: Offer::default(),
            workers: 8,
            idle: Duration::from_mins(5),
            stall: Duration::from_secs(5),
            peers: Peers::SameUser,
        }
    }
}

impl ServerConfig {
    /// The offer with this server's defaults.
    pub(crate) fn filled_offer(&self) -> Offer {
        let or = |value, default| if value == 0 { default } else { value };
        let Offer { request, response, .. } = self.offer;
        Offer {
            request: Limit {
                payload_bytes: or(request.payload_bytes, GROWTH_MAX),
                batch_items: or(request.batch_items, 1),
            },
            response: Limit {
                payload_bytes: or(response.payload_bytes, Offer::RESPONSE_BYTES),
                batch_items: or(response.batch_items, 1),
            },
            ..self.offer
        }
    }

    /// How long responses may become.
    pub(crate) fn response_max(&self) -> u32 {
        match self.offer.response.payload_bytes {
            0 => GROWTH_MAX,
            configured => configured,
        }
    }
}
