//! `snapwire doctor`: what is wrong with a run directory, and what to do.

use crate::args::DoctorArgs;
use crate::failure::{Exit, Failure, NO_SEQPACKET};
use crate::output::{Raw, count, json, line, size};
use crate::probe::Found;
use crate::run_dir::{self, Life, RunDir, socket_of};
use rustix::fs::{self, AtFlags, FileType, FlockOperation};
use rustix::io::Errno;
use rustix::process::{Resource, geteuid, getrlimit};
use serde::Serialize;
use snapwire::{Credentials, Error};
use std::ffi::OsStr;
use std::thread;
use std::time::{Duration, Instant};

/// The magic number of tmpfs (statfs(2)).
const TMPFS: i64 = 0x0102_1994;
/// What a server with 8 sessions takes in regions with the default limits, and some more.
const FREE_MIN: u64 = 16 << 20;
/// Descriptors of a server and a client with 8 sessions, and some more.
const FILES_MIN: u64 = 256;
/// What a socket should be able to hold: a packet of the size that is proposed.
const SEND_BUFFER_MIN: u64 = 65536 + 32;
/// How long a server that is starting in the directory is waited for.
const LOCK_MAX: Duration = Duration::from_secs(1);

/// How bad something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Grade {
    /// As it should be.
    Ok,
    /// Worth knowing.
    Note,
    /// Something to do.
    Problem,
    /// It was a problem.
    Fixed,
}

/// One thing that was looked at.
#[derive(Debug, Serialize)]
struct Finding {
    grade: Grade,
    /// On what. This and the rest are for people.
    what: String,
    /// The file, byte for byte.
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<Raw>,
    found: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    advice: Option<String>,
}

impl Finding {
    fn ok(what: impl Into<String>, found: impl Into<String>) -> Finding {
        Finding {
            grade: Grade::Ok,
            what: what.into(),
            file: None,
            found: found.into(),
            advice: None,
        }
    }

    fn graded(
        grade: Grade,
        what: impl Into<String>,
        found: impl Into<String>,
        advice: impl Into<String>,
    ) -> Finding {
        let (what, found, advice) = (what.into(), found.into(), Some(advice.into()));
        Finding { grade, what, file: None, found, advice }
    }

    /// About a file.
    fn of(self, file: &OsStr) -> Finding {
        Finding { file: Some(file.into()), ..self }
    }
}

/// Looks, removes what may be removed, and says what it found.
pub(crate) fn doctor(args: &DoctorArgs) -> Result<Exit, Failure> {
    let run_dir = RunDir::read(&args.run_dir)?;
    // A server that starts does the same under the same lock.
    let may_fix = args.fix && lock(&run_dir)?;
    let mut findings = vec![directory(&run_dir), storage(&run_dir)];
    for (service, files) in &run_dir.services {
        if let Err(Error::BadName { .. }) = run_dir.check(service) {
            let socket = files.has_socket.then(|| socket_of(service));
            let regions = files.regions.iter().map(|region| region.file.clone());
            findings.extend(socket.into_iter().chain(regions).map(|file| foreign(&file)));
            continue;
        }
        let mut hidden = false;
        if files.has_socket {
            let (finding, owner) = socket(&run_dir, service, may_fix);
            findings.push(finding);
            hidden = owner.is_some_and(|owner| owner.pid.is_none());
        }
        findings.extend(regions(&run_dir, service, files, hidden, may_fix));
    }
    findings.extend([open_files(), file_size(), send_buffer()]);
    if args.json {
        json(&findings)?;
    } else {
        print(&findings)?;
    }
    let problems = findings.iter().any(|finding| finding.grade == Grade::Problem);
    Ok(if problems { Exit::Findings } else { Exit::Done })
}

fn print(findings: &[Finding]) -> Result<(), Failure> {
    for Finding { grade, what, found, advice, .. } in findings {
        let grade = format!("{grade:?}").to_lowercase();
        line(&format!("{grade:8} {what}: {found}"))?;
        if let Some(advice) = advice {
            line(&format!("         -> {advice}"))?;
        }
    }
    Ok(())
}

/// Keeps servers of this crate from starting in the directory until the command ends.
fn lock(run_dir: &RunDir) -> Result<bool, Failure> {
    let began = Instant::now();
    loop {
        let error = match fs::flock(&run_dir.fd, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(true),
            Err(error) => error,
        };
        if !matches!(error, Errno::AGAIN | Errno::INTR) || began.elapsed() > LOCK_MAX {
            let message = format!("cannot lock {}: {error}", run_dir.path.display());
            return Err(Failure::new(Exit::Failed, message)
                .hint("another server or doctor is busy in it: try again"));
        }
        thread::sleep(Duration::from_millis(5));
    }
}

