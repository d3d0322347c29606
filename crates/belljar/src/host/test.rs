//! A case as an ordinary `#[test]`.

use super::{Host, Options};
use crate::case::Case;
use crate::config::Config;
use belljar_guest::channel::Code;
use belljar_record::Outcome;
use std::env;
use std::path::Path;
use std::sync::OnceLock;

/// Runs one test of a case on the host, and panics when it does not pass. What the
/// generated `#[test]` functions call.
///
/// # Panics
/// When the test does not pass; the panic's message is the whole story.
#[expect(clippy::print_stdout, reason = "the test harness captures what the macros print")]
pub fn run_as_test(case: &'static Case, variant: usize) {
    static HOST: OnceLock<Result<Host, String>> = OnceLock::new();
    let spec = case.whole_spec(&case.variants[variant]);
    let host = HOST.get_or_init(|| {
        let config = Config::of_package(Path::new(&spec.manifest_dir))
            .map_err(|error| belljar_vm::chain(&error))?;
        Host::open(Options::from_environment(), &config, |line| eprintln!("belljar: {line}"))
            .map_err(|error| belljar_vm::chain(&error))
    });
    let host = match host {
        Ok(host) => host,
        Err(error) => panic!("belljar cannot run tests here: {error}"),
    };
    let binary = env::current_exe().expect("a running program has a path");
    let finished = host.run(&spec, &binary, |code, bytes| {
        let text = String::from_utf8_lossy(bytes);
        match code {
            Code::Stderr => eprint!("{text}"),
            _ => print!("{text}"),
        }
    });
    match finished.record.outcome {
        Outcome::Pass => {}
        Outcome::Skip => println!("belljar: SKIP: {}", finished.record.reason),
        _ => {
            // The story has the message already; a second one would only point here.
            eprint!("{}", finished.explain(false));
            panic!("{}", finished.record.reason);
        }
    }
}
