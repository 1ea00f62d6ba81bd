//! The recorder beside a packager that runs on virtual time, with the real store.

use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use bytes::Bytes;
use hub::{Limits, PublisherInfo, Registry};
use media::{FrameRate, Sample, Track, TrackConfig, VIDEO_TIMESCALE, VideoCodec, VideoConfig};
use package::{PackageConfig, Packager, RenditionId, RenditionSpec, Role};
use store::{Fsync, RecordingState, Store, StoreLimits};
use tokio::sync::oneshot;

use super::Recorder;
use crate::{Broadcast, sentences};

/// Ticks, and microseconds, of one frame at 25 frames a second.
const FRAME: (i64, u64) = (3_600, 40_000);
/// Frames of one segment of two seconds.
const SEGMENT: u64 = 50;
/// Bytes of a picture: a segment has some 51 KB.
const PICTURE: usize = 1_024;

struct World {
    folder: PathBuf,
    store: Store,
    broadcast: Arc<Broadcast>,
    packager: Packager,
    video: RenditionId,
    frames: u64,
}

impl World {
    /// `window_ms` of the live window.
    async fn new(budget_bytes: u64, window_ms: u32) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("tidewire-recorder-{}-{count}", std::process::id()));
        let limits = StoreLimits {
            budget_bytes,
            free_min_bytes: 0,
            fsync: Fsync::Never,
        };
        let store = Store::open(&folder, limits).await.unwrap();
        let info = PublisherInfo {
            owner: "ch_1".into(),
            protocol: "rtmp",
            peer: "test".into(),
            encoder: None,
            is_backup: false,
        };
        let registry = Registry::new(Limits::default());
        let publisher = registry.publish("stage", info, 0).unwrap();
        let broadcast = Broadcast::new(Arc::clone(publisher.stream()), Arc::default());
        let config = PackageConfig {
            window_ms,
            ..PackageConfig::default()
        };
        let mut packager = Packager::new(config, Arc::clone(&broadcast.window));
        packager.set_clock(1_700_000_000_000);
        let video = packager.add_rendition(RenditionSpec {
            name: "source".into(),
            role: Role::Source,
            declared_bitrate: None,
        });
        packager.set_track(video, track());
        Self {
            folder,
            store,
            broadcast,
            packager,
            video,
            frames: 0,
        }
    }

    fn push(&mut self, segments: u64) {
        self.push_frames(segments * SEGMENT);
    }

    fn push_frames(&mut self, frames: u64) {
        for _ in 0..frames {
            let (dts, now) = (self.frames as i64 * FRAME.0, self.frames * FRAME.1);
            let mut data = vec![0; PICTURE];
            data[..8].copy_from_slice(&self.frames.to_be_bytes());
            let sample = Sample {
                dts,
                pts: dts,
                duration: FRAME.0 as u32,
                is_sync: self.frames.is_multiple_of(SEGMENT),
                is_disposable: false,
                arrived_us: now,
                data: Bytes::from(data),
            };
            self.packager.push(self.video, Arc::new(sample), now);
            self.packager.handle_timeout(now);
            self.frames += 1;
        }
    }

    fn recorder(&self) -> Recorder {
        Recorder::new(Arc::clone(&self.broadcast), self.store.clone(), 1_700_000_000_000)
    }

    fn notices(&self) -> Vec<hub::Notice> {
        self.broadcast.stream.notices().list()
    }

    async fn state(&self) -> Option<(RecordingState, i64)> {
        let recording = self.store.recording(self.broadcast.stream.id()).await.unwrap()?;
        Some((recording.state, recording.duration_ms))
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn track() -> Arc<Track> {
    let config = VideoConfig {
        codec: VideoCodec::H264,
        record: Bytes::from_static(&[
            1, 0x64, 0, 0x1f, 0xff, 0xe1, 0, 4, 0x67, 0x64, 0, 0x1f, 1, 0, 4, 0x68, 0xee, 0x3c, 0x80,
        ]),
        codec_string: "avc1.64001f".into(),
        width: 1280,
        height: 720,
        pixel_aspect: (1, 1),
        frame_rate: Some(FrameRate {
            numerator: NonZeroU32::new(25).unwrap(),
            denominator: NonZeroU32::MIN,
        }),
    };
    Arc::new(Track {
        timescale: VIDEO_TIMESCALE,
        epoch: 0,
        config: TrackConfig::Video(config),
    })
}

#[tokio::test]
async fn all_of_a_stream_is_recorded_while_it_goes_on() {
    let mut world = World::new(100 << 20, 60_000).await;
    let (over, is_over) = oneshot::channel();
    let recording = tokio::spawn(world.recorder().run(is_over));
    for _ in 0..4 {
        world.push(3);
        while world.store.figures().segments + 1 < world.frames / SEGMENT {
            tokio::task::yield_now().await;
        }
    }
    world.packager.end(world.frames * FRAME.1);
    recording.await.unwrap();
    drop(over);
    assert_eq!(world.state().await, Some((RecordingState::Sealed, 24_000)));
    assert!(world.notices().is_empty());
}

#[tokio::test]
async fn a_full_store_ends_the_recording_and_nothing_else() {
    let mut world = World::new(300_000, 60_000).await;
    world.push(10);
    world.packager.end(world.frames * FRAME.1);
    let (_over, is_over) = oneshot::channel();
    // Everything is in the window: one batch, which does not fit, so that there is nothing to play.
    world.recorder().run(is_over).await;
    let notices = world.notices();
    assert_eq!(notices.len(), 1);
    assert_eq!(notices[0].code, sentences::RECORDING_STOPPED);
    assert!(
        notices[0].text.contains("used up") && !notices[0].text.contains('/'),
        "{}",
        notices[0].text
    );
    assert_eq!(world.state().await, None);
    assert!(world.broadcast.window.master().is_some(), "live goes on");
}

#[tokio::test]
async fn a_recorder_that_falls_behind_the_window_stops() {
    let mut world = World::new(100 << 20, 12_000).await;
    world.push(40);
    world.packager.end(world.frames * FRAME.1);
    let (_over, is_over) = oneshot::channel();
    world.recorder().run(is_over).await;
    assert!(world.notices()[0].text.contains("too slow"));
    assert_eq!(world.state().await, None);
}

#[tokio::test]
async fn a_task_that_died_leaves_a_cut_title() {
    let mut world = World::new(100 << 20, 60_000).await;
    world.push(3);
    // The fourth segment is not complete.
    world.push_frames(10);
    let (over, is_over) = oneshot::channel();
    let recording = tokio::spawn(world.recorder().run(is_over));
    drop(over);
    recording.await.unwrap();
    assert_eq!(world.state().await, Some((RecordingState::Cut, 6_000)));
}