fn directory(run_dir: &RunDir) -> Finding {
    let what = format!("directory {}", run_dir.path.display());
    let stat = match fs::fstat(&run_dir.fd) {
        Ok(stat) => stat,
        Err(error) => {
            return Finding::graded(Grade::Problem, what, error.to_string(), "look at its owner");
        }
    };
    let mode = stat.st_mode & 0o7777;
    let found = format!("of user {}, mode {mode:04o}", stat.st_uid);
    if mode & 0o022 != 0 && mode & 0o1000 != 0 {
        let advice = "others can take a service's name before it starts: give services a directory \
                      of their own in it";
        return Finding::graded(Grade::Problem, what, found, advice);
    }
    if mode & 0o022 != 0 {
        let advice = format!(
            "others can put files of their own in the place of a service's: chmod go-w {}",
            run_dir.path.display()
        );
        return Finding::graded(Grade::Problem, what, found, advice);
    }
    let own = geteuid().as_raw();
    if stat.st_uid != own && stat.st_uid != 0 {
        let advice = format!("user {own} runs this: user {} can replace services", stat.st_uid);
        return Finding::graded(Grade::Note, what, found, advice);
    }
    Finding::ok(what, found)
}

fn storage(run_dir: &RunDir) -> Finding {
    let what = "storage for shared memory";
    let stat = match fs::fstatfs(&run_dir.fd) {
        Ok(stat) => stat,
        Err(error) => {
            return Finding::graded(Grade::Note, what, error.to_string(), "look at its mount");
        }
    };
    let free = stat.f_bavail.saturating_mul(u64::try_from(stat.f_bsize).unwrap_or(0));
    let is_tmpfs = stat.f_type == TMPFS;
    let kind = if is_tmpfs { "tmpfs" } else { "no tmpfs" };
    let found = format!("{kind}, {} free", size(free));
    if free < FREE_MIN {
        let advice = "sessions fall back to the socket: make room, or mount it with a larger size";
        return Finding::graded(Grade::Problem, what, found, advice);
    }
    if !is_tmpfs {
        let advice = "regions may be written to a disk: use a directory in /run or /dev/shm";
        return Finding::graded(Grade::Note, what, found, advice);
    }
    Finding::ok(what, found)
}

/// A file that is called like a service's, of a service that cannot be.
fn foreign(file: &OsStr) -> Finding {
    let advice = "no server removes it, and `--fix` does not: look whose it is";
    let what = format!("file {}", Raw::from(file));
    Finding::graded(Grade::Note, what, "no service can have its name", advice).of(file)
}

/// What is found, and who serves.
fn socket(run_dir: &RunDir, service: &OsStr, may_fix: bool) -> (Finding, Option<Credentials>) {
    let file = socket_of(service);
    let (finding, owner) = socket_file(run_dir, service, &file, may_fix);
    (finding.of(&file), owner)
}

fn socket_file(
    run_dir: &RunDir,
    service: &OsStr,
    file: &OsStr,
    may_fix: bool,
) -> (Finding, Option<Credentials>) {
    let what = format!("service {}", Raw::from(service));
    let stat = match run_dir.stat(file) {
        Ok(stat) => stat,
        Err(Errno::NOENT) => return (Finding::ok(what, "has just gone"), None),
        Err(error) => {
            let error = error.to_string();
            return (Finding::graded(Grade::Problem, what, error, "look at the file"), None);
        }
    };
    if FileType::from_raw_mode(stat.st_mode) != FileType::Socket {
        let advice = "a server that starts here removes it: move it away if it is of use";
        let found = "its name is not a socket's";
        return (Finding::graded(Grade::Problem, what, found, advice), None);
    }
    let mode = stat.st_mode & 0o777;
    let finding = match run_dir.connect(service) {
        Found::Live(owner, _) => {
            let pid = match owner.pid {
                Some(pid) => format!("process {pid}"),
                None => String::from("a process in another pid namespace"),
            };
            let found = format!("served by {pid} of user {}", owner.uid);
            let finding = match mode & 0o077 {
                0 => Finding::ok(what, found),
                _ => {
                    let found = format!("{found}, mode {mode:04o}");
                    let advice = "others may connect; if they should not: chmod 600 its socket";
                    Finding::graded(Grade::Note, what, found, advice)
                }
            };
            return (finding, Some(owner));
        }
        Found::Stale => {
            let found = "nobody listens on its socket";
            let identity = (stat.st_dev, stat.st_ino);
            remove_or_advise(run_dir, service, file, identity, what, found, may_fix)
        }
        Found::Busy => {
            let advice = "clients wait: give the server more workers, or look why it hangs";
            Finding::graded(Grade::Problem, what, "its queue is full", advice)
        }
        Found::Denied => {
            let advice = format!("run as user {}", stat.st_uid);
            Finding::graded(Grade::Note, what, "this user may not connect", advice)
        }
        Found::Gone => Finding::ok(what, "has just gone"),
        Found::Other(error) => {
            let advice = match error {
                Errno::PROTOTYPE => NO_SEQPACKET,
                _ => "look at the file",
            };
            Finding::graded(Grade::Problem, what, error.to_string(), advice)
        }
    };
    (finding, None)
}

