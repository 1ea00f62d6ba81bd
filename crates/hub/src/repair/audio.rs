//! Audio: an exact count of samples that follows the publisher's timestamps.
//!
//! Timestamps of audio are coarse (RTMP: whole milliseconds; 1024 samples at 48 kHz come as 21, 22, 21 ms) and jitter;
//! the samples are exact. So the samples are counted, and the timestamps only steer the count.

use std::num::NonZeroU32;

use super::{RepairSet, Times};
use crate::Repair;

/// Timestamps this far off the count are followed at once: what a viewer notices as lips out of sync begins there.
const RESYNC_US: i64 = 100_000;
/// Smoothed error at which slewing begins, and at which it ends.
const SLEW_BEGIN_US: i64 = 8_000;
const SLEW_END_US: i64 = 3_000;
/// Fastest slew, parts per million.
const SLEW_PPM: u64 = 500;
/// Samples over which the error is smoothed.
const SMOOTHING: i64 = 32;
/// Left out in a row at most; then the count is believed instead. About a second.
const DROPS_MAX: u32 = 48;
/// Samples in a row off by more than [`RESYNC_US`] before it is believed.
const WITNESSES: u32 = 2;

/// The audio track's decode times.
#[derive(Debug)]
pub(crate) struct AudioLine {
    rate: NonZeroU32,
    frame: u32,
    /// Decode time of the next sample, ticks.
    next: i64,
    error_us: i64,
    slew_debt: u64,
    is_slewing: bool,
    /// Samples in a row far off.
    off: u32,
    /// Leaving out samples until the count is reached.
    is_draining: bool,
    drops: u32,
    last_at_us: Option<i64>,
}

impl Default for AudioLine {
    fn default() -> Self {
        Self {
            rate: media::MILLISECONDS.saturating_mul(NonZeroU32::MIN.saturating_add(47)),
            frame: 1024,
            next: 0,
            error_us: 0,
            slew_debt: 0,
            is_slewing: false,
            off: 0,
            is_draining: false,
            drops: 0,
            last_at_us: None,
        }
    }
}

/// What becomes of an audio sample.
#[derive(Clone, Copy, Debug)]
pub(crate) enum AudioOut {
    Emit(Times),
    Drop,
    /// The count is believed, not the timestamps: they are this much off from now on.
    Rebase {
        times: Times,
        error_us: i64,
    },
}

impl AudioLine {
    /// Returns whether the timescale changed; the line goes on from `end_us` then.
    pub(crate) fn configure(&mut self, rate: NonZeroU32, frame: u32, end_us: i64) -> bool {
        self.frame = frame.clamp(1, 1 << 16);
        if self.rate == rate {
            return false;
        }
        self.rate = rate;
        // Rounded up, so that the last sample of the old timescale does not overlap.
        self.next = self.ticks(end_us.saturating_add(1)).saturating_add(1);
        self.settle();
        true
    }

    pub(crate) fn error_us(&self) -> i64 {
        self.error_us
    }

    /// Where the count stands, microseconds.
    pub(crate) fn next_us(&self) -> i64 {
        media::MediaTime::new(self.next, self.rate).micros()
    }

    /// Whether a time far ahead of the count is worth following: the arrival was as late, or it is not the first.
    pub(crate) fn believes(&self, at_us: Option<i64>, silence_us: i64) -> bool {
        let Some(at_us) = at_us else { return false };
        self.off + 1 >= WITNESSES || silence_us >= (at_us - self.next_us()) / 2
    }

    /// Exact times of the next sample. `at_us` is `None` where its own time says nothing; `is_fresh` right after a
    /// discontinuity, where the line may begin anywhere ahead.
    pub(crate) fn times(
        &mut self,
        at_us: Option<i64>,
        is_fresh: bool,
        silence_us: i64,
        repairs: &mut RepairSet,
    ) -> AudioOut {
        let is_repeated = !is_fresh && at_us.is_some() && at_us == self.last_at_us;
        self.last_at_us = at_us.or(self.last_at_us);
        let Some(at_us) = at_us.filter(|_| !is_repeated) else {
            if is_repeated {
                repairs.add(Repair::DuplicateDts);
            }
            return AudioOut::Emit(self.take(self.frame));
        };
        let error_us = at_us - self.next_us();
        if is_fresh {
            return self.begin(at_us, error_us, repairs);
        }
        if self.is_draining || error_us < -RESYNC_US {
            return self.overlap(error_us, repairs);
        }
        if error_us > RESYNC_US {
            return AudioOut::Emit(self.gap(at_us, error_us, silence_us, repairs));
        }
        self.off = 0;
        self.error_us += (error_us - self.error_us) / SMOOTHING;
        AudioOut::Emit(self.slewed(repairs))
    }

