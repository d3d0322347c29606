//! `snapwire watch`: what changes from snapshot to snapshot.

use crate::answer::{Cgroup, Cgroups};
use crate::args::WatchArgs;
use crate::failure::{Exit, Failure};
use crate::output::{json_line, line};
use crate::target::{config, endpoint};
use serde::Serialize;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use snapwire::codec::Limit;
use snapwire::{AbortHandle, CgroupsSnapshot, Client, Error, State};
use std::collections::BTreeMap;
use std::io::{self, Write};
use std::sync::mpsc::{self, Receiver};
use std::thread;
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
    Lost { reason: String },
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
            Event::Lost { reason } => format!("! {reason}"),
        })?;
        // A line is news: it is not kept back for those that follow.
        Ok(io::stdout().lock().flush()?)
    }
}

/// Cgroups by what makes them the same one: hash and name.
type Known = BTreeMap<(u32, String), Cgroup>;

/// Watches until interrupted, or for a number of snapshots.
pub(crate) fn watch(args: &WatchArgs) -> Result<Exit, Failure> {
    let limit = Limit { payload_bytes: 0, batch_items: 0 };
    let endpoint = endpoint(&args.service)?;
    let mut client = Client::new(&endpoint, &config(&args.reaching, limit));
    let interrupted = interruption(client.abort_handle())?;
    let mut known: Option<(u64, Known)> = None;
    let mut lost: Option<String> = None;
    let mut left = args.count;
    while left != Some(0) {
        let began = Instant::now();
        match take(&mut client) {
            Ok(cgroups) => {
                lost = None;
                known = Some(compare(known, cgroups, args.json)?);
                left = left.map(|left| left - 1);
            }
            Err(Error::Aborted) => break,
            Err(error) if is_final(client.state()) => return Err(error.into()),
            Err(error) => {
                // Said once: it may go on for long.
                let reason = error.to_string();
                if lost.as_ref() != Some(&reason) {
                    Event::Lost { reason: reason.clone() }.print(args.json)?;
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
fn is_final(state: State) -> bool {
    matches!(state, State::AuthFailed | State::Incompatible)
}

fn take(client: &mut Client<CgroupsSnapshot>) -> Result<Cgroups, Error> {
    client.refresh();
    match client.state() {
        State::AuthFailed => Err(Error::AuthFailed),
        State::Incompatible => Err(Error::Incompatible),
        _ => Ok(Cgroups::of(&client.call(())?)?),
    }
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

/// Gets a message when somebody wants the command to end, and calls off what is waited for.
fn interruption(abort: AbortHandle) -> Result<Receiver<()>, Failure> {
    let failed =
        |error: io::Error| Failure::new(Exit::Failed, format!("cannot wait for signals: {error}"));
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP]).map_err(failed)?;
    let (sender, receiver) = mpsc::channel();
    let wait = move || {
        for _ in &mut signals {
            abort.abort();
            if sender.send(()).is_err() {
                return;
            }
        }
    };
    thread::Builder::new().name("signals".into()).spawn(wait).map_err(failed)?;
    Ok(receiver)
}
