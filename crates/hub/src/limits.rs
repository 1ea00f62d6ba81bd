//! Every bound of the hub, by name.

/// Bounds of one [`Feed`](crate::Feed)'s ring.
///
/// Worst case of memory: `bytes_max` of payload + `samples_max` x about 200 bytes (entry, `Arc<Sample>`, `Bytes`).
/// With the defaults 32 MiB + 1.6 MiB; a 1.1 Mb/s stream with a 2 s GOP holds `keep_us` of media, about 0.3 MB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FeedLimits {
    /// Payload bytes in the ring. The newest sample stays even when it alone is larger. Default 32 MiB.
    pub bytes_max: usize,
    /// Entries (samples, tracks, discontinuities) in the ring. Default 8192.
    pub samples_max: usize,
    /// Media time from the oldest to the newest sample, holes counted as one second each, microseconds. Default 30 s.
    pub span_max_us: u64,
    /// What is older than this and older than the last sync sample leaves the ring: the slack of a reader that lags.
    /// Microseconds, default 2 s.
    pub keep_us: u64,
}

impl Default for FeedLimits {
    fn default() -> Self {
        Self {
            bytes_max: 32 << 20,
            samples_max: 8192,
            span_max_us: 30_000_000,
            keep_us: 2_000_000,
        }
    }
}

/// Bounds of the [`Registry`](crate::Registry) and of each stream in it.
///
/// Worst case of memory: `streams_max` x (`feeds_per_stream_max` + 1) x the worst case of [`FeedLimits`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Streams that exist at once, those within their grace window included. Default 1000.
    pub streams_max: usize,
    /// Feeds of one stream beside its source. Default 16.
    pub feeds_per_stream_max: usize,
    /// How long a stream waits for its publisher to come back, microseconds. Default 10 s.
    pub reconnect_grace_us: u64,
    /// Undelivered events of one [`Events`](crate::Events) subscriber. Default 4096.
    pub events_max: usize,
    /// Of each feed.
    pub feed: FeedLimits,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            streams_max: 1000,
            feeds_per_stream_max: 16,
            reconnect_grace_us: 10_000_000,
            events_max: 4096,
            feed: FeedLimits::default(),
        }
    }
}
