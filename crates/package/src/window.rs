//! One stream's live window: its renditions and the texts that name them all.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use event_listener::{Event, EventListener};

use crate::log::RenditionLog;
use crate::text::Text;
use crate::{dash, hls};

/// Renditions that were taken away but are still answered for, with an ended playlist.
const REMOVED_MAX: usize = 8;

/// Periods remembered: no window of [`PackageConfig`](crate::PackageConfig) size holds more discontinuities than this
/// without something being very wrong.
const PERIODS_MAX: usize = 128;

/// What never changes in a stream's playlists once the first one could be rendered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fixed {
    /// EXT-X-TARGETDURATION, seconds.
    pub(crate) target_duration: u32,
    /// PART-HOLD-BACK, microseconds: three of the longest PART-TARGETs.
    pub(crate) part_hold_back_us: u64,
    /// Media listed, milliseconds.
    pub(crate) window_ms: u32,
}

#[derive(Debug, Default)]
struct State {
    renditions: Vec<Arc<RenditionLog>>,
    removed: Vec<Arc<RenditionLog>>,
    ready: bool,
    ended: bool,
    /// Counts changes of the set of renditions and of the clock.
    generation: u64,
    /// UTC of media time 0 as the manifest's origin: that of the first period.
    origin_utc_ms: Option<i64>,
    periods: Vec<dash::Period>,
}

/// One stream's window, shared by all its readers.
#[derive(Debug)]
pub struct LiveWindow {
    channel: String,
    stream_id: String,
    fixed: OnceLock<Fixed>,
    state: Mutex<State>,
    became_ready: Event,
    segment_made: Event,
    master: Mutex<Option<(u64, Arc<Text>)>>,
    mpd: Mutex<Option<(u64, Arc<Text>)>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Reading.
impl LiveWindow {
    /// An empty window for a stream.
    pub fn new(channel: &str, stream_id: &str) -> Arc<Self> {
        Arc::new(Self {
            channel: channel.to_owned(),
            stream_id: stream_id.to_owned(),
            fixed: OnceLock::new(),
            state: Mutex::default(),
            became_ready: Event::new(),
            segment_made: Event::new(),
            master: Mutex::default(),
            mpd: Mutex::default(),
        })
    }

    /// Name of the channel.
    pub fn channel(&self) -> &str {
        &self.channel
    }

    /// The stream's id, a path component of its objects' names.
    pub fn stream_id(&self) -> &str {
        &self.stream_id
    }

    /// The multivariant playlist; `None` until the stream can be played.
    pub fn master(&self) -> Option<Arc<Text>> {
        let (renditions, generation) = self.playable()?;
        let key = renditions
            .iter()
            .fold(generation << 32, |key, log| key + log.segments_made());
        cached(&self.master, key, || Some(hls::master_playlist(&renditions)))
    }

    /// The DASH manifest; `None` until the stream can be played. `now_utc_ms` becomes its publishTime when it is rendered.
    pub fn mpd(&self, now_utc_ms: i64) -> Option<Arc<Text>> {
        let (renditions, generation) = self.playable()?;
        let fixed = self.fixed()?;
        let key = renditions
            .iter()
            .fold(generation << 32, |key, log| key + log.segments_version());
        let (ended, origin_utc_ms, periods) = {
            let state = lock(&self.state);
            (
                state.ended,
                state.origin_utc_ms.unwrap_or(0),
                state.periods.clone(),
            )
        };
        let context = dash::Context {
            stream_id: &self.stream_id,
            fixed,
            ended,
            origin_utc_ms,
            now_utc_ms,
            periods,
            is_title: false,
        };
        cached(&self.mpd, key, || dash::manifest(&context, &renditions))
    }

    /// The rendition of that name: an offered one, or one that was taken away not long ago.
    pub fn rendition(&self, name: &str) -> Option<Arc<RenditionLog>> {
        let state = lock(&self.state);
        let removed = state.removed.iter().rev();
        state
            .renditions
            .iter()
            .chain(removed)
            .find(|log| log.name() == name)
            .cloned()
    }

