//! The process's one monotonic clock.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use media::Micros;

/// Monotonic microseconds since the process chose its origin, and the wall clock at that origin.
///
/// The wall clock is read once: a step of the system's clock does not tear a running broadcast.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    origin: Instant,
    unix_origin_us: u64,
}

impl Clock {
    /// A clock that starts now.
    pub fn start() -> Self {
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self {
            origin: Instant::now(),
            unix_origin_us: u64::try_from(unix.as_micros()).unwrap_or(u64::MAX),
        }
    }

    /// Microseconds since the origin.
    pub fn now(&self) -> Micros {
        u64::try_from(self.origin.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    /// The instant of a time of this clock.
    pub fn instant(&self, at: Micros) -> Instant {
        self.origin + Duration::from_micros(at)
    }

    /// Microseconds since 1970 at the origin.
    pub fn unix_origin_us(&self) -> u64 {
        self.unix_origin_us
    }

    /// Milliseconds since 1970 of a time of this clock.
    pub fn unix_ms(&self, at: Micros) -> i64 {
        i64::try_from((self.unix_origin_us.saturating_add(at)) / 1000).unwrap_or(i64::MAX)
    }
}
