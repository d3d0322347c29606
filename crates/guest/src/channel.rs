//! The channel: one region of guest memory, and how host and guest use it.
//!
//! The kernel is told to leave [`SIZE`] bytes at guest-physical [`BASE`] alone
//! (`memmap=16M$0x8000000`); agent and test process map them through `/dev/mem`.
//! The host reads and writes the same bytes from outside, in its QEMU child. No
//! device, no queue and no interrupt takes part, so looking at a guest cannot
//! disturb it.
//!
//! # Layout (all integers little endian)
//!
//! | offset | size | field | written by |
//! | --- | --- | --- | --- |
//! | 0 | 8 | [`MAGIC`] | agent |
//! | 8 | 4 | state, see [`State`] | guest |
//! | 12 | 4 | freezes so far | guest |
//! | 16 | 4 | go: the freeze that the host ended last | host |
//! | 20 | 4 | bytes in the window | host |
//! | 24 | 4 | 1 when the window holds the payload's last bytes | host |
//! | 28 | 4 | bytes of the request | host |
//! | 32 | 4 | 1 once the test process has said all that it has to say | test process |
//! | 36 | 4 | nanoseconds of a round of the CPUs' turns, see [`ROUND_NS`] | host |
//! | 40 | 8 | the CPU's time-stamp counter at the last freeze | guest |
//! | 64 | 4 + 4 + 8 | agent log: bytes committed, reserved, bytes that did not fit | agent |
//! | 128 | 4 + 4 + 8 | process log: the same | test process |
//! | 4096 | 61440 | request | host |
//! | 1 MiB | 7 MiB | window: a piece of the payload | host |
//! | 8 MiB | 4 MiB | agent log | agent |
//! | 12 MiB | 4 MiB | process log | test process |
//!
//! # Freezing
//!
//! A guest that has nothing to do until the host acts *freezes itself*: it sets
//! its state, adds one to the freezes, and writes to the pvpanic port, on which
//! QEMU pauses the machine at once. With an instruction-counted clock that is the
//! same instruction every time. The host then reads, writes, sets `go` to the
//! number of freezes and lets the machine run; the guest goes on as soon as it
//! sees the two agree. (Without an instruction-counted clock a vCPU may run a few
//! instructions past the port write, hence the word.)
//!
//! # Logs
//!
//! A fork runs one test, so a log is only appended to. A record that does not fit
//! is counted and dropped: a full log must never make a guest wait for its host.
//!
//! # Frames
//!
//! A log is a row of frames, each padded to 8 bytes: the 32-byte netipc message
//! header (magic `0x4e495043`, version 1, header length 32, kind 1, flags 0, code,
//! status 0, payload length, item count 1, message id), then the payload, which
//! opens with the guest's monotonic clock in nanoseconds. The message id counts
//! the frames of that log. Here frames are only written; the host reads them with
//! the codec of the crate `snapwire`, and its tests hold these bytes against it.

/// Guest-physical address of the region.
pub const BASE: u64 = 0x0800_0000;
/// Bytes of the region.
pub const SIZE: usize = 16 << 20;
/// First eight bytes of a region that an agent has taken into use.
pub const MAGIC: u64 = u64::from_le_bytes(*b"belljar1");
/// What the guest's kernel must be told to leave the region alone.
pub const KERNEL_ARGUMENT: &str = "memmap=16M$0x8000000";
/// The I/O port whose write of 1 freezes the machine (QEMU's ISA pvpanic device).
pub const FREEZE_PORT: u16 = 0x505;

/// Offset of the state word.
pub const STATE: usize = 8;
/// Offset of the count of freezes.
pub const FREEZES: usize = 12;
/// Offset of the freeze that the host ended last.
pub const GO: usize = 16;
/// Offset of the number of bytes in the window.
pub const WINDOW_LEN: usize = 20;
/// Offset of the flag that the window holds the payload's last bytes.
pub const WINDOW_LAST: usize = 24;
/// Offset of the number of bytes of the request.
pub const REQUEST_LEN: usize = 28;

