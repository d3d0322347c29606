//! The 32 bytes before every message.

use super::bytes::Fixed;
use super::fault::{Fault, Malformed};
use std::fmt;

/// The first four bytes of a message: "NIPC".
pub const MESSAGE_MAGIC: u32 = 0x4e49_5043;
/// The protocol version. There is one.
pub const VERSION: u16 = 1;
/// The length of a message's header, and of a chunk's.
pub const HEADER_LEN: usize = 32;

/// What a message is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u16)]
pub enum Kind {
    /// A client asks.
    Request = 1,
    /// A server answers.
    Response = 2,
    /// The handshake.
    Control = 3,
}

/// What a request asks for, or which step of the handshake a control message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Code(pub u16);

impl Code {
    /// Control: the client's proposal.
    pub const HELLO: Code = Code(1);
    /// Control: the server's answer.
    pub const HELLO_ACK: Code = Code(2);
    /// Method: a number and one more.
    pub const INCREMENT: Code = Code(1);
    /// Method: all cgroups.
    pub const CGROUPS_SNAPSHOT: Code = Code(2);
    /// Method: a string, backwards.
    pub const STRING_REVERSE: Code = Code(3);
    /// Method: cgroups by path.
    pub const CGROUPS_LOOKUP: Code = Code(4);
    /// Method: processes by pid.
    pub const APPS_LOOKUP: Code = Code(5);
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What became of the envelope. It never carries the service's own outcomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Status(pub u16);

impl Status {
    /// The payload is valid.
    pub const OK: Status = Status(0);
    /// The request's payload could not be decoded.
    pub const BAD_ENVELOPE: Status = Status(1);
    /// The handshake's token is another one.
    pub const AUTH_FAILED: Status = Status(2);
    /// The handshake's versions or packet sizes do not go together.
    pub const INCOMPATIBLE: Status = Status(3);
    /// No common profile (handshake), or another method than the endpoint's (call).
    pub const UNSUPPORTED: Status = Status(4);
    /// Something is larger than the server allows.
    pub const LIMIT_EXCEEDED: Status = Status(5);
    /// The handler refused.
    pub const INTERNAL_ERROR: Status = Status(6);
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match *self {
            Status::OK => "OK",
            Status::BAD_ENVELOPE => "BAD_ENVELOPE",
            Status::AUTH_FAILED => "AUTH_FAILED",
            Status::INCOMPATIBLE => "INCOMPATIBLE",
            Status::UNSUPPORTED => "UNSUPPORTED",
            Status::LIMIT_EXCEEDED => "LIMIT_EXCEEDED",
            Status::INTERNAL_ERROR => "INTERNAL_ERROR",
            Status(other) => return write!(f, "status {other}"),
        })
    }
}

/// The header of a message.
///
/// | offset | size | field |
/// | --- | --- | --- |
/// | 0 | 4 | magic, [`MESSAGE_MAGIC`] |
/// | 4 | 2 | version, [`VERSION`] |
/// | 6 | 2 | length of this header, [`HEADER_LEN`] |
/// | 8 | 2 | kind |
/// | 10 | 2 | flags: bit 0 is BATCH; the others are 0 on output and ignored on input |
/// | 12 | 2 | code |
/// | 14 | 2 | status |
/// | 16 | 4 | payload length in bytes, of the whole message |
/// | 20 | 4 | number of items |
/// | 24 | 8 | message id |
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// What the message is for.
    pub kind: Kind,
    /// Whether the payload starts with a batch directory.
    pub batch: bool,
    /// Method or step of the handshake.
    pub code: Code,
    /// What became of the request. OK in requests.
    pub status: Status,
    /// Length of what follows, in bytes.
    pub payload_len: u32,
    /// 1, or the number of items of a batch.
    pub item_count: u32,
    /// Chosen by the client, echoed by the server. 0 in the handshake.
    pub message_id: u64,
}

const BATCH: u16 = 1;

impl Header {
    /// The header of a request that is no batch. The transport fills in the payload's length.
    #[inline]
    pub const fn request(code: Code, message_id: u64) -> Header {
        Header {
            kind: Kind::Request,
            batch: false,
            code,
            status: Status::OK,
            payload_len: 0,
            item_count: 1,
            message_id,
        }
    }

