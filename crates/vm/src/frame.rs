//! Frames of a log, read with snapwire's codec. The layout is [`belljar_guest::channel`]'s.

use belljar_guest::channel::{Code, frame_len};
use snapwire::codec::{HEADER_LEN, Header, Malformed};

/// One frame, borrowed from the bytes it was read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// What it carries.
    pub code: Code,
    /// Its number in its log, from 0.
    pub id: u64,
    /// The guest's monotonic clock when it was written, in nanoseconds.
    pub time_ns: u64,
    /// The rest of its payload.
    pub body: &'a [u8],
}

/// Bytes in a log that are not a frame.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no valid frame at byte {offset} of the log: {problem}")]
pub struct FrameError {
    /// Where in the bytes the frame was expected to start.
    pub offset: usize,
    /// What is wrong with them.
    pub problem: FrameProblem,
}

/// What can be wrong with a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FrameProblem {
    /// It does not begin with the header of a message.
    #[error(transparent)]
    Header(#[from] Malformed),
    /// It is a response, a batch, or has a status.
    #[error("it is not a single request with status OK")]
    Envelope,
    /// No frame has that code.
    #[error("the code {0} is unknown")]
    Code(u16),
    /// The payload has no room for the time, or reaches beyond the log.
    #[error("the payload length {0} does not fit")]
    PayloadLen(u32),
    /// The frame has not the next number.
    #[error("it is frame {found} where frame {expected} is due")]
    Order {
        /// The number that is due.
        expected: u64,
        /// Its number.
        found: u64,
    },
}

/// Reads the frames of a log, or of the part of it that has been committed.
///
/// The bytes are a guest's and may be anything: after the first error the reader ends.
#[derive(Clone, Debug)]
pub struct FrameReader<'a> {
    bytes: &'a [u8],
    offset: usize,
    next_id: u64,
}

impl<'a> FrameReader<'a> {
    /// A reader of whole frames, starting at the log's first.
    pub fn new(bytes: &'a [u8]) -> FrameReader<'a> {
        FrameReader::resume(bytes, 0)
    }

    /// A reader of bytes that follow the log's first `next_id` frames.
    pub fn resume(bytes: &'a [u8], next_id: u64) -> FrameReader<'a> {
        FrameReader { bytes, offset: 0, next_id }
    }

    /// The number that the next frame must have.
    pub fn next_id(&self) -> u64 {
        self.next_id
    }

    fn parse(&self) -> Result<(Frame<'a>, usize), FrameProblem> {
        let rest = &self.bytes[self.offset..];
        let header = Header::decode(rest)?;
        let single = Header::request(header.code, header.message_id);
        if header != (Header { payload_len: header.payload_len, ..single }) {
            return Err(FrameProblem::Envelope);
        }
        let code = Code::from_u16(header.code.0).ok_or(FrameProblem::Code(header.code.0))?;
        let (expected, found) = (self.next_id, header.message_id);
        if found != expected {
            return Err(FrameProblem::Order { expected, found });
        }
        let payload = rest[HEADER_LEN..].get(..header.payload_len as usize);
        let (time, body) = payload
            .and_then(<[u8]>::split_first_chunk)
            .ok_or(FrameProblem::PayloadLen(header.payload_len))?;
        let end = self.offset + frame_len(body.len()).min(rest.len());
        Ok((Frame { code, id: found, time_ns: u64::from_le_bytes(*time), body }, end))
    }
}

impl<'a> Iterator for FrameReader<'a> {
    type Item = Result<Frame<'a>, FrameError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.offset >= self.bytes.len() {
            return None;
        }
        match self.parse() {
            Ok((frame, end)) => {
                self.offset = end;
                self.next_id = self.next_id.wrapping_add(1);
                Some(Ok(frame))
            }
            Err(problem) => {
                let offset = std::mem::replace(&mut self.offset, self.bytes.len());
                Some(Err(FrameError { offset, problem }))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use belljar_guest::channel::encode_frame;
    use proptest::prelude::*;
    use snapwire::codec;

    fn log_of(bodies: &[&[u8]]) -> Vec<u8> {
        let mut log = Vec::new();
        for (id, body) in bodies.iter().enumerate() {
            encode_frame(&mut log, Code::Stdout, id as u64, 9, body);
        }
        log
    }

    #[test]
    fn each_problem_has_its_name() {
        let problem = |at: usize, value: u8| {
            let mut log = log_of(&[b"body"]);
            log[at] = value;
            FrameReader::new(&log).next().unwrap().unwrap_err().problem
        };
        let header = |fault| Malformed { fault, what: "message header" }.into();
        for (at, value, expected) in [
            (0, 0, header(codec::Fault::BadMagic)),
            (4, 2, header(codec::Fault::BadVersion)),
            (6, 31, header(codec::Fault::BadHeaderLen)),
            (8, 4, header(codec::Fault::BadKind)),
            (8, 2, FrameProblem::Envelope),
            (10, 1, FrameProblem::Envelope),
            (14, 1, FrameProblem::Envelope),
            (20, 2, FrameProblem::Envelope),
            (12, 0xff, FrameProblem::Code(0x01ff)),
            (16, 7, FrameProblem::PayloadLen(7)),
            (16, 17, FrameProblem::PayloadLen(17)),
            (24, 1, FrameProblem::Order { expected: 0, found: 1 }),
        ] {
            assert_eq!(problem(at, value), expected, "byte {at}");
        }
        let cut = FrameReader::new(&[0; 31]).next().unwrap().unwrap_err();
        assert_eq!(cut.problem, header(codec::Fault::Truncated));
    }

    fn codes() -> impl Strategy<Value = Code> {
        any::<prop::sample::Index>().prop_map(|index| {
            let all: Vec<Code> = (0..=u16::MAX).filter_map(Code::from_u16).collect();
            *index.get(&all)
        })
    }

    proptest! {
        /// The guest encodes on its own, since it must not depend on a crate: its bytes are those
        /// that snapwire's codec makes, and the codec reads from them what the guest wrote.
        #[test]
        fn guest_and_snapwire_agree(
            code in codes(), id: u64, time_ns: u64, body: Vec<u8>, before: Vec<u8>,
        ) {
            let mut guests = before.clone();
            encode_frame(&mut guests, code, id, time_ns, &body);

            let header = Header {
                payload_len: 8 + body.len() as u32,
                ..Header::request(codec::Code(code as u16), id)
            };
            let mut ours = before.clone();
            ours.extend(header.encode());
            ours.extend(time_ns.to_le_bytes());
            ours.extend(&body);
            ours.resize(before.len() + (ours.len() - before.len()).next_multiple_of(8), 0);
            prop_assert_eq!(&guests, &ours);

            let frame = FrameReader::resume(&guests[before.len()..], id).next().unwrap().unwrap();
            prop_assert_eq!(frame, Frame { code, id, time_ns, body: &body });
        }

        #[test]
        fn frames_survive(bodies in proptest::collection::vec(any::<Vec<u8>>(), 0..20)) {
            let log = log_of(&bodies.iter().map(Vec::as_slice).collect::<Vec<_>>());
            let read: Vec<_> = FrameReader::new(&log).map(|f| f.unwrap().body.to_vec()).collect();
            prop_assert_eq!(read, bodies);
        }

        #[test]
        fn any_bytes_end_without_panic(bytes: Vec<u8>, flip in any::<(usize, u8)>()) {
            FrameReader::new(&bytes).for_each(drop);
            let mut log = log_of(&[&bytes, &bytes]);
            let at = flip.0 % log.len();
            log[at] ^= flip.1;
            prop_assert!(FrameReader::new(&log).count() <= 3);
        }
    }
}