/// Offset of the flag that the test process has said all that it has to say.
pub const DONE: usize = 32;

/// Offset of the guest time in which every CPU is to get its turn, in nanoseconds. The
/// host writes it before a machine boots whose CPUs share a thread of the host (elsewhere
/// it is 0), and may write another before a run: 0 then leaves it to QEMU.
pub const ROUND_NS: usize = 36;

/// Offset of the time-stamp counter at the last freeze.
pub const FROZEN_AT: usize = 40;

/// Where the request lies.
pub const REQUEST: Area = Area { offset: 4096, len: 60 << 10 };
/// Where pieces of the payload lie.
pub const WINDOW: Area = Area { offset: 1 << 20, len: 7 << 20 };
/// The agent's log: output of the test process, and how it ended.
pub const AGENT_LOG: LogArea =
    LogArea { control: 64, data: Area { offset: 8 << 20, len: 4 << 20 } };
/// The test process's log: what the test said through its `Ctx`.
pub const PROCESS_LOG: LogArea =
    LogArea { control: 128, data: Area { offset: 12 << 20, len: 4 << 20 } };

/// A piece of the region.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Area {
    /// Bytes from the start of the region.
    pub offset: usize,
    /// Bytes.
    pub len: usize,
}

/// A log: its control words and its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogArea {
    /// Offset of the control words: committed (u32), reserved (u32), dropped (u64).
    pub control: usize,
    /// Where the frames lie.
    pub data: Area,
}

/// Why a guest froze.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum State {
    /// The kernel is up and the agent waits for a payload.
    Ready = 1,
    /// The agent wants the next piece of the payload in the window.
    Want = 2,
    /// The payload is in place and its process waits for a request.
    Waiting = 3,
    /// The process has ended; everything there is to say is in the logs.
    Ended = 4,
}

impl State {
    /// The state with that number, if there is one.
    pub fn from_u32(number: u32) -> Option<State> {
        [State::Ready, State::Want, State::Waiting, State::Ended]
            .into_iter()
            .find(|state| *state as u32 == number)
    }
}

/// What a frame carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub enum Code {
    /// Bytes that the process wrote to its standard output.
    Stdout = 0x0100,
    /// Bytes that the process wrote to its standard error.
    Stderr = 0x0101,
    /// Text from the agent for whoever reads the run: what it found odd.
    Note = 0x0102,
    /// Processes that were still there when the process had ended: a line each.
    Leaked = 0x0103,
    /// How the process ended: an [`Ending`].
    Ended = 0x0110,
    /// The agent could not do its work: text.
    Failed = 0x0111,
    /// Something that the test said: JSON.
    Event = 0x0200,
    /// The body begins.
    Begin = 0x0201,
}

impl Code {
    const ALL: [Code; 8] = [
        Code::Stdout,
        Code::Stderr,
        Code::Note,
        Code::Leaked,
        Code::Ended,
        Code::Failed,
        Code::Event,
        Code::Begin,
    ];

    /// A word for it, as transcripts have it.
    pub fn word(self) -> &'static str {
        match self {
            Code::Stdout => "stdout",
            Code::Stderr => "stderr",
            Code::Note => "note",
            Code::Leaked => "leaked",
            Code::Ended => "ended",
            Code::Failed => "failed",
            Code::Event => "event",
            Code::Begin => "begin",
        }
    }

    /// The code with that number, if there is one.
    pub fn from_u16(number: u16) -> Option<Code> {
        Code::ALL.into_iter().find(|code| *code as u16 == number)
    }
}

/// How the process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// It exited with this code.
    Exited(i32),
    /// This signal ended it.
    Signaled(i32),
    /// It was still running at its time limit.
    TimedOut,
    /// It has said all that it has to say; it was not waited for.
    Done,
}

