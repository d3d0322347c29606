//! How long a caller waits, and what makes it stop.

use crate::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// The longest time for which anything blocks without looking around.
pub(crate) const SLICE: Duration = Duration::from_millis(100);

/// Calls off what a client is waiting for, from any thread. It stays so until it is cleared.
#[derive(Clone, Debug, Default)]
pub struct AbortHandle(Arc<AtomicBool>);

impl AbortHandle {
    /// One that has not been used.
    #[inline]
    pub fn new() -> AbortHandle {
        AbortHandle::default()
    }

    /// Calls off. Whoever waits notices within 100 ms.
    pub fn abort(&self) {
        self.0.store(true, Ordering::Release);
    }

    /// Allows calls again.
    pub fn clear(&self) {
        self.0.store(false, Ordering::Release);
    }

    /// Whether it is in force.
    #[inline]
    pub fn is_aborted(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// What is left of the time for one call, however many steps it has.
///
/// The clock starts when somebody first has to wait for longer than a moment: a call that is
/// answered at once never looks at it.
#[derive(Debug)]
pub struct Patience<'a> {
    timeout: Option<Duration>,
    deadline: Option<Instant>,
    abort: Option<&'a AbortHandle>,
}

impl<'a> Patience<'a> {
    /// Waits for so long. Zero is forever.
    #[inline]
    pub fn new(timeout: Duration) -> Patience<'a> {
        let timeout = (!timeout.is_zero()).then_some(timeout);
        Patience { timeout, deadline: None, abort: None }
    }

    /// Waits forever.
    pub fn forever() -> Patience<'a> {
        Patience::new(Duration::ZERO)
    }

    /// Stops when this is used.
    #[must_use]
    #[inline]
    pub fn with_abort(self, abort: &'a AbortHandle) -> Patience<'a> {
        Patience { abort: Some(abort), ..self }
    }

    /// So much time for something else, and called off by the same.
    pub(crate) fn another(&self, timeout: Duration) -> Patience<'a> {
        Patience { abort: self.abort, ..Patience::new(timeout) }
    }

    /// How long to block now: at most a slice.
    pub(crate) fn slice(&mut self) -> Result<Duration, Error> {
        self.check_abort()?;
        let Some(timeout) = self.timeout else {
            return Ok(SLICE);
        };
        let now = Instant::now();
        let deadline = match self.deadline {
            Some(deadline) => deadline,
            // A deadline beyond the clock's end is none.
            None => match now.checked_add(timeout) {
                Some(deadline) => *self.deadline.insert(deadline),
                None => return Ok(SLICE),
            },
        };
        match deadline.checked_duration_since(now) {
            None | Some(Duration::ZERO) => Err(Error::Timeout),
            Some(left) => Ok(left.min(SLICE)),
        }
    }

    /// Starts the clock, for a call whose time does not begin with its first wait.
    pub(crate) fn start(&mut self) {
        self.start_before(Duration::ZERO);
    }

    /// Starts the clock, when so much time has passed already.
    pub(crate) fn start_before(&mut self, passed: Duration) {
        if let (None, Some(timeout)) = (self.deadline, self.timeout) {
            self.deadline = Instant::now().checked_add(timeout.saturating_sub(passed));
        }
    }

    /// Whether the first wait may take a whole slice, so that nobody needs the clock for it.
    #[inline]
    pub(crate) fn is_ample(&self) -> bool {
        self.deadline.is_none() && self.timeout.is_none_or(|timeout| timeout >= SLICE)
    }

    /// Fails when it was called off.
    #[inline]
    pub(crate) fn check_abort(&self) -> Result<(), Error> {
        match self.abort {
            Some(abort) if abort.is_aborted() => Err(Error::Aborted),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_is_one_however_many_waits() {
        let mut patience = Patience::new(Duration::from_millis(20));
        assert!(!patience.is_ample());
        assert!(patience.slice().unwrap() <= Duration::from_millis(20));
        std::thread::sleep(Duration::from_millis(25));
        assert!(matches!(patience.slice(), Err(Error::Timeout)));
    }

    #[test]
    fn to_call_off_comes_before_the_time_and_stays() {
        let abort = AbortHandle::new();
        let mut patience = Patience::new(Duration::from_nanos(1)).with_abort(&abort);
        patience.start();
        abort.abort();
        assert!(matches!(patience.slice(), Err(Error::Aborted)));
        assert!(matches!(patience.slice(), Err(Error::Aborted)));
        abort.clear();
        assert!(matches!(patience.slice(), Err(Error::Timeout)));
    }

    #[test]
    fn forever_is_slice_by_slice() {
        for timeout in [Duration::ZERO, Duration::MAX] {
            let mut patience = Patience::new(timeout);
            assert!(patience.is_ample());
            assert_eq!(patience.slice().unwrap(), SLICE);
        }
    }
}
