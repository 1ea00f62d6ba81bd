//! The writing end of a stream.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use media::{
    AudioConfig, FrameRate, MediaKind, MediaTime, Micros, Sample, Track, TrackConfig, VIDEO_TIMESCALE,
    VideoCodec, VideoConfig, h264, hevc,
};

use crate::gauges::Gauges;
use crate::repair::{RawTimes, Timeline};
use crate::watch::Watch;
use crate::{Registry, Repair, Stream, StreamState, lock};

/// What a publisher's connection says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublisherInfo {
    /// Whose broadcast it is: the channel's lasting id. A channel's name may go to another channel, a stream may not.
    pub owner: String,
    /// `rtmp`, `rtmps`, `srt`, `whip`.
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
///
/// Nothing that comes in makes it fail: what cannot be used is left out and counted, the rest is repaired.
#[derive(Debug)]
pub struct Publisher {
    registry: Arc<Registry>,
    stream: Arc<Stream>,
    /// `None` only while it is dropped.
    timeline: Option<Box<Timeline>>,
    metadata: Metadata,
    has_video: bool,
    has_audio: bool,
    /// Video is left out up to the next sync sample.
    awaits_keyframe: bool,
    finished_at: Option<Micros>,
    gauges: Gauges,
    watch: Watch,
}

impl Publisher {
    pub(crate) fn new(registry: Arc<Registry>, stream: Arc<Stream>, now: Micros) -> Self {
        let mut timeline = lock(&stream.timeline).take().unwrap_or_default();
        timeline.rejoin();
        stream.stats().publishers.fetch_add(1, Ordering::Relaxed);
        Self {
            registry,
            stream,
            timeline: Some(timeline),
            metadata: Metadata::default(),
            has_video: false,
            has_audio: false,
            awaits_keyframe: true,
            finished_at: None,
            gauges: Gauges::new(now),
            watch: Watch::new(now),
        }
    }

    /// The stream being written.
    pub fn stream(&self) -> &Arc<Stream> {
        &self.stream
    }

    /// Whether the stream is over (it failed on our side): nothing that is pushed arrives, the connection may be closed.
    pub fn is_over(&self) -> bool {
        self.stream.state().is_final()
    }

    /// The video's codec configuration. The same again is nothing; another one starts a new epoch of the track, whose
    /// samples begin at the next sync sample. Where it says no frame rate, the metadata's is taken.
    pub fn set_video(&mut self, mut config: VideoConfig, _now: Micros) {
        config.frame_rate = config.frame_rate.or(self.metadata.frame_rate);
        let reorder_depth = match config.codec {
            VideoCodec::H264 => h264::record_sps(&config.record).map_or(2, |sps| sps.reorder_depth),
            VideoCodec::Hevc => hevc::record_sps(&config.record).map_or(2, |sps| sps.reorder_depth),
            // A temporal unit is shown when it is decoded (AV1 7.5).
            VideoCodec::Av1 => 0,
            _ => 2,
        };
        let frame_rate = config.frame_rate;
        let is_new = self.set_track(VIDEO_TIMESCALE, TrackConfig::Video(config));
        if is_new || !self.has_video {
            self.awaits_keyframe = true;
            if let Some(timeline) = &mut self.timeline {
                timeline.set_video(frame_rate, reorder_depth);
            }
        }
        self.has_video = true;
    }

    /// The audio's codec configuration. The same again is nothing; another one starts a new epoch of the track.
    pub fn set_audio(&mut self, config: AudioConfig, _now: Micros) {
        if let Some(timeline) = &mut self.timeline {
            timeline.set_audio(config.sample_rate, config.frame_samples);
        }
        self.has_audio = true;
        self.set_track(config.sample_rate, TrackConfig::Audio(config));
    }

    /// What the publisher says of its media. Useful before [`set_video`](Self::set_video).
    pub fn set_metadata(&mut self, metadata: Metadata) {
        if metadata.encoder.is_some() {
            let info = PublisherInfo {
                encoder: metadata.encoder.clone(),
                ..self.stream.publisher()
            };
            self.stream.set_publisher(info);
        }
        self.metadata = metadata;
    }

