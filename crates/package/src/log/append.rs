//! Appending to a rendition's log, letting old segments go, and what the window's own texts read of it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};

use bytes::Bytes;
use event_listener::Event;
use media::Track;

use super::{Layout, LogState, Part, RenditionLog, Segment, lock};
use crate::config::Role;
use crate::window::LiveWindow;

/// Segments that stay fetchable after they have left the playlist, for players that read an older copy of it.
const RETIRED_SEGMENTS: usize = 3;

/// Appending, by the packager.
impl RenditionLog {
    pub(crate) fn new(
        name: &str,
        role: Role,
        declared_bitrate: Option<u32>,
        window: &Arc<LiveWindow>,
    ) -> Arc<Self> {
        Arc::new(Self {
            name: name.to_owned(),
            role,
            declared_bitrate,
            window: Arc::downgrade(window),
            layout: OnceLock::new(),
            state: Mutex::default(),
            changed: Event::new(),
            last: AtomicU64::new(0),
            rendered: Mutex::default(),
        })
    }

    pub(crate) fn set_layout(&self, layout: Layout) {
        let _ = self.layout.set(layout);
    }

    pub(crate) fn set_init(&self, number: u32, bytes: Bytes, track: Arc<Track>) {
        let mut state = lock(&self.state);
        state.inits.push_back((number, bytes));
        state.track = Some(track);
    }

    /// Opens the next segment; it is not seen by readers before its first part.
    pub(crate) fn open_segment(&self, segment: Segment) {
        let mut state = lock(&self.state);
        state.first_msn.get_or_insert(segment.msn);
        state.open = Some(segment);
    }

    pub(crate) fn append_part(&self, part: Part) {
        let mut state = lock(&self.state);
        let Some(open) = state.open.as_mut() else { return };
        open.duration += part.duration;
        open.bytes += part.bytes.len();
        open.parts.push(part);
        let last = (open.msn << 16) | open.parts.len() as u64;
        state.parts_made += 1;
        self.publish(state, last);
    }

    /// Completes the open segment, as a gap of at least `gap` ticks if given, and lets old ones go. Returns its end.
    pub(crate) fn close_segment(
        &self,
        gap: Option<i64>,
        window_ms: u32,
        window_bytes_max: usize,
    ) -> Option<i64> {
        let mut state = lock(&self.state);
        let mut segment = state.open.take()?;
        if let Some(duration) = gap {
            segment.gap = true;
            segment.duration = duration.max(segment.duration);
        }
        let end = segment.start + segment.duration;
        segment.parts.shrink_to_fit();
        state.measure(&segment);
        let last = (segment.msn << 16) | (segment.parts.len() as u64);
        state.listed_us += segment.duration_us();
        state.listed_bytes += segment.bytes;
        state.segments.push_back(Arc::new(segment));
        state.slide(i64::from(window_ms) * 1000, window_bytes_max);
        self.publish(state, last);
        self.tell_recorder();
        Some(end)
    }

    pub(crate) fn end(&self) {
        let mut state = lock(&self.state);
        state.ended = true;
        let last = self.last.load(Ordering::Relaxed);
        self.publish(state, last);
        self.tell_recorder();
    }

    fn tell_recorder(&self) {
        if let Some(window) = self.window.upgrade() {
            window.note_segment();
        }
    }

    pub(super) fn publish(&self, mut state: MutexGuard<'_, LogState>, last: u64) {
        state.version += 1;
        self.last.store(last, Ordering::Relaxed);
        drop(state);
        self.changed.notify(usize::MAX);
    }
}

/// What the window's own texts need.
impl RenditionLog {
    /// Media sequence number and part index of the newest part, for a rendition report.
    pub(crate) fn last(&self) -> Option<(u64, Option<u64>)> {
        let last = self.last.load(Ordering::Relaxed);
        (last != 0 || lock(&self.state).has_media()).then_some((last >> 16, (last & 0xffff).checked_sub(1)))
    }

    pub(crate) fn layout(&self) -> Option<Layout> {
        self.layout.get().copied()
    }

