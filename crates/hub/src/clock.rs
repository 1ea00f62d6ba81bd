//! Media time <-> wall clock.

use media::{MediaTime, Micros};

/// An affine map from the stream's media time to the process's monotonic clock:
/// `us = anchor_us + (media - anchor_media) * (1 + ppm / 10^6)`.
///
/// Media 0 lies where the first sample arrived; later values slew by at most 500 ppm towards the earliest arrivals.
/// A copy is a snapshot: take one per segment, not one for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClockMap {
    /// Media time of the anchor, microseconds.
    pub anchor_media_us: i64,
    /// Wall clock of the anchor.
    pub anchor_us: Micros,
    /// Slew, parts per million, within +-500.
    pub ppm: i32,
}

impl ClockMap {
    /// When this media time was due to arrive; saturates at 0.
    pub fn media_to_us(&self, media: MediaTime) -> Micros {
        self.media_us_to_us(media.micros())
    }

    /// As [`media_to_us`](Self::media_to_us), from microseconds of media time.
    pub fn media_us_to_us(&self, media_us: i64) -> Micros {
        let delta = i128::from(media_us) - i128::from(self.anchor_media_us);
        let us = i128::from(self.anchor_us) + delta + delta * i128::from(self.ppm) / 1_000_000;
        u64::try_from(us.max(0)).unwrap_or(u64::MAX)
    }

    /// The media time, in microseconds, that is due at `now`; negative before media 0.
    pub fn us_to_media_us(&self, now: Micros) -> i64 {
        let delta = i128::from(now) - i128::from(self.anchor_us);
        let media = i128::from(self.anchor_media_us) + delta * 1_000_000 / (1_000_000 + i128::from(self.ppm));
        i64::try_from(media).unwrap_or(if media < 0 { i64::MIN } else { i64::MAX })
    }
}
