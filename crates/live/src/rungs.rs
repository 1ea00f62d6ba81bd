//! From the transcode thread into a hub feed.

use std::sync::Arc;

use hub::Feed;
use media::{MediaKind, Sample, Track};
use transcode::RungSink;

/// Writes one rung, or the transcoded audio, into its feed.
pub(crate) struct FeedSink {
    feed: Arc<Feed>,
    kind: MediaKind,
}

impl FeedSink {
    pub(crate) fn boxed(feed: Arc<Feed>, kind: MediaKind) -> Box<dyn RungSink> {
        Box::new(Self { feed, kind })
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
