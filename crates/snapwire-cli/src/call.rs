//! `snapwire call`: one call and its answer.

use crate::answer::{Cgroups, FoundApps, FoundCgroups};
use crate::args::{CallArgs, CallOptions, Method};
use crate::failure::{Exit, Failure};
use crate::output::{json, line, printable};
use crate::target::{config, connect};
use serde::Serialize;
use snapwire::codec::{Limit, Pid};
use snapwire::{
    AppsLookup, CgroupsLookup, CgroupsSnapshot, Client, Error, Increment, Service, StringReverse,
};

/// Calls, and prints the answer.
pub(crate) fn call(args: &CallArgs) -> Result<Exit, Failure> {
    match &args.method {
        Method::Increment { number, options } => {
            let answer = client::<Increment>(args, options)?.call(*number)?;
            show(options, &answer, || line(&answer.to_string()))?;
        }
        Method::StringReverse { text, options } => {
            let mut client = client::<StringReverse>(args, options)?;
            let answer = printable(client.call(text.as_bytes())?);
            show(options, &answer, || line(&answer))?;
        }
        Method::CgroupsSnapshot { options } => {
            let mut client = client::<CgroupsSnapshot>(args, options)?;
            let answer = Cgroups::of(&client.call(())?).map_err(Error::from)?;
            show(options, &answer, || answer.print())?;
        }
        Method::CgroupsLookup { paths, options } => {
            let mut client = client::<CgroupsLookup>(args, options)?;
            let paths: Vec<&[u8]> = paths.iter().map(String::as_bytes).collect();
            let answer = FoundCgroups::of(&client.lookup(&paths)?).map_err(Error::from)?;
            show(options, &answer, || answer.print())?;
        }
        Method::AppsLookup { pids, options } => {
            let mut client = client::<AppsLookup>(args, options)?;
            let pids: Vec<Pid> = pids.iter().copied().map(Pid).collect();
            let answer = FoundApps::of(&client.lookup(&pids)?).map_err(Error::from)?;
            show(options, &answer, || answer.print())?;
        }
    }
    Ok(Exit::Done)
}

fn client<S: Service>(args: &CallArgs, options: &CallOptions) -> Result<Client<S>, Failure> {
    let limit = Limit { payload_bytes: 0, batch_items: 0 };
    connect(&args.service, &config(&options.reaching, limit))
}

fn show(
    options: &CallOptions,
    answer: &impl Serialize,
    print: impl FnOnce() -> Result<(), Failure>,
) -> Result<(), Failure> {
    if options.json { json(answer) } else { print() }
}
