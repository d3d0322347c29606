//! What can be written on the command line.

use clap::builder::{OsStringValueParser, TypedValueParser};
use clap::{Args, Parser, Subcommand, ValueEnum};
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

/// What the exit codes mean, for `--help`.
const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  something that no other code stands for
  2  wrong usage
  3  nobody serves there
  4  refused, by the server or by the system
  5  no answer in time
  6  the peer broke the protocol, or is gone
  7  `doctor` found something to do
130  `bench` was interrupted";

/// Looks at, calls, watches, measures and tidies up local services.
#[derive(Debug, Parser)]
#[command(name = "snapwire", version, after_help = EXIT_CODES)]
#[command(arg_required_else_help = true, subcommand_required = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// List the services of a run directory.
    Ls(LsArgs),
    /// Call a service and print its answer.
    Call(CallArgs),
    /// Print what changes in the snapshots of a service, until interrupted.
    Watch(WatchArgs),
    /// Measure calls: rate, latencies, and the processor time of both sides.
    Bench(BenchArgs),
    /// Look for what is wrong with a run directory, and say what to do.
    Doctor(DoctorArgs),
    /// Serve numbers for a benchmark, until standard input ends.
    #[command(hide = true)]
    Serve(ServeArgs),
}

/// The transport to call over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Profile {
    /// What both sides like best.
    Auto,
    /// Shared memory, or not at all.
    Shm,
    /// The socket alone.
    Uds,
}

/// How a service is called.
#[derive(Clone, Debug, Args)]
pub(crate) struct Reaching {
    /// The transport.
    #[arg(long, value_enum, default_value_t = Profile::Auto)]
    pub(crate) profile: Profile,
    /// The number that the server wants to be told.
    #[arg(long, default_value_t = 0, value_name = "NUMBER", value_parser = token)]
    pub(crate) token: u64,
    /// How long an answer may take, as in `500ms` or `5s`.
    #[arg(long, default_value = "5s", value_name = "TIME", value_parser = duration)]
    pub(crate) timeout: Duration,
}

#[derive(Debug, Args)]
pub(crate) struct LsArgs {
    /// The run directory.
    #[arg(env = "SNAPWIRE_RUN_DIR", default_value = ".", value_name = "DIR")]
    pub(crate) run_dir: PathBuf,
    /// The number that the servers want to be told before they say what they can do.
    #[arg(long, default_value_t = 0, value_name = "NUMBER", value_parser = token)]
    pub(crate) token: u64,
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct CallArgs {
    /// The service: its socket, with or without `.sock`, as in `/run/netdata/cgroups`.
    pub(crate) service: PathBuf,
    #[command(subcommand)]
    pub(crate) method: Method,
}

/// Options that every method has.
#[derive(Clone, Debug, Args)]
pub(crate) struct CallOptions {
    #[command(flatten)]
    pub(crate) reaching: Reaching,
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Method {
    /// Ask for the number after this one.
    Increment {
        /// The number.
        number: u64,
        #[command(flatten)]
        options: CallOptions,
    },
    /// Ask for a text backwards.
    StringReverse {
        /// The text.
        text: OsString,
        #[command(flatten)]
        options: CallOptions,
    },
    /// Ask for all cgroups.
    CgroupsSnapshot {
        #[command(flatten)]
        options: CallOptions,
    },
    /// Ask for cgroups by their paths.
    CgroupsLookup {
        /// The paths.
        #[arg(required = true, value_parser = OsStringValueParser::new().try_map(cgroup_path))]
        paths: Vec<OsString>,
        #[command(flatten)]
        options: CallOptions,
    },
    /// Ask for processes by their pids.
    AppsLookup {
        /// The pids.
        #[arg(required = true)]
        pids: Vec<u32>,
        #[command(flatten)]
        options: CallOptions,
    },
}

#[derive(Debug, Args)]
pub(crate) struct WatchArgs {
    /// The service: its socket, with or without `.sock`.
    pub(crate) service: PathBuf,
    /// The time between two snapshots.
    #[arg(long, default_value = "1s", value_name = "TIME", value_parser = duration)]
    pub(crate) interval: Duration,
    /// End after so many snapshots.
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) count: Option<u64>,
    #[command(flatten)]
    pub(crate) reaching: Reaching,
    /// Print a JSON object on a line for each change.
    #[arg(long)]
    pub(crate) json: bool,
}

/// How requests follow each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Shape {
    /// One after the other.
    PingPong,
    /// Several under way at once. Over shared memory there is one at a time.
    Pipeline,
    /// Many in one message.
    Batch,
}

