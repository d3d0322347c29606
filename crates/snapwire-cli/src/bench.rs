//! `snapwire bench`: rate, latencies, and the processor time of both sides.

use crate::args::{BenchArgs, ServeArgs, Shape};
use crate::cpu;
use crate::failure::{Exit, Failure, at};
use crate::load::{Measured, load};
use crate::output::{json, line};
use crate::probe::{self, Found};
use crate::signals;
use crate::target::{config, endpoint, refresh};
use serde::Serialize;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::flag;
use snapwire::codec::Limit;
use snapwire::{Client, ClientConfig, Endpoint, Error, Increment, Offer, Server, ServerConfig};
use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;
use tempfile::TempDir;

/// What a number takes in a batch: its entry and itself.
const ITEM_LEN: u32 = 16;

/// The result.
#[derive(Debug, Serialize)]
struct Report {
    shape: &'static str,
    profile: String,
    /// It ended before its time: what follows is what was measured until then.
    interrupted: bool,
    seconds: f64,
    messages: u64,
    items: u64,
    messages_per_s: f64,
    items_per_s: f64,
    latency_ns: Latency,
    /// Processors that were busy with the client.
    client_cpus: Option<f64>,
    /// Processors that were busy with the server, where its process can be seen.
    server_cpus: Option<f64>,
}

/// From a message to its answer, in nanoseconds.
#[derive(Debug, Serialize)]
struct Latency {
    p50: u64,
    p99: u64,
    p99_9: u64,
    max: u64,
}

/// Measures.
pub(crate) fn bench(args: &BenchArgs) -> Result<Exit, Failure> {
    let items = if args.shape == Shape::Batch { args.items } else { 1 };
    let request =
        Limit { payload_bytes: if items == 1 { 0 } else { items * ITEM_LEN }, batch_items: items };
    // Before there is anything to clean up.
    let signals = signals::catch()?;
    let directory = if args.service.is_none() { Some(directory()?) } else { None };
    let service = match (&args.service, &directory) {
        (Some(service), _) => service.clone(),
        (None, Some(directory)) => directory.path().join("bench"),
        (None, None) => return Err(Failure::new(Exit::Failed, "there is nothing to measure")),
    };
    let endpoint = endpoint(&service)?;
    let config = config(&args.reaching, request);
    let client = Client::new(&endpoint, &config);
    let abort = client.abort_handle();
    let _interrupted = signals::interruption(signals, abort.clone())?;
    let own = directory
        .map(|directory| OwnServer::start(directory, request.payload_bytes, args.reaching.token));
    let report = own.transpose().and_then(|_own| measure(args, client, &endpoint, &config));
    let report = match report {
        Err(_) if abort.is_aborted() => {
            let message = "interrupted before anything was measured";
            return Err(Failure::new(Exit::Interrupted, message));
        }
        report => report?,
    };
    if args.json {
        json(&report)?;
    } else {
        report.print()?;
    }
    Ok(if report.interrupted { Exit::Interrupted } else { Exit::Done })
}

fn measure(
    args: &BenchArgs,
    mut client: Client<Increment>,
    endpoint: &Endpoint,
    config: &ClientConfig,
) -> Result<Report, Failure> {
    refresh(&mut client, config).map_err(at(endpoint))?;
    let server = match probe::connect(&endpoint.socket_path()) {
        Found::Live(owner, _) => owner.pid,
        _ => None,
    };
    let profile = client.terms().map(|terms| terms.profile.to_string()).unwrap_or_default();
    load(&mut client, endpoint, args, args.duration / 10)?;
    let client_pid = Some(std::process::id());
    let times = || (client_pid.and_then(cpu::time_of), server.and_then(cpu::time_of));
    let before = times();
    let measured = load(&mut client, endpoint, args, args.duration)?;
    let after = times();
    if measured.messages == 0 {
        return Err(at(endpoint)(Error::Aborted));
    }
    let busy = |before: Option<Duration>, after: Option<Duration>| {
        let spent = after?.saturating_sub(before?);
        Some(spent.as_secs_f64() / measured.took.as_secs_f64())
    };
    let (client_cpus, server_cpus) = (busy(before.0, after.0), busy(before.1, after.1));
    Ok(Report::of(args.shape, profile, &measured, client_cpus, server_cpus))
}

