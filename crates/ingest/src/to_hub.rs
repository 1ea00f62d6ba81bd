//! From FLV tag bodies to the hub: codec configurations, samples, metadata.

use std::num::NonZeroU32;

use bytes::Bytes;
use container::flv::{self, AudioTag, Codec, VideoStream, VideoTag};
use hub::{Metadata, Publisher, RawSample, Severity};
use media::{AudioConfig, FrameRate, MediaKind, MediaTime, Micros, VideoCodec};
use rtmp::amf::Value;

use crate::stats::{IngestStats, MediaFault};

/// Longest name of an encoder that is kept, characters.
const ENCODER_CHARS_MAX: usize = 100;
/// The track of a multitrack publish that is the source.
const SOURCE_TRACK: u8 = 0;
/// Bytes of an MPEG audio frame header.
const MP3_HEADER_BYTES: usize = 4;

/// One publisher's way into the hub.
pub(crate) struct ToHub {
    publisher: Publisher,
    video: Option<VideoStream>,
    /// The last sequence header as it came: the same one again is not looked at.
    video_header: Bytes,
    audio: Audio,
    is_open_gop_said: bool,
    /// Tags since the last one that made sense.
    bad_in_row: u32,
}

enum Audio {
    None,
    /// The AudioSpecificConfig in force.
    Aac(Bytes),
    /// The fixed part of the frame header in force.
    Mp3([u8; 2]),
    /// The header in force.
    Flac(Bytes),
    /// The identification header in force, and the packets' length in sample frames; 0 before the first.
    Opus {
        head: Bytes,
        samples: u32,
    },
}

/// What a tag was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Fine,
    Fault(MediaFault),
    /// The stream has no video that we can take.
    UnsupportedVideo(Codec),
}

impl ToHub {
    pub(crate) fn new(publisher: Publisher) -> Self {
        Self {
            publisher,
            video: None,
            video_header: Bytes::new(),
            audio: Audio::None,
            is_open_gop_said: false,
            bad_in_row: 0,
        }
    }

    /// Tags in a row that made no sense.
    pub(crate) fn bad_in_row(&self) -> u32 {
        self.bad_in_row
    }

    /// The stream failed on our side: nothing arrives any more.
    pub(crate) fn is_over(&self) -> bool {
        self.publisher.is_over()
    }

    /// The peer said that it is done.
    pub(crate) fn finish(self, now: Micros) {
        self.publisher.finish(now);
    }

    /// The peer may not publish any more: its stream is over at once.
    pub(crate) fn withdraw(self) {
        self.publisher.withdraw();
    }

    /// One tag body.
    pub(crate) fn tag(
        &mut self,
        kind: MediaKind,
        timestamp_ms: i64,
        body: &Bytes,
        now: Micros,
        stats: &IngestStats,
    ) -> Outcome {
        let outcome = match kind {
            MediaKind::Video => self.video(timestamp_ms, body, now),
            MediaKind::Audio => self.audio(timestamp_ms, body, now),
        };
        match outcome {
            Outcome::Fine => self.bad_in_row = 0,
            Outcome::Fault(fault) => {
                stats.count_fault(fault);
                // Waiting for a header, or sound that we cannot take, is no nonsense.
                if matches!(
                    fault,
                    MediaFault::BadTag | MediaFault::BadConfig | MediaFault::NoPicture
                ) {
                    self.bad_in_row += 1;
                }
            }
            Outcome::UnsupportedVideo(_) => stats.count_fault(MediaFault::UnsupportedCodec),
        }
        outcome
    }

    /// `onMetaData`.
    pub(crate) fn metadata(&mut self, properties: &[(String, Value)]) {
        let find = |name: &str| {
            properties
                .iter()
                .find(|(key, _)| key == name)
                .map(|(_, value)| value)
        };
        let kilobits = |name: &str| find(name).and_then(Value::as_number).and_then(bits_per_second);
        self.publisher.set_metadata(Metadata {
            encoder: find("encoder").and_then(Value::as_str).map(encoder_name),
            frame_rate: find("framerate").and_then(Value::as_number).and_then(frame_rate),
            video_bitrate: kilobits("videodatarate"),
            audio_bitrate: kilobits("audiodatarate"),
        });
    }

