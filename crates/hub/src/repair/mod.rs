//! Timestamp repair: what publishers send -> a timeline that holds.
//!
//! A pure state machine, one per stream; it outlives publishers. Each track has a line `stream time = raw + offset`;
//! normally both tracks share one offset. [`Timeline::place`] finds the offset (jumps, gaps, origins, stray values),
//! [`VideoLine`] and [`AudioLine`] make exact ticks of the placed time.
//!
//! Guarantees, whatever comes in: per track, decode times grow strictly over the stream's whole life and are never
//! negative; `0 <= pts - dts <= 6 s`; an audio sample begins exactly where the one before ends, unless a discontinuity
//! lies between; video is never left out (a decoder needs it), audio only where it would overlap.

mod audio;
mod video;

use std::num::NonZeroU32;

use media::{FrameRate, MediaKind, Micros};

use self::audio::{AudioLine, AudioOut};
use self::video::VideoLine;
use crate::Repair;

/// A decode time that is this much before its predecessor is a jump of the publisher's clock, not jitter.
const BACKWARD_JUMP_US: i64 = 250_000;
/// A decode time that runs this much ahead of both its predecessor and the wall clock is a jump.
const FORWARD_JUMP_US: i64 = 3_000_000;
/// Silence beyond this is a hole in the timeline: a discontinuity rather than a long frame.
const GAP_US: i64 = 1_000_000;
/// The same for video without audio, where a picture may well stand for seconds.
const STILL_US: i64 = 10_000_000;
/// Audio and video of one origin are interleaved within this.
const INTERLEAVE_US: i64 = 2_000_000;
/// After one track jumped: how long the other one's samples on the old clock are taken for stragglers.
const STRAGGLER_US: u64 = 500_000;
/// Pictures in a row behind the timeline before the line is moved.
const BEHIND_MAX: u32 = 15;
/// Raw times are clamped to +-this, so that sums cannot overflow: 2 280 years.
const RAW_MAX_US: i64 = 1 << 56;

/// The times of one raw sample, microseconds on the publisher's timeline.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RawTimes {
    pub(crate) dts_us: Option<i64>,
    pub(crate) pts_us: i64,
    pub(crate) is_sync: bool,
}

/// The repaired times of one sample, ticks of its track.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Times {
    pub(crate) dts: i64,
    pub(crate) pts: i64,
    pub(crate) duration: u32,
    /// The decode time in microseconds.
    pub(crate) dts_us: i64,
}

/// What becomes of a sample.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Outcome {
    /// `None`: leave the sample out.
    pub(crate) times: Option<Times>,
    /// Announce a discontinuity before it.
    pub(crate) has_discontinuity: bool,
    pub(crate) repairs: RepairSet,
}

/// Repairs made to one sample.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct RepairSet(u32);

impl RepairSet {
    pub(crate) fn add(&mut self, kind: Repair) {
        self.0 |= 1 << kind as u32;
    }

    pub(crate) fn iter(self) -> impl Iterator<Item = Repair> {
        Repair::ALL.into_iter().filter(move |&kind| self.has(kind))
    }

    pub(crate) fn has(self, kind: Repair) -> bool {
        self.0 & 1 << kind as u32 != 0
    }
}

/// One track's place on the stream's timeline.
#[derive(Clone, Copy, Debug)]
struct Line {
    /// stream = raw + offset; `None` until the present publisher's first sample of the track.
    offset_us: Option<i64>,
    last_raw_us: i64,
    /// Stream time of the newest sample, as placed.
    last_us: i64,
    last_arrival: Micros,
    /// Stream time where what was emitted ends (presentation).
    end_us: i64,
    /// A raw time that fits nowhere, waiting for a second one like it.
    suspect_us: Option<i64>,
    /// Nothing was emitted since the last discontinuity (or since the stream began).
    is_fresh: bool,
    /// Samples in a row that are behind the timeline, with the raw time and arrival of the first.
    behind: Option<(u32, i64, Micros)>,
}

impl Default for Line {
    fn default() -> Self {
        Self {
            offset_us: None,
            last_raw_us: 0,
            last_us: 0,
            last_arrival: 0,
            end_us: 0,
            suspect_us: None,
            is_fresh: true,
            behind: None,
        }
    }
}

/// Where a sample goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// At this stream time.
    At(i64),
    /// Its time says nothing: right behind the one before.
    Unknown,
    /// On a clock that is no more.
    Straggler,
}

