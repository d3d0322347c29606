//! The command as people and programs use it. Needs QEMU and a kernel.

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

/// The command, in the root of the workspace.
fn belljar(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cargo-belljar"));
    command
        .args(arguments)
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../.."))
        .env_remove("BELLJAR_MODE")
        .env_remove("BELLJAR_RECORDS")
        .env_remove("NEXTEST_RUN_ID")
        .stdin(Stdio::null());
    command
}

/// `cargo belljar test` on the tests of `suite.rs`.
fn suite(arguments: &[&str]) -> Command {
    let mut command = belljar(&["test", "-p", "cargo-belljar", "--test", "suite"]);
    command.args(["--run-ignored", "all"]).args(arguments);
    command
}

fn output(command: &mut Command) -> Output {
    command.output().expect("the command starts")
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap_or(-1)
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("data is UTF-8")
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn json_lines(output: &Output) -> Vec<Value> {
    let parse = |line: &str| serde_json::from_str(line).expect("each line is JSON");
    stdout(output).lines().map(parse).collect()
}

/// The records below a root, replays left out.
fn records(root: &Path) -> Vec<PathBuf> {
    let collected = belljar_record::read_all(root);
    collected.records.into_iter().map(|(path, _)| path).collect()
}

#[test]
fn tests_are_listed_and_filtered_as_in_nextest() {
    let names = |arguments: &[&str]| {
        let output = output(suite(arguments).arg("--list"));
        assert_eq!(code(&output), 0, "{}", stderr(&output));
        stdout(&output)
    };
    let all = "cargo-belljar::suite fails\ncargo-belljar::suite passes\n\
               cargo-belljar::suite repeats\ncargo-belljar::suite sleeps\n";
    assert_eq!(names(&[]), all);
    assert_eq!(names(&["peat", "leeps", "--skip", "sleep"]), "cargo-belljar::suite repeats\n");
    assert_eq!(names(&["--exact", "fails", "fail"]), "cargo-belljar::suite fails\n");
    let expression = "binary(=suite) and test(/^pass/) - test(fails)";
    assert_eq!(names(&["-E", expression]), "cargo-belljar::suite passes\n");
    // Cargo puts the word first when it is called as `cargo belljar`.
    let by_cargo = ["belljar", "test", "-p", "quickstart", "--list", "the_kernel"];
    let by_cargo = output(&mut belljar(&by_cargo));
    assert_eq!(stdout(&by_cargo), "quickstart::quickstart the_kernel_is_our_own\n");
}

#[test]
fn mistakes_have_codes_and_ways_out() {
    for (arguments, expected, words) in [
        (&["tset"][..], 2, "'test'"),
        (&["test", "--mode", "fast"], 2, "[possible values: auto, kvm, tcg, det]"),
        (&["test", "--seeds", "9..3"], 2, "that is no seed at all"),
        (&["test", "-p", "quickstart", "-E", "test(x"], 2, "^ missing `)`"),
        (&["test", "-p", "quickstart", "no_such_test"], 4, "no test matches, of 11"),
        (&["test", "-p", "no-such-package"], 101, "hint: what cargo said is above"),
        (&["replay", "/nonexistent.json"], 2, "cannot read the record"),
        (&["kernel", "show", "no-such-kernel"], 3, "cargo belljar kernel list"),
        (&["kernel", "fetch", "debain:sid"], 2, "debian:SUITE[:VERSION]"),
        (&["template", "rm", "zzz"], 2, "cargo belljar template list"),
        (&["exec", "--topology", "4x4", "--", "true"], 125, "as `1n2l4c1t`"),
        (&["exec", "--", "no-such-program"], 125, "not on the PATH of this host"),
        (&["shell"], 2, "cargo belljar exec"),
    ] {
        let output = output(&mut belljar(arguments));
        let said = stderr(&output);
        assert_eq!(code(&output), expected, "{arguments:?}: {said}");
        assert!(said.contains(words), "{arguments:?}: {said}");
        assert_eq!(stdout(&output), "", "{arguments:?}");
    }
}

#[test]
fn a_run_is_told_as_json_and_junit() {
    let root = tempfile::tempdir().unwrap();
    let junit = root.path().join("junit.xml");
    let (directory, file) = (root.path().to_str().unwrap(), junit.to_str().unwrap());
    let arguments = ["passes", "repeats", "--json", "--records", directory, "--junit", file];
    let output = output(suite(&arguments).args(["--seeds", "2", "--mode", "tcg"]));
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let lines = json_lines(&output);
    let of = |event: &str| lines.iter().filter(|line| line["event"] == event).collect::<Vec<_>>();
    assert_eq!(of("started").len(), 3);
    let finished = of("finished");
    assert_eq!(finished.len(), 3);
    for line in &finished {
        assert_eq!(line["outcome"], "pass");
        let record = belljar_record::read(Path::new(line["record"].as_str().unwrap())).unwrap();
        assert_eq!(record.durations.run_ns, line["durations"]["run_ns"].as_u64());
    }
    let mut settings: Vec<_> = finished.iter().map(|line| line["setting"].as_str()).collect();
    settings.sort();
    let expected = ["det 1n1l2c1t seed 0", "det 1n1l2c1t seed 1", "tcg 1n1l4c1t"].map(Some);
    assert_eq!(settings, expected);
    let summary = lines.last().unwrap();
    assert_eq!(summary["event"], "summary");
    assert_eq!((summary["passed"].as_u64(), summary["exit_code"].as_u64()), (Some(3), Some(0)));
    let said = stderr(&output);
    assert!(said.contains("3 tests run: 3 passed; 2 filtered out"), "{said}");
    assert!(said.contains("Not run 1 ordinary test in the same binaries"), "{said}");
    let report = fs::read_to_string(&junit).unwrap();
    assert!(report.contains(r#"tests="3" skipped="0" failures="0""#), "{report}");
    assert_eq!(fs::read_dir(root.path()).unwrap().count(), 2, "no temporary file is left");
}

#[test]
fn a_failure_is_told_at_once_and_whole() {
    let root = tempfile::tempdir().unwrap();
    let output = output(suite(&["fails", "--records"]).arg(root.path()));
    assert_eq!(code(&output), 100);
    assert_eq!(stdout(&output), "");
    insta::assert_snapshot!(redacted(&stderr(&output), root.path()));
}

/// What does not vary: times, paths, ids and seeds are replaced.
fn redacted(text: &str, root: &Path) -> String {
    let record = records(root).pop().expect("a record has been written");
    let (record_text, directory) = (record.display().to_string(), record.parent().unwrap());
    let kernel = belljar_record::read(&record).unwrap().vm.kernel.id;
    let text = text.replace(&record_text, "RECORD");
    let text = text.replace(&directory.display().to_string(), "RECORDS").replace(&kernel, "KERNEL");
    let mut lines: Vec<String> = Vec::new();
    for line in text.lines().skip_while(|line| !line.contains("Starting")) {
        // Of the guest's console and the backtrace every line varies.
        let varies = ["Set-up", "  | [", "  |  ", "  console", "note: Some details"];
        if varies.iter().any(|word| line.contains(word)) {
            continue;
        }
        if line.starts_with("  stderr, last") {
            lines.push(String::from("  stderr, last N lines:"));
            continue;
        }
        let mut line = line.to_owned();
        while let Some((start, end)) =
            line.find("s]").and_then(|end| line[..end].rfind('[').map(|start| (start, end)))
        {
            line.replace_range(start..end + 2, "[TIME]");
        }
        if let Some((before, _)) = line.split_once(", seed ") {
            line = format!("{before}, seed N, TIME)");
        }
        lines.push(line);
    }
    lines.join("\n")
}

#[test]
fn a_det_record_is_replayed_identically() {
    let root = tempfile::tempdir().unwrap();
    let run = output(suite(&["repeats", "--seeds", "5..6", "--records"]).arg(root.path()));
    assert_eq!(code(&run), 0, "{}", stderr(&run));
    let record = records(root.path()).pop().unwrap();
    let replay = || output(&mut belljar(&["replay", record.to_str().unwrap()]));
    let same = replay();
    assert_eq!(code(&same), 0, "{}", stderr(&same));
    assert!(stderr(&same).contains("identical: repeats"), "{}", stderr(&same));

    // Another seed is another run, and the digest tells.
    let text = fs::read_to_string(&record).unwrap();
    fs::write(&record, text.replace("\"seed\": 5", "\"seed\": 6")).unwrap();
    let other = replay();
    assert_eq!(code(&other), 5, "{}", stderr(&other));
    let said = stderr(&other);
    assert!(
        said.contains("differs: repeats") && said.contains("(- recorded, + replayed)"),
        "{said}"
    );
}

#[test]
fn failed_records_are_replayed_together() {
    let root = tempfile::tempdir().unwrap();
    let run = output(suite(&["fails", "passes", "--records"]).arg(root.path()));
    assert_eq!(code(&run), 100, "{}", stderr(&run));
    let replay = output(belljar(&["replay", "--failed"]).arg(root.path()));
    let said = stderr(&replay);
    assert_eq!(code(&replay), 100, "{said}");
    assert!(said.contains("1 failed record in"), "{said}");
    assert!(said.contains("same outcome: fails"), "{said}");
    assert!(said.contains("only det promises an identical run, and this was tcg"), "{said}");
    // The records of the replay take nobody's place.
    assert_eq!(records(root.path()).len(), 2);
}

#[test]
fn an_executed_command_is_heard_and_its_code_is_ours() {
    let script = "echo to out; echo to err >&2; exit 7";
    let both = output(&mut belljar(&["exec", "--mode", "tcg", "--", "sh", "-c", script]));
    assert_eq!(code(&both), 7, "{}", stderr(&both));
    assert_eq!(stdout(&both), "to out\n");
    assert!(stderr(&both).ends_with("to err\n"), "{}", stderr(&both));
    let killed = output(&mut belljar(&["exec", "--mode", "tcg", "--", "sh", "-c", "kill -9 $$"]));
    assert_eq!(code(&killed), 137, "{}", stderr(&killed));
    let slow = ["exec", "--mode", "tcg", "--timeout", "0.2", "--", "sleep", "20"];
    assert_eq!(code(&output(&mut belljar(&slow))), 124);
    let much = ["exec", "--mode", "tcg", "--", "head", "-c", "5000000", "/dev/zero"];
    let much = output(&mut belljar(&much));
    assert_eq!(code(&much), 125, "{}", stderr(&much));
    let words = "guest said more than the output log's 4194304 bytes";
    assert!(stderr(&much).contains(words), "{}", stderr(&much));
    assert!(stderr(&much).contains("write to a file"), "{}", stderr(&much));
}

/// The QEMU processes whose parent is this.
fn machines_of(parent: u32) -> Vec<String> {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let pids = processes.filter_map(|entry| entry.file_name().into_string().ok());
    pids.filter(|pid| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let fields = stat.rsplit(") ").next().unwrap_or_default();
        stat.contains("(qemu-system") && fields.split(' ').nth(1) == Some(&parent.to_string())
    })
    .collect()
}

#[test]
fn an_interrupted_run_leaves_records_and_no_machine() {
    let root = tempfile::tempdir().unwrap();
    let mut command = suite(&["sleeps", "--mode", "tcg", "--json", "--records"]);
    let mut child = command.arg(root.path()).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    assert!(lines.any(|line| line.contains(r#""event":"started""#)));
    let deadline = Instant::now() + Duration::from_secs(10);
    let mut machines = machines_of(child.id());
    while machines.is_empty() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(20));
        machines = machines_of(child.id());
    }
    assert!(!machines.is_empty());
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    let last = lines.last().unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    let summary: Value = serde_json::from_str(&last).unwrap();
    assert_eq!((&summary["interrupted"], &summary["exit_code"]), (&true.into(), &130.into()));
    let record = records(root.path()).pop().expect("the record has been written");
    let record = belljar_record::read(&record).unwrap();
    assert_eq!(record.reason, belljar_record::Reason::Interrupted);
    for pid in machines {
        let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        assert!(!name.starts_with("qemu"), "{pid} is still there");
    }
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let mut child = suite(&["--list"]).stdout(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn what_is_missing_is_named() {
    let doctor =
        output(belljar(&["doctor", "--no-probe"]).env("BELLJAR_QEMU", "/nonexistent/qemu"));
    assert_eq!(code(&doctor), 3);
    let said = stdout(&doctor);
    assert!(said.contains(" MISSING  qemu") && said.contains("apt-get install"), "{said}");
    let run = output(suite(&["passes"]).env("BELLJAR_QEMU", "/nonexistent/qemu"));
    assert_eq!(code(&run), 3, "{}", stderr(&run));
    assert!(stderr(&run).contains("hint: `cargo belljar doctor`"), "{}", stderr(&run));
    let healthy = output(&mut belljar(&["doctor", "--json", "--no-probe"]));
    let value: Value = serde_json::from_slice(&healthy.stdout).unwrap();
    assert_eq!((code(&healthy), &value["ready"]), (0, &true.into()));
}

#[test]
fn kernels_and_templates_are_shown() {
    let show = output(&mut belljar(&["kernel", "show", "--json"]));
    assert_eq!(code(&show), 0, "{}", stderr(&show));
    let kernel: Value = serde_json::from_slice(&show.stdout).unwrap();
    let list = output(&mut belljar(&["kernel", "list"]));
    assert!(stdout(&list).contains(kernel["id"].as_str().unwrap()), "{}", stdout(&list));
    let templates = output(&mut belljar(&["template", "list", "--json"]));
    assert!(serde_json::from_slice::<Value>(&templates.stdout).unwrap().is_array());
    assert!(stdout(&output(&mut belljar(&["cache"]))).contains("template"));
    let script = stdout(&output(&mut belljar(&["completions", "bash"])));
    assert!(script.contains("cargo-belljar"), "{script}");
}
