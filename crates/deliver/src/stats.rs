//! Counters of the HTTP server: one shard for each core, summed when they are read.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use access::Refusal;

/// What a request was for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// HLS multivariant and media playlists.
    Playlist,
    /// One part.
    Part,
    /// A whole segment or one in progress.
    Segment,
    /// An initialization segment.
    Init,
    /// A DASH manifest.
    Mpd,
    /// Everything under `/api`, and the operations paths.
    Api,
    /// Pages and their assets.
    Page,
    /// Thumbnails, refused requests and the rest.
    Other,
}

impl Class {
    /// All of them, in the order of [`HttpSnapshot::classes`].
    pub const ALL: [Self; 8] = [
        Self::Playlist,
        Self::Part,
        Self::Segment,
        Self::Init,
        Self::Mpd,
        Self::Api,
        Self::Page,
        Self::Other,
    ];

    /// The label value in metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Playlist => "playlist",
            Self::Part => "part",
            Self::Segment => "segment",
            Self::Init => "init",
            Self::Mpd => "mpd",
            Self::Api => "api",
            Self::Page => "page",
            Self::Other => "other",
        }
    }
}

/// Why a connection ended or was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CloseReason {
    /// The peer closed it, or it ended after its last response.
    Done,
    /// The peer or the network broke it in the middle.
    Broken,
    /// Not HTTP, or a head over the limits.
    Malformed,
    /// No request for `idle_timeout`.
    IdleTimeout,
    /// No whole request head within `head_timeout`.
    HeadTimeout,
    /// Less than `progress_bytes_min` taken within `progress_window`.
    SlowReader,
    /// No TLS handshake within `handshake_timeout`.
    HandshakeTimeout,
    /// TLS handshake refused or failed.
    HandshakeFailed,
    /// Refused: `connections_max` are open.
    TooMany,
    /// Refused: `connections_per_address_max` are open from there.
    TooManyFromAddress,
    /// A panic outside of a request.
    Panic,
    /// Cut at the end of a shutdown's `drain_timeout`.
    Shutdown,
}

impl CloseReason {
    /// All of them, in the order of [`HttpSnapshot::closed`].
    pub const ALL: [Self; 12] = [
        Self::Done,
        Self::Broken,
        Self::Malformed,
        Self::IdleTimeout,
        Self::HeadTimeout,
        Self::SlowReader,
        Self::HandshakeTimeout,
        Self::HandshakeFailed,
        Self::TooMany,
        Self::TooManyFromAddress,
        Self::Panic,
        Self::Shutdown,
    ];

    /// The label value in metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Broken => "broken",
            Self::Malformed => "malformed",
            Self::IdleTimeout => "idle_timeout",
            Self::HeadTimeout => "head_timeout",
            Self::SlowReader => "slow_reader",
            Self::HandshakeTimeout => "handshake_timeout",
            Self::HandshakeFailed => "handshake_failed",
            Self::TooMany => "too_many",
            Self::TooManyFromAddress => "too_many_from_address",
            Self::Panic => "panic",
            Self::Shutdown => "shutdown",
        }
    }
}

/// Upper bounds of the latency buckets, microseconds; one more bucket takes the rest.
pub const LATENCY_BOUNDS_US: [u64; 12] = [
    10, 25, 50, 100, 250, 1_000, 5_000, 20_000, 100_000, 500_000, 2_000_000, 10_000_000,
];

const BUCKETS: usize = LATENCY_BOUNDS_US.len() + 1;
/// Index = status / 100 - 1.
const STATUS_CLASSES: usize = 5;

#[derive(Debug, Default)]
struct AtomicHistogram {
    buckets: [AtomicU64; BUCKETS],
    sum_us: AtomicU64,
}

impl AtomicHistogram {
    fn record(&self, time: Duration) {
        let us = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        let bucket = LATENCY_BOUNDS_US
            .iter()
            .position(|bound| us <= *bound)
            .unwrap_or(BUCKETS - 1);
        self.buckets[bucket].fetch_add(1, Ordering::Relaxed);
        self.sum_us.fetch_add(us, Ordering::Relaxed);
    }

    fn add_to(&self, sum: &mut Histogram) {
        for (into, from) in sum.buckets.iter_mut().zip(&self.buckets) {
            *into += from.load(Ordering::Relaxed);
        }
        sum.sum_us += self.sum_us.load(Ordering::Relaxed);
    }
}

#[derive(Debug, Default)]
struct ClassShard {
    by_status: [AtomicU64; STATUS_CLASSES],
    bytes: AtomicU64,
    service: AtomicHistogram,
    held: AtomicHistogram,
}

/// The counters that one core writes; nobody else writes there, so that no cache line travels.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct Shard {
    classes: [ClassShard; Class::ALL.len()],
    closed: [AtomicU64; CloseReason::ALL.len()],
    accepted: AtomicU64,
    open: AtomicI64,
    held_now: AtomicI64,
    panics: AtomicU64,
    accept_errors: AtomicU64,
    token_refusals: [AtomicU64; Refusal::ALL.len()],
}

impl Shard {
    /// One response head made. `held` is how long the request waited for media, `service` the rest.
    pub(crate) fn response(&self, class: Class, status: u16, service: Duration, held: Option<Duration>) {
        let counters = &self.classes[class as usize];
        let index = usize::from((status / 100).clamp(1, 5)) - 1;
        counters.by_status[index].fetch_add(1, Ordering::Relaxed);
        counters.service.record(service);
        if let Some(held) = held {
            counters.held.record(held);
        }
    }