/// A sample's raw decode time and what else decides on its place.
#[derive(Clone, Copy, Debug)]
struct Arrival {
    kind: MediaKind,
    raw_us: i64,
    is_sync: bool,
    now: Micros,
    /// The stream time that is due at `now`.
    wall_us: i64,
}

/// The last jump: which track made it, and when.
#[derive(Clone, Copy, Debug)]
struct Jump {
    by: MediaKind,
    at: Micros,
}

/// The repaired timeline of one stream.
#[derive(Debug, Default)]
pub(crate) struct Timeline {
    is_started: bool,
    /// The next sample is a new publisher's first.
    is_rejoin: bool,
    video: Line,
    audio: Line,
    video_line: VideoLine,
    audio_line: AudioLine,
    jump: Option<Jump>,
    last_arrival: Micros,
}

impl Timeline {
    /// Another publisher continues the stream.
    pub(crate) fn rejoin(&mut self) {
        self.is_rejoin = self.is_started;
        self.video_line.restart();
    }

    pub(crate) fn set_video(&mut self, frame_rate: Option<FrameRate>, reorder_depth: u8) {
        self.video_line.configure(frame_rate, reorder_depth);
    }

    pub(crate) fn set_audio(&mut self, rate: NonZeroU32, frame_samples: u32) {
        if self.audio_line.configure(rate, frame_samples, self.audio.end_us) {
            self.audio.is_fresh = true;
        }
    }

    /// Smoothed distance of audio timestamps from the sample count, microseconds.
    pub(crate) fn audio_error_us(&self) -> i64 {
        self.audio_line.error_us()
    }

    /// Repairs one sample. `wall_us` is the stream time that is due at `now`.
    pub(crate) fn push(&mut self, kind: MediaKind, raw: &RawTimes, now: Micros, wall_us: i64) -> Outcome {
        let mut out = Outcome::default();
        let pts_us = raw.pts_us.clamp(-RAW_MAX_US, RAW_MAX_US);
        let dts_us = match raw.dts_us {
            Some(dts_us) => dts_us.clamp(-RAW_MAX_US, RAW_MAX_US),
            None if kind == MediaKind::Audio => pts_us,
            None => {
                out.repairs.add(Repair::MissingDts);
                self.video_line.decode_time(pts_us)
            }
        };
        let arrival = Arrival {
            kind,
            raw_us: dts_us,
            is_sync: raw.is_sync,
            now,
            wall_us,
        };
        let place = self.place(&arrival, &mut out);
        match kind {
            MediaKind::Video => self.emit_video(place, pts_us - dts_us, wall_us, &mut out),
            MediaKind::Audio => self.emit_audio(place, now, &mut out),
        }
        let line = self.line(kind);
        line.last_arrival = now;
        if let Some(times) = out.times {
            line.is_fresh = false;
            line.last_us = match place {
                Place::At(at_us) => at_us,
                Place::Unknown | Place::Straggler => times.dts_us,
            };
        }
        self.last_arrival = now;
        out
    }

    fn line(&mut self, kind: MediaKind) -> &mut Line {
        match kind {
            MediaKind::Video => &mut self.video,
            MediaKind::Audio => &mut self.audio,
        }
    }

    /// (this track's line, the other's).
    fn lines(&self, kind: MediaKind) -> (Line, Line) {
        match kind {
            MediaKind::Video => (self.video, self.audio),
            MediaKind::Audio => (self.audio, self.video),
        }
    }

    /// Where everything emitted so far ends.
    fn reached_us(&self) -> i64 {
        self.video.end_us.max(self.audio.end_us)
    }

