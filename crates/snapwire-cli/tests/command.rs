//! The command as people and programs use it.

use rustix::process::{Pid as ProcessId, Signal, kill_process, kill_process_group};
use serde_json::{Value, json};
use snapwire::codec::{App, AppCgroup, Limit, Orchestrator, Pid, Profiles, SnapshotItem};
use snapwire::{
    AppsLookup, CgroupsLookup, CgroupsSnapshot, Endpoint, Increment, Offer, Server, ServerConfig,
    StringReverse,
};
use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};
use tempfile::TempDir;

fn snapwire(arguments: &[&str]) -> Output {
    command(arguments).output().expect("the command starts")
}

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_snapwire"));
    command.args(arguments).env_remove("SNAPWIRE_RUN_DIR").stdin(Stdio::null());
    command
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap_or(-1)
}

fn stdout(output: &Output) -> String {
    assert_eq!(code(output), 0, "{}", stderr(output));
    String::from_utf8(output.stdout.clone()).expect("data is UTF-8")
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).expect("it is JSON")
}

/// A run directory in memory, with a service of every kind.
struct Place {
    directory: TempDir,
}

impl Place {
    fn new() -> Place {
        let directory = tempfile::tempdir_in("/dev/shm").expect("a directory");
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o700)).unwrap();
        Place { directory }
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    fn of(&self, name: &str) -> String {
        self.path().join(name).to_str().expect("a path that is text").into()
    }

    fn endpoint(&self, service: &str) -> Endpoint {
        Endpoint::new(self.path(), service).expect("an endpoint")
    }

    fn numbers(&self, token: u64) -> Server {
        let limit = Limit { payload_bytes: 0, batch_items: 0 };
        let offer = Offer { auth_token: token, request: limit, ..Offer::default() };
        let config = ServerConfig { offer, ..ServerConfig::default() };
        let serve = |number: u64, reply: &mut snapwire::NumberReply<'_>| {
            reply.set(number.wrapping_add(1));
            Ok(())
        };
        Server::start::<Increment>(&self.endpoint("numbers"), &config, serve).unwrap()
    }

    /// What people read, without what differs from run to run.
    fn plain(&self, text: &str) -> String {
        let pid = std::process::id().to_string();
        text.replace(self.path().to_str().unwrap(), "DIR").replace(&pid, "PID")
    }
}

#[test]
fn every_method_is_called_over_every_transport() {
    let place = Place::new();
    let _numbers = place.numbers(7);
    let _texts = Server::start::<StringReverse>(
        &place.endpoint("texts"),
        &ServerConfig::default(),
        |text, reply| {
            let text: Vec<u8> = text.iter().rev().copied().collect();
            Ok(reply.set(&text)?)
        },
    )
    .unwrap();
    let (numbers, texts) = (place.of("numbers"), place.of("texts.sock"));
    for profile in ["auto", "shm", "uds"] {
        let options = ["--profile", profile, "--timeout", "20s"];
        let call = |arguments: &[&str]| snapwire(&[&["call"], arguments, &options].concat());
        let number = call(&[&numbers, "increment", "41", "--token", "0x7"]);
        assert_eq!(stdout(&number), "42\n");
        let text = call(&[&texts, "string-reverse", "abc\u{1b}"]);
        assert_eq!(stdout(&text), "\\u{1b}cba\n");
        assert_eq!(json(&call(&[&texts, "string-reverse", "abc", "--json"])), "cba");
    }
}

fn snapshots(place: &Place, generation: Arc<AtomicU64>) -> Server {
    let serve = move |_, reply: &mut snapwire::SnapshotReply<'_>| {
        let generation = generation.load(Ordering::SeqCst);
        let builder = reply.builder();
        builder.set_generation(generation);
        builder.set_systemd_enabled(1);
        let item =
            |hash, name, path, enabled| SnapshotItem { hash, options: 2, enabled, name, path };
        builder.push(&item(0xab, b"stays", b"/sys/stays", 1))?;
        builder.push(&item(0xcd, b"changes", b"/sys/changes", (generation > 1).into()))?;
        if generation == 1 {
            builder.push(&item(0xef, b"goes", b"/sys/goes", 1))?;
        } else {
            builder.push(&item(0x12, b"comes", b"/sys/comes", 1))?;
        }
        Ok(())
    };
    let config = ServerConfig::default();
    Server::start::<CgroupsSnapshot>(&place.endpoint("cgroups"), &config, serve).unwrap()
}

