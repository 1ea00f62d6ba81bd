//! A primary and a backup publisher of one channel.

use std::sync::Arc;

use hub::{Item, Limits, PublishError, Publisher, PublisherInfo, Reader, Registry, Start, StreamState};
use media::MediaKind::{Audio, Video};

use crate::publishers::{configure, raw};
use crate::registries::info;

const FRAME_MS: i64 = 40;

fn join(registry: &Arc<Registry>, is_backup: bool, now_ms: i64) -> Publisher {
    let info = PublisherInfo { is_backup, ..info() };
    let now = now_ms as u64 * 1000;
    let mut publisher = registry.publish("demo", info, now).expect("a place");
    configure(&mut publisher, now);
    publisher
}

/// One frame of both tracks; its clock is `offset_ms` off the wall clock, its GOP is 2 s.
fn frame(publisher: &mut Publisher, now_ms: i64, offset_ms: i64) {
    let media_ms = now_ms + offset_ms;
    publisher.push(raw(Video, media_ms, media_ms % 2000 == 0), now_ms as u64 * 1000);
    publisher.push(raw(Audio, media_ms, true), now_ms as u64 * 1000);
}

fn stage() -> (Arc<Registry>, Publisher, Publisher, Reader) {
    let limits = Limits {
        feed: hub::FeedLimits {
            keep_us: 60_000_000,
            span_max_us: 60_000_000,
            ..hub::FeedLimits::default()
        },
        ..Limits::default()
    };
    let registry = Registry::new(limits);
    let primary = join(&registry, false, 0);
    let backup = join(&registry, true, 0);
    let reader = primary.stream().source().reader(Start::Oldest);
    (registry, primary, backup, reader)
}

/// Decode times of the video in milliseconds with their sync flags, and the tracks and discontinuities between them.
#[derive(Default)]
struct Seen {
    video: Vec<(f64, bool)>,
    audio: Vec<f64>,
    tracks: usize,
    /// Number of pictures before each discontinuity.
    discontinuities: Vec<usize>,
}

fn read(reader: &mut Reader) -> Seen {
    let mut seen = Seen::default();
    while let Some(item) = reader.try_next() {
        match item {
            Item::Track(_) => seen.tracks += 1,
            Item::Sample(Video, sample) => seen.video.push((sample.dts as f64 / 90.0, sample.is_sync)),
            Item::Sample(Audio, sample) => seen.audio.push(sample.dts as f64 / 48.0),
            Item::Discontinuity => seen.discontinuities.push(seen.video.len()),
            Item::Skipped { .. } | Item::End => panic!("{item:?}"),
        }
    }
    seen
}

#[test]
fn a_lost_primary_is_replaced_within_a_frame_at_an_idr_and_no_time_is_lost() {
    let (registry, mut primary, mut backup, mut reader) = stage();
    let stream = Arc::clone(primary.stream());
    for now in (0..7_000).step_by(FRAME_MS as usize) {
        frame(&mut primary, now, 0);
        // Its GOPs begin elsewhere: at 6 880 ms it is 1 s into one.
        frame(&mut backup, now + 3, 120_117);
    }
    assert!(primary.is_on_air() && !backup.is_on_air());
    drop(primary);
    assert_eq!(stream.state(), StreamState::Live, "viewers are told nothing");
    for now in (7_000..12_000).step_by(FRAME_MS as usize) {
        frame(&mut backup, now + 3, 120_117);
    }
    assert!(backup.is_on_air());
    let seen = read(&mut reader);
    assert_eq!(
        (seen.tracks, seen.discontinuities.len()),
        (2, 1),
        "the same configuration: no new epoch"
    );
    let switch = seen.discontinuities[0];
    let (before, after) = (seen.video[switch - 1].0, seen.video[switch]);
    assert!(after.1, "it goes on with an IDR");
    assert!((after.0 - before - 43.0).abs() <= 3.0, "{before} {after:?}");
    let times: Vec<f64> = seen.video.iter().map(|(at, _)| *at).collect();
    assert!(times.windows(2).all(|pair| pair[1] > pair[0]));
    // What was kept is over within a frame or two; then it follows the wall clock as before.
    let last = times.last().expect("pictures");
    assert!((last - 11_963.0).abs() < 80.0, "{last}");
    // From one sound's begin to the next one's: a frame of 40 ms, and less than another where the two publishers' frames do
    // not meet.
    let gap = seen
        .audio
        .windows(2)
        .map(|pair| pair[1] - pair[0])
        .fold(0.0, f64::max);
    assert!(gap <= 80.0, "the sound goes on: {gap} ms");
    assert_eq!(
        (
            stream.stats().takeovers(),
            stream.stats().repairs(hub::Repair::BeforeKeyframe)
        ),
        (1, 0)
    );
    assert!(
        stream
            .notices()
            .list()
            .iter()
            .any(|notice| notice.code == "backup_on_air")
    );
    drop((registry, backup));
    assert_eq!(stream.state(), StreamState::Reconnecting);
}

