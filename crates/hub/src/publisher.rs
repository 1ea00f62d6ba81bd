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
use crate::standby::{SILENCE_US, Standby};
use crate::stream::Air;
use crate::watch::Watch;
use crate::{Registry, Repair, Severity, Stream, StreamState, lock};

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
    /// It stands by while the channel's primary sends, and goes on the air when that falls silent.
    pub is_backup: bool,
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

/// The notice while the backup is on the air.
const BACKUP_ON_AIR: &str = "backup_on_air";

/// The writing end of a stream. Dropping it means that the connection was lost: if no other publisher is there, the grace
/// window starts.
///
/// A stream has a primary, a backup, or both; one of them is on the air, the other one stands by and takes over at an IDR:
/// at once when the one on the air is gone or silent, and a primary that is back also from a backup that is well.
///
/// Nothing that comes in makes it fail: what cannot be used is left out and counted, the rest is repaired.
#[derive(Debug)]
pub struct Publisher {
    registry: Arc<Registry>,
    stream: Arc<Stream>,
    /// Which of the stream's publishers it is; never 0.
    number: u64,
    info: PublisherInfo,
    metadata: Metadata,
    video: Option<VideoConfig>,
    audio: Option<AudioConfig>,
    /// Video is left out up to the next sync sample.
    awaits_keyframe: bool,
    standby: Standby,
    finished_at: Option<Micros>,
    gauges: Gauges,
    watch: Watch,
}

impl Publisher {
    pub(crate) fn new(
        registry: Arc<Registry>,
        stream: Arc<Stream>,
        number: u64,
        info: PublisherInfo,
        now: Micros,
    ) -> Self {
        stream.stats().publishers.fetch_add(1, Ordering::Relaxed);
        let mut publisher = Self {
            registry,
            stream: Arc::clone(&stream),
            number,
            info,
            metadata: Metadata::default(),
            video: None,
            audio: None,
            awaits_keyframe: true,
            standby: Standby::default(),
            finished_at: None,
            gauges: Gauges::new(now),
            watch: Watch::new(now),
        };
        let mut air = lock(&stream.air);
        if air.holder == 0 {
            publisher.go_on_air(&mut air, now);
        }
        drop(air);
        publisher
    }

    /// The stream being written.
    pub fn stream(&self) -> &Arc<Stream> {
        &self.stream
    }

    /// What its connection says of itself.
    pub fn info(&self) -> &PublisherInfo {
        &self.info
    }

    /// Whether the stream is over (it failed on our side): nothing that is pushed arrives, the connection may be closed.
    pub fn is_over(&self) -> bool {
        self.stream.state().is_final()
    }

    /// Whether what it sends is what viewers get; otherwise it stands by.
    pub fn is_on_air(&self) -> bool {
        lock(&self.stream.air).holder == self.number
    }

    /// The video's codec configuration. The same again is nothing; another one starts a new epoch of the track, whose
    /// samples begin at the next sync sample. Where it says no frame rate, the metadata's is taken.
    pub fn set_video(&mut self, mut config: VideoConfig, _now: Micros) {
        config.frame_rate = config.frame_rate.or(self.metadata.frame_rate);
        let is_first = self.video.is_none();
        if self.video.as_ref() != Some(&config) {
            self.standby.clear();
        }
        self.video = Some(config.clone());
        let stream = Arc::clone(&self.stream);
        let mut air = lock(&stream.air);
        if air.holder == self.number {
            self.put_video(&mut air, config, is_first);
        }
    }

    /// The audio's codec configuration. The same again is nothing; another one starts a new epoch of the track.
    pub fn set_audio(&mut self, config: AudioConfig, _now: Micros) {
        self.audio = Some(config.clone());
        let stream = Arc::clone(&self.stream);
        let mut air = lock(&stream.air);
        if air.holder == self.number {
            self.put_audio(&mut air, config);
        }
    }

    fn put_video(&mut self, air: &mut Air, config: VideoConfig, is_first: bool) {
        let reorder_depth = match config.codec {
            VideoCodec::H264 => h264::record_sps(&config.record).map_or(2, |sps| sps.reorder_depth),
            VideoCodec::Hevc => hevc::record_sps(&config.record).map_or(2, |sps| sps.reorder_depth),
            // A temporal unit is shown when it is decoded (AV1 7.5).
            VideoCodec::Av1 => 0,
            _ => 2,
        };
        let frame_rate = config.frame_rate;
        let is_new = self.set_track(VIDEO_TIMESCALE, TrackConfig::Video(config));
        if is_new || is_first {
            self.awaits_keyframe = true;
            air.timeline.set_video(frame_rate, reorder_depth);
        }
    }

