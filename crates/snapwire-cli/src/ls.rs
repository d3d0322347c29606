//! `snapwire ls`: the services of a run directory.

use crate::args::LsArgs;
use crate::failure::{Exit, Failure};
use crate::output::{Raw, Table, json, line};
use crate::probe::{self, Found};
use crate::run_dir::{Life, RunDir, socket_of};
use rustix::fs::FileType;
use serde::Serialize;

/// What a service is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum State {
    /// It serves.
    Live,
    /// It serves, and its queue is full.
    Busy,
    /// Its socket was left behind.
    Stale,
    /// This user may not connect.
    Denied,
    /// There are regions and no socket.
    Absent,
    /// What is there is not its socket.
    Other,
}

/// A service, as one row.
#[derive(Debug, Serialize)]
struct Row {
    service: Raw,
    state: State,
    pid: Option<u32>,
    uid: Option<u32>,
    /// What the server supports.
    profiles: Option<String>,
    /// Why that is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<String>,
    /// Sessions over shared memory.
    regions_live: usize,
    /// Regions of processes that are gone.
    regions_stale: usize,
}

/// Lists them.
pub(crate) fn ls(args: &LsArgs) -> Result<Exit, Failure> {
    let run_dir = RunDir::read(&args.run_dir)?;
    let mut rows = Vec::new();
    for (service, files) in &run_dir.services {
        let regions = |life| files.regions.iter().filter(|region| region.life == life).count();
        let mut row = Row {
            service: service.as_os_str().into(),
            state: State::Absent,
            pid: None,
            uid: None,
            profiles: None,
            note: None,
            regions_live: regions(Life::Live),
            regions_stale: regions(Life::Stale),
        };
        let file_type = run_dir.followed(&socket_of(service));
        if files.has_socket && file_type.is_some_and(|kind| kind != FileType::Socket) {
            (row.state, row.note) = (State::Other, Some(String::from("not a socket")));
        } else if files.has_socket {
            match run_dir.connect(service) {
                Found::Live(owner, fd) => {
                    (row.state, row.pid, row.uid) = (State::Live, owner.pid, Some(owner.uid));
                    match probe::profiles(&fd, args.token) {
                        Ok(profiles) => row.profiles = Some(profiles.to_string()),
                        Err(note) => row.note = Some(note),
                    }
                }
                Found::Busy => row.state = State::Busy,
                Found::Stale => row.state = State::Stale,
                Found::Denied => row.state = State::Denied,
                Found::Gone => {}
                Found::Other(error) => {
                    (row.state, row.note) = (State::Other, Some(error.to_string()));
                }
            }
        }
        rows.push(row);
    }
    if args.json {
        json(&rows)?;
        return Ok(Exit::Done);
    }
    if rows.is_empty() {
        line(&format!("no services in {}", run_dir.path.display()))?;
        return Ok(Exit::Done);
    }
    let mut table = Table::new(["SERVICE", "STATE", "PID", "UID", "PROFILES", "REGIONS"]);
    for row in rows {
        let or_dash = |number: Option<String>| number.unwrap_or_else(|| String::from("-"));
        let stale = match row.regions_stale {
            0 => String::new(),
            stale => format!(" and {stale} stale"),
        };
        table.push([
            row.service.to_string(),
            format!("{:?}", row.state).to_lowercase(),
            or_dash(row.pid.map(|pid| pid.to_string())),
            or_dash(row.uid.map(|uid| uid.to_string())),
            or_dash(row.profiles.or_else(|| row.note.map(|note| format!("({note})")))),
            format!("{}{stale}", row.regions_live),
        ]);
    }
    table.print()?;
    Ok(Exit::Done)
}
