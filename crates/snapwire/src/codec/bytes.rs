//! Integers in bytes, in host byte order, as the contract says: both sides are one host.

/// The `u16` at `at`, or nothing when it is not all there.
#[inline]
pub(crate) fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// The `u64` at `at`, or nothing when it is not all there.
#[inline]
pub(crate) fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// Integers of a fixed part whose length has been checked: the array is the proof.
pub(crate) struct Fixed<'a, const N: usize>(pub(crate) &'a [u8; N]);

impl<'a, const N: usize> Fixed<'a, N> {
    /// The first `N` bytes, or nothing when there are fewer.
    pub(crate) fn of(bytes: &'a [u8]) -> Option<Fixed<'a, N>> {
        bytes.first_chunk().map(Fixed)
    }

    fn part<const M: usize>(&self, at: usize) -> [u8; M] {
        let mut part = [0; M];
        part.copy_from_slice(&self.0[at..at + M]);
        part
    }

    pub(crate) fn u16(&self, at: usize) -> u16 {
        u16::from_ne_bytes(self.part(at))
    }

    pub(crate) fn u32(&self, at: usize) -> u32 {
        u32::from_ne_bytes(self.part(at))
    }

    pub(crate) fn u64(&self, at: usize) -> u64 {
        u64::from_ne_bytes(self.part(at))
    }

    /// A `u32` that says where something is or how long it is.
    pub(crate) fn len(&self, at: usize) -> usize {
        self.u32(at) as usize
    }
}

/// Writes the fields of a fixed part one after the other.
pub(crate) struct Writer<const N: usize> {
    bytes: [u8; N],
    at: usize,
}

impl<const N: usize> Writer<N> {
    pub(crate) const fn new() -> Writer<N> {
        Writer { bytes: [0; N], at: 0 }
    }

    fn put(mut self, field: &[u8]) -> Writer<N> {
        self.bytes[self.at..self.at + field.len()].copy_from_slice(field);
        self.at += field.len();
        self
    }

    pub(crate) fn u16(self, value: u16) -> Writer<N> {
        self.put(&value.to_ne_bytes())
    }

    pub(crate) fn u32(self, value: u32) -> Writer<N> {
        self.put(&value.to_ne_bytes())
    }

    pub(crate) fn u64(self, value: u64) -> Writer<N> {
        self.put(&value.to_ne_bytes())
    }

    /// The bytes. All of them have been written: a layout that leaves some out is our own mistake.
    pub(crate) fn done(self) -> [u8; N] {
        debug_assert_eq!(self.at, N);
        self.bytes
    }
}

/// The next multiple of 8.
#[inline]
pub(crate) const fn align8(length: usize) -> usize {
    (length + 7) & !7
}

/// A length as the wire has it. What is longer than 4 GiB never fits a buffer of ours.
#[inline]
pub(crate) fn wire_len(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}