    fn put_audio(&mut self, air: &mut Air, config: AudioConfig) {
        air.timeline.set_audio(config.sample_rate, config.frame_samples);
        self.set_track(config.sample_rate, TrackConfig::Audio(config));
    }

    /// What the publisher says of its media. Useful before [`set_video`](Self::set_video).
    pub fn set_metadata(&mut self, metadata: Metadata) {
        if metadata.encoder.is_some() {
            self.info.encoder.clone_from(&metadata.encoder);
            if self.is_on_air() {
                self.stream.set_publisher(self.info.clone());
            }
        }
        self.metadata = metadata;
    }

    /// What the publisher said of its media.
    pub fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// Repairs the sample's times and writes it into the source feed; a publisher that stands by keeps it instead, or
    /// takes over with it. Never fails; trouble is repaired and counted.
    pub fn push(&mut self, raw: RawSample, now: Micros) {
        let stream = Arc::clone(&self.stream);
        let mut air = lock(&stream.air);
        if air.holder != self.number {
            if !self.may_take_over(&air, &raw, now) {
                self.standby.keep(raw, now);
                return;
            }
            self.take_over(&mut air, &raw, now);
        }
        air.seen_us = now;
        self.write(&mut air, raw, now);
        drop(air);
        self.watch.tick(&self.stream, now);
    }

    /// The peer said that it is done. The grace window starts at `now`, unless another publisher is there.
    pub fn finish(mut self, now: Micros) {
        self.finished_at = Some(now);
    }

    /// The publisher may not go on, and nobody may continue its stream: that is over at once.
    pub fn withdraw(self) {
        self.stream.set_state(StreamState::Ended);
    }

    fn may_take_over(&self, air: &Air, raw: &RawSample, now: Micros) -> bool {
        if air.holder == 0 || now.saturating_sub(air.seen_us) > SILENCE_US {
            return true;
        }
        let starts_gop = raw.is_sync && (raw.kind == MediaKind::Video || self.video.is_none());
        !self.info.is_backup && air.is_backup && starts_gop && self.standby.is_steady(now)
    }

    /// Goes on the air with what it has kept since its last IDR; `next` comes behind it.
    fn take_over(&mut self, air: &mut Air, next: &RawSample, now: Micros) {
        // Of two publishers the second only ever takes over from a first: the stream has been live, or could have been.
        self.stream.stats().takeovers.fetch_add(1, Ordering::Relaxed);
        self.go_on_air(air, now);
        let kept = self.standby.take();
        let starts_gop = next.kind == MediaKind::Video && next.is_sync;
        if !starts_gop {
            for picture in kept {
                self.write(air, picture, now);
            }
        }
    }

    fn go_on_air(&mut self, air: &mut Air, now: Micros) {
        (air.holder, air.is_backup, air.seen_us) = (self.number, self.info.is_backup, now);
        air.timeline.rejoin();
        self.awaits_keyframe = true;
        (self.gauges, self.watch) = (Gauges::new(now), Watch::new(now));
        if let Some(config) = self.video.clone() {
            self.put_video(air, config, true);
        }
        if let Some(config) = self.audio.clone() {
            self.put_audio(air, config);
        }
        self.stream.set_publisher(self.info.clone());
        let notices = self.stream.notices();
        if self.info.is_backup {
            let text = "The backup encoder is on the air: the primary is away or silent.";
            notices.set(BACKUP_ON_AIR, Severity::Warning, text);
        } else {
            notices.clear(BACKUP_ON_AIR);
        }
    }

    fn refuses(&mut self, raw: &RawSample) -> Option<Repair> {
        match raw.kind {
            MediaKind::Video if self.video.is_none() => Some(Repair::BeforeConfig),
            MediaKind::Audio if self.audio.is_none() => Some(Repair::BeforeConfig),
            MediaKind::Video if self.awaits_keyframe && !raw.is_sync => Some(Repair::BeforeKeyframe),
            MediaKind::Video => {
                self.awaits_keyframe = false;
                None
            }
            MediaKind::Audio => None,
        }
    }

    fn write(&mut self, air: &mut Air, raw: RawSample, now: Micros) {
        self.gauges.arrived(self.stream.stats(), raw.data.len(), now);
        if let Some(refusal) = self.refuses(&raw) {
            self.stream.stats().count_repair(refusal);
            self.watch.count(refusal);
        } else {
            self.repair(&mut air.timeline, raw, now);
        }
    }

    fn repair(&mut self, timeline: &mut Timeline, raw: RawSample, now: Micros) {
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
        {
            let mut air = lock(&self.stream.air);
            if air.holder == self.number {
                air.holder = 0;
            }
        }
        self.registry
            .publisher_gone(&self.stream, self.number, self.finished_at);
    }
}
