//! The host's side of the channel. The layout is [`belljar_guest::channel`]'s.

use crate::frame::{Frame, FrameError, FrameReader};
use crate::memory::{GuestMemory, GuestPhysical};
use belljar_guest::channel::{self, LogArea, REQUEST, State, WINDOW};
use std::io;
use std::time::Duration;

/// The guest broke the channel's rules, or its memory is out of reach.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ChannelError {
    /// The memory could not be read or written.
    #[error("the channel's memory is out of reach")]
    Memory(#[from] io::Error),
    /// No agent has taken the region into use.
    #[error("no agent has claimed the channel (magic number {found:#018x})")]
    Unclaimed {
        /// What stands in its place.
        found: u64,
    },
    /// The state word is none that the protocol knows.
    #[error("the guest stopped in the unknown state {state}")]
    UnknownState {
        /// What the word holds.
        state: u32,
    },
    /// A log's length is impossible.
    #[error("a log claims {committed} bytes where {read} were read before and {limit} fit")]
    ImpossibleLength {
        /// What the guest claims.
        committed: u32,
        /// What it had claimed.
        read: usize,
        /// What the log can hold.
        limit: usize,
    },
    /// A log holds something that is not a frame.
    #[error("the guest wrote garbage into the channel")]
    Garbage(#[from] FrameError),
    /// The request is longer than its place.
    #[error("the request has {len} bytes and only {} fit", REQUEST.len)]
    RequestTooLong {
        /// Its length.
        len: usize,
    },
}

/// Bytes of the channel's region, by offset: a guest's memory, or a test's.
pub trait RegionBytes {
    /// Fills `bytes` from `offset`.
    ///
    /// # Errors
    /// When they cannot be read.
    fn read_at(&self, offset: usize, bytes: &mut [u8]) -> io::Result<()>;
}

impl RegionBytes for GuestMemory {
    fn read_at(&self, offset: usize, bytes: &mut [u8]) -> io::Result<()> {
        self.read(GuestPhysical(channel::BASE + offset as u64), bytes)
    }
}

impl RegionBytes for [u8] {
    fn read_at(&self, offset: usize, bytes: &mut [u8]) -> io::Result<()> {
        let range = offset..offset.saturating_add(bytes.len());
        let from = self.get(range).ok_or(io::ErrorKind::UnexpectedEof)?;
        bytes.copy_from_slice(from);
        Ok(())
    }
}

/// The host's side of one machine's channel.
#[derive(Debug)]
pub(crate) struct Channel<'a>(pub(crate) &'a GuestMemory);

impl Channel<'_> {
    /// The state of a machine that has frozen itself for the time after `seen`
    /// times, with how often it has done so; `None` when it has not.
    pub(crate) fn frozen(&self, seen: u32) -> Result<Option<(State, u32)>, ChannelError> {
        let freezes = self.word(channel::FREEZES)?;
        if freezes == seen {
            return Ok(None);
        }
        let magic = u64::from(self.word(0)?) | u64::from(self.word(4)?) << 32;
        if magic != channel::MAGIC {
            return Err(ChannelError::Unclaimed { found: magic });
        }
        let state = self.word(channel::STATE)?;
        let state = State::from_u32(state).ok_or(ChannelError::UnknownState { state })?;
        Ok(Some((state, freezes)))
    }

    /// How often the machine has frozen itself.
    pub(crate) fn freezes(&self) -> Result<u32, ChannelError> {
        self.word(channel::FREEZES)
    }

    /// The time-stamp counter of the CPU that asked for the last freeze, when it did.
    pub(crate) fn frozen_at(&self) -> Result<u64, ChannelError> {
        let (low, high) = (self.word(channel::FROZEN_AT)?, self.word(channel::FROZEN_AT + 4)?);
        Ok(u64::from(low) | u64::from(high) << 32)
    }

    /// Lets the guest go on once the machine runs.
    pub(crate) fn set_go(&self, freeze: u32) -> Result<(), ChannelError> {
        self.set_word(channel::GO, freeze)
    }

    /// Says how long a round of the CPUs' turns is to be.
    pub(crate) fn set_round(&self, round: Duration) -> Result<(), ChannelError> {
        let round_ns = u32::try_from(round.as_nanos()).unwrap_or(u32::MAX);
        self.set_word(channel::ROUND_NS, round_ns)
    }

    /// Puts a piece of the payload into the window.
    pub(crate) fn set_window(&self, piece: &[u8], last: bool) -> Result<(), ChannelError> {
        debug_assert!(piece.len() <= WINDOW.len);
        self.write(WINDOW.offset, piece)?;
        self.set_word(channel::WINDOW_LEN, piece.len() as u32)?;
        self.set_word(channel::WINDOW_LAST, u32::from(last))
    }

    /// Puts the request into its place.
    pub(crate) fn set_request(&self, request: &[u8]) -> Result<(), ChannelError> {
        if request.len() > REQUEST.len {
            return Err(ChannelError::RequestTooLong { len: request.len() });
        }
        self.write(REQUEST.offset, request)?;
        self.set_word(channel::REQUEST_LEN, request.len() as u32)
    }

    fn write(&self, offset: usize, bytes: &[u8]) -> Result<(), ChannelError> {
        Ok(self.0.write(GuestPhysical(channel::BASE + offset as u64), bytes)?)
    }

    fn word(&self, offset: usize) -> Result<u32, ChannelError> {
        let mut bytes = [0; 4];
        self.0.read_at(offset, &mut bytes)?;
        Ok(u32::from_le_bytes(bytes))
    }

    fn set_word(&self, offset: usize, value: u32) -> Result<(), ChannelError> {
        self.write(offset, &value.to_le_bytes())
    }
}