    fn video(&mut self, timestamp_ms: i64, body: &Bytes, now: Micros) -> Outcome {
        let tracks = match flv::parse_video(body) {
            Err(_) => return Outcome::Fault(MediaFault::BadTag),
            Ok(VideoTag::Tracks(tracks)) => tracks,
            Ok(tag) => return self.video_tag(tag, timestamp_ms, now),
        };
        let mut outcome = Outcome::Fine;
        for track in tracks {
            match track {
                Err(_) => return Outcome::Fault(MediaFault::BadTag),
                Ok((SOURCE_TRACK, tag)) => outcome = self.video_tag(tag, timestamp_ms, now),
                Ok(_) => self.say_tracks("video_tracks", "video"),
            }
        }
        outcome
    }

    fn video_tag(&mut self, tag: VideoTag, timestamp_ms: i64, now: Micros) -> Outcome {
        match tag {
            // Tracks within a track do not exist.
            VideoTag::Nothing | VideoTag::EndOfSequence | VideoTag::Tracks(_) => Outcome::Fine,
            VideoTag::Unsupported(codec) => Outcome::UnsupportedVideo(codec),
            VideoTag::SequenceHeader { codec, record } => self.video_header(codec, record, now),
            VideoTag::Frame {
                codec,
                composition_time_ms,
                data,
                ..
            } => self.video_frame(codec, timestamp_ms, composition_time_ms, &data, now),
        }
    }

    fn video_frame(
        &mut self,
        codec: VideoCodec,
        timestamp_ms: i64,
        composition_time_ms: i32,
        data: &Bytes,
        now: Micros,
    ) -> Outcome {
        let Some(stream) = self.video.as_mut().filter(|stream| stream.codec() == codec) else {
            return Outcome::Fault(MediaFault::NoConfig);
        };
        let sample = stream.sample(data);
        if let Some(config) = sample.new_config {
            self.publisher.set_video(config, now);
        }
        if !sample.has_picture {
            // Parameter sets or SEI alone are legal, if odd.
            return if sample.data.is_empty() && !data.is_empty() {
                Outcome::Fault(MediaFault::NoPicture)
            } else {
                Outcome::Fine
            };
        }
        if sample.is_open_gop {
            self.say_open_gop();
        }
        let raw = RawSample {
            kind: MediaKind::Video,
            dts: Some(MediaTime::from_millis(timestamp_ms)),
            pts: MediaTime::from_millis(timestamp_ms + i64::from(composition_time_ms)),
            is_sync: sample.is_sync,
            is_disposable: sample.is_disposable,
            data: sample.data,
        };
        self.publisher.push(raw, now);
        Outcome::Fine
    }

    fn video_header(&mut self, codec: VideoCodec, record: Bytes, now: Micros) -> Outcome {
        let in_force = self.video.as_ref().map(VideoStream::codec);
        if in_force == Some(codec) && record == self.video_header {
            return Outcome::Fine;
        }
        match VideoStream::new(codec, &record) {
            Ok(stream) => {
                self.publisher.set_video(stream.config().clone(), now);
                self.publisher.stream().notices().clear("video_config");
                self.video = Some(stream);
                // A copy, so that it does not keep a read buffer alive.
                self.video_header = Bytes::copy_from_slice(&record);
                Outcome::Fine
            }
            Err(error) => {
                let codec = codec.as_str();
                let text = format!(
                    "The encoder's {codec} header cannot be read ({error}): check its video settings."
                );
                self.notice("video_config", Severity::Error, text);
                Outcome::Fault(MediaFault::BadConfig)
            }
        }
    }

    fn say_open_gop(&mut self) {
        if !std::mem::replace(&mut self.is_open_gop_said, true) {
            let text = "The encoder uses open GOPs, so a picture or two may be missing where a viewer joins or switches \
                        quality: set closed GOPs (x265: no-open-gop).";
            self.notice("open_gop", Severity::Info, text.to_owned());
        }
    }

