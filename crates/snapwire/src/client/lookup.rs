//! Look-ups of any number of keys, in as many calls as the session's limits make of them.

use super::Client;
use super::link::Outgoing;
use crate::codec::{
    AppsResponse, CgroupsResponse, Fault, Lookup, LookupRequest, LookupResponse, Malformed, Paths,
    Pid, Pids, Placed, lookup_parts,
};
use crate::error::Error;
use crate::patience::Patience;
use crate::service::{AppsLookup, CgroupsLookup, Service};
use std::time::Duration;

const ECHO: Malformed = Malformed { fault: Fault::BadLayout, what: "lookup response" };

impl Client<CgroupsLookup> {
    /// Looks up any number of paths. Those that are too long to be asked, and answers that fit no
    /// response, are [`CgroupStatus::OversizedItem`](crate::codec::CgroupStatus::OversizedItem).
    ///
    /// # Errors
    /// As for [`Client::call`], for any of the calls; [`Error::CallTooLarge`].
    pub fn lookup(&mut self, paths: &[&[u8]]) -> Result<CgroupsResponse<'_>, Error> {
        self.lookup_within(paths, self.timeout())
    }

    /// The same, with a time of its own for all of the calls. Zero is forever.
    ///
    /// # Errors
    /// As for [`Client::lookup`].
    pub fn lookup_within(
        &mut self,
        paths: &[&[u8]],
        timeout: Duration,
    ) -> Result<CgroupsResponse<'_>, Error> {
        self.stitch::<Paths>(paths, timeout)
    }
}

impl Client<AppsLookup> {
    /// Looks up any number of pids. Answers that fit no response are
    /// [`AppStatus::OversizedItem`](crate::codec::AppStatus::OversizedItem).
    ///
    /// # Errors
    /// As for [`Client::call`], for any of the calls; [`Error::CallTooLarge`].
    pub fn lookup(&mut self, pids: &[Pid]) -> Result<AppsResponse<'_>, Error> {
        self.lookup_within(pids, self.timeout())
    }

    /// The same, with a time of its own for all of the calls. Zero is forever.
    ///
    /// # Errors
    /// As for [`Client::lookup`].
    pub fn lookup_within(
        &mut self,
        pids: &[Pid],
        timeout: Duration,
    ) -> Result<AppsResponse<'_>, Error> {
        self.stitch::<Pids>(pids, timeout)
    }
}

impl<S: Service> Client<S> {
    /// The answers to all keys, in their order.
    fn stitch<K: Lookup>(
        &mut self,
        keys: &[K::Key<'_>],
        timeout: Duration,
    ) -> Result<LookupResponse<'_, K>, Error> {
        let max = self.link.config().lookup;
        let too_large = |what, found, limit| Err(Error::CallTooLarge { what, found, limit });
        if keys.len() > max.keys {
            return too_large("keys", keys.len(), max.keys);
        }
        let abort = self.abort_handle();
        let mut patience = Patience::new(timeout).with_abort(&abort);
        let mut output = std::mem::take(&mut self.stitched);
        lookup_parts::begin(&mut output, keys.len());
        let stitched = self.stitch_into::<K>(keys, &mut output, &mut patience);
        self.stitched = output;
        stitched?;
        match self.stitched.len() {
            length if length > max.bytes => too_large("bytes", length, max.bytes),
            _ => Ok(LookupResponse::decode(&self.stitched)?),
        }
    }

