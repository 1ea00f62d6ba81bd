//! Samples on their way to a child: the ones that wait, the ones kept for a restart, the ones in flight.
//!
//! One deque holds everything from the newest IDR whose frames have all come back up to the newest sample. A cursor
//! splits it into what was written and what waits. A replacement child is fed from the IDR before the first frame that
//! is missing, so nothing need be lost.

use std::collections::{BTreeMap, VecDeque};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::{Duration, Instant};

use media::{FrameRate, MILLISECONDS, MediaKind, Sample, Track, rescale};

use crate::LadderLimits;

/// Time of a child's first frame: room for decode times below it. FLV cannot say negative times.
const FIRST_MS: i64 = 10_000;

/// A child is replaced before its FLV times (31 bits come back) run out, after 24 days.
const LAST_MS: i64 = (1 << 31) - 120_000;

/// Frames among which, in decode order, the first in order of presentation is: encoders in use reorder by up to three.
const REORDER_COMMON: u32 = 4;

struct Entry {
    sample: Arc<Sample>,
    track: Arc<Track>,
    /// The rungs have an IDR here.
    asked: bool,
    /// A restarted rung goes on here.
    resume: bool,
    /// Samples before this one were dropped.
    hole: bool,
    pushed_at: Instant,
}

/// Where one output stands.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Position {
    /// Time of the newest frame delivered, in ticks.
    pub(crate) delivered: Option<i64>,
    /// Smallest distance of the next one, in ticks (more than a frame for thinned-out rungs).
    pub(crate) distance: i64,
}

/// How a new child begins.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Start {
    /// Frames before this time are fed for the decoder only.
    pub(crate) select_from_ms: Option<i64>,
    /// Per output: the time of the first frame to deliver.
    pub(crate) gates: Vec<Gate>,
}

/// The first frame of an output of a new child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Gate {
    /// In ticks.
    pub(crate) pts: i64,
    /// Frames between it and the last delivered one are gone.
    pub(crate) lost: bool,
}

/// The next thing to write.
pub(crate) struct Work {
    /// Set if the decoder must be told a configuration first.
    pub(crate) track: Option<Arc<Track>>,
    pub(crate) sample: Arc<Sample>,
    pub(crate) is_video: bool,
    /// The rungs must have an IDR here although the source has none.
    pub(crate) forced: bool,
    pub(crate) dts_ms: i64,
    pub(crate) pts_ms: i64,
}

/// A frame that is inside the child.
#[derive(Clone, Copy, Debug)]
pub(crate) struct InFlight {
    pub(crate) pts: i64,
    pub(crate) duration: u32,
    pub(crate) arrived_us: u64,
    pub(crate) hole: bool,
    pub(crate) pushed_at: Instant,
    taken_at: Instant,
}

/// What became of a pushed sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pushed {
    /// It waits for the child.
    Queued,
    /// The decoder could do nothing with it.
    Dropped,
    /// Time went backwards: the child must be replaced. The sample waits if it is a sync sample.
    Backwards,
}

pub(crate) struct Backlog {
    limits: LadderLimits,
    entries: VecDeque<Entry>,
    /// Index in `entries` of the next one to write.
    next: usize,
    bytes: usize,
    waiting_bytes: usize,
    track: Option<Arc<Track>>,
    /// Configuration that the child knows.
    told: Option<Arc<Track>>,
    /// Decode time that stands for [`FIRST_MS`].
    origin: i64,
    /// Up to here a new child only catches up, which does not count as waiting.
    replay_until: i64,
    newest_dts: Option<i64>,
    newest_pts: i64,
    await_sync: bool,
    hole: bool,
    attached: bool,
    reorders: bool,
    /// Coming frames from these times on get IDRs, so many each.
    resume_from: Vec<(i64, u32)>,
    dropped: u64,
    /// Newest time among frames that were written and then not kept.
    let_go: i64,
    in_flight: BTreeMap<i64, InFlight>,
}

