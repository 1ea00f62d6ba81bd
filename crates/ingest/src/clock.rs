//! The process's monotonic clock as pure code wants it.

use std::time::{Duration, Instant};

use media::Micros;

/// Counts [`Micros`] from an origin that the whole process shares.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    origin: Instant,
}

impl Clock {
    /// A clock that reads 0 at `origin`.
    pub fn new(origin: Instant) -> Self {
        Self { origin }
    }

    /// Now.
    pub fn now(self) -> Micros {
        u64::try_from(self.origin.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    /// The instant at which the clock reads `at`.
    pub fn instant(self, at: Micros) -> Instant {
        self.origin + Duration::from_micros(at)
    }
}
