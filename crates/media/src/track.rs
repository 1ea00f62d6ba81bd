//! Tracks and what a decoder must know about them.

use std::num::NonZeroU32;

use bytes::Bytes;

/// What a track carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum MediaKind {
    /// Coded pictures.
    Video,
    /// Coded sound.
    Audio,
}

/// Video codecs that can travel through the hub.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum VideoCodec {
    /// ITU-T H.264, ISO/IEC 14496-10.
    H264,
    /// ITU-T H.265, ISO/IEC 23008-2.
    Hevc,
    /// AOMedia Video 1.
    Av1,
}

/// Audio codecs that can travel through the hub.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum AudioCodec {
    /// AAC, ISO/IEC 14496-3.
    Aac,
    /// MPEG-1/2 layer III. Accepted from publishers, transcoded to AAC before packaging.
    Mp3,
    /// Opus, RFC 6716.
    Opus,
    /// FLAC, RFC 9639.
    Flac,
}

/// A frame rate as an exact fraction, frames per `denominator / numerator` seconds: 30000/1001.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FrameRate {
    /// Frames in `denominator` seconds.
    pub numerator: NonZeroU32,
    /// Seconds.
    pub denominator: NonZeroU32,
}

/// What a decoder of a video track must know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VideoConfig {
    /// The codec.
    pub codec: VideoCodec,
    /// The decoder configuration record as it stands in the sample entry: AVCDecoderConfigurationRecord (ISO/IEC 14496-15
    /// 5.3.3.1.2), HEVCDecoderConfigurationRecord (8.3.3.1.2) or AV1CodecConfigurationRecord (AV1-ISOBMFF 2.3.3).
    pub record: Bytes,
    /// The value of the `codecs` parameter, RFC 6381: `avc1.64001f`, `hvc1.1.6.L93.90`, `av01.0.04M.08`.
    pub codec_string: String,
    /// Luma samples per line after cropping.
    pub width: u32,
    /// Lines after cropping.
    pub height: u32,
    /// Pixel aspect ratio, horizontal : vertical. (1, 1) if the stream does not say.
    pub pixel_aspect: (u32, u32),
    /// Frame rate as the bit stream or the publisher's metadata says it, if they do.
    pub frame_rate: Option<FrameRate>,
}

/// What a decoder of an audio track must know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AudioConfig {
    /// The codec.
    pub codec: AudioCodec,
    /// AAC: the AudioSpecificConfig (ISO/IEC 14496-3 1.6.2.1). Opus: the content of `dOps`. FLAC: the STREAMINFO block.
    /// MP3: empty.
    pub record: Bytes,
    /// The value of the `codecs` parameter, RFC 6381: `mp4a.40.2`, `opus`, `flac`.
    pub codec_string: String,
    /// Sample frames a second; also the track's timescale.
    pub sample_rate: NonZeroU32,
    /// Channels as played.
    pub channels: u16,
    /// Sample frames in one access unit (AAC-LC: 1024, Opus of 20 ms: 960).
    pub frame_samples: u32,
}

/// What a decoder of a track must know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TrackConfig {
    /// Pictures.
    Video(VideoConfig),
    /// Sound.
    Audio(AudioConfig),
}

/// One run of samples with one codec configuration. A new configuration is a new `Track` value with the next `epoch`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Track {
    /// Ticks per second of the samples' times.
    pub timescale: NonZeroU32,
    /// Counts the configurations and discontinuities of the stream so far, from 0.
    pub epoch: u32,
    /// What a decoder must know.
    pub config: TrackConfig,
}

impl VideoCodec {
    /// The name that its users know.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::H264 => "H.264",
            Self::Hevc => "HEVC",
            Self::Av1 => "AV1",
        }
    }
}

impl Track {
    /// What the track carries.
    pub fn kind(&self) -> MediaKind {
        match self.config {
            TrackConfig::Video(_) => MediaKind::Video,
            TrackConfig::Audio(_) => MediaKind::Audio,
        }
    }
}