impl Report {
    fn of(
        shape: Shape,
        profile: String,
        measured: &Measured,
        client_cpus: Option<f64>,
        server_cpus: Option<f64>,
    ) -> Report {
        let seconds = measured.took.as_secs_f64();
        let quantile = |quantile| measured.latency_ns.value_at_quantile(quantile);
        Report {
            shape: match shape {
                Shape::PingPong => "ping-pong",
                Shape::Pipeline => "pipeline",
                Shape::Batch => "batch",
            },
            profile,
            interrupted: measured.interrupted,
            seconds,
            messages: measured.messages,
            items: measured.items,
            messages_per_s: measured.messages as f64 / seconds,
            items_per_s: measured.items as f64 / seconds,
            latency_ns: Latency {
                p50: quantile(0.5),
                p99: quantile(0.99),
                p99_9: quantile(0.999),
                max: measured.latency_ns.max(),
            },
            client_cpus,
            server_cpus,
        }
    }

    fn print(&self) -> Result<(), Failure> {
        let us = |ns: u64| format!("{:.1}", ns as f64 / 1000.0);
        let cpus = |cpus: Option<f64>| match cpus {
            Some(cpus) => format!("{cpus:.2}"),
            None => String::from("unknown"),
        };
        let until = if self.interrupted { ", interrupted" } else { "" };
        let Report { shape, profile, seconds, .. } = self;
        line(&format!("{shape} over {profile}, {seconds:.1} s{until}"))?;
        line(&format!("  messages    {:.0} /s", self.messages_per_s))?;
        if self.items != self.messages {
            line(&format!("  items       {:.0} /s", self.items_per_s))?;
        }
        let Latency { p50, p99, p99_9, max } = self.latency_ns;
        let latency =
            format!("p50 {}, p99 {}, p99.9 {}, max {} us", us(p50), us(p99), us(p99_9), us(max));
        line(&format!("  latency     {latency}"))?;
        let (client, server) = (cpus(self.client_cpus), cpus(self.server_cpus));
        line(&format!("  processors  {client} client, {server} server"))
    }
}

/// A server in a process of its own, so that its processor time is its own.
#[derive(Debug)]
struct OwnServer {
    process: Child,
    /// What is left of it when the process did not end by itself.
    _directory: TempDir,
}

/// A directory for a server: regions belong on a file system in memory.
fn directory() -> Result<TempDir, Failure> {
    let memory = Path::new("/dev/shm");
    let directory = match memory.is_dir() {
        true => tempfile::tempdir_in(memory),
        false => tempfile::tempdir(),
    };
    directory.map_err(failed)
}

fn failed(error: io::Error) -> Failure {
    Failure::new(Exit::Failed, format!("cannot start a server to measure: {error}"))
}

impl OwnServer {
    fn start(directory: TempDir, payload_bytes: u32, token: u64) -> Result<OwnServer, Failure> {
        let mut process = Command::new(std::env::current_exe().map_err(failed)?)
            .arg("serve")
            .arg(directory.path().join("bench"))
            .args(["--payload-bytes", &payload_bytes.to_string(), "--token", &token.to_string()])
            .arg("--remove-dir")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(failed)?;
        let output = process.stdout.take();
        let server = OwnServer { process, _directory: directory };
        let mut said = String::new();
        if let Some(output) = output {
            BufReader::new(output).read_line(&mut said).map_err(failed)?;
        }
        if said == READY {
            return Ok(server);
        }
        Err(Failure::new(Exit::Failed, "the server to measure ended before it served"))
    }
}

impl Drop for OwnServer {
    fn drop(&mut self) {
        // It ends when nobody writes to its input any more.
        drop(self.process.stdin.take());
        let _ = self.process.wait();
    }
}

/// What a server says when it serves.
const READY: &str = "ready\n";

/// Serves numbers until standard input ends, whatever signals ask for: those of a terminal are for
/// the whole group, and whoever holds the input decides.
pub(crate) fn serve(args: &ServeArgs) -> Result<Exit, Failure> {
    let ignored = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        flag::register(signal, Arc::clone(&ignored)).map_err(failed)?;
    }
    let served = serve_all(args);
    if args.remove_dir
        && let Some(directory) = args.service.parent()
    {
        // Its maker does the same, if it is still there.
        let _ = fs::remove_dir(directory);
    }
    served
}

fn serve_all(args: &ServeArgs) -> Result<Exit, Failure> {
    let limit = Limit { payload_bytes: args.payload_bytes, batch_items: 0 };
    let offer =
        Offer { request: limit, response: limit, auth_token: args.token, ..Offer::default() };
    let config = ServerConfig { offer, ..ServerConfig::default() };
    let endpoint = endpoint(&args.service)?;
    let server = Server::start::<Increment>(&endpoint, &config, |number, reply| {
        reply.set(number.wrapping_add(1));
        Ok(())
    })
    .map_err(at(&endpoint))?;
    io::stdout().lock().write_all(READY.as_bytes())?;
    io::stdout().lock().flush()?;
    // Whatever ends the input ends the server.
    let _ = io::stdin().lock().read_to_end(&mut Vec::new());
    server.stop();
    Ok(Exit::Done)
}
