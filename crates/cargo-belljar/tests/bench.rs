//! `cargo belljar bench` as people and programs use it. Needs no machine.

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// A directory with a matrix in it, of one client that needs no server.
struct Place(tempfile::TempDir);

/// The client reports 100,000 operations a second.
const CLIENT: &str = "echo $$ >> pids; sleep 0.02; \
    echo '{{\"belljar_bench\":1,\"operations\":1000,\"elapsed_ns\":10000000}}'";

impl Place {
    fn new(client: &str, at_least: u32) -> Place {
        let place = Place(tempfile::tempdir().expect("a directory"));
        let matrix = format!(
            "title = \"Scripts\"\n[policy]\nduration_max_rate_s = 0.01\nforeign_cpus_max = 1e6\n\
             [axes]\npayload = [\"8\", \"64\"]\n[[family]]\nname = \"count\"\naxes = [\"payload\"]\n\
             latency = false\nclient = [\"sh\", \"-c\", '''{client}''', \"client\", \"{{payload}}\", \"{{duration_s}}\"]\n\
             [[limit]]\nmetric = \"throughput_per_s\"\nat_least = {at_least}\n"
        );
        fs::write(place.path("matrix.toml"), matrix).expect("a matrix");
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Writes something else into the matrix.
    fn change(&self, from: &str, to: &str) {
        let matrix = fs::read_to_string(self.path("matrix.toml")).expect("a matrix");
        assert!(matrix.contains(from), "{matrix}");
        fs::write(self.path("matrix.toml"), matrix.replace(from, to)).expect("a matrix");
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cargo-belljar"));
        command.args(["belljar", "bench"]).args(arguments).current_dir(self.0.path());
        command
    }

    fn run(&self, arguments: &[&str]) -> (i32, String, String) {
        ended(&mut self.command(arguments))
    }

    fn lines(&self, name: &str) -> Vec<String> {
        let text = fs::read_to_string(self.path(name)).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }
}

/// The exit code of a command and both its outputs.
fn ended(command: &mut Command) -> (i32, String, String) {
    let Output { status, stdout, stderr } = command.output().expect("the command starts");
    let text = |bytes| String::from_utf8(bytes).expect("it is UTF-8");
    (status.code().unwrap_or(-1), text(stdout), text(stderr))
}

fn wait_until(what: &str, is_so: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !is_so() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn is_alive(pid: &str) -> bool {
    let stat = fs::read_to_string(Path::new("/proc").join(pid).join("stat"));
    stat.is_ok_and(|stat| stat.rsplit(')').next().is_some_and(|rest| !rest.starts_with(" Z")))
}

#[test]
fn a_matrix_is_listed_measured_and_published() {
    let place = Place::new(CLIENT, 1000);
    let (code, stdout, stderr) = place.run(&["list", "matrix.toml", "--only", "payload=64"]);
    assert_eq!((code, stdout.as_str()), (0, "family=count payload=64 rate=max\n"), "{stderr}");
    let (code, stdout, stderr) = place.run(&["run", "matrix.toml", "--out", "run", "--json"]);
    assert_eq!(code, 0, "{stderr}");
    let events: Vec<Value> =
        stdout.lines().map(|line| serde_json::from_str(line).expect("JSON lines")).collect();
    let kinds: Vec<&str> = events.iter().map(|event| event["event"].as_str().unwrap()).collect();
    assert_eq!(kinds, [&["begun"][..], &["sample"; 10], &["ended"]].concat());
    assert_eq!((&events[11]["published"], &events[11]["rows"]), (&true.into(), &2.into()));
    assert!(place.path("run/report/report.html").is_file());
    // A second run does not touch the first.
    let (code, _, stderr) = place.run(&["run", "matrix.toml", "--out", "run"]);
    assert_eq!(code, 2);
    assert!(stderr.contains("holds a run already") && stderr.contains("bench resume"), "{stderr}");
    // Reports can be made anew, from what is kept.
    fs::remove_dir_all(place.path("run/report")).expect("the reports were there");
    assert_eq!(place.run(&["report", "run"]).0, 0);
    assert!(place.path("run/report/results.csv").is_file());
}

#[test]
fn what_is_not_good_has_codes_and_words() {
    let place = Place::new(CLIENT, 200_000);
    let (code, _, stderr) = place.run(&["run", "matrix.toml", "--out", "slow"]);
    let missed = "throughput_per_s is 100 k, should be at least 200 k";
    assert!(code == 6 && stderr.contains(missed), "{code} {stderr}");

    let (code, _, stderr) =
        place.run(&["run", "matrix.toml", "--out", "some", "--only", "payload=8"]);
    assert!(code == 0 && stderr.contains("only the rows with payload=8"), "{code} {stderr}");
    assert!(!place.path("some/report").exists());

    let place = Place::new("exit 7", 1);
    let (code, _, stderr) = place.run(&["run", "matrix.toml", "--out", "bad", "--diagnose"]);
    assert!(code == 100 && stderr.contains("ended with exit status: 7"), "{code} {stderr}");
    assert!(place.path("bad/diagnosis.md").is_file() && !place.path("bad/report").exists());
    assert_eq!(place.run(&["report", "bad"]).0, 100);

    let fifo = Command::new("mkfifo").arg(place.path("fifo")).status().expect("mkfifo starts");
    assert!(fifo.success());
    for (arguments, expected, words) in [
        (&["run", "nothing.toml"][..], 2, "docs/benchmarks.md"),
        (&["list", "matrix.toml", "--only", "payload=9"], 2, "`payload` is never `9`; it is 64, 8"),
        (
            &["list", "matrix.toml", "--only", "payload=8", "--only", "payload=64"],
            2,
            "two values of a label (`payload`)",
        ),
        (&["run", "matrix.toml", "--build", "a=x"], 2, "no command uses `build`"),
        (&["list", "fifo"], 2, "it is not a regular file"),
        (&["list", "."], 2, "it is not a regular file"),
        (&["run", "matrix.toml", "--out", "/proc/nothing/run"], 3, "TMPDIR"),
        (&["resume", "nothing"], 2, "nothing holds no run"),
        (&["run", "matrix.toml", "--build", "x"], 2, "`x` is not of the form NAME=VALUE"),
    ] {
        let (code, _, stderr) = place.run(arguments);
        assert!(code == expected && stderr.contains(words), "{arguments:?} {code} {stderr}");
    }
}

#[test]
fn builds_of_the_command_line_need_none_in_the_matrix() {
    let place = Place::new(CLIENT, 1000);
    place.change("\"client\",", "\"client\", \"{build.value}\",");
    let (code, _, stderr) = place.run(&["list", "matrix.toml"]);
    assert!(code == 2 && stderr.contains("`{build.value}`"), "{code} {stderr}");
    let builds = ["--build", "old=x", "--build", "new=y"];
    let (code, stdout, stderr) = place.run(&[&["list", "matrix.toml"], &builds[..]].concat());
    assert_eq!((code, stdout.lines().count()), (0, 4), "{stderr}");
}

#[test]
fn directories_that_are_no_good_are_the_users_to_mend() {
    let place = Place::new(CLIENT, 1000);
    let mut run = place.command(&["run", "matrix.toml", "--out", "run"]);
    let (code, _, stderr) = ended(run.env("TMPDIR", place.path("missing")));
    assert!(code == 3 && stderr.contains("TMPDIR, which must be there"), "{code} {stderr}");
    // Names that are no text are refused or shown as well as can be, and never a reason to panic.
    let odd = OsStr::from_bytes(b"d\xff");
    for json in [&[][..], &["--json"]] {
        let mut run = place.command(&["run", "matrix.toml", "--out"]);
        let (code, _, stderr) = ended(run.arg(odd).args(json));
        assert!(code == 2 && stderr.contains("d\u{fffd}"), "{code} {stderr}");
        let mut run = place.command(&["run", "matrix.toml", "--out", "other"]);
        let (code, _, stderr) = ended(run.args(json).env("TMPDIR", place.0.path().join(odd)));
        assert!(code == 2 && stderr.contains("d\u{fffd}"), "{code} {stderr}");
    }
    assert_eq!(place.run(&["run", "matrix.toml", "--out", "good"]).0, 0);
    fs::rename(place.path("good"), place.0.path().join(odd)).expect("it can be renamed");
    let (code, stdout, stderr) = ended(place.command(&["report", "--json"]).arg(odd));
    assert!(code == 0 && stdout.contains("\"run\":\"d\u{fffd}\""), "{code} {stdout} {stderr}");
}

#[test]
fn the_exit_code_tells_whether_anybody_reads_or_not() {
    let place = Place::new("exit 7", 1);
    assert_eq!(place.run(&["run", "matrix.toml", "--out", "bad"]).0, 100);
    for verb in ["report", "resume"] {
        let (reader, writer) = io::pipe().expect("a pipe");
        drop(reader);
        let mut unread = place.command(&[verb, "bad", "--json"]);
        let output = unread.stdout(writer).output().expect("the command starts");
        assert_eq!(output.status.code(), Some(100), "{verb} {output:?}");
    }
    let full = fs::File::create("/dev/full").expect("it is there");
    let mut unwritten = place.command(&["report", "bad", "--json"]);
    let output = unwritten.stdout(full).output().expect("the command starts");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{stderr}");
    assert!(stderr.contains("to standard output"), "{stderr}");
}

#[test]
fn what_others_write_is_no_command_to_the_terminal() {
    let client = "sleep 0.02; printf '%s\\n' '{{\"\\u001b]0;title\\u0007\":1}}'";
    let place = Place::new(client, 1000);
    place.change("title = \"Scripts\"", "title = \"\\u001b[2J\\u009bx\"");
    let (code, _, stderr) = place.run(&["run", "matrix.toml", "--out", "run"]);
    assert_eq!(code, 100, "{stderr}");
    for shown in ["\\u{1b}]0;title\\u{7}", "\\u{1b}[2J\\u{9b}x"] {
        assert!(stderr.contains(shown), "{stderr}");
    }
    let is_raw = |letter: char| letter.is_control() && letter != '\n';
    assert!(!stderr.contains(is_raw), "{stderr:?}");
}

#[test]
fn rows_that_fall_behind_are_told_of_at_the_end() {
    let place = Place::new(CLIENT, 1000);
    place.change("latency = false", "latency = false\nrates = [\"max\", 104000, 1000000]");
    place.change("\"client\",", "\"client\", \"{rate_per_s}\",");
    place.change("[policy]", "[policy]\nduration_s = 0.01");
    let (code, _, stderr) = place.run(&["run", "matrix.toml", "--out", "run"]);
    assert_eq!(code, 0, "{stderr}");
    let told = "        Slow 4 rows could not keep up with the declared rate, as \
                family=count payload=8 rate=104000: its rate is above the 100000/s that it can do";
    assert!(stderr.contains(told), "{stderr}");
    let markdown = fs::read_to_string(place.path("run/report/results.md")).expect("a report");
    assert!(markdown.contains("| payload | rate | items/s | ops/s |"), "{markdown}");
}

/// A run whose third client hangs until somebody ends it.
fn hanging() -> (Place, Child) {
    let client = "echo x >> count; n=0; while read x; do n=$((n+1)); done < count; \
                  [ $n -eq 3 ] && echo $$ >> pids && exec sleep 1000; ";
    let place = Place::new(&format!("{client}{CLIENT}"), 1000);
    let mut command = place.command(&["run", "matrix.toml", "--out", "run"]);
    let child = command.stderr(Stdio::piped()).spawn().expect("the command starts");
    wait_until("the third client is there", || place.lines("pids").len() == 3);
    (place, child)
}

/// Every process of the run has ended, and the run can go on to its good end.
fn resume(place: &Place) {
    for pid in place.lines("pids") {
        wait_until("clients have ended", || !is_alive(&pid));
    }
    let (code, _, stderr) = place.run(&["resume", "run"]);
    assert_eq!(code, 0, "{stderr}");
    let results = fs::read_to_string(place.path("run/report/results.json")).expect("a report");
    let results: Value = serde_json::from_str(&results).expect("JSON");
    assert_eq!(results["interrupted"], 1);
}

#[test]
fn a_killed_run_leaves_no_process_and_goes_on() {
    let (place, mut child) = hanging();
    child.kill().expect("it is there");
    child.wait().expect("it ends");
    resume(&place);
}

#[test]
fn an_interrupted_run_says_how_to_go_on() {
    let (place, child) = hanging();
    kill_process(Pid::from_child(&child), Signal::INT).expect("it is there");
    let output = child.wait_with_output().expect("it ends");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(130), "{stderr}");
    assert!(stderr.contains("cargo belljar bench resume run"), "{stderr}");
    resume(&place);
}

#[test]
fn a_run_that_was_changed_has_no_reports_and_others_keep_theirs() {
    let place = Place::new(CLIENT, 1000);
    assert_eq!(place.run(&["run", "matrix.toml", "--out", "run"]).0, 0);
    let state = fs::read_to_string(place.path("run/state.jsonl")).expect("a state");
    let changed = state.replacen("\"operations\":1000", "\"operations\":9000", 1);
    for verb in ["report", "resume"] {
        fs::write(place.path("run/state.jsonl"), &state).expect("it can be written");
        assert_eq!(place.run(&["report", "run"]).0, 0);
        fs::write(place.path("run/report/notes.txt"), "mine").expect("it can be written");
        fs::write(place.path("run/state.jsonl"), &changed).expect("it can be written");
        let (code, _, stderr) = place.run(&[verb, "run"]);
        assert!(code == 100 && stderr.contains("line 3: it was changed"), "{code} {stderr}");
        assert!(!place.path("run/report/results.csv").exists(), "{verb}");
        assert_eq!(place.lines("run/report/notes.txt"), ["mine"]);
        fs::remove_file(place.path("run/report/notes.txt")).expect("it is there");
    }
    // What no run began is nobody's to withdraw.
    fs::create_dir_all(place.path("other/report")).expect("a directory");
    for name in ["other/state.jsonl", "other/report/results.csv"] {
        fs::write(place.path(name), "theirs\n").expect("it can be written");
    }
    for arguments in [&["report", "other"][..], &["run", "matrix.toml", "--out", "other"]] {
        assert_eq!(place.run(arguments).0, 2);
        assert_eq!(place.lines("other/report/results.csv"), ["theirs"]);
    }
}

#[test]
fn a_run_that_goes_on_can_be_reported_on() {
    let (place, mut child) = hanging();
    let (code, _, stderr) = place.run(&["report", "run"]);
    assert!(code == 100 && stderr.contains("of 5 samples are there"), "{code} {stderr}");
    child.kill().expect("it is there");
    child.wait().expect("it ends");
    resume(&place);
}
