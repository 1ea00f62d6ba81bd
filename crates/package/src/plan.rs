//! Where segments start: one plan a stream, so that segment numbers are equal in all renditions.
//!
//! Thresholds are compared in microseconds; the boundaries themselves are exact media times.

use std::collections::VecDeque;

use media::{MediaTime, Micros};

use crate::config::{Mode, PackageConfig};

/// Boundaries remembered for renditions that lag.
const BOUNDARIES_MAX: usize = 64;
/// A segment is cut before it reaches the target duration plus this: half a second is where rounding would break
/// EXT-X-TARGETDURATION, and audio frames and reordered pictures overlap the boundary a little.
const OVERRUN_US: i64 = 350_000;
/// What a GOP-sized segment may exceed a whole number of seconds by and still round down to it.
const TARGET_SLACK_US: i64 = 200_000;
/// A jump of the timeline beyond this is a discontinuity.
pub(crate) const HOLE_US: i64 = 1_000_000;
/// Timestamps may have been rounded to milliseconds on the way: two of them meet within this.
pub(crate) const JITTER_US: i64 = 2_000;
/// How often in a row a GOP must have been as long as the one before for the next IDR to be taken for granted.
const GOP_RUN: u32 = 1;
/// Shortest segment that an IDR may end when the source has just come back.
const RETURN_MIN_US: i64 = 500_000;

/// The start of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Boundary {
    pub(crate) msn: u64,
    /// Presentation time of the first picture (audio: frame) of the segment.
    pub(crate) at: MediaTime,
    /// Where the segment before ends; differs from `at` at a discontinuity.
    pub(crate) previous_end: MediaTime,
    pub(crate) discontinuity: bool,
    /// Discontinuities so far, this one included.
    pub(crate) period: u64,
    pub(crate) made_us: Micros,
}

/// One picture of the source, as the plan sees it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Step {
    pub(crate) pts: MediaTime,
    /// Decode time, shifted so that the epoch's first picture has its presentation time.
    pub(crate) decode_us: i64,
    pub(crate) frame_us: i64,
    pub(crate) is_sync: bool,
    /// How far this picture is ahead of where it was expected.
    pub(crate) lead_us: i64,
    /// The source rendition waits for an IDR at a boundary.
    pub(crate) source_lost: bool,
    /// Where the source's segment in work began on its own timeline; it may lag behind the pictures a little.
    pub(crate) segment_start_us: Option<i64>,
}

/// What the plan made of a picture or frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Continue,
    /// A boundary was made here.
    Cut {
        /// Not at an IDR.
        forced: bool,
    },
}

/// The segment plan of a stream.
#[derive(Debug)]
pub(crate) struct Plan {
    segment_us: i64,
    mode: Option<Mode>,
    target_us: i64,
    boundaries: VecDeque<Boundary>,
    next_msn: u64,
    period: u64,
    /// The next picture (or frame) of the driver starts a segment, whatever it is.
    force_next: bool,
    /// The next boundary is a discontinuity.
    pending_discontinuity: bool,
    next_grid_us: i64,
    last_idr_us: Option<i64>,
    gop_us: i64,
    gop_run: u32,
    longest_gop_us: i64,
    /// Decode time after the driver's newest picture.
    horizon_us: i64,
    /// Decode time of the first picture of the segment; before its presentation where pictures are reordered.
    start_decode_us: i64,
    /// End of the newest media on the driver's timeline.
    end: Option<MediaTime>,
}

impl Plan {
    pub(crate) fn new(config: &PackageConfig) -> Self {
        Self {
            segment_us: i64::from(config.segment_ms.clamp(500, 10_000)) * 1000,
            mode: None,
            target_us: 0,
            boundaries: VecDeque::new(),
            next_msn: 0,
            period: 0,
            force_next: false,
            pending_discontinuity: false,
            next_grid_us: i64::MIN,
            last_idr_us: None,
            gop_us: 0,
            gop_run: 0,
            longest_gop_us: 0,
            horizon_us: i64::MIN,
            start_decode_us: 0,
            end: None,
        }
    }

    /// Fixes the mode, and on the first call EXT-X-TARGETDURATION. Returns the latter, seconds.
    pub(crate) fn decide(&mut self, mode: Mode, gop_us: Option<i64>, longest_source_gop_us: i64) -> u32 {
        let length = match (mode, gop_us) {
            (Mode::Source, Some(gop)) if gop + JITTER_US >= self.segment_us => gop,
            // As many GOPs as reach the segment length.
            (Mode::Source, Some(gop)) => (self.segment_us - JITTER_US + gop - 1) / gop * gop,
            // Cuts will be forced: the fewer the better.
            (Mode::Source, None) => longest_source_gop_us.max(self.segment_us),
            _ => self.segment_us,
        };
        if self.mode.is_none() {
            self.target_us = ((length - TARGET_SLACK_US).div_euclid(1_000_000) + 1).max(1) * 1_000_000;
        }
        self.mode = Some(mode);
        self.longest_gop_us = self.longest_gop_us.max(gop_us.unwrap_or(0));
        (self.target_us / 1_000_000) as u32
    }

