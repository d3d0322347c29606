//! `snapwire call`: one call and its answer.

use crate::answer::{Cgroups, FoundApps, FoundCgroups};
use crate::args::{CallArgs, CallOptions, Method};
use crate::failure::{Exit, Failure, at};
use crate::output::{Raw, json, line};
use crate::target::{config, connect, endpoint};
use serde::Serialize;
use snapwire::codec::{Limit, Pid};
use snapwire::{
    AppsLookup, CgroupsLookup, CgroupsSnapshot, Client, Endpoint, Error, Increment, Service,
    StringReverse,
};
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

/// Calls, and prints the answer.
pub(crate) fn call(args: &CallArgs) -> Result<Exit, Failure> {
    let endpoint = &endpoint(&args.service)?;
    match &args.method {
        Method::Increment { number, options } => {
            let (mut client, left) = client::<Increment>(endpoint, options)?;
            let answer = client.call_within(*number, left).map_err(at(endpoint))?;
            show(options, &answer, || line(&answer.to_string()))?;
        }
        Method::StringReverse { text, options } => {
            let (mut client, left) = client::<StringReverse>(endpoint, options)?;
            let answer = client.call_within(text.as_bytes(), left).map_err(at(endpoint))?;
            let answer = Raw::from(answer);
            show(options, &answer, || line(&answer.to_string()))?;
        }
        Method::CgroupsSnapshot { options } => {
            let (mut client, left) = client::<CgroupsSnapshot>(endpoint, options)?;
            let answer = client.call_within((), left).map_err(at(endpoint))?;
            let answer = Cgroups::of(&answer).map_err(Error::from).map_err(at(endpoint))?;
            show(options, &answer, || answer.print())?;
        }
        Method::CgroupsLookup { paths, options } => {
            let (mut client, left) = client::<CgroupsLookup>(endpoint, options)?;
            let paths: Vec<&[u8]> = paths.iter().map(|path| path.as_bytes()).collect();
            let answer = client.lookup_within(&paths, left).map_err(at(endpoint))?;
            let answer = FoundCgroups::of(&answer).map_err(Error::from).map_err(at(endpoint))?;
            show(options, &answer, || answer.print())?;
        }
        Method::AppsLookup { pids, options } => {
            let (mut client, left) = client::<AppsLookup>(endpoint, options)?;
            let pids: Vec<Pid> = pids.iter().copied().map(Pid).collect();
            let answer = client.lookup_within(&pids, left).map_err(at(endpoint))?;
            let answer = FoundApps::of(&answer).map_err(Error::from).map_err(at(endpoint))?;
            show(options, &answer, || answer.print())?;
        }
    }
    Ok(Exit::Done)
}

fn client<S: Service>(
    endpoint: &Endpoint,
    options: &CallOptions,
) -> Result<(Client<S>, Duration), Failure> {
    let limit = Limit { payload_bytes: 0, batch_items: 0 };
    connect(endpoint, &config(&options.reaching, limit))
}

fn show(
    options: &CallOptions,
    answer: &impl Serialize,
    print: impl FnOnce() -> Result<(), Failure>,
) -> Result<(), Failure> {
    if options.json { json(answer) } else { print() }
}