    fn stitch_into<K: Lookup>(
        &mut self,
        keys: &[K::Key<'_>],
        output: &mut Vec<u8>,
        patience: &mut Patience<'_>,
    ) -> Result<(), Error> {
        let max = self.link.config().lookup;
        let (mut done, mut calls, mut generation) = (0, 0, None);
        // Fewer at a time, when the server could not answer so many.
        let mut at_most = usize::MAX;
        loop {
            let rest = &keys[done..];
            let fitting = self.fitting::<K>(rest).min(at_most);
            if fitting == 0
                && let Some(item) = rest.first().and_then(|key| self.local_answer::<K>(*key))
            {
                lookup_parts::append(output, done, &item);
                done += 1;
                if done == keys.len() {
                    break;
                }
                continue;
            }
            // A key that does not fit is asked all the same: the limit may grow.
            let asked = &rest[..fitting.max(1).min(rest.len())];
            calls += 1;
            if calls > max.calls {
                let (found, limit) = (calls, max.calls);
                return Err(Error::CallTooLarge { what: "calls", found, limit });
            }
            match self.ask::<K>(asked, patience) {
                Ok(()) => {}
                Err(error) if error.is_overflow() && asked.len() > 1 => {
                    at_most = asked.len() / 2;
                    self.link.refresh(patience)?;
                    continue;
                }
                Err(error) => return Err(error),
            }
            let response = LookupResponse::<K>::decode(self.link.response.as_slice())?;
            if *generation.get_or_insert(response.generation()) != response.generation() {
                return Err(ECHO.into());
            }
            let mut exceeded = false;
            let mut taken = 0;
            for (index, key) in asked.iter().enumerate() {
                match K::placed(&response.item(index)?, *key).ok_or(ECHO)? {
                    Placed::Exceeded => exceeded = true,
                    _ if exceeded => return Err(ECHO.into()),
                    // It may be that only the company did not fit.
                    Placed::Oversized if index == 0 && asked.len() > 1 => {
                        at_most = 1;
                        break;
                    }
                    Placed::Whole | Placed::Oversized => {
                        lookup_parts::append(output, done + index, response.raw(index)?);
                        taken += 1;
                    }
                }
            }
            if exceeded && taken == 0 {
                if asked.len() == 1 {
                    return Err(Error::Protocol("a response has no room for its first item"));
                }
                at_most = asked.len() / 2;
            } else if taken > 0 {
                at_most = usize::MAX;
            }
            done += taken;
            if output.len() > max.bytes {
                let (found, limit) = (output.len(), max.bytes);
                return Err(Error::CallTooLarge { what: "bytes", found, limit });
            }
            if done == keys.len() {
                break;
            }
        }
        lookup_parts::end(output, keys.len(), generation.unwrap_or(0));
        Ok(())
    }

    /// How many of the keys fit a request, and may be answered by placeholders at least.
    fn fitting<K: Lookup>(&self, keys: &[K::Key<'_>]) -> usize {
        let Some(terms) = self.link.terms() else {
            return keys.len();
        };
        let mut request = lookup_parts::HEADER_LEN;
        let mut response = lookup_parts::HEADER_LEN;
        let (request_max, response_max) =
            (terms.request.payload_bytes as usize, terms.response.payload_bytes as usize);
        keys.iter()
            .take_while(|key| {
                request += lookup_parts::entry_and(K::key_len(**key));
                response += lookup_parts::entry_and(K::placeholder_len(**key));
                request <= request_max && response <= response_max
            })
            .count()
    }

    /// The answer to a key that no request of this client could ever hold.
    fn local_answer<K: Lookup>(&self, key: K::Key<'_>) -> Option<Vec<u8>> {
        let length = lookup_parts::HEADER_LEN + lookup_parts::entry_and(K::key_len(key));
        if !K::HAS_LONG_KEYS || length <= self.link.request_max() {
            return None;
        }
        let mut item = vec![0; K::placeholder_len(key)];
        K::write_placeholder(key, Placed::Oversized, &mut item);
        Some(item)
    }

    /// One call. The answer is in the link's buffer.
    fn ask<K: Lookup>(
        &mut self,
        keys: &[K::Key<'_>],
        patience: &mut Patience<'_>,
    ) -> Result<(), Error> {
        self.encode(|room| LookupRequest::<K>::encode(keys, room))?;
        let outgoing = Outgoing { code: S::CODE, batch: None };
        self.link.call(outgoing, patience, |payload| {
            let response = LookupResponse::<K>::decode(payload)?;
            if response.len() != keys.len() {
                return Err(Malformed { fault: Fault::BadItemCount, ..ECHO }.into());
            }
            Ok(())
        })
    }
}
