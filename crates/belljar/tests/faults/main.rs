//! What becomes of tests that misbehave: each ends in a record that says what happened,
//! and the host stays as it was.
//!
//! The bodies are in `misbehaving.rs`. They run on real machines, from the host's side
//! of this crate, so that the record can be looked at.

mod misbehaving;
mod playing;
mod support;

use belljar::Spec;
use belljar::host::Options;
use belljar_guest::channel::{AGENT_LOG, Code, PROCESS_LOG};
use belljar_record::{Outcome, Reason, Record};
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use support::{again, binary, line_of, open, qemus, reason, run, run_on, spec, spec_within};

const SOURCE: &str = "crates/belljar/tests/faults/misbehaving.rs";

#[test]
fn an_assertion_is_told_with_its_place() {
    let Reason::Assertion { message, at: Some(at) } = reason(&spec("asserts_in_vain")) else {
        panic!("not an assertion");
    };
    assert!(message.contains("arithmetic is off") && message.contains("right: 3"), "{message}");
    assert_eq!((at.file.as_str(), at.line), (SOURCE, line_of("arithmetic is off")));
}

#[test]
fn a_panic_is_told_with_its_place() {
    let Reason::Panic { message, at: Some(at) } = reason(&spec("panics")) else {
        panic!("not a panic");
    };
    assert_eq!(message, "widget 7 is gone");
    assert_eq!((at.file.as_str(), at.line), (SOURCE, line_of("panic!(\"widget {widget}")));
}

#[test]
fn the_panic_of_the_body_counts() {
    let reason = reason(&spec("panics_and_so_does_its_thread"));
    assert!(
        matches!(&reason, Reason::Panic { message, .. } if message == "the first of two"),
        "{reason}"
    );
}

#[test]
fn an_error_is_told_with_its_causes_and_its_place() {
    let Reason::Error { message, chain } = reason(&spec("returns_an_error")) else {
        panic!("not an error");
    };
    assert_eq!(message, "the configuration is unusable");
    assert_eq!(chain[0], "No such file or directory (os error 2)");
    let place = format!("at {SOURCE}:{}:", line_of("map_err(Outer)?"));
    assert!(chain[1].starts_with(&place), "{chain:?}");
}

#[test]
fn a_process_that_goes_before_its_time_fails() {
    assert_eq!(reason(&spec("exits")), Reason::Exited { code: 7 });
    assert_eq!(reason(&spec("exits_as_if_all_were_well")), Reason::Exited { code: 0 });
    assert_eq!(reason(&spec("aborts")), Reason::Signaled { signal: 6 });
    assert_eq!(reason(&spec("follows_a_wild_pointer")), Reason::Signaled { signal: 11 });
}

#[test]
fn a_busy_body_meets_its_time_limit() {
    let spec = spec_within("spins", Duration::from_millis(300));
    assert_eq!(reason(&spec), Reason::Timeout { limit_ms: 300 });
}

#[test]
fn a_sleeping_body_meets_its_time_limit_and_its_threads_are_named() {
    let finished = run(&spec_within("sleeps_on_two_threads", Duration::from_millis(300)));
    assert_eq!(finished.record.reason, Reason::Timeout { limit_ms: 300 });
    let notes = finished.record.notes.join("\n");
    assert!(notes.contains("the dozer") && notes.contains("nanosleep"), "{notes}");
}

#[test]
fn a_body_that_closes_every_descriptor_meets_its_time_limit() {
    let spec = spec_within("closes_every_descriptor", Duration::from_millis(300));
    assert_eq!(reason(&spec), Reason::Timeout { limit_ms: 300 });
}

#[test]
fn a_kernel_panic_is_told_with_the_console() {
    let finished = run(&spec("panics_the_kernel"));
    let reason = &finished.record.reason;
    assert!(
        matches!(reason, Reason::KernelPanic { message } if message.contains("sysrq triggered crash")),
        "{reason}"
    );
    let console = &finished.record.console.text;
    assert!(console.contains("Kernel panic - not syncing: sysrq triggered crash"), "{console}");
}

