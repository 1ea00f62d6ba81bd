//! When to try again, when to do less.

use std::time::{Duration, Instant};

use crate::LadderLimits;

/// Lag that must be won back within `behind_for` to count as catching up.
const PROGRESS: Duration = Duration::from_millis(200);

/// Counts failures in a row.
#[derive(Debug, Default)]
pub(crate) struct Failures {
    in_row: u32,
}

/// What to do after a failure.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Verdict {
    /// Wait before the next child.
    pub(crate) delay: Duration,
    /// Go on with half the rungs.
    pub(crate) shrink: bool,
}

impl Failures {
    /// A child failed. `was_healthy`: it had delivered for `healthy_after`.
    pub(crate) fn add(&mut self, was_healthy: bool, limits: &LadderLimits) -> Verdict {
        if was_healthy {
            self.in_row = 0;
        }
        self.in_row = self.in_row.saturating_add(1);
        let delay = match self.in_row {
            1 => Duration::ZERO,
            n => limits
                .backoff_first
                .saturating_mul(1 << (n - 2).min(16))
                .min(limits.backoff_max),
        };
        Verdict {
            delay,
            shrink: self.in_row.is_multiple_of(limits.failures_max.max(1)),
        }
    }
}

/// Watches whether the distance to live shrinks.
#[derive(Debug, Default)]
pub(crate) struct Behind {
    /// Smallest lag seen, and when.
    best: Option<(Instant, Duration)>,
}

impl Behind {
    /// True when the lag has been too large for too long without shrinking.
    pub(crate) fn observe(&mut self, lag: Duration, now: Instant, limits: &LadderLimits) -> bool {
        if lag < limits.behind_after {
            self.best = None;
            return false;
        }
        match self.best {
            Some((since, best)) if lag + PROGRESS > best => now.duration_since(since) >= limits.behind_for,
            _ => {
                self.best = Some((now, lag));
                false
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_restart_is_immediate_then_growing_and_bounded() {
        let limits = LadderLimits::default();
        let mut failures = Failures::default();
        let verdicts: Vec<Verdict> = (0..12).map(|_| failures.add(false, &limits)).collect();
        let delays: Vec<u128> = verdicts.iter().map(|verdict| verdict.delay.as_millis()).collect();
        assert_eq!(
            delays,
            [
                0, 250, 500, 1000, 2000, 4000, 8000, 15000, 15000, 15000, 15000, 15000
            ]
        );
        let shrinks: Vec<usize> = (0..12).filter(|&index| verdicts[index].shrink).collect();
        assert_eq!(shrinks, [2, 5, 8, 11]);
        assert_eq!(
            failures.add(true, &limits),
            Verdict {
                delay: Duration::ZERO,
                shrink: false
            }
        );
    }

    #[test]
    fn behind_needs_a_lag_that_does_not_shrink() {
        let limits = LadderLimits::default();
        let start = Instant::now();
        let at = |ms: u64| start + Duration::from_millis(ms);
        let run = |lag_at: &dyn Fn(u64) -> u64| {
            let mut behind = Behind::default();
            (0..60)
                .map(|tick| tick * 250)
                .find(|&ms| behind.observe(Duration::from_millis(lag_at(ms)), at(ms), &limits))
        };
        assert_eq!(run(&|_| 1000), None, "below the bound");
        assert_eq!(
            run(&|ms| ms / 5),
            Some(10_500),
            "speed 0.8: 1.5 s behind after 7.5 s"
        );
        assert_eq!(
            run(&|ms| 5000_u64.saturating_sub(ms / 10)),
            None,
            "a burst that is worked off at 1.1x"
        );
        assert_eq!(run(&|_| 2000), Some(3000), "speed 1 but behind");
    }
}