    pub(crate) fn body_bytes(&self, class: Class, bytes: u64) {
        self.classes[class as usize]
            .bytes
            .fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn accepted(&self) {
        self.accepted.fetch_add(1, Ordering::Relaxed);
        self.open.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn refused(&self, reason: CloseReason) {
        self.closed[reason as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn closed(&self, reason: CloseReason) {
        self.open.fetch_sub(1, Ordering::Relaxed);
        self.closed[reason as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn hold(&self, change: i64) {
        self.held_now.fetch_add(change, Ordering::Relaxed);
    }

    pub(crate) fn panicked(&self) {
        self.panics.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn token_refused(&self, refusal: Refusal) {
        self.token_refusals[refusal as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn accept_failed(&self) {
        self.accept_errors.fetch_add(1, Ordering::Relaxed);
    }
}

/// Counters of an HTTP server; cheap to write from every core, summed by [`HttpStats::snapshot`].
#[derive(Debug)]
pub struct HttpStats {
    shards: Vec<Arc<Shard>>,
}

impl HttpStats {
    /// Counters for `cores` writers.
    pub fn new(cores: usize) -> Self {
        Self {
            shards: (0..cores.max(1)).map(|_| Arc::default()).collect(),
        }
    }

    pub(crate) fn shard(&self, core: usize) -> &Arc<Shard> {
        &self.shards[core % self.shards.len()]
    }

    /// The sums so far. Counters written meanwhile may or may not be in it.
    pub fn snapshot(&self) -> HttpSnapshot {
        let mut sum = HttpSnapshot::default();
        for shard in &self.shards {
            for (into, from) in sum.classes.iter_mut().zip(&shard.classes) {
                for (into, from) in into.by_status.iter_mut().zip(&from.by_status) {
                    *into += from.load(Ordering::Relaxed);
                }
                into.bytes += from.bytes.load(Ordering::Relaxed);
                from.service.add_to(&mut into.service);
                from.held.add_to(&mut into.held);
            }
            for (into, from) in sum.closed.iter_mut().zip(&shard.closed) {
                *into += from.load(Ordering::Relaxed);
            }
            for (into, from) in sum.token_refusals.iter_mut().zip(&shard.token_refusals) {
                *into += from.load(Ordering::Relaxed);
            }
            sum.accepted += shard.accepted.load(Ordering::Relaxed);
            sum.open += shard.open.load(Ordering::Relaxed);
            sum.held_now += shard.held_now.load(Ordering::Relaxed);
            sum.panics += shard.panics.load(Ordering::Relaxed);
            sum.accept_errors += shard.accept_errors.load(Ordering::Relaxed);
        }
        sum
    }
}

/// A histogram over [`LATENCY_BOUNDS_US`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Histogram {
    /// Counts per bucket, not cumulative; the last is above every bound.
    pub buckets: [u64; BUCKETS],
    /// Sum of all times, microseconds.
    pub sum_us: u64,
}

impl Histogram {
    /// How many times were recorded.
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }
}

/// Sums of one class.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClassSnapshot {
    /// Responses by status class: 1xx, 2xx, 3xx, 4xx, 5xx.
    pub by_status: [u64; STATUS_CLASSES],
    /// Body bytes handed to the connection.
    pub bytes: u64,
    /// Time from the request head to the response head, less the time held.
    pub service: Histogram,
    /// Time that held requests waited for media that did not exist yet.
    pub held: Histogram,
}

/// Sums over all cores.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HttpSnapshot {
    /// By class, in the order of [`Class::ALL`].
    pub classes: [ClassSnapshot; Class::ALL.len()],
    /// Connections ended or refused, in the order of [`CloseReason::ALL`].
    pub closed: [u64; CloseReason::ALL.len()],
    /// Connections accepted.
    pub accepted: u64,
    /// Connections open now.
    pub open: i64,
    /// Requests held now.
    pub held_now: i64,
    /// Requests that panicked and were answered 500, and connections lost to a panic.
    pub panics: u64,
    /// `accept` calls that failed, such as for want of file descriptors.
    pub accept_errors: u64,
    /// Requests whose token was refused, in the order of [`Refusal::ALL`].
    pub token_refusals: [u64; Refusal::ALL.len()],
}

impl HttpSnapshot {
    /// The sums of one class.
    pub fn class(&self, class: Class) -> &ClassSnapshot {
        &self.classes[class as usize]
    }

    /// Connections ended or refused for one reason.
    pub fn closed_for(&self, reason: CloseReason) -> u64 {
        self.closed[reason as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_match_discriminants() {
        for (index, class) in Class::ALL.into_iter().enumerate() {
            assert_eq!(class as usize, index);
        }
        for (index, reason) in CloseReason::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, index);
        }
        for (index, refusal) in Refusal::ALL.into_iter().enumerate() {
            assert_eq!(refusal as usize, index);
        }
    }

    #[test]
    fn shards_are_summed() {
        let stats = HttpStats::new(2);
        stats
            .shard(0)
            .response(Class::Part, 200, Duration::from_micros(7), None);
        stats.shard(1).response(
            Class::Part,
            206,
            Duration::from_secs(60),
            Some(Duration::from_millis(3)),
        );
        stats.shard(1).body_bytes(Class::Part, 10);
        let sum = stats.snapshot();
        let part = sum.class(Class::Part);
        assert_eq!(part.by_status, [0, 2, 0, 0, 0]);
        assert_eq!((part.service.count(), part.held.count(), part.bytes), (2, 1, 10));
        assert_eq!(part.service.buckets[BUCKETS - 1], 1);
    }
}