/// A fault of QEMU's threads: once more, and the record says so. In `det` there is one thread.
#[test]
fn a_stale_breakpoint_is_tried_again() {
    let spec = spec("falls_over_a_stale_breakpoint");
    for (mode, is_tried_again) in [("tcg", true), ("det", false)] {
        let finished = run(&Spec { mode: Some(mode.to_owned()), ..spec.clone() });
        let Record { reason, notes, .. } = &finished.record;
        assert!(
            matches!(reason, Reason::KernelOops { message } if message.contains("int3")),
            "{reason}"
        );
        assert_eq!(
            notes.iter().any(|note| note.contains("was run again")),
            is_tried_again,
            "{notes:?}"
        );
    }
}

#[test]
fn a_machine_that_switches_itself_off_or_resets_is_told() {
    for body in ["switches_the_machine_off", "resets_the_machine"] {
        let reason = reason(&spec(body));
        let text = reason.to_string();
        assert!(matches!(reason, Reason::AgentLost { .. }), "{text}");
        assert!(text.contains("reset or switched off from inside"), "{text}");
    }
}

#[test]
fn a_guest_that_hangs_is_ended_from_outside() {
    let finished = run(&spec_within("hogs_every_cpu", Duration::from_secs(1)));
    let watchdog_ms = 1000 + support::GRACE.as_millis() as u64;
    assert_eq!(finished.record.reason, Reason::GuestHung { watchdog_ms });
    let notes = finished.record.notes.join("\n");
    assert!(notes.contains("CPUs at RIP="), "{notes}");
}

#[test]
fn a_body_that_eats_all_memory_is_named() {
    let reason = reason(&spec("eats_all_memory"));
    let Reason::OutOfMemory { victim: Some(victim) } = &reason else { panic!("{reason}") };
    assert!(victim.contains("(faults"), "{victim}");
}

#[test]
fn memory_that_is_nobodys_runs_out_too() {
    let reason = reason(&spec("fills_the_memory_file_system"));
    assert!(matches!(reason, Reason::OutOfMemory { .. }), "{reason}");
}

#[test]
fn more_output_than_the_channel_holds_is_a_failure() {
    let limit_bytes = AGENT_LOG.data.len as u64;
    let finished = run(&spec("floods_its_output"));
    assert_eq!(
        finished.record.reason,
        Reason::ChannelOverflow { log: String::from("output"), limit_bytes }
    );
    let notes = finished.record.notes.join("\n");
    assert!(notes.contains("bytes of output did not fit"), "{notes}");
}

#[test]
fn output_without_end_does_not_keep_the_time_limit_away() {
    let limit_bytes = AGENT_LOG.data.len as u64;
    let spec = spec_within("floods_its_output_for_ever", Duration::from_secs(2));
    assert_eq!(reason(&spec), Reason::ChannelOverflow { log: String::from("output"), limit_bytes });
}

#[test]
fn more_events_than_the_channel_holds_are_a_failure() {
    let limit_bytes = PROCESS_LOG.data.len as u64;
    assert_eq!(
        reason(&spec("floods_its_events")),
        Reason::ChannelOverflow { log: String::from("events"), limit_bytes }
    );
}

#[test]
fn a_console_without_end_is_cut_off() {
    let finished = run(&spec("floods_the_console"));
    let reason = &finished.record.reason;
    let Reason::ChannelOverflow { log, limit_bytes } = reason else { panic!("{reason}") };
    assert_eq!(log, "console");
    assert!(finished.record.console.dropped_bytes < 2 * limit_bytes);
}

#[test]
fn garbage_in_the_channel_is_told() {
    for (body, what) in [
        ("claims_an_impossible_length", "a log claims 4294967295 bytes"),
        ("takes_back_what_it_said", "a log claims 8 bytes"),
        ("commits_garbage", "wrong magic number"),
        ("sends_an_event_that_is_none", "surprise"),
        ("freezes_in_an_unknown_state", "the unknown state 99"),
    ] {
        let reason = reason(&spec(body));
        let Reason::ChannelGarbage { detail } = &reason else { panic!("{body}: {reason}") };
        assert!(detail.contains(what), "{body}: {detail}");
    }
}

#[test]
fn no_scribbling_in_the_channel_harms_the_host() {
    for seed in 0..12 {
        let spec =
            Spec { seed: Some(seed), ..spec_within("scribbles_at_random", Duration::from_secs(2)) };
        let finished = run(&spec);
        let reason = &finished.record.reason;
        assert!(!matches!(reason, Reason::Internal { .. }), "seed {seed}: {reason}");
    }
}

