use std::num::NonZeroU32;

use media::{FrameRate, MediaKind, Micros};

use super::*;
use crate::clock::ClockTracker;
use MediaKind::{Audio, Video};

/// What came out for one sample.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Out {
    pub(crate) kind: MediaKind,
    pub(crate) times: Times,
    /// Discontinuities so far.
    pub(crate) run: u32,
}

/// A timeline with the clock map that it has in a publisher.
#[derive(Debug, Default)]
pub(crate) struct Rig {
    pub(crate) timeline: Timeline,
    tracker: Option<ClockTracker>,
    pub(crate) outs: Vec<Out>,
    pub(crate) run: u32,
    pub(crate) counts: [u32; Repair::ALL.len()],
}

pub(crate) fn rate(frames: u32, seconds: u32) -> Option<FrameRate> {
    let part = |value| NonZeroU32::new(value).unwrap();
    Some(FrameRate {
        numerator: part(frames),
        denominator: part(seconds),
    })
}

impl Rig {
    pub(crate) fn new() -> Self {
        let mut rig = Self::default();
        rig.timeline.set_video(rate(30, 1), 2);
        rig.timeline.set_audio(NonZeroU32::new(48_000).unwrap(), 1024);
        rig
    }

    /// Times in microseconds; `now` too.
    pub(crate) fn push(&mut self, kind: MediaKind, raw: RawTimes, now: Micros) -> Option<Times> {
        let wall_us = self
            .tracker
            .map_or(0, |tracker| tracker.map().us_to_media_us(now));
        let outcome = self.timeline.push(kind, &raw, now, wall_us);
        for repair in outcome.repairs.iter() {
            self.counts[repair as usize] += 1;
        }
        self.run += u32::from(outcome.has_discontinuity);
        if let Some(times) = outcome.times {
            self.outs.push(Out {
                kind,
                times,
                run: self.run,
            });
            let tracker = self
                .tracker
                .get_or_insert_with(|| ClockTracker::new(times.dts_us, now));
            tracker.observe(times.dts_us, now);
        }
        outcome.times
    }

    /// Milliseconds.
    fn video(&mut self, dts: i64, cts: i64, is_sync: bool, now_ms: i64) -> Option<Times> {
        let (dts_us, pts_us) = (dts * 1000, (dts + cts) * 1000);
        self.push(
            Video,
            RawTimes {
                dts_us: Some(dts_us),
                pts_us,
                is_sync,
            },
            now_ms as u64 * 1000,
        )
    }

    fn audio(&mut self, dts: i64, now_ms: i64) -> Option<Times> {
        let raw = RawTimes {
            dts_us: Some(dts * 1000),
            pts_us: dts * 1000,
            is_sync: true,
        };
        self.push(Audio, raw, now_ms as u64 * 1000)
    }

    /// 30 pictures a second with two B pictures, a keyframe a second, and 48 kHz AAC, both rounded to milliseconds,
    /// interleaved. Times `from..to` ms of the encoder's clock, which is `wall - clock`.
    fn play(&mut self, from: i64, to: i64, clock: i64) {
        self.play_skewed(from, to, clock, 0);
    }

    /// Audio's clock is `skew` ms ahead of video's.
    fn play_skewed(&mut self, from: i64, to: i64, clock: i64, skew: i64) {
        let mut frames: Vec<(i64, MediaKind, i64)> = Vec::new();
        frames.extend(
            (0..)
                .map(|n| (n * 1000 / 30, Video, n))
                .skip_while(|f| f.0 < from)
                .take_while(|f| f.0 < to),
        );
        frames.extend(
            (0..)
                .map(|n| (n * 1024 / 48, Audio, n))
                .skip_while(|f| f.0 < from)
                .take_while(|f| f.0 < to),
        );
        frames.sort_by_key(|frame| frame.0);
        for (at, kind, number) in frames {
            let now_ms = at + clock;
            match kind {
                Video => self.video(
                    at,
                    [66, 133, 33, 0][(number % 4) as usize],
                    number % 30 == 0,
                    now_ms,
                ),
                Audio => self.audio(at + skew, now_ms),
            };
        }
    }

