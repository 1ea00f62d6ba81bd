//! The ring of one rendition's samples.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use event_listener::{Event, EventListener};
use media::{MediaKind, Sample, Track};

use crate::stats::StreamStats;
use crate::{FeedLimits, Reader, lock};

/// A step of decode time counts as this much at most, microseconds: beyond it is a hole.
const HOLE_US: u64 = 1_000_000;

/// What a reader gets.
#[derive(Clone, Debug)]
pub enum Item {
    /// The samples of this kind that follow belong to this track. A reader gets the tracks first, and each new epoch
    /// before its first sample. A higher epoch than before implies a discontinuity of that track.
    Track(Arc<Track>),
    /// The next sample in order of arrival.
    Sample(MediaKind, Arc<Sample>),
    /// The reader was too slow and lost this many samples; the next video sample is a sync sample.
    Skipped {
        /// Samples of both kinds.
        samples: u64,
    },
    /// The timeline has a hole here: the samples that follow do not begin where those before end.
    Discontinuity,
    /// Nothing comes any more. Repeats for ever.
    End,
}

/// Where a new reader begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// At the last video sync sample (without video: at the newest sample): something to show at once.
    LastSync,
    /// With the next samples that come; video from its next sync sample.
    Live,
    /// With the oldest in the ring; video from the first sync sample in it.
    Oldest,
}

/// One rendition's samples: a bounded ring that any number of [`Reader`]s follow.
#[derive(Debug)]
pub struct Feed {
    name: String,
    limits: FeedLimits,
    ring: Mutex<Ring>,
    changed: Event,
    stats: Option<Arc<StreamStats>>,
    skipped: AtomicU64,
}

impl Feed {
    /// A feed that belongs to no stream, for tests and tools.
    pub fn new(name: &str, limits: FeedLimits) -> Arc<Self> {
        Arc::new(Self::with_stats(name, limits, None))
    }

    pub(crate) fn with_stats(name: &str, limits: FeedLimits, stats: Option<Arc<StreamStats>>) -> Self {
        Self {
            name: name.to_owned(),
            limits,
            ring: Mutex::new(Ring::default()),
            changed: Event::new(),
            stats,
            skipped: AtomicU64::new(0),
        }
    }

    /// `source`, or the rendition's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Announces the track of the samples that follow. Ignored after [`end`](Self::end).
    pub fn set_track(&self, track: Arc<Track>) {
        self.append(Content::Track(track));
    }

    /// Appends a sample, in decode order within its kind. Ignored after [`end`](Self::end).
    pub fn push(&self, kind: MediaKind, sample: Arc<Sample>) {
        self.append(Content::Sample(kind, sample));
    }

    /// Says that the timeline has a hole here.
    pub fn discontinuity(&self) {
        self.append(Content::Discontinuity);
    }

    /// Says that nothing comes any more. Readers still get what is in the ring.
    pub fn end(&self) {
        lock(&self.ring).is_ended = true;
        self.changed.notify(usize::MAX);
    }

    /// Whether [`end`](Self::end) was called.
    pub fn is_ended(&self) -> bool {
        lock(&self.ring).is_ended
    }

    /// The track of this kind that samples pushed now belong to.
    pub fn track(&self, kind: MediaKind) -> Option<Arc<Track>> {
        lock(&self.ring).newest.get(kind).cloned()
    }

    /// A new cursor.
    pub fn reader(self: &Arc<Self>, start: Start) -> Reader {
        Reader::new(Arc::clone(self), start)
    }

    /// Samples that readers of this feed lost by being slow, summed over readers.
    pub fn skipped(&self) -> u64 {
        self.skipped.load(Ordering::Relaxed)
    }

    /// Payload bytes and samples in the ring now.
    pub fn held(&self) -> (usize, usize) {
        let ring = lock(&self.ring);
        (ring.bytes, ring.entries.len() - ring.marks.len())
    }

    pub(crate) fn count_skipped(&self, samples: u64) {
        self.skipped.fetch_add(samples, Ordering::Relaxed);
        if let Some(stats) = &self.stats {
            stats.skipped.fetch_add(samples, Ordering::Relaxed);
        }
    }

    pub(crate) fn ring(&self) -> &Mutex<Ring> {
        &self.ring
    }

    pub(crate) fn listen(&self) -> EventListener {
        self.changed.listen()
    }

    fn append(&self, content: Content) {
        {
            let mut ring = lock(&self.ring);
            if ring.is_ended {
                return;
            }
            ring.append(content);
            ring.evict(&self.limits);
        }
        self.changed.notify(usize::MAX);
    }
}

/// One thing of each kind.
#[derive(Clone, Debug)]
pub(crate) struct PerKind<T> {
    pub(crate) video: Option<T>,
    pub(crate) audio: Option<T>,
}

impl<T> Default for PerKind<T> {
    fn default() -> Self {
        Self {
            video: None,
            audio: None,
        }
    }
}

impl<T> PerKind<T> {
    pub(crate) fn get(&self, kind: MediaKind) -> Option<&T> {
        match kind {
            MediaKind::Video => self.video.as_ref(),
            MediaKind::Audio => self.audio.as_ref(),
        }
    }

    pub(crate) fn slot(&mut self, kind: MediaKind) -> &mut Option<T> {
        match kind {
            MediaKind::Video => &mut self.video,
            MediaKind::Audio => &mut self.audio,
        }
    }
}

#[derive(Clone, Debug)]
pub(crate) enum Content {
    Sample(MediaKind, Arc<Sample>),
    Track(Arc<Track>),
    Discontinuity,
}

