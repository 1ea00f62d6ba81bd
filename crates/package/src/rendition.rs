//! One rendition: takes samples, follows the plan, appends parts and segments to its log.

use std::collections::VecDeque;
use std::num::NonZeroU32;
use std::sync::Arc;

use bytes::Bytes;
use container::bmff::{InitError, init_segment};
use media::{MediaTime, Micros, Sample, Track, TrackConfig};

use crate::config::{Mode, Notice, PackageConfig, RenditionSpec, Role};
use crate::log::{Layout, Part, RenditionLog, Segment};
use crate::part::{FinishedPart, PartBuilder};
use crate::plan::{Boundary, HOLE_US, JITTER_US, Plan};

/// Samples held back for the plan; the oldest go first.
const HELD_MAX: usize = 4096;
/// Boundaries that a rendition may be behind the plan before its segments become gaps.
const LAG_MAX: u64 = 3;

/// What a rendition needs of its stream while it works.
pub(crate) struct Context<'a> {
    pub(crate) config: &'a PackageConfig,
    pub(crate) plan: &'a Plan,
    pub(crate) utc_of_origin_ms: Option<i64>,
    /// Number of the next init segment; unique in the stream.
    pub(crate) next_init: &'a mut u32,
    pub(crate) notices: &'a mut VecDeque<Notice>,
    pub(crate) now: Micros,
}

/// What became of a sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    Yes,
    /// It has to wait for the plan.
    Held,
}

mod take;

#[derive(Debug)]
pub(crate) struct Rendition {
    pub(crate) spec: RenditionSpec,
    pub(crate) log: Arc<RenditionLog>,
    pub(crate) track: Option<Arc<Track>>,
    pub(crate) builder: Option<PartBuilder>,
    pub(crate) queue: VecDeque<Arc<Sample>>,
    /// The track's init segment, to be published at the next segment's start.
    new_init: Option<Bytes>,
    init: Option<u32>,
    pub(crate) started: bool,
    /// The segment in work, and where it starts, ticks.
    pub(crate) segment: Option<u64>,
    segment_start: i64,
    /// Where the last complete segment ends, ticks.
    last_end: i64,
    /// Nothing is packaged before a sample stands at a boundary.
    pub(crate) lost: bool,
    /// The next sample belongs behind the next discontinuity.
    pub(crate) waits_epoch: bool,
    /// The next boundary to be met.
    pub(crate) next_msn: u64,
    part_opened: Option<Micros>,
    pub(crate) last_arrival: Option<Micros>,
    pub(crate) removed: bool,
    pub(crate) offered: bool,
    /// Samples that found no place.
    pub(crate) dropped: u64,
}

impl Rendition {
    pub(crate) fn new(spec: RenditionSpec, log: Arc<RenditionLog>) -> Self {
        Self {
            spec,
            log,
            track: None,
            builder: None,
            queue: VecDeque::new(),
            new_init: None,
            init: None,
            started: false,
            segment: None,
            segment_start: 0,
            last_end: i64::MIN,
            lost: false,
            waits_epoch: false,
            next_msn: 0,
            part_opened: None,
            last_arrival: None,
            removed: false,
            offered: false,
            dropped: 0,
        }
    }

    pub(crate) fn is_audio(&self) -> bool {
        self.spec.role == Role::Audio
    }

    /// Takes a track. What was packaged under another one has to be ended before.
    pub(crate) fn set_track(&mut self, track: Arc<Track>) -> Result<(), InitError> {
        self.new_init = Some(init_segment(&track, self.spec.declared_bitrate.unwrap_or(0))?);
        self.queue.clear();
        let (timescale, frame) = (i64::from(track.timescale.get()), nominal_frame(&track));
        if let (Some(builder), Some(layout)) = (self.builder.as_mut(), self.log.layout()) {
            let nominal = frame.unwrap_or(builder.frame() * timescale / builder.timescale());
            builder.retune(timescale, layout.part_target_us, nominal);
        }
        self.track = Some(track);
        Ok(())
    }

    /// Whether this track differs from the present one in what a decoder must know.
    pub(crate) fn differs(&self, track: &Track) -> bool {
        self.track
            .as_ref()
            .is_none_or(|old| old.config != track.config || old.timescale != track.timescale)
    }

    pub(crate) fn timescale(&self) -> NonZeroU32 {
        self.track
            .as_ref()
            .map_or(media::VIDEO_TIMESCALE, |track| track.timescale)
    }

