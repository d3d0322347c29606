//! `snapwire bench`: rate, latencies, and the processor time of both sides.

use crate::args::{BenchArgs, ServeArgs, Shape};
use crate::cpu;
use crate::failure::{Exit, Failure};
use crate::load::{Measured, load};
use crate::output::{json, line};
use crate::probe::{self, Found};
use crate::target::{config, connect, endpoint};
use serde::Serialize;
use snapwire::codec::Limit;
use snapwire::{Increment, Offer, Server, ServerConfig};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tempfile::TempDir;

/// What a number takes in a batch: its entry and itself.
const ITEM_LEN: u32 = 16;

/// The result.
#[derive(Debug, Serialize)]
struct Report {
    shape: &'static str,
    profile: String,
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
    let config = config(&args.reaching, request);
    let own = match &args.service {
        Some(_) => None,
        None => Some(OwnServer::start(request.payload_bytes, args.reaching.token)?),
    };
    let service = match (&args.service, &own) {
        (Some(service), _) => service.clone(),
        (None, Some(own)) => own.service(),
        (None, None) => return Err(Failure::new(Exit::Failed, "there is nothing to measure")),
    };
    let mut client = connect::<Increment>(&service, &config)?;
    let server = match probe::connect(&endpoint(&service)?.socket_path()) {
        Found::Live(owner, _) => owner.pid,
        _ => None,
    };
    load(&mut client, args, args.duration / 10)?;
    let client_pid = Some(std::process::id());
    let times = || (client_pid.and_then(cpu::time_of), server.and_then(cpu::time_of));
    let before = times();
    let measured = load(&mut client, args, args.duration)?;
    let after = times();
    let profile = client.terms().map(|terms| terms.profile.to_string()).unwrap_or_default();
    let busy = |before: Option<Duration>, after: Option<Duration>| {
        let spent = after?.saturating_sub(before?);
        Some(spent.as_secs_f64() / measured.took.as_secs_f64())
    };
    let (client_cpus, server_cpus) = (busy(before.0, after.0), busy(before.1, after.1));
    let report = Report::of(args.shape, profile, &measured, client_cpus, server_cpus);
    drop(client);
    drop(own);
    if args.json {
        json(&report)?;
    } else {
        report.print()?;
    }
    Ok(Exit::Done)
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
        line(&format!("{} over {}, {:.1} s", self.shape, self.profile, self.seconds))?;
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
    directory: TempDir,
}

impl OwnServer {
    fn start(payload_bytes: u32, token: u64) -> Result<OwnServer, Failure> {
        let failed = |error: io::Error| {
            Failure::new(Exit::Failed, format!("cannot start a server to measure: {error}"))
        };
        // Regions belong on a file system in memory.
        let memory = PathBuf::from("/dev/shm");
        let directory = match memory.is_dir() {
            true => tempfile::tempdir_in(memory),
            false => tempfile::tempdir(),
        };
        let directory = directory.map_err(failed)?;
        let mut process = Command::new(std::env::current_exe().map_err(failed)?)
            .arg("serve")
            .arg(directory.path().join("bench"))
            .args(["--payload-bytes", &payload_bytes.to_string(), "--token", &token.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(failed)?;
        let mut said = String::new();
        if let Some(output) = process.stdout.take() {
            BufReader::new(output).read_line(&mut said).map_err(failed)?;
        }
        let server = OwnServer { process, directory };
        if said == READY {
            return Ok(server);
        }
        Err(Failure::new(Exit::Failed, "the server to measure ended before it served"))
    }

    fn service(&self) -> PathBuf {
        self.directory.path().join("bench")
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

/// Serves numbers until standard input ends.
pub(crate) fn serve(args: &ServeArgs) -> Result<Exit, Failure> {
    let limit = Limit { payload_bytes: args.payload_bytes, batch_items: 0 };
    let offer =
        Offer { request: limit, response: limit, auth_token: args.token, ..Offer::default() };
    let config = ServerConfig { offer, ..ServerConfig::default() };
    let server =
        Server::start::<Increment>(&endpoint(&args.service)?, &config, |number, reply| {
            reply.set(number.wrapping_add(1));
            Ok(())
        })?;
    io::stdout().lock().write_all(READY.as_bytes())?;
    io::stdout().lock().flush()?;
    // Whatever ends the input ends the server.
    let _ = io::stdin().lock().read_to_end(&mut Vec::new());
    server.stop();
    Ok(Exit::Done)
}
