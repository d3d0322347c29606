//! Measuring one sample.

use std::io;
use std::iter::repeat_with;
use std::mem;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::process::Pid;

use crate::cancel::Cancel;
use crate::cell::Cell;
use crate::command::{Words, expand};
use crate::cpu::{MachineCpu, has_other_processes, process_cpu_ns};
use crate::evidence::Evidence;
use crate::fault::Fault;
use crate::matrix::words_of_run;
use crate::measurement::Measurement;
use crate::orphan::{adopt, children, end_orphans, orphans};
use crate::policy::Policy;
use crate::process::{Process, Role, Stop, is_good_end, wait_for_news};
use crate::program::resolve;
use crate::protocol::{ClientReport, READY_LINE};
use crate::run::absolute;
use crate::state::Outcome;

/// What the names of samples' directories begin with.
pub(crate) const DIRECTORY_PREFIX: &str = "bj-";

/// A sample that is to be measured, in a directory of its own that is gone afterwards.
#[derive(Debug)]
pub(crate) struct Attempt<'a> {
    cell: &'a Cell,
    policy: &'a Policy,
    base: &'a Path,
    directory: PathBuf,
    words: Words,
}

/// How often it is looked for files that must be there once a server is ready.
const FILE_LOOK: Duration = Duration::from_millis(5);

/// How often it is looked for processes that work for others while a client measures.
const CHILDREN_LOOK: Duration = Duration::from_millis(100);
/// CPU time from which on a process counts as one that works, as it would in the kernel's ticks.
const WORK_NS: u64 = 10_000_000;

impl<'a> Attempt<'a> {
    /// Prepares the sample `number` of a run.
    pub(crate) fn new(cell: &'a Cell, policy: &'a Policy, base: &'a Path, number: usize) -> Self {
        // Socket addresses have 108 bytes, so the directory is where names are short.
        let letters: String = repeat_with(fastrand::alphanumeric).take(8).collect();
        let name = format!("{DIRECTORY_PREFIX}{letters}");
        let directory = absolute(&std::env::temp_dir()).join(&name);
        // Shared memory has names that are the whole machine's.
        let service = format!("{name}-{number}");
        let words = words_of_run(&cell.work.words, &directory, &service);
        Self { cell, policy, base, directory, words }
    }

    /// Its directory, which is there only while it is measured: so its name can be on record before.
    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Measures. `None` when it was called off. A failed sample comes with its evidence.
    pub(crate) fn measure(
        self,
        cancel: &Cancel,
    ) -> io::Result<Option<(Outcome, Option<Evidence>)>> {
        adopt()?;
        let parent = self.directory.parent().unwrap_or(&self.directory);
        let name = self.directory.file_name().unwrap_or_default();
        let _directory = tempfile::Builder::new().prefix(name).rand_bytes(0).tempdir_in(parent)?;
        let mut pair = Pair { server: None, client: None };
        let outcome = self.run(&mut pair, cancel);
        pair.finish();
        // Those that a failure or an interruption has left, too.
        for role in [Role::Client, Role::Server] {
            end_orphans(&self.mark(role))?;
        }
        let outcome = match outcome {
            Ok(measurement) => Outcome::Measured(measurement),
            Err(Stop::Fault(fault)) => Outcome::Failed(fault),
            Err(Stop::Interrupted) => return Ok(None),
            Err(Stop::Io(error)) => return Err(error),
        };
        let fault = outcome.fault(self.cell);
        let evidence = fault.map(|fault| self.evidence(pair, &fault)).transpose()?;
        Ok(Some((outcome, evidence)))
    }

