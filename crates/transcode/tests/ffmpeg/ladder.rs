//! What healthy children deliver.

use std::collections::BTreeSet;
use std::time::Duration;

use media::TrackConfig;
use transcode::LadderLimits;

use crate::support::*;

/// Pushes `source` at once, with forced points each `grid` ticks, and compares what every rung gives.
fn check_exact(source: &SourceStream, grid: Option<i64>) {
    let fixture = Fixture::new(real_ffmpeg(), two_rungs(), burst());
    let forced = grid.map_or_else(BTreeSet::new, |grid| source.grid(grid));
    fixture.push_all(source, &forced);
    // What the decoder holds for reordering comes at the end of input.
    let sinks = fixture.sinks.clone();
    let stats = fixture.ladder.stats().clone();
    fixture.wait_samples(source.samples.len() - 4);
    fixture.stop();
    let wanted: BTreeSet<i64> = source.sync_times().union(&forced).copied().collect();
    for sink in &sinks {
        assert_eq!(
            sink.times(),
            source.times(),
            "every time comes back exactly, in order"
        );
        assert_eq!(sink.sync_times(), wanted, "IDRs exactly where asked");
        sink.assert_decodes();
        sink.get(|state| {
            assert_eq!(state.tracks.len(), 1);
            assert!(state.lost.is_empty() && state.ended);
            assert!(
                state
                    .samples
                    .iter()
                    .all(|sample| sample.dts == sample.pts && sample.duration == 3000)
            );
        });
    }
    let sizes: Vec<(u32, u32)> = sinks
        .iter()
        .map(|sink| {
            sink.get(|state| match &state.tracks[0].config {
                TrackConfig::Video(config) => (config.width, config.height),
                TrackConfig::Audio(_) => panic!("audio"),
            })
        })
        .collect();
    assert_eq!(sizes, [(160, 90), (240, 136)]);
    assert_eq!(stats.restarts_total(), 0);
}

#[test]
fn two_second_gop_comes_back_exactly() {
    check_exact(&source("320x180", 6, 60, 0), None);
}

#[test]
fn ten_second_gop_with_b_frames_gets_forced_points() {
    check_exact(&source("320x180", 12, 300, 2), Some(180_000));
}

/// Open GOPs and B-frames, by way of MP4.
#[test]
fn an_hevc_source_comes_back_as_h264_rungs() {
    let file = include_bytes!("../../../container/tests/data/hevc.flv");
    check_exact(&source_of(file), None);
}

#[test]
fn an_av1_source_comes_back_as_h264_rungs() {
    let file = include_bytes!("../../../container/tests/data/av1.flv");
    check_exact(&source_of(file), None);
}

/// The publisher comes back with another codec: the child gives what it has, and another one goes on.
#[test]
fn a_change_of_codec_needs_another_child() {
    let first = source("320x180", 2, 60, 0);
    let mut second = source_of(include_bytes!("../../../container/tests/data/av1.flv"));
    for sample in &mut second.samples {
        let moved = std::sync::Arc::make_mut(sample);
        moved.dts += 180_000;
        moved.pts += 180_000;
    }
    let fixture = Fixture::new(real_ffmpeg(), two_rungs(), burst());
    fixture.push_all(&first, &BTreeSet::new());
    fixture.push_all(&second, &BTreeSet::new());
    let count = first.samples.len() + second.samples.len();
    fixture.wait_samples(count);
    let sinks = fixture.sinks.clone();
    fixture.stop();
    for sink in &sinks {
        assert_eq!(sink.times(), [first.times(), second.times()].concat());
        sink.get(|state| assert!(state.lost.is_empty()));
    }
}

#[test]
fn ten_bit_full_range_source_becomes_plain_video() {
    let source = source_with(
        "320x180",
        2,
        30,
        0,
        "30",
        &["-pix_fmt", "yuv422p10le", "-color_range", "pc"],
    );
    let mut rungs = two_rungs();
    rungs[1].quality = Some(35);
    let fixture = Fixture::new(real_ffmpeg(), rungs, burst());
    fixture.push_all(&source, &BTreeSet::new());
    fixture.wait_samples(source.samples.len());
    fixture.sinks[0].get(|state| match &state.tracks[0].config {
        TrackConfig::Video(config) => assert!(
            config.codec_string.starts_with("avc1.4d"),
            "{}",
            config.codec_string
        ),
        TrackConfig::Audio(_) => panic!("audio"),
    });
    fixture.stop();
}

