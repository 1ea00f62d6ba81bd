//! One broadcast on a channel.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, Weak};

use media::Micros;
use thiserror::Error;

use crate::clock::ClockTracker;
use crate::registry::Bus;
use crate::repair::Timeline;
use crate::{ClockMap, Feed, Limits, NoticeBoard, PublisherInfo, StreamEvent, StreamStats, lock};

/// Where a stream is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StreamState {
    /// A publisher is there, no sample yet.
    Starting,
    /// Samples come.
    Live,
    /// The publisher went away; the stream waits for it within the grace window.
    Reconnecting,
    /// Over. Final.
    Ended,
    /// Over because something on our side broke. Final.
    Failed,
}

impl StreamState {
    /// The name in the API: `starting`, `live`, `reconnecting`, `ended`, `failed`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Live => "live",
            Self::Reconnecting => "reconnecting",
            Self::Ended => "ended",
            Self::Failed => "failed",
        }
    }

    /// Ended or failed.
    pub fn is_final(self) -> bool {
        matches!(self, Self::Ended | Self::Failed)
    }
}

/// Why a feed was not opened.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum FeedError {
    /// `Limits::feeds_per_stream_max` reached.
    #[error("the stream has {max} feeds already, its limit")]
    TooMany {
        /// The limit.
        max: usize,
    },
}

/// Who writes, and where the stream's timeline has got to. Publishers hold its lock while they write a sample.
#[derive(Debug, Default)]
pub(crate) struct Air {
    /// Number of the publisher on the air; 0: nobody.
    pub(crate) holder: u64,
    /// It is the backup.
    pub(crate) is_backup: bool,
    /// When it last sent something.
    pub(crate) seen_us: Micros,
    pub(crate) timeline: Timeline,
}

/// One broadcast on a channel. It outlives its publisher by the grace window.
#[derive(Debug)]
pub struct Stream {
    id: String,
    channel: String,
    owner: String,
    started_us: Micros,
    limits: Limits,
    source: Arc<Feed>,
    feeds: Mutex<BTreeMap<String, Arc<Feed>>>,
    state: Mutex<StreamState>,
    stats: Arc<StreamStats>,
    notices: NoticeBoard,
    clock: Mutex<Option<ClockTracker>>,
    publisher: Mutex<PublisherInfo>,
    pub(crate) air: Mutex<Air>,
    bus: Arc<Bus>,
    this: Weak<Self>,
}

impl Stream {
    pub(crate) fn new(
        id: String,
        channel: &str,
        started_us: Micros,
        limits: Limits,
        info: PublisherInfo,
        bus: Arc<Bus>,
    ) -> Arc<Self> {
        let stats = Arc::new(StreamStats::default());
        Arc::new_cyclic(|this| Self {
            id,
            channel: channel.to_owned(),
            owner: info.owner.clone(),
            started_us,
            limits,
            source: Arc::new(Feed::with_stats("source", limits.feed, Some(Arc::clone(&stats)))),
            feeds: Mutex::default(),
            state: Mutex::new(StreamState::Starting),
            stats,
            notices: NoticeBoard::default(),
            clock: Mutex::default(),
            publisher: Mutex::new(info),
            air: Mutex::default(),
            bus,
            this: this.clone(),
        })
    }

    /// Unique among all streams of all time: lowercase letters and digits, from the start time.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The channel's name.
    pub fn channel(&self) -> &str {
        &self.channel
    }

    /// [`PublisherInfo::owner`] of all its publishers.
    pub fn owner(&self) -> &str {
        &self.owner
    }

    /// When the first publisher came.
    pub fn started_us(&self) -> Micros {
        self.started_us
    }

    /// What the current, or last, publisher said of itself.
    pub fn publisher(&self) -> PublisherInfo {
        lock(&self.publisher).clone()
    }

    pub(crate) fn set_publisher(&self, info: PublisherInfo) {
        *lock(&self.publisher) = info;
    }

    /// What the publisher sends, repaired.
    pub fn source(&self) -> &Arc<Feed> {
        &self.source
    }

    /// Opens a further feed (a rendition), or gives the one of this name that is open.
    pub fn open_feed(&self, name: &str) -> Result<Arc<Feed>, FeedError> {
        let mut feeds = lock(&self.feeds);
        if let Some(feed) = feeds.get(name) {
            return Ok(Arc::clone(feed));
        }
        if feeds.len() >= self.limits.feeds_per_stream_max {
            return Err(FeedError::TooMany {
                max: self.limits.feeds_per_stream_max,
            });
        }
        let feed = Arc::new(Feed::with_stats(
            name,
            self.limits.feed,
            Some(Arc::clone(&self.stats)),
        ));
        feeds.insert(name.to_owned(), Arc::clone(&feed));
        Ok(feed)
    }

    /// An open feed by name; not the source.
    pub fn feed(&self, name: &str) -> Option<Arc<Feed>> {
        lock(&self.feeds).get(name).cloned()
    }

    /// Ends a feed and forgets it; its readers drain what it holds.
    pub fn close_feed(&self, name: &str) {
        let feed = lock(&self.feeds).remove(name);
        if let Some(feed) = feed {
            feed.end();
        }
    }

    /// Where the stream is in its life.
    pub fn state(&self) -> StreamState {
        *lock(&self.state)
    }

    /// Moves the stream on, and tells subscribers. A final state stays: returns whether it changed.
    pub fn set_state(&self, next: StreamState) -> bool {
        let Some(this) = self.this.upgrade() else {
            return false;
        };
        // Held while the event is sent, so that subscribers see states in their order.
        let mut state = lock(&self.state);
        if *state == next || state.is_final() {
            return false;
        }
        *state = next;
        self.bus.send(&StreamEvent::StateChanged(Arc::clone(&this), next));
        if next.is_final() {
            self.bus.send(&StreamEvent::Ended(this));
            drop(state);
            self.source.end();
            lock(&self.feeds).values().for_each(|feed| feed.end());
        }
        true
    }

    /// Counters.
    pub fn stats(&self) -> &StreamStats {
        &self.stats
    }

    /// Sentences for the person who can act.
    pub fn notices(&self) -> &NoticeBoard {
        &self.notices
    }

    /// Media time -> wall clock, as it stands now. `None` before the first sample.
    pub fn origin(&self) -> Option<ClockMap> {
        self.origin_tracker().map(|tracker| tracker.map())
    }

    pub(crate) fn origin_tracker(&self) -> Option<ClockTracker> {
        *lock(&self.clock)
    }

    /// A source sample of this media time arrived.
    pub(crate) fn observe_clock(&self, media_us: i64, now: Micros, has_discontinuity: bool) {
        let mut clock = lock(&self.clock);
        let tracker = clock.get_or_insert_with(|| ClockTracker::new(media_us, now));
        if has_discontinuity {
            tracker.restart_window(now);
        }
        if tracker.observe(media_us, now) {
            self.stats
                .clock_drift_us
                .store(tracker.drift_us(), Ordering::Relaxed);
        }
    }
}
