//! What can be written on the command line.

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use std::ffi::OsString;
use std::path::PathBuf;

/// What the exit codes mean, for `--help` and for whoever documents them.
const EXIT_CODES: &str = "\
Exit codes:
    0  fine: all tests passed or were skipped; the replay was identical
    1  an internal failure that nobody expected
    2  wrong usage
    3  set-up is missing: no QEMU, no kernel, no place for caches or runs (see `cargo belljar doctor`)
    4  no test matched
    5  a replay differs from its record
    6  a benchmark is published, and misses a limit
  100  tests failed, or came to no answer; a benchmark is not published
  101  the build failed
  130  interrupted
`exec` ends with the exit code of its command, 124 when its time was over, 125 when belljar
itself failed.";

/// Rust tests on real Linux kernels, in virtual machines forked in milliseconds.
#[derive(Debug, Parser)]
#[command(name = "belljar", bin_name = "cargo belljar", version, after_help = EXIT_CODES)]
#[command(arg_required_else_help = true, subcommand_required = true)]
pub(crate) struct Cli {
    /// When to use colour; NO_COLOR is respected.
    #[arg(long, global = true, value_enum, default_value_t = Colour::Auto, value_name = "WHEN")]
    pub(crate) color: Colour,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// When to use colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Colour {
    /// On terminals.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Build tests and run them in virtual machines.
    Test(Box<TestArgs>),
    /// Show what a test would do: its machine, its scenario, and what it is held to.
    Show(ShowArgs),
    /// Run the test of a record again; in `det` the run must come out identical.
    Replay(ReplayArgs),
    /// An interactive shell in a virtual machine.
    Shell(ShellArgs),
    /// Run a program of this host in a virtual machine.
    Exec(ExecArgs),
    /// Benchmarks of clients and servers that are published whole and stable, or not at all.
    #[command(subcommand)]
    Bench(BenchCommand),
    /// What is here, what is missing, and how to get it.
    Doctor(DoctorArgs),
    /// Kernels: fetch, list, show, choose, remove.
    #[command(subcommand)]
    Kernel(KernelCommand),
    /// Templates: the booted machines that forks are made of.
    #[command(subcommand)]
    Template(TemplateCommand),
    /// The cache as a whole.
    Cache {
        #[command(subcommand)]
        command: Option<CacheCommand>,
    },
    /// Print a completion script for a shell.
    Completions {
        /// The shell.
        shell: Shell,
    },
}

