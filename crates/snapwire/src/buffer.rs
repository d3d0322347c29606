//! Room for payloads, kept from call to call.

use crate::codec::HEADER_LEN;

/// Bytes that grow and are used again. All of them are initialised, so that making them longer
/// costs nothing once they have been as long. There is room for a header before them, so that a
/// packet can be received in one piece.
#[derive(Debug, Default)]
pub struct Buffer {
    bytes: Vec<u8>,
    len: usize,
}

impl Buffer {
    /// An empty one. It allocates when it is first used.
    #[inline]
    pub fn new() -> Buffer {
        Buffer::default()
    }

    /// What is in it.
    #[inline]
    pub fn as_slice(&self) -> &[u8] {
        self.bytes.get(HEADER_LEN..HEADER_LEN + self.len).unwrap_or_default()
    }

    /// How much it has room for without growing, in bytes.
    #[inline]
    pub fn capacity(&self) -> usize {
        self.bytes.len().saturating_sub(HEADER_LEN)
    }

    /// Room of at least this length after room for a header, with whatever was in them.
    #[inline]
    pub(crate) fn packet_room(&mut self, length: usize) -> &mut [u8] {
        if self.bytes.len() < HEADER_LEN + length {
            self.grow(length);
        }
        &mut self.bytes
    }

    #[cold]
    fn grow(&mut self, length: usize) {
        // A power of two, so that growing is rare.
        let target = length.checked_next_power_of_two().unwrap_or(length) + HEADER_LEN;
        if self.bytes.is_empty() {
            // Zeros that the system has ready, and that cost nothing until they are used.
            self.bytes = vec![0; target];
        } else {
            self.bytes.resize(target, 0);
        }
    }

    /// Room of exactly this length.
    #[inline]
    pub(crate) fn exactly(&mut self, length: usize) -> &mut [u8] {
        &mut self.packet_room(length)[HEADER_LEN..HEADER_LEN + length]
    }

    /// Says how much of the room is filled.
    #[inline]
    pub(crate) fn set_len(&mut self, length: usize) {
        debug_assert!(length <= self.capacity());
        self.len = length.min(self.capacity());
    }

    /// Header and what is in it, in one piece.
    #[inline]
    pub(crate) fn packet(&mut self, header: &[u8; HEADER_LEN]) -> &[u8] {
        let length = HEADER_LEN + self.len;
        let packet = &mut self.packet_room(self.len)[..length];
        packet[..HEADER_LEN].copy_from_slice(header);
        packet
    }
}
