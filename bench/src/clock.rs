//! When each sample was sent, so that a viewer can say how old a part is.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// Send times of the newest video samples of one publisher, by media time.
#[derive(Clone, Debug, Default)]
pub(crate) struct SendTimes(Rc<RefCell<VecDeque<(u64, Instant)>>>);

/// Some seconds at 30 frames a second: older parts are not measured.
const KEPT: usize = 600;
/// A sample is found again when its time is this near (the file counts in milliseconds).
const TOLERANCE_US: u64 = 2_000;

impl SendTimes {
    /// The sample at `media_us` (from the first sample on) has just been handed to the kernel.
    pub(crate) fn sent(&self, media_us: u64) {
        let mut times = self.0.borrow_mut();
        if times.len() == KEPT {
            times.pop_front();
        }
        times.push_back((media_us, Instant::now()));
    }

    /// When the sample at `media_us` was sent.
    pub(crate) fn of(&self, media_us: u64) -> Option<Instant> {
        let times = self.0.borrow();
        times
            .iter()
            .rev()
            .find(|(at, _)| at.abs_diff(media_us) <= TOLERANCE_US)
            .map(|(_, sent)| *sent)
    }
}

/// A bounded set of measured times.
#[derive(Clone, Debug, Default)]
pub(crate) struct Latencies {
    micros: Vec<u32>,
    seen: u64,
}

const SAMPLES_MAX: usize = 2_000_000;

impl Latencies {
    pub(crate) fn add(&mut self, latency: Duration) {
        self.seen += 1;
        if self.micros.len() < SAMPLES_MAX {
            self.micros
                .push(u32::try_from(latency.as_micros()).unwrap_or(u32::MAX));
        }
    }

    pub(crate) fn count(&self) -> u64 {
        self.seen
    }

    /// p50, p95, p99 and the largest, milliseconds.
    pub(crate) fn percentiles(&self) -> Option<[f64; 4]> {
        let mut sorted = self.micros.clone();
        sorted.sort_unstable();
        let last = sorted.len().checked_sub(1)?;
        let at = |percent: usize| f64::from(sorted[(sorted.len() * percent / 100).min(last)]) / 1000.0;
        Some([at(50), at(95), at(99), f64::from(sorted[last]) / 1000.0])
    }
}