/// Reads one log as it grows.
#[derive(Debug)]
pub struct LogReader {
    area: LogArea,
    read: usize,
    next_id: u64,
}

impl LogReader {
    /// A reader that starts at the log's first frame.
    pub fn new(area: LogArea) -> LogReader {
        LogReader { area, read: 0, next_id: 0 }
    }

    /// Hands every frame that was committed since the last call to `sink`.
    ///
    /// # Errors
    /// When the guest broke the rules; the frames before that have been handed over.
    pub fn drain<R: RegionBytes + ?Sized>(
        &mut self,
        region: &R,
        mut sink: impl FnMut(Frame<'_>),
    ) -> Result<(), ChannelError> {
        let mut word = [0; 4];
        region.read_at(self.area.control, &mut word)?;
        let committed = u32::from_le_bytes(word);
        let limit = self.area.data.len;
        let end = committed as usize;
        if end == self.read {
            return Ok(());
        }
        if end < self.read || end > limit {
            return Err(ChannelError::ImpossibleLength { committed, read: self.read, limit });
        }
        let mut bytes = vec![0; end - self.read];
        region.read_at(self.area.data.offset + self.read, &mut bytes)?;
        let mut frames = FrameReader::resume(&bytes, self.next_id);
        for frame in &mut frames {
            sink(frame.map_err(|error| FrameError { offset: self.read + error.offset, ..error })?);
        }
        self.next_id = frames.next_id();
        self.read = end;
        Ok(())
    }

    /// Bytes that the guest wanted to log and that did not fit.
    ///
    /// # Errors
    /// When the memory is out of reach.
    pub fn dropped<R: RegionBytes + ?Sized>(&self, region: &R) -> Result<u64, ChannelError> {
        let mut word = [0; 8];
        region.read_at(self.area.control + 8, &mut word)?;
        Ok(u64::from_le_bytes(word))
    }

    /// How many bytes the log can hold.
    pub fn limit(&self) -> usize {
        self.area.data.len
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use belljar_guest::channel::{AGENT_LOG, Code, PROCESS_LOG, encode_frame};
    use proptest::prelude::*;

    fn region(area: LogArea, committed: u32, log: &[u8]) -> Vec<u8> {
        let mut region = vec![0; channel::SIZE];
        region[area.control..area.control + 4].copy_from_slice(&committed.to_le_bytes());
        region[area.data.offset..area.data.offset + log.len()].copy_from_slice(log);
        region
    }

    #[test]
    fn a_growing_log_is_read_once() {
        let mut log = Vec::new();
        encode_frame(&mut log, Code::Stdout, 0, 1, b"one");
        let first = log.len();
        encode_frame(&mut log, Code::Stdout, 1, 2, b"two");
        let mut reader = LogReader::new(AGENT_LOG);
        let mut seen = Vec::new();
        for committed in [0, first, first, log.len()] {
            let region = region(AGENT_LOG, committed as u32, &log);
            reader.drain(&region[..], |frame| seen.push(frame.body.to_vec())).unwrap();
        }
        assert_eq!(seen, [b"one", b"two"]);
    }

    #[test]
    fn impossible_lengths_are_refused() {
        let mut reader = LogReader::new(PROCESS_LOG);
        let region = region(PROCESS_LOG, u32::MAX, &[]);
        let error = reader.drain(&region[..], |_| ()).unwrap_err();
        assert!(matches!(error, ChannelError::ImpossibleLength { .. }), "{error}");
    }

    proptest! {
        #[test]
        fn a_hostile_log_ends_in_an_error(log: Vec<u8>, committed: u32, small: u16) {
            for committed in [committed, u32::from(small)] {
                let region = region(PROCESS_LOG, committed, &log);
                let mut reader = LogReader::new(PROCESS_LOG);
                let outcome = reader.drain(&region[..], |_| ());
                prop_assert!(committed == 0 || outcome.is_err());
            }
        }
    }
}
