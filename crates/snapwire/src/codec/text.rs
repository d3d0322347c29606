//! STRING_REVERSE: bytes in, bytes out. The contract's other test method.
//!
//! | offset | size | field |
//! | --- | --- | --- |
//! | 0 | 4 | where the string is: 8 |
//! | 4 | 4 | its length in bytes, without the NUL |
//! | 8 | n + 1 | the string and a NUL |

use super::bytes::{Fixed, wire_len};
use super::fault::{BuildError, Fault, Malformed};

const FIXED_LEN: usize = 8;
const WHAT: &str = "STRING_REVERSE";

/// Reads the string of a request or a response. It is bytes; nothing says that it is UTF-8.
///
/// # Errors
/// [`Fault::Truncated`], [`Fault::BadLayout`] for another offset, [`Fault::OutOfBounds`] and
/// [`Fault::MissingNul`].
pub fn decode(payload: &[u8]) -> Result<&[u8], Malformed> {
    let refuse = |fault| Err(Malformed::new(fault, WHAT));
    let Some(fixed) = Fixed::<FIXED_LEN>::of(payload) else {
        return refuse(Fault::Truncated);
    };
    if fixed.len(0) != FIXED_LEN {
        return refuse(Fault::BadLayout);
    }
    let text = &payload[FIXED_LEN..];
    match text.split_at_checked(fixed.len(4)) {
        None | Some((_, [])) => refuse(Fault::OutOfBounds),
        Some((text, [0, ..])) => Ok(text),
        Some(_) => refuse(Fault::MissingNul),
    }
}

/// Writes a string; returns the payload's length.
///
/// # Errors
/// [`BuildError::Overflow`] when it does not fit.
pub fn encode(text: &[u8], payload: &mut [u8]) -> Result<usize, BuildError> {
    let length = FIXED_LEN + text.len() + 1;
    let room = payload.len();
    let target = payload.get_mut(..length).ok_or(BuildError::overflow(WHAT, length, room))?;
    target[..4].copy_from_slice(&wire_len(FIXED_LEN).to_ne_bytes());
    target[4..8].copy_from_slice(&wire_len(text.len()).to_ne_bytes());
    target[8..length - 1].copy_from_slice(text);
    target[length - 1] = 0;
    Ok(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_fault_has_its_name() {
        let mut payload = [0; 16];
        let length = encode(b"abc", &mut payload).unwrap();
        assert_eq!((length, decode(&payload[..length])), (12, Ok(&b"abc"[..])));
        assert_eq!(decode(&payload), Ok(&b"abc"[..]), "what follows is ignored");
        let fault = |payload: &[u8]| decode(payload).unwrap_err().fault;
        assert_eq!(fault(&payload[..7]), Fault::Truncated);
        assert_eq!(fault(&payload[..8]), Fault::OutOfBounds);
        assert_eq!(fault(&payload[..11]), Fault::OutOfBounds);
        let with = |at: usize, value| {
            let mut payload = payload;
            payload[at] = value;
            fault(&payload)
        };
        assert_eq!(with(0, 9), Fault::BadLayout);
        assert_eq!(with(4, 2), Fault::MissingNul);
        assert_eq!(with(7, 0xff), Fault::OutOfBounds);
        assert!(encode(b"abcdefgh", &mut payload).is_err());
    }
}
