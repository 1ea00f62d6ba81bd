//! One rendition's append-only log of parts and segments, as its readers see it.

use std::collections::VecDeque;
use std::num::NonZeroU32;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};

use bytes::Bytes;
use event_listener::{Event, EventListener};
use media::Track;

use crate::clock::duration_us;
use crate::config::Role;
use crate::hls;
use crate::text::Text;
use crate::window::{Fixed, LiveWindow};

mod append;
mod record;

pub use record::{Completed, CompletedSegment};

/// How many parts beyond the hinted one a request may wait for.
const PARTS_AHEAD_MAX: usize = 3;

/// The answer to a request that may have to wait.
#[derive(Debug)]
pub enum Answer<T> {
    /// Here it is.
    Ready(T),
    /// It does not exist yet: ask again when the listener fires.
    Wait(EventListener),
    /// A blocking reload further ahead than RFC 8216bis 6.2.5.2 allows.
    TooFarAhead,
    /// It existed and has left the window.
    Expired,
    /// It never existed, or is a gap.
    Unknown,
}

/// The bytes of a segment, or of what exists of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentBody {
    /// Its parts in order; concatenated they are the segment.
    pub parts: Vec<Bytes>,
    /// No part will follow.
    pub complete: bool,
}

/// What the API says of a rendition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RenditionInfo {
    /// Name in URLs.
    pub name: String,
    /// What it is in the stream.
    pub role: Role,
    /// Its newest track.
    pub track: Arc<Track>,
    /// Highest bits a second of any segment so far, or the declared rate before the first one.
    pub peak_bitrate: u64,
    /// Mean bits a second so far, or the declared rate.
    pub average_bitrate: u64,
}

/// One CMAF chunk.
#[derive(Clone, Debug)]
pub(crate) struct Part {
    /// Ticks.
    pub(crate) duration: i64,
    pub(crate) independent: bool,
    pub(crate) bytes: Bytes,
}

/// A segment, open or complete. Complete ones are shared and never change.
#[derive(Clone, Debug)]
pub(crate) struct Segment {
    pub(crate) msn: u64,
    /// Number of the init segment.
    pub(crate) init: u32,
    /// Discontinuity sequence number.
    pub(crate) period: u64,
    /// A discontinuity lies before it.
    pub(crate) discontinuity: bool,
    pub(crate) gap: bool,
    /// Of all ticks here; changes only with the init segment.
    pub(crate) timescale: NonZeroU32,
    /// Decode time of its first sample, ticks.
    pub(crate) start: i64,
    /// Ticks; while open, of the parts so far.
    pub(crate) duration: i64,
    /// Wall clock of its first sample.
    pub(crate) utc_ms: i64,
    pub(crate) parts: Vec<Part>,
    pub(crate) bytes: usize,
}

impl Segment {
    pub(crate) fn independent(&self) -> bool {
        self.gap || self.parts.first().is_none_or(|part| part.independent)
    }

    pub(crate) fn duration_us(&self) -> i64 {
        duration_us(self.duration, self.timescale)
    }
}

/// What of a rendition never changes once its first part exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    /// PART-TARGET, microseconds, rounded up: no part may exceed it after its own rounding.
    pub(crate) part_target_us: i64,
}

#[derive(Debug, Default)]
pub(crate) struct LogState {
    /// Complete segments, oldest first; the first `retired` are no longer listed.
    pub(crate) segments: VecDeque<Arc<Segment>>,
    pub(crate) retired: usize,
    pub(crate) open: Option<Segment>,
    /// The first segment that was ever begun.
    first_msn: Option<u64>,
    inits: VecDeque<(u32, Bytes)>,
    track: Option<Arc<Track>>,
    /// Duration (microseconds) and bytes of the complete segments that are listed.
    listed_us: i64,
    listed_bytes: usize,
    /// Counts changes; a rendered text is valid for one value.
    pub(crate) version: u64,
    pub(crate) ended: bool,
    peak_bitrate: u64,
    parts_made: u64,
    total_bytes: u64,
    total_us: i64,
    measured: u32,
}

impl LogState {
    /// Media sequence number of the newest complete segment.
    fn last_complete(&self) -> Option<u64> {
        self.segments.back().map(|segment| segment.msn)
    }

    pub(crate) fn next_msn(&self) -> u64 {
        self.open
            .as_ref()
            .map(|open| open.msn)
            .or(self.last_complete().map(|msn| msn + 1))
            .unwrap_or(0)
    }

    fn complete(&self, msn: u64) -> Option<&Arc<Segment>> {
        let first = self.segments.front()?.msn;
        self.segments.get(usize::try_from(msn.checked_sub(first)?).ok()?)
    }

    fn is_expired(&self, msn: u64) -> bool {
        self.segments.front().is_some_and(|first| msn < first.msn)
    }

