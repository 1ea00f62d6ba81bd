use std::sync::Arc;

use bytes::Bytes;
use hub::{Item, Limits, Metadata, Publisher, RawSample, Registry, Repair, Start, StreamState};
use media::MediaKind::{Audio, Video};
use media::{FrameRate, MediaKind, MediaTime, TrackConfig};

use crate::registries::info;
use crate::{audio_config, video_config};

pub(crate) fn raw(kind: MediaKind, millis: i64, is_sync: bool) -> RawSample {
    let time = MediaTime::from_millis(millis);
    let data = Bytes::from(vec![7; if kind == Video { 5_000 } else { 400 }]);
    RawSample {
        kind,
        dts: Some(time),
        pts: time,
        is_sync,
        is_disposable: false,
        data,
    }
}

/// 25 pictures and 25 sounds a second (a 40 ms frame is no AAC, so audio has 1920 samples here), a keyframe every `gop_ms`.
fn play(publisher: &mut Publisher, from: i64, to: i64, clock: i64, gop_ms: i64) {
    for millis in (from..to).step_by(40) {
        let now = ((millis + clock) * 1000) as u64;
        publisher.push(raw(Video, millis, millis % gop_ms == 0), now);
        publisher.push(raw(Audio, millis, true), now);
    }
}

fn configured(registry: &Arc<Registry>, now: u64) -> Publisher {
    let mut publisher = registry.publish("demo", info(), now).unwrap();
    configure(&mut publisher, now);
    publisher
}

pub(crate) fn configure(publisher: &mut Publisher, now: u64) {
    publisher.set_video(video_config(1280), now);
    publisher.set_audio(
        media::AudioConfig {
            frame_samples: 1920,
            ..audio_config(48_000)
        },
        now,
    );
}

#[test]
fn figures_of_a_good_stream() {
    let registry = Registry::new(Limits::default());
    let mut publisher = configured(&registry, 0);
    let stream = Arc::clone(publisher.stream());
    play(&mut publisher, 0, 20_000, 0, 2_000);
    let stats = stream.stats();
    assert_eq!(stream.state(), StreamState::Live);
    assert_eq!(
        (stats.video_frames(), stats.audio_frames(), stats.keyframes()),
        (500, 500, 10)
    );
    assert_eq!(stats.bytes_in(), 500 * 5_400);
    assert_eq!((stats.gop_last_ms(), stats.gop_max_ms()), (2_000, 2_000));
    assert_eq!(
        (stats.frame_rate_milli(), stats.bits_per_second()),
        (25_000, 5_400 * 25 * 8)
    );
    assert_eq!(
        (
            stats.last_arrival_us(),
            stats.repairs_total(),
            stats.discontinuities()
        ),
        (19_960_000, 0, 0)
    );
    assert_eq!(
        (stats.clock_drift_us(), stats.audio_drift_us(), stats.skipped()),
        (0, 0, 0)
    );
    assert_eq!(stream.origin().unwrap().media_us_to_us(5_000_000), 5_000_000);
    assert!(stream.notices().list().is_empty());
}

#[test]
fn nothing_goes_out_before_configuration_and_keyframe() {
    let registry = Registry::new(Limits::default());
    let mut publisher = registry.publish("demo", info(), 0).unwrap();
    let stream = Arc::clone(publisher.stream());
    publisher.push(raw(Video, 0, true), 0);
    publisher.push(raw(Audio, 0, true), 0);
    publisher.set_video(video_config(1280), 0);
    publisher.push(raw(Video, 40, false), 40_000);
    assert_eq!(
        (stream.source().held().1, stream.state()),
        (0, StreamState::Starting)
    );
    publisher.push(raw(Video, 80, true), 80_000);
    assert_eq!((stream.source().held().1, stream.state()), (1, StreamState::Live));
    let stats = stream.stats();
    assert_eq!(
        (
            stats.repairs(Repair::BeforeConfig),
            stats.repairs(Repair::BeforeKeyframe)
        ),
        (2, 1)
    );
}

#[test]
fn a_new_configuration_is_a_new_epoch_from_its_keyframe() {
    let registry = Registry::new(Limits::default());
    let mut publisher = configured(&registry, 0);
    let mut reader = publisher.stream().source().reader(Start::Oldest);
    publisher.push(raw(Video, 0, true), 0);
    publisher.set_video(video_config(1280), 0);
    publisher.push(raw(Video, 40, false), 40_000);
    publisher.set_video(video_config(640), 40_000);
    publisher.push(raw(Video, 80, false), 80_000);
    publisher.push(raw(Video, 120, true), 120_000);
    publisher.set_audio(audio_config(44_100), 120_000);
    publisher.push(raw(Audio, 120, true), 120_000);
    let mut words = Vec::new();
    while let Some(item) = reader.try_next() {
        words.push(match item {
            Item::Track(track) => match &track.config {
                TrackConfig::Video(config) => format!("V{}:{}", track.epoch, config.width),
                TrackConfig::Audio(config) => format!("A{}:{}", track.epoch, config.sample_rate),
            },
            Item::Sample(kind, sample) => format!("{kind:?}{}", sample.dts),
            other => format!("{other:?}"),
        });
    }
    let expected = "V0:1280 A0:48000 Video0 Video3600 V1:640 Video10800 A1:44100 Audio5292";
    assert_eq!(words.join(" "), expected);
}

