//! What can go wrong around a virtual machine.

use crate::channel::ChannelError;
use crate::closure::ClosureError;
use crate::console;
use crate::qemu::Version;
use std::io;
use std::path::PathBuf;

/// What was attempted around a virtual machine, and what happened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No QEMU is installed.
    #[error(
        "no `{program}` found; install it (Debian: `apt-get install qemu-system-x86`) or name one \
         in BELLJAR_QEMU"
    )]
    QemuMissing {
        /// The program that was looked for.
        program: String,
    },
    /// The program does not behave as QEMU.
    #[error("`{}` did not say its version as QEMU does: {answer}", program.display())]
    QemuUnknown {
        /// The program that was asked.
        program: PathBuf,
        /// What it answered.
        answer: String,
    },
    /// QEMU lacks what belljar is built on.
    #[error(
        "QEMU {found} is too old: belljar needs {} or newer (Debian 12 has it; a newer one is in \
         the distribution's backports)",
        Version::OLDEST
    )]
    QemuTooOld {
        /// Its version.
        found: Version,
    },
    /// A file or directory could not be used.
    #[error("cannot {attempted}")]
    Io {
        /// What was attempted, on what: completes "cannot ...".
        attempted: String,
        /// What happened.
        source: io::Error,
    },
    /// The file system has no room for a template.
    #[error(
        "{} has {free_mib} MiB free, and a template of this machine may take {needed_mib} MiB; \
         free some (`cargo belljar cache gc`) or set XDG_CACHE_HOME to a larger file system",
        place.display()
    )]
    NoSpace {
        /// The cache's directory.
        place: PathBuf,
        /// What is free.
        free_mib: u64,
        /// What may be needed.
        needed_mib: u64,
    },
    /// The host has too little memory for the machine.
    #[error(
        "the machine needs {needed_mib} MiB of memory, and the host has {available_mib} MiB available"
    )]
    NoMemory {
        /// What the machine asks for.
        needed_mib: u64,
        /// What the host can give.
        available_mib: u64,
    },
    /// QEMU ended by itself.
    #[error("QEMU ended ({status}){}", said(stderr))]
    QemuDied {
        /// Its exit status.
        status: String,
        /// The end of what it wrote to its standard error.
        stderr: String,
    },
    /// QEMU refused a command.
    #[error("QEMU refused `{command}`: {message}")]
    Qmp {
        /// The QMP command.
        command: String,
        /// QEMU's answer.
        message: String,
    },
    /// The machine did not get as far as it must before a template can be taken.
    #[error("no template of {machine}: {problem}{}", tail(console))]
    Template {
        /// Which machine.
        machine: String,
        /// How far it came and what happened.
        problem: String,
        /// What its console says.
        console: String,
    },
    /// The guest wrote something into the channel that makes no sense.
    #[error("the guest broke the channel")]
    Channel(#[from] ChannelError),
    /// A payload could not be put together.
    #[error("cannot put the payload together")]
    Payload(#[from] ClosureError),
    /// The topology and the memory do not fit together.
    #[error("the machine cannot be built: {problem}")]
    Machine {
        /// Why not.
        problem: String,
    },
    /// Somebody called it off.
    #[error("called off")]
    Cancelled,
    /// KVM was asked for and does not work here.
    #[error("KVM cannot be used here: {reason}; leave the mode out or use `tcg` or `det`")]
    NoKvm {
        /// What the probe found.
        reason: String,
    },
}

impl Error {
    pub(crate) fn io(attempted: impl Into<String>, source: io::Error) -> Error {
        Error::Io { attempted: attempted.into(), source }
    }
}

/// An error and its causes, in one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}

fn said(stderr: &str) -> String {
    match stderr.trim() {
        "" => String::from(" without a word"),
        text => format!(": {text}"),
    }
}

fn tail(console: &str) -> String {
    match console::tail(console, 15) {
        text if text.is_empty() => String::from("; its console is empty"),
        text => format!("; its console ends:\n{text}"),
    }
}
