//! Renditions into the hub.

use std::sync::Arc;

use hub::Feed;
use media::{MediaKind, Sample, Track};

use crate::RungSink;

/// Writes one rendition into a hub feed: loss becomes a discontinuity, the end ends the feed.
pub struct FeedSink {
    feed: Arc<Feed>,
    kind: MediaKind,
}

impl FeedSink {
    /// For samples of `kind`.
    pub fn new(feed: Arc<Feed>, kind: MediaKind) -> Self {
        Self { feed, kind }
    }
}

impl RungSink for FeedSink {
    fn set_track(&mut self, track: Arc<Track>) {
        self.feed.set_track(track);
    }

    fn sample(&mut self, sample: Arc<Sample>) {
        self.feed.push(self.kind, sample);
    }

    fn lost(&mut self) {
        self.feed.discontinuity();
    }

    fn ended(&mut self) {
        self.feed.end();
    }
}