impl Ending {
    /// The frame body for this ending.
    pub fn encode(self) -> [u8; 8] {
        let (cause, value) = match self {
            Ending::Exited(code) => (0u32, code),
            Ending::Signaled(signal) => (1, signal),
            Ending::TimedOut => (2, 0),
            Ending::Done => (3, 0),
        };
        let mut body = [0; 8];
        body[..4].copy_from_slice(&cause.to_le_bytes());
        body[4..].copy_from_slice(&value.to_le_bytes());
        body
    }

    /// The ending in a frame body, or `None` when the body is not one.
    pub fn decode(body: &[u8]) -> Option<Ending> {
        let body: &[u8; 8] = body.try_into().ok()?;
        let cause = u32::from_le_bytes([body[0], body[1], body[2], body[3]]);
        let value = i32::from_le_bytes([body[4], body[5], body[6], body[7]]);
        match cause {
            0 => Some(Ending::Exited(value)),
            1 => Some(Ending::Signaled(value)),
            2 => Some(Ending::TimedOut),
            3 => Some(Ending::Done),
            _ => None,
        }
    }
}

const HEADER_LEN: usize = 32;
const FRAME_MAGIC: u32 = 0x4e49_5043;

/// Bytes that a frame with a body of `body_len` bytes takes in a log.
pub const fn frame_len(body_len: usize) -> usize {
    (HEADER_LEN + 8 + body_len).next_multiple_of(8)
}

/// Appends one frame to `log`.
///
/// `id` is the number of frames before it in that log, `time_ns` the guest's
/// monotonic clock.
pub fn encode_frame(log: &mut Vec<u8>, code: Code, id: u64, time_ns: u64, body: &[u8]) {
    let payload_len = u32::try_from(8 + body.len()).unwrap_or(u32::MAX);
    let end = log.len() + frame_len(body.len());
    log.extend_from_slice(&FRAME_MAGIC.to_le_bytes());
    log.extend_from_slice(&1u16.to_le_bytes());
    log.extend_from_slice(&(HEADER_LEN as u16).to_le_bytes());
    log.extend_from_slice(&1u16.to_le_bytes());
    log.extend_from_slice(&0u16.to_le_bytes());
    log.extend_from_slice(&(code as u16).to_le_bytes());
    log.extend_from_slice(&0u16.to_le_bytes());
    log.extend_from_slice(&payload_len.to_le_bytes());
    log.extend_from_slice(&1u32.to_le_bytes());
    log.extend_from_slice(&id.to_le_bytes());
    log.extend_from_slice(&time_ns.to_le_bytes());
    log.extend_from_slice(body);
    log.resize(end, 0);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn areas_do_not_overlap() {
        let areas =
            [Area { offset: 0, len: 4096 }, REQUEST, WINDOW, AGENT_LOG.data, PROCESS_LOG.data];
        for pair in areas.windows(2) {
            assert!(pair[0].offset + pair[0].len <= pair[1].offset, "{pair:?}");
        }
        let last = areas[areas.len() - 1];
        assert_eq!(last.offset + last.len, SIZE);
    }

    #[test]
    fn header_is_the_netipc_header() {
        let mut log = Vec::new();
        encode_frame(&mut log, Code::Event, 7, 0x0102, b"{}");
        assert_eq!(
            log,
            [
                0x43, 0x50, 0x49, 0x4e, 1, 0, 32, 0, 1, 0, 0, 0, 0, 2, 0, 0, // to the status
                10, 0, 0, 0, 1, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, // to the id
                2, 1, 0, 0, 0, 0, 0, 0, b'{', b'}', 0, 0, 0, 0, 0, 0,
            ]
        );
    }

    #[test]
    fn endings_survive() {
        for ending in [Ending::Exited(-3), Ending::Signaled(11), Ending::TimedOut, Ending::Done] {
            assert_eq!(Ending::decode(&ending.encode()), Some(ending));
        }
        assert_eq!(Ending::decode(&[4, 0, 0, 0, 0, 0, 0, 0]), None);
        assert_eq!(Ending::decode(b"short"), None);
    }
}
