//! The command line.

use crate::selector::Selector;
use clap::error::ErrorKind;
use clap::{CommandFactory, Parser, ValueEnum, value_parser};
use std::time::Duration;

const ABOUT_SELECTORS: &str = "\
WHOM is NAME or comm:NAME for threads whose name begins so, or cgroup:NAME for threads in a cgroup \
of that name or below one; %N behind it leaves only threads whose id is a multiple of N. Kernel \
threads and this program are never meant.

Exit codes: 0 it ended as asked; 1 the kernel threw it out, for an error or by SysRq-S; 2 \
wrong usage; 3 it cannot be loaded or attached; 4 the kernel lacks something. \
What happened stands on standard error, in lines of JSON that begin with {\"scx_.";

/// A small fair sched_ext scheduler, with faults to switch on.
#[derive(Clone, Debug, Parser)]
#[command(name = "scx_belljar", version, after_help = ABOUT_SELECTORS)]
pub(crate) struct Args {
    /// A task's turn, in microseconds.
    #[arg(long, value_name = "N", default_value_t = 5000)]
    #[arg(value_parser = value_parser!(u32).range(100..=1_000_000))]
    pub(crate) slice_us: u32,
    /// The kernel throws the scheduler out when a runnable task has not run for so long; it looks
    /// twice in that time, so that it may take half as long again.
    #[arg(long, value_name = "MS", default_value_t = 5000)]
    #[arg(value_parser = value_parser!(u32).range(10..=30_000))]
    pub(crate) watchdog_ms: u32,
    /// Show what libbpf does.
    #[arg(short, long)]
    pub(crate) verbose: bool,
    /// Write counters every second, and at the end.
    #[arg(long)]
    pub(crate) stats: bool,

    /// Never let these tasks run: the kernel's watchdog throws the scheduler out.
    #[arg(long, value_name = "WHOM", help_heading = "Faults of scheduling")]
    pub(crate) stall: Option<Selector>,
    /// Let these tasks wait --starve-ms before each turn: workers get stuck, or do nothing.
    #[arg(long, value_name = "WHOM", help_heading = "Faults of scheduling")]
    pub(crate) starve: Option<Selector>,
    /// How long they wait.
    #[arg(long, value_name = "MS", default_value_t = 1000, requires = "starve")]
    #[arg(value_parser = value_parser!(u32).range(1..), help_heading = "Faults of scheduling")]
    pub(crate) starve_ms: u32,
    /// Let a task wait --lose-ms at every Nth of its wakeups: wake latencies get a tail.
    #[arg(long, value_name = "N", help_heading = "Faults of scheduling")]
    #[arg(value_parser = value_parser!(u32).range(1..))]
    pub(crate) lose_wakeups: Option<u32>,
    /// How long it waits.
    #[arg(long, value_name = "MS", default_value_t = 500, requires = "lose_wakeups")]
    #[arg(value_parser = value_parser!(u32).range(1..), help_heading = "Faults of scheduling")]
    pub(crate) lose_ms: u32,
    /// Give the tasks of --only so many times the CPU time of others that compete with them.
    #[arg(long, value_name = "FACTOR", requires = "only", help_heading = "Faults of scheduling")]
    #[arg(value_parser = value_parser!(u32).range(2..=1000))]
    pub(crate) unfair: Option<u32>,
    /// Keep tasks on one CPU, this one or CPU 0, where they may run there: others stay idle.
    #[arg(long, value_name = "CPU", num_args = 0..=1, require_equals = true)]
    #[arg(default_missing_value = "0", help_heading = "Faults of scheduling")]
    #[arg(value_parser = value_parser!(u32).range(..=i32::MAX as i64))]
    pub(crate) one_cpu: Option<u32>,
    /// Move tasks to another CPU at every turn: migrations, between nodes too.
    #[arg(long, conflicts_with = "one_cpu", help_heading = "Faults of scheduling")]
    pub(crate) bounce: bool,
    /// Answer each wakeup with a CPU that the task must not run on: the kernel falls back.
    #[arg(long, conflicts_with = "one_cpu", help_heading = "Faults of scheduling")]
    pub(crate) wrong_cpu: bool,
    /// Leave a task that is alone on its CPU to the kernel, which counts that it kept the last.
    #[arg(long, help_heading = "Faults of scheduling")]
    pub(crate) keep_last: bool,
    /// Whom --lose-wakeups, --unfair, --one-cpu, --bounce and --wrong-cpu are for [default:
    /// everybody].
    #[arg(long, value_name = "WHOM", help_heading = "Faults of scheduling")]
    pub(crate) only: Option<Selector>,
    /// Take the cpusets of these tasks' cgroups away and widen their affinity, again and again.
    ///
    /// A scheduler cannot do this: the kernel refuses to run a task on a CPU that it must not
    /// run on. So the loader does it, as a privileged daemon may.
    #[arg(long, value_name = "WHOM", help_heading = "Faults of scheduling")]
    pub(crate) ignore_cpuset: Option<Selector>,

    /// End as if asked to after so long.
    #[arg(long, value_name = "MS", help_heading = "Faults of the scheduler's life")]
    pub(crate) exit_after: Option<u32>,
    /// Raise an error in the scheduler after so long.
    #[arg(long, value_name = "MS", help_heading = "Faults of the scheduler's life")]
    #[arg(value_parser = value_parser!(u32).range(1..))]
    pub(crate) error_after: Option<u32>,
    /// Crash this program after so long, in the way of --crash-by.
    #[arg(long, value_name = "MS", help_heading = "Faults of the scheduler's life")]
    pub(crate) crash_loader_after: Option<u32>,
    /// How it crashes.
    #[arg(long, value_name = "HOW", value_enum, default_value_t = Crash::Panic)]
    #[arg(requires = "crash_loader_after", help_heading = "Faults of the scheduler's life")]
    pub(crate) crash_by: Crash,
    /// Load a program that the verifier rejects, with a long log.
    #[arg(long, help_heading = "Faults of the scheduler's life", conflicts_with = "never_attach")]
    pub(crate) reject_by_verifier: bool,
    /// Load everything, and then wait without attaching.
    #[arg(long, help_heading = "Faults of the scheduler's life")]
    #[arg(conflicts_with = "error_after")]
    pub(crate) never_attach: bool,
    /// Exit with this code at once, before anything is loaded.
    #[arg(long, value_name = "CODE", exclusive = true)]
    #[arg(help_heading = "Faults of the scheduler's life")]
    pub(crate) exit_at_once: Option<u8>,
}

/// How a program crashes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Crash {
    /// A Rust panic: exit code 101, and words on standard error.
    Panic,
    /// SIGABRT.
    Abort,
    /// SIGKILL, without a word.
    Kill,
}

