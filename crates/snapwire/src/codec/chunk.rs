//! The header of every packet after the first of a message that needs several.

use super::bytes::{Fixed, Writer};
use super::fault::{Fault, Malformed};
use super::header::{HEADER_LEN, VERSION};

/// The first four bytes of a continuation packet: "NCHK".
pub const CHUNK_MAGIC: u32 = 0x4e43_484b;

/// The header of a continuation packet.
///
/// | offset | size | field |
/// | --- | --- | --- |
/// | 0 | 4 | magic, [`CHUNK_MAGIC`] |
/// | 4 | 2 | version |
/// | 6 | 2 | flags, 0 |
/// | 8 | 8 | message id, that of the first packet |
/// | 16 | 4 | length of the whole message with its header, in bytes |
/// | 20 | 4 | index of this packet: 1, 2, ... |
/// | 24 | 4 | number of packets, the first included |
/// | 28 | 4 | bytes of the payload in this packet, not 0 |
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// The id of the message.
    pub message_id: u64,
    /// Length of the whole message with its header, in bytes.
    pub total_message_len: u32,
    /// Which packet this is; the first of a message is 0 and has no chunk header.
    pub index: u32,
    /// How many packets the message has.
    pub count: u32,
    /// How much of the payload this packet brings, in bytes.
    pub payload_len: u32,
}

impl Chunk {
    /// Reads the header of a continuation packet and checks that its length is the packet's.
    ///
    /// # Errors
    /// [`Fault::Truncated`], [`Fault::BadMagic`], [`Fault::BadVersion`], or
    /// [`Fault::BadLayout`] for flags and for lengths that are not the packet's.
    pub fn decode(packet: &[u8; HEADER_LEN], packet_len: usize) -> Result<Chunk, Malformed> {
        let refuse = |fault| Err(Malformed::new(fault, "chunk header"));
        let fixed = Fixed(packet);
        if packet_len < HEADER_LEN {
            return refuse(Fault::Truncated);
        }
        if fixed.u32(0) != CHUNK_MAGIC {
            return refuse(Fault::BadMagic);
        }
        if fixed.u16(4) != VERSION {
            return refuse(Fault::BadVersion);
        }
        let payload_len = fixed.u32(28);
        if fixed.u16(6) != 0 || payload_len == 0 || payload_len as usize != packet_len - HEADER_LEN
        {
            return refuse(Fault::BadLayout);
        }
        Ok(Chunk {
            message_id: fixed.u64(8),
            total_message_len: fixed.u32(16),
            index: fixed.u32(20),
            count: fixed.u32(24),
            payload_len,
        })
    }

    /// The header's bytes.
    pub fn encode(&self) -> [u8; HEADER_LEN] {
        Writer::new()
            .u32(CHUNK_MAGIC)
            .u16(VERSION)
            .u16(0)
            .u64(self.message_id)
            .u32(self.total_message_len)
            .u32(self.index)
            .u32(self.count)
            .u32(self.payload_len)
            .done()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_corrupted_field_has_its_name() {
        let chunk =
            Chunk { message_id: 3, total_message_len: 250, index: 1, count: 4, payload_len: 68 };
        let good = chunk.encode();
        assert_eq!(Chunk::decode(&good, 100), Ok(chunk));
        assert_eq!(Chunk::decode(&good, 31).unwrap_err().fault, Fault::Truncated);
        assert_eq!(Chunk::decode(&good, 99).unwrap_err().fault, Fault::BadLayout);
        for (at, value, fault) in [
            (0, 0, Fault::BadMagic),
            (4, 2, Fault::BadVersion),
            (6, 1, Fault::BadLayout),
            (28, 0, Fault::BadLayout),
        ] {
            let mut bad = good;
            bad[at] = value;
            assert_eq!(Chunk::decode(&bad, 100).unwrap_err().fault, fault, "byte {at}");
        }
        let empty = Chunk { payload_len: 0, ..chunk }.encode();
        assert_eq!(Chunk::decode(&empty, 32).unwrap_err().fault, Fault::BadLayout);
    }
}