#[test]
fn processes_left_behind_are_named() {
    let reason = reason(&spec("leaks_processes"));
    let Reason::Leaked { processes } = &reason else { panic!("{reason}") };
    assert_eq!(processes.len(), 2, "{processes:?}");
    assert!(processes.iter().all(|process| process.starts_with("sleep (pid ")), "{processes:?}");
}

#[test]
fn a_process_that_is_dying_is_not_left_behind() {
    assert_eq!(run(&spec("kills_and_does_not_wait")).record.reason, Reason::Passed);
}

#[test]
fn the_agent_outlives_everybody() {
    assert_eq!(reason(&spec("kills_everybody")), Reason::Signaled { signal: 9 });
}

#[test]
fn a_fork_bomb_stays_in_its_machine() {
    let reason = reason(&spec_within("drops_a_fork_bomb", Duration::from_secs(2)));
    // What gives way first is up to the machine.
    assert!(
        matches!(
            reason,
            Reason::Timeout { .. } | Reason::OutOfMemory { .. } | Reason::GuestHung { .. }
        ),
        "{reason}"
    );
}

#[test]
fn a_body_can_skip_or_leave_it_open() {
    let why = String::from("no such device");
    let skipped = run(&spec("skips")).record;
    assert_eq!((skipped.outcome, skipped.reason), (Outcome::Skip, Reason::Skipped { why }));
    let why = String::from("too noisy");
    let open = run(&spec("cannot_decide")).record;
    assert_eq!((open.outcome, open.reason), (Outcome::Inconclusive, Reason::Inconclusive { why }));
}

#[test]
fn a_failure_can_be_what_is_wanted() {
    let record = run(&spec("is_to_fail_and_does")).record;
    assert_eq!(record.outcome, Outcome::Pass);
    assert!(matches!(record.reason, Reason::ExpectedFailure { .. }), "{}", record.reason);
    assert_eq!(reason(&spec("is_to_fail_and_passes")), Reason::UnexpectedPass);
    let record = run(&spec("is_to_fail_and_does_otherwise")).record;
    assert_eq!(record.outcome, Outcome::Fail);
    assert!(matches!(record.reason, Reason::Panic { .. }), "{}", record.reason);
    assert!(record.notes.join("\n").contains("expected to fail with `widget 7`"));
}

/// A test that could not be run is not one that failed as expected.
#[test]
fn what_does_not_run_does_not_fail_as_expected() {
    let spec = Spec { tools: vec!["no-such-tool".into()], ..spec("is_to_fail_and_does") };
    let reason = reason(&spec);
    assert!(matches!(reason, Reason::TemplateFailed { .. }), "{reason}");
}

#[test]
fn a_kernel_that_lacks_something_is_refused_before_a_machine_starts() {
    let needs = vec![String::from("config:CONFIG_NO_SUCH_THING")];
    let finished = run(&Spec { needs, ..spec("passes") });
    let Reason::Refused { missing, found_in } = &finished.record.reason else {
        panic!("{}", finished.record.reason);
    };
    assert!(missing[0].starts_with("config:CONFIG_NO_SUCH_THING"), "{missing:?}");
    assert!(found_in.is_empty(), "{found_in:?}");
    let durations = &finished.record.durations;
    assert_eq!((durations.template_ns, durations.fork_ns), (None, None));
}

#[test]
fn what_does_not_exist_is_named() {
    let module = Spec { modules: vec!["no_such_module".into()], ..spec("passes") };
    let tool = Spec { tools: vec!["no-such-tool".into()], ..spec("passes") };
    let kernel = Spec { kernel: Some("no-such-kernel".into()), ..spec("passes") };
    let image = Spec { kernel: Some("image:/no/such/vmlinuz".into()), ..spec("passes") };
    let need = Spec { needs: vec!["no-such-ability".into()], ..spec("passes") };
    for (spec, word) in [
        (module, "no_such_module"),
        (tool, "no-such-tool"),
        (kernel, "no-such-kernel"),
        (image, "/no/such/vmlinuz"),
        (need, "no-such-ability"),
    ] {
        let text = reason(&spec).to_string();
        assert!(text.contains(word), "{text}");
    }
}

