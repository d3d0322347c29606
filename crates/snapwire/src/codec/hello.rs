//! The handshake: what a client proposes and what the server makes of it.

use super::bytes::{Fixed, Writer};
use super::fault::{Fault, Malformed};
use super::profile::Profiles;

/// What a direction of a session may carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// The longest payload, in bytes.
    pub payload_bytes: u32,
    /// The most items in a batch.
    pub batch_items: u32,
}

/// A client's proposal. 44 bytes on the wire.
///
/// | offset | size | field |
/// | --- | --- | --- |
/// | 0 | 2 | layout version, 1 |
/// | 2 | 2 | flags, 0 |
/// | 4, 8 | 4, 4 | supported and preferred profiles |
/// | 12, 16 | 4, 4 | largest request: payload in bytes, items |
/// | 20, 24 | 4, 4 | largest response hoped for: payload in bytes, items |
/// | 28 | 4 | reserved, 0 |
/// | 32 | 8 | token |
/// | 40 | 4 | packet size in bytes |
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hello {
    /// What the client can speak.
    pub supported: Profiles,
    /// What it would rather speak.
    pub preferred: Profiles,
    /// The largest requests it will send.
    pub request: Limit,
    /// The largest responses it hopes for. A hint.
    pub response: Limit,
    /// The token, compared as a whole.
    pub auth_token: u64,
    /// The largest packet it can send, in bytes.
    pub packet_size: u32,
}

const LAYOUT_VERSION: u16 = 1;

impl Hello {
    /// Its length on the wire, in bytes.
    pub const LEN: usize = 44;

    /// Whether bytes of any length show another layout version: such a client is told so.
    pub(crate) fn is_of_another_layout(payload: &[u8]) -> bool {
        super::bytes::u16_at(payload, 0).is_some_and(|version| version != LAYOUT_VERSION)
    }

    /// Reads a proposal. What follows it is ignored.
    ///
    /// # Errors
    /// [`Fault::Truncated`], or [`Fault::BadLayout`] for another layout version, flags, or a
    /// reserved field that is not 0.
    pub fn decode(payload: &[u8]) -> Result<Hello, Malformed> {
        let refuse = |fault| Err(Malformed::new(fault, "HELLO"));
        let Some(fixed) = Fixed::<{ Hello::LEN }>::of(payload) else {
            return refuse(Fault::Truncated);
        };
        if fixed.u16(0) != LAYOUT_VERSION || fixed.u16(2) != 0 || fixed.u32(28) != 0 {
            return refuse(Fault::BadLayout);
        }
        Ok(Hello {
            supported: Profiles(fixed.u32(4)),
            preferred: Profiles(fixed.u32(8)),
            request: Limit { payload_bytes: fixed.u32(12), batch_items: fixed.u32(16) },
            response: Limit { payload_bytes: fixed.u32(20), batch_items: fixed.u32(24) },
            auth_token: fixed.u64(32),
            packet_size: fixed.u32(40),
        })
    }

    /// The proposal's bytes.
    pub fn encode(&self) -> [u8; Hello::LEN] {
        Writer::new()
            .u16(LAYOUT_VERSION)
            .u16(0)
            .u32(self.supported.0)
            .u32(self.preferred.0)
            .u32(self.request.payload_bytes)
            .u32(self.request.batch_items)
            .u32(self.response.payload_bytes)
            .u32(self.response.batch_items)
            .u32(0)
            .u64(self.auth_token)
            .u32(self.packet_size)
            .done()
    }
}

/// A server's answer. 48 bytes on the wire. When the message's status is not OK, all of it but
/// the layout version is 0.
///
/// | offset | size | field |
/// | --- | --- | --- |
/// | 0 | 2 | layout version, 1 |
/// | 2 | 2 | flags, 0 |
/// | 4, 8, 12 | 4 each | profiles: the server's, the common ones, the selected one |
/// | 16, 20 | 4, 4 | largest request: payload in bytes, items |
/// | 24, 28 | 4, 4 | largest response: payload in bytes, items |
/// | 32 | 4 | packet size in bytes |
/// | 36 | 4 | reserved, 0 |
/// | 40 | 8 | session id |
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HelloAck {
    /// What the server can speak.
    pub supported: Profiles,
    /// What both can.
    pub common: Profiles,
    /// What they will.
    pub selected: Profiles,
    /// What requests may carry.
    pub request: Limit,
    /// What responses may carry.
    pub response: Limit,
    /// The largest packet, in bytes.
    pub packet_size: u32,
    /// The server's number for the session.
    pub session_id: u64,
}

impl HelloAck {
    /// Its length on the wire, in bytes.
    pub const LEN: usize = 48;

    /// The payload of a refusal.
    pub const REFUSAL: HelloAck = HelloAck {
        supported: Profiles(0),
        common: Profiles(0),
        selected: Profiles(0),
        request: Limit { payload_bytes: 0, batch_items: 0 },
        response: Limit { payload_bytes: 0, batch_items: 0 },
        packet_size: 0,
        session_id: 0,
    };

    /// Reads an answer whose message had status OK. What follows it is ignored.
    ///
    /// # Errors
    /// [`Fault::Truncated`]; [`Fault::BadVersion`] for another layout version;
    /// [`Fault::BadLayout`] for flags, or a reserved field that is not 0.
    pub fn decode(payload: &[u8]) -> Result<HelloAck, Malformed> {
        let refuse = |fault| Err(Malformed::new(fault, "HELLO_ACK"));
        let Some(fixed) = Fixed::<{ HelloAck::LEN }>::of(payload) else {
            return refuse(Fault::Truncated);
        };
        if fixed.u16(0) != LAYOUT_VERSION {
            return refuse(Fault::BadVersion);
        }
        if fixed.u16(2) != 0 || fixed.u32(36) != 0 {
            return refuse(Fault::BadLayout);
        }
        Ok(HelloAck {
            supported: Profiles(fixed.u32(4)),
            common: Profiles(fixed.u32(8)),
            selected: Profiles(fixed.u32(12)),
            request: Limit { payload_bytes: fixed.u32(16), batch_items: fixed.u32(20) },
            response: Limit { payload_bytes: fixed.u32(24), batch_items: fixed.u32(28) },
            packet_size: fixed.u32(32),
            session_id: fixed.u64(40),
        })
    }

    /// The answer's bytes.
    pub fn encode(&self) -> [u8; HelloAck::LEN] {
        Writer::new()
            .u16(LAYOUT_VERSION)
            .u16(0)
            .u32(self.supported.0)
            .u32(self.common.0)
            .u32(self.selected.0)
            .u32(self.request.payload_bytes)
            .u32(self.request.batch_items)
            .u32(self.response.payload_bytes)
            .u32(self.response.batch_items)
            .u32(self.packet_size)
            .u32(0)
            .u64(self.session_id)
            .done()
    }
}
