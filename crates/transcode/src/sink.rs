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

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use hub::{FeedLimits, Item, Start};

    use super::*;

    #[test]
    fn a_feed_gets_all_of_it() {
        let feed = Feed::new("720p", FeedLimits::default());
        let mut reader = feed.reader(Start::Oldest);
        let mut sink = FeedSink::new(Arc::clone(&feed), MediaKind::Video);
        let data = Bytes::from_static(&[0; 8]);
        let sample = Sample {
            dts: 0,
            pts: 0,
            duration: 0,
            is_sync: true,
            is_disposable: false,
            arrived_us: 0,
            data,
        };
        sink.sample(Arc::new(sample));
        sink.lost();
        sink.ended();
        assert!(matches!(
            reader.try_next(),
            Some(Item::Sample(MediaKind::Video, _))
        ));
        assert!(matches!(reader.try_next(), Some(Item::Discontinuity)));
        assert!(matches!(reader.try_next(), Some(Item::End)));
    }
}