    /// What the publisher said of its media.
    pub fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// Repairs the sample's times and writes it into the source feed. Never fails; trouble is repaired and counted.
    pub fn push(&mut self, raw: RawSample, now: Micros) {
        self.gauges.arrived(self.stream.stats(), raw.data.len(), now);
        if let Some(refusal) = self.refuses(&raw) {
            self.stream.stats().count_repair(refusal);
            self.watch.count(refusal);
        } else {
            self.write(raw, now);
        }
        self.watch.tick(&self.stream, now);
    }

    /// The peer said that it is done. The grace window starts at `now`.
    pub fn finish(mut self, now: Micros) {
        self.finished_at = Some(now);
    }

    /// The publisher may not go on, and nobody may continue its stream: that is over at once.
    pub fn withdraw(self) {
        self.stream.set_state(StreamState::Ended);
    }

    fn refuses(&mut self, raw: &RawSample) -> Option<Repair> {
        match raw.kind {
            MediaKind::Video if !self.has_video => Some(Repair::BeforeConfig),
            MediaKind::Audio if !self.has_audio => Some(Repair::BeforeConfig),
            MediaKind::Video if self.awaits_keyframe && !raw.is_sync => Some(Repair::BeforeKeyframe),
            MediaKind::Video => {
                self.awaits_keyframe = false;
                None
            }
            MediaKind::Audio => None,
        }
    }

    fn write(&mut self, raw: RawSample, now: Micros) {
        let Some(timeline) = &mut self.timeline else {
            return;
        };
        let times = RawTimes {
            dts_us: raw.dts.map(MediaTime::micros),
            pts_us: raw.pts.micros(),
            is_sync: raw.is_sync,
        };
        let wall_us = self
            .stream
            .origin_tracker()
            .map_or(0, |tracker| tracker.map().us_to_media_us(now));
        let outcome = timeline.push(raw.kind, &times, now, wall_us);
        let (stats, feed) = (self.stream.stats(), self.stream.source());
        for kind in outcome.repairs.iter() {
            stats.count_repair(kind);
            self.watch.count(kind);
        }
        stats
            .audio_drift_us
            .store(timeline.audio_error_us(), Ordering::Relaxed);
        if outcome.has_discontinuity {
            stats.discontinuities.fetch_add(1, Ordering::Relaxed);
            feed.discontinuity();
        }
        let Some(times) = outcome.times else { return };
        self.stream
            .observe_clock(times.dts_us, now, outcome.has_discontinuity);
        self.gauges.emitted(stats, raw.kind, raw.is_sync, times.dts_us);
        let sample = Sample {
            dts: times.dts,
            pts: times.pts,
            duration: times.duration,
            is_sync: raw.is_sync || raw.kind == MediaKind::Audio,
            is_disposable: raw.is_disposable,
            arrived_us: now,
            data: raw.data,
        };
        feed.push(raw.kind, Arc::new(sample));
        if self.watch.is_first_sample() {
            self.stream.set_state(StreamState::Live);
        }
    }

    /// Returns whether it is a new epoch.
    fn set_track(&self, timescale: NonZeroU32, config: TrackConfig) -> bool {
        let kind = match config {
            TrackConfig::Video(_) => MediaKind::Video,
            TrackConfig::Audio(_) => MediaKind::Audio,
        };
        let feed = self.stream.source();
        let old = feed.track(kind);
        if old.as_ref().is_some_and(|old| old.config == config) {
            return false;
        }
        let epoch = old.map_or(0, |old| old.epoch.wrapping_add(1));
        feed.set_track(Arc::new(Track {
            timescale,
            epoch,
            config,
        }));
        true
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        *lock(&self.stream.timeline) = self.timeline.take();
        self.registry.publisher_gone(&self.stream, self.finished_at);
    }
}
