//! What a publisher that is not on the air keeps, so that it can take over at once: pictures since its last IDR.

use std::collections::VecDeque;
use std::num::NonZeroU32;

use media::{MediaKind, MediaTime, Micros};

use crate::RawSample;

/// Whoever is on the air and silent for so long is replaced by a publisher that is there and sends: the players' part
/// of the delay (three parts, 0.75 s) hides most of it.
pub(crate) const SILENCE_US: u64 = 700_000;
/// A primary that is back takes over again at its first IDR after it has sent for so long without a pause.
const STEADY_US: u64 = 5_000_000;
/// A hole in what a standby sends, beyond which it counts as gone.
const PAUSE_US: u64 = 1_000_000;
/// Bounds of what is kept: a GOP beyond them is not kept, and the take-over waits for the next IDR.
const BYTES_MAX: usize = 32 << 20;
const SAMPLES_MAX: usize = 1_200;
/// Sound that is kept: what lies beside the squeezed pictures, at most.
const SOUNDS_MAX: usize = 256;
/// Distance of the pictures that are given late, microseconds: a decoder takes them all, nobody sees them.
const SQUEEZED_US: i64 = 1_100;
const MICROSECONDS: NonZeroU32 = match NonZeroU32::new(1_000_000) {
    Some(timescale) => timescale,
    None => unreachable!(),
};

/// A publisher that waits.
#[derive(Debug, Default)]
pub(crate) struct Standby {
    /// From the last IDR on, in decoding order; empty while there was none.
    pictures: Vec<RawSample>,
    /// The newest sound.
    sounds: VecDeque<RawSample>,
    bytes: usize,
    /// It has sent without a pause since then.
    steady_since: Option<Micros>,
    last_us: Micros,
}

impl Standby {
    /// Takes what the publisher sends while another one is on the air.
    pub(crate) fn keep(&mut self, raw: RawSample, now: Micros) {
        if self.steady_since.is_none() || now.saturating_sub(self.last_us) > PAUSE_US {
            self.steady_since = Some(now);
        }
        self.last_us = now;
        if raw.kind == MediaKind::Audio {
            if self.sounds.len() == SOUNDS_MAX {
                self.sounds.pop_front();
            }
            self.sounds.push_back(raw);
            return;
        }
        if raw.is_sync {
            self.clear();
        } else if self.pictures.is_empty() {
            return;
        }
        self.bytes += raw.data.len();
        self.pictures.push(raw);
        if self.bytes > BYTES_MAX || self.pictures.len() > SAMPLES_MAX {
            self.clear();
        }
    }

    /// It has sent long enough to be trusted.
    pub(crate) fn is_steady(&self, now: Micros) -> bool {
        self.steady_since
            .is_some_and(|since| now.saturating_sub(since) >= STEADY_US)
    }

    /// Forgets the pictures.
    pub(crate) fn clear(&mut self) {
        self.pictures.clear();
        self.bytes = 0;
    }

    /// The pictures, close together and ending with the newest one's own time, and the sound of just that time: a stream
    /// that continues with them starts at an IDR, loses no time and goes on as the publisher sends.
    pub(crate) fn take(&mut self) -> Vec<RawSample> {
        self.steady_since = None;
        self.bytes = 0;
        let mut kept = squeeze(std::mem::take(&mut self.pictures));
        let sounds = std::mem::take(&mut self.sounds);
        if let Some(begin_us) = kept.first().map(decode_us) {
            // The picture comes first: where it is put, the sound follows.
            kept.extend(sounds.into_iter().filter(|sound| decode_us(sound) >= begin_us));
            kept.sort_by_key(decode_us);
        }
        kept
    }
}

fn decode_us(raw: &RawSample) -> i64 {
    raw.dts.unwrap_or(raw.pts).micros()
}

