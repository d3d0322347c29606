//! What a service is asked and what it answers. One endpoint serves one kind of request.

use crate::codec::{
    AppsReply, AppsRequest, AppsResponse, BuildError, CgroupsReply, CgroupsRequest,
    CgroupsResponse, Code, Malformed, Pid, Snapshot, SnapshotBuilder, SnapshotRequest, increment,
    text,
};
use std::sync::Arc;

/// A kind of request: its code, and how requests and responses become bytes and back.
///
/// The four types are the two sides' views of the two messages:
///
/// | | request | response |
/// | --- | --- | --- |
/// | client | gives [`Ask`](Service::Ask) | gets [`Response`](Service::Response) |
/// | server | gets [`Request`](Service::Request) | fills [`Reply`](Service::Reply) |
pub trait Service: 'static {
    /// The method's code on the wire.
    const CODE: Code;
    /// What a client asks with.
    type Ask<'a>;
    /// What a handler sees of it.
    type Request<'a>: Copy;
    /// What a handler fills. It may borrow from the request and from the payload.
    type Reply<'r, 'b>;
    /// What a client gets.
    type Response<'a>;

    /// Writes a request; returns its length.
    ///
    /// # Errors
    /// [`BuildError::Overflow`] when it does not fit; the caller may come back with more room.
    fn encode(ask: &Self::Ask<'_>, payload: &mut [u8]) -> Result<usize, BuildError>;

    /// Reads a request and begins the answer to it.
    ///
    /// # Errors
    /// When the request is malformed, or there is no room even to begin.
    fn open<'r, 'b>(
        request: &'r [u8],
        payload: &'b mut [u8],
    ) -> Result<(Self::Request<'r>, Self::Reply<'r, 'b>), OpenError>;

    /// Ends an answer.
    ///
    /// # Errors
    /// Whatever went wrong while it was filled.
    fn finish(reply: Self::Reply<'_, '_>) -> Result<Answer, BuildError>;

    /// Reads a response.
    ///
    /// # Errors
    /// When it is malformed.
    fn decode_response(payload: &[u8]) -> Result<Self::Response<'_>, Malformed>;

    /// Reads a response that [`Service::decode_response`] has accepted, where that is cheaper.
    ///
    /// # Errors
    /// When it is malformed after all.
    fn decode_again(payload: &[u8]) -> Result<Self::Response<'_>, Malformed> {
        Self::decode_response(payload)
    }
}

/// A kind whose requests may come in batches.
pub trait Batchable: Service {}

/// Why a request was not even begun to be answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// It is malformed.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// There is no room for any answer.
    #[error(transparent)]
    Build(#[from] BuildError),
}

/// A finished answer.
#[derive(Clone, Debug)]
pub enum Answer {
    /// So many bytes of the payload that was given.
    Written(usize),
    /// Bytes that existed before.
    Shared(Arc<[u8]>),
}

/// A number, and one more. The contract's test method.
#[derive(Debug)]
pub enum Increment {}

/// The number that a handler answers.
#[derive(Debug)]
pub struct NumberReply<'b> {
    payload: &'b mut [u8],
    number: u64,
}

impl NumberReply<'_> {
    /// Answers this. Without it the answer is 0.
    #[inline]
    pub fn set(&mut self, number: u64) {
        self.number = number;
    }
}

impl Service for Increment {
    const CODE: Code = Code::INCREMENT;
    type Ask<'a> = u64;
    type Request<'a> = u64;
    type Reply<'r, 'b> = NumberReply<'b>;
    type Response<'a> = u64;

    #[inline]
    fn encode(ask: &u64, payload: &mut [u8]) -> Result<usize, BuildError> {
        increment::encode(*ask, payload)
    }