#[derive(Debug, Args)]
pub(crate) struct TestArgs {
    /// Run tests whose name contains one of these.
    #[arg(value_name = "FILTERS")]
    pub(crate) filters: Vec<String>,
    #[command(flatten)]
    pub(crate) build: BuildArgs,
    #[command(flatten)]
    pub(crate) targets: TargetArgs,
    /// FILTERS are whole names, not parts of them.
    #[arg(long, help_heading = "Filters")]
    pub(crate) exact: bool,
    /// Leave out tests whose name contains this.
    #[arg(long, value_name = "PATTERN", help_heading = "Filters")]
    pub(crate) skip: Vec<String>,
    /// Run tests that this expression in nextest's filterset language matches, as
    /// `package(quickstart) and test(=the_kernel_is_our_own)`.
    #[arg(short = 'E', long = "filterset", value_name = "EXPRESSION", help_heading = "Filters")]
    pub(crate) filtersets: Vec<String>,
    /// Whether to run ignored tests.
    #[arg(long, value_enum, default_value_t, value_name = "WHICH", help_heading = "Filters")]
    pub(crate) run_ignored: RunIgnored,
    /// Only list the tests that would run, one a line.
    #[arg(long)]
    pub(crate) list: bool,
    /// Print what would run, with what it is expected to cost, and run nothing.
    #[arg(long)]
    pub(crate) plan: bool,
    /// Run the subset of tests that covers most in so many seconds: of schedulers, sizes and shapes
    /// of machines, kernels, modes and tests.
    #[arg(long, value_name = "SECONDS", help_heading = "Filters")]
    pub(crate) budget: Option<u32>,
    /// The kernel of tests that declare none: one in the cache or a source to fetch;
    /// given several times, each such test runs on each.
    #[arg(long, value_name = "KERNEL", help_heading = "Runs")]
    pub(crate) kernel: Vec<String>,
    /// The mode of tests that declare none; given several times, each such test runs in each.
    #[arg(long, value_parser = ["auto", "kvm", "tcg", "det"], value_name = "MODE", help_heading = "Runs")]
    pub(crate) mode: Vec<String>,
    /// Run each `det` test that declares no seed once per seed: seeds 0 to N-1, or from A
    /// up to but without B.
    #[arg(long, value_name = "N|A..B", help_heading = "Runs")]
    pub(crate) seeds: Option<Seeds>,
    /// How many tests run at the same time [default: the number of cores].
    #[arg(short, long, value_name = "N", help_heading = "Runs")]
    pub(crate) jobs: Option<std::num::NonZeroUsize>,
    /// Start no more tests after one has failed.
    #[arg(long, overrides_with = "no_fail_fast", help_heading = "Runs")]
    pub(crate) fail_fast: bool,
    /// Run all tests whatever fails; this is the default.
    #[arg(long, help_heading = "Runs")]
    pub(crate) no_fail_fast: bool,
    /// Show what tests write, as they do; one test at a time.
    #[arg(long, alias = "no-capture", help_heading = "Output")]
    pub(crate) nocapture: bool,
    /// Write one JSON object a line to standard output: for each event, and a summary at the end.
    #[arg(long, help_heading = "Output")]
    pub(crate) json: bool,
    /// Write a JUnit report to this file.
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    pub(crate) junit: Option<PathBuf>,
    /// Put records into this directory instead of `belljar` in the target directory.
    #[arg(long, value_name = "DIR", help_heading = "Output")]
    pub(crate) records: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct ShowArgs {
    /// The test, by its whole name or a part that only it has.
    #[arg(value_name = "TEST")]
    pub(crate) name: String,
    #[command(flatten)]
    pub(crate) build: BuildArgs,
    #[command(flatten)]
    pub(crate) targets: TargetArgs,
    /// Write a JSON object.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Whether to run ignored tests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum RunIgnored {
    /// Those that are not ignored.
    #[default]
    Default,
    /// Only ignored ones.
    Only,
    /// All.
    All,
}

/// How cargo builds, as for `cargo test`.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Build, as for `cargo test`")]
pub(crate) struct BuildArgs {
    /// Build with optimisations.
    #[arg(short, long)]
    pub(crate) release: bool,
    /// Build with this profile.
    #[arg(long, value_name = "NAME", conflicts_with = "release")]
    pub(crate) profile: Option<String>,
    /// Activate these features.
    #[arg(short = 'F', long, value_name = "FEATURES")]
    pub(crate) features: Vec<String>,
    /// Activate all features.
    #[arg(long)]
    pub(crate) all_features: bool,
    /// Do not activate the default feature.
    #[arg(long)]
    pub(crate) no_default_features: bool,
    /// The manifest of the package or workspace.
    #[arg(long, value_name = "PATH")]
    pub(crate) manifest_path: Option<PathBuf>,
    /// Where to build.
    #[arg(long, value_name = "DIR")]
    pub(crate) target_dir: Option<PathBuf>,
    /// Require that Cargo.lock is up to date.
    #[arg(long)]
    pub(crate) locked: bool,
    /// Do not use the network.
    #[arg(long)]
    pub(crate) offline: bool,
}

/// What cargo builds, as for `cargo test`.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Build, as for `cargo test`")]
pub(crate) struct TargetArgs {
    /// Build the tests of this package.
    #[arg(short, long, value_name = "SPEC")]
    pub(crate) package: Vec<String>,
    /// Build the tests of all packages of the workspace.
    #[arg(long)]
    pub(crate) workspace: bool,
    /// Leave out this package.
    #[arg(long, value_name = "SPEC", requires = "workspace")]
    pub(crate) exclude: Vec<String>,
    /// Build only this integration test.
    #[arg(long, value_name = "NAME")]
    pub(crate) test: Vec<String>,
    /// Build only the library's unit tests.
    #[arg(long)]
    pub(crate) lib: bool,
}

/// Seeds, from the first up to but without the last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seeds(pub(crate) std::ops::Range<u64>);

impl std::str::FromStr for Seeds {
    type Err = String;