    pub(crate) fn count(&self, kind: Repair) -> u32 {
        self.counts[kind as usize]
    }

    fn kinds(&self) -> Vec<Repair> {
        Repair::ALL
            .into_iter()
            .filter(|&kind| self.count(kind) > 0)
            .collect()
    }

    pub(crate) fn track(&self, kind: MediaKind) -> Vec<Out> {
        self.outs.iter().copied().filter(|out| out.kind == kind).collect()
    }

    /// The invariants of the module's head, over everything that came out.
    pub(crate) fn check(&self) {
        for kind in [Video, Audio] {
            let outs = self.track(kind);
            for out in &outs {
                let cts = out.times.pts - out.times.dts;
                assert!(out.times.dts >= 0 && (0..=6 * 90_000).contains(&cts), "{out:?}");
                assert!(kind == Video || cts == 0 && out.times.duration > 0, "{out:?}");
            }
            for pair in outs.windows(2) {
                let [before, after] = [pair[0], pair[1]];
                assert!(before.times.dts < after.times.dts, "{before:?} {after:?}");
                let end = before.times.dts + i64::from(before.times.duration);
                if kind == Audio && before.run == after.run {
                    assert_eq!(end, after.times.dts, "{before:?} {after:?}");
                } else if kind == Audio {
                    assert!(end <= after.times.dts, "{before:?} {after:?}");
                }
            }
        }
    }

    fn last_ms(&self, kind: MediaKind) -> i64 {
        self.track(kind).last().map_or(0, |out| out.times.dts_us / 1000)
    }

    /// Audio behind video on the timeline, at the end.
    fn apart_ms(&self) -> i64 {
        self.last_ms(Video) - self.last_ms(Audio)
    }
}

#[test]
fn a_good_stream_is_not_touched() {
    let mut rig = Rig::new();
    rig.play(0, 60_000, 5_000);
    rig.check();
    assert_eq!((rig.kinds(), rig.run), (vec![], 0));
    for (number, out) in rig.track(Audio).iter().enumerate() {
        assert_eq!((out.times.dts, out.times.duration), (1024 * number as i64, 1024));
    }
    for (number, out) in rig.track(Video).iter().enumerate() {
        assert_eq!(
            (out.times.dts, out.times.duration),
            (number as i64 * 1000 / 30 * 90, 3000)
        );
    }
}

/// One row: what happens at second 10 of a good stream, and what must come of it.
struct Row {
    name: &'static str,
    act: fn(&mut Rig),
    /// Repairs that must have been made, no others.
    repairs: &'static [Repair],
    discontinuities: u32,
    /// Stream time of the last video sample, about, ms.
    ends_ms: i64,
}

const ROWS: &[Row] = &[
    Row {
        name: "the clock goes back to 0 at a keyframe",
        act: |rig| rig.play(0, 5_000, 10_000),
        repairs: &[Repair::BackwardJump],
        discontinuities: 1,
        ends_ms: 15_000,
    },
    Row {
        name: "the clock goes back to 0.4 s, mid-GOP",
        act: |rig| rig.play(400, 5_000, 9_600),
        repairs: &[Repair::Outlier, Repair::BackwardJump],
        discontinuities: 1,
        ends_ms: 14_600,
    },
    Row {
        name: "an hour ahead",
        act: |rig| rig.play(3_610_000, 3_615_000, -3_600_000),
        repairs: &[Repair::ForwardJump],
        discontinuities: 1,
        ends_ms: 15_000,
    },
    Row {
        name: "an hour ahead, mid-GOP",
        act: |rig| rig.play(3_610_500, 3_615_000, -3_600_500),
        repairs: &[Repair::Outlier, Repair::ForwardJump],
        discontinuities: 1,
        ends_ms: 14_500,
    },
    Row {
        name: "half a second is missing, the clock ran on",
        act: |rig| rig.play(10_500, 15_000, 0),
        repairs: &[Repair::AudioGap],
        discontinuities: 0,
        ends_ms: 15_000,
    },
    Row {
        name: "20 s are missing, the clock ran on",
        act: |rig| rig.play(30_000, 35_000, 0),
        repairs: &[Repair::Gap],
        discontinuities: 1,
        ends_ms: 35_000,
    },
    Row {
        name: "the connection stalls for 20 s, then all comes at once and stays late",
        act: |rig| rig.play(10_000, 15_000, 20_000),
        repairs: &[],
        discontinuities: 0,
        ends_ms: 15_000,
    },
    Row {
        name: "one stray hour in a P picture",
        act: |rig| {
            rig.video(3_600_000, 0, false, 10_000);
            rig.play(10_001, 15_000, 0);
        },
        repairs: &[Repair::Outlier],
        discontinuities: 0,
        ends_ms: 15_000,
    },
    Row {
        name: "one stray hour in audio",
        act: |rig| {
            rig.video(10_000, 66, true, 10_000);
            rig.audio(-3_600_000, 10_005);
            rig.play(10_006, 15_000, 0);
        },
        repairs: &[Repair::Outlier],
        discontinuities: 0,
        ends_ms: 15_000,
    },
];

