//! What a worker's process and its threads do from the fork to their end.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

use belljar_scenario::{Policy, Workers};
use rustix::process::Signal;

use crate::hand::{Brief, Hand, Outcome, Refusal, Tried};
use crate::job::Job;
use crate::memory::{Memory, Slot, state, stop};
use crate::report::{self, Report};
use crate::sys;

thread_local! {
    static PANIC: RefCell<String> = const { RefCell::new(String::new()) };
}

/// The life of a process that was just forked: a worker, or all workers as threads.
pub(crate) fn live(brief: &Brief, memory: &Memory, job: &dyn Job, worker: Option<u32>) -> ! {
    std::panic::set_hook(Box::new(|panic| {
        PANIC.with(|text| *text.borrow_mut() = panic.to_string());
    }));
    // A group of its own, so that it is killed with all that it starts.
    let _ = rustix::process::setpgid(None, None);
    sys::interrupt_on(sys::NUDGE);
    sys::interrupt_on(sys::STORM);
    if let Some(index) = worker {
        work(brief, memory, job, index);
        sys::exit_now(0);
    }
    let name = brief.workers.process.as_deref().unwrap_or_default();
    let named = set_name(name);
    let threads = catch_unwind(AssertUnwindSafe(|| {
        std::thread::scope(|scope| {
            let start = |index| {
                named.as_ref().map_err(ToString::to_string)?;
                let body = move || work(brief, memory, job, index);
                let started = std::thread::Builder::new().spawn_scoped(scope, body);
                started.map(drop).map_err(|error| format!("cannot start a thread: {error}"))
            };
            let mut missing = Vec::new();
            for index in 0..brief.count {
                if let Err(text) = start(index) {
                    tell(memory, &memory.slots()[index as usize], state::NOT_STARTED);
                    missing.push(Report { index, text, ..Report::default() });
                }
            }
            missing.into_iter().for_each(|report| send(brief, memory, report));
        });
    }));
    sys::exit_now(i32::from(threads.is_err()));
}

/// The life of one worker, in a process or a thread of its own.
fn work(brief: &Brief, memory: &Memory, job: &dyn Job, index: u32) {
    let slot = &memory.slots()[index as usize];
    let words = |text| Report { index, text, ..Report::default() };
    let lived = catch_unwind(AssertUnwindSafe(|| {
        slot.tid.store(rustix::thread::gettid().as_raw_nonzero().get() as u32, Relaxed);
        let mut hand = match Hand::new(brief, memory, index)
            .tried(|| "open /proc/thread-self/schedstat".into())
            .and_then(|hand| set_up(brief).map(|()| hand))
        {
            Ok(hand) => hand,
            Err(error) => return (state::NOT_STARTED, words(error.to_string())),
        };
        tell(memory, slot, state::READY);
        while slot.gate.load(Acquire) == 0 {
            sys::futex_wait(&slot.gate, 0, None);
        }
        slot.state.store(state::RUNNING, Relaxed);
        hand.begin();
        let outcome = if hand.is_told_to_stop() { Ok(()) } else { job.work(&mut hand) };
        let was_told = hand.is_told_to_stop();
        let report = hand.end();
        match outcome {
            Ok(()) if was_told => (state::STOPPED, report),
            Ok(()) => (state::COMPLETED, report),
            Err(Refusal(text)) => (state::FAILED, Report { text, ..report }),
        }
    }));
    let (ended, report) = lived
        .unwrap_or_else(|_| (state::PANICKED, words(PANIC.with(|text| text.borrow().clone()))));
    tell(memory, slot, ended);
    send(brief, memory, report);
}

/// Reports, as soon as the crew takes reports.
fn send(brief: &Brief, memory: &Memory, report: Report) {
    let (index, word) = (report.index, &memory.board().stop);
    while word.load(Acquire) == 0 {
        sys::futex_wait(word, 0, None);
    }
    if word.load(Acquire) == stop::REPORT
        && let Err(error) = report::send(&brief.endpoint, report)
    {
        let comm = comm(&brief.workers);
        eprintln!("worker {index}, `{comm}`, cannot report how it ended: {error}");
    }
    let slot = &memory.slots()[index as usize];
    slot.is_through.store(true, Release);
    announce(memory);
}

/// Tells the crew how far this worker has come.
fn tell(memory: &Memory, slot: &Slot, now: u32) {
    slot.state.store(now, Release);
    announce(memory);
}

fn announce(memory: &Memory) {
    memory.board().news.fetch_add(1, Release);
    sys::futex_wake(&memory.board().news, 1);
}

fn set_name(name: &str) -> Outcome {
    let text = std::ffi::CString::new(name).tried(|| format!("take `{name}` for a name"))?;
    rustix::thread::set_name(&text).tried(|| format!("take `{name}` for a name"))
}

/// The name that the kernel knows the workers of a group by.
pub(crate) fn comm(workers: &Workers) -> String {
    let given = workers.comm.clone();
    given.unwrap_or_else(|| workers.work.name().to_lowercase()).chars().take(15).collect()
}

/// Makes the calling thread what the group declares.
fn set_up(brief: &Brief) -> Outcome {
    let workers = &brief.workers;
    set_name(&comm(workers))?;
    sys::set_memory_policy(&workers.memory)
        .tried(|| format!("set the memory policy {:?}", workers.memory))?;
    if workers.nice != 0 {
        rustix::process::setpriority_process(None, workers.nice)
            .tried(|| format!("set the nice value {}", workers.nice))?;
    }
    if workers.policy != Policy::Normal {
        sys::set_policy(workers.policy, workers.nice)
            .tried(|| format!("set the policy {:?}", workers.policy))?;
    }
    if let Some(gid) = workers.gid {
        let gid = rustix::process::Gid::from_raw(gid);
        rustix::thread::set_thread_groups(&[gid])
            .and_then(|()| rustix::thread::set_thread_res_gid(gid, gid, gid))
            .tried(|| format!("become group {gid}"))?;
    }
    if let Some(uid) = workers.uid {
        let uid = rustix::process::Uid::from_raw(uid);
        rustix::thread::set_thread_res_uid(uid, uid, uid).tried(|| format!("become user {uid}"))?;
    }
    if workers.process.is_none() {
        // A change of user clears this, so it comes last.
        rustix::process::set_parent_process_death_signal(Some(Signal::KILL))
            .tried(|| "ask to die with the crew".into())?;
    }
    Ok(())
}
