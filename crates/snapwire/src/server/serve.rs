//! One session, from its first request to its last.

use super::Shared;
use super::sessions::RequestCount;
use crate::buffer::Buffer;
use crate::codec::{Batch, BatchBuilder, BuildError, Header, Kind, Status};
use crate::error::Error;
use crate::patience::Patience;
use crate::service::{Answer, OpenError, Service};
use crate::session::Session;
use std::num::NonZeroU64;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering;

/// Why a handler does not answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Failure {
    /// It will not. The client is told INTERNAL_ERROR.
    #[error("the handler refused")]
    Refused,
    /// The answer could not be made. When it did not fit, the client comes back for more room.
    #[error("the answer could not be made")]
    Build(#[from] BuildError),
}

/// Answers requests of a kind. Every closure of this signature does.
pub(crate) trait Handler<S: Service>: Send + Sync + 'static {
    fn handle<'r>(
        &self,
        request: S::Request<'r>,
        reply: &mut S::Reply<'r, '_>,
    ) -> Result<(), Failure>;
}

impl<S: Service, F> Handler<S> for F
where
    F: for<'r, 'b> Fn(S::Request<'r>, &mut S::Reply<'r, 'b>) -> Result<(), Failure>
        + Send
        + Sync
        + 'static,
{
    fn handle<'r>(
        &self,
        request: S::Request<'r>,
        reply: &mut S::Reply<'r, '_>,
    ) -> Result<(), Failure> {
        self(request, reply)
    }
}

/// Why a request has no answer.
enum Fault {
    /// The directory of a batch.
    Directory,
    /// A request, or an item of a batch.
    Malformed,
    Handler(Failure),
    Panicked,
}

impl From<OpenError> for Fault {
    fn from(error: OpenError) -> Fault {
        match error {
            OpenError::Malformed(_) => Fault::Malformed,
            OpenError::Build(error) => error.into(),
        }
    }
}

impl From<Failure> for Fault {
    fn from(failure: Failure) -> Fault {
        Fault::Handler(failure)
    }
}

impl From<BuildError> for Fault {
    fn from(error: BuildError) -> Fault {
        Fault::Handler(Failure::Build(error))
    }
}

impl Fault {
    fn status(&self) -> Status {
        match self {
            Fault::Directory | Fault::Malformed => Status::BAD_ENVELOPE,
            Fault::Handler(Failure::Build(BuildError::Overflow { .. })) => Status::LIMIT_EXCEEDED,
            Fault::Handler(_) | Fault::Panicked => Status::INTERNAL_ERROR,
        }
    }
}

/// Serves a session until it is over.
pub(crate) fn serve<S: Service>(
    shared: &Shared,
    session: &mut Session,
    handler: &impl Handler<S>,
    requests: &RequestCount,
) {
    session.set_stall(shared.config.stall);
    // Waits end when they should, and not up to 50 us later. Without it they end later.
    let _ = rustix::thread::set_current_timer_slack(NonZeroU64::new(1));
    let (request, response) = (Buffer::new(), Buffer::new());
    let mut worker = Worker { shared, handler, requests, request, response };
    while worker.answer_one(session).is_ok() {}
}

struct Worker<'a, H> {
    shared: &'a Shared,
    handler: &'a H,
    requests: &'a RequestCount,
    request: Buffer,
    response: Buffer,
}

impl<H> Worker<'_, H> {
    /// Receives a request and answers it. An error ends the session.
    fn answer_one<S: Service>(&mut self, session: &mut Session) -> Result<(), Error>
    where
        H: Handler<S>,
    {
        let mut idle = Patience::new(self.shared.config.idle);
        let header = session.recv_unchecked(&mut self.request, &mut idle)?;
        if header.kind != Kind::Request {
            return Err(Error::Protocol("it sent something that is no request"));
        }
        let mut stall = Patience::new(self.shared.config.stall);
        if header.code != S::CODE {
            let answer = header.response(Status::UNSUPPORTED);
            self.requests.count();
            return session.send(&answer, &[], &mut stall);
        }
        let dispatched = self.dispatch::<S>(session, &header);
        self.requests.count();
        let (answer, count) = match dispatched {
            Ok(dispatched) => dispatched,
            Err(fault) => return self.refuse(session, &header, &fault, &mut stall),
        };
        let ok = header.response(Status::OK);
        let ok = count.map_or(ok, |count| ok.with_batch(count));
        match answer {
            Answer::Written(length) => {
                self.response.set_len(length);
                session.send_buffer(&ok, &mut self.response, &mut stall)
            }
            Answer::Shared(bytes) => session.send_shared(&ok, &bytes, &mut stall),
        }
    }

    /// The answer, and the number of items when it is a batch.
    fn dispatch<S: Service>(
        &mut self,
        session: &Session,
        header: &Header,
    ) -> Result<(Answer, Option<u32>), Fault>
    where
        H: Handler<S>,
    {
        let limit = session.terms().response.payload_bytes as usize;
        let (request, response) = (self.request.as_slice(), self.response.exactly(limit));
        let handler = self.handler;
        // A handler's panic is told by the process's own hook; it ends this session only.
        let caught = catch_unwind(AssertUnwindSafe(|| {
            if header.batch {
                batch::<S>(handler, request, header.item_count, response)
            } else {
                Ok((one::<S>(handler, request, response)?, None))
            }
        }));
        caught.unwrap_or(Err(Fault::Panicked))
    }

    /// Tells the client why there is no answer, and ends the session.
    fn refuse(
        &mut self,
        session: &mut Session,
        header: &Header,
        fault: &Fault,
        stall: &mut Patience<'_>,
    ) -> Result<(), Error> {
        let status = fault.status();
        if status == Status::LIMIT_EXCEEDED {
            // The client comes back, and finds more room.
            let used = session.terms().response.payload_bytes;
            let next = used.saturating_mul(2).min(self.shared.config.response_max());
            self.shared.response_bytes.fetch_max(next, Ordering::Relaxed);
        }
        // Over the socket a bad directory is a transport's fault, which is not answered.
        let unanswered = matches!(fault, Fault::Directory) && header.item_count > 1;
        if !unanswered || session.is_shm() {
            session.send(&header.response(status), &[], stall)?;
        }
        Err(Error::Refused(status))
    }
}

fn one<S: Service>(
    handler: &impl Handler<S>,
    request: &[u8],
    response: &mut [u8],
) -> Result<Answer, Fault> {
    let (request, mut reply) = S::open(request, response)?;
    handler.handle(request, &mut reply)?;
    Ok(S::finish(reply)?)
}

/// Not inlined: its loop needs the registers for itself.
#[inline(never)]
fn batch<S: Service>(
    handler: &impl Handler<S>,
    request: &[u8],
    count: u32,
    response: &mut [u8],
) -> Result<(Answer, Option<u32>), Fault> {
    let items = Batch::new(request, count).map_err(|_| Fault::Directory)?;
    let mut builder = BatchBuilder::new(response, count)?;
    for item in items.iter() {
        builder.push_with(|slot| match one::<S>(handler, item, slot)? {
            Answer::Written(length) => Ok::<usize, Fault>(length),
            Answer::Shared(bytes) => {
                let room = slot.len();
                let overflow = BuildError::overflow("batch item", bytes.len(), room);
                slot.get_mut(..bytes.len()).ok_or(overflow)?.copy_from_slice(&bytes);
                Ok(bytes.len())
            }
        })?;
    }
    let (length, count) = builder.finish();
    Ok((Answer::Written(length), Some(count)))
}