    #[inline]
    fn open<'b>(
        request: &[u8],
        payload: &'b mut [u8],
    ) -> Result<(u64, NumberReply<'b>), OpenError> {
        let number = increment::decode(request)?;
        Ok((number, NumberReply { payload, number: 0 }))
    }

    #[inline]
    fn finish(reply: NumberReply<'_>) -> Result<Answer, BuildError> {
        increment::encode(reply.number, reply.payload).map(Answer::Written)
    }

    #[inline]
    fn decode_response(payload: &[u8]) -> Result<u64, Malformed> {
        increment::decode(payload)
    }
}

impl Batchable for Increment {}

/// Bytes, backwards. The contract's other test method.
#[derive(Debug)]
pub enum StringReverse {}

/// The bytes that a handler answers.
#[derive(Debug)]
pub struct TextReply<'b> {
    payload: &'b mut [u8],
    written: Result<usize, BuildError>,
}

impl TextReply<'_> {
    /// Answers this. Without it the answer is empty.
    ///
    /// # Errors
    /// [`BuildError::Overflow`] when it does not fit.
    pub fn set(&mut self, text: &[u8]) -> Result<(), BuildError> {
        self.written = text::encode(text, self.payload);
        self.written.map(|_| ())
    }
}

impl Service for StringReverse {
    const CODE: Code = Code::STRING_REVERSE;
    type Ask<'a> = &'a [u8];
    type Request<'a> = &'a [u8];
    type Reply<'r, 'b> = TextReply<'b>;
    type Response<'a> = &'a [u8];

    fn encode(ask: &&[u8], payload: &mut [u8]) -> Result<usize, BuildError> {
        text::encode(ask, payload)
    }

    fn open<'r, 'b>(
        request: &'r [u8],
        payload: &'b mut [u8],
    ) -> Result<(&'r [u8], TextReply<'b>), OpenError> {
        let text = text::decode(request)?;
        let written = text::encode(b"", payload);
        Ok((text, TextReply { payload, written }))
    }

    fn finish(reply: TextReply<'_>) -> Result<Answer, BuildError> {
        reply.written.map(Answer::Written)
    }

    fn decode_response(payload: &[u8]) -> Result<&[u8], Malformed> {
        text::decode(payload)
    }
}

impl Batchable for StringReverse {}

/// Every cgroup at once.
#[derive(Debug)]
pub enum CgroupsSnapshot {}

/// A snapshot that was made once, to be sent many times.
#[derive(Clone, Debug)]
pub struct SnapshotImage(Arc<[u8]>);

impl SnapshotImage {
    /// Makes a snapshot of at most `max_bytes`.
    ///
    /// # Errors
    /// Those of `fill`, and [`BuildError::Overflow`].
    pub fn build(
        max_bytes: usize,
        fill: impl FnOnce(&mut SnapshotBuilder<'_>) -> Result<(), BuildError>,
    ) -> Result<SnapshotImage, BuildError> {
        let mut payload = vec![0; max_bytes];
        let mut builder = SnapshotBuilder::new(&mut payload, None)?;
        fill(&mut builder)?;
        let length = builder.finish()?;
        Ok(SnapshotImage(payload[..length].into()))
    }

    /// Its bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// The snapshot that a handler answers: filled item by item, or made before.
#[derive(Debug)]
pub struct SnapshotReply<'b> {
    builder: SnapshotBuilder<'b>,
    room: usize,
    image: Option<SnapshotImage>,
}

impl<'b> SnapshotReply<'b> {
    /// To fill it item by item.
    pub fn builder(&mut self) -> &mut SnapshotBuilder<'b> {
        &mut self.builder
    }

    /// Answers with a snapshot that was made before. Nothing is encoded or copied for it.
    ///
    /// # Errors
    /// [`BuildError::Overflow`] when the session's limit is smaller.
    pub fn set_image(&mut self, image: &SnapshotImage) -> Result<(), BuildError> {
        let needed = image.0.len();
        if needed > self.room {
            return Err(BuildError::overflow("snapshot", needed, self.room));
        }
        self.image = Some(image.clone());
        Ok(())
    }
}