impl Backlog {
    pub(crate) fn new(limits: LadderLimits) -> Self {
        Self {
            limits,
            entries: VecDeque::new(),
            next: 0,
            bytes: 0,
            waiting_bytes: 0,
            track: None,
            told: None,
            origin: 0,
            replay_until: i64::MIN,
            newest_dts: None,
            newest_pts: i64::MIN,
            await_sync: true,
            hole: false,
            attached: false,
            reorders: false,
            resume_from: Vec::new(),
            dropped: 0,
            let_go: i64::MIN,
            in_flight: BTreeMap::new(),
        }
    }

    pub(crate) fn set_track(&mut self, track: &Track) {
        if self
            .track
            .as_deref()
            .is_none_or(|known| known.config != track.config)
        {
            if self
                .track
                .as_deref()
                .is_some_and(|known| known.timescale != track.timescale)
            {
                self.clear();
            }
            self.reorders = false;
            // Decoding cannot go on across a change.
            self.await_sync = true;
            self.track = Some(Arc::new(track.clone()));
        }
    }

    pub(crate) fn track(&self) -> Option<&Arc<Track>> {
        self.track.as_ref()
    }

    /// The track of the oldest sample: what a new child begins with.
    pub(crate) fn front_track(&self) -> Option<&Arc<Track>> {
        self.entries.front().map(|entry| &entry.track)
    }

    /// Something is missing before the next sample.
    pub(crate) fn discontinuity(&mut self) {
        self.await_sync = true;
        self.hole = self.newest_dts.is_some();
    }

    pub(crate) fn push(&mut self, sample: Arc<Sample>, force: bool, now: Instant) -> Pushed {
        let Some(track) = self.track.clone() else {
            self.dropped += 1;
            return Pushed::Dropped;
        };
        let backwards = self.newest_dts.is_some_and(|newest| sample.dts < newest);
        if backwards {
            self.clear();
        }
        if self.await_sync && !sample.is_sync {
            self.dropped += 1;
            self.hole |= self.newest_dts.is_some();
            return if backwards {
                Pushed::Backwards
            } else {
                Pushed::Dropped
            };
        }
        self.await_sync = false;
        self.newest_dts = Some(sample.dts);
        self.newest_pts = self.newest_pts.max(sample.pts);
        self.reorders |= sample.pts != sample.dts;
        self.bytes += sample.data.len();
        self.waiting_bytes += sample.data.len();
        let (asked, hole) = (sample.is_sync || force, std::mem::take(&mut self.hole));
        let resume = self.is_resumed(sample.pts);
        self.entries.push_back(Entry {
            sample,
            track,
            asked,
            resume,
            hole,
            pushed_at: now,
        });
        if self.attached {
            self.bound_waiting(now)
        } else {
            self.bound_unattached()
        }
        if backwards {
            Pushed::Backwards
        } else {
            Pushed::Queued
        }
    }

    /// The next sample for the child.
    pub(crate) fn take(&mut self, now: Instant) -> Option<Work> {
        let entry = self.entries.get(self.next)?;
        let sample = Arc::clone(&entry.sample);
        let track = (!self
            .told
            .as_ref()
            .is_some_and(|told| Arc::ptr_eq(told, &entry.track)))
        .then(|| Arc::clone(&entry.track));
        let timescale = entry.track.timescale;
        let is_video = entry.track.kind() == MediaKind::Video;
        let millis = |ticks: i64| {
            FIRST_MS + rescale(ticks.saturating_sub(self.origin), timescale, MILLISECONDS).unwrap_or(LAST_MS)
        };
        let (dts_ms, mut pts_ms) = (millis(sample.dts), millis(sample.pts));
        // Frames less than a millisecond apart still need times of their own.
        while self.in_flight.contains_key(&pts_ms) {
            pts_ms += 1;
        }
        let forced = (entry.asked || entry.resume) && !sample.is_sync;
        let flight = InFlight {
            pts: sample.pts,
            duration: sample.duration,
            arrived_us: sample.arrived_us,
            hole: entry.hole,
            pushed_at: entry.pushed_at,
            taken_at: now,
        };
        self.in_flight.insert(pts_ms, flight);
        self.waiting_bytes -= sample.data.len();
        self.next += 1;
        if track.is_some() {
            self.told.clone_from(&track);
        }
        Some(Work {
            track,
            sample,
            is_video,
            forced,
            dts_ms,
            pts_ms,
        })
    }