    /// Whether the playlist holds what a blocking reload asks for (RFC 8216bis 6.2.5.2).
    fn holds(&self, msn: u64, part: Option<u32>) -> bool {
        let open_msn = self
            .open
            .as_ref()
            .filter(|open| !open.parts.is_empty())
            .map(|open| open.msn);
        let reached =
            |msn: u64| self.last_complete().is_some_and(|last| msn <= last) || open_msn == Some(msn);
        let Some(part) = part.map(|part| part as usize) else {
            return self.last_complete().is_some_and(|last| msn <= last);
        };
        if let Some(segment) = self.complete(msn) {
            return part < segment.parts.len() || reached(msn + 1);
        }
        self.is_expired(msn)
            || self
                .open
                .as_ref()
                .is_some_and(|open| open.msn == msn && part < open.parts.len())
    }
}

/// One rendition's log. Shared by all its readers; one packager appends.
#[derive(Debug)]
pub struct RenditionLog {
    name: String,
    role: Role,
    declared_bitrate: Option<u32>,
    window: Weak<LiveWindow>,
    layout: OnceLock<Layout>,
    state: Mutex<LogState>,
    changed: Event,
    /// `msn << 16 | part + 1` of the newest part, for rendition reports; 0 before the first.
    last: AtomicU64,
    /// Rendered text: full, delta. Its lock is held while rendering, never while `state` is.
    rendered: Mutex<Rendered>,
}

#[derive(Debug, Default)]
struct Rendered {
    full: Option<Rendering>,
    delta: Option<Rendering>,
}

/// A text and what it shows: the log's version, and the generation of the window's set of renditions.
#[derive(Clone, Debug)]
struct Rendering {
    version: u64,
    generation: u64,
    text: Arc<Text>,
}