/// Moves decode times to [`SQUEEZED_US`] apart before the last one; presentation times move with them, in order.
fn squeeze(mut pictures: Vec<RawSample>) -> Vec<RawSample> {
    let before: Vec<i64> = pictures.iter().map(decode_us).collect();
    let Some((&end_us, count)) = before.last().zip(i64::try_from(before.len()).ok()) else {
        return pictures;
    };
    let after = |index: usize| end_us - (count - 1 - i64::try_from(index).unwrap_or(0)) * SQUEEZED_US;
    let moved = |at_us: i64| {
        let next = before.partition_point(|&known| known <= at_us);
        match (next.checked_sub(1), before.get(next)) {
            // Beyond the newest decode time everything stays where it is.
            (Some(_), None) => at_us,
            (None, _) => after(0) - (before[0] - at_us).min(SQUEEZED_US),
            (Some(last), Some(&next_us)) => {
                let (from_us, span_us) = (before[last], (next_us - before[last]).max(1));
                after(last) + (at_us - from_us) * SQUEEZED_US / span_us
            }
        }
    };
    for raw in &mut pictures {
        raw.pts = MediaTime::new(moved(raw.pts.micros()), MICROSECONDS);
        raw.dts = raw
            .dts
            .map(|dts| MediaTime::new(moved(dts.micros()), MICROSECONDS));
    }
    pictures
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn picture(dts_ms: i64, pts_ms: i64, is_sync: bool) -> RawSample {
        RawSample {
            kind: MediaKind::Video,
            dts: Some(MediaTime::from_millis(dts_ms)),
            pts: MediaTime::from_millis(pts_ms),
            is_sync,
            is_disposable: false,
            data: Bytes::from_static(b"picture"),
        }
    }

    #[test]
    fn a_gop_is_squeezed_in_order_and_ends_in_its_own_time() {
        let mut standby = Standby::default();
        // Two B-frames between references: decoding order I P b b P b b.
        for (number, (dts, pts)) in [
            (0, 80),
            (40, 200),
            (80, 120),
            (120, 160),
            (160, 320),
            (200, 240),
            (240, 280),
        ]
        .into_iter()
        .enumerate()
        {
            standby.keep(picture(dts, pts, number == 0), number as u64 * 40_000);
        }
        let pictures = standby.take();
        let times: Vec<_> = pictures
            .iter()
            .map(|raw| (decode_us(raw), raw.pts.micros()))
            .collect();
        assert_eq!(times.last(), Some(&(240_000, 280_000)));
        assert!(
            times.windows(2).all(|pair| pair[1].0 - pair[0].0 == SQUEEZED_US),
            "{times:?}"
        );
        assert!(times.iter().all(|(dts, pts)| pts >= dts), "{times:?}");
        let mut shown: Vec<_> = pictures.iter().map(|raw| raw.pts.micros()).collect();
        let order = [0, 2, 3, 1, 5, 6, 4].map(|index| shown[index]);
        shown.sort_unstable();
        assert_eq!(shown, order, "the order of presentation stays");
        assert!(standby.take().is_empty());
    }

    #[test]
    fn only_the_newest_gop_is_kept_and_nothing_before_an_idr() {
        let mut standby = Standby::default();
        standby.keep(picture(0, 0, false), 0);
        assert!(standby.pictures.is_empty());
        for number in 0..5_i64 {
            standby.keep(
                picture(number * 40, number * 40, number % 3 == 0),
                number as u64 * 40_000,
            );
        }
        assert_eq!(standby.pictures.len(), 2);
        for number in 5..5 + SAMPLES_MAX as i64 {
            standby.keep(picture(number * 40, number * 40, false), number as u64 * 40_000);
        }
        assert!(standby.pictures.is_empty(), "a GOP beyond the bound is not kept");
    }

    #[test]
    fn sound_beside_the_squeezed_pictures_is_kept() {
        let mut standby = Standby::default();
        for number in 0..50_i64 {
            let at = number * 20;
            standby.keep(picture(at, at, number == 0), at as u64 * 1000);
            let sound = RawSample {
                kind: MediaKind::Audio,
                ..picture(at + 5, at + 5, true)
            };
            standby.keep(sound, at as u64 * 1000);
        }
        let kept = standby.take();
        let sounds: Vec<_> = kept
            .iter()
            .filter(|raw| raw.kind == MediaKind::Audio)
            .map(|raw| raw.pts.micros() / 1000)
            .collect();
        // 50 pictures take 54 ms before 980.
        assert_eq!(sounds, [945, 965, 985]);
        assert!(kept[0].kind == MediaKind::Video && kept[0].is_sync);
        assert!(
            kept.windows(2)
                .all(|pair| decode_us(&pair[0]) <= decode_us(&pair[1]))
        );
    }

    #[test]
    fn steady_is_who_sends_without_a_pause() {
        let mut standby = Standby::default();
        for millis in (0..6_000_u64).step_by(40) {
            standby.keep(picture(millis as i64, millis as i64, false), millis * 1000);
        }
        assert!(!standby.is_steady(4_000_000) && standby.is_steady(6_000_000));
        standby.keep(picture(8_000, 8_000, false), 8_000_000);
        assert!(!standby.is_steady(8_000_000));
    }
}
