//! What is wrong with a single thing, wherever it is used.

use crate::{Cgroup, Check, Hold, MemoryFlags, MemoryPolicy, Output, Payload, Workers};
use belljar_topology::{CpuSet, word};
use std::time::Duration;

/// A word that is wrong, and a sentence that says why and what would be right.
pub(crate) struct Fault {
    pub(crate) word: String,
    pub(crate) message: String,
}

pub(crate) fn fault(word: impl ToString, message: String) -> Fault {
    Fault { word: word.to_string(), message }
}

/// The longest name that the kernel keeps for a task (`TASK_COMM_LEN` less its end).
const COMM_BYTES_MAX: usize = 15;
/// What a cgroup's path may have; the kernel takes 255 for each part.
const NAME_BYTES_MAX: usize = 128;

/// Faults of a path of cgroups.
pub(crate) fn name(name: &str) -> Option<Fault> {
    let odd = |c: char| !(c.is_ascii_alphanumeric() || "-_".contains(c));
    let begins_well = |part: &str| part.starts_with(|c: char| c.is_ascii_alphanumeric());
    let wrong = |part: &str| !begins_well(part) || part.contains(odd);
    (name.len() > NAME_BYTES_MAX || name.split('/').any(wrong)).then(|| {
        fault(
            name,
            format!(
                "`{}` cannot be a cgroup's name: use letters, digits, `-` and `_`, a letter \
                 or digit first, and `/` between parent and child, at most {NAME_BYTES_MAX} in all",
                word::clip(name)
            ),
        )
    })
}

pub(crate) fn weight(word: &str, weight: u32) -> Option<Fault> {
    let message = || format!("{word} is {weight}: give 1 to 10000");
    (!(1..=10_000).contains(&weight)).then(|| fault(word, message()))
}

pub(crate) fn quota(percent: u32) -> Option<Fault> {
    let message = "quota_pct is 0: give at least 1, or no quota".to_owned();
    (percent == 0).then(|| fault("quota_pct", message))
}

pub(crate) fn cgroup(cgroup: &Cgroup) -> Vec<Fault> {
    let mut faults = Vec::new();
    faults.extend(cgroup.weight.and_then(|value| weight("weight", value)));
    faults.extend(cgroup.io_weight.and_then(|value| weight("io_weight", value)));
    faults.extend(cgroup.quota_pct.and_then(quota));
    let most = cgroup.memory_max_bytes.unwrap_or(u64::MAX);
    for (word, bytes, least) in [
        ("memory_max_bytes", cgroup.memory_max_bytes, 4096),
        ("memory_high_bytes", cgroup.memory_high_bytes, 4096),
        ("memory_low_bytes", cgroup.memory_low_bytes, 0),
    ] {
        let Some(bytes) = bytes else { continue };
        if bytes < least {
            faults.push(fault(word, format!("{word} is {bytes}: give at least a page, {least}")));
        } else if bytes > most {
            let message = format!("{word} is {bytes}, above memory_max_bytes: give at most {most}");
            faults.push(fault(word, message));
        }
    }
    faults
}

fn comm(what: &str, comm: &str) -> Option<Fault> {
    let message = || {
        let length = comm.len();
        let shown = word::clip(comm);
        format!("{what} `{shown}` has {length} bytes: give 1 to {COMM_BYTES_MAX}, none of them 0")
    };
    let right = (1..=COMM_BYTES_MAX).contains(&comm.len()) && !comm.contains('\0');
    (!right).then(|| fault(comm, message()))
}

pub(crate) fn workers(workers: &Workers) -> Vec<Fault> {
    let mut faults = Vec::new();
    let work = workers.work.name();
    faults.extend(workers.work.validate().err().map(|e| fault(e.name, e.to_string())));
    faults.extend(workers.policy.validate().err().map(|e| fault(e.policy, e.to_string())));
    faults.extend(workers.comm.as_deref().and_then(|name| comm("comm", name)));
    faults.extend(workers.process.as_deref().and_then(|name| comm("process", name)));
    if !(-20..=19).contains(&workers.nice) {
        faults.push(fault(workers.nice, format!("nice is {}: give -20 to 19", workers.nice)));
    }
    if workers.process.is_some() && workers.work.needs_processes() {
        let message = format!("threads cannot do `{work}`: take `process` away");
        faults.push(fault(work, message));
    }
    faults
}

/// Faults of a memory policy where these nodes may be used.
pub(crate) fn memory(policy: &MemoryPolicy, usable: &CpuSet) -> Vec<Fault> {
    let mut faults = Vec::new();
    let (name, nodes, flags) = (policy.name(), policy.nodes(), policy.flags());
    if flags == MemoryFlags::NumaBalancing && !matches!(policy, MemoryPolicy::Bind { .. }) {
        let message =
            format!("numa-balancing does not go with `{name}`: it goes with `bind` alone");
        faults.push(fault("numa-balancing", message));
    }
    let Some(nodes) = nodes else { return faults };
    if nodes.is_empty() {
        let message = format!("memory policy `{name}` has no node: give some of {usable}");
        faults.push(fault(name, message));
    }
    if flags != MemoryFlags::RelativeNodes {
        let outside = nodes.difference(usable);
        if !outside.is_empty() {
            let message = format!(
                "memory policy `{name}` has nodes {outside}, which are not usable here: give some \
                 of {usable}"
            );
            faults.push(fault(outside, message));
        }
    }
    faults
}

pub(crate) fn payload(payload: &Payload) -> Vec<Fault> {
    let mut faults = Vec::new();
    for (what, text) in [("name", &payload.name), ("program", &payload.program)] {
        if text.is_empty() {
            faults.push(fault(what, format!("its {what} is empty: give one")));
        }
    }
    if payload.timeout.is_some_and(|timeout| timeout.0 == Duration::ZERO) {
        faults.push(fault("timeout", "its timeout is 0: give more, or none".into()));
    }
    let checked = payload.checks.iter().filter_map(|check| match check {
        Check::Min { path, .. }
        | Check::Max { path, .. }
        | Check::Range { path, .. }
        | Check::Exists { path } => Some(path),
        Check::ExitCode { .. } => None,
    });
    for path in checked.chain(payload.metrics.iter().map(|metric| &metric.path)) {
        if payload.output != Output::Json {
            let message = format!("`{path}` is never read: let its output be JSON");
            faults.push(fault(path, message));
        }
    }
    for check in &payload.checks {
        if let Check::Range { path, least, most } = check
            && !matches!(
                least.partial_cmp(most),
                Some(std::cmp::Ordering::Less | std::cmp::Ordering::Equal)
            )
        {
            let message = format!("no `{path}` is between {least} and {most}: give least <= most");
            faults.push(fault(path, message));
        }
    }
    faults
}

pub(crate) fn hold(hold: &Hold, duration: Duration) -> Option<Fault> {
    if let Hold::Fraction { of } | Hold::Loop { of, .. } = *hold
        && !(of > 0.0 && of <= 1.0)
    {
        return Some(fault(
            of,
            format!("fraction {of} is out of range: give more than 0, at most 1"),
        ));
    }
    if let Hold::Loop { interval, .. } = *hold {
        let time = hold.time(duration);
        if interval == Duration::ZERO || interval > time {
            let message = format!(
                "the loop's interval is {interval:?} in a hold of {time:?}: give more than 0, at most \
                 {time:?}"
            );
            return Some(fault(format!("{interval:?}"), message));
        }
    }
    None
}
