//! A synthetic broadcast, packaged by the real packager.

use std::num::NonZeroU32;
use std::sync::Arc;

use bytes::Bytes;
use media::{FrameRate, Sample, Track, TrackConfig, VIDEO_TIMESCALE, VideoCodec, VideoConfig};
use package::{LiveWindow, PackageConfig, Packager, RenditionId, RenditionSpec, Role};

/// Ticks of one frame at 25 frames a second.
const FRAME_TICKS: i64 = 3_600;
/// Frames of one segment of two seconds.
pub(crate) const SEGMENT_FRAMES: u64 = 50;

/// One video rendition named `source`, an IDR every two seconds.
pub(crate) struct Feed {
    pub(crate) window: Arc<LiveWindow>,
    packager: Packager,
    video: RenditionId,
    frames: u64,
    frame_bytes: usize,
}

impl Feed {
    pub(crate) fn new(channel: &str, stream_id: &str, frame_bytes: usize) -> Self {
        let window = LiveWindow::new(channel, stream_id);
        let mut packager = Packager::new(PackageConfig::default(), Arc::clone(&window));
        packager.set_clock(1_700_000_000_000);
        let spec = RenditionSpec {
            name: "source".into(),
            role: Role::Source,
            declared_bitrate: None,
        };
        let video = packager.add_rendition(spec);
        packager.set_track(video, track());
        Self {
            window,
            packager,
            video,
            frames: 0,
            frame_bytes,
        }
    }

    /// Pushes frames; their wall clock is their media time.
    pub(crate) fn push(&mut self, frames: u64) {
        for _ in 0..frames {
            let dts = self.frames as i64 * FRAME_TICKS;
            let now = self.frames * 40_000;
            let sample = Sample {
                dts,
                pts: dts,
                duration: FRAME_TICKS as u32,
                is_sync: self.frames.is_multiple_of(SEGMENT_FRAMES),
                is_disposable: false,
                arrived_us: now,
                data: Bytes::from(vec![0x65; self.frame_bytes]),
            };
            self.packager.push(self.video, Arc::new(sample), now);
            self.packager.handle_timeout(now);
            self.frames += 1;
        }
    }

    pub(crate) fn end(&mut self) {
        self.packager.end(self.frames * 40_000);
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
            numerator: NonZeroU32::new(25).expect("not zero"),
            denominator: NonZeroU32::new(1).expect("not zero"),
        }),
    };
    Arc::new(Track {
        timescale: VIDEO_TIMESCALE,
        epoch: 0,
        config: TrackConfig::Video(config),
    })
}