fn lookups(place: &Place) -> (Server, Server) {
    let config = ServerConfig::default();
    let cgroups =
        Server::start::<CgroupsLookup>(&place.endpoint("lookup"), &config, |request, reply| {
            reply.set_generation(5);
            for path in request.iter() {
                match path.starts_with(b"/known") {
                    true if path == b"/known/odd\xff" => {
                        let labels: &[(&[u8], &[u8])] =
                            &[(b"b", b"1"), (b"a", b"x,y=\xfe"), (b"b", b"2")];
                        reply.known(Orchestrator::K8S, b"a\nb", labels)?
                    }
                    true => {
                        let labels: &[(&[u8], &[u8])] = &[(b"app", b"web"), (b"tier", b"1")];
                        reply.known(Orchestrator::K8S, b"pod", labels)?
                    }
                    false => reply.unknown_permanent()?,
                };
            }
            Ok(())
        })
        .unwrap();
    let apps = Server::start::<AppsLookup>(&place.endpoint("apps"), &config, |request, reply| {
        for pid in request.iter() {
            let cgroup = AppCgroup::Known {
                orchestrator: Orchestrator::SYSTEMD,
                path: b"/system.slice/sshd",
                name: b"sshd",
                labels: &[],
            };
            let app =
                App { parent: Pid(1), uid: Some(0), starttime_jiffies: 77, comm: b"sshd", cgroup };
            if pid == Pid(42) {
                reply.known(&app)?
            } else {
                reply.unknown()?
            };
        }
        Ok(())
    })
    .unwrap();
    (cgroups, apps)
}

#[test]
fn answers_are_tables_or_json() {
    let place = Place::new();
    let _snapshots = snapshots(&place, Arc::new(AtomicU64::new(1)));
    let _lookups = lookups(&place);
    let (cgroups, lookup, apps) = (place.of("cgroups"), place.of("lookup"), place.of("apps"));
    let snapshot = ["call", &cgroups, "cgroups-snapshot"];
    let paths = ["call", &lookup, "cgroups-lookup", "/known/a", "/b"];
    let pids = ["call", &apps, "apps-lookup", "42", "43"];
    let all: Vec<String> =
        [&snapshot[..], &paths, &pids].into_iter().map(|call| stdout(&snapwire(call))).collect();
    insta::assert_snapshot!("answers", all.join("\n"));
    let as_json = |call: &[&str]| json(&snapwire(&[call, &["--json"]].concat()));
    assert_eq!(as_json(&snapshot)["cgroups"][2]["path"], "/sys/goes");
    assert_eq!(as_json(&snapshot)["generation"], 1);
    let labels = json!([["app", "web"], ["tier", "1"]]);
    assert_eq!(as_json(&paths)["cgroups"][0]["labels"], labels);
    assert_eq!(as_json(&paths)["cgroups"][1]["status"], "unknown-permanent");
    assert_eq!(as_json(&pids)["apps"][0]["cgroup_path"], "/system.slice/sshd");
    assert_eq!(as_json(&pids)["apps"][1]["uid"], Value::Null);
}

#[test]
fn nothing_is_lost_of_what_is_no_text() {
    let place = Place::new();
    let _lookups = lookups(&place);
    let path = OsStr::from_bytes(b"/known/odd\xff");
    let lookup = |options: &[&str]| {
        let mut command = command(&["call", &place.of("lookup"), "cgroups-lookup"]);
        command.arg(path).args(options).output().unwrap()
    };
    let found = &json(&lookup(&["--json"]))["cgroups"][0];
    assert_eq!(found["path"], json!({"bytes": "2f6b6e6f776e2f6f6464ff"}));
    assert_eq!(found["name"], "a\nb");
    let odd = json!([["b", "1"], ["a", {"bytes": "782c793dfe"}], ["b", "2"]]);
    assert_eq!(found["labels"], odd);
    let table = stdout(&lookup(&[]));
    assert!(table.contains("b=1,a=x\\,y\\=\u{fffd},b=2"), "{table}");
}

