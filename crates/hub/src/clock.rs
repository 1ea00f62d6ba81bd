//! Media time <-> wall clock.

use media::{MediaTime, Micros};

/// An affine map from the stream's media time to the process's monotonic clock:
/// `us = anchor_us + (media - anchor_media) * (1 + ppm / 10^6)`.
///
/// Media 0 lies where the least delayed sample of the first seconds would have put it; later values slew by at most 500 ppm
/// towards the earliest arrivals.
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

/// Arrivals are judged in windows of this length: the least delayed of each counts.
const WINDOW_US: u64 = 2_000_000;
/// An encoder that has just connected sends what it gathered meanwhile: its first samples come late by as much as the
/// connection took. For so long an arrival that is earlier moves the map at once; nothing has been published from it yet.
const WARM_UP_US: u64 = 2_500_000;
/// Fastest slew.
const SLEW_MAX_PPM: i64 = 500;
/// The time in which an error is to be gone, where the slew suffices.
const CORRECTION_US: i64 = 10_000_000;

/// Keeps the map true: compares each window's least delayed arrival with it, and slews.
///
/// Delay on the way only ever makes an arrival late, so the earliest ones show the publisher's clock; a stalled
/// connection and the burst after it move nothing.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ClockTracker {
    map: ClockMap,
    first_media_us: i64,
    first_us: Micros,
    /// How much earlier than the first sample's arrival the map was put.
    warm_up_us: i64,
    window_began_us: Micros,
    least_error_us: Option<i64>,
    lag_us: i64,
}

impl ClockTracker {
    pub(crate) fn new(media_us: i64, now: Micros) -> Self {
        Self {
            map: ClockMap {
                anchor_media_us: media_us,
                anchor_us: now,
                ppm: 0,
            },
            first_media_us: media_us,
            first_us: now,
            warm_up_us: 0,
            window_began_us: now,
            least_error_us: None,
            lag_us: 0,
        }
    }

    pub(crate) fn map(&self) -> ClockMap {
        self.map
    }

    /// How late the least delayed arrival of the last window was, against the map; negative: early.
    pub(crate) fn lag_us(&self) -> i64 {
        self.lag_us
    }

    /// How far the map has been slewed since it was settled.
    pub(crate) fn drift_us(&self) -> i64 {
        let media_us = i128::from(self.map.anchor_media_us) - i128::from(self.first_media_us);
        let wall_us = i128::from(self.map.anchor_us) - i128::from(self.first_us);
        i64::try_from(wall_us - media_us + i128::from(self.warm_up_us)).unwrap_or(0)
    }

    /// Takes note of an arrival. Returns whether a window ended with it (the map may be another one now).
    pub(crate) fn observe(&mut self, media_us: i64, now: Micros) -> bool {
        let due_us = i128::from(self.map.media_us_to_us(media_us));
        let mut error_us = i64::try_from(i128::from(now) - due_us).unwrap_or(i64::MAX);
        if error_us < 0 && now.saturating_sub(self.first_us) < WARM_UP_US {
            self.map.anchor_us = self.map.anchor_us.saturating_add_signed(error_us);
            self.warm_up_us -= error_us;
            (self.least_error_us, error_us) = (None, 0);
        }
        self.least_error_us = Some(
            self.least_error_us
                .map_or(error_us, |least_us| least_us.min(error_us)),
        );
        if now.saturating_sub(self.window_began_us) < WINDOW_US {
            return false;
        }
        self.window_began_us = now;
        self.lag_us = self.least_error_us.take().unwrap_or(0);
        let ppm = (self.lag_us / (CORRECTION_US / 1_000_000)).clamp(-SLEW_MAX_PPM, SLEW_MAX_PPM);
        self.map = ClockMap {
            anchor_media_us: self.map.us_to_media_us(now),
            anchor_us: now,
            ppm: i32::try_from(ppm).unwrap_or(0),
        };
        true
    }

