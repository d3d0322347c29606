//! What a body may return, and what it comes to.

use belljar_record::Place;
use std::any::Any;
use std::fmt;
use std::panic::Location;

/// What a test body returns: `Result` alone for `Result<()>`.
pub type Result<T = ()> = std::result::Result<T, Error>;

/// Any error, with the place of the `?` that turned it into this one.
///
/// Made by `?` from every standard error, and from text by [`Error::new`].
pub struct Error {
    source: Box<dyn std::error::Error + Send + Sync>,
    at: &'static Location<'static>,
}

impl Error {
    /// An error that is a message.
    #[track_caller]
    pub fn new(message: impl Into<String>) -> Error {
        Error { source: message.into().into(), at: Location::caller() }
    }

    /// Where it became this error.
    pub fn place(&self) -> Place {
        Place::from(self.at)
    }

    fn chain(&self) -> Vec<String> {
        let mut chain = Vec::new();
        let mut next = self.source.source();
        while let Some(error) = next {
            chain.push(error.to_string());
            next = error.source();
        }
        chain
    }
}

impl<E: std::error::Error + Send + Sync + 'static> From<E> for Error {
    #[track_caller]
    fn from(source: E) -> Error {
        Error { source: Box::new(source), at: Location::caller() }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.source.fmt(f)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (at {})", self.source, self.place())?;
        for cause in self.chain() {
            write!(f, "\n  caused by: {cause}")?;
        }
        Ok(())
    }
}

/// What a body came to, short of a panic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It returned.
    Passed,
    /// It returned an error.
    Failed {
        /// The error.
        message: String,
        /// Its causes, outermost first, and where it happened.
        chain: Vec<String>,
    },
}

/// What a body may return.
#[doc(hidden)]
pub trait IntoEnded {
    /// What it comes to.
    fn into_ended(self) -> Ended;
}

impl IntoEnded for () {
    fn into_ended(self) -> Ended {
        Ended::Passed
    }
}

impl<T, E: fmt::Debug + 'static> IntoEnded for std::result::Result<T, E> {
    fn into_ended(self) -> Ended {
        let Err(error) = self else { return Ended::Passed };
        match (&error as &dyn Any).downcast_ref::<Error>() {
            Some(error) => {
                let mut chain = error.chain();
                chain.push(format!("at {}", error.place()));
                Ended::Failed { message: error.to_string(), chain }
            }
            None => Ended::Failed { message: format!("{error:?}"), chain: Vec::new() },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_knows_where_it_was_made() {
        fn fails() -> Result {
            std::fs::read("/nonexistent/file")?;
            Ok(())
        }
        let line = line!() - 3;
        let Ended::Failed { message, chain } = fails().into_ended() else { panic!() };
        assert!(message.contains("No such file"), "{message}");
        assert!(
            chain[0].starts_with(&format!("at crates/belljar/src/error.rs:{line}:")),
            "{chain:?}"
        );
        assert_eq!(Ok::<_, Error>(3).into_ended(), Ended::Passed);
        let boxed: std::result::Result<(), Box<dyn std::error::Error>> = Err("odd".into());
        assert_eq!(boxed.into_ended(), Ended::Failed { message: "\"odd\"".into(), chain: vec![] });
    }
}