impl Args {
    /// The command line of this process; ends it where that is wrong.
    pub(crate) fn of_process() -> Args {
        let parsed = Args::try_parse().and_then(Args::checked);
        parsed.unwrap_or_else(|error| error.exit())
    }

    /// What no single option can tell.
    fn checked(self) -> Result<Args, clap::Error> {
        let complain = |kind, text: String| Err(Args::command().error(kind, text));
        let held_back = [
            ("--starve-ms", self.starve.is_some(), self.starve_ms),
            ("--lose-ms", self.lose_wakeups.is_some(), self.lose_ms),
        ];
        for (name, on, ms) in held_back {
            if on && ms >= self.watchdog_ms {
                let text = format!(
                    "{name} {ms} is not below --watchdog-ms {}: the kernel would throw the \
                     scheduler out, for which there is --stall",
                    self.watchdog_ms
                );
                return complain(ErrorKind::ValueValidation, text);
            }
        }
        let has_use = self.lose_wakeups.is_some()
            || self.unfair.is_some()
            || self.one_cpu.is_some()
            || self.bounce
            || self.wrong_cpu;
        if self.only.is_some() && !has_use {
            let text = "--only needs a fault that it is for: --lose-wakeups, --unfair, --one-cpu, \
                        --bounce or --wrong-cpu";
            return complain(ErrorKind::MissingRequiredArgument, text.to_owned());
        }
        Ok(self)
    }

    /// The length of a turn.
    pub(crate) fn slice(&self) -> Duration {
        Duration::from_micros(self.slice_us.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Args, ErrorKind> {
        let words = std::iter::once("scx_belljar").chain(line.split_whitespace());
        Args::try_parse_from(words).and_then(Args::checked).map_err(|error| error.kind())
    }

    #[test]
    fn the_definition_is_sound() {
        Args::command().debug_assert();
    }

    #[test]
    fn nothing_is_wrong_unless_asked_for() {
        let args = parse("").unwrap();
        assert_eq!((args.slice(), args.watchdog_ms), (Duration::from_millis(5), 5000));
        let shown = format!("{args:?}");
        assert!(!shown.contains("Some") && !shown.contains("true"), "{shown}");
    }

    #[test]
    fn one_cpu_takes_a_number_behind_an_equals_sign_or_none() {
        assert_eq!(parse("--one-cpu").unwrap().one_cpu, Some(0));
        assert_eq!(parse("--one-cpu=3").unwrap().one_cpu, Some(3));
        assert_eq!(parse("--one-cpu 3").unwrap_err(), ErrorKind::UnknownArgument);
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        use ErrorKind::*;
        let cases = [
            ("--slice-us 99", ValueValidation),
            ("--watchdog-ms 30001", ValueValidation),
            ("--stall a-name-of-16-byte", ValueValidation),
            ("--starve w --starve-ms 5000", ValueValidation),
            ("--lose-wakeups 2 --lose-ms 300 --watchdog-ms 300", ValueValidation),
            ("--lose-wakeups 0", ValueValidation),
            ("--unfair 1 --only w", ValueValidation),
            ("--unfair 3", MissingRequiredArgument),
            ("--only w", MissingRequiredArgument),
            ("--starve-ms 10", MissingRequiredArgument),
            ("--lose-ms 10", MissingRequiredArgument),
            ("--crash-by kill", MissingRequiredArgument),
            ("--bounce --one-cpu", ArgumentConflict),
            ("--wrong-cpu --one-cpu", ArgumentConflict),
            ("--never-attach --reject-by-verifier", ArgumentConflict),
            ("--never-attach --error-after 1", ArgumentConflict),
            ("--exit-at-once 3 --stats", ArgumentConflict),
            ("--exit-at-once 256", ValueValidation),
        ];
        for (line, kind) in cases {
            assert_eq!(parse(line).map(|_| ()), Err(kind), "{line}");
        }
    }

    #[test]
    fn the_defaults_of_waits_do_not_bind_what_is_off() {
        let args = parse("--watchdog-ms 100").unwrap();
        assert!(args.starve_ms > args.watchdog_ms && args.lose_ms > args.watchdog_ms);
    }
}
