//! Runs of real processes, most of which misbehave.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use belljar_bench::{
    Cancel, Event, Fault, Matrix, Outcome, Problem, Run, RunError, Sample, Selection, State,
    assess, judge,
};

/// A client that waits for an answer, which makes the server use CPU time, measures for a hundredth of a
/// second, and reports in braces that are left as they are. Both sides hold both ends of each pipe open, so
/// that nobody writes into one that nobody reads.
const CLIENT: &str = r#"exec 3<>{run_dir}/ask 4<>{run_dir}/answer; echo 1 >&3; read x <&4; sleep 0.02; echo '{{"belljar_bench":1,"operations":500,"elapsed_ns":10000000,"latency_ns":{{"p50":8000,"p95":9000,"p99":10000,"p999":11000,"max":12000}}}}'"#;
const SERVER: &str = "mkfifo {run_dir}/ask {run_dir}/answer; exec 3<>{run_dir}/ask 4<>{run_dir}/answer; \
                      echo READY; while read x <&3; do echo $x >&4; done";

/// A place for a run and for what its scripts leave.
struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn run(&self) -> PathBuf {
        self.0.path().join("run")
    }

    /// A matrix whose client and server are scripts. Each writes its id into a file first. It has two
    /// builds if the client says which.
    fn matrix(&self, client: &str, server: &str, policy: &str) -> Matrix {
        let mut policy = policy.to_owned();
        for (name, value) in [
            ("duration_max_rate_s", "0.01"),
            ("settle_ms", "0"),
            ("ready_timeout_s", "60"),
            ("client_grace_s", "60"),
            ("client_overhead_s", "60"),
            ("stop_timeout_s", "60"),
            ("foreign_cpus_max", "1e6"),
        ] {
            if !policy.contains(name) {
                policy.push_str(&format!("\n{name} = {value}"));
            }
        }
        let is_built = client.contains("{build}");
        let builds = if is_built { "[builds]\nbase = \"x\"\nnew = \"x\"\n" } else { "" };
        let text = format!(
            "title = \"Scripts\"\n[policy]\n{policy}\n{builds}[axes]\npayload = [\"8\", \"64\"]\n[[family]]\n\
             name = \"ping\"\naxes = [\"payload\"]\n\
             client = [\"sh\", \"-c\", '''echo $$ >> pids; {client}''', \"client\", \"{{payload}}\", \"{{duration_s}}\"]\n\
             server = [\"sh\", \"-c\", '''echo $$ >> pids; {server}''']\n"
        );
        Matrix::parse(&text).unwrap()
    }

    /// A matrix whose client is the file `client.sh`, without a server.
    fn matrix_of_a_file(&self) -> Matrix {
        let mut matrix = serde_json::to_value(self.matrix("", "", "")).unwrap();
        let client = ["sh", "client.sh", "{payload}", "{duration_s}"];
        matrix["family"][0]["client"] = serde_json::json!(client);
        matrix["family"][0].as_object_mut().unwrap().remove("server");
        serde_json::from_value(matrix).unwrap()
    }

    fn create(&self, matrix: Matrix) -> Run {
        Run::create(&self.run(), matrix, self.0.path(), Selection::default(), 1).unwrap()
    }

    /// Nothing that was started is still there, and no directory of a sample is.
    fn assert_clean(&self) {
        let pids = fs::read_to_string(self.0.path().join("pids")).unwrap();
        for pid in pids.lines() {
            // Others than those that were started are killed, and then somebody else's to wait for.
            let deadline = Instant::now() + Duration::from_secs(60);
            while is_alive(pid) {
                assert!(Instant::now() < deadline, "{pid} is still there");
                thread::sleep(Duration::from_millis(5));
            }
        }
        let state = fs::read_to_string(self.run().join("state.jsonl")).unwrap();
        for line in state.lines() {
            let line: serde_json::Value = serde_json::from_str(line).unwrap();
            if let Some(run_dir) = line["run_dir"].as_str() {
                assert!(!Path::new(run_dir).exists(), "{run_dir} is still there");
            }
        }
    }
}

