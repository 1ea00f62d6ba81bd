//! The process's one timeline, as arithmetic.

use std::time::{Duration, Instant};

use crate::Micros;

/// Maps instants to [`Micros`] and those to UTC, from origins that the shell read once. It reads no clock itself.
///
/// One wall-clock reading serves the whole life of the process: a step of the system's clock does not tear a running
/// broadcast.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    origin: Instant,
    unix_origin_us: u64,
}

impl Clock {
    /// A clock that reads 0 at `origin`, when it was `unix_origin_us` microseconds after 1970 (UTC).
    pub fn new(origin: Instant, unix_origin_us: u64) -> Self {
        Self {
            origin,
            unix_origin_us,
        }
    }

    /// What it reads at `instant`; 0 before its origin.
    pub fn at(self, instant: Instant) -> Micros {
        let since = instant.saturating_duration_since(self.origin);
        u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
    }

    /// The instant at which it reads `at`.
    pub fn instant(self, at: Micros) -> Instant {
        self.origin + Duration::from_micros(at)
    }

    /// Microseconds from 1970 to the origin.
    pub fn unix_origin_us(self) -> u64 {
        self.unix_origin_us
    }

    /// Milliseconds from 1970 to when it reads `at`.
    pub fn unix_ms(self, at: Micros) -> i64 {
        i64::try_from(self.unix_origin_us.saturating_add(at) / 1000).unwrap_or(i64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_and_utc_fit_together() {
        let origin = Instant::now();
        let clock = Clock::new(origin, 5_000_000);
        assert_eq!(clock.at(origin + Duration::from_millis(7)), 7_000);
        assert_eq!(clock.at(clock.instant(123_456)), 123_456);
        assert_eq!(Clock::new(origin + Duration::from_secs(1), 0).at(origin), 0);
        assert_eq!(clock.unix_ms(1_500_000), 6_500);
        assert_eq!(clock.unix_ms(u64::MAX), i64::try_from(u64::MAX / 1000).unwrap());
    }
}
