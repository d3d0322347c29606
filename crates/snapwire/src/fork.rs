//! Forks, which are counted: a child has its parent's connections and must not use them.
#![expect(unsafe_code)]

use std::sync::Once;
use std::sync::atomic::{AtomicU32, Ordering};

static FORKS: AtomicU32 = AtomicU32::new(0);

/// How many forks lie between this process and the one that first counted.
#[inline]
pub(crate) fn forks() -> u32 {
    FORKS.load(Ordering::Relaxed)
}

extern "C" fn count() {
    FORKS.fetch_add(1, Ordering::Relaxed);
}

/// The same, and from now on they are counted.
pub(crate) fn forks_from_now() -> u32 {
    static COUNTING: Once = Once::new();
    COUNTING.call_once(|| {
        // SAFETY: the function may run in any child at any time: it only counts.
        let _ = unsafe { libc::pthread_atfork(None, None, Some(count)) };
    });
    forks()
}
