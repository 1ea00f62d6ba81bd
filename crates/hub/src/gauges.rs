//! Rates of one publisher: bits and pictures a second, GOP lengths.

use std::sync::atomic::Ordering;

use media::{MediaKind, Micros};

use crate::StreamStats;

/// Rates are worked out over windows of this length.
const WINDOW_US: u64 = 1_000_000;

/// Running sums of the window in work.
#[derive(Debug)]
pub(crate) struct Gauges {
    began_us: Micros,
    bytes: u64,
    pictures: u64,
    first_picture_us: Option<i64>,
    last_picture_us: i64,
    keyframe_us: Option<i64>,
}

impl Gauges {
    pub(crate) fn new(now: Micros) -> Self {
        Self {
            began_us: now,
            bytes: 0,
            pictures: 0,
            first_picture_us: None,
            last_picture_us: 0,
            keyframe_us: None,
        }
    }

    /// Payload came in, of use or not.
    pub(crate) fn arrived(&mut self, stats: &StreamStats, bytes: usize, now: Micros) {
        let bytes = bytes as u64;
        stats.bytes_in.fetch_add(bytes, Ordering::Relaxed);
        stats.last_arrival_us.store(now, Ordering::Relaxed);
        let elapsed_us = now.saturating_sub(self.began_us);
        if elapsed_us >= WINDOW_US {
            let bits = self.bytes.saturating_mul(8_000_000) / elapsed_us;
            stats.bits_per_second.store(bits, Ordering::Relaxed);
            (self.began_us, self.bytes) = (now, 0);
            self.publish_frame_rate(stats);
        }
        self.bytes += bytes;
    }

    /// A sample goes into the feed at this media time.
    pub(crate) fn emitted(&mut self, stats: &StreamStats, kind: MediaKind, is_sync: bool, dts_us: i64) {
        if kind == MediaKind::Audio {
            stats.audio_frames.fetch_add(1, Ordering::Relaxed);
            return;
        }
        stats.video_frames.fetch_add(1, Ordering::Relaxed);
        self.pictures += 1;
        self.first_picture_us.get_or_insert(dts_us);
        self.last_picture_us = dts_us;
        let gop_ms = self
            .keyframe_us
            .map(|keyframe_us| (dts_us - keyframe_us).max(0).unsigned_abs() / 1000);
        if let Some(gop_ms) = gop_ms {
            stats.gop_max_ms.fetch_max(gop_ms, Ordering::Relaxed);
        }
        if is_sync {
            stats.keyframes.fetch_add(1, Ordering::Relaxed);
            self.keyframe_us = Some(dts_us);
            if let Some(gop_ms) = gop_ms {
                stats.gop_last_ms.store(gop_ms, Ordering::Relaxed);
            }
        }
    }

    fn publish_frame_rate(&mut self, stats: &StreamStats) {
        let Some(first_us) = self.first_picture_us else {
            return;
        };
        let span_us = (self.last_picture_us - first_us).max(0).unsigned_abs();
        if self.pictures > 1 && span_us > 0 {
            let milli = (self.pictures - 1).saturating_mul(1_000_000_000) / span_us;
            stats.frame_rate_milli.store(milli, Ordering::Relaxed);
        }
        (self.pictures, self.first_picture_us) = (1, Some(self.last_picture_us));
    }
}