fn regions(
    run_dir: &RunDir,
    service: &OsStr,
    files: &run_dir::Files,
    hidden: bool,
    may_fix: bool,
) -> Vec<Finding> {
    let what = format!("regions of {}", Raw::from(service));
    let of = |life: Life| files.regions.iter().filter(move |region| region.life == life);
    let mut findings = Vec::new();
    let live = of(Life::Live).count();
    if live > 0 {
        let bytes = of(Life::Live).map(|region| region.bytes).sum();
        let found = format!("{}, {}", count(live, "session"), size(bytes));
        findings.push(Finding::ok(what.clone(), found));
    }
    for region in of(Life::Stale) {
        let file = Raw::from(region.file.as_os_str());
        let pid = region.pid.unwrap_or_default();
        if hidden {
            // Its numbers of processes are not ours.
            let found = format!("{file} of process {pid}, of which nothing is known");
            let advice = "look again from the server's pid namespace";
            let finding = Finding::graded(Grade::Note, what.clone(), found, advice);
            findings.push(finding.of(&region.file));
            continue;
        }
        let found = format!("{file} of process {pid}, which is gone");
        let Ok(stat) = run_dir.stat(&region.file) else {
            continue;
        };
        // Looked at once more: under the lock nobody else takes the name in the meantime.
        let still = run_dir::region(&run_dir.fd, &region.file);
        if still.is_none_or(|still| still.life != Life::Stale) {
            continue;
        }
        let identity = (stat.st_dev, stat.st_ino);
        let (what, file) = (what.clone(), &region.file);
        let finding = remove_or_advise(run_dir, service, file, identity, what, &found, may_fix);
        findings.push(finding.of(file));
    }
    for region in of(Life::Unknown) {
        let found = format!("{} is no finished region", Raw::from(region.file.as_os_str()));
        let advice = "a server that is making it will finish it; one that starts removes the rest";
        let finding = Finding::graded(Grade::Note, what.clone(), found, advice);
        findings.push(finding.of(&region.file));
    }
    findings
}

/// Removes a file that nobody uses, if it is still the one that was looked at.
fn remove_or_advise(
    run_dir: &RunDir,
    service: &OsStr,
    file: &OsStr,
    identity: (u64, u64),
    what: String,
    found: &str,
    may_fix: bool,
) -> Finding {
    if !may_fix {
        let advice = match run_dir.check(service) {
            Ok(()) => "the next server removes it, and so does `snapwire doctor --fix`",
            Err(_) => {
                "`snapwire doctor --fix` removes it; its path is too long for a server to start here"
            }
        };
        return Finding::graded(Grade::Problem, what, found, advice);
    }
    let same = run_dir.stat(file).is_ok_and(|stat| (stat.st_dev, stat.st_ino) == identity);
    if !same {
        return Finding::ok(what, "was replaced while it was looked at");
    }
    match fs::unlinkat(&run_dir.fd, file, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => {
            Finding { grade: Grade::Fixed, ..Finding::ok(what, format!("{found}: removed")) }
        }
        Err(error) => {
            let found = format!("{found}: cannot be removed: {error}");
            Finding::graded(Grade::Problem, what, found, "run as the directory's owner")
        }
    }
}

fn open_files() -> Finding {
    let what = "limit of open files";
    match getrlimit(Resource::Nofile).current {
        Some(limit) if limit < FILES_MIN => {
            let advice = format!("ulimit -n {FILES_MIN}: a server needs three for a session");
            Finding::graded(Grade::Problem, what, limit.to_string(), advice)
        }
        Some(limit) => Finding::ok(what, limit.to_string()),
        None => Finding::ok(what, "none"),
    }
}

fn file_size() -> Finding {
    let what = "limit of a file's size";
    match getrlimit(Resource::Fsize).current {
        Some(limit) if limit < FREE_MIN => {
            let advice = "ulimit -f unlimited: regions are files, of which each may be 2 MiB";
            Finding::graded(Grade::Problem, what, size(limit), advice)
        }
        Some(limit) => Finding::ok(what, size(limit)),
        None => Finding::ok(what, "none"),
    }
}

fn send_buffer() -> Finding {
    let what = "send buffer of sockets";
    let path = "/proc/sys/net/core/wmem_default";
    let buffer = std::fs::read_to_string(path).ok().and_then(|text| text.trim().parse().ok());
    match buffer {
        Some(bytes) if bytes < SEND_BUFFER_MIN => {
            let advice = "sysctl net.core.wmem_default=212992: messages go in more packets than \
                          they need to";
            Finding::graded(Grade::Note, what, size(bytes), advice)
        }
        Some(bytes) => Finding::ok(what, size(bytes)),
        None => Finding::graded(Grade::Note, what, "not known", format!("{path} cannot be read")),
    }
}
