//! C and Rust talk to each other, in every combination, over every transport.
//!
//! The program in C is linked to the shared library, and with the address sanitizer to the static
//! one, so that what is read out of bounds, freed twice or never freed is told.

use serde_json::Value;
use snapwire_core::codec::{
    App, AppCgroup, AppCgroupStatus, AppStatus, CgroupStatus, Limit, Orchestrator, Pid, Profiles,
    SnapshotItem,
};
use snapwire_core::{
    AppsLookup, CgroupsLookup, CgroupsSnapshot, Client, ClientConfig, Endpoint, Failure, Increment,
    Offer, Server, ServerConfig, Service, StringReverse,
};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

const PROFILES: [Profiles; 3] = [Profiles::BASELINE, Profiles::SHM_HYBRID, Profiles::SHM_WAITERS];
const KINDS: [u16; 5] = [1, 2, 3, 4, 5];

/// The program in C, twice.
struct Programs {
    shared: PathBuf,
    checked: PathBuf,
    /// The one that the guide shows.
    guide: PathBuf,
}

fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(
        output.status.success(),
        "{command:?}: {}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

/// Builds the libraries as whoever links them does, and the program.
fn programs() -> &'static Programs {
    static PROGRAMS: OnceLock<Programs> = OnceLock::new();
    PROGRAMS.get_or_init(|| {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let scratch = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let target = scratch.parent().unwrap();
        let built = run(Command::new(env!("CARGO"))
            .args(["build", "-q", "-p", "snapwire-ffi", "--lib", "--message-format=json"])
            .arg("--target-dir")
            .arg(target)
            .current_dir(root));
        let messages = built.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let own = |message: &Value| {
            message["target"]["src_path"] == root.join("src/lib.rs").to_str().unwrap()
        };
        let artifact =
            messages.into_iter().filter(own).find(|message| message["filenames"].is_array());
        let artifact = artifact.expect("the library is an artifact");
        let file = |end: &str| {
            let files = artifact["filenames"].as_array().unwrap();
            let file =
                files.iter().find_map(|file| file.as_str().filter(|file| file.ends_with(end)));
            PathBuf::from(file.unwrap_or_else(|| panic!("no {end} in {files:?}")))
        };
        let (library, archive) = (file("/libsnapwire.so"), file("/libsnapwire.a"));
        let compile = |name: &str, source: &Path, flags: &[&str], libraries: &[&str]| {
            // Tests may be processes of their own, of which each does this.
            let made = scratch.join(format!("{name}-{}", std::process::id()));
            let program = scratch.join(name);
            run(Command::new("cc")
                .args(["-std=c11", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-g"])
                .args(flags)
                .arg("-I")
                .arg(root.join("include"))
                .arg(source)
                .arg("-o")
                .arg(&made)
                .args(libraries)
                .args(["-lpthread", "-ldl", "-lm"]));
            std::fs::rename(made, &program).unwrap();
            program
        };
        let directory = library.parent().unwrap().to_str().unwrap();
        let talk = root.join("tests/talk.c");
        let rpath = format!("-Wl,-rpath,{directory}");
        let dynamic = ["-L", directory, "-lsnapwire", &rpath];
        let shared = compile("talk-shared", &talk, &[], &dynamic);
        let sanitized = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"];
        let checked = compile("talk-checked", &talk, &sanitized, &[archive.to_str().unwrap()]);
        let page = std::fs::read_to_string(root.join("../../docs/snapwire.md")).unwrap();
        let (_, source) = page.split_once("```c\n").unwrap();
        let (source, _) = source.split_once("```\n").unwrap();
        let snippet = scratch.join(format!("guide-{}.c", std::process::id()));
        std::fs::write(&snippet, source).unwrap();
        let guide = compile("guide", &snippet, &[], &dynamic);
        std::fs::remove_file(snippet).unwrap();
        Programs { shared, checked, guide }
    })
}

/// A run directory in memory.
fn place() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").unwrap()
}

fn talk(program: &Path, words: &[&str], directory: &Path, profile: Profiles) -> Command {
    let mut command = Command::new(program);
    let (role, rest) = words.split_first().unwrap();
    command.arg(role);
    match rest {
        [] => command.arg(directory),
        kind => command.args(kind).arg(directory).arg("svc"),
    };
    // The handshake is over the socket, whatever follows.
    command.arg((profile | Profiles::BASELINE).0.to_string());
    command
}

/// A server in C. It stops when it is dropped, and must do so well.
struct Serving(Child);

impl Serving {
    fn start(program: &Path, kind: u16, directory: &Path, profile: Profiles) -> Serving {
        let mut child = talk(program, &["serve", &kind.to_string()], directory, profile)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut said).unwrap();
        assert_eq!(said, "ready\n");
        Serving(child)
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let status = self.0.wait().unwrap();
        assert!(status.success() || std::thread::panicking(), "{status}");
    }
}