    pub(crate) fn time(&self, ticks: i64) -> MediaTime {
        MediaTime::new(ticks, self.timescale())
    }

    fn ticks(&self, time: MediaTime) -> i64 {
        time.rescale(self.timescale()).map_or(0, |time| time.ticks)
    }

    fn ticks_of_us(&self, us: i64) -> i64 {
        self.ticks(MediaTime::new(us, crate::plan::MICROSECONDS))
    }

    /// Fixes PART-TARGET and starts the rendition's own timeline; `frame` in ticks.
    pub(crate) fn lay_out(&mut self, part_target_us: i64, frame: i64) {
        self.log.set_layout(Layout { part_target_us });
        let timescale = i64::from(self.timescale().get());
        self.builder = Some(PartBuilder::new(
            timescale,
            part_target_us,
            frame,
            self.is_audio(),
        ));
    }

    pub(crate) fn hold(&mut self, sample: Arc<Sample>) {
        if self.queue.len() == HELD_MAX {
            self.queue.pop_front();
            self.dropped += 1;
        }
        self.queue.push_back(sample);
    }

    /// Presentation time at which the plan sees an audio frame: the running count of samples where the timestamps agree.
    pub(crate) fn audio_time(&self, sample: &Sample) -> i64 {
        match &self.builder {
            Some(builder) if self.started && !self.lost && !self.waits_epoch => builder.decode_time(sample),
            _ => sample.pts,
        }
    }

    /// Where the segment in work starts, ticks.
    pub(crate) fn segment_start(&self) -> Option<i64> {
        self.segment.map(|_| self.segment_start)
    }

    fn drop_sample(&mut self) -> Taken {
        self.dropped += 1;
        Taken::Yes
    }

    /// Ends what is in work, fills up with gaps, and starts the segment of `boundary` with this sample.
    fn enter(&mut self, boundary: &Boundary, sample: &Arc<Sample>, context: &mut Context<'_>) -> Taken {
        let new_epoch = !self.started || boundary.discontinuity || self.waits_epoch;
        let lead = self.builder.as_ref().map_or(0, |builder| builder.lead(sample));
        if !new_epoch && self.ticks_us(lead).abs() > HOLE_US {
            self.lose();
        }
        if !self.started {
            self.next_msn = boundary.msn;
        }
        if !self.lost {
            let met = self.next_msn == boundary.msn && !new_epoch && !self.is_audio();
            let end = met.then(|| self.builder.as_ref().map_or(0, |builder| builder.shifted(sample)));
            self.end_segment(end, context);
        }
        let gapped = self.lost || self.next_msn < boundary.msn;
        self.fill_gaps(boundary.msn, context);
        if gapped && !new_epoch {
            let start = self.ticks(boundary.at).max(self.last_end);
            if self.is_audio() && !self.stands_at(start, sample) {
                self.lost = true;
                return self.drop_sample();
            }
            let start = if self.is_audio() { sample.pts } else { start };
            self.builder
                .iter_mut()
                .for_each(|builder| builder.anchor(sample, start));
        } else if new_epoch {
            self.builder
                .iter_mut()
                .for_each(|builder| builder.anchor(sample, sample.pts));
        }
        self.open(boundary, context);
        self.accept(sample, context)
    }

    /// After a gap audio comes back with the first frame after its end, so that the gap's length stays true.
    fn stands_at(&self, start: i64, sample: &Sample) -> bool {
        (0..=2 * i64::from(sample.duration)).contains(&(sample.pts - start))
    }

    fn ticks_us(&self, ticks: i64) -> i64 {
        self.time(ticks).micros()
    }

    fn open(&mut self, boundary: &Boundary, context: &mut Context<'_>) {
        self.publish_init(context);
        let start = self.builder.as_ref().map_or(0, PartBuilder::end);
        let utc_ms = context.utc_of_origin_ms.unwrap_or(0) + self.ticks_us(start).div_euclid(1000);
        if let Some(builder) = self
            .builder
            .as_mut()
            .filter(|_| context.utc_of_origin_ms.is_some())
        {
            builder.set_producer(utc_ms);
        }
        self.log.open_segment(self.new_segment(boundary, start, utc_ms));
        self.segment = Some(boundary.msn);
        self.segment_start = start;
        self.next_msn = boundary.msn + 1;
        self.started = true;
        self.lost = false;
        self.waits_epoch = false;
    }

