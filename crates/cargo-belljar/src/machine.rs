//! A machine without a test, for `shell` and `exec`.

use crate::args::MachineArgs;
use crate::failure::{Exit, Failure};
use crate::output::say;
use crate::run::{default_kernel, no_host, no_kernel};
use anyhow::Context;
use belljar::host::{Host, Options};
use belljar::{Config, Spec};
use belljar_vm::{Payload, Template};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// A template whose agent waits for a command.
#[derive(Debug)]
pub(crate) struct CommandMachine {
    /// Makes the forks.
    pub(crate) host: Host,
    /// The machine.
    pub(crate) template: Arc<Template>,
}

impl CommandMachine {
    /// The machine that the command line describes, with `programs` in it.
    pub(crate) fn new(
        args: &MachineArgs,
        programs: &[String],
        cancelled: &Arc<AtomicBool>,
    ) -> anyhow::Result<CommandMachine> {
        let here = std::env::current_dir().context("cannot find the working directory")?;
        let config = Config::of_package(&here)?;
        let options = Options { cancelled: Arc::clone(cancelled), ..Options::from_environment() };
        let say = |line: &str| {
            // A list of programs may be long.
            let dots = if line.chars().nth(100).is_some() { "..." } else { "" };
            say(format_args!("belljar: {line:.100}{dots}"));
        };
        let host = Host::open(options.clone(), &config, say).map_err(no_host)?;
        match args.kernel.as_ref().or(options.kernel.as_ref()) {
            Some(word) => host.kernel(word).map_err(|error| no_kernel(word, error))?,
            None => default_kernel(&host, &config)?,
        };
        if let Some(topology) = &args.topology {
            topology.parse::<belljar_topology::Topology>().map_err(|error| {
                Failure::new(Exit::Usage, format!("`{topology}` is no topology"))
                    .source(error)
                    .hint("nodes, last-level caches, cores and threads, as `1n2l4c1t`")
            })?;
        }
        let spec = Spec {
            manifest_dir: here.to_string_lossy().into_owned(),
            topology: args.topology.clone(),
            memory_mib: args.memory_mib,
            mode: args.mode.clone(),
            kernel: args.kernel.clone(),
            modules: args.modules.clone(),
            tools: args.tools.clone(),
            ..Spec::default()
        };
        let plan = host.plan(&spec, Path::new("")).map_err(|reason| {
            Failure::new(Exit::Setup, format!("no machine like that: {reason}"))
        })?;
        let names: Vec<&str> = programs.iter().chain(&args.tools).map(String::as_str).collect();
        let mut payload = Payload::command(&names).context("cannot take the programs along")?;
        let modules: Vec<&str> = args.modules.iter().map(String::as_str).collect();
        for module in plan.kernel.module_closure(&modules)? {
            payload.module(&module.name, module.read()?);
        }
        if let Some(path) = plan.kernel.config_path() {
            let config = std::fs::read(&path).with_context(|| format!("cannot read {path:?}"))?;
            payload.file(format!("/boot/config-{}", plan.kernel.release()), config);
        }
        let engine = host.engine();
        let base = engine.base(&plan.machine()).map_err(no_template)?;
        let template = engine.layer(&base, &payload).map_err(no_template)?;
        Ok(CommandMachine { host, template })
    }
}

fn no_template(error: belljar_vm::Error) -> anyhow::Error {
    match error {
        belljar_vm::Error::Cancelled => Failure::new(Exit::Interrupted, "interrupted").into(),
        error => error.into(),
    }
}

/// The request to run a program: what the agent's `command` takes.
#[derive(Debug)]
pub(crate) struct Request<'a> {
    /// The time limit in nanoseconds of guest time; 0 for none.
    pub(crate) limit_ns: u64,
    /// Rows and columns of the terminal, if there is one.
    pub(crate) terminal: Option<(u16, u16)>,
    /// The program and its arguments.
    pub(crate) words: &'a [String],
}

impl Request<'_> {
    /// The bytes.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let (rows, columns) = self.terminal.unwrap_or_default();
        let mut bytes = format!("{}\0{rows}\0{columns}\0/\0", self.limit_ns).into_bytes();
        for word in self.words {
            bytes.extend_from_slice(word.as_bytes());
            bytes.push(0);
        }
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_a_row_of_words_that_end_in_zero() {
        let words = ["sh".to_owned(), String::new(), "-c".to_owned()];
        let request = Request { limit_ns: 7, terminal: Some((25, 80)), words: &words };
        assert_eq!(request.encode(), b"7\x0025\x0080\0/\0sh\0\0-c\0");
    }
}