#[test]
fn faults_at_second_ten() {
    for row in ROWS {
        let mut rig = Rig::new();
        rig.play(0, 10_000, 0);
        (row.act)(&mut rig);
        rig.check();
        assert_eq!(rig.kinds(), row.repairs, "{}", row.name);
        assert_eq!(rig.run, row.discontinuities, "{}", row.name);
        assert!(
            (rig.last_ms(Video) - row.ends_ms).abs() < 150,
            "{}: {}",
            row.name,
            rig.last_ms(Video)
        );
        assert!(
            rig.apart_ms().abs() < 60,
            "{}: audio and video {} ms apart",
            row.name,
            rig.apart_ms()
        );
    }
}

#[test]
fn a_wrap_that_nobody_unwrapped_is_a_jump() {
    let mut rig = Rig::new();
    for number in 0..900_i64 {
        let at = number * 1000 / 30;
        let raw = (u32::MAX - 10_000).wrapping_add(at as u32);
        rig.video(i64::from(raw), 66, number % 30 == 0, at);
        rig.audio(i64::from(raw) + 5, at);
    }
    rig.check();
    assert_eq!((rig.run, rig.count(Repair::BackwardJump)), (1, 1));
    assert!((rig.last_ms(Video) - 29_966).abs() < 100 && rig.apart_ms().abs() < 100);
}

#[test]
fn faster_than_real_time_and_then_another_publisher() {
    let mut rig = Rig::new();
    // Ten seconds of media in one second.
    for number in 0..300_i64 {
        rig.video(number * 1000 / 30, 66, number % 30 == 0, number * 100 / 30);
    }
    let end_us = rig.timeline.reached_us();
    rig.timeline.rejoin();
    let first = rig.video(0, 66, true, 1_500).unwrap();
    assert!(first.dts_us >= end_us, "nothing overlaps what was shown already");
    rig.check();
}

#[test]
fn stragglers_of_the_old_clock_do_not_confuse() {
    let mut rig = Rig::new();
    rig.play(0, 10_000, 0);
    rig.video(0, 66, true, 10_000);
    rig.audio(10_005, 10_005);
    rig.audio(10_026, 10_026);
    rig.play(34, 5_000, 10_000);
    rig.check();
    assert_eq!((rig.run, rig.count(Repair::Straggler)), (1, 2));
    assert!(rig.apart_ms().abs() < 60, "{}", rig.apart_ms());
}

#[test]
fn one_track_may_jump_alone() {
    let mut rig = Rig::new();
    rig.play(0, 10_000, 0);
    // Video's clock is an hour ahead from now on, audio's is not.
    rig.play_skewed(3_610_000, 3_620_000, -3_600_000, -3_600_000);
    rig.check();
    assert_eq!(rig.run, 1);
    assert!(rig.apart_ms().abs() < 60, "{}", rig.apart_ms());
    assert!((rig.last_ms(Audio) - 20_000).abs() < 60);
}