#[test]
fn a_silent_primary_gives_way_and_takes_over_again_when_it_is_steady() {
    let (_registry, mut primary, mut backup, mut reader) = stage();
    let stream = Arc::clone(primary.stream());
    let mut on_air = Vec::new();
    for now in (0..20_000).step_by(FRAME_MS as usize) {
        if !(4_000..7_000).contains(&now) {
            frame(&mut primary, now, 0);
        }
        frame(&mut backup, now + 3, 500);
        on_air.push((now, backup.is_on_air()));
    }
    let first = |is_backup: bool, from: i64| {
        on_air
            .iter()
            .find(|(now, backup)| *now >= from && *backup == is_backup)
            .map(|(now, _)| *now)
    };
    assert_eq!(first(true, 0), Some(4_680), "after 700 ms of silence");
    assert_eq!(first(false, 5_000), Some(12_000), "at its first IDR after 5 s");
    let seen = read(&mut reader);
    assert_eq!(seen.discontinuities.len(), 2);
    assert!(
        seen.discontinuities.iter().all(|at| seen.video[*at].1),
        "both at an IDR"
    );
    let times: Vec<f64> = seen.video.iter().map(|(at, _)| *at).collect();
    assert!(times.windows(2).all(|pair| pair[1] > pair[0]));
    assert!((times.last().expect("pictures") - 19_960.0).abs() < 120.0);
    assert!(
        stream.notices().list().is_empty(),
        "{:?}",
        stream.notices().list()
    );
    assert_eq!(stream.stats().takeovers(), 2);
}

#[test]
fn there_is_one_of_each_and_a_backup_may_be_alone() {
    let registry = Registry::new(Limits::default());
    let mut backup = join(&registry, true, 0);
    frame(&mut backup, 0, 0);
    assert!(backup.is_on_air());
    let again = registry.publish(
        "demo",
        PublisherInfo {
            is_backup: true,
            ..info()
        },
        0,
    );
    let Err(error @ PublishError::AlreadyLive { is_backup: true, .. }) = again else {
        panic!("{again:?}")
    };
    assert!(
        error.to_string().contains("a backup publisher came over rtmp"),
        "{error}"
    );
    let primary = join(&registry, false, 1_000);
    assert!(matches!(
        registry.publish("demo", info(), 0),
        Err(PublishError::AlreadyLive { is_backup: false, .. })
    ));
    // Another owner's publisher finds no place beside them.
    let stranger = PublisherInfo {
        owner: "ch_2".to_owned(),
        is_backup: true,
        ..info()
    };
    drop(backup);
    assert!(registry.publish("demo", stranger, 0).is_err());
    drop(primary);
    assert!(
        registry
            .stream("demo")
            .is_some_and(|stream| stream.state() == StreamState::Reconnecting)
    );
}