    /// The header of the answer to this request: same code, same id.
    #[inline]
    pub const fn response(&self, status: Status) -> Header {
        Header {
            kind: Kind::Response,
            batch: false,
            code: self.code,
            status,
            payload_len: 0,
            item_count: 1,
            message_id: self.message_id,
        }
    }

    /// The same as a batch of so many items.
    #[inline]
    pub const fn with_batch(self, item_count: u32) -> Header {
        Header { batch: true, item_count, ..self }
    }

    /// Reads a header from the start of a message.
    ///
    /// # Errors
    /// The first of these, in this order: [`Fault::Truncated`], [`Fault::BadMagic`],
    /// [`Fault::BadVersion`], [`Fault::BadHeaderLen`], [`Fault::BadKind`].
    #[inline]
    pub fn decode(bytes: &[u8]) -> Result<Header, Malformed> {
        let refuse = |fault| Err(Malformed::new(fault, "message header"));
        let Some(fixed) = Fixed::<HEADER_LEN>::of(bytes) else {
            return refuse(Fault::Truncated);
        };
        if fixed.u32(0) != MESSAGE_MAGIC {
            return refuse(Fault::BadMagic);
        }
        if fixed.u16(4) != VERSION {
            return refuse(Fault::BadVersion);
        }
        if usize::from(fixed.u16(6)) != HEADER_LEN {
            return refuse(Fault::BadHeaderLen);
        }
        let kind = match fixed.u16(8) {
            1 => Kind::Request,
            2 => Kind::Response,
            3 => Kind::Control,
            _ => return refuse(Fault::BadKind),
        };
        Ok(Header {
            kind,
            batch: fixed.u16(10) & BATCH != 0,
            code: Code(fixed.u16(12)),
            status: Status(fixed.u16(14)),
            payload_len: fixed.u32(16),
            item_count: fixed.u32(20),
            message_id: fixed.u64(24),
        })
    }

    /// The header's bytes.
    #[inline]
    pub fn encode(&self) -> [u8; HEADER_LEN] {
        // Written out, since every message has one: constant offsets become a few wide stores.
        let mut bytes = [0; HEADER_LEN];
        bytes[0..4].copy_from_slice(&MESSAGE_MAGIC.to_ne_bytes());
        bytes[4..6].copy_from_slice(&VERSION.to_ne_bytes());
        bytes[6..8].copy_from_slice(&(HEADER_LEN as u16).to_ne_bytes());
        bytes[8..10].copy_from_slice(&(self.kind as u16).to_ne_bytes());
        bytes[10..12].copy_from_slice(&(if self.batch { BATCH } else { 0 }).to_ne_bytes());
        bytes[12..14].copy_from_slice(&self.code.0.to_ne_bytes());
        bytes[14..16].copy_from_slice(&self.status.0.to_ne_bytes());
        bytes[16..20].copy_from_slice(&self.payload_len.to_ne_bytes());
        bytes[20..24].copy_from_slice(&self.item_count.to_ne_bytes());
        bytes[24..32].copy_from_slice(&self.message_id.to_ne_bytes());
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_corrupted_field_has_its_name() {
        let good = Header::request(Code::INCREMENT, 7).with_batch(3).encode();
        assert_eq!(Header::decode(&good), Ok(Header::request(Code::INCREMENT, 7).with_batch(3)));
        for (at, value, fault) in [
            (0, 0, Fault::BadMagic),
            (4, 2, Fault::BadVersion),
            (6, 31, Fault::BadHeaderLen),
            (8, 0, Fault::BadKind),
            (8, 4, Fault::BadKind),
        ] {
            let mut bad = good;
            bad[at] = value;
            assert_eq!(Header::decode(&bad).unwrap_err().fault, fault, "byte {at}");
        }
        assert_eq!(Header::decode(&good[..31]).unwrap_err().fault, Fault::Truncated);
        // Of several faults the first in the table is named.
        assert_eq!(Header::decode(&[0; 32]).unwrap_err().fault, Fault::BadMagic);
    }

    #[test]
    fn unknown_flags_codes_and_statuses_decode() {
        let mut bytes = Header::request(Code(999), 1).response(Status(77)).encode();
        bytes[11] = 0xff;
        let header = Header::decode(&bytes).unwrap();
        assert_eq!((header.code, header.status, header.batch), (Code(999), Status(77), false));
        assert_eq!(header.status.to_string(), "status 77");
    }
}