    fn new_segment(&self, boundary: &Boundary, start: i64, utc_ms: i64) -> Segment {
        Segment {
            msn: boundary.msn,
            init: self.init.unwrap_or(0),
            period: boundary.period,
            discontinuity: boundary.discontinuity,
            gap: false,
            timescale: self.timescale(),
            start,
            duration: 0,
            utc_ms,
            parts: Vec::with_capacity(16),
            bytes: 0,
        }
    }

    fn publish_init(&mut self, context: &mut Context<'_>) {
        if let (Some(init), Some(track)) = (self.new_init.take(), self.track.clone()) {
            self.log.set_init(*context.next_init, init, track);
            self.init = Some(*context.next_init);
            *context.next_init += 1;
        }
    }

    fn accept_or_lose(&mut self, sample: &Arc<Sample>, context: &mut Context<'_>) -> Taken {
        let lead = self.builder.as_ref().map_or(0, |builder| builder.lead(sample));
        let length = self.builder.as_ref().map_or(0, |builder| {
            builder.expected() + builder.frame() - self.segment_start
        });
        let too_long = self.ticks_us(length) > context.plan.hard_limit_us();
        if self.ticks_us(lead).abs() > HOLE_US || too_long {
            self.lose();
            return self.drop_sample();
        }
        self.accept(sample, context)
    }

    fn accept(&mut self, sample: &Arc<Sample>, context: &mut Context<'_>) -> Taken {
        let Some(builder) = self.builder.as_mut() else {
            return Taken::Yes;
        };
        let late = builder.add(Arc::clone(sample));
        if let Some(part) = late {
            self.publish(part);
        }
        self.part_opened.get_or_insert(context.now);
        if let Some(end) = self.ends_segment(context) {
            self.end_segment(end, context);
        } else if self.builder.as_ref().is_some_and(PartBuilder::is_full) {
            let part = self.builder.as_mut().and_then(PartBuilder::finish_full);
            part.into_iter().for_each(|part| self.publish(part));
        }
        Taken::Yes
    }

    /// `Some(where it ends, if known exactly)` if the newest sample is the segment's last.
    fn ends_segment(&self, context: &Context<'_>) -> Option<Option<i64>> {
        let builder = self.builder.as_ref()?;
        let following = builder.expected();
        let slack = if self.is_audio() { 0 } else { builder.frame() / 2 };
        if let Some(boundary) = context.plan.get(self.next_msn) {
            let at = self.ticks(boundary.previous_end);
            let exact = (!self.is_audio() && !boundary.discontinuity).then_some(at);
            return (following + slack >= at).then_some(exact);
        }
        if self.spec.role == Role::Rung || self.segment? + 1 != context.plan.next_msn() {
            return None;
        }
        let due_us = context.plan.committed_us(self.ticks_us(builder.frame()))?;
        let due = self.ticks_of_us(due_us);
        if !self.is_audio() {
            return (following + slack >= due).then_some(Some(due));
        }
        // The picture may come a little later than foreseen, and then one more frame belongs before it.
        let by_picture = context.plan.mode() != Some(Mode::Audio);
        let jitter = if by_picture {
            self.ticks_of_us(JITTER_US)
        } else {
            0
        };
        (following >= due + jitter).then_some(None)
    }

    fn publish(&mut self, part: FinishedPart) {
        self.part_opened = None;
        self.log.append_part(Part {
            duration: part.duration,
            independent: part.independent,
            bytes: part.bytes,
        });
    }

    /// Publishes what is pending and completes the segment in work.
    pub(crate) fn end_segment(&mut self, end: Option<i64>, context: &Context<'_>) {
        if self.segment.is_none() {
            return;
        }
        let latest = self.segment_start + self.ticks_of_us(context.plan.hard_limit_us());
        let end = end.map(|end| end.min(latest));
        let part = self.builder.as_mut().and_then(|builder| builder.finish_last(end));
        part.into_iter().for_each(|part| self.publish(part));
        let (window_ms, bytes_max) = (context.config.window_ms, context.config.window_bytes_max);
        self.last_end = self
            .log
            .close_segment(None, window_ms, bytes_max)
            .unwrap_or(i64::MIN);
        self.segment = None;
    }