#[test]
fn origins_that_differ_by_seconds_are_aligned() {
    for skew in [-3_600_000, -7_000, 5_000, 3_600_000] {
        let mut rig = Rig::new();
        rig.play_skewed(0, 10_000, 0, skew);
        rig.check();
        assert_eq!(
            (rig.kinds(), rig.run),
            (vec![Repair::OriginMismatch], 0),
            "{skew}"
        );
        assert!(rig.apart_ms().abs() < 60, "{skew}: {}", rig.apart_ms());
    }
}

#[test]
fn audio_late_early_and_alone() {
    // Interleaved 800 ms late or early: times are true, nothing is repaired.
    for skew in [-800, 800] {
        let mut rig = Rig::new();
        rig.play_skewed(0, 40_000, 0, skew);
        rig.check();
        assert_eq!(
            (rig.kinds(), rig.run),
            (if skew < 0 { vec![Repair::Straggler] } else { vec![] }, 0)
        );
        assert!((rig.apart_ms() + skew).abs() < 60, "{skew}: {}", rig.apart_ms());
    }
    // Alone, from a clock that does not begin at 0.
    let mut rig = Rig::new();
    (0..500).for_each(|n| {
        rig.audio(77_000 + n * 1024 / 48, n * 1024 / 48);
    });
    rig.check();
    assert_eq!(
        (rig.kinds(), rig.outs[0].times.dts, rig.outs.len()),
        (vec![], 0, 500)
    );
    // Video alone, and audio half a minute after it.
    let mut rig = Rig::new();
    (0..900).for_each(|n| {
        rig.video(n * 1000 / 30, 0, n % 60 == 0, n * 1000 / 30);
    });
    rig.play(30_000, 40_000, 0);
    rig.check();
    assert_eq!((rig.kinds(), rig.run), (vec![], 0));
    assert!(rig.apart_ms().abs() < 60);
}

#[test]
fn audio_is_an_exact_count_through_jitter() {
    let mut rig = Rig::new();
    for number in 0..5_000_i64 {
        let jitter = (number * 7919 % 61) - 30;
        rig.audio(100 + number * 1024 / 48 + jitter, number * 1024 / 48);
    }
    rig.check();
    let outs = rig.track(Audio);
    let slewed = rig.count(Repair::AudioSlew);
    assert!(slewed < 1_500 && outs.iter().all(|out| (1023..=1025).contains(&out.times.duration)));
    assert_eq!(
        rig.kinds(),
        if slewed > 0 {
            vec![Repair::AudioSlew]
        } else {
            vec![]
        }
    );
}

#[test]
fn audio_drift_is_slewed_slowly() {
    // The sound card is 200 ppm fast or slow against the timestamps: an hour.
    for ppm in [-200, 200] {
        let mut rig = Rig::new();
        let frames = 3600 * 48_000 / 1024;
        for number in 0..frames {
            let at = number * 1024 * 1000 / 48;
            let at_us = at + at * ppm / 1_000_000;
            let raw = RawTimes {
                dts_us: Some(at_us / 1000 * 1000),
                pts_us: at_us / 1000 * 1000,
                is_sync: true,
            };
            rig.push(Audio, raw, at as u64);
            let error_us = rig.outs.last().unwrap().times.dts_us - at_us;
            assert!(
                error_us.abs() < 12_000,
                "{ppm} ppm: {error_us} us off at {number}"
            );
        }
        rig.check();
        assert_eq!((rig.kinds(), rig.run), (vec![Repair::AudioSlew], 0));
    }
}

#[test]
fn audio_that_overlaps_is_left_out_once() {
    let mut rig = Rig::new();
    rig.play(0, 10_000, 0);
    // The encoder sends the last 200 ms of sound again.
    for number in 459..469 {
        rig.audio(number * 1024 / 48, 10_000 + (number - 459) * 3);
    }
    rig.play(10_004, 20_000, 0);
    rig.check();
    assert_eq!(rig.run, 0);
    assert!(rig.apart_ms().abs() < 120, "{}", rig.apart_ms());
}

#[test]
fn stuck_clocks_are_replaced_by_counting() {
    let mut rig = Rig::new();
    rig.play(0, 5_000, 0);
    for number in 0..300 {
        let now = 5_000 + number * 1000 / 30;
        rig.video(5_000, 0, number % 30 == 0, now);
        rig.audio(5_000, now);
    }
    rig.check();
    assert!(
        (rig.last_ms(Video) - 15_000).abs() < 700,
        "{}",
        rig.last_ms(Video)
    );
    assert_eq!(rig.track(Audio).len(), 235 + 300);
}