#[test]
fn a_machine_that_does_not_fit_is_refused() {
    let memory = Spec { memory_mib: Some(1 << 30), ..spec("passes") };
    let text = reason(&memory).to_string();
    assert!(text.contains("needs 1073741824 MiB of memory, and the host has"), "{text}");
    let topology = Spec { topology: Some("1n64l64c2t".into()), ..spec("passes") };
    let text = reason(&topology).to_string();
    assert!(text.contains("are too many CPUs"), "{text}");
}

#[test]
fn a_run_can_be_called_off() {
    let cancelled = Arc::new(AtomicBool::new(false));
    let host = open(Options { cancelled: Arc::clone(&cancelled), ..Options::default() });
    let mut heard = 0;
    let finished = host.run(&spec("floods_its_output_for_ever"), &binary(), |code, bytes| {
        if code == Code::Stdout {
            heard += bytes.len();
            cancelled.store(true, Ordering::Relaxed);
        }
    });
    assert_eq!(finished.record.reason, Reason::Interrupted);
    assert!(heard > 0);
}

#[test]
fn a_record_that_finds_no_room_is_told() {
    let script = "mount -t tmpfs -o size=16k none \"$SMALL\"; exec \"$@\"";
    let small = support::scratch().join("small");
    fs::create_dir_all(&small).unwrap();
    let mut child = again("with_records_on_a_full_disk", script);
    assert!(child.env("SMALL", small).status().unwrap().success());
}

#[test]
#[ignore = "run by another test, with a small file system of its own"]
fn with_records_on_a_full_disk() {
    let records = std::env::var_os("SMALL").map(std::path::PathBuf::from).unwrap();
    fs::write(records.join("filling"), [0; 64 << 10]).unwrap_err();
    let host = open(Options { records: Some(records.clone()), ..Options::default() });
    let finished = run_on(&host, &spec("passes"));
    assert_eq!(finished.record.reason, Reason::Passed);
    let error = finished.written.as_ref().unwrap_err().to_string();
    assert!(error.contains(records.to_str().unwrap()), "{error}");
    assert!(finished.explain(false).contains("the record was not written"));
    let left: Vec<_> = walk(&records).into_iter().filter(|path| path.is_file()).collect();
    assert_eq!(left, [records.join("filling")]);
}

/// With a file system of its own in each place where something could be left.
#[test]
fn nothing_is_left_on_the_host() {
    // What is needed goes where it is seen even when it lies in /tmp.
    let script = "mount --bind \"$(dirname \"$1\")\" /mnt; program=/mnt/$(basename \"$1\"); shift; \
                  mount --bind \"$CACHE\" /srv; export XDG_CACHE_HOME=/srv; cd /; \
                  mount -t tmpfs none /tmp; mount -t tmpfs none /dev/shm; exec \"$program\" \"$@\"";
    let cache = belljar::host::cache_root().unwrap().parent().unwrap().to_owned();
    let mut child = again("with_places_of_its_own", script);
    child.env("CACHE", cache).env_remove("TMPDIR");
    assert!(child.status().unwrap().success());
}

#[test]
#[ignore = "run by another test, with file systems of its own"]
fn with_places_of_its_own() {
    assert!(walk(Path::new("/tmp")).is_empty(), "the test has a /tmp of its own");
    let host = open(Options::default());
    for (body, passes) in [("passes", true), ("panics_the_kernel", false), ("spins", false)] {
        let spec = spec_within(body, Duration::from_secs(1));
        let finished = run_on(&host, &spec);
        assert_eq!(finished.record.outcome == Outcome::Pass, passes, "{}", finished.record.reason);
        assert_eq!(qemus(), [""; 0], "{body} left a QEMU behind");
    }
    drop(host);
    for place in ["/tmp", "/dev/shm"] {
        let mut left = walk(Path::new(place));
        // A checkout may lie in /tmp, and with it the records that the test asked for.
        let records = support::scratch();
        left.retain(|path| !path.starts_with(records) && !records.starts_with(path));
        assert!(left.is_empty(), "{left:?}");
    }
}

/// Everything below a directory.
fn walk(directory: &Path) -> Vec<std::path::PathBuf> {
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    entries
        .flat_map(|path| {
            let below = if path.is_dir() { walk(&path) } else { Vec::new() };
            std::iter::once(path).chain(below)
        })
        .collect()
}