#[derive(Debug, Args)]
pub(crate) struct BenchArgs {
    /// A service that increments numbers. Without it a server is started for the measurement.
    pub(crate) service: Option<PathBuf>,
    /// How requests follow each other.
    #[arg(long, value_enum, default_value_t = Shape::PingPong)]
    pub(crate) shape: Shape,
    /// How many are under way in a pipeline.
    #[arg(long, default_value_t = 16, value_name = "NUMBER",
          value_parser = clap::value_parser!(u32).range(1..=4096))]
    pub(crate) depth: u32,
    /// How many numbers a batch has.
    #[arg(long, default_value_t = 1000, value_name = "NUMBER",
          value_parser = clap::value_parser!(u32).range(1..=60_000))]
    pub(crate) items: u32,
    /// How long to measure, after a tenth of it to warm up.
    #[arg(long, default_value = "3s", value_name = "TIME", value_parser = duration)]
    pub(crate) duration: Duration,
    #[command(flatten)]
    pub(crate) reaching: Reaching,
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct DoctorArgs {
    /// The run directory.
    #[arg(env = "SNAPWIRE_RUN_DIR", default_value = ".", value_name = "DIR")]
    pub(crate) run_dir: PathBuf,
    /// Remove sockets that nobody listens on, and regions of processes that are gone.
    #[arg(long)]
    pub(crate) fix: bool,
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ServeArgs {
    /// The socket.
    pub(crate) service: PathBuf,
    /// The longest request and response, in bytes.
    #[arg(long)]
    pub(crate) payload_bytes: u32,
    /// The token.
    #[arg(long, value_parser = token)]
    pub(crate) token: u64,
    /// Remove the socket's directory at the end.
    #[arg(long)]
    pub(crate) remove_dir: bool,
}

/// The path of a cgroup: any bytes, but some.
fn cgroup_path(path: OsString) -> Result<OsString, &'static str> {
    if path.is_empty() { Err("a path cannot be empty") } else { Ok(path) }
}

/// A token, decimal or hexadecimal.
fn token(text: &str) -> Result<u64, String> {
    let parsed = match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16),
        None => text.parse(),
    };
    parsed.map_err(|_| String::from("a token is a number of 64 bits, as in 7 or 0xbeef"))
}

/// A time, as in `500ms`, `5s` or `2m`.
fn duration(text: &str) -> Result<Duration, String> {
    let wrong =
        || String::from("a time is a number and `ms`, `s` or `m`, as in 500ms, up to 1 day");
    let digits = text.find(|letter: char| !letter.is_ascii_digit()).ok_or_else(wrong)?;
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().map_err(|_| wrong())?;
    let milliseconds = match unit {
        "ms" => Some(number),
        "s" => number.checked_mul(1000),
        "m" => number.checked_mul(60_000),
        _ => None,
    };
    match milliseconds {
        Some(milliseconds @ 1..=86_400_000) => Ok(Duration::from_millis(milliseconds)),
        _ => Err(wrong()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn times_and_tokens_are_read() {
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("2m"), Ok(Duration::from_mins(2)));
        for wrong in ["", "5", "s", "0s", "-1s", "1h", "5 s", "99999999999999999999s", "86401s"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
        assert_eq!((token("7"), token("0xff")), (Ok(7), Ok(255)));
        assert!(token("0x").is_err() && token("-1").is_err());
    }
}