    /// The offered renditions, in the order of the master playlist.
    pub fn renditions(&self) -> Vec<Arc<RenditionLog>> {
        lock(&self.state).renditions.clone()
    }

    /// All that were ever offered, as far as they are still held: also those that were taken away.
    pub fn renditions_ever(&self) -> Vec<Arc<RenditionLog>> {
        let state = lock(&self.state);
        state.renditions.iter().chain(&state.removed).cloned().collect()
    }

    /// The runs without discontinuity so far; of very many the last ones.
    pub fn periods(&self) -> Vec<dash::Period> {
        lock(&self.state).periods.clone()
    }

    /// Fires when a segment of any rendition is complete, or nothing will be added. For those who keep segments: it fires
    /// once for many parts.
    pub fn segment_made(&self) -> EventListener {
        self.segment_made.listen()
    }

    /// `None` if the stream can be played; else what fires when that may have changed.
    pub fn ready(&self) -> Option<EventListener> {
        let state = lock(&self.state);
        (!state.ready && !state.ended).then(|| self.became_ready.listen())
    }

    /// Nothing will be added.
    pub fn is_ended(&self) -> bool {
        lock(&self.state).ended
    }

    fn playable(&self) -> Option<(Vec<Arc<RenditionLog>>, u64)> {
        let state = lock(&self.state);
        let with_media = || {
            state
                .renditions
                .iter()
                .filter(|log| log.has_media())
                .cloned()
                .collect::<Vec<_>>()
        };
        state
            .ready
            .then(|| (with_media(), state.generation))
            .filter(|(logs, _)| !logs.is_empty())
    }
}

fn cached(
    slot: &Mutex<Option<(u64, Arc<Text>)>>,
    key: u64,
    render: impl FnOnce() -> Option<String>,
) -> Option<Arc<Text>> {
    let mut slot = lock(slot);
    if let Some((_, text)) = slot.as_ref().filter(|(at, _)| *at == key) {
        return Some(Arc::clone(text));
    }
    let text = Arc::new(Text::new(render()?));
    *slot = Some((key, Arc::clone(&text)));
    Some(text)
}

/// Changing, by the packager.
impl LiveWindow {
    pub(crate) fn fixed(&self) -> Option<Fixed> {
        self.fixed.get().copied()
    }

    pub(crate) fn set_fixed(&self, fixed: Fixed) {
        let _ = self.fixed.set(fixed);
    }

    /// A run without discontinuity has begun; the oldest of very many are forgotten.
    pub(crate) fn add_period(&self, period: dash::Period) {
        let mut state = lock(&self.state);
        // The clock is better known when the first segment begins than when the first sample came.
        state.origin_utc_ms.get_or_insert(period.origin_utc_ms);
        if state.periods.len() == PERIODS_MAX {
            state.periods.remove(0);
        }
        state.periods.push(period);
    }

    /// The other offered renditions, for rendition reports, and the generation of the set.
    pub(crate) fn siblings(&self, name: &str) -> (Vec<Arc<RenditionLog>>, u64) {
        let state = lock(&self.state);
        let others = state
            .renditions
            .iter()
            .filter(|log| log.name() != name)
            .cloned()
            .collect();
        (others, state.generation)
    }

    pub(crate) fn set_renditions(&self, renditions: Vec<Arc<RenditionLog>>) {
        let mut state = lock(&self.state);
        state.renditions = renditions;
        state.generation += 1;
    }

    pub(crate) fn keep_removed(&self, log: Arc<RenditionLog>) {
        let mut state = lock(&self.state);
        if state.removed.len() == REMOVED_MAX {
            state.removed.remove(0);
        }
        state.removed.push(log);
    }

    pub(crate) fn set_ready(&self) {
        lock(&self.state).ready = true;
        self.became_ready.notify(usize::MAX);
    }

    pub(crate) fn set_ended(&self) {
        let mut state = lock(&self.state);
        state.ended = true;
        state.generation += 1;
        drop(state);
        self.became_ready.notify(usize::MAX);
        self.note_segment();
    }

    pub(crate) fn note_segment(&self) {
        self.segment_made.notify(usize::MAX);
    }
}