    /// The frame that was sent with this time; a millisecond of rounding is allowed.
    pub(crate) fn sent(&self, pts_ms: i64) -> Option<(i64, InFlight)> {
        [0, -1, 1].into_iter().find_map(|off| {
            let key = pts_ms + off;
            self.in_flight.get(&key).map(|frame| (key, *frame))
        })
    }

    /// The newest frame that was sent at or before this time, else the oldest after it.
    pub(crate) fn nearest(&self, pts_ms: i64) -> Option<InFlight> {
        let before = self.in_flight.range(..=pts_ms).next_back();
        before
            .or_else(|| self.in_flight.range(pts_ms..).next())
            .map(|(_, frame)| *frame)
    }

    /// Nominal duration of the newest sample, in ticks; 0 = unknown.
    pub(crate) fn newest_duration(&self) -> u32 {
        self.entries.back().map_or(0, |entry| entry.sample.duration)
    }

    /// Frame rate that the nominal duration of the newest sample says.
    pub(crate) fn nominal_rate(&self) -> Option<FrameRate> {
        let numerator = self.track.as_ref()?.timescale;
        NonZeroU32::new(self.newest_duration()).map(|denominator| FrameRate {
            numerator,
            denominator,
        })
    }

    /// A time of the child in ticks.
    pub(crate) fn ticks(&self, ms: i64) -> Option<i64> {
        let timescale = self.track.as_ref()?.timescale;
        rescale(ms - FIRST_MS, MILLISECONDS, timescale)?.checked_add(self.origin)
    }

    /// All outputs have delivered up to `delivered` ticks, and what they were sent up to `delivered_ms`. `is_sync`: the
    /// last of them was a sync sample, so that a GOP may have become superfluous.
    pub(crate) fn forget(&mut self, delivered: i64, delivered_ms: i64, is_sync: bool) {
        while let Some(first) = self
            .in_flight
            .first_entry()
            .filter(|first| *first.key() <= delivered_ms)
        {
            first.remove();
        }
        // The front GOP can go once the IDR behind it has come back from everywhere.
        while is_sync
            && let Some(second) = self.second_sync()
            && second < self.next
            && self.entries[second].sample.pts <= delivered
        {
            self.drop_front(second);
        }
    }

    /// Since when the oldest frame in flight after `after_ms` should have come back, if a healthy child holds at most
    /// `held` frames: the moment when the one behind those came. `None`: it need not be back yet.
    pub(crate) fn overdue_since(&self, after_ms: i64, held: usize) -> Option<Instant> {
        let mut frames = self.in_flight.range(after_ms + 1..);
        frames.next()?;
        let mut behind = 0;
        for (_, frame) in frames {
            behind += 1;
            if behind == held {
                return Some(frame.taken_at);
            }
        }
        // The child reads no more: what waits for it counts, too.
        self.entries
            .get(self.next + held - behind - 1)
            .map(|entry| entry.pushed_at)
    }

    /// Whether the child's clock is about to run out.
    pub(crate) fn is_worn_out(&self) -> bool {
        self.in_flight
            .last_key_value()
            .is_some_and(|(ms, _)| *ms > LAST_MS)
    }

    /// The child is gone.
    pub(crate) fn detach(&mut self) {
        self.attached = false;
        self.in_flight.clear();
        self.told = None;
    }

