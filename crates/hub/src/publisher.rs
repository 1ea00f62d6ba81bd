//! The writing end of a stream.

use std::sync::Arc;

use bytes::Bytes;
use media::{AudioConfig, FrameRate, MediaKind, MediaTime, Micros, VideoConfig};

use crate::repair::Timeline;
use crate::{Registry, Stream};

/// What a publisher's connection says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublisherInfo {
    /// `rtmp`, `srt`, `whip`.
    pub protocol: &'static str,
    /// Its address, as text for logs.
    pub peer: String,
    /// Name and version of its software, if it said.
    pub encoder: Option<String>,
}

/// What a publisher says of its media beside the codec configurations. All of it may be wrong.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Metadata {
    /// Name and version of its software.
    pub encoder: Option<String>,
    /// Pictures a second.
    pub frame_rate: Option<FrameRate>,
    /// Declared bits a second of video.
    pub video_bitrate: Option<u32>,
    /// Declared bits a second of audio.
    pub audio_bitrate: Option<u32>,
}

/// One access unit as the publisher sent it, on the publisher's timeline.
#[derive(Clone, Debug)]
pub struct RawSample {
    /// Video or audio.
    pub kind: MediaKind,
    /// Decode time if the container has one. Wraps are already unwrapped.
    pub dts: Option<MediaTime>,
    /// Presentation time.
    pub pts: MediaTime,
    /// Decoding can start here.
    pub is_sync: bool,
    /// No other picture refers to it.
    pub is_disposable: bool,
    /// As [`media::Sample::data`].
    pub data: Bytes,
}

/// The writing end of a stream. Dropping it means that the connection was lost: the grace window starts.
#[derive(Debug)]
pub struct Publisher {
    registry: Arc<Registry>,
    stream: Arc<Stream>,
    timeline: Option<Box<Timeline>>,
    finished_at: Option<Micros>,
}

impl Publisher {
    pub(crate) fn new(registry: Arc<Registry>, stream: Arc<Stream>, now: Micros) -> Self {
        let _ = now;
        Self {
            registry,
            stream,
            timeline: None,
            finished_at: None,
        }
    }

    /// The stream being written.
    pub fn stream(&self) -> &Arc<Stream> {
        &self.stream
    }

    /// The video's codec configuration. The same again is nothing; another one starts a new epoch of the track, whose
    /// samples begin at the next sync sample.
    pub fn set_video(&mut self, config: VideoConfig, now: Micros) {
        let _ = (config, now);
    }

    /// The audio's codec configuration. The same again is nothing; another one starts a new epoch of the track.
    pub fn set_audio(&mut self, config: AudioConfig, now: Micros) {
        let _ = (config, now);
    }

    /// What the publisher says of its media.
    pub fn set_metadata(&mut self, metadata: Metadata) {
        let _ = metadata;
    }

    /// Repairs the sample's times and writes it into the source feed. Never fails; trouble is repaired and counted.
    pub fn push(&mut self, raw: RawSample, now: Micros) {
        let _ = (raw, now);
    }

    /// The peer said that it is done. The grace window starts at `now`.
    pub fn finish(mut self, now: Micros) {
        self.finished_at = Some(now);
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        let _ = self.timeline.take();
        self.registry.publisher_gone(&self.stream, self.finished_at);
    }
}
