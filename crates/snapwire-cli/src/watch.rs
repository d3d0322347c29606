//! `snapwire watch`: what changes from snapshot to snapshot.

use crate::answer::{Cgroup, Cgroups};
use crate::args::WatchArgs;
use crate::failure::{Exit, Failure, at};
use crate::output::{Raw, json_line, line};
use crate::signals;
use crate::target::{config, endpoint, refresh};
use serde::Serialize;
use snapwire::codec::{Limit, Status};
use snapwire::{CgroupsSnapshot, Client, ClientConfig, Error};
use std::collections::BTreeMap;
use std::io::{self, Write};
use std::time::Instant;

/// One thing that happened.
#[derive(Debug, Serialize)]
#[serde(tag = "event", rename_all = "lowercase")]
enum Event<'a> {
    /// The first snapshot, or the first of another generation.
    Snapshot { generation: u64, cgroups: usize },
    /// A cgroup is there that was not.
    Added(&'a Cgroup),
    /// A cgroup is not there any more.
    Removed(&'a Cgroup),
    /// A cgroup is another one.
    Changed(&'a Cgroup),
    /// There is no snapshot to be had.
    Lost {
        reason: &'a str,
        /// What to do.
        #[serde(skip_serializing_if = "Option::is_none")]
        advice: Option<&'a str>,
    },
}

impl Event<'_> {
    fn print(&self, as_json: bool) -> Result<(), Failure> {
        if as_json {
            return json_line(self);
        }
        let of = |cgroup: &Cgroup| {
            let Cgroup { hash, name, path, enabled, options } = cgroup;
            format!("{hash:08x} {name} {path} enabled={enabled} options={options:#x}")
        };
        line(&match self {
            Event::Snapshot { generation, cgroups } => {
                format!("= {cgroups} cgroups, generation {generation}")
            }
            Event::Added(cgroup) => format!("+ {}", of(cgroup)),
            Event::Removed(cgroup) => format!("- {}", of(cgroup)),
            Event::Changed(cgroup) => format!("~ {}", of(cgroup)),
            Event::Lost { reason, advice: None } => format!("! {reason}"),
            Event::Lost { reason, advice: Some(advice) } => format!("! {reason} ({advice})"),
        })?;
        // A line is news: it is not kept back for those that follow.
        Ok(io::stdout().lock().flush()?)
    }
}

/// Cgroups by what makes them the same one: hash and name.
type Known = BTreeMap<(u32, Raw), Cgroup>;

/// Watches until interrupted, or for a number of snapshots.
pub(crate) fn watch(args: &WatchArgs) -> Result<Exit, Failure> {
    let limit = Limit { payload_bytes: 0, batch_items: 0 };
    let endpoint = endpoint(&args.service)?;
    let config = config(&args.reaching, limit);
    let mut client = Client::new(&endpoint, &config);
    let abort = client.abort_handle();
    let interrupted = signals::interruption(signals::catch()?, abort.clone())?;
    let mut known: Option<(u64, Known)> = None;
    let mut lost: Option<String> = None;
    let mut left = args.count;
    while left != Some(0) {
        let began = Instant::now();
        match take(&mut client, &config) {
            Ok(cgroups) => {
                lost = None;
                known = Some(compare(known, cgroups, args.json)?);
                left = left.map(|left| left - 1);
            }
            Err(_) if abort.is_aborted() => break,
            Err(error) if is_final(&error) => return Err(at(&endpoint)(error)),
            Err(error) => {
                // Said once: it may go on for long.
                let (reason, advice) = at(&endpoint)(error).into_parts();
                if lost.as_ref() != Some(&reason) {
                    Event::Lost { reason: &reason, advice: advice.as_deref() }.print(args.json)?;
                }
                lost = Some(reason);
            }
        }
        if left == Some(0) {
            break;
        }
        let rest = args.interval.saturating_sub(began.elapsed());
        if interrupted.recv_timeout(rest).is_ok() {
            break;
        }
    }
    Ok(Exit::Done)
}

/// Whether trying again would not help.
fn is_final(error: &Error) -> bool {
    matches!(
        error,
        Error::AuthFailed
            | Error::Incompatible
            | Error::NoProfile
            | Error::ProposalTooLarge
            | Error::Refused(Status::UNSUPPORTED)
    )
}

fn take(client: &mut Client<CgroupsSnapshot>, config: &ClientConfig) -> Result<Cgroups, Error> {
    let left = refresh(client, config)?;
    Ok(Cgroups::of(&client.call_within((), left)?)?)
}

/// Says what is new, and keeps it.
fn compare(
    known: Option<(u64, Known)>,
    cgroups: Cgroups,
    as_json: bool,
) -> Result<(u64, Known), Failure> {
    let generation = cgroups.generation;
    let key = |cgroup: &Cgroup| (cgroup.hash, cgroup.name.clone());
    let now: Known = cgroups.cgroups.into_iter().map(|cgroup| (key(&cgroup), cgroup)).collect();
    let before = match known {
        Some((before, known)) if before == generation && known == now => {
            return Ok((generation, known));
        }
        other => other.map(|(_, known)| known).unwrap_or_default(),
    };
    Event::Snapshot { generation, cgroups: now.len() }.print(as_json)?;
    for (key, cgroup) in &before {
        if !now.contains_key(key) {
            Event::Removed(cgroup).print(as_json)?;
        }
    }
    for (key, cgroup) in &now {
        match before.get(key) {
            None => Event::Added(cgroup).print(as_json)?,
            Some(other) if other != cgroup => Event::Changed(cgroup).print(as_json)?,
            Some(_) => {}
        }
    }
    Ok((generation, now))
}
