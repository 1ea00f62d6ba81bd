//! The hub through its public surface, on virtual time.

// Test code: a panic is the result.
#![allow(clippy::unwrap_used)]

extern crate tidewire_hub as hub;

mod backup;
mod feeds;
mod model;
mod publishers;
mod registries;
mod stress;

use std::num::NonZeroU32;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;

use bytes::Bytes;
use media::{
    AudioCodec, AudioConfig, MediaKind, Sample, Track, TrackConfig, VIDEO_TIMESCALE, VideoCodec, VideoConfig,
};

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Drives a future on this thread.
fn block_on<F: Future>(future: F) -> F::Output {
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => std::thread::park(),
        }
    }
}

fn video_config(width: u32) -> VideoConfig {
    VideoConfig {
        codec: VideoCodec::H264,
        record: Bytes::from(width.to_be_bytes().to_vec()),
        codec_string: "avc1.4d401f".to_owned(),
        width,
        height: 720,
        pixel_aspect: (1, 1),
        frame_rate: None,
    }
}

fn audio_config(sample_rate: u32) -> AudioConfig {
    AudioConfig {
        codec: AudioCodec::Aac,
        record: Bytes::from_static(&[0x11, 0x90]),
        codec_string: "mp4a.40.2".to_owned(),
        sample_rate: NonZeroU32::new(sample_rate).unwrap(),
        channels: 2,
        frame_samples: 1024,
    }
}

fn video_track(epoch: u32) -> Arc<Track> {
    Arc::new(Track {
        timescale: VIDEO_TIMESCALE,
        epoch,
        config: TrackConfig::Video(video_config(1280)),
    })
}

fn audio_track(epoch: u32) -> Arc<Track> {
    let config = audio_config(48_000);
    Arc::new(Track {
        timescale: config.sample_rate,
        epoch,
        config: TrackConfig::Audio(config),
    })
}

/// A sample of `size` bytes at `millis`.
fn sample(kind: MediaKind, millis: i64, is_sync: bool, size: usize) -> Arc<Sample> {
    let ticks = match kind {
        MediaKind::Video => millis * 90,
        MediaKind::Audio => millis * 48,
    };
    Arc::new(Sample {
        dts: ticks,
        pts: ticks,
        duration: 0,
        is_sync,
        is_disposable: false,
        arrived_us: 0,
        data: Bytes::from(vec![0; size]),
    })
}
