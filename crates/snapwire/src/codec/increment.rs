//! INCREMENT: a number in, a number out. The contract's test method.

use super::bytes::u64_at;
use super::fault::{BuildError, Fault, Malformed};

/// Reads the number of a request or a response.
///
/// # Errors
/// [`Fault::Truncated`] below 8 bytes.
#[inline]
pub fn decode(payload: &[u8]) -> Result<u64, Malformed> {
    u64_at(payload, 0).ok_or(Malformed::new(Fault::Truncated, "INCREMENT"))
}

/// Writes a number; returns the payload's length.
///
/// # Errors
/// [`BuildError::Overflow`] when there are fewer than 8 bytes.
#[inline]
pub fn encode(number: u64, payload: &mut [u8]) -> Result<usize, BuildError> {
    let room = payload.len();
    let target =
        payload.first_chunk_mut().ok_or_else(|| BuildError::overflow("INCREMENT", 8, room))?;
    *target = number.to_ne_bytes();
    Ok(8)
}