    /// The first sample after a discontinuity.
    fn begin(&mut self, at_us: i64, error_us: i64, repairs: &mut RepairSet) -> AudioOut {
        let half_us = i64::from(self.frame) * 500_000 / i64::from(self.rate.get());
        if error_us < -half_us && self.drops < DROPS_MAX {
            self.drops += 1;
            repairs.add(Repair::Straggler);
            return AudioOut::Drop;
        }
        self.settle();
        self.next = self.next.max(self.ticks(at_us));
        let times = self.take(self.frame);
        if error_us < -RESYNC_US {
            AudioOut::Rebase { times, error_us }
        } else {
            AudioOut::Emit(times)
        }
    }

    /// Timestamps behind the count: samples are left out until it is reached.
    fn overlap(&mut self, error_us: i64, repairs: &mut RepairSet) -> AudioOut {
        let half_us = i64::from(self.frame) * 500_000 / i64::from(self.rate.get());
        if self.is_draining && error_us >= -half_us {
            self.settle();
            return AudioOut::Emit(self.take(self.frame));
        }
        self.off += 1;
        if !self.is_draining && self.off < WITNESSES {
            return AudioOut::Emit(self.take(self.frame));
        }
        repairs.add(Repair::AudioOverlap);
        if self.drops >= DROPS_MAX {
            self.settle();
            return AudioOut::Rebase {
                times: self.take(self.frame),
                error_us,
            };
        }
        self.is_draining = true;
        self.drops += 1;
        AudioOut::Drop
    }

    /// Timestamps ahead of the count. The sample before is out already, so this one carries the gap in its duration:
    /// it sounds early by the gap, the silence follows it, and the next one is right.
    fn gap(&mut self, at_us: i64, error_us: i64, silence_us: i64, repairs: &mut RepairSet) -> Times {
        if !self.believes(Some(at_us), silence_us) {
            self.off += 1;
            return self.take(self.frame);
        }
        repairs.add(Repair::AudioGap);
        self.settle();
        let gap = u32::try_from(self.ticks(error_us.min(super::GAP_US))).unwrap_or(0);
        self.take(self.frame.saturating_add(gap))
    }

    /// A sample longer or shorter by one tick now and then, while the smoothed error is large.
    fn slewed(&mut self, repairs: &mut RepairSet) -> Times {
        let size_us = self.error_us.abs();
        self.is_slewing = size_us
            > if self.is_slewing {
                SLEW_END_US
            } else {
                SLEW_BEGIN_US
            };
        if !self.is_slewing {
            self.slew_debt = 0;
            return self.take(self.frame);
        }
        self.slew_debt += u64::from(self.frame) * SLEW_PPM;
        if self.slew_debt < 1_000_000 {
            return self.take(self.frame);
        }
        self.slew_debt -= 1_000_000;
        repairs.add(Repair::AudioSlew);
        let frame = if self.error_us > 0 {
            self.frame + 1
        } else {
            self.frame.saturating_sub(1).max(1)
        };
        self.take(frame)
    }

    fn settle(&mut self) {
        (self.error_us, self.slew_debt, self.is_slewing) = (0, 0, false);
        (self.off, self.is_draining, self.drops) = (0, false, 0);
    }

    fn take(&mut self, duration: u32) -> Times {
        let (dts, dts_us) = (self.next, self.next_us());
        self.next = self.next.saturating_add(i64::from(duration));
        Times {
            dts,
            pts: dts,
            duration,
            dts_us,
        }
    }

    fn ticks(&self, us: i64) -> i64 {
        let ticks = i128::from(us) * i128::from(self.rate.get()) / 1_000_000;
        i64::try_from(ticks).unwrap_or(0)
    }
}