#[test]
fn random_clocks_play_by_the_wall_clock() {
    let mut rig = Rig::new();
    let mut state = 1_u64;
    for number in 0..3_000_i64 {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let raw = (state >> 24) as i64;
        rig.video(raw, 0, number == 0, number * 33);
    }
    rig.check();
    assert!(
        (rig.last_ms(Video) - 99_000).abs() < 5_000,
        "{}",
        rig.last_ms(Video)
    );
    assert_eq!(rig.outs.len(), 3_000);
}

#[test]
fn duplicate_and_disordered_video_times_are_spread() {
    let mut rig = Rig::new();
    for (number, dts) in [0, 33, 33, 100, 90, 133, 166, 160, 200, 233]
        .into_iter()
        .enumerate()
    {
        rig.video(dts, 0, number == 0, number as i64 * 33);
    }
    rig.check();
    assert_eq!(rig.kinds(), [Repair::DuplicateDts, Repair::NonMonotonicDts]);
    assert_eq!((rig.count(Repair::NonMonotonicDts), rig.run), (2, 0));
    assert_eq!(rig.last_ms(Video), 233);
}

#[test]
fn presentation_before_decoding_lowers_decoding_and_keeps_lips_in_sync() {
    let mut rig = Rig::new();
    // Decode times that are really a count of pictures: B pictures are presented before they are decoded.
    for number in 0..300_i64 {
        let (dts, cts) = (number * 33, [0, 66, -33, -33][(number % 4) as usize]);
        rig.video(dts, cts, number == 0, dts);
        rig.audio(dts, dts);
    }
    rig.check();
    assert!(rig.count(Repair::PtsBeforeDts) > 0 && rig.count(Repair::PtsBeforeDts) < 5);
    let outs = rig.track(Video);
    for (number, out) in outs.iter().enumerate().skip(8) {
        let pts_ms = number as i64 * 33 + [0, 66, -33, -33][number % 4];
        assert_eq!(out.times.pts, pts_ms * 90);
        assert_eq!(out.times.dts, (number as i64 * 33 - 33) * 90);
    }
}

#[test]
fn absurd_presentation_times_are_cut() {
    let mut rig = Rig::new();
    rig.video(0, 8_000_000, true, 0);
    rig.video(33, -8_000_000, false, 33);
    rig.check();
    assert_eq!(rig.kinds(), [Repair::PtsBeforeDts, Repair::PtsTooLate]);
    assert!(rig.outs.iter().all(|out| out.times.pts == out.times.dts));
}

#[test]
fn missing_decode_times_are_worked_out() {
    for depth in [0, 1, 2, 4] {
        let mut rig = Rig::new();
        rig.timeline.set_video(rate(25, 1), depth);
        // Decoding order of a pyramid of `depth + 1` pictures: the last first, then the others in order.
        let group = i64::from(depth) + 1;
        for number in 0..500_i64 {
            let (base, at) = (number / group * group, number % group);
            let shown = base + if at == 0 { group - 1 } else { at - 1 };
            let raw = RawTimes {
                dts_us: None,
                pts_us: 9_000_000 + shown * 40_000,
                is_sync: number == 0,
            };
            rig.push(Video, raw, number as u64 * 40_000);
        }
        rig.check();
        assert_eq!(rig.run, 0);
        let outs = rig.track(Video);
        for pair in outs.windows(2).skip(10) {
            assert_eq!(pair[1].times.dts - pair[0].times.dts, 3600, "depth {depth}");
        }
        assert!(
            outs.iter()
                .all(|out| out.times.pts - out.times.dts <= (2 * i64::from(depth) + 1) * 3600)
        );
    }
}