fn is_alive(pid: &str) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"));
    stat.is_ok_and(|stat| stat.rsplit(')').next().is_some_and(|rest| !rest.starts_with(" Z")))
}

fn kind(fault: &Fault) -> String {
    serde_json::to_value(fault).unwrap()["kind"].as_str().unwrap().to_owned()
}

fn run(run: &mut Run) {
    run.execute(&Cancel::new().unwrap(), |_| ()).unwrap();
}

#[test]
fn a_good_run_is_published() {
    let place = Place::new();
    let client = format!(": {{build}}; {CLIENT}");
    let mut good = place.create(place.matrix(&client, SERVER, "samples = 6"));
    let mut heard = Vec::new();
    good.execute(&Cancel::new().unwrap(), |event| match event {
        Event::Started { cell, round, progress } => {
            heard.push((cell.clone(), round));
            assert_eq!((progress.done, progress.total), (heard.len() - 1, 24));
        }
        Event::Ended { fault, progress, .. } => {
            assert_eq!((fault, progress.done), (None, heard.len()));
        }
    })
    .unwrap();
    assert_eq!(heard.iter().collect::<HashSet<_>>().len(), 24);
    let results = judge(good.state()).unwrap();
    assert_eq!((results.rows.len(), results.comparisons.len()), (4, 8));
    for row in &results.rows {
        assert_eq!(row.figures[0], 50_000.0);
        for sample in &row.samples {
            assert!(sample.client_cpu_ns > 0 && sample.server_cpu_ns > Some(0), "{sample:?}");
            assert!(sample.wall_ns >= 20_000_000);
        }
    }
    let report = results.publish(&place.run()).unwrap();
    assert_eq!(fs::read_dir(report).unwrap().count(), 4);
    assert!(!place.run().join("evidence").exists());
    place.assert_clean();
}