#[test]
fn the_command_line_says_which_argument_is_wrong() {
    let place = Place::new();
    let _lookups = lookups(&place);
    let empty = snapwire(&["call", &place.of("lookup"), "cgroups-lookup", "/k", ""]);
    assert_eq!(code(&empty), 2, "{}", stderr(&empty));
    assert!(stderr(&empty).contains("<PATHS>") && stderr(&empty).contains("cannot be empty"));
    let mut number = command(&["call", &place.of("lookup"), "increment"]);
    let number = number.arg(OsStr::from_bytes(b"4\xff")).output().unwrap();
    assert_eq!(code(&number), 2, "{}", stderr(&number));
    assert!(stderr(&number).contains(r"`4\xff`"), "{}", stderr(&number));
    let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let help = command(&["--help"]).stdout(full).output().unwrap();
    assert_eq!(code(&help), 1, "{}", stderr(&help));
    assert!(stdout(&snapwire(&["--help"])).contains("130"));
}

#[test]
fn each_failure_has_its_code_and_says_what_to_do() {
    let place = Place::new();
    let _numbers = place.numbers(7);
    let numbers = place.of("numbers");
    let failure = |arguments: &[&str], expected: i32, words: &str| {
        let output = snapwire(arguments);
        let said = stderr(&output);
        assert_eq!((code(&output), output.stdout.len()), (expected, 0), "{arguments:?}: {said}");
        assert!(said.contains(words), "{arguments:?}: {said}");
    };
    failure(&[], 2, "Usage");
    failure(&["call", &numbers, "increment", "x"], 2, "invalid value");
    failure(&["call", &numbers, "increment", "1", "--timeout", "5"], 2, "500ms");
    failure(&["call", &place.of("a b"), "increment", "1"], 2, "no service name");
    failure(&["call", "..", "increment", "1"], 2, "is no service");
    failure(&["call", &place.of("absent"), "increment", "1"], 3, "snapwire ls");
    failure(&["ls", &place.of("absent")], 3, "cannot look into");
    failure(&["call", &numbers, "increment", "1"], 4, "--token");
    failure(&["call", &numbers, "increment", "1", "--token", "8"], 4, "--token");
    failure(&["call", &numbers, "string-reverse", "x", "--token", "7"], 4, "another method");
    let uds = Offer { profiles: Profiles::BASELINE, ..Offer::default() };
    let config = ServerConfig { offer: uds, ..ServerConfig::default() };
    let _plain = Server::start::<Increment>(&place.endpoint("plain"), &config, |number, reply| {
        if number == 1 {
            std::thread::sleep(std::time::Duration::from_millis(300));
        }
        reply.set(number);
        Ok(())
    })
    .unwrap();
    let plain = place.of("plain");
    failure(&["call", &plain, "increment", "2", "--profile", "shm"], 4, "--profile auto");
    failure(&["call", &plain, "increment", "1", "--timeout", "50ms"], 5, "--timeout");
    let bench = ["bench", &plain, "--duration", "100ms"];
    failure(&bench, 6, "does not increment");
}

fn socket() -> OwnedFd {
    let (family, kind) = (rustix::net::AddressFamily::UNIX, rustix::net::SocketType::SEQPACKET);
    rustix::net::socket_with(family, kind, rustix::net::SocketFlags::CLOEXEC, None).unwrap()
}

/// A socket that a server has left behind.
fn leave_socket(path: &Path) {
    drop(bound(path));
}

fn bound(path: &Path) -> OwnedFd {
    let fd = socket();
    rustix::net::bind(&fd, &rustix::net::SocketAddrUnix::new(path).unwrap()).unwrap();
    fd
}

/// A server that accepts nobody, with room for one who waits.
fn silent(path: &Path) -> OwnedFd {
    let fd = bound(path);
    rustix::net::listen(&fd, 0).unwrap();
    fd
}

#[test]
fn the_time_is_one_for_all_that_a_call_needs() {
    let place = Place::new();
    let path = place.path().join("silent.sock");
    let _silent = silent(&path);
    let timed_out = |arguments: &[&str], words: &str| {
        let began = Instant::now();
        let output = snapwire(&[arguments, &["--timeout", "1s"]].concat());
        let (took, said) = (began.elapsed(), stderr(&output));
        assert_eq!(code(&output), 5, "{said}");
        assert!(took < Duration::from_millis(1900), "{took:?}");
        assert!(said.contains(path.to_str().unwrap()) && said.contains(words), "{said}");
    };
    let silent = place.of("silent");
    timed_out(&["call", &silent, "increment", "1"], "--timeout");
    // What has gone may be in the queue still: one more fills it.
    let waiting = socket();
    rustix::io::ioctl_fionbio(&waiting, true).unwrap();
    let _ = rustix::net::connect(&waiting, &rustix::net::SocketAddrUnix::new(&path).unwrap());
    timed_out(&["call", &silent, "increment", "1"], "its queue is full");
    timed_out(&["bench", &silent], "its queue is full");
}