    /// Finds the stream time of a raw decode time, and moves the track's line where the publisher's clock did.
    fn place(&mut self, arrival: &Arrival, out: &mut Outcome) -> Place {
        let &Arrival {
            kind, raw_us, now, ..
        } = arrival;
        if !self.is_started {
            self.is_started = true;
            return self.settle(kind, raw_us, 0);
        }
        if std::mem::take(&mut self.is_rejoin) {
            (self.video.offset_us, self.audio.offset_us) = (None, None);
            (self.video.suspect_us, self.audio.suspect_us) = (None, None);
            return self.jump(arrival, out);
        }
        let (line, other) = self.lines(kind);
        let Some(offset_us) = line.offset_us else {
            return self.begin(arrival, out);
        };
        let silence_us = span(line.last_arrival, now);
        let delta_us = raw_us - line.last_raw_us;
        let is_backward = delta_us < -BACKWARD_JUMP_US;
        let is_odd = is_backward || delta_us > FORWARD_JUMP_US.saturating_add(silence_us);
        let is_awaited = line.is_fresh
            && self
                .jump
                .is_some_and(|jump| jump.by != kind && now.saturating_sub(jump.at) <= STRAGGLER_US);
        if (is_odd || is_awaited)
            && let Some(place) = self.follow(arrival, is_odd, out)
        {
            return place;
        }
        if is_odd {
            let kind_of_jump = if is_backward {
                Repair::BackwardJump
            } else {
                Repair::ForwardJump
            };
            return self.doubt(arrival, kind_of_jump, out);
        }
        if line.suspect_us.is_some() {
            self.line(kind).suspect_us = None;
        }
        let at_us = raw_us + offset_us;
        let other_is_here = other.offset_us.is_some() && span(other.last_arrival, now) < GAP_US;
        let is_apart = at_us.abs_diff(other.last_us) > INTERLEAVE_US as u64;
        if (silence_us - delta_us).abs() > FORWARD_JUMP_US && other_is_here && is_apart {
            // It was away while its clock stood still, and the other track went on.
            out.repairs.add(Repair::OriginMismatch);
            let at_us = other.last_us.max(line.end_us);
            self.mark_discontinuity(kind, out);
            return self.settle(kind, raw_us, at_us);
        }
        if delta_us > GAP_US {
            out.repairs.add(Repair::Gap);
            let hole_us = if self.audio.offset_us.is_some() {
                GAP_US
            } else {
                STILL_US
            };
            if span(self.last_arrival, now) > hole_us && delta_us > hole_us && !line.is_fresh {
                self.mark_discontinuity(kind, out);
            }
        }
        if kind == MediaKind::Video
            && let Some(place) = self.watch_progress(arrival, at_us, out)
        {
            return place;
        }
        self.settle(kind, raw_us, at_us)
    }

    /// Puts a raw time at a stream time: the track's line from now on.
    fn settle(&mut self, kind: MediaKind, raw_us: i64, at_us: i64) -> Place {
        let line = self.line(kind);
        line.offset_us = Some(at_us - raw_us);
        line.last_raw_us = raw_us;
        line.suspect_us = None;
        Place::At(at_us)
    }

    /// The first sample of a track from the present publisher.
    fn begin(&mut self, arrival: &Arrival, out: &mut Outcome) -> Place {
        let &Arrival {
            kind,
            raw_us,
            now,
            wall_us,
            ..
        } = arrival;
        let (_, other) = self.lines(kind);
        let shared_us = other.offset_us.map(|offset_us| raw_us + offset_us);
        let earliest_us = other.last_us - INTERLEAVE_US;
        let latest_us = other.last_us.max(wall_us) + INTERLEAVE_US;
        match shared_us {
            Some(at_us) if (earliest_us..=latest_us).contains(&at_us) => self.settle(kind, raw_us, at_us),
            _ => {
                out.repairs.add(Repair::OriginMismatch);
                let is_here = span(other.last_arrival, now) < GAP_US;
                self.settle(
                    kind,
                    raw_us,
                    if is_here {
                        other.last_us
                    } else {
                        wall_us.max(self.reached_us())
                    },
                )
            }
        }
    }

    /// Takes the other track's line where that fits better than its own: it has jumped, and this one with it.
    fn follow(&mut self, arrival: &Arrival, is_odd: bool, out: &mut Outcome) -> Option<Place> {
        let &Arrival { kind, raw_us, .. } = arrival;
        let (line, other) = self.lines(kind);
        let (own_us, shared_us) = (raw_us + line.offset_us?, raw_us + other.offset_us?);
        let off_us = |at_us: i64| at_us.abs_diff(other.last_us);
        let fits = off_us(shared_us) <= INTERLEAVE_US as u64
            && shared_us.saturating_add(INTERLEAVE_US) > line.end_us
            && shared_us != own_us;
        if fits && (is_odd || off_us(shared_us) <= off_us(own_us)) {
            if !line.is_fresh {
                self.mark_discontinuity(kind, out);
            }
            return Some(self.settle(kind, raw_us, shared_us));
        }
        if is_odd || shared_us == own_us {
            return None;
        }
        out.repairs.add(Repair::Straggler);
        self.line(kind).last_raw_us = raw_us;
        Some(Place::Straggler)
    }