#[test]
fn thinned_out_rung_keeps_forced_points() {
    let source = source_with("320x180", 4, 240, 0, "60", &["-pix_fmt", "yuv420p"]);
    let mut rungs = two_rungs();
    rungs[0].frame_step = 2;
    let fixture = Fixture::with_rate(real_ffmpeg(), rungs, burst(), rate(60, 1));
    // Off the grid of every second frame, too.
    let forced = source.grid(90_000 + 1500);
    fixture.push_all(&source, &forced);
    fixture.sinks[1].wait("all frames", Duration::from_secs(20), |state| {
        state.samples.len() == 240
    });
    let sinks = fixture.sinks.clone();
    fixture.stop();
    assert_eq!(sinks[0].sync_times(), forced);
    assert_eq!(sinks[1].sync_times(), forced);
    let (thin, all) = (sinks[0].times(), sinks[1].times());
    assert!(thin.iter().all(|time| all.contains(time)));
    assert!((118..=124).contains(&thin.len()), "{}", thin.len());
}

#[test]
fn change_of_configuration_needs_no_new_child() {
    let (first, second) = (source("320x180", 2, 30, 0), source("480x272", 2, 30, 0));
    let fixture = Fixture::new(real_ffmpeg(), two_rungs(), burst());
    fixture.push_all(&first, &BTreeSet::new());
    let input = fixture.ladder.input();
    input.set_track(&second.track);
    let shift = 180_000;
    for sample in &second.samples {
        let mut sample = media::Sample::clone(sample);
        sample.dts += shift;
        sample.pts += shift;
        input.push(sample.into(), false);
    }
    fixture.wait_samples(120);
    for sink in &fixture.sinks {
        sink.get(|state| {
            assert_eq!((state.tracks.len(), state.lost.len()), (1, 0));
            assert!(state.samples.windows(2).all(|pair| pair[0].pts < pair[1].pts));
        });
    }
    assert_eq!(fixture.ladder.stats().restarts_total(), 0);
    fixture.stop();
}

#[test]
fn time_that_jumps_back_replaces_the_child() {
    let source = source("320x180", 2, 30, 0);
    let fixture = Fixture::new(real_ffmpeg(), two_rungs(), burst());
    fixture.push_all(&source, &BTreeSet::new());
    fixture.wait_samples(60);
    fixture.push_all(&source, &BTreeSet::new());
    fixture.wait_samples(120);
    assert_eq!(
        fixture
            .ladder
            .stats()
            .restarts(transcode::RestartReason::Timeline),
        1
    );
    for sink in &fixture.sinks {
        assert_eq!(sink.times()[60..], source.times()[..]);
    }
    fixture.stop();
}

#[test]
fn no_frame_is_held_back() {
    let source = source("640x360", 3, 60, 0);
    let rungs = vec![rung("240p", 426, 240, 400_000), rung("180p", 320, 180, 200_000)];
    let fixture = Fixture::new(real_ffmpeg(), rungs, LadderLimits::default());
    fixture.push_paced(&source, &BTreeSet::new(), 1, |_| {});
    fixture.wait_samples(source.samples.len());
    for sink in &fixture.sinks {
        // The source's frames arrive at 0, so what the rung's carry is the delay.
        let mut delays: Vec<u64> = sink.get(|state| {
            state
                .samples
                .iter()
                .skip(30)
                .map(|sample| sample.arrived_us)
                .collect()
        });
        delays.sort_unstable();
        let (low, middle, high) = (delays[6], delays[30], delays[57]);
        println!("delay p10 {low} p50 {middle} p95 {high} us");
        // A busy machine delays some frames; a frame held back would delay all of them by 33 ms.
        assert!(low < 25_000, "{delays:?}");
    }
    fixture.stop();
}