#[test]
fn what_a_server_does_wrong_is_told_with_its_name() {
    let place = Place::new();
    let config = ServerConfig::default();
    let endpoint = place.endpoint("failing");
    let failing = |_, _: &mut snapwire::NumberReply<'_>| Err(snapwire::Failure::Refused);
    let _failing = Server::start::<Increment>(&endpoint, &config, failing).unwrap();
    let _stream = UnixListener::bind(place.path().join("stream.sock")).unwrap();
    for (service, method, expected, words) in [
        ("failing", &["increment", "1"][..], 4, "log may say why"),
        ("stream", &["increment", "1"], 1, "no SEQPACKET socket"),
    ] {
        let output = snapwire(&[&["call", &place.of(service)], method].concat());
        let said = stderr(&output);
        assert_eq!(code(&output), expected, "{said}");
        assert!(said.contains(&place.of(&format!("{service}.sock"))), "{said}");
        assert!(said.contains(words), "{said}");
    }
}

/// A region of a process, as the contract has it.
fn leave_region(path: PathBuf, pid: u32) {
    let mut region = vec![0; 4096];
    region[..4].copy_from_slice(&0x4e53_484du32.to_ne_bytes());
    region[8..12].copy_from_slice(&pid.to_ne_bytes());
    region[12..16].copy_from_slice(&9u32.to_ne_bytes());
    fs::write(path, region).unwrap();
}

/// The number of a process that has ended.
fn ended() -> u32 {
    let mut child = Command::new("true").spawn().unwrap();
    child.wait().unwrap();
    child.id()
}

/// Everything that can be in a run directory.
fn litter(place: &Place) -> u32 {
    let gone = ended();
    leave_socket(&place.path().join("dead.sock"));
    leave_region(place.path().join("dead-0000000000000001.ipcshm"), gone);
    leave_region(place.path().join("numbers-00000000000000ff.ipcshm"), gone);
    leave_region(place.path().join("other-0000000000000001.ipcshm"), std::process::id());
    fs::write(place.path().join("begun-0000000000000001.ipcshm"), b"").unwrap();
    fs::write(place.path().join("file.sock"), b"").unwrap();
    fs::write(place.path().join("notes.txt"), b"").unwrap();
    symlink("notes.txt", place.path().join("link.sock")).unwrap();
    gone
}

#[test]
fn services_are_listed() {
    let place = Place::new();
    assert_eq!(
        stdout(&snapwire(&["ls", &place.of("")])),
        format!("no services in {}\n", place.of(""))
    );
    let _numbers = place.numbers(7);
    let _stream = UnixListener::bind(place.path().join("stream.sock")).unwrap();
    litter(&place);
    let mut client: snapwire::Client<Increment> = snapwire::Client::new(
        &place.endpoint("numbers"),
        &snapwire::ClientConfig {
            offer: Offer { auth_token: 7, ..Offer::default() },
            ..Default::default()
        },
    );
    client.refresh();
    let text = stdout(&snapwire(&["ls", &place.of(""), "--token", "7"]));
    // The pid and the user may be longer or shorter, and their columns with them.
    let uid = rustix::process::getuid().as_raw().to_string();
    let line = |line: &str| {
        let mut words: Vec<&str> = line.split_whitespace().collect();
        if words[3] == uid {
            words[3] = "UID";
        }
        words.join(" ")
    };
    let text: Vec<String> = place.plain(&text).lines().map(line).collect();
    insta::assert_snapshot!("ls", text.join("\n"));
    // The directory may come from the environment, and the token may be another one.
    let mut ls = command(&["ls", "--json"]);
    let rows = json(&ls.env("SNAPWIRE_RUN_DIR", place.path()).output().unwrap());
    let row = |name: &str| {
        rows.as_array().unwrap().iter().find(|row| row["service"] == name).unwrap().clone()
    };
    assert_eq!(
        (&row("numbers")["state"], &row("numbers")["pid"]),
        (&"live".into(), &std::process::id().into())
    );
    assert_eq!(row("numbers")["note"], "wants a token");
    assert_eq!(
        (&row("numbers")["regions_live"], &row("numbers")["regions_stale"]),
        (&1.into(), &1.into())
    );
    assert_eq!(row("dead")["state"], "stale");
}