    pub(crate) fn mode(&self) -> Option<Mode> {
        self.mode
    }

    pub(crate) fn get(&self, msn: u64) -> Option<&Boundary> {
        let first = self.boundaries.front()?.msn;
        self.boundaries
            .get(usize::try_from(msn.checked_sub(first)?).ok()?)
    }

    pub(crate) fn last(&self) -> Option<&Boundary> {
        self.boundaries.back()
    }

    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = &Boundary> {
        self.boundaries.iter()
    }

    pub(crate) fn next_msn(&self) -> u64 {
        self.next_msn
    }

    /// EXTINF from which on rounding would exceed EXT-X-TARGETDURATION, microseconds.
    pub(crate) fn hard_limit_us(&self) -> i64 {
        self.target_us + 499_000
    }

    /// Longest a segment is meant to become, microseconds.
    pub(crate) fn limit_us(&self) -> i64 {
        self.target_us + OVERRUN_US
    }

    pub(crate) fn force_next(&mut self) {
        self.force_next = !self.boundaries.is_empty();
    }

    /// The next boundary is a discontinuity, and comes with the next IDR.
    pub(crate) fn discontinue(&mut self) {
        self.pending_discontinuity = !self.boundaries.is_empty();
        self.last_idr_us = None;
        self.gop_run = 0;
    }

    pub(crate) fn awaits_discontinuity(&self) -> bool {
        self.pending_discontinuity
    }

    /// A picture of the source, in decode order. The mode is decided.
    pub(crate) fn video(&mut self, step: &Step, now: Micros) -> Verdict {
        self.start_decode_us = step
            .segment_start_us
            .map_or(self.start_decode_us, |at| at.min(self.start_decode_us));
        let verdict = self.judge_video(step);
        if let Some(forced) = verdict {
            let hole = step.lead_us.abs() > HOLE_US;
            let at = if hole || self.pending_discontinuity {
                step.pts
            } else {
                self.in_time(step)
            };
            self.cut(at, hole, now);
            self.start_decode_us = step.decode_us;
            if forced {
                self.gop_run = 0;
            }
        }
        self.observe_gop(step);
        self.horizon_us = step.decode_us + step.frame_us - JITTER_US;
        let end = step.decode_us + step.frame_us;
        self.end = Some(MediaTime::new(end, MICROSECONDS));
        verdict.map_or(Verdict::Continue, |forced| Verdict::Cut { forced })
    }

    /// Where a cut at this picture lies. A picture that comes after the segment's longest length cuts where it was
    /// expected, so that the other renditions keep that length.
    fn in_time(&self, step: &Step) -> MediaTime {
        let Some((last, end)) = self.boundaries.back().zip(self.end) else {
            return step.pts;
        };
        let start_us = last.at.micros();
        let late = step.decode_us.max(step.pts.micros()) - start_us > self.limit_us();
        if late && end.micros() > start_us {
            end
        } else {
            step.pts
        }
    }

    /// `Some(forced)` if a segment starts here.
    fn judge_video(&self, step: &Step) -> Option<bool> {
        let Some(last) = self.boundaries.back() else {
            return step.is_sync.then_some(false);
        };
        let start_us = last.at.micros();
        let elapsed = step.pts.micros() - start_us;
        let span = step.decode_us - start_us.min(self.start_decode_us);
        let overrun = span + step.frame_us > self.limit_us();
        if step.lead_us.abs() > HOLE_US {
            return Some(!step.is_sync);
        }
        if self.pending_discontinuity && !overrun {
            return step.is_sync.then_some(false);
        }
        if elapsed <= 0 {
            // Audio was ahead and has made this boundary already.
            return None;
        }
        if self.force_next || overrun {
            return Some(!step.is_sync);
        }
        if self.mode == Some(Mode::Grid) {
            return (step.pts.micros() >= self.next_grid_us).then_some(false);
        }
        if step.is_sync {
            let returned = step.source_lost && elapsed >= RETURN_MIN_US;
            let gop = self.gop_after(step);
            return (returned || self.ends_at_idr(elapsed, span, gop, step.frame_us)).then_some(false);
        }
        let due = self
            .committed_us(step.frame_us)
            .is_some_and(|due| step.decode_us >= due - step.frame_us / 2);
        due.then_some(true)
    }

    /// The longest GOP, with the one that this IDR ends.
    fn gop_after(&self, step: &Step) -> i64 {
        let gop = self.last_idr_us.map_or(0, |last| step.pts.micros() - last);
        self.longest_gop_us.max(gop)
    }

