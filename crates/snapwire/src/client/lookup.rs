//! Look-ups of any number of keys, in as many calls as the session's limits make of them.

use super::Client;
use super::link::Outgoing;
use crate::codec::{
    AppStatus, AppsRequest, AppsResponse, CgroupStatus, CgroupsRequest, CgroupsResponse, Fault,
    Malformed, Pid, lookup_parts,
};
use crate::error::Error;
use crate::patience::Patience;
use crate::service::{AppsLookup, CgroupsLookup, Service};

/// What one item of a response means for the whole call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Item {
    /// It is an answer.
    Whole,
    /// The response was full.
    Exceeded,
    /// The server says that it fits no response.
    Oversized,
}

/// What the two kinds of look-up do differently.
trait Keys: Service {
    type Key<'a>: Copy;

    /// What a key adds to a request: its entry and itself, rounded up.
    fn request_len(key: Self::Key<'_>) -> usize;
    /// The same of the smallest answer to it.
    fn response_len(key: Self::Key<'_>) -> usize;
    fn encode_keys(
        keys: &[Self::Key<'_>],
        payload: &mut [u8],
    ) -> Result<usize, crate::codec::BuildError>;
    /// Checks an item, and that it is that of the key.
    fn check(
        response: &Self::Response<'_>,
        index: usize,
        key: Self::Key<'_>,
    ) -> Result<Item, Malformed>;
    /// The bytes of an item.
    fn raw<'s>(response: &'s Self::Response<'_>, index: usize) -> Result<&'s [u8], Malformed>;
    fn len(response: &Self::Response<'_>) -> usize;
    fn generation(response: &Self::Response<'_>) -> u64;
    /// The answer to a key that is too long to be asked.
    fn too_long(key: Self::Key<'_>) -> Option<Vec<u8>>;
}

const ECHO: Malformed = Malformed { fault: Fault::BadLayout, what: "lookup response" };

impl Keys for CgroupsLookup {
    type Key<'a> = &'a [u8];

    fn request_len(path: &[u8]) -> usize {
        lookup_parts::entry_and(path.len() + 1)
    }

    fn response_len(path: &[u8]) -> usize {
        lookup_parts::entry_and(lookup_parts::cgroup_placeholder_len(path))
    }

    fn encode_keys(paths: &[&[u8]], payload: &mut [u8]) -> Result<usize, crate::codec::BuildError> {
        CgroupsRequest::encode(paths, payload)
    }

    fn check(response: &CgroupsResponse<'_>, index: usize, path: &[u8]) -> Result<Item, Malformed> {
        let item = response.item(index)?;
        if item.path != path {
            return Err(ECHO);
        }
        Ok(match item.status {
            CgroupStatus::PayloadExceeded => Item::Exceeded,
            CgroupStatus::OversizedItem => Item::Oversized,
            _ => Item::Whole,
        })
    }

    fn raw<'s>(response: &'s CgroupsResponse<'_>, index: usize) -> Result<&'s [u8], Malformed> {
        response.raw(index)
    }

    fn len(response: &CgroupsResponse<'_>) -> usize {
        response.len()
    }

    fn generation(response: &CgroupsResponse<'_>) -> u64 {
        response.generation()
    }

    fn too_long(path: &[u8]) -> Option<Vec<u8>> {
        Some(lookup_parts::oversized_cgroup(path))
    }
}

impl Keys for AppsLookup {
    type Key<'a> = Pid;

    fn request_len(_: Pid) -> usize {
        lookup_parts::entry_and(8)
    }

    fn response_len(_: Pid) -> usize {
        lookup_parts::entry_and(lookup_parts::APP_PLACEHOLDER_LEN)
    }

    fn encode_keys(pids: &[Pid], payload: &mut [u8]) -> Result<usize, crate::codec::BuildError> {
        AppsRequest::encode(pids, payload)
    }

    fn check(response: &AppsResponse<'_>, index: usize, pid: Pid) -> Result<Item, Malformed> {
        let item = response.item(index)?;
        if item.pid != pid {
            return Err(ECHO);
        }
        Ok(match item.status {
            AppStatus::PayloadExceeded => Item::Exceeded,
            AppStatus::OversizedItem => Item::Oversized,
            _ => Item::Whole,
        })
    }

    fn raw<'s>(response: &'s AppsResponse<'_>, index: usize) -> Result<&'s [u8], Malformed> {
        response.raw(index)
    }

    fn len(response: &AppsResponse<'_>) -> usize {
        response.len()
    }

    fn generation(response: &AppsResponse<'_>) -> u64 {
        response.generation()
    }

    fn too_long(_: Pid) -> Option<Vec<u8>> {
        None
    }
}

impl Client<CgroupsLookup> {
    /// Looks up any number of paths. Those that are too long to be asked, and answers that fit no
    /// response, are [`CgroupStatus::OversizedItem`].
    ///
    /// # Errors
    /// As for [`Client::call`], for any of the calls; [`Error::CallTooLarge`].
    pub fn lookup(&mut self, paths: &[&[u8]]) -> Result<CgroupsResponse<'_>, Error> {
        self.stitch(paths)?;
        Ok(CgroupsResponse::decode(&self.stitched)?)
    }
}

impl Client<AppsLookup> {
    /// Looks up any number of pids. Answers that fit no response are
    /// [`AppStatus::OversizedItem`].
    ///
    /// # Errors
    /// As for [`Client::call`], for any of the calls; [`Error::CallTooLarge`].
    pub fn lookup(&mut self, pids: &[Pid]) -> Result<AppsResponse<'_>, Error> {
        self.stitch(pids)?;
        Ok(AppsResponse::decode(&self.stitched)?)
    }
}

#[expect(private_bounds, reason = "only the two kinds of look-up have these, and nobody else")]
impl<S: Keys> Client<S> {
    /// Leaves the answers to all keys in `stitched`, in their order.
    fn stitch(&mut self, keys: &[S::Key<'_>]) -> Result<(), Error> {
        let max = self.link.config().lookup;
        let too_large = |what, found, limit| Err(Error::CallTooLarge { what, found, limit });
        if keys.len() > max.keys {
            return too_large("keys", keys.len(), max.keys);
        }
        let abort = self.abort_handle();
        let mut patience = Patience::new(self.link.config().timeout).with_abort(&abort);
        let mut output = std::mem::take(&mut self.stitched);
        lookup_parts::begin(&mut output, keys.len());
        let stitched = self.stitch_into(keys, &mut output, &mut patience);
        self.stitched = output;
        stitched?;
        match self.stitched.len() {
            length if length > max.bytes => too_large("bytes", length, max.bytes),
            _ => Ok(()),
        }
    }

    fn stitch_into(
        &mut self,
        keys: &[S::Key<'_>],
        output: &mut Vec<u8>,
        patience: &mut Patience<'_>,
    ) -> Result<(), Error> {
        let max = self.link.config().lookup;
        let (mut done, mut calls, mut generation) = (0, 0, None);
        // Fewer at a time, when the server could not answer so many.
        let mut at_most = usize::MAX;
        loop {
            let rest = &keys[done..];
            let fitting = self.fitting(rest).min(at_most);
            if fitting == 0
                && let Some(item) = rest.first().and_then(|key| self.local_answer(*key))
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
            match self.ask(asked, patience) {
                Ok(()) => {}
                Err(error) if error.is_overflow() && asked.len() > 1 => {
                    at_most = asked.len() / 2;
                    self.link.refresh();
                    continue;
                }
                Err(error) => return Err(error),
            }
            let response = S::decode_again(self.link.response.as_slice())?;
            if *generation.get_or_insert(S::generation(&response)) != S::generation(&response) {
                return Err(ECHO.into());
            }
            let mut exceeded = false;
            let mut taken = 0;
            for (index, key) in asked.iter().enumerate() {
                match S::check(&response, index, *key)? {
                    Item::Exceeded => exceeded = true,
                    _ if exceeded => return Err(ECHO.into()),
                    // It may be that only the company did not fit.
                    Item::Oversized if index == 0 && asked.len() > 1 => {
                        at_most = 1;
                        break;
                    }
                    Item::Whole | Item::Oversized => {
                        lookup_parts::append(output, done + index, S::raw(&response, index)?);
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
    fn fitting(&self, keys: &[S::Key<'_>]) -> usize {
        let Some(terms) = self.link.terms() else {
            return keys.len();
        };
        let mut request = lookup_parts::HEADER_LEN;
        let mut response = lookup_parts::HEADER_LEN;
        let (request_max, response_max) =
            (terms.request.payload_bytes as usize, terms.response.payload_bytes as usize);
        keys.iter()
            .take_while(|key| {
                request += S::request_len(**key);
                response += S::response_len(**key);
                request <= request_max && response <= response_max
            })
            .count()
    }

    /// The answer to a key that no request of this client could ever hold.
    fn local_answer(&self, key: S::Key<'_>) -> Option<Vec<u8>> {
        let length = lookup_parts::HEADER_LEN + S::request_len(key);
        if length <= self.link.request_max() { None } else { S::too_long(key) }
    }

    /// One call. The answer is in the link's buffer.
    fn ask(&mut self, keys: &[S::Key<'_>], patience: &mut Patience<'_>) -> Result<(), Error> {
        self.encode(|room| S::encode_keys(keys, room))?;
        let outgoing = Outgoing { code: S::CODE, batch: None };
        self.link.call(outgoing, patience, |payload| {
            let response = S::decode_response(payload)?;
            if S::len(&response) != keys.len() {
                return Err(Malformed { fault: Fault::BadItemCount, ..ECHO }.into());
            }
            Ok(())
        })
    }
}