    /// The timeline has a hole at `now`: arrivals before and after are not compared with one another.
    pub(crate) fn restart_window(&mut self, now: Micros) {
        self.window_began_us = now;
        self.least_error_us = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds 25 arrivals a second for `seconds`; the media clock runs `ppm` fast, each arrival is `delay(n)` late.
    fn run(tracker: &mut ClockTracker, seconds: u64, ppm: i64, delay: impl Fn(u64) -> u64) -> (i64, i64) {
        let (mut worst_us, mut last_us) = (0, 0);
        for number in 1..seconds * 25 {
            let wall_us = number * 40_000;
            let media_us = i64::try_from(wall_us).unwrap() * (1_000_000 + ppm) / 1_000_000;
            let previous = tracker.map();
            if tracker.observe(media_us, 1_000_000 + wall_us + delay(number)) && wall_us > WARM_UP_US {
                let map = tracker.map();
                let (old, new) = (previous.media_us_to_us(media_us), map.media_us_to_us(media_us));
                assert!(
                    old.abs_diff(new) <= 1 + delay(number) / 1000,
                    "the map is continuous"
                );
                assert!(map.ppm.abs() <= 500);
            }
            last_us = tracker.map().media_us_to_us(media_us) as i64 - (1_000_000 + wall_us) as i64;
            worst_us = worst_us.max(last_us.abs());
        }
        (worst_us, last_us)
    }

    #[test]
    fn jitter_and_stalls_do_not_move_the_map() {
        let mut tracker = ClockTracker::new(0, 1_000_000);
        let (worst_us, _) = run(&mut tracker, 120, 0, |number| {
            number * 7919 % 60_000 / 1000 * 1000
        });
        assert!(worst_us < 20_000, "{worst_us}");
        let mut tracker = ClockTracker::new(0, 1_000_000);
        // Every ten seconds nothing comes for a second, then all at once.
        let (worst_us, _) = run(&mut tracker, 120, 0, |n| 40_000 * (25 - (n % 250).min(25)));
        assert!(worst_us < 2_000, "{worst_us}");
    }

    #[test]
    fn an_encoder_that_sends_what_it_gathered_while_connecting_is_not_late_for_ever() {
        let mut tracker = ClockTracker::new(0, 1_600_000);
        // The first half second of media comes at once, 600 ms after its first picture was taken; then on time.
        let (worst_us, last_us) = run(&mut tracker, 20, 0, |number| {
            600_000_u64.saturating_sub(number * 40_000)
        });
        assert!(
            worst_us < 600_000 && last_us.abs() < 1_000,
            "{worst_us} {last_us}"
        );
        assert!(tracker.drift_us().abs() < 1_000, "{}", tracker.drift_us());
    }

    #[test]
    fn a_crystal_off_by_200_ppm_is_followed() {
        for ppm in [-200, 200] {
            let mut tracker = ClockTracker::new(0, 1_000_000);
            let (worst_us, _) = run(&mut tracker, 3600, ppm, |_| 0);
            assert!(worst_us < 6_000, "{worst_us}");
            assert!(
                (tracker.drift_us() + ppm * 3600).abs() < 10_000,
                "{}",
                tracker.drift_us()
            );
        }
    }

    #[test]
    fn the_two_directions_agree() {
        for ppm in [-500, -3, 0, 500] {
            let map = ClockMap {
                anchor_media_us: 5_000_000,
                anchor_us: 77_000_000,
                ppm,
            };
            for now in [77_000_000, 90_123_456, 1_000_000_000_000] {
                let back = map.media_us_to_us(map.us_to_media_us(now));
                assert!(back.abs_diff(now) <= 2, "{ppm} {now} {back}");
            }
        }
        let map = ClockMap {
            anchor_media_us: 0,
            anchor_us: 10,
            ppm: 500,
        };
        assert_eq!(map.media_us_to_us(i64::MIN), 0);
        map.us_to_media_us(u64::MAX);
    }
}