    /// `elapsed_us`: presented since the boundary; `span_us`: packaged since then, which is what EXTINF counts.
    fn ends_at_idr(&self, elapsed_us: i64, span_us: i64, longest_gop_us: i64, frame_us: i64) -> bool {
        let long_enough = elapsed_us >= self.segment_us - frame_us / 2;
        let next_too_late = elapsed_us > 0 && span_us.max(elapsed_us) + longest_gop_us > self.limit_us();
        long_enough || next_too_late
    }

    fn observe_gop(&mut self, step: &Step) {
        if !step.is_sync {
            return;
        }
        let at = step.pts.micros();
        if let Some(last) = self.last_idr_us.replace(at).filter(|last| *last < at) {
            let gop = at - last;
            self.gop_run = if (gop - self.gop_us).abs() <= step.frame_us / 2 {
                self.gop_run + 1
            } else {
                0
            };
            self.gop_us = gop;
            self.longest_gop_us = self.longest_gop_us.max(gop);
        }
    }

    /// Where the next boundary will be, if the source has been regular for so long that it is taken for granted: the
    /// last part of a segment can then be published with its last picture. Should the IDR fail to come, a cut is forced.
    pub(crate) fn committed_us(&self, frame_us: i64) -> Option<i64> {
        match self.mode? {
            Mode::Audio => Some(self.next_grid_us),
            Mode::Grid => None,
            Mode::Source => {
                let due = self.last_idr_us.filter(|_| self.gop_run >= GOP_RUN)? + self.gop_us;
                let start_us = self.last()?.at.micros();
                let (elapsed, span) = (due - start_us, due - start_us.min(self.start_decode_us));
                let ends = self.ends_at_idr(elapsed, span, self.longest_gop_us, frame_us);
                let fits = span <= self.limit_us() && ends;
                fits.then_some(due)
            }
        }
    }

    /// No boundary that is still to be made can lie before this presentation time. Audio may pass up to here.
    pub(crate) fn earliest_next_us(&self) -> i64 {
        let Some(last) = self.boundaries.back() else {
            return i64::MIN;
        };
        if self.force_next || self.pending_discontinuity {
            return self.horizon_us;
        }
        let guaranteed = match self.mode {
            Some(Mode::Source) => {
                let earliest = (self.limit_us() - self.longest_gop_us).clamp(0, self.segment_us);
                last.at.micros() + earliest - JITTER_US
            }
            Some(Mode::Grid | Mode::Audio) => self.next_grid_us,
            None => i64::MIN,
        };
        self.horizon_us.max(guaranteed)
    }

    /// An audio frame where audio drives the plan: there is no video, or it has fallen silent.
    pub(crate) fn audio(&mut self, at: MediaTime, end: MediaTime, lead_us: i64, now: Micros) -> Verdict {
        // Nothing was there where this segment had to end: that, too, is an interruption.
        let late = self
            .last()
            .is_some_and(|last| at.micros() - last.at.micros() > self.limit_us());
        let hole = late || (lead_us.abs() > HOLE_US && !self.boundaries.is_empty());
        let due = match self.boundaries.back() {
            None => true,
            Some(last) if self.mode == Some(Mode::Audio) => {
                at.micros() >= self.next_grid_us || end.micros() - last.at.micros() > self.limit_us()
            }
            Some(last) => at.micros() - last.at.micros() >= self.segment_us,
        };
        let cut = hole || due || self.force_next || self.pending_discontinuity;
        if cut {
            self.cut(at, hole, now);
        }
        self.end = Some(end);
        if cut {
            Verdict::Cut { forced: true }
        } else {
            Verdict::Continue
        }
    }

    fn cut(&mut self, at: MediaTime, hole: bool, now: Micros) {
        let first = self.boundaries.is_empty();
        // Whoever made it: two boundaries further apart than a segment may last have an interruption between them.
        let far = self
            .last()
            .is_some_and(|last| at.micros() - last.at.micros() > self.limit_us() + JITTER_US);
        let discontinuity = !first && (hole || far || self.pending_discontinuity);
        self.period += u64::from(discontinuity);
        let previous_end = if discontinuity { self.end.unwrap_or(at) } else { at };
        let boundary = Boundary {
            msn: self.next_msn,
            at,
            previous_end,
            discontinuity,
            period: self.period,
            made_us: now,
        };
        self.next_msn += 1;
        self.start_decode_us = at.micros();
        self.boundaries.push_back(boundary);
        if self.boundaries.len() > BOUNDARIES_MAX {
            self.boundaries.pop_front();
        }
        self.force_next = false;
        self.pending_discontinuity = false;
        let at_us = at.micros();
        if first || discontinuity || at_us - self.next_grid_us > self.segment_us {
            self.next_grid_us = at_us;
        }
        while self.next_grid_us <= at_us {
            self.next_grid_us += self.segment_us;
        }
    }
}

/// Ticks per second of the plan's own arithmetic.
pub(crate) const MICROSECONDS: std::num::NonZeroU32 = match std::num::NonZeroU32::new(1_000_000) {
    Some(timescale) => timescale,
    None => unreachable!(),
};