    /// A raw time that does not continue the line: a stray value, or the first after a jump. A keyframe or a second
    /// witness decides.
    fn doubt(&mut self, arrival: &Arrival, kind_of_jump: Repair, out: &mut Outcome) -> Place {
        let &Arrival {
            kind,
            raw_us,
            is_sync,
            ..
        } = arrival;
        let line = self.line(kind);
        let has_witness = line.suspect_us.is_some_and(|suspect_us| {
            (-BACKWARD_JUMP_US..=FORWARD_JUMP_US).contains(&(raw_us - suspect_us)) && raw_us != suspect_us
        });
        if has_witness || (kind == MediaKind::Video && is_sync) {
            out.repairs.add(kind_of_jump);
            return self.jump(arrival, out);
        }
        line.suspect_us = Some(raw_us);
        out.repairs.add(Repair::Outlier);
        Place::Unknown
    }

    /// The publisher's clock has jumped (or is another one): goes on where the wall clock says.
    fn jump(&mut self, arrival: &Arrival, out: &mut Outcome) -> Place {
        let &Arrival {
            kind,
            raw_us,
            now,
            wall_us,
            ..
        } = arrival;
        let at_us = wall_us.max(self.reached_us());
        self.mark_discontinuity(kind, out);
        self.jump = Some(Jump { by: kind, at: now });
        self.settle(kind, raw_us, at_us)
    }

    fn mark_discontinuity(&mut self, kind: MediaKind, out: &mut Outcome) {
        out.has_discontinuity = true;
        self.video.is_fresh = true;
        self.audio.is_fresh = true;
        self.line(kind).behind = None;
    }

    /// Video whose times stay behind the timeline: either its clock stands still (then the wall clock counts), or it
    /// went back a little (then the line moves).
    fn watch_progress(&mut self, arrival: &Arrival, at_us: i64, out: &mut Outcome) -> Option<Place> {
        let &Arrival { raw_us, now, .. } = arrival;
        match (raw_us - self.video.last_raw_us).signum() {
            0 => out.repairs.add(Repair::DuplicateDts),
            -1 => out.repairs.add(Repair::NonMonotonicDts),
            _ => {}
        }
        if self.video.is_fresh || self.video_line.is_ahead_of(at_us) != Some(true) {
            self.video.behind = None;
            return None;
        }
        let (count, first_raw_us, since) = self.video.behind.unwrap_or((0, raw_us, now));
        self.video.behind = Some((count.saturating_add(1), first_raw_us, since));
        if count < BEHIND_MAX {
            return None;
        }
        if raw_us - first_raw_us > span(since, now) / 2 && raw_us > self.video.last_raw_us {
            out.repairs.add(Repair::BackwardJump);
            return Some(self.jump(arrival, out));
        }
        self.video.last_raw_us = raw_us;
        Some(Place::Unknown)
    }

    fn emit_video(&mut self, place: Place, cts_us: i64, wall_us: i64, out: &mut Outcome) {
        let at_us = match place {
            Place::At(at_us) => Some(at_us),
            Place::Unknown | Place::Straggler => None,
        };
        let times = self.video_line.times(at_us, cts_us, wall_us, &mut out.repairs);
        self.video.end_us = self.video.end_us.max(self.video_line.end_us(&times));
        out.times = Some(times);
    }

    fn emit_audio(&mut self, place: Place, now: Micros, out: &mut Outcome) {
        let at_us = match place {
            Place::At(at_us) => Some(at_us),
            Place::Unknown => None,
            Place::Straggler => return,
        };
        let silence_us = span(self.audio.last_arrival, now);
        let is_hole = |at_us: i64| at_us - self.audio_line.next_us() > GAP_US;
        if !self.audio.is_fresh && at_us.is_some_and(is_hole) && self.audio_line.believes(at_us, silence_us) {
            out.repairs.add(Repair::Gap);
            self.mark_discontinuity(MediaKind::Audio, out);
        }
        match self
            .audio_line
            .times(at_us, self.audio.is_fresh, silence_us, &mut out.repairs)
        {
            AudioOut::Emit(times) => {
                self.audio.end_us = self.audio_line.next_us();
                out.times = Some(times);
            }
            AudioOut::Drop => {}
            AudioOut::Rebase { times, error_us } => {
                self.audio.offset_us = self.audio.offset_us.map(|offset_us| offset_us - error_us);
                self.audio.end_us = self.audio_line.next_us();
                out.times = Some(times);
            }
        }
    }
}

/// Microseconds from `from` to `to`, 0 if that is backward.
fn span(from: Micros, to: Micros) -> i64 {
    i64::try_from(to.saturating_sub(from))
        .unwrap_or(RAW_MAX_US)
        .min(RAW_MAX_US)
}

#[cfg(test)]
mod property_tests;
#[cfg(test)]
mod tests;
