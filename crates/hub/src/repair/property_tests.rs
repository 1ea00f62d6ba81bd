//! Whatever comes in, the timeline holds.

use media::MediaKind;
use proptest::prelude::*;

use super::tests::{Rig, rate};
use super::*;

/// One thing that a publisher does.
#[derive(Clone, Debug)]
enum Step {
    /// The clock goes on by this, for the next samples of both tracks.
    Sample {
        kind: MediaKind,
        ahead_us: i64,
        cts_us: i64,
        has_dts: bool,
        is_sync: bool,
        wall_us: u64,
    },
    /// The publisher's clock moves.
    Jump(i64),
    Rejoin,
    AudioRate(u32),
}

fn amount() -> impl Strategy<Value = i64> {
    prop_oneof![
        6 => 0..50_000_i64,
        2 => -300_000..300_000_i64,
        1 => -5_000_000..5_000_000_i64,
        1 => any::<i64>(),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let sample = (
        any::<bool>(),
        amount(),
        amount(),
        0..8,
        0..10,
        prop_oneof![9 => 0..60_000_u64, 1 => 0..20_000_000_u64],
    )
        .prop_map(|(is_video, ahead_us, cts_us, dts, sync, wall_us)| Step::Sample {
            kind: if is_video {
                MediaKind::Video
            } else {
                MediaKind::Audio
            },
            ahead_us,
            cts_us,
            has_dts: dts > 0,
            is_sync: sync == 0,
            wall_us,
        });
    prop_oneof![
        40 => sample,
        1 => amount().prop_map(Step::Jump),
        1 => Just(Step::Rejoin),
        1 => prop_oneof![Just(48_000), Just(44_100), Just(7_350), 1..192_000_u32].prop_map(Step::AudioRate),
    ]
}

/// Plays the steps. Audio's rate changes break its tick arithmetic, so `check` is called before each.
fn play(steps: &[Step]) {
    let mut rig = Rig::new();
    rig.timeline.set_video(rate(30, 1), 2);
    let (mut clock_us, mut now) = (0_i64, 1_000_000_u64);
    let mut pushed_video = 0;
    for step in steps {
        match *step {
            Step::Sample {
                kind,
                ahead_us,
                cts_us,
                has_dts,
                is_sync,
                wall_us,
            } => {
                clock_us = clock_us.saturating_add(ahead_us);
                now += wall_us;
                let pts_us = clock_us.saturating_add(cts_us);
                let emitted = rig.push(
                    kind,
                    RawTimes {
                        dts_us: has_dts.then_some(clock_us),
                        pts_us,
                        is_sync,
                    },
                    now,
                );
                if kind == MediaKind::Video {
                    pushed_video += 1;
                    assert!(emitted.is_some(), "video is never left out");
                }
            }
            Step::Jump(by_us) => clock_us = clock_us.saturating_add(by_us),
            Step::Rejoin => rig.timeline.rejoin(),
            Step::AudioRate(rate) => {
                rig.check();
                let end_us = rig
                    .track(MediaKind::Audio)
                    .last()
                    .map_or(0, |out| out.times.dts_us);
                rig.outs.retain(|out| out.kind == MediaKind::Video);
                rig.timeline.set_audio(NonZeroU32::new(rate).unwrap(), 1024);
                assert!(rig.timeline.audio_line.next_us() >= end_us);
            }
        }
    }
    assert_eq!(rig.track(MediaKind::Video).len(), pushed_video);
    rig.check();
}

/// 400 cases; `PROPTEST_CASES` asks for more.
fn config() -> ProptestConfig {
    let config = ProptestConfig::default();
    ProptestConfig {
        cases: config.cases.max(400),
        failure_persistence: None,
        ..config
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn any_sequence_keeps_the_invariants(steps in proptest::collection::vec(step(), 0..200)) {
        play(&steps);
    }

    /// A stream with true clocks, some jitter of arrival and any origin is never broken.
    #[test]
    fn true_clocks_are_never_repaired(
        origin_ms in any::<u32>(),
        jitter in proptest::collection::vec(0..200_u64, 600),
        fps in 1..120_i64,
    ) {
        let mut rig = Rig::new();
        rig.timeline.set_video(None, 0);
        let (mut video, mut audio) = (0_i64, 0_i64);
        for late_ms in jitter {
            let is_video = video * 1000 / fps <= audio * 1024 / 48;
            let at_ms = if is_video { video * 1000 / fps } else { audio * 1024 / 48 };
            let us = (i64::from(origin_ms) + at_ms) * 1000;
            let now = (u64::from(at_ms.unsigned_abs() as u32) + late_ms) * 1000;
            let raw = RawTimes { dts_us: Some(us), pts_us: us, is_sync: true };
            if is_video { video += 1 } else { audio += 1 }
            rig.push(if is_video { MediaKind::Video } else { MediaKind::Audio }, raw, now);
        }
        rig.check();
        prop_assert_eq!((rig.run, rig.counts.iter().sum::<u32>()), (0, 0));
    }
}
