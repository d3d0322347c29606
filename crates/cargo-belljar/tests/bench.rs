//! `cargo belljar bench` as people and programs use it. Needs no machine.

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::fs;
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
             latency = false\nclient = [\"sh\", \"-c\", '''{client}''']\n\
             [[limit]]\nmetric = \"throughput_per_s\"\nat_least = {at_least}\n"
        );
        fs::write(place.path("matrix.toml"), matrix).expect("a matrix");
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cargo-belljar"));
        command.args(["belljar", "bench"]).args(arguments).current_dir(self.0.path());
        command
    }

    fn run(&self, arguments: &[&str]) -> (i32, String, String) {
        let Output { status, stdout, stderr } =
            self.command(arguments).output().expect("the command starts");
        let text = |bytes| String::from_utf8(bytes).expect("it is UTF-8");
        (status.code().unwrap_or(-1), text(stdout), text(stderr))
    }

    fn lines(&self, name: &str) -> Vec<String> {
        let text = fs::read_to_string(self.path(name)).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }
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

    for (arguments, expected, words) in [
        (&["run", "nothing.toml"][..], 2, "docs/benchmarks.md"),
        (&["list", "matrix.toml", "--only", "payload=9"], 2, "`payload` is never `9`; it is 64, 8"),
        (&["resume", "nothing"], 2, "nothing holds no run"),
        (&["run", "matrix.toml", "--build", "x"], 2, "`x` is not of the form NAME=VALUE"),
    ] {
        let (code, _, stderr) = place.run(arguments);
        assert!(code == expected && stderr.contains(words), "{arguments:?} {code} {stderr}");
    }
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