#[test]
fn the_doctor_removes_what_is_proven_stale_and_nothing_else() {
    let place = Place::new();
    let _numbers = place.numbers(0);
    let gone = litter(&place);
    fs::set_permissions(place.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let names = || {
        let entries = fs::read_dir(place.path()).unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    };
    let before = names();
    let looked = snapwire(&["doctor", &place.of("")]);
    assert_eq!((code(&looked), names()), (7, before), "{}", stderr(&looked));
    let text = String::from_utf8(looked.stdout).unwrap();
    let uid = format!("user {}", rustix::process::getuid().as_raw());
    let text = place.plain(&text).replace(&gone.to_string(), "GONE").replace(&uid, "user UID");
    // The machine's own limits are another test's.
    let text: Vec<&str> = text
        .lines()
        .filter(|line| {
            ["directory", "service", "regions", "->"].iter().any(|word| line.contains(word))
        })
        .collect();
    insta::assert_snapshot!("doctor", text.join("\n"));

    let fixed = snapwire(&["doctor", &place.of(""), "--fix", "--json"]);
    assert_eq!(code(&fixed), 7, "the directory is still everybody's");
    let grades = json(&fixed);
    let of = |grade: &str| {
        let all = grades.as_array().unwrap();
        all.iter().filter(|finding| finding["grade"] == grade).count()
    };
    assert_eq!(of("fixed"), 3);
    assert_eq!(
        names(),
        [
            "begun-0000000000000001.ipcshm",
            "file.sock",
            "link.sock",
            "notes.txt",
            "numbers.sock",
            "other-0000000000000001.ipcshm"
        ]
    );
    for file in ["file.sock", "link.sock"] {
        fs::remove_file(place.path().join(file)).unwrap();
    }
    fs::set_permissions(place.path(), fs::Permissions::from_mode(0o700)).unwrap();
    let output = snapwire(&["doctor", &place.of("")]);
    assert_eq!(code(&output), 0, "{}", String::from_utf8_lossy(&output.stdout));
    let limits = stdout(&output);
    for what in ["storage for shared memory: tmpfs", "limit of open files", "send buffer"] {
        assert!(limits.contains(what), "{limits}");
    }
}

#[test]
fn the_doctor_knows_what_is_no_service() {
    let place = Place::new();
    let long = place.path().join("x".repeat(100));
    fs::create_dir(&long).unwrap();
    fs::set_permissions(&long, fs::Permissions::from_mode(0o700)).unwrap();
    // Bound where the path is short: its name alone is none too long.
    let short = place.path().join("dead.sock");
    leave_socket(&short);
    fs::rename(&short, long.join("dead.sock")).unwrap();
    let foreign: [&[u8]; 4] =
        [b".sock", b"a b.sock", b"a\xff.sock", b"a b-00000000000000aa.ipcshm"];
    for name in &foreign[..3] {
        leave_socket(&short);
        fs::rename(&short, long.join(OsStr::from_bytes(name))).unwrap();
    }
    leave_region(long.join(OsStr::from_bytes(foreign[3])), ended());
    let directory = long.to_str().unwrap();
    let listed = json(&snapwire(&["ls", directory, "--json"]));
    let states = listed.as_array().unwrap().iter().map(|row| (&row["service"], &row["state"]));
    let odd = json!({"bytes": "61ff"});
    for (name, state) in [(&json!("dead"), "stale"), (&odd, "stale"), (&json!(""), "stale")] {
        assert!(states.clone().any(|row| row == (name, &json!(state))), "{listed}");
    }
    let looked = snapwire(&["doctor", directory]);
    let text = String::from_utf8_lossy(&looked.stdout).into_owned();
    assert_eq!(code(&looked), 7, "{text}");
    assert!(text.contains("service dead: nobody listens on its socket"), "{text}");
    assert!(!text.contains("next server removes it"), "{text}");
    let fixed = snapwire(&["doctor", directory, "--fix", "--json"]);
    let findings = json(&fixed);
    assert_eq!(code(&fixed), 0, "{findings}");
    let file = |grade: &str, file: Value| {
        let all = findings.as_array().unwrap();
        all.iter().any(|finding| finding["grade"] == grade && finding["file"] == file)
    };
    assert!(file("fixed", json!("dead.sock")), "{findings}");
    assert!(file("note", json!({"bytes": "61ff2e736f636b"})), "{findings}");
    assert_eq!(fs::read_dir(&long).unwrap().count(), foreign.len());
    assert!(foreign.iter().all(|name| long.join(OsStr::from_bytes(name)).exists()));
}

/// The command in another pid namespace, from which no process outside is seen.
fn elsewhere(arguments: &[&str]) -> Command {
    let mut command = Command::new("unshare");
    command
        .args(["--user", "--map-root-user", "--pid", "--fork"])
        .arg(env!("CARGO_BIN_EXE_snapwire"))
        .args(arguments);
    command
}

#[test]
fn clients_and_servers_meet_across_pid_namespaces() {
    let place = Place::new();
    let numbers = place.of("numbers");
    let serve = ["serve", &numbers, "--payload-bytes", "0", "--token", "0"];
    let mut server =
        elsewhere(&serve).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut said = String::new();
    BufReader::new(server.stdout.take().unwrap()).read_line(&mut said).unwrap();
    assert_eq!(said, "ready\n");
    for profile in ["shm", "uds"] {
        let call = ["call", &numbers, "increment", "41", "--profile", profile];
        assert_eq!(stdout(&snapwire(&call)), "42\n");
        assert_eq!(stdout(&elsewhere(&call).output().unwrap()), "42\n");
    }
    drop(server.stdin.take());
    assert!(server.wait().unwrap().success());
}

/// In a container the numbers of processes are others, and say nothing about who is alive.
#[test]
fn regions_of_another_pid_namespace_are_not_touched() {
    let place = Place::new();
    let _numbers = place.numbers(0);
    let mut client: snapwire::Client<Increment> =
        snapwire::Client::new(&place.endpoint("numbers"), &snapwire::ClientConfig::default());
    client.refresh();
    assert!(client.terms().unwrap().profile.intersects(Profiles::SHM));
    let files = || fs::read_dir(place.path()).unwrap().count();
    assert_eq!(files(), 2);
    let output = elsewhere(&["doctor", &place.of(""), "--fix", "--json"]).output().unwrap();
    let findings = json(&output);
    assert_eq!(code(&output), 0, "{findings}");
    let found = |words: &str| {
        let all = findings.as_array().unwrap();
        all.iter().any(|finding| finding["found"].as_str().unwrap().contains(words))
    };
    assert!(found("served by a process in another pid namespace"), "{findings}");
    assert!(found("of which nothing is known"), "{findings}");
    assert_eq!((files(), client.call(1).unwrap()), (2, 2));
}

#[test]
fn what_changes_is_watched_until_interrupted() {
    let place = Place::new();
    let generation = Arc::new(AtomicU64::new(1));
    let server = snapshots(&place, Arc::clone(&generation));
    let cgroups = place.of("cgroups");
    let mut watch =
        command(&["watch", &cgroups, "--interval", "20ms"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(watch.stdout.take().unwrap()).lines();
    let mut next = |number: usize| -> Vec<String> {
        (0..number).map(|_| lines.next().unwrap().unwrap()).collect()
    };
    let first = next(4);
    generation.store(2, Ordering::SeqCst);
    let second = next(4);
    drop(server);
    let lost = next(1);
    let _server = snapshots(&place, Arc::clone(&generation));
    generation.store(3, Ordering::SeqCst);
    // Between two snapshots of a new server there may be one more failure to tell.
    let mut back = next(1);
    while back[0].starts_with('!') {
        back = next(1);
    }
    let text = [first, second].concat().join("\n");
    insta::assert_snapshot!("watch", text);
    assert!(lost[0].starts_with("! "), "{lost:?}");
    assert!(back[0].starts_with("= 3 cgroups, generation "), "{back:?}");
    let pid = ProcessId::from_child(&watch);
    kill_process(pid, Signal::INT).unwrap();
    assert_eq!(watch.wait().unwrap().code(), Some(0));
    let output = snapwire(&["watch", &cgroups, "--count", "2", "--interval", "1ms", "--json"]);
    let events: Vec<Value> =
        stdout(&output).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(events.len(), 4);
    assert_eq!((&events[0]["event"], &events[0]["cgroups"]), (&"snapshot".into(), &3.into()));
    assert_eq!((&events[1]["event"], &events[1]["name"]), (&"added".into(), &"comes".into()));
}

#[test]
fn what_cannot_be_watched_is_told_at_once_and_what_may_be_back_once() {
    let place = Place::new();
    let _numbers = place.numbers(0);
    let other = snapwire(&["watch", &place.of("numbers"), "--interval", "1ms"]);
    assert_eq!(code(&other), 4, "{}", stderr(&other));
    assert!(stderr(&other).contains("another method"), "{}", stderr(&other));
    let mut watch =
        command(&["watch", &place.of("absent"), "--json"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut lost = String::new();
    BufReader::new(watch.stdout.take().unwrap()).read_line(&mut lost).unwrap();
    let lost: Value = serde_json::from_str(&lost).unwrap();
    kill_process(ProcessId::from_child(&watch), Signal::INT).unwrap();
    assert_eq!(watch.wait().unwrap().code(), Some(0));
    assert!(lost["reason"].as_str().unwrap().contains(&place.of("absent.sock")), "{lost}");
    assert!(lost["advice"].as_str().unwrap().contains("snapwire ls"), "{lost}");
}

#[test]
fn to_end_a_watch_is_no_loss() {
    let place = Place::new();
    let silent = silent(&place.path().join("silent.sock"));
    let watch = command(&["watch", &place.of("silent")]).stdout(Stdio::piped()).spawn().unwrap();
    // It waits for the answer to its handshake.
    let peer = rustix::net::accept(&silent).unwrap();
    rustix::net::recv(&peer, &mut [0; 128][..], rustix::net::RecvFlags::empty()).unwrap();
    kill_process(ProcessId::from_child(&watch), Signal::INT).unwrap();
    let output = watch.wait_with_output().unwrap();
    assert_eq!((stdout(&output), stderr(&output)), (String::new(), String::new()));
}

#[test]
fn cgroups_that_print_alike_are_not_one() {
    let place = Place::new();
    let names: [&[u8]; 6] = [b"a\xfe", b"a\xff", b"a\n", b"a\\n", b"b", b"c"];
    let serve = move |_, reply: &mut snapwire::SnapshotReply<'_>| {
        for name in names {
            let (hash, options, enabled, path) = (1, 2, 1, b"/p");
            reply.builder().push(&SnapshotItem { hash, options, enabled, name, path })?;
        }
        Ok(())
    };
    let config = ServerConfig::default();
    let endpoint = place.endpoint("cgroups");
    let _server = Server::start::<CgroupsSnapshot>(&endpoint, &config, serve).unwrap();
    let watch = snapwire(&["watch", &place.of("cgroups"), "--count", "1", "--json"]);
    let events: Vec<Value> =
        stdout(&watch).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let mut watched: Vec<&Value> = events[1..].iter().map(|event| &event["name"]).collect();
    watched.sort_by_key(|name| name.to_string());
    assert_eq!(events[0]["cgroups"], 6);
    let expected = [
        &json!("a\\n"),
        &json!("a\n"),
        &json!("b"),
        &json!("c"),
        &json!({"bytes": "61fe"}),
        &json!({"bytes": "61ff"}),
    ];
    assert_eq!(watched, expected);
}

#[test]
fn an_interrupted_measurement_says_so() {
    let place = Place::new();
    let (sender, measuring) = mpsc::channel();
    let zeros = AtomicU64::new(0);
    let _numbers = Server::start::<Increment>(
        &place.endpoint("numbers"),
        &ServerConfig::default(),
        move |number, reply| {
            // The numbers begin again after the warm-up.
            if number == 0 {
                zeros.fetch_add(1, Ordering::SeqCst);
            }
            if number == 1 && zeros.load(Ordering::SeqCst) == 2 {
                let _ = sender.send(());
            }
            reply.set(number.wrapping_add(1));
            Ok(())
        },
    )
    .unwrap();
    let options = ["--profile", "uds", "--duration", "5s", "--json"];
    let bench = command(&[&["bench", &place.of("numbers")], &options[..]].concat())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    measuring.recv().unwrap();
    kill_process(ProcessId::from_child(&bench), Signal::TERM).unwrap();
    let output = bench.wait_with_output().unwrap();
    assert_eq!(code(&output), 130);
    let report = json(&output);
    assert_eq!(report["interrupted"], true);
    let positive = |what: &str| report[what].as_f64().unwrap() > 0.0;
    assert!(positive("messages") && positive("items_per_s"), "{report}");
}

/// Waits until something is found, which must be soon.
fn soon<T>(what: &str, mut find: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        match find() {
            Some(found) => return found,
            None if began.elapsed() > Duration::from_secs(20) => panic!("no {what}"),
            None => std::thread::yield_now(),
        }
    }
}

#[test]
fn a_measurement_leaves_nothing_however_it_ends() {
    for signal in [Signal::INT, Signal::TERM, Signal::HUP, Signal::KILL] {
        let mut command = command(&["bench", "--duration", "100s"]);
        let mut bench =
            command.stdout(Stdio::null()).stderr(Stdio::null()).process_group(0).spawn().unwrap();
        let pid = ProcessId::from_child(&bench);
        let raw = pid.as_raw_nonzero();
        // Its server's first argument is the service.
        let socket = soon("server", || {
            let children = fs::read_to_string(format!("/proc/{raw}/task/{raw}/children")).ok()?;
            let child = children.split_whitespace().next()?;
            let arguments = fs::read_to_string(format!("/proc/{child}/cmdline")).ok()?;
            let socket = PathBuf::from(format!("{}.sock", arguments.split('\0').nth(2)?));
            socket.exists().then_some(socket)
        });
        let directory = socket.parent().unwrap();
        if signal == Signal::KILL {
            // The server is left to itself.
            kill_process(pid, signal).unwrap();
            bench.wait().unwrap();
            soon("end of the server", || (!directory.exists()).then_some(()));
        } else {
            kill_process_group(pid, signal).unwrap();
            assert_eq!(bench.wait().unwrap().code(), Some(130), "{signal:?}");
            assert!(!directory.exists(), "{signal:?}");
        }
    }
}

#[test]
fn measurements_are_of_both_sides() {
    let place = Place::new();
    let _numbers = place.numbers(7);
    let numbers = place.of("numbers");
    for (shape, profile) in
        [("ping-pong", "uds"), ("ping-pong", "shm"), ("pipeline", "uds"), ("batch", "shm")]
    {
        let options = ["--shape", shape, "--profile", profile, "--duration", "200ms", "--json"];
        let live = snapwire(&[&["bench", &numbers, "--token", "7"], &options[..]].concat());
        let own = snapwire(&[&["bench"], &options[..]].concat());
        for output in [live, own] {
            assert_eq!(code(&output), 0, "{}", stderr(&output));
            let report = json(&output);
            assert_eq!(report["shape"], shape);
            let number = |pointer: &str| report.pointer(pointer).unwrap().as_f64().unwrap();
            assert!(number("/messages") > 0.0 && number("/items_per_s") > 0.0, "{report}");
            let per_message = if shape == "batch" { 1000.0 } else { 1.0 };
            assert_eq!(number("/items"), number("/messages") * per_message, "{report}");
            let quantiles =
                ["/latency_ns/p50", "/latency_ns/p99", "/latency_ns/p99_9", "/latency_ns/max"]
                    .map(number);
            assert!(quantiles.is_sorted() && quantiles[0] > 0.0, "{report}");
            assert!(report["client_cpus"].is_number() && report["server_cpus"].is_number());
        }
    }
    let text = stdout(&snapwire(&["bench", &numbers, "--token", "7", "--duration", "100ms"]));
    for word in ["ping-pong over shm-waiters", "messages", "p99.9", "processors"] {
        assert!(text.contains(word), "{text}");
    }
}

#[test]
fn nobody_has_to_read_to_the_end() {
    let place = Place::new();
    let _snapshots = snapshots(&place, Arc::new(AtomicU64::new(1)));
    let mut child = command(&["call", &place.of("cgroups"), "cgroups-snapshot"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!((code(&output), stderr(&output)), (0, String::new()));
}