impl Rendered {
    fn current(&self, version: u64, generation: u64, delta: bool) -> Option<Arc<Text>> {
        let made = if delta { &self.delta } else { &self.full }.as_ref()?;
        (made.version >= version && made.generation >= generation).then(|| Arc::clone(&made.text))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Reading.
impl RenditionLog {
    /// Name in URLs.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it is in the stream.
    pub fn role(&self) -> Role {
        self.role
    }

    /// The stream has ended or the rendition was taken away: nothing will be added.
    pub fn is_ended(&self) -> bool {
        lock(&self.state).ended
    }

    /// What the API says of it; `None` before its first track.
    pub fn info(&self) -> Option<RenditionInfo> {
        let state = lock(&self.state);
        let track = state.track.clone()?;
        let (peak_bitrate, average_bitrate) = self.bitrates(&state);
        Some(RenditionInfo {
            name: self.name.clone(),
            role: self.role,
            track,
            peak_bitrate,
            average_bitrate,
        })
    }

    /// Bits a second that its maker said it would have.
    pub fn declared_bitrate(&self) -> Option<u32> {
        self.declared_bitrate
    }

    /// The media playlist, as soon as it holds segment `msn` (whole, or its part number `part`).
    ///
    /// Without `msn` as it stands. `skip` asks for a delta update; the answer is a full playlist if nothing can be
    /// skipped. A part index beyond the end of a complete segment means part 0 of the next one.
    pub fn playlist(&self, msn: Option<u64>, part: Option<u32>, skip: bool) -> Answer<Arc<Text>> {
        let state = lock(&self.state);
        let Some(layout) = self.layout.get().copied().filter(|_| state.has_media()) else {
            return if state.ended {
                Answer::Unknown
            } else {
                Answer::Wait(self.changed.listen())
            };
        };
        if let Some(msn) = msn.filter(|msn| !state.ended && !state.holds(*msn, part)) {
            return if too_far_ahead(&state, layout, msn, part) {
                Answer::TooFarAhead
            } else {
                Answer::Wait(self.changed.listen())
            };
        }
        let version = state.version;
        drop(state);
        match self.render(layout, version, skip) {
            Some(text) => Answer::Ready(text),
            None => Answer::Unknown,
        }
    }

    fn render(&self, layout: Layout, version: u64, skip: bool) -> Option<Arc<Text>> {
        let window = self.window.upgrade()?;
        let fixed = window.fixed()?;
        let (siblings, generation) = window.siblings(&self.name);
        let mut rendered = lock(&self.rendered);
        if let Some(text) = rendered.current(version, generation, skip) {
            return Some(text);
        }
        let (snapshot, version) = self.snapshot(layout, fixed, &window);
        let skipped = if skip { snapshot.skippable() } else { 0 };
        let full = (skipped == 0)
            .then(|| rendered.current(version, generation, false))
            .flatten();
        let text =
            full.unwrap_or_else(|| Arc::new(Text::new(hls::media_playlist(&snapshot, &siblings, skipped))));
        let made = Some(Rendering {
            version,
            generation,
            text: Arc::clone(&text),
        });
        if skip {
            rendered.delta = made.clone();
        }
        if skipped == 0 {
            rendered.full = made;
        }
        Some(text)
    }

    fn snapshot(&self, layout: Layout, fixed: Fixed, window: &LiveWindow) -> (hls::Snapshot, u64) {
        let state = lock(&self.state);
        let snapshot = hls::Snapshot {
            stream_id: window.stream_id().to_owned(),
            layout,
            fixed,
            segments: state.segments.iter().skip(state.retired).cloned().collect(),
            open: state.open.clone(),
            next_msn: state.next_msn(),
            ended: state.ended,
        };
        (snapshot, state.version)
    }

    /// The init segment of an epoch; kept while a segment needs it.
    pub fn init(&self, epoch: u32) -> Option<Bytes> {
        lock(&self.state)
            .inits
            .iter()
            .find(|(number, _)| *number == epoch)
            .map(|(_, bytes)| bytes.clone())
    }

    /// One part. Waits only for the hinted part and the few after it.
    pub fn part(&self, msn: u64, part: u32) -> Answer<Bytes> {
        let state = lock(&self.state);
        let index = part as usize;
        if state.is_expired(msn) {
            return Answer::Expired;
        }
        let existing = state.complete(msn).map(|segment| &segment.parts);
        if let Some(parts) = existing {
            return parts
                .get(index)
                .map_or(Answer::Unknown, |part| Answer::Ready(part.bytes.clone()));
        }
        let next = state.next_msn();
        let open = state
            .open
            .as_ref()
            .filter(|open| open.msn == msn)
            .map_or(&[][..], |open| &open.parts);
        if let Some(part) = open.get(index) {
            return Answer::Ready(part.bytes.clone());
        }
        let waits = (msn == next && index <= open.len() + PARTS_AHEAD_MAX) || (msn == next + 1 && index == 0);
        if waits && !state.ended {
            Answer::Wait(self.changed.listen())
        } else {
            Answer::Unknown
        }
    }

    /// A segment, with `complete` false while it is being made. Waits for the next one to be made.
    pub fn segment(&self, msn: u64) -> Answer<SegmentBody> {
        self.segment_after(msn, 0)
    }

    /// What there is of a segment beyond its first `parts_seen` parts; waits until there is something, or its end.
    pub fn segment_after(&self, msn: u64, parts_seen: usize) -> Answer<SegmentBody> {
        let state = lock(&self.state);
        if state.is_expired(msn) {
            return Answer::Expired;
        }
        let rest = |segment: &Segment| {
            segment
                .parts
                .iter()
                .skip(parts_seen)
                .map(|part| part.bytes.clone())
                .collect()
        };
        if let Some(segment) = state.complete(msn) {
            // A segment that became a gap after some of it was sent ends with what was sent.
            let known = !segment.gap || parts_seen > 0;
            return if known {
                Answer::Ready(SegmentBody {
                    parts: rest(segment),
                    complete: true,
                })
            } else {
                Answer::Unknown
            };
        }
        match state.open.as_ref().filter(|open| open.msn == msn) {
            Some(open) if open.parts.len() > parts_seen => Answer::Ready(SegmentBody {
                parts: rest(open),
                complete: false,
            }),
            _ if msn <= state.next_msn() + 1 && !state.ended => Answer::Wait(self.changed.listen()),
            _ => Answer::Unknown,
        }
    }

    /// Init segment, newest part that starts at an IDR, and its media sequence number: enough to decode one picture.
    pub fn latest_sync_part(&self) -> Option<(Bytes, Bytes, u64)> {
        let state = lock(&self.state);
        let segments = state
            .open
            .iter()
            .chain(state.segments.iter().rev().map(Arc::as_ref));
        for segment in segments {
            if let Some(part) = segment.parts.iter().rev().find(|part| part.independent) {
                let (_, init) = state.inits.iter().find(|(number, _)| *number == segment.init)?;
                return Some((init.clone(), part.bytes.clone(), segment.msn));
            }
        }
        None
    }
}

/// RFC 8216bis 6.2.5.2: more than two segments, or more than the advance part limit, beyond the playlist's end.
fn too_far_ahead(state: &LogState, layout: Layout, msn: u64, part: Option<u32>) -> bool {
    let next = state.next_msn();
    // `next` is the segment after the last one listed whole, so the last plus two is `next + 1`.
    if msn > next + 1 {
        return true;
    }
    let target_us = layout.part_target_us.max(1);
    let limit = if target_us < 1_000_000 {
        3_000_000_i64.div_euclid(target_us) + 1
    } else {
        3
    };
    let listed = state
        .open
        .as_ref()
        .filter(|open| open.msn == msn)
        .map_or(0, |open| open.parts.len());
    // In a complete segment any further part means the start of the next one.
    msn >= next && part.is_some_and(|part| i64::from(part) >= listed as i64 + limit)
}