fn offer(profile: Profiles) -> Offer {
    let limit = Limit { payload_bytes: 0, batch_items: 64 };
    Offer {
        profiles: profile | Profiles::BASELINE,
        preferred: profile,
        request: limit,
        auth_token: 11,
        ..Offer::default()
    }
}

/// A server in Rust that says what that in C says.
fn rust_server(kind: u16, directory: &Path, profile: Profiles) -> Server {
    let endpoint = Endpoint::new(directory, "svc").unwrap();
    let config = ServerConfig { offer: offer(profile), ..ServerConfig::default() };
    match kind {
        1 => Server::start::<Increment>(&endpoint, &config, |number, reply| {
            if number == 13 {
                return Err(Failure::Refused);
            }
            reply.set(number + 1);
            Ok(())
        }),
        2 => Server::start::<CgroupsSnapshot>(&endpoint, &config, |_, reply| {
            let builder = reply.builder();
            builder.set_generation(42);
            builder.set_systemd_enabled(1);
            for hash in 0..3 {
                let (name, path) = (format!("n{hash}"), format!("/p{hash}"));
                let (name, path) = (name.as_bytes(), path.as_bytes());
                builder.push(&SnapshotItem { hash, options: 2, enabled: 1, name, path })?;
            }
            Ok(())
        }),
        3 => Server::start::<StringReverse>(&endpoint, &config, |text, reply| {
            let text: Vec<u8> = text.iter().rev().copied().collect();
            Ok(reply.set(&text)?)
        }),
        4 => Server::start::<CgroupsLookup>(&endpoint, &config, |request, reply| {
            reply.set_generation(5);
            for path in request.iter() {
                if path.starts_with(b"/known") {
                    let labels: [(&[u8], &[u8]); 2] = [(b"app", b"web"), (b"tier", b"")];
                    reply.known(Orchestrator::K8S, b"pod", &labels)?;
                } else if path.starts_with(b"/later") {
                    reply.unknown_retry_later()?;
                } else {
                    reply.unknown_permanent()?;
                }
            }
            Ok(())
        }),
        _ => Server::start::<AppsLookup>(&endpoint, &config, |request, reply| {
            reply.set_generation(6);
            for pid in request.iter() {
                let known = AppCgroup::Known {
                    orchestrator: Orchestrator::SYSTEMD,
                    path: b"/system.slice/sshd",
                    name: b"sshd",
                    labels: &[],
                };
                let app = |uid, cgroup| App {
                    parent: Pid(1),
                    uid,
                    starttime_jiffies: 77,
                    comm: b"sshd",
                    cgroup,
                };
                match pid {
                    Pid(42) => reply.known(&app(Some(1000), known))?,
                    Pid(43) => reply.known(&app(None, AppCgroup::HostRoot))?,
                    _ => reply.unknown()?,
                };
            }
            Ok(())
        }),
    }
    .unwrap()
}

fn rust_client<S: Service>(directory: &Path, profile: Profiles) -> Client<S> {
    let endpoint = Endpoint::new(directory, "svc").unwrap();
    let config = ClientConfig { offer: offer(profile), ..ClientConfig::default() };
    let mut client = Client::new(&endpoint, &config);
    client.refresh();
    assert_eq!(client.terms().map(|terms| terms.profile), Some(profile), "{}", client.state());
    client
}

