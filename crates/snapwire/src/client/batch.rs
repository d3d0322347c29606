//! Many requests at once: in one message, or in many that are under way together.

use super::link::{Outgoing, check_answer};
use super::{Client, State};
use crate::buffer::Buffer;
use crate::codec::{Batch, BatchBuilder, Header};
use crate::error::Error;
use crate::patience::Patience;
use crate::service::{Batchable, Service};
use std::marker::PhantomData;

/// The answers to a batch, in the order of the questions.
#[derive(Debug)]
pub struct Responses<'a, S> {
    batch: Batch<'a>,
    service: PhantomData<fn() -> S>,
}

impl<'a, S: Service> Responses<'a, S> {
    /// How many there are: as many as questions.
    pub fn len(&self) -> usize {
        self.batch.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.batch.is_empty()
    }

    /// The answers.
    pub fn iter(&self) -> impl Iterator<Item = Result<S::Response<'a>, Error>> + use<'a, S> {
        self.batch.iter().map(|item| Ok(S::decode_response(item)?))
    }
}

impl<S: Batchable> Client<S> {
    /// Asks many things in one message. The session's limits bound how many, and how long.
    ///
    /// # Errors
    /// As for [`Client::call`]; [`Error::TooManyItems`].
    pub fn call_batch<'q>(
        &mut self,
        asks: impl ExactSizeIterator<Item = S::Ask<'q>> + Clone,
    ) -> Result<Responses<'_, S>, Error> {
        let count = u32::try_from(asks.len()).unwrap_or(u32::MAX);
        self.encode(|room| {
            let mut builder = BatchBuilder::new(room, count)?;
            for ask in asks.clone() {
                builder.push_with(|slot| S::encode(&ask, slot))?;
            }
            Ok(builder.finish().0)
        })?;
        let timeout = self.link.config().timeout;
        let mut patience = Patience::new(timeout).with_abort(&self.abort);
        let outgoing = Outgoing { code: S::CODE, batch: Some(count) };
        self.link.call(outgoing, &mut patience, |payload| {
            Batch::new(payload, count)?;
            Ok(())
        })?;
        let batch = Batch::again(self.link.response.as_slice(), count)?;
        Ok(Responses { batch, service: PhantomData })
    }

    /// Asks many things in messages of their own, up to `depth` of them under way at once, and
    /// hands each answer to `take` with the number of its question. Over shared memory there is
    /// one at a time.
    ///
    /// Unlike [`Client::call`] nothing is sent again: after an error some answers are missing, and
    /// the client wants to be refreshed.
    ///
    /// # Errors
    /// The first failure, of a call or of `take`.
    pub fn pipeline<'q>(
        &mut self,
        asks: impl IntoIterator<Item = S::Ask<'q>>,
        depth: usize,
        take: impl FnMut(usize, S::Response<'_>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let piped = self.pipe(asks.into_iter(), depth.max(1), take);
        if piped.is_err() && self.link.state() == State::Ready {
            self.link.close(State::Broken);
        }
        piped
    }

    fn pipe<'q>(
        &mut self,
        mut asks: impl Iterator<Item = S::Ask<'q>>,
        depth: usize,
        mut take: impl FnMut(usize, S::Response<'_>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        if self.link.state() != State::Ready {
            return Err(Error::NotReady(self.link.state()));
        }
        let abort = self.abort_handle();
        let timeout = self.link.config().timeout;
        let (mut sent, mut taken, mut more) = (0u64, 0u64, true);
        let mut response = Buffer::new();
        std::mem::swap(&mut response, &mut self.link.response);
        loop {
            let mut patience = Patience::new(timeout).with_abort(&abort);
            let depth = match self.link.terms() {
                Some(terms) if terms.profile.intersects(crate::codec::Profiles::SHM) => 1,
                _ => depth as u64,
            };
            while more && sent - taken < depth {
                let Some(ask) = asks.next() else {
                    more = false;
                    break;
                };
                self.encode(|room| S::encode(&ask, room))?;
                let (session, request) = self.link.session_and_request()?;
                session.send_buffer(&Header::request(S::CODE, sent), request, &mut patience)?;
                sent += 1;
            }
            if taken == sent {
                break;
            }
            let (session, _) = self.link.session_and_request()?;
            let answer = session.recv_unchecked(&mut response, &mut patience)?;
            let expected = Header::request(S::CODE, answer.message_id);
            check_answer(&expected, &answer)?;
            taken += 1;
            // An id that nobody sent was refused by the session.
            take(answer.message_id as usize, S::decode_response(response.as_slice())?)?;
        }
        std::mem::swap(&mut response, &mut self.link.response);
        self.link.count_calls(taken);
        Ok(())
    }
}