#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) content: Content,
    /// Samples appended before this entry, since the feed began.
    pub(crate) ordinal: u64,
    /// `Ring::elapsed_us` when it came.
    elapsed_us: u64,
}

/// What holds at a place in the ring.
#[derive(Clone, Debug, Default)]
pub(crate) struct Situation {
    pub(crate) tracks: PerKind<Arc<Track>>,
    /// Discontinuities before the place, since the feed began.
    pub(crate) discontinuities: u64,
}

impl Situation {
    fn pass(&mut self, content: &Content) {
        match content {
            Content::Track(track) => *self.tracks.slot(track.kind()) = Some(Arc::clone(track)),
            Content::Discontinuity => self.discontinuities += 1,
            Content::Sample(..) => {}
        }
    }
}

/// Entries in order of arrival, numbered without gaps; numbers never repeat.
#[derive(Debug, Default)]
pub(crate) struct Ring {
    entries: VecDeque<Entry>,
    /// Number of the oldest entry.
    first: u64,
    /// Samples ever appended.
    samples: u64,
    bytes: usize,
    /// The newest decode time, microseconds.
    newest_us: i64,
    /// Media time that went by since the feed began, holes shortened: what ages are measured in.
    elapsed_us: u64,
    /// Numbers of the video sync samples in the ring.
    syncs: VecDeque<u64>,
    /// Numbers of the entries that are no samples.
    marks: VecDeque<u64>,
    /// What holds before the oldest entry.
    base: Situation,
    newest: PerKind<Arc<Track>>,
    pub(crate) is_ended: bool,
}

impl Ring {
    /// Number of the oldest entry in the ring.
    pub(crate) fn first(&self) -> u64 {
        self.first
    }

    /// Number that the next entry will get.
    pub(crate) fn next(&self) -> u64 {
        self.first + self.entries.len() as u64
    }

    /// Samples appended before entry `number`.
    pub(crate) fn ordinal(&self, number: u64) -> u64 {
        self.get(number).map_or(self.samples, |entry| entry.ordinal)
    }

    pub(crate) fn get(&self, number: u64) -> Option<&Entry> {
        let index = usize::try_from(number.checked_sub(self.first)?).ok()?;
        self.entries.get(index)
    }

    /// Number of the newest video sync sample in the ring.
    pub(crate) fn last_sync(&self) -> Option<u64> {
        self.syncs.back().copied()
    }

    /// The tracks and the count of discontinuities before entry `number`.
    pub(crate) fn situation(&self, number: u64) -> Situation {
        let mut situation = self.base.clone();
        for &mark in self.marks.iter().take_while(|&&mark| mark < number) {
            if let Some(entry) = self.get(mark) {
                situation.pass(&entry.content);
            }
        }
        situation
    }

    /// Whether there is a video track now.
    pub(crate) fn has_video(&self) -> bool {
        self.newest.video.is_some()
    }

    fn append(&mut self, content: Content) {
        let number = self.next();
        let ordinal = self.samples;
        match &content {
            Content::Sample(kind, sample) => {
                self.samples += 1;
                self.bytes = self.bytes.saturating_add(sample.data.len());
                self.advance(*kind, sample);
                if *kind == MediaKind::Video && sample.is_sync {
                    self.syncs.push_back(number);
                }
            }
            Content::Track(track) => {
                *self.newest.slot(track.kind()) = Some(Arc::clone(track));
                self.marks.push_back(number);
            }
            Content::Discontinuity => self.marks.push_back(number),
        }
        self.entries.push_back(Entry {
            content,
            ordinal,
            elapsed_us: self.elapsed_us,
        });
    }

    /// Lets the sample's time count. Of a hole before it only a second does: who reads along must not lose his place.
    fn advance(&mut self, kind: MediaKind, sample: &Sample) {
        let Some(track) = self.newest.get(kind) else {
            return;
        };
        let time_us = sample.dts.saturating_mul(1_000_000) / i64::from(track.timescale.get());
        let step_us = time_us.saturating_sub(self.newest_us);
        match u64::try_from(step_us) {
            Ok(step_us) => self.elapsed_us = self.elapsed_us.saturating_add(step_us.min(HOLE_US)),
            // Behind the other track, as interleaving has it.
            Err(_) if step_us.unsigned_abs() <= 10 * HOLE_US => return,
            Err(_) => {}
        }
        self.newest_us = time_us;
    }

    fn evict(&mut self, limits: &FeedLimits) {
        while self.entries.len() > 1 && self.is_over(limits) {
            self.drop_oldest();
        }
    }

    fn is_over(&self, limits: &FeedLimits) -> bool {
        let Some(oldest) = self.entries.front() else {
            return false;
        };
        let span_us = self.elapsed_us - oldest.elapsed_us;
        if self.bytes > limits.bytes_max
            || self.entries.len() > limits.samples_max
            || span_us > limits.span_max_us
        {
            return true;
        }
        let is_before_gop = !self.has_video() || self.last_sync().is_some_and(|sync| self.first < sync);
        is_before_gop && span_us > limits.keep_us
    }

    fn drop_oldest(&mut self) {
        let Some(entry) = self.entries.pop_front() else {
            return;
        };
        if let Content::Sample(_, sample) = &entry.content {
            self.bytes -= sample.data.len().min(self.bytes);
        } else {
            self.marks.pop_front();
            self.base.pass(&entry.content);
        }
        if self.syncs.front() == Some(&self.first) {
            self.syncs.pop_front();
        }
        self.first += 1;
    }
}