    fn run(&self, pair: &mut Pair, cancel: &Cancel) -> Result<Measurement, Stop> {
        if let Some(server) = &self.cell.work.server {
            let command = self.command(server, Role::Server)?;
            let server = pair.server.insert(self.start(&command, Role::Server)?);
            self.wait_until_ready(server, cancel)?;
        }
        let client = self.command(&self.cell.work.client, Role::Client)?;
        let machine_before = MachineCpu::now()?;
        let server_before_ns = pair.server_cpu_ns()?;
        pair.client = Some(self.start(&client, Role::Client)?);
        let (lived, client_cpu_ns) = self.wait_for_client(pair, cancel)?;
        let server_after_ns = pair.server_cpu_ns()?;
        let machine = MachineCpu::now()?;
        let server_cpu_ns = server_after_ns
            .zip(server_before_ns)
            .map(|(after, before)| after.saturating_sub(before));
        let report = self.end_client(pair)?;
        self.end_server(pair, cancel)?;
        let wall_ns = u64::try_from(lived.as_nanos()).unwrap_or(u64::MAX);
        let (elapsed_ns, overhead_s) = (report.elapsed_ns, self.policy.client_overhead_s);
        if wall_ns.saturating_sub(elapsed_ns) as f64 > overhead_s * 1e9 {
            return Err(Fault::Overhead { elapsed_ns, wall_ns, overhead_s }.into());
        }
        let used_ns = client_cpu_ns.saturating_add(server_cpu_ns.unwrap_or(0));
        Ok(Measurement {
            operations: report.operations,
            items: report.items.unwrap_or(report.operations),
            elapsed_ns: report.elapsed_ns,
            latency_ns: report.latency_ns,
            wall_ns,
            client_cpu_ns,
            server_cpu_ns,
            foreign_cpu_ns: machine.foreign_ns(&machine_before, used_ns, wall_ns),
        })
    }

    fn command(&self, line: &crate::command::CommandLine, role: Role) -> Result<Vec<String>, Stop> {
        let cannot = |problem: String| Fault::Start { role, problem };
        let mut command = line.expand(&self.words).map_err(cannot)?;
        let program = resolve(&command[0], self.base).map_err(|error| cannot(error.to_string()))?;
        command[0] = program.to_string_lossy().into_owned();
        Ok(command)
    }

    fn start(&self, command: &[String], role: Role) -> Result<Process, Stop> {
        let cpus = match role {
            Role::Client => &self.policy.client_cpus,
            Role::Server => &self.policy.server_cpus,
        };
        let started = Process::start(command, self.base, cpus.as_ref(), &self.mark(role));
        let cannot = |error| Fault::Start { role, problem: format!("{}: {error}", command[0]) };
        Ok(started.map_err(cannot)?)
    }

    /// What tells orphans of one of its processes from those of others.
    fn mark(&self, role: Role) -> String {
        format!("{}/{role}", self.directory.display())
    }

    fn wait_until_ready(&self, server: &mut Process, cancel: &Cancel) -> Result<(), Stop> {
        let seconds = self.policy.ready_timeout_s;
        let deadline = Instant::now() + Duration::from_secs_f64(seconds);
        loop {
            let missing = self.missing(server)?;
            let Some(missing) = missing else { break };
            if Instant::now() >= deadline {
                return Err(Fault::NotReady { seconds, missing }.into());
            }
            // Nothing tells of a file, so it is looked for now and then; nothing is measured yet.
            let look = Instant::now() + FILE_LOOK;
            let until = if server.is_ready() { look.min(deadline) } else { deadline };
            wait_for_news(&mut [server], cancel, until)?;
            died(server)?;
        }
        let settled = Instant::now() + Duration::from_millis(self.policy.settle_ms);
        while Instant::now() < settled {
            wait_for_news(&mut [server], cancel, settled)?;
            died(server)?;
        }
        Ok(())
    }

    /// What is missing for a server to be ready.
    fn missing(&self, server: &Process) -> Result<Option<String>, Stop> {
        if !server.is_ready() {
            return Ok(Some(format!("the line `{READY_LINE}` on its standard output")));
        }
        for path in &self.cell.work.ready_paths {
            let cannot = |problem| Fault::Start { role: Role::Server, problem };
            let path = expand(path, &self.words).map_err(cannot)?;
            if !self.base.join(&path).exists() {
                return Ok(Some(path));
            }
        }
        Ok(None)
    }

    /// Waits for the client's end, and gives how long it lived and its CPU time.
    fn wait_for_client(&self, pair: &mut Pair, cancel: &Cancel) -> Result<(Duration, u64), Stop> {
        let seconds = self.cell.duration_s + self.policy.client_grace_s;
        let deadline = Instant::now() + Duration::from_secs_f64(seconds);
        let mut look = Instant::now() + CHILDREN_LOOK;
        loop {
            let mut both: Vec<&mut Process> =
                [pair.client.as_mut(), pair.server.as_mut()].into_iter().flatten().collect();
            wait_for_news(&mut both, cancel, deadline.min(look))?;
            if let Some(server) = &mut pair.server {
                died(server)?;
            }
            if let Some(end) = pair.client.as_ref().and_then(Process::end) {
                return Ok((end.lived, end.cpu_ns));
            }
            let now = Instant::now();
            if now >= deadline {
                return Err(Fault::ClientTimeout { seconds }.into());
            }
            if now >= look {
                look = now + CHILDREN_LOOK;
                pair.works_alone()?;
            }
        }
    }