    fn say_tracks(&self, code: &'static str, kind: &str) {
        let text = format!("The encoder sends several {kind} tracks; only its first is taken.");
        self.notice(code, Severity::Warning, text);
    }

    fn audio(&mut self, timestamp_ms: i64, body: &Bytes, now: Micros) -> Outcome {
        let tracks = match flv::parse_audio(body) {
            Err(_) => return Outcome::Fault(MediaFault::BadTag),
            Ok(AudioTag::Tracks(tracks)) => tracks,
            Ok(tag) => return self.audio_tag(tag, timestamp_ms, now),
        };
        let mut outcome = Outcome::Fine;
        for track in tracks {
            match track {
                Err(_) => return Outcome::Fault(MediaFault::BadTag),
                Ok((SOURCE_TRACK, tag)) => outcome = self.audio_tag(tag, timestamp_ms, now),
                Ok(_) => self.say_tracks("audio_tracks", "audio"),
            }
        }
        outcome
    }

    fn audio_tag(&mut self, tag: AudioTag, timestamp_ms: i64, now: Micros) -> Outcome {
        let (configured, data) = match tag {
            // Tracks within a track do not exist.
            AudioTag::Nothing | AudioTag::Tracks(_) => return Outcome::Fine,
            AudioTag::AacHeader(record) => return self.aac_header(&record, now),
            AudioTag::FlacHeader(header) => return self.flac_header(&header, now),
            AudioTag::OpusHeader(head) => {
                // How long its packets are is known with the first one.
                let head = Bytes::copy_from_slice(&head);
                self.audio = Audio::Opus { head, samples: 0 };
                return Outcome::Fine;
            }
            AudioTag::Aac(data) if matches!(self.audio, Audio::Aac(_)) => (Outcome::Fine, data),
            AudioTag::Flac(data) if matches!(self.audio, Audio::Flac(_)) => (Outcome::Fine, data),
            AudioTag::Opus(data) => (self.opus_packet(&data, now), data),
            AudioTag::Aac(_) | AudioTag::Flac(_) => return Outcome::Fault(MediaFault::NoConfig),
            AudioTag::Mp3(data) => (self.mp3_header(&data, now), data),
            AudioTag::Unsupported(codec) => {
                let text = format!(
                    "The encoder sends {codec} sound, which this server does not take: set AAC or Opus."
                );
                self.notice("audio_codec", Severity::Error, text);
                return Outcome::Fault(MediaFault::UnsupportedCodec);
            }
        };
        if configured != Outcome::Fine {
            return configured;
        }
        let at = MediaTime::from_millis(timestamp_ms);
        let raw = RawSample {
            kind: MediaKind::Audio,
            dts: Some(at),
            pts: at,
            is_sync: true,
            is_disposable: false,
            data,
        };
        self.publisher.push(raw, now);
        Outcome::Fine
    }

    fn flac_header(&mut self, header: &Bytes, now: Micros) -> Outcome {
        if matches!(&self.audio, Audio::Flac(known) if known == header) {
            return Outcome::Fine;
        }
        match media::flac::parse_header(header) {
            Ok(config) => self.configured(config, Audio::Flac(Bytes::copy_from_slice(header)), now),
            Err(error) => self.bad_audio_header("FLAC", &error),
        }
    }

    /// Opus says in each packet how long it is; encoders do not change it.
    fn opus_packet(&mut self, packet: &[u8], now: Micros) -> Outcome {
        let Audio::Opus { head, samples } = &self.audio else {
            return Outcome::Fault(MediaFault::NoConfig);
        };
        let Some(found) = media::opus::packet_samples(packet) else {
            return Outcome::Fault(MediaFault::BadTag);
        };
        if found == *samples {
            return Outcome::Fine;
        }
        let head = head.clone();
        match media::opus::parse_head(&head, found) {
            Ok(config) => self.configured(config, Audio::Opus { head, samples: found }, now),
            Err(error) => self.bad_audio_header("Opus", &error),
        }
    }

    fn configured(&mut self, config: AudioConfig, audio: Audio, now: Micros) -> Outcome {
        self.publisher.set_audio(config, now);
        self.clear_audio_notices();
        self.audio = audio;
        Outcome::Fine
    }