#[test]
fn metadata_fills_what_the_bit_stream_does_not_say() {
    let registry = Registry::new(Limits::default());
    let mut publisher = registry.publish("demo", info(), 0).unwrap();
    let part = |value| std::num::NonZeroU32::new(value).unwrap();
    let frame_rate = Some(FrameRate {
        numerator: part(30_000),
        denominator: part(1001),
    });
    let encoder = Some("obs 31".to_owned());
    publisher.set_metadata(Metadata {
        encoder: encoder.clone(),
        frame_rate,
        ..Metadata::default()
    });
    publisher.set_video(video_config(1280), 0);
    publisher.push(raw(Video, 0, true), 0);
    let mut reader = publisher.stream().source().reader(Start::Oldest);
    let Some(Item::Track(track)) = reader.try_next() else {
        panic!("no track")
    };
    assert!(matches!(&track.config, TrackConfig::Video(config) if config.frame_rate == frame_rate));
    let Some(Item::Sample(_, sample)) = reader.try_next() else {
        panic!("no sample")
    };
    assert_eq!(sample.duration, 3003);
    assert_eq!(publisher.stream().publisher().encoder, encoder);
}

#[test]
fn coming_back_is_a_discontinuity_on_the_same_timeline() {
    let mut limits = Limits::default();
    // The reader looks only at the end.
    limits.feed.keep_us = 10_000_000;
    let registry = Registry::new(limits);
    let mut first = configured(&registry, 0);
    let stream = Arc::clone(first.stream());
    play(&mut first, 0, 10_000, 0, 1_000);
    drop(first);
    let mut reader = stream.source().reader(Start::Live);
    let mut second = configured(&registry, 15_000_000);
    assert_eq!(stream.state(), StreamState::Reconnecting, "until something comes");
    // It joins mid-GOP: two pictures without a keyframe.
    play(&mut second, 920, 3_000, 14_080, 1_000);
    assert_eq!(stream.state(), StreamState::Live);
    let items: Vec<_> = std::iter::from_fn(|| reader.try_next()).collect();
    let tracks = items.iter().filter(|item| matches!(item, Item::Track(_))).count();
    let holes = items
        .iter()
        .filter(|item| matches!(item, Item::Discontinuity))
        .count();
    assert_eq!(
        (tracks, holes),
        (2, 1),
        "the tracks for a new reader, no new epoch"
    );
    assert!(matches!(items[2], Item::Discontinuity));
    let first_of = |wanted| {
        items.iter().find_map(|item| match item {
            Item::Sample(kind, sample) if *kind == wanted => Some(sample.dts),
            _ => None,
        })
    };
    assert_eq!(
        (first_of(Audio), first_of(Video)),
        (Some(15_000 * 48), Some(15_080 * 90))
    );
    assert_eq!(
        (
            stream.stats().publishers(),
            stream.stats().repairs(Repair::BeforeKeyframe)
        ),
        (2, 2)
    );
}

#[test]
fn sustained_trouble_is_said_and_taken_back() {
    let registry = Registry::new(Limits::default());
    let mut publisher = configured(&registry, 0);
    let stream = Arc::clone(publisher.stream());
    let codes = || {
        stream
            .notices()
            .list()
            .iter()
            .map(|notice| notice.code)
            .collect::<Vec<_>>()
    };
    // The clock jumps back at each keyframe.
    for round in 0..12 {
        play(&mut publisher, 0, 1_000, round * 1_000, 1_000);
    }
    assert_eq!(codes(), ["clock_jumps"]);
    assert_eq!(stream.stats().discontinuities(), 11);
    for number in 0..600 {
        publisher.push(
            raw(Video, 2_000 + number / 2 * 40, false),
            (12_000 + number as u64 * 20) * 1000,
        );
    }
    assert_eq!(codes(), ["video_timestamps"]);
    play(&mut publisher, 20_000, 45_000, 4_000, 1_000);
    assert!(codes().is_empty(), "{:?}", stream.notices().list());
}

#[test]
fn a_publisher_that_falls_behind_and_one_without_keyframes_are_said() {
    let registry = Registry::new(Limits::default());
    let mut publisher = configured(&registry, 0);
    let stream = Arc::clone(publisher.stream());
    let codes = || {
        stream
            .notices()
            .list()
            .iter()
            .map(|notice| notice.code)
            .collect::<Vec<_>>()
    };
    for millis in (0..12_000).step_by(40) {
        publisher.push(raw(Video, millis, false), millis as u64 * 1000);
    }
    assert_eq!(codes(), ["no_keyframe"]);
    for millis in (0..30_000).step_by(40) {
        publisher.push(
            raw(Video, millis, millis % 1000 == 0),
            (12_000 + millis as u64 * 5 / 4) * 1000,
        );
    }
    assert_eq!(codes(), ["publisher_behind"]);
}