#[test]
fn whoever_misbehaves_fails_the_row_and_nothing_is_left() {
    let report = |changes: &str| format!("{}; echo '{{{{{changes}}}}}'", "sleep 0.02");
    let burn = "i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done";
    for (expected, client, server, policy) in [
        ("client_status", "exit 3", SERVER, ""),
        ("client_status", "kill -9 $$", SERVER, ""),
        ("output", "echo hello", SERVER, ""),
        ("output", "true", SERVER, ""),
        ("output", &format!("{CLIENT}; {CLIENT}"), SERVER, ""),
        ("zero_throughput", &CLIENT.replace("500", "0"), SERVER, ""),
        ("zero_latency", &CLIENT.replace("8000", "0"), SERVER, ""),
        ("latency_order", &CLIENT.replace("8000", "80000"), SERVER, ""),
        (
            "no_latency",
            &report(r#""belljar_bench":1,"operations":5,"elapsed_ns":10000000"#),
            SERVER,
            "",
        ),
        ("elapsed", &CLIENT.replace("10000000,", "3600000000000,"), SERVER, ""),
        ("elapsed", &CLIENT.replace("10000000,", "1000,"), SERVER, ""),
        ("other_processes", &format!("({burn}); {CLIENT}"), SERVER, ""),
        (
            "other_processes",
            CLIENT,
            &SERVER.replace("echo READY", "sleep 1000 & echo $! >> pids; echo READY"),
            "",
        ),
        (
            "other_processes",
            &format!("setsid -f sh -c 'echo $$ >> pids; exec sleep 1000'; {CLIENT}"),
            SERVER,
            "",
        ),
        (
            "other_processes",
            // Nobody waits for its child, so that no trace of its time is left.
            r#"exec perl -e '$SIG{{CHLD}} = "IGNORE"; sleep 1000 if fork; 1 while 1'"#,
            SERVER,
            "",
        ),
        ("impossible", &CLIENT.replace("500", "18446744073709551615"), SERVER, ""),
        ("overhead", &format!("sleep 0.4; {CLIENT}"), SERVER, "client_overhead_s = 0.2"),
        ("client_timeout", "exec sleep 1000", SERVER, "client_grace_s = 0.2"),
        ("client_timeout", "exec yes", SERVER, "client_grace_s = 0.2"),
        ("client_timeout", "exec yes >&2", SERVER, "client_grace_s = 0.2"),
        ("not_ready", CLIENT, "exec sleep 1000", "ready_timeout_s = 0.2"),
        ("not_ready", CLIENT, "echo READY to go; exec sleep 1000", "ready_timeout_s = 0.2"),
        ("server_ended", CLIENT, "exit 1", ""),
        ("server_ended", CLIENT, "echo READY", "settle_ms = 60000"),
        ("server_ended", "exec sleep 1000", "read pid < pids; echo READY; sleep 0.3", ""),
        ("server_stuck", CLIENT, &format!("trap '' TERM; {SERVER}"), "stop_timeout_s = 0.2"),
        ("server_status", CLIENT, &format!("trap 'exit 3' TERM; {SERVER}"), ""),
    ] {
        let place = Place::new();
        let mut bad = place.create(place.matrix(client, server, policy));
        run(&mut bad);
        // Each row is given up after its first sample.
        assert_eq!(bad.state().samples.len(), 2, "{expected}");
        for problem in assess(bad.state()).problems {
            let Problem::Failed { fault, .. } = &problem else { panic!("{problem}") };
            assert_eq!(kind(fault), expected, "{problem}");
        }
        assert!(judge(bad.state()).is_err());
        let evidence: Vec<_> = fs::read_dir(place.run().join("evidence")).unwrap().collect();
        assert_eq!(evidence.len(), 2);
        for directory in evidence {
            let text = fs::read_to_string(directory.unwrap().path().join("fault.txt")).unwrap();
            assert!(text.starts_with("family=ping payload="), "{text}");
        }
        place.assert_clean();
    }
}

/// What cannot be kept of a failure does not make it unhappened.
#[test]
fn a_failure_without_evidence_is_a_failure() {
    let place = Place::new();
    let first = "test -e failed && exec false; touch failed; exit 3";
    let mut bad = place.create(place.matrix(first, SERVER, ""));
    fs::write(place.run().join("evidence"), "in the way").unwrap();
    let error = bad.execute(&Cancel::new().unwrap(), |_| ()).unwrap_err();
    assert!(error.to_string().contains("evidence/"), "{error}");
    drop(bad);
    fs::remove_file(place.run().join("evidence")).unwrap();
    let mut again = Run::resume(&place.run()).unwrap();
    run(&mut again);
    let failed = assess(again.state()).problems;
    let kinds: Vec<_> = failed.iter().map(ToString::to_string).collect();
    assert_eq!(kinds.len(), 2, "{kinds:?}");
    assert!(kinds.iter().any(|kind| kind.contains("exit status: 3")), "{kinds:?}");
}

#[test]
fn a_file_that_never_comes_is_named() {
    let place = Place::new();
    let mut matrix = place.matrix(CLIENT, SERVER, "ready_timeout_s = 3");
    matrix.families[0].ready_paths = vec![String::from("{run_dir}/{service}.sock")];
    let mut bad = place.create(matrix);
    run(&mut bad);
    let problem = assess(bad.state()).problems[0].to_string();
    assert!(problem.contains(".sock is missing"), "{problem}");
    // What lay there instead is kept, where it can be.
    let list = fs::read_to_string(place.run().join("evidence/0000-0/run_dir.txt")).unwrap();
    assert_eq!(list, "run_dir/answer: a fifo\nrun_dir/ask: a fifo\n");
    place.assert_clean();
}

#[test]
fn a_server_is_asked_only_when_its_files_are_there() {
    let place = Place::new();
    let server = SERVER.replace("READY;", "READY; sleep 0.1; : > {run_dir}/{service};");
    let client = format!("[ -e {{run_dir}}/{{service}} ] || exit 9; {CLIENT}");
    let mut matrix = place.matrix(&client, &server, "");
    matrix.families[0].ready_paths = vec![String::from("{run_dir}/{service}")];
    let mut good = place.create(matrix);
    run(&mut good);
    judge(good.state()).unwrap();
    place.assert_clean();
}

#[test]
fn what_was_interrupted_is_measured_again_and_nothing_twice() {
    let place = Place::new();
    let mut first = place.create(place.matrix(&hangs_as(4, CLIENT), SERVER, ""));
    interrupt_at(&place, &mut first, 4);
    assert_eq!(first.state().samples.len(), 3);
    let refusal = judge(first.state()).unwrap_err();
    assert!(refusal.to_string().starts_with("nothing is published, for 2 reasons:"), "{refusal}");

    let busy = Run::resume(&place.run()).unwrap_err();
    assert!(busy.to_string().starts_with("another process is running"), "{busy}");
    drop(first);
    let mut second = Run::resume(&place.run()).unwrap();
    assert_eq!((second.progress().done, second.progress().total), (3, 10));
    run(&mut second);
    drop(second);
    let state = State::read(&place.run()).unwrap();
    assert_eq!((state.samples.len(), state.interrupted), (10, 1));
    assert_eq!(judge(&state).unwrap().interrupted, 1);
    place.assert_clean();
}

#[test]
fn a_program_that_changes_ends_the_run() {
    let place = Place::new();
    let script = place.0.path().join("client.sh");
    let write = |comment: &str| {
        let client = &CLIENT[CLIENT.find("sleep").unwrap()..];
        let client = client.replace("{{", "{").replace("}}", "}");
        fs::write(&script, format!("# {comment}\n{client}\n")).unwrap();
    };
    write("one");
    let mut changing = place.create(place.matrix_of_a_file());
    let mut samples = 0;
    changing
        .execute(&Cancel::new().unwrap(), |event| {
            if let Event::Ended { .. } = event {
                samples += 1;
                if samples == 3 {
                    write("another");
                }
            }
        })
        .unwrap();
    let problems = assess(changing.state()).problems;
    let is_change = |problem: &Problem| {
        matches!(problem, Problem::Failed { fault: Fault::ProgramChanged { .. }, .. })
    };
    assert!(problems.len() == 2 && problems.iter().all(is_change), "{problems:?}");
    drop(changing);
    let error = Run::resume(&place.run()).unwrap_err().to_string();
    assert!(error.contains("client.sh is not what it was; begin another run"), "{error}");
}

#[test]
fn a_diagnosis_changes_nothing() {
    let place = Place::new();
    // The first client of all fails.
    let client = format!("[ -e seen ] || {{{{ : > seen; exit 7; }}}}; {CLIENT}");
    let mut bad = place.create(place.matrix(&client, SERVER, ""));
    run(&mut bad);
    let (state, before) = (bad.state().clone(), fs::read(place.run().join("state.jsonl")).unwrap());
    let refusal = judge(&state).unwrap_err();
    assert_eq!(refusal.problems.len(), 1, "{refusal}");
    let old = |row| place.run().join(format!("diagnosis/000{row}-4/run_dir"));
    for row in [0, 1] {
        fs::create_dir_all(old(row)).unwrap();
    }
    let diagnoses = bad.diagnose(&Cancel::new().unwrap(), |_| ()).unwrap();
    assert_eq!(diagnoses.len(), 1);
    assert!(old(0).exists() != old(1).exists(), "that of an earlier diagnosis of the row is gone");
    let (first, alone) = (&diagnoses[0].first, &diagnoses[0].alone);
    assert_eq!((first.samples, first.faults.len()), (1, 1));
    assert_eq!((alone.samples, alone.throughputs_per_s.len()), (5, 5));
    assert_eq!(bad.state(), &state);
    assert_eq!(fs::read(place.run().join("state.jsonl")).unwrap(), before);
    assert_eq!(judge(bad.state()), Err(refusal));
    let text = fs::read_to_string(place.run().join("diagnosis.md")).unwrap();
    assert!(text.contains("| samples | 1 | 5 |"), "{text}");
    place.assert_clean();
}

#[test]
fn a_selection_is_measured_and_never_published() {
    let place = Place::new();
    let selection: Selection = [("payload".to_owned(), "64".to_owned())].into_iter().collect();
    let matrix = place.matrix(CLIENT, SERVER, "");
    let mut some = Run::create(&place.run(), matrix, place.0.path(), selection, 1).unwrap();
    run(&mut some);
    let assessment = assess(some.state());
    assert_eq!((assessment.rows.len(), assessment.problems.len()), (1, 0));
    let refusal = judge(some.state()).unwrap_err();
    assert!(matches!(refusal.problems[..], [Problem::Partial { .. }]), "{refusal}");
}

#[test]
fn what_cannot_be_run_is_said_before_anything_runs() {
    let place = Place::new();
    let create = |matrix: Matrix| {
        let error = Run::create(&place.run(), matrix, place.0.path(), Selection::default(), 1);
        error.unwrap_err().to_string()
    };
    let mut matrix = serde_json::to_value(place.matrix(CLIENT, SERVER, "")).unwrap();
    matrix["family"][0]["client"] = serde_json::json!(["bin/nothing", "{payload}", "{duration_s}"]);
    let error = create(serde_json::from_value(matrix).unwrap());
    assert!(error.contains("bin/nothing; build it first"), "{error}");
    let error = create(place.matrix(CLIENT, SERVER, "client_cpus = \"1000\""));
    assert!(error.starts_with("this process may not use all of the CPUs 1000"), "{error}");
    assert!(!place.run().exists());
}

#[test]
fn processes_run_where_they_are_put() {
    let place = Place::new();
    let client = format!(
        "exec 3< /proc/self/status; while read -r k v; do [ \"$k\" = Cpus_allowed_list: ] && echo $v > client.cpus; done <&3; {CLIENT}"
    );
    let mut pinned = place.create(place.matrix(&client, SERVER, "client_cpus = \"0\""));
    run(&mut pinned);
    judge(pinned.state()).unwrap();
    assert_eq!(fs::read_to_string(place.0.path().join("client.cpus")).unwrap(), "0\n");
    let outcome = &pinned.state().samples[0].outcome;
    assert!(matches!(outcome, Outcome::Measured(_)), "{outcome:?}");
}

/// A script that hangs when it is the client number `number`, for whoever calls it off.
fn hangs_as(number: usize, client: &str) -> String {
    format!(
        "echo x >> count; n=0; while read x; do n=$((n+1)); done < count; \
         [ $n -eq {number} ] && exec sleep 1000; {client}"
    )
}

/// Measures until the client number `number` is there, and calls it off.
fn interrupt_at(place: &Place, run: &mut Run, number: usize) {
    let cancel = Cancel::new().unwrap();
    let (press, count) = (cancel.clone(), place.0.path().join("count"));
    let (done, is_done) = mpsc::channel::<()>();
    let presser = thread::spawn(move || {
        while fs::read_to_string(&count).unwrap_or_default().lines().count() < number {
            if is_done.recv_timeout(Duration::from_millis(5)).is_ok() {
                return;
            }
        }
        press.cancel();
    });
    let ended = run.execute(&cancel, |_| ());
    done.send(()).ok();
    presser.join().unwrap();
    assert!(matches!(ended, Err(RunError::Interrupted)), "{ended:?}");
    place.assert_clean();
}

#[test]
fn of_an_interrupted_pair_both_halves_are_measured_again() {
    let place = Place::new();
    let client = hangs_as(4, &format!(": {{build}}; {CLIENT}"));
    let mut first = place.create(place.matrix(&client, SERVER, ""));
    interrupt_at(&place, &mut first, 4);
    let measured = |sample: &Sample| matches!(sample.outcome, Outcome::Measured(_));
    let samples = &first.state().samples;
    assert!(samples.len() == 3 && samples.iter().all(measured), "{samples:?}");
    let pair = first.state().samples[..2].to_vec();
    drop(first);
    let second = Run::resume(&place.run()).unwrap();
    assert_eq!((second.progress().done, second.progress().total), (2, 20));
    drop(second);
    let mut third = Run::resume(&place.run()).unwrap();
    assert_eq!((third.progress().done, third.state().interrupted), (2, 2));
    run(&mut third);
    let state = State::read(&place.run()).unwrap();
    assert_eq!((&state, &state.samples[..2]), (third.state(), &pair[..]));
    for pair in state.samples.chunks(2) {
        let row = |half: usize| pair[half].cell.to_string().replace("build=base", "build=new");
        assert_eq!((row(0), pair[0].round), (row(1), pair[1].round));
    }
    assert_eq!(judge(&state).unwrap().rows.len(), 4);
    place.assert_clean();
}

#[test]
fn a_half_that_failed_is_not_measured_again() {
    let place = Place::new();
    let client = hangs_as(4, &format!("[ $n -eq 3 ] && exit 7; : {{build}}; {CLIENT}"));
    let mut first = place.create(place.matrix(&client, SERVER, ""));
    interrupt_at(&place, &mut first, 4);
    let failed = first.state().samples[2].clone();
    drop(first);
    let mut second = Run::resume(&place.run()).unwrap();
    assert_eq!((second.state().samples.len(), second.state().interrupted), (3, 1));
    run(&mut second);
    assert_eq!(second.state().samples[2], failed);
    let problems = assess(second.state()).problems;
    assert!(matches!(&problems[..], [Problem::Failed { cell, .. }] if *cell == failed.cell));
}

#[test]
fn a_program_that_changes_during_the_last_sample_is_noticed() {
    let place = Place::new();
    // The last of ten clients appends to its own script.
    let client = &CLIENT[CLIENT.find("sleep").unwrap()..];
    let client = client.replace("{{", "{").replace("}}", "}");
    let script = format!(
        "echo x >> count; n=0; while read x; do n=$((n+1)); done < count\n{client}\n\
         [ $n -ne 10 ] || echo >> client.sh\n"
    );
    fs::write(place.0.path().join("client.sh"), script).unwrap();
    let mut changing = place.create(place.matrix_of_a_file());
    run(&mut changing);
    assert_eq!(changing.state().samples.len(), 10);
    let fault = |sample: &Sample| match &sample.outcome {
        Outcome::Measured(_) => None,
        Outcome::Failed(fault) => Some(kind(fault)),
    };
    let faults: Vec<String> = changing.state().samples.iter().filter_map(fault).collect();
    assert_eq!(faults, ["program_changed"]);
    assert_eq!(fault(&changing.state().samples[9]), Some(String::from("program_changed")));
}

#[test]
fn a_run_begins_only_where_nothing_is_written_over() {
    let place = Place::new();
    let theirs = place.run().join("report").join("results.csv");
    fs::create_dir_all(theirs.parent().unwrap()).unwrap();
    fs::write(&theirs, "theirs").unwrap();
    let matrix = place.matrix(CLIENT, SERVER, "");
    let refused = Run::create(&place.run(), matrix, place.0.path(), Selection::default(), 1);
    let refused = refused.unwrap_err().to_string();
    assert!(refused.contains("run/report is there already and no run wrote it"), "{refused}");
    assert_eq!(fs::read_to_string(theirs).unwrap(), "theirs");
    assert_eq!(fs::read_dir(place.run()).unwrap().count(), 1);
}

#[test]
fn a_diagnosis_names_the_directory_of_its_sample_while_it_is_measured() {
    let place = Place::new();
    // Those of the run fail; each of the diagnosis writes down what it sees of itself.
    let client = "[ -e run/diagnosis/under-way ] || exit 7; cat run/diagnosis/under-way >> seen; \
                  echo >> seen; echo {run_dir} >> expected; exit 8";
    let mut bad = place.create(place.matrix(client, SERVER, ""));
    run(&mut bad);
    let diagnoses = bad.diagnose(&Cancel::new().unwrap(), |_| ()).unwrap();
    assert_eq!(diagnoses.len(), 2);
    let read = |name: &str| fs::read_to_string(place.0.path().join(name)).unwrap();
    assert_eq!((read("seen"), read("seen").lines().count()), (read("expected"), 10));
    assert!(!place.run().join("diagnosis/under-way").exists());
    place.assert_clean();
}