/// Calls a server in C from Rust.
fn rust_calls(kind: u16, directory: &Path, profile: Profiles) {
    match kind {
        1 => {
            let mut client = rust_client::<Increment>(directory, profile);
            assert_eq!(client.call(41).unwrap(), 42);
            let answers = client.call_batch((0..12u32).map(u64::from)).unwrap();
            assert!(answers.iter().map(Result::unwrap).eq(1..13));
            assert!(client.call(13).is_err());
        }
        2 => {
            let mut client = rust_client::<CgroupsSnapshot>(directory, profile);
            let snapshot = client.call(()).unwrap();
            assert_eq!((snapshot.generation(), snapshot.len()), (42, 3));
            let item = snapshot.item(2).unwrap();
            assert_eq!((item.hash, item.name, item.path), (2, &b"n2"[..], &b"/p2"[..]));
        }
        3 => {
            let mut client = rust_client::<StringReverse>(directory, profile);
            assert_eq!(client.call(b"abc").unwrap(), b"cba");
            assert!(client.call(&[0; 300]).is_err(), "the handler refuses");
        }
        4 => {
            let mut client = rust_client::<CgroupsLookup>(directory, profile);
            let response = client.lookup(&[b"/known/x", b"/later", b"/never"]).unwrap();
            let items: Vec<_> = response.iter().map(Result::unwrap).collect();
            assert_eq!(response.generation(), 5);
            assert_eq!((items[0].name, items[0].orchestrator), (&b"pod"[..], Orchestrator::K8S));
            let labels: Vec<_> = items[0].labels.iter().collect();
            assert_eq!(labels, [(&b"app"[..], &b"web"[..]), (b"tier", b"")]);
            assert_eq!(items[1].status, CgroupStatus::UnknownRetryLater);
            assert_eq!(items[2].status, CgroupStatus::UnknownPermanent);
        }
        _ => {
            let mut client = rust_client::<AppsLookup>(directory, profile);
            let response = client.lookup(&[Pid(42), Pid(43), Pid(44)]).unwrap();
            let items: Vec<_> = response.iter().map(Result::unwrap).collect();
            assert_eq!((items[0].comm, items[0].uid), (&b"sshd"[..], Some(1000)));
            assert_eq!(items[0].cgroup_path, b"/system.slice/sshd");
            assert_eq!((items[1].cgroup_status, items[1].uid), (AppCgroupStatus::HostRoot, None));
            assert_eq!(items[2].status, AppStatus::Unknown);
        }
    }
}

#[test]
fn a_client_in_c_and_a_server_in_rust() {
    let Programs { shared, checked, .. } = programs();
    for (profile, program) in PROFILES.into_iter().zip([shared, checked, shared]) {
        for kind in KINDS {
            let place = place();
            let _server = rust_server(kind, place.path(), profile);
            run(&mut talk(program, &["call", &kind.to_string()], place.path(), profile));
        }
    }
}

#[test]
fn a_client_in_rust_and_a_server_in_c() {
    let Programs { shared, checked, .. } = programs();
    for (profile, program) in PROFILES.into_iter().zip([checked, shared, checked]) {
        for kind in KINDS {
            let place = place();
            let _server = Serving::start(program, kind, place.path(), profile);
            rust_calls(kind, place.path(), profile);
        }
    }
}

#[test]
fn a_client_and_a_server_in_c() {
    let Programs { shared, checked, .. } = programs();
    for (profile, program) in PROFILES.into_iter().zip([checked, shared, checked]) {
        for kind in KINDS {
            let place = place();
            let _server = Serving::start(shared, kind, place.path(), profile);
            run(&mut talk(program, &["call", &kind.to_string()], place.path(), profile));
        }
    }
}

#[test]
fn mistakes_are_answered_and_nothing_leaks() {
    let Programs { shared, checked, .. } = programs();
    for profile in PROFILES {
        for program in [shared, checked] {
            let place = place();
            run(&mut talk(program, &["misuse"], place.path(), profile));
            let left = std::fs::read_dir(place.path()).unwrap().count();
            assert_eq!(left, 0, "{profile}");
        }
    }
}

#[test]
fn the_guides_program_does_what_it_says() {
    let place = place();
    let output = run(Command::new(&programs().guide).arg(place.path()));
    assert_eq!(output, "42\n");
}

#[test]
fn the_header_is_one_of_c99_and_cpp_too() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for (standard, language) in [("c99", "c"), ("c11", "c"), ("c++11", "c++"), ("c++17", "c++")] {
        run(Command::new("cc")
            .args(["-Wall", "-Wextra", "-Wpedantic", "-Werror", "-fsyntax-only"])
            .args([&format!("-std={standard}"), "-x", language])
            .arg(root.join("include/snapwire.h")));
    }
}