    /// Prepares for a new child. `None` = there is nothing yet that it could begin with.
    pub(crate) fn start(&mut self, outputs: &[Position]) -> Option<Start> {
        let missing: Vec<Option<i64>> = outputs.iter().map(|output| self.first_missing(*output)).collect();
        // Where all is delivered there is nothing to begin with.
        let target = missing.iter().flatten().min().copied()?;
        self.resume_from.clear();
        let mut gates = Vec::with_capacity(outputs.len());
        for (missing, output) in missing.into_iter().zip(outputs) {
            // An output that has all there is goes on with an IDR at what comes next.
            let pts = missing.unwrap_or_else(|| {
                let next = output.delivered.map_or(target, |pts| pts + output.distance);
                self.resume_from
                    .push((next, if self.reorders { REORDER_COMMON } else { 1 }));
                next
            });
            gates.push(Gate { pts, lost: false });
        }
        let timescale = self.track.as_ref()?.timescale;
        let replay_max = ticks_of(self.limits.replay_max, timescale.get());
        let behind = self.newest_pts.saturating_sub(target) > replay_max;
        // A boundary nearer to live, when making everything good would take too long.
        let newer = self
            .newest_asked()
            .filter(|&at| behind && self.entries[at].sample.pts > target);
        let at = newer.or_else(|| self.index_of(target));
        let begin = at.and_then(|at| self.sync_at_or_before(at).map(|sync| (at, sync)));
        // Without an IDR before it the rung goes on at the first one there is.
        let (at, sync) = begin.or_else(|| self.sync_after(0).map(|sync| (sync, sync)))?;
        let begin_pts = self.entries[at].sample.pts;
        if begin_pts != target {
            for (gate, output) in gates.iter_mut().zip(outputs) {
                let lost = output.delivered.is_some();
                *gate = if gate.pts < begin_pts {
                    Gate { pts: begin_pts, lost }
                } else {
                    *gate
                };
            }
        }
        for (gate, output) in gates.iter_mut().zip(outputs) {
            gate.lost |= output
                .delivered
                .is_some_and(|pts| pts < self.let_go && self.let_go < gate.pts);
        }
        self.drop_front(sync);
        for entry in &mut self.entries {
            entry.resume = gates.iter().any(|gate| gate.pts == entry.sample.pts);
        }
        self.next = 0;
        self.waiting_bytes = self.bytes;
        self.told = None;
        self.attached = true;
        self.in_flight.clear();
        self.origin = self.entries.front()?.sample.dts;
        self.replay_until = self.newest_dts.unwrap_or(i64::MIN);
        let from = rescale(begin_pts - self.origin, timescale, MILLISECONDS)? + FIRST_MS;
        let select_from_ms = (at != sync).then_some(from);
        Some(Start {
            select_from_ms,
            gates,
        })
    }

    /// Milliseconds on the child's timeline.
    pub(crate) fn millis(&self, ticks: i64) -> i64 {
        let timescale = self.track.as_ref().map_or(MILLISECONDS, |track| track.timescale);
        FIRST_MS + rescale(ticks.saturating_sub(self.origin), timescale, MILLISECONDS).unwrap_or(0)
    }

    /// Media time from `delivered` (ticks) to the newest sample.
    pub(crate) fn lag(&self, delivered: Option<i64>) -> Duration {
        let Some(track) = self.track.as_ref() else {
            return Duration::ZERO;
        };
        let from = delivered.or_else(|| self.entries.front().map(|entry| entry.sample.pts));
        let ticks = from.map_or(0, |from| self.newest_pts.saturating_sub(from));
        let millis = rescale(ticks, track.timescale, MILLISECONDS).unwrap_or(0);
        Duration::from_millis(u64::try_from(millis).unwrap_or(0))
    }

    #[cfg(test)]
    fn waiting(&self) -> usize {
        self.entries.len() - self.next
    }

    pub(crate) fn waiting_bytes(&self) -> usize {
        self.waiting_bytes
    }

    pub(crate) fn dropped(&self) -> u64 {
        self.dropped
    }

    pub(crate) fn reorders(&self) -> bool {
        self.reorders
    }