    fn end_client(&self, pair: &mut Pair) -> Result<ClientReport, Stop> {
        let known: Vec<Pid> = pair.processes().map(|(_, process)| process.pid()).collect();
        for (role, process) in pair.processes() {
            let others = has_other_processes(process.pid())?;
            if others || !orphans(&self.mark(role), &known)?.is_empty() {
                return Err(Fault::OtherProcesses { role }.into());
            }
        }
        let Some(client) = &mut pair.client else {
            return Err(io::Error::other("the client was never started").into());
        };
        let status = client.finish()?;
        if !status.success() {
            return Err(Fault::ClientStatus { status: status.to_string() }.into());
        }
        let report = ClientReport::parse(&client.stdout.bytes);
        Ok(report.map_err(|error| Fault::Output { problem: error.to_string() })?)
    }

    fn end_server(&self, pair: &mut Pair, cancel: &Cancel) -> Result<(), Stop> {
        let Some(server) = &mut pair.server else { return Ok(()) };
        let seconds = self.policy.stop_timeout_s;
        let deadline = Instant::now() + Duration::from_secs_f64(seconds);
        server.terminate();
        while server.end().is_none() {
            if Instant::now() >= deadline {
                return Err(Fault::ServerStuck { seconds }.into());
            }
            wait_for_news(&mut [&mut *server], cancel, deadline)?;
        }
        let status = server.finish()?;
        if !is_good_end(status) {
            return Err(Fault::ServerStatus { status: status.to_string() }.into());
        }
        Ok(())
    }

    /// What there is to be known about a failure.
    fn evidence(&self, pair: Pair, fault: &Fault) -> io::Result<Evidence> {
        let mut about = format!("{}\n{fault}\n", self.cell.key);
        let mut evidence = Evidence::default();
        for (role, process) in [(Role::Client, pair.client), (Role::Server, pair.server)] {
            let Some(mut process) = process else { continue };
            let status = process.finish()?;
            about.push_str(&format!("{role}: {status}\n"));
            evidence.add(format!("{role}.stdout"), mem::take(&mut process.stdout.bytes));
            evidence.add(format!("{role}.stderr"), mem::take(&mut process.stderr.bytes));
        }
        evidence.add("fault.txt", about);
        evidence.add_run_dir(self.directory());
        Ok(evidence)
    }
}

/// The processes of a sample.
struct Pair {
    client: Option<Process>,
    server: Option<Process>,
}

impl Pair {
    fn processes(&self) -> impl Iterator<Item = (Role, &Process)> {
        let client = self.client.iter().map(|client| (Role::Client, client));
        client.chain(self.server.iter().map(|server| (Role::Server, server)))
    }

    /// Fails when a process has others that work for it. They may leave no trace in the end.
    fn works_alone(&self) -> Result<(), Stop> {
        for (role, process) in self.processes() {
            let mut family = children(process.pid())?;
            while let Some(child) = family.pop() {
                // One that has just ended has no time and no children.
                if process_cpu_ns(child).unwrap_or(0) >= WORK_NS {
                    return Err(Fault::OtherProcesses { role }.into());
                }
                family.extend(children(child).unwrap_or_default());
            }
        }
        Ok(())
    }

    /// Ends what is still running. The statuses stay.
    fn finish(&mut self) {
        for process in [&mut self.client, &mut self.server].into_iter().flatten() {
            // A status that cannot be had is asked for again, where it is needed.
            let _ = process.finish();
        }
    }

    fn server_cpu_ns(&self) -> io::Result<Option<u64>> {
        self.server.as_ref().map(|server| process_cpu_ns(server.pid())).transpose()
    }
}

/// The fault of a server that has ended while it is needed.
fn died(server: &mut Process) -> Result<(), Stop> {
    if server.end().is_none() {
        return Ok(());
    }
    let status = server.finish()?.to_string();
    Err(Fault::ServerEnded { status }.into())
}
