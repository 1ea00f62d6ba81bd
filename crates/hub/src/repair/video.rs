//! Video: strictly growing decode times in 90 kHz ticks, presentation never before decoding.

use media::{FrameRate, VIDEO_TIMESCALE};

use super::{RepairSet, Times};
use crate::Repair;

/// Distance that is put between two pictures that came with the same decode time: 1 ms.
const STEP_TICKS: i64 = 90;
/// The most that decode times are lowered to get below presentation times.
const LOWER_MAX_US: i64 = 1_000_000;
/// Presentation later than this after decoding is nonsense: 16 pictures at 3 a second.
const CTS_MAX_US: i64 = 5_000_000;
/// Pictures that may be reordered, ITU-T H.264 A.3.1.
const REORDER_MAX: usize = 16;
/// Presentation times of one run lie within this of one another.
const RUN_US: i64 = 2_000_000;
/// A frame where nothing else is known: 30 a second.
const FRAME_US: i64 = 33_333;
/// Pictures in a row placed by guess before the wall clock is asked.
const GUESSES_MAX: u32 = 4;

/// The video track's decode times.
#[derive(Debug)]
pub(crate) struct VideoLine {
    /// Decode time of the newest picture, ticks.
    last: Option<i64>,
    /// Nominal frame duration by configuration, ticks; 0 if unknown.
    nominal: u32,
    /// Smoothed distance of decode times, microseconds.
    distance_us: i64,
    last_at_us: Option<i64>,
    /// How far decode times are lowered, so that none is after its presentation time.
    lowered_us: i64,
    reorder_depth: usize,
    /// Newest presentation times, sorted, where no decode times come. At most `reorder_depth + 1`.
    presentation_us: Vec<i64>,
    guesses: u32,
}

impl Default for VideoLine {
    fn default() -> Self {
        Self {
            last: None,
            nominal: 0,
            distance_us: FRAME_US,
            last_at_us: None,
            lowered_us: 0,
            reorder_depth: 2,
            presentation_us: Vec::new(),
            guesses: 0,
        }
    }
}

impl VideoLine {
    pub(crate) fn configure(&mut self, frame_rate: Option<FrameRate>, reorder_depth: u8) {
        let ticks = frame_rate.map_or(0, |rate| {
            let ticks = u64::from(VIDEO_TIMESCALE.get()) * u64::from(rate.denominator.get());
            u32::try_from(ticks / u64::from(rate.numerator.get())).unwrap_or(0)
        });
        self.nominal = if ticks <= VIDEO_TIMESCALE.get() { ticks } else { 0 };
        if self.nominal > 0 {
            self.distance_us = i64::from(self.nominal) * 1000 / 90;
        }
        self.reorder_depth = usize::from(reorder_depth).min(REORDER_MAX);
        self.presentation_us.clear();
    }

    /// Another encoder begins.
    pub(crate) fn restart(&mut self) {
        self.lowered_us = 0;
        self.presentation_us.clear();
        self.last_at_us = None;
    }

    /// A decode time from presentation times alone: the n-th picture in decoding order is decoded when the
    /// (n - depth)-th in presentation order is shown.
    pub(crate) fn decode_time(&mut self, pts_us: i64) -> i64 {
        if self
            .presentation_us
            .last()
            .is_some_and(|&newest| newest.abs_diff(pts_us) > RUN_US as u64)
        {
            self.presentation_us.clear();
        }
        let place = self.presentation_us.partition_point(|&earlier| earlier <= pts_us);
        self.presentation_us.insert(place, pts_us);
        let missing = (self.reorder_depth + 1).saturating_sub(self.presentation_us.len());
        if missing > 0 {
            let missing = i64::try_from(missing).unwrap_or(0);
            return self.presentation_us[0] - missing * self.distance_us;
        }
        if self.presentation_us.len() > self.reorder_depth + 1 {
            self.presentation_us.remove(0);
        }
        self.presentation_us[0]
    }

    /// Whether the newest picture lies at or behind this stream time; `None` before the first.
    pub(crate) fn is_ahead_of(&self, at_us: i64) -> Option<bool> {
        self.last.map(|last| last >= to_ticks(at_us - self.lowered_us))
    }

    /// Exact times of the next picture. `at_us` is `None` where its own time says nothing.
    pub(crate) fn times(
        &mut self,
        at_us: Option<i64>,
        cts_us: i64,
        wall_us: i64,
        repairs: &mut RepairSet,
    ) -> Times {
        let cts_us = self.presentation_offset(cts_us, repairs);
        let at_us = match at_us {
            Some(at_us) => {
                self.observe(at_us);
                at_us
            }
            None => self.guess(wall_us),
        };
        let mut dts = to_ticks(at_us - self.lowered_us).max(0);
        if let Some(last) = self.last {
            dts = dts.max(last.saturating_add(STEP_TICKS));
        }
        let pts = to_ticks(at_us + cts_us).max(dts);
        self.last = Some(dts);
        Times {
            dts,
            pts,
            duration: self.nominal,
            dts_us: to_us(dts),
        }
    }

    /// Where the picture's presentation ends, microseconds.
    pub(crate) fn end_us(&self, times: &Times) -> i64 {
        to_us(times.pts) + self.distance_us
    }

    fn presentation_offset(&mut self, cts_us: i64, repairs: &mut RepairSet) -> i64 {
        if cts_us > CTS_MAX_US {
            repairs.add(Repair::PtsTooLate);
            return 0;
        }
        if cts_us >= -self.lowered_us {
            return cts_us;
        }
        repairs.add(Repair::PtsBeforeDts);
        if cts_us < -LOWER_MAX_US {
            return 0;
        }
        self.lowered_us = -cts_us;
        cts_us
    }

    fn observe(&mut self, at_us: i64) {
        self.guesses = 0;
        if let Some(last_at_us) = self.last_at_us.replace(at_us)
            && (1..=RUN_US).contains(&(at_us - last_at_us))
        {
            self.distance_us += (at_us - last_at_us - self.distance_us) / 8;
        }
    }

    /// A frame after the one before; by the wall clock where that goes on.
    fn guess(&mut self, wall_us: i64) -> i64 {
        self.guesses = self.guesses.saturating_add(1);
        let Some(last) = self.last else {
            return wall_us.max(0);
        };
        let next_us = to_us(last) + self.lowered_us + self.distance_us.max(1000);
        if self.guesses > GUESSES_MAX {
            wall_us.max(next_us - self.distance_us / 2)
        } else {
            next_us
        }
    }
}

fn to_ticks(us: i64) -> i64 {
    media::rescale(us, MICROSECONDS, VIDEO_TIMESCALE).unwrap_or(0)
}

fn to_us(ticks: i64) -> i64 {
    media::MediaTime::new(ticks, VIDEO_TIMESCALE).micros()
}

const MICROSECONDS: std::num::NonZeroU32 = match std::num::NonZeroU32::new(1_000_000) {
    Some(timescale) => timescale,
    None => unreachable!(),
};