    /// Start of the open segment, ticks.
    pub(crate) fn open_start(&self) -> Option<i64> {
        lock(&self.state).open.as_ref().map(|open| open.start)
    }

    pub(crate) fn has_media(&self) -> bool {
        lock(&self.state).has_media()
    }

    /// Parts published so far. For metrics.
    pub fn parts_made(&self) -> u64 {
        lock(&self.state).parts_made
    }

    /// Changes when a segment is begun or completed.
    pub(crate) fn segments_version(&self) -> u64 {
        let state = lock(&self.state);
        let open = state.open.as_ref().is_some_and(|open| !open.parts.is_empty());
        state.last_complete().map_or(0, |msn| 2 * (msn + 1)) + u64::from(open)
    }

    /// Complete segments made so far, gaps included.
    pub(crate) fn segments_made(&self) -> u64 {
        lock(&self.state).last_complete().map_or(0, |msn| msn + 1)
    }

    /// Listed complete segments and the open one.
    pub(crate) fn listed(&self) -> (Vec<Arc<Segment>>, Option<Segment>) {
        let state = lock(&self.state);
        let open = state.open.as_ref().filter(|open| !open.parts.is_empty()).cloned();
        (state.segments.iter().skip(state.retired).cloned().collect(), open)
    }

    /// Peak and mean bits a second. The declared rate counts until three segments have been measured.
    pub(super) fn bitrates(&self, state: &LogState) -> (u64, u64) {
        let declared = u64::from(self.declared_bitrate.unwrap_or(0));
        let open = state
            .open
            .as_ref()
            .map_or(0, |open| bits_per_second(open.bytes, open.duration_us()));
        if state.measured == 0 {
            let guess = declared.max(open);
            return (guess, if declared > 0 { declared } else { guess });
        }
        let peak = if state.measured < 3 {
            state.peak_bitrate.max(declared)
        } else {
            state.peak_bitrate
        };
        let mean = u128::from(state.total_bytes) * 8_000_000 / state.total_us.max(1) as u128;
        (peak, u64::try_from(mean).unwrap_or(u64::MAX))
    }
}

impl LogState {
    pub(super) fn has_media(&self) -> bool {
        !self.segments.is_empty() || self.open.as_ref().is_some_and(|open| !open.parts.is_empty())
    }

    pub(super) fn measure(&mut self, segment: &Segment) {
        let us = segment.duration_us();
        if segment.gap || us <= 0 {
            return;
        }
        // A segment much shorter than its neighbours says little about the rate a player must sustain.
        if us >= 500_000 {
            self.peak_bitrate = self.peak_bitrate.max(bits_per_second(segment.bytes, us));
            self.measured = self.measured.saturating_add(1);
        }
        self.total_bytes += segment.bytes as u64;
        self.total_us += us;
    }

    /// Unlists what the window no longer covers and drops what has been unlisted for a while.
    pub(super) fn slide(&mut self, window_us: i64, bytes_max: usize) {
        while let Some(first) = self.segments.get(self.retired) {
            let listed = self.segments.len() - self.retired;
            let (duration, bytes) = (first.duration_us(), first.bytes);
            let over = self.listed_us - duration >= window_us || self.listed_bytes > bytes_max;
            if listed <= 1 || !over {
                break;
            }
            self.listed_us -= duration;
            self.listed_bytes -= bytes;
            self.retired += 1;
        }
        let retired_bytes_max = bytes_max / 4;
        while self.retired > 0 {
            let bytes: usize = self
                .segments
                .iter()
                .take(self.retired)
                .map(|segment| segment.bytes)
                .sum();
            if self.retired <= RETIRED_SEGMENTS && bytes <= retired_bytes_max {
                break;
            }
            self.segments.pop_front();
            self.retired -= 1;
        }
        if let Some(first) = self.segments.front() {
            while self.inits.front().is_some_and(|(number, _)| *number < first.init) {
                self.inits.pop_front();
            }
        }
    }
}

fn bits_per_second(bytes: usize, us: i64) -> u64 {
    if us <= 0 {
        0
    } else {
        (bytes as u128 * 8_000_000 / us as u128) as u64
    }
}