    fn from_str(text: &str) -> Result<Seeds, String> {
        let number = |text: &str| text.trim().parse::<u64>().map_err(|e| format!("`{text}`: {e}"));
        let range = match text.split_once("..") {
            Some((first, end)) => number(first)?..number(end)?,
            None => 0..number(text)?,
        };
        if range.is_empty() {
            return Err(String::from("that is no seed at all"));
        }
        Ok(Seeds(range))
    }
}

#[derive(Debug, Args)]
pub(crate) struct ReplayArgs {
    /// The record; with --failed, a directory of records [default: the newest].
    #[arg(value_name = "RECORD", required_unless_present = "failed")]
    pub(crate) record: Option<PathBuf>,
    /// Replay every failed record in a directory.
    #[arg(long)]
    pub(crate) failed: bool,
    #[command(flatten)]
    pub(crate) build: BuildArgs,
}

/// The machine of `shell` and `exec`.
#[derive(Debug, Args)]
pub(crate) struct MachineArgs {
    /// Nodes, last-level caches, cores and threads, as `1n2l4c1t` [default: from belljar.toml].
    #[arg(long, value_name = "TOPOLOGY")]
    pub(crate) topology: Option<String>,
    /// The kernel: one in the cache, or a source to fetch.
    #[arg(long, value_name = "KERNEL")]
    pub(crate) kernel: Option<String>,
    /// The mode.
    #[arg(long, value_parser = ["auto", "kvm", "tcg", "det"], value_name = "MODE")]
    pub(crate) mode: Option<String>,
    /// The memory in MiB.
    #[arg(long, value_name = "MIB")]
    pub(crate) memory_mib: Option<u32>,
    /// Programs of this host to take along.
    #[arg(long, value_name = "PROGRAMS", value_delimiter = ',')]
    pub(crate) tools: Vec<String>,
    /// Kernel modules to load first.
    #[arg(long, value_name = "MODULES", value_delimiter = ',')]
    pub(crate) modules: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct ShellArgs {
    #[command(flatten)]
    pub(crate) machine: MachineArgs,
}

#[derive(Debug, Args)]
pub(crate) struct ExecArgs {
    #[command(flatten)]
    pub(crate) machine: MachineArgs,
    /// End the command after so many seconds of guest time.
    #[arg(long, value_name = "SECONDS")]
    pub(crate) timeout: Option<f64>,
    /// The program and its arguments.
    #[arg(last = true, required = true, value_name = "COMMAND")]
    pub(crate) command: Vec<OsString>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum BenchCommand {
    /// Measure a matrix and publish the reports.
    Run(BenchRunArgs),
    /// Go on with a run that was interrupted.
    Resume {
        /// The directory of the run.
        #[arg(value_name = "RUN")]
        directory: PathBuf,
        #[command(flatten)]
        view: BenchViewArgs,
    },
    /// Write the reports of a run anew, or say why there are none.
    Report {
        /// The directory of the run.
        #[arg(value_name = "RUN")]
        directory: PathBuf,
        /// Write one JSON object to standard output.
        #[arg(long)]
        json: bool,
    },
    /// List the rows of a matrix, and how long they take.
    List {
        #[command(flatten)]
        matrix: BenchMatrixArgs,
        /// Write a JSON object.
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Args)]
pub(crate) struct BenchMatrixArgs {
    /// The matrix, a TOML file.
    #[arg(value_name = "MATRIX")]
    pub(crate) matrix: PathBuf,
    /// Measure these builds instead of those of the matrix; given twice, the second is compared
    /// with the first, pair by pair. A relative path is looked up from here.
    #[arg(long, value_name = "NAME=PATH", value_parser = assignment)]
    pub(crate) build: Vec<(String, String)>,
    /// Measure only rows with this label, as `rate=max`, and with each label when given several times;
    /// what is not whole is not published.
    #[arg(long, value_name = "LABEL=VALUE", value_parser = assignment)]
    pub(crate) only: Vec<(String, String)>,
}

#[derive(Debug, Args)]
pub(crate) struct BenchRunArgs {
    #[command(flatten)]
    pub(crate) matrix: BenchMatrixArgs,
    /// Where to keep the run and its reports [default: a new directory below `target/belljar/bench`].
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
    /// What the order of samples comes from [default: another one each time].
    #[arg(long, value_name = "NUMBER")]
    pub(crate) seed: Option<u64>,
    #[command(flatten)]
    pub(crate) view: BenchViewArgs,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct BenchViewArgs {
    /// Measure rows that are not good once more, alone, to find out why; this is never published.
    #[arg(long)]
    pub(crate) diagnose: bool,
    /// Write one JSON object a line to standard output: for each sample, and a summary at the end.
    #[arg(long)]
    pub(crate) json: bool,
}

/// `NAME=VALUE`.
fn assignment(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err(format!("`{text}` is not of the form NAME=VALUE")),
    }
}

#[derive(Debug, Args)]
pub(crate) struct DoctorArgs {
    /// Write one JSON object to standard output.
    #[arg(long)]
    pub(crate) json: bool,
    /// Do not try to boot a kernel under KVM.
    #[arg(long)]
    pub(crate) no_probe: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum KernelCommand {
    /// Fetch a kernel into the cache.
    Fetch {
        /// Where from, as `debian:sid`, `tree:../linux` or `image:/boot/vmlinuz`.
        source: String,
        /// Ask a Debian suite again for what it has now.
        #[arg(long)]
        refresh: bool,
    },
    /// List the kernels in the cache.
    List {
        /// Write a JSON array.
        #[arg(long)]
        json: bool,
    },
    /// Show what a kernel is and what it can do.
    Show {
        /// The kernel [default: the default kernel].
        kernel: Option<String>,
        /// Write a JSON object.
        #[arg(long)]
        json: bool,
    },
    /// Show or choose the kernel of tests that declare none.
    Default {
        /// The kernel to choose.
        kernel: Option<String>,
    },
    /// Remove a kernel from the cache.
    Rm {
        /// The kernel.
        kernel: String,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum TemplateCommand {
    /// List the templates, the most recently used first.
    List {
        /// Write a JSON array.
        #[arg(long)]
        json: bool,
    },
    /// Remove templates; what is in use stays.
    Rm {
        /// The key, or an unambiguous beginning of it.
        #[arg(required_unless_present = "all")]
        key: Option<String>,
        /// Remove all.
        #[arg(long, conflicts_with = "key")]
        all: bool,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum CacheCommand {
    /// Show where the cache is and what it takes; this is the default.
    Size,
    /// Remove what killed processes left, and the least recently used templates.
    Gc {
        /// What templates may keep [default: `cache_gib` of belljar.toml].
        #[arg(long, value_name = "GIB")]
        limit_gib: Option<u32>,
    },
    /// Remove all templates that are not in use; kernels stay.
    Clear,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn seeds_are_a_count_or_a_range() {
        assert_eq!("3".parse(), Ok(Seeds(0..3)));
        assert_eq!("7..9".parse(), Ok(Seeds(7..9)));
        for wrong in ["", "0", "x", "9..7", "1..", "..3"] {
            assert!(wrong.parse::<Seeds>().is_err(), "{wrong}");
        }
    }
}
