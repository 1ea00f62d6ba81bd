//! Exact media time.

use std::cmp::Ordering;
use std::num::NonZeroU32;

/// Ticks per second of every video timeline inside Tidewire.
pub const VIDEO_TIMESCALE: NonZeroU32 = match NonZeroU32::new(90_000) {
    Some(timescale) => timescale,
    None => unreachable!(),
};

/// Ticks per second of the FLV and RTMP timelines.
pub const MILLISECONDS: NonZeroU32 = match NonZeroU32::new(1_000) {
    Some(timescale) => timescale,
    None => unreachable!(),
};

/// A point or a span on a media timeline: `ticks / timescale` seconds.
///
/// Equality and order compare the instant, not the representation: `1/2 == 2/4`.
/// Arithmetic is exact and checked; there is no conversion from floating point.
#[derive(Clone, Copy, Debug)]
pub struct MediaTime {
    /// Count of `1 / timescale` seconds; may be negative.
    pub ticks: i64,
    /// Ticks per second.
    pub timescale: NonZeroU32,
}

impl MediaTime {
    /// `ticks / timescale` seconds.
    pub const fn new(ticks: i64, timescale: NonZeroU32) -> Self {
        Self { ticks, timescale }
    }

    /// A whole number of milliseconds.
    pub const fn from_millis(millis: i64) -> Self {
        Self::new(millis, MILLISECONDS)
    }

    /// The same instant in another timescale, rounded to the nearest tick (ties away from zero).
    ///
    /// `None` if the result does not fit in 64 bits.
    pub fn rescale(self, timescale: NonZeroU32) -> Option<Self> {
        rescale(self.ticks, self.timescale, timescale).map(|ticks| Self::new(ticks, timescale))
    }

    /// Sum in the timescale of `self`; `None` on overflow.
    pub fn checked_add(self, other: Self) -> Option<Self> {
        let other = other.rescale(self.timescale)?;
        Some(Self::new(self.ticks.checked_add(other.ticks)?, self.timescale))
    }

    /// Difference in the timescale of `self`; `None` on overflow.
    pub fn checked_sub(self, other: Self) -> Option<Self> {
        let other = other.rescale(self.timescale)?;
        Some(Self::new(self.ticks.checked_sub(other.ticks)?, self.timescale))
    }

    /// Microseconds, rounded to the nearest; saturates at the ends of `i64`.
    pub fn micros(self) -> i64 {
        let value = div_round(
            i128::from(self.ticks) * 1_000_000,
            i128::from(self.timescale.get()),
        );
        i64::try_from(value).unwrap_or(if value < 0 { i64::MIN } else { i64::MAX })
    }
}

impl PartialEq for MediaTime {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for MediaTime {}

impl PartialOrd for MediaTime {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for MediaTime {
    fn cmp(&self, other: &Self) -> Ordering {
        let left = i128::from(self.ticks) * i128::from(other.timescale.get());
        let right = i128::from(other.ticks) * i128::from(self.timescale.get());
        left.cmp(&right)
    }
}

/// `ticks` of `from` expressed in `to`, rounded to the nearest tick (ties away from zero).
///
/// `None` if the result does not fit in 64 bits.
pub fn rescale(ticks: i64, from: NonZeroU32, to: NonZeroU32) -> Option<i64> {
    if from == to {
        return Some(ticks);
    }
    let value = div_round(i128::from(ticks) * i128::from(to.get()), i128::from(from.get()));
    i64::try_from(value).ok()
}

fn div_round(numerator: i128, denominator: i128) -> i128 {
    let half = denominator / 2;
    if numerator >= 0 {
        (numerator + half) / denominator
    } else {
        (numerator - half) / denominator
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scale(timescale: u32) -> NonZeroU32 {
        NonZeroU32::new(timescale).unwrap()
    }

    #[test]
    fn equality_is_of_instants() {
        assert_eq!(MediaTime::new(1, scale(2)), MediaTime::new(2, scale(4)));
        assert!(MediaTime::new(1, scale(3)) < MediaTime::new(1, scale(2)));
        assert!(MediaTime::new(-1, scale(3)) > MediaTime::new(-1, scale(2)));
    }

    #[test]
    fn rescale_rounds_to_nearest_and_is_symmetric() {
        assert_eq!(rescale(33, MILLISECONDS, VIDEO_TIMESCALE), Some(2970));
        assert_eq!(rescale(1, scale(3), scale(2)), Some(1));
        assert_eq!(rescale(-1, scale(3), scale(2)), Some(-1));
        assert_eq!(rescale(i64::MAX, scale(1), scale(2)), None);
    }

    #[test]
    fn arithmetic_is_checked() {
        let end = MediaTime::new(i64::MAX, MILLISECONDS);
        assert!(end.checked_add(MediaTime::from_millis(1)).is_none());
        assert_eq!(
            MediaTime::from_millis(5).checked_sub(MediaTime::from_millis(7)),
            Some(MediaTime::from_millis(-2))
        );
    }
}