    /// Nothing more for the segment in work, nor for what follows, before a sample stands at a boundary.
    pub(crate) fn lose(&mut self) {
        if self.started {
            self.lost = true;
            self.part_opened = None;
            if let Some(builder) = self.builder.as_mut() {
                builder.discard();
            }
        }
    }

    /// The plan has moved on: segments of a lost or much too slow rendition become gaps.
    pub(crate) fn follow_plan(&mut self, context: &mut Context<'_>) {
        if !self.started || self.removed {
            return;
        }
        let known = context.plan.next_msn();
        if !self.lost && known.saturating_sub(self.next_msn) >= LAG_MAX {
            self.lose();
        }
        if self.lost {
            self.fill_gaps(known.saturating_sub(1), context);
        } else if let Some(end) = self.segment.and_then(|_| self.ends_segment(context)) {
            // What ended this segment became known after its last sample.
            self.end_segment(end, context);
        }
    }

    /// Completes segments as gaps until the one of `msn` is the next to be made.
    fn fill_gaps(&mut self, msn: u64, context: &mut Context<'_>) {
        if let Some(open) = self.segment.filter(|open| *open < msn) {
            let end = context
                .plan
                .get(open + 1)
                .map(|next| self.ticks(next.previous_end));
            self.close_gap(open, end, context);
        }
        while self.started && self.next_msn < msn {
            let (number, plan) = (self.next_msn, context.plan);
            self.next_msn += 1;
            let Some(boundary) = plan.get(number) else {
                continue;
            };
            if boundary.discontinuity && self.lost {
                // What was waited for has passed by.
                self.waits_epoch = false;
            }
            let at = self.ticks(boundary.at);
            let start = if boundary.discontinuity || self.last_end == i64::MIN {
                at
            } else {
                self.last_end
            };
            let utc_ms = context.utc_of_origin_ms.unwrap_or(0) + self.ticks_us(start).div_euclid(1000);
            self.log.open_segment(self.new_segment(boundary, start, utc_ms));
            let end = plan.get(number + 1).map(|next| self.ticks(next.previous_end));
            self.close_gap(number, end, context);
        }
    }

    fn close_gap(&mut self, msn: u64, end: Option<i64>, context: &mut Context<'_>) {
        let start = self.log.open_start().unwrap_or(0);
        let longest = self.ticks_of_us(context.plan.hard_limit_us());
        let shortest = i64::from(self.timescale().get()) / 1000;
        let duration = end.map_or(shortest, |end| end - start).clamp(shortest, longest);
        let (window_ms, bytes_max) = (context.config.window_ms, context.config.window_bytes_max);
        self.last_end = self
            .log
            .close_segment(Some(duration), window_ms, bytes_max)
            .unwrap_or(i64::MIN);
        self.segment = None;
        if context.notices.len() < crate::packager::NOTICES_MAX {
            context.notices.push_back(Notice::Gap {
                rendition: self.spec.name.clone(),
                msn,
            });
        }
    }

    /// Publishes a part that has waited too long for its next sample.
    pub(crate) fn handle_timeout(&mut self, now: Micros) {
        if self.part_deadline().is_some_and(|deadline| deadline <= now) {
            let part = self.builder.as_mut().and_then(PartBuilder::finish_full);
            part.into_iter().for_each(|part| self.publish(part));
            self.part_opened = None;
        }
    }

    /// When the part in work is published at the latest.
    pub(crate) fn part_deadline(&self) -> Option<Micros> {
        let target_us = self.log.layout()?.part_target_us.unsigned_abs();
        self.part_opened.map(|opened| opened + target_us + PART_WAIT_US)
    }
}

/// How much longer than PART-TARGET a part waits for its samples, on the wall clock: a stall of the network is not to
/// move the decode timeline, a dead publisher is not to hide its last pictures.
const PART_WAIT_US: u64 = 500_000;

/// The frame duration that a track declares, ticks.
pub(crate) fn nominal_frame(track: &Track) -> Option<i64> {
    match &track.config {
        TrackConfig::Audio(audio) => Some(i64::from(audio.frame_samples.max(1))),
        TrackConfig::Video(video) => {
            let rate = video.frame_rate?;
            let ticks = u64::from(track.timescale.get()) * u64::from(rate.denominator.get());
            Some(((ticks + u64::from(rate.numerator.get()) / 2) / u64::from(rate.numerator.get())) as i64)
        }
    }
    .filter(|frame| *frame > 0)
}