impl Service for CgroupsSnapshot {
    const CODE: Code = Code::CGROUPS_SNAPSHOT;
    type Ask<'a> = ();
    type Request<'a> = SnapshotRequest;
    type Reply<'r, 'b> = SnapshotReply<'b>;
    type Response<'a> = Snapshot<'a>;

    fn encode((): &(), payload: &mut [u8]) -> Result<usize, BuildError> {
        let room = payload.len();
        let target = payload.first_chunk_mut();
        let overflow = BuildError::overflow("snapshot request", SnapshotRequest::LEN, room);
        *target.ok_or(overflow)? = SnapshotRequest.encode();
        Ok(SnapshotRequest::LEN)
    }

    fn open<'b>(
        request: &[u8],
        payload: &'b mut [u8],
    ) -> Result<(SnapshotRequest, SnapshotReply<'b>), OpenError> {
        let request = SnapshotRequest::decode(request)?;
        let room = payload.len();
        let builder = SnapshotBuilder::new(payload, None)?;
        Ok((request, SnapshotReply { builder, room, image: None }))
    }

    fn finish(reply: SnapshotReply<'_>) -> Result<Answer, BuildError> {
        match reply.image {
            Some(image) => Ok(Answer::Shared(image.0)),
            None => reply.builder.finish().map(Answer::Written),
        }
    }

    fn decode_response(payload: &[u8]) -> Result<Snapshot<'_>, Malformed> {
        Snapshot::decode(payload)
    }

    fn decode_again(payload: &[u8]) -> Result<Snapshot<'_>, Malformed> {
        Snapshot::decode_again(payload)
    }
}

/// Cgroups by path.
#[derive(Debug)]
pub enum CgroupsLookup {}

impl Service for CgroupsLookup {
    const CODE: Code = Code::CGROUPS_LOOKUP;
    type Ask<'a> = &'a [&'a [u8]];
    type Request<'a> = CgroupsRequest<'a>;
    type Reply<'r, 'b> = CgroupsReply<'r, 'b>;
    type Response<'a> = CgroupsResponse<'a>;

    fn encode(ask: &&[&[u8]], payload: &mut [u8]) -> Result<usize, BuildError> {
        CgroupsRequest::encode(ask, payload)
    }

    fn open<'r, 'b>(
        request: &'r [u8],
        payload: &'b mut [u8],
    ) -> Result<(CgroupsRequest<'r>, CgroupsReply<'r, 'b>), OpenError> {
        let request = CgroupsRequest::decode(request)?;
        Ok((request, CgroupsReply::new(request, payload)?))
    }

    fn finish(reply: CgroupsReply<'_, '_>) -> Result<Answer, BuildError> {
        reply.finish().map(Answer::Written)
    }

    fn decode_response(payload: &[u8]) -> Result<CgroupsResponse<'_>, Malformed> {
        CgroupsResponse::decode(payload)
    }
}

/// Processes by pid.
#[derive(Debug)]
pub enum AppsLookup {}

impl Service for AppsLookup {
    const CODE: Code = Code::APPS_LOOKUP;
    type Ask<'a> = &'a [Pid];
    type Request<'a> = AppsRequest<'a>;
    type Reply<'r, 'b> = AppsReply<'r, 'b>;
    type Response<'a> = AppsResponse<'a>;

    fn encode(ask: &&[Pid], payload: &mut [u8]) -> Result<usize, BuildError> {
        AppsRequest::encode(ask, payload)
    }

    fn open<'r, 'b>(
        request: &'r [u8],
        payload: &'b mut [u8],
    ) -> Result<(AppsRequest<'r>, AppsReply<'r, 'b>), OpenError> {
        let request = AppsRequest::decode(request)?;
        Ok((request, AppsReply::new(request, payload)?))
    }

    fn finish(reply: AppsReply<'_, '_>) -> Result<Answer, BuildError> {
        reply.finish().map(Answer::Written)
    }

    fn decode_response(payload: &[u8]) -> Result<AppsResponse<'_>, Malformed> {
        AppsResponse::decode(payload)
    }
}