#[test]
fn variable_frame_rates_pass_unchanged() {
    let mut rig = Rig::new();
    let (mut at, mut expected) = (0, Vec::new());
    for number in 0..500 {
        rig.video(at, 0, number % 50 == 0, at);
        expected.push(at * 90);
        at += [8, 16, 17, 33, 100, 700][(number * number % 6) as usize];
    }
    rig.check();
    assert_eq!((rig.kinds(), rig.run), (vec![], 0));
    assert_eq!(
        rig.outs.iter().map(|out| out.times.dts).collect::<Vec<_>>(),
        expected
    );
}

#[test]
fn video_pauses_while_audio_goes_on() {
    let mut rig = Rig::new();
    rig.play(0, 10_000, 0);
    (469..938).for_each(|n| {
        rig.audio(n * 1024 / 48, n * 1024 / 48);
    });
    rig.play(20_010, 30_000, 0);
    rig.check();
    assert_eq!(
        (rig.kinds(), rig.run),
        (vec![Repair::Gap], 0),
        "a frozen picture is no reason to break the sound"
    );
}

#[test]
fn slides_without_sound_are_no_holes_and_an_outage_is_one() {
    for (every, discontinuities) in [(2_000, 0), (9_000, 0), (11_000, 9)] {
        let mut rig = Rig::new();
        for number in 0..10 {
            rig.video(number * every, 0, true, number * every);
        }
        rig.check();
        assert_eq!((rig.run, rig.last_ms(Video)), (discontinuities, 9 * every));
    }
}

#[test]
fn audio_pauses_while_video_goes_on() {
    for clock_stood_still in [false, true] {
        let mut rig = Rig::new();
        rig.play(0, 10_000, 0);
        (300..600).for_each(|n| {
            rig.video(n * 1000 / 30, 0, n % 30 == 0, n * 1000 / 30);
        });
        rig.play_skewed(20_000, 30_000, 0, if clock_stood_still { -10_000 } else { 0 });
        rig.check();
        assert_eq!(rig.run, 1);
        assert!(rig.apart_ms().abs() < 60, "{}", rig.apart_ms());
    }
}

#[test]
fn another_publisher_continues_by_the_wall_clock() {
    for (origin, pause) in [(0, 3_000), (500_000, 3_000), (10_000, 0), (0, 9_000)] {
        let mut rig = Rig::new();
        rig.play(0, 10_000, 0);
        rig.timeline.rejoin();
        let begin = 10_000 + pause;
        rig.play(origin, origin + 5_000, begin - origin);
        rig.check();
        assert_eq!((rig.kinds(), rig.run), (vec![], 1), "{origin} {pause}");
        let ends_ms = begin + 5_000;
        assert!(
            (rig.last_ms(Video) - ends_ms).abs() < 250,
            "{origin} {pause}: {}",
            rig.last_ms(Video)
        );
        assert!(rig.apart_ms().abs() < 60, "{}", rig.apart_ms());
    }
}

#[test]
fn another_audio_rate_goes_on_where_the_old_one_ended() {
    let mut rig = Rig::new();
    (0..100).for_each(|n| {
        rig.audio(n * 1024 / 48, n * 1024 / 48);
    });
    let end_us = rig.timeline.audio.end_us;
    rig.timeline.set_audio(NonZeroU32::new(44_100).unwrap(), 1024);
    let next = rig.audio(100 * 1024 / 48, 2_140).unwrap();
    assert!(
        (end_us..end_us + 1_000).contains(&next.dts_us),
        "{} after {end_us}",
        next.dts_us
    );
    assert_eq!(next.duration, 1024);
}

#[test]
fn the_ends_of_the_number_line_are_survived() {
    let ends = [i64::MIN, i64::MIN + 1, -1, 0, 1, i64::MAX - 1, i64::MAX];
    let mut rig = Rig::new();
    let mut now = 0;
    for round in 0..3 {
        for (dts_us, pts_us) in ends.iter().flat_map(|&dts| ends.map(|pts| (dts, pts))) {
            for kind in [Video, Audio] {
                let dts_us = (round < 2).then_some(dts_us);
                rig.push(
                    kind,
                    RawTimes {
                        dts_us,
                        pts_us,
                        is_sync: round == 1,
                    },
                    now,
                );
                now += 20_000;
            }
        }
        rig.timeline.rejoin();
    }
    rig.check();
}