    /// While a child is there: what waits is bounded, and a whole tail goes.
    fn bound_waiting(&mut self, now: Instant) {
        let Some(first) = self.entries.get(self.next) else {
            return;
        };
        let limit = ticks_of(self.limits.backlog_time_max, first.track.timescale.get());
        let since = first.sample.dts.max(self.replay_until);
        let waits = self.newest_dts.unwrap_or(since).saturating_sub(since);
        // A jump of the source's time or a burst alone is no reason: it must have waited, too.
        let has_waited = now.saturating_duration_since(first.pushed_at) > self.limits.backlog_time_max;
        let too_many = self.waiting_bytes > self.limits.backlog_bytes_max / 2;
        if (waits > limit && has_waited) || too_many {
            // A sync sample that came just now begins anew.
            let keep = usize::from(self.entries.back().is_some_and(|last| last.sample.is_sync));
            let from = self.next;
            let to = self.entries.len() - keep;
            for entry in self.entries.drain(from..to) {
                self.dropped += 1;
                self.bytes -= entry.sample.data.len();
                self.waiting_bytes -= entry.sample.data.len();
            }
            if let Some(last) = self.entries.get_mut(from) {
                last.hole = true;
            } else {
                self.await_sync = true;
                self.hole = true;
            }
        }
        if self.bytes > self.limits.backlog_bytes_max {
            // A GOP too long to be kept: a restart will have to wait for the next IDR.
            let written = self.entries.iter().take(self.next);
            self.let_go = written.map(|entry| entry.sample.pts).fold(self.let_go, i64::max);
            self.drop_front(self.next);
        }
    }

    /// While there is no child: the newest GOPs are kept.
    fn bound_unattached(&mut self) {
        loop {
            let Some(first) = self.entries.front() else { return };
            let limit = ticks_of(self.limits.backlog_time_max, first.track.timescale.get());
            let spans = self
                .newest_dts
                .unwrap_or(first.sample.dts)
                .saturating_sub(first.sample.dts);
            let too_many = self.bytes > self.limits.backlog_bytes_max;
            if spans <= limit && !too_many {
                return;
            }
            match self.second_sync() {
                Some(second) => {
                    self.dropped += second as u64;
                    self.drop_front(second);
                    self.entries[0].hole = true;
                }
                None if too_many => {
                    self.dropped += self.entries.len() as u64;
                    self.drop_front(self.entries.len());
                    self.await_sync = true;
                    self.hole = true;
                }
                None => return,
            }
        }
    }

    fn drop_front(&mut self, count: usize) {
        for (index, entry) in self.entries.drain(..count).enumerate() {
            self.bytes -= entry.sample.data.len();
            if index >= self.next {
                self.waiting_bytes -= entry.sample.data.len();
            }
        }
        self.next = self.next.saturating_sub(count);
    }

    fn clear(&mut self) {
        self.drop_front(self.entries.len());
        self.newest_dts = None;
        self.newest_pts = i64::MIN;
        self.let_go = i64::MIN;
        self.resume_from.clear();
        self.await_sync = true;
        self.hole = false;
    }

    /// Whether an output goes on at a frame that has just come.
    fn is_resumed(&mut self, pts: i64) -> bool {
        let mut is_resumed = false;
        self.resume_from.retain_mut(|(from, count)| {
            if pts >= *from {
                is_resumed = true;
                *count -= 1;
            }
            *count > 0
        });
        is_resumed
    }

    /// Time of the first frame that an output still misses.
    fn first_missing(&self, output: Position) -> Option<i64> {
        let times = self.entries.iter();
        match output.delivered {
            Some(pts) => times
                .map(|entry| entry.sample.pts)
                .filter(|&at| at >= pts + output.distance)
                .min(),
            None => times
                .filter(|entry| entry.asked)
                .map(|entry| entry.sample.pts)
                .min(),
        }
    }

    fn index_of(&self, pts: i64) -> Option<usize> {
        self.entries.iter().position(|entry| entry.sample.pts == pts)
    }

    fn newest_asked(&self) -> Option<usize> {
        self.entries.iter().rposition(|entry| entry.asked)
    }

    fn sync_at_or_before(&self, index: usize) -> Option<usize> {
        (0..=index).rev().find(|&at| self.entries[at].sample.is_sync)
    }

    fn sync_after(&self, from: usize) -> Option<usize> {
        (from..self.entries.len()).find(|&at| self.entries[at].sample.is_sync)
    }

    fn second_sync(&self) -> Option<usize> {
        self.sync_after(1)
    }
}

fn ticks_of(span: Duration, timescale: u32) -> i64 {
    i64::try_from(span.as_millis() * u128::from(timescale) / 1000).unwrap_or(i64::MAX)
}

#[cfg(test)]
#[path = "backlog_tests.rs"]
mod tests;