    fn bad_audio_header(&self, codec: &str, error: &dyn std::error::Error) -> Outcome {
        let text =
            format!("The encoder's {codec} header cannot be read ({error}): check its audio settings.");
        self.notice("audio_config", Severity::Error, text);
        Outcome::Fault(MediaFault::BadConfig)
    }

    fn aac_header(&mut self, record: &Bytes, now: Micros) -> Outcome {
        if matches!(&self.audio, Audio::Aac(known) if known == record) {
            return Outcome::Fine;
        }
        match media::aac::parse_config(record) {
            Ok(config) => self.configured(config, Audio::Aac(Bytes::copy_from_slice(record)), now),
            Err(error) => self.bad_audio_header("AAC", &error),
        }
    }

    /// MP3 has its configuration in each frame: two bytes of it (version, layer, rate, channels) do not change.
    fn mp3_header(&mut self, frame: &[u8], now: Micros) -> Outcome {
        let Some(&[_, second, third, fourth]) = frame.first_chunk::<MP3_HEADER_BYTES>() else {
            return Outcome::Fault(MediaFault::BadTag);
        };
        let fixed = [second & 0xfe, third & 0x0c | u8::from(fourth >> 6 == 3)];
        if matches!(self.audio, Audio::Mp3(known) if known == fixed) {
            return Outcome::Fine;
        }
        match flv::parse_mp3_config(frame) {
            Ok(config) => self.configured(config, Audio::Mp3(fixed), now),
            Err(_) => Outcome::Fault(MediaFault::BadTag),
        }
    }

    fn notice(&self, code: &'static str, severity: Severity, text: String) {
        self.publisher.stream().notices().set(code, severity, text);
    }

    fn clear_audio_notices(&self) {
        let notices = self.publisher.stream().notices();
        notices.clear("audio_config");
        notices.clear("audio_codec");
    }
}

/// The encoder's name for itself, cut, without control characters.
pub(crate) fn encoder_name(text: &str) -> String {
    text.chars()
        .filter(|character| !character.is_control())
        .take(ENCODER_CHARS_MAX)
        .collect()
}

fn bits_per_second(kilobits: f64) -> Option<u32> {
    let bits = kilobits * 1000.0;
    (bits >= 1.0 && bits <= f64::from(u32::MAX)).then_some(bits as u32)
}

/// Metadata says 29.97 and means 30000/1001.
fn frame_rate(number: f64) -> Option<FrameRate> {
    if !(0.1..=1000.0).contains(&number) {
        return None;
    }
    let fraction = |numerator: u32, denominator: u32| {
        Some(FrameRate {
            numerator: NonZeroU32::new(numerator)?,
            denominator: NonZeroU32::new(denominator)?,
        })
    };
    let nominal = number.ceil();
    // 23.976 and 23.98, 29.97, 59.94, 119.88 are a thousandth below a whole number.
    if (nominal * 1000.0 / 1001.0 - number).abs() < 0.005 {
        return fraction(nominal as u32 * 1000, 1001);
    }
    if (number - number.round()).abs() < 0.001 {
        return fraction(number.round() as u32, 1);
    }
    fraction((number * 1000.0).round() as u32, 1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frame_rates_are_exact() {
        for (number, expected) in [
            (30.0, Some((30, 1))),
            (29.97, Some((30_000, 1001))),
            (29.970_029_97, Some((30_000, 1001))),
            (23.976, Some((24_000, 1001))),
            (59.94, Some((60_000, 1001))),
            (12.5, Some((12_500, 1000))),
            (0.0, None),
            (f64::NAN, None),
            (1e9, None),
        ] {
            let found = frame_rate(number).map(|rate| (rate.numerator.get(), rate.denominator.get()));
            assert_eq!(found, expected, "{number}");
        }
    }

    #[test]
    fn bit_rates_are_bits_and_sane() {
        assert_eq!(bits_per_second(2500.0), Some(2_500_000));
        for senseless in [0.0, -1.0, f64::NAN, f64::INFINITY, 1e12] {
            assert_eq!(bits_per_second(senseless), None);
        }
    }
}
