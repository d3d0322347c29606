//! How the command ends, and what it says when that is not well.

use crate::output::{Style, plain};
use std::error::Error;
use std::fmt::Write as _;

/// How the command ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// All is well.
    Fine,
    /// An internal failure.
    Internal,
    /// Wrong usage.
    Usage,
    /// Set-up is missing.
    Setup,
    /// No test matched.
    NoTests,
    /// A replay differs.
    Differs,
    /// A benchmark misses a limit.
    LimitMissed,
    /// A benchmark is not published.
    NotPublished,
    /// Tests failed, or came to no answer.
    TestsFailed,
    /// The build failed.
    BuildFailed,
    /// Somebody interrupted it.
    Interrupted,
    /// As the command that was executed.
    As(u8),
}

impl Exit {
    /// The time of an executed command was over.
    pub(crate) const TIME_OVER: Exit = Exit::As(124);
    /// A command could not be executed.
    pub(crate) const EXEC_FAILED: Exit = Exit::As(125);

    /// The number.
    pub(crate) fn code(self) -> u8 {
        match self {
            Exit::Fine => 0,
            Exit::Internal => 1,
            Exit::Usage => 2,
            Exit::Setup => 3,
            Exit::NoTests => 4,
            Exit::Differs => 5,
            Exit::LimitMissed => 6,
            Exit::TestsFailed | Exit::NotPublished => 100,
            Exit::BuildFailed => 101,
            Exit::Interrupted => 130,
            Exit::As(code) => code,
        }
    }
}

/// An error that knows how the command ends and what to do next.
#[derive(Debug)]
pub(crate) struct Failure {
    exit: Exit,
    message: String,
    hint: Option<String>,
    source: Option<Box<dyn Error + Send + Sync>>,
}

impl Failure {
    /// What was attempted and what happened.
    pub(crate) fn new(exit: Exit, message: impl Into<String>) -> Failure {
        Failure { exit, message: message.into(), hint: None, source: None }
    }

    /// With what to do next.
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Failure {
        self.hint = Some(hint.into());
        self
    }

    /// With what it comes from.
    pub(crate) fn source(mut self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Failure {
        self.source = Some(source.into());
        self
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

impl Error for Failure {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

/// How the command ends after an error: as the error says, and where it says nothing
/// by what kind of error it is.
pub(crate) fn exit_of(error: &anyhow::Error) -> Exit {
    for cause in error.chain() {
        if let Some(failure) = cause.downcast_ref::<Failure>() {
            return failure.exit;
        }
        if let Some(belljar_kernel::Error::Source(_)) = cause.downcast_ref() {
            return Exit::Usage;
        }
        if cause.is::<belljar::host::HostError>()
            || cause.is::<belljar::ConfigError>()
            || cause.is::<belljar_vm::Error>()
            || cause.is::<belljar_kernel::Error>()
        {
            return Exit::Setup;
        }
    }
    Exit::Internal
}

/// Whether an error only means that nobody reads our output any more.
pub(crate) fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        let io = cause.downcast_ref::<std::io::Error>();
        io.is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
    })
}

/// An error for people: what was attempted, its causes, and what to do next.
pub(crate) fn explain(error: &anyhow::Error, style: Style) -> String {
    // What is told may quote what others wrote. Lines stay lines.
    let plain = |text: &str| text.lines().map(plain).collect::<Vec<_>>().join("\n");
    let mut text = format!("{} {}\n", style.red("error:"), plain(&error.to_string()));
    let mut last = error.to_string();
    for cause in error.chain().skip(1) {
        let cause = cause.to_string();
        // A transparent error says what its source says.
        if cause != last {
            let _ = writeln!(text, "  caused by: {}", plain(&cause));
        }
        last = cause;
    }
    let hints = error.chain().filter_map(|cause| cause.downcast_ref::<Failure>()?.hint.as_deref());
    for hint in hints {
        let _ = writeln!(text, "\n{} {}", style.bold("hint:"), plain(hint));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_told_with_causes_and_hints_apart() {
        let failure = Failure::new(Exit::Setup, "cannot boot")
            .source(std::io::Error::other("no disk"))
            .hint("insert one");
        let error = anyhow::Error::from(failure);
        assert_eq!(exit_of(&error), Exit::Setup);
        let text = explain(&error, Style::plain());
        assert_eq!(text, "error: cannot boot\n  caused by: no disk\n\nhint: insert one\n");
        let text = explain(&anyhow::anyhow!("one\n\u{1b}[2Jtwo"), Style::plain());
        assert_eq!(text, "error: one\n\\u{1b}[2Jtwo\n");
    }
}
