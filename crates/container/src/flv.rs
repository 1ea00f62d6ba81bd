//! FLV: tag bodies as RTMP carries them, and whole files and pipes as FFmpeg speaks them.
//!
//! Adobe Flash Video File Format Specification 10.1, annex E. Times are milliseconds.
//!
//! [`parse_video`] and [`parse_audio`] read a tag body and give out slices of it, also in Enhanced RTMP v2's form (`ex`).
//! [`VideoStream`] turns the data of video tags into the form of [`media::Sample::data`]. [`Demuxer`] and [`Muxer`]
//! read and write the file form. Codecs that Tidewire does not take are reported by name.

mod avc;
mod demux;
mod ex;
mod mp3;
mod mux;
mod stream;

use std::fmt;

use bytes::Bytes;
use media::VideoCodec;

pub use avc::AvcStream;
pub use demux::{Demuxer, FileError, FileTag, TAG_HEADER_BYTES, TagKind};
pub use ex::{AUDIO_FOUR_CCS, AudioTracks, TRACKS_PER_TAG_MAX, VIDEO_FOUR_CCS, VideoTracks};
pub use mp3::{Mp3Error, parse_mp3_config};
pub use mux::{
    AVC_BODY_HEADER_BYTES, AvcPacket, MetadataValue, Muxer, aac_body_header, avc_body_header, mp3_body_header,
};
pub use stream::{Av1Stream, HevcStream, VideoError, VideoSample, VideoStream};

/// Why a tag body cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The body ends within its own header.
    #[error("{what} tag of {found} bytes, at least {expected} expected")]
    Truncated {
        /// `video` or `audio`.
        what: &'static str,
        /// Bytes given.
        found: usize,
        /// Bytes needed.
        expected: usize,
    },
    /// A packet type that the codec does not have.
    #[error("{what} tag of packet type {found}")]
    PacketType {
        /// `video` or `audio`.
        what: &'static str,
        /// As found.
        found: u8,
    },
    /// An AvMultitrackType that Enhanced RTMP v2 does not have.
    #[error("{what} tag of multitrack type {found}, at most 2 expected")]
    Multitrack {
        /// `video` or `audio`.
        what: &'static str,
        /// As found.
        found: u8,
    },
}

/// A codec that Tidewire does not take, by the name that its users know.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub enum Codec {
    /// CodecID of a classic video tag (E.4.3.1).
    Video(u8),
    /// SoundFormat of a classic audio tag (E.4.2.1).
    Audio(u8),
    /// FourCC of an Enhanced RTMP tag; zeros if it was cut off.
    FourCc([u8; 4]),
}

impl fmt::Display for Codec {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self {
            Codec::Video(2) => "Sorenson H.263",
            Codec::Video(3 | 6) => "Screen Video",
            Codec::Video(4 | 5) => "VP6",
            Codec::Video(12) => "HEVC (old FLV extension)",
            Codec::Video(13) => "AV1 (old FLV extension)",
            Codec::Video(id) => return write!(formatter, "video codec {id}"),
            Codec::Audio(0 | 3) => "PCM",
            Codec::Audio(1) => "ADPCM",
            Codec::Audio(4..=6) => "Nellymoser",
            Codec::Audio(7) => "G.711 A-law",
            Codec::Audio(8) => "G.711 mu-law",
            Codec::Audio(11) => "Speex",
            Codec::Audio(13) => "Opus (old FLV extension)",
            Codec::Audio(id) => return write!(formatter, "audio format {id}"),
            Codec::FourCc(code) => match code {
                b"hvc1" => "HEVC",
                b"av01" => "AV1",
                b"vp08" => "VP8",
                b"vp09" => "VP9",
                b"avc1" => "H.264 in an Enhanced RTMP tag",
                b"mp4a" => "AAC in an Enhanced RTMP tag",
                b"Opus" => "Opus",
                b"fLaC" => "FLAC",
                b"ac-3" => "AC-3",
                b"ec-3" => "E-AC-3",
                _ => return write!(formatter, "FourCC \"{}\"", code.escape_ascii()),
            },
        };
        formatter.write_str(name)
    }
}

impl fmt::Debug for Codec {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

/// A video tag body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VideoTag {
    /// The decoder configuration record, as [`media::VideoConfig::record`].
    SequenceHeader {
        /// What it configures.
        codec: VideoCodec,
        /// The record.
        record: Bytes,
    },
    /// One access unit.
    Frame {
        /// Its codec.
        codec: VideoCodec,
        /// The tag calls itself a key frame. Encoders are known to be wrong: look at [`VideoSample::is_sync`].
        is_key_flag: bool,
        /// Presentation minus decode time, milliseconds.
        composition_time_ms: i32,
        /// H.264 and HEVC: NAL units with lengths as the record says. AV1: a temporal unit.
        data: Bytes,
    },
    /// The sequence has ended. Not the stream: a new header may follow.
    EndOfSequence,
    /// Nothing to decode: an empty body, metadata, or a "video info" frame.
    Nothing,
    /// Several tracks, or one that is not the first.
    Tracks(VideoTracks),
    /// Another codec.
    Unsupported(Codec),
}

/// An audio tag body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AudioTag {
    /// AudioSpecificConfig (ISO/IEC 14496-3 1.6.2.1).
    AacHeader(Bytes),
    /// One raw_data_block.
    Aac(Bytes),
    /// One MPEG audio layer III frame, header included.
    Mp3(Bytes),
    /// Identification header (RFC 7845 5.1).
    OpusHeader(Bytes),
    /// One Opus packet.
    Opus(Bytes),
    /// Marker and metadata blocks (RFC 9639 8).
    FlacHeader(Bytes),
    /// One FLAC frame.
    Flac(Bytes),
    /// Several tracks, or one that is not the first.
    Tracks(AudioTracks),
    /// Nothing to decode: an empty body.
    Nothing,
    /// Another codec.
    Unsupported(Codec),
}

const CODEC_AVC: u8 = 7;
const FRAME_KEY: u8 = 1;
/// Info or command: no picture.
const FRAME_INFO: u8 = 5;
/// The top bit of an Enhanced RTMP video tag.
const IS_EX_HEADER: u8 = 0x80;
const SOUND_MP3: u8 = 2;
const SOUND_EX_HEADER: u8 = 9;
const SOUND_AAC: u8 = 10;
const SOUND_MP3_8K: u8 = 14;

/// Reads a video tag body (E.4.3; Enhanced RTMP v2).
pub fn parse_video(body: &Bytes) -> Result<VideoTag, Error> {
    let Some(&first) = body.first() else {
        return Ok(VideoTag::Nothing);
    };
    if first & IS_EX_HEADER != 0 {
        return ex::parse_video(body);
    }
    let frame = first >> 4;
    if frame == FRAME_INFO {
        return Ok(VideoTag::Nothing);
    }
    let codec = first & 0x0f;
    if codec != CODEC_AVC {
        return Ok(VideoTag::Unsupported(Codec::Video(codec)));
    }
    let Some(&[_, packet, a, b, c]) = body.first_chunk() else {
        // The two bytes of an end of sequence are known to come alone.
        return match body.get(1) {
            Some(2) => Ok(VideoTag::EndOfSequence),
            _ => Err(Error::Truncated {
                what: "video",
                found: body.len(),
                expected: 5,
            }),
        };
    };
    match packet {
        0 => Ok(VideoTag::SequenceHeader {
            codec: VideoCodec::H264,
            record: body.slice(5..),
        }),
        1 => {
            // 24 bits, signed.
            let composition_time_ms = i32::from_be_bytes([a, b, c, 0]) >> 8;
            Ok(VideoTag::Frame {
                codec: VideoCodec::H264,
                is_key_flag: frame == FRAME_KEY,
                composition_time_ms,
                data: body.slice(5..),
            })
        }
        2 => Ok(VideoTag::EndOfSequence),
        found => Err(Error::PacketType { what: "video", found }),
    }
}

/// Reads an audio tag body (E.4.2; Enhanced RTMP v2).
pub fn parse_audio(body: &Bytes) -> Result<AudioTag, Error> {
    let Some(&first) = body.first() else {
        return Ok(AudioTag::Nothing);
    };
    match first >> 4 {
        SOUND_AAC => match body.get(1) {
            None => Err(Error::Truncated {
                what: "audio",
                found: body.len(),
                expected: 2,
            }),
            Some(_) if body.len() == 2 => Ok(AudioTag::Nothing),
            Some(0) => Ok(AudioTag::AacHeader(body.slice(2..))),
            Some(1) => Ok(AudioTag::Aac(body.slice(2..))),
            Some(&found) => Err(Error::PacketType { what: "audio", found }),
        },
        SOUND_MP3 | SOUND_MP3_8K if body.len() == 1 => Ok(AudioTag::Nothing),
        SOUND_MP3 | SOUND_MP3_8K => Ok(AudioTag::Mp3(body.slice(1..))),
        SOUND_EX_HEADER => ex::parse_audio(body),
        format => Ok(AudioTag::Unsupported(Codec::Audio(format))),
    }
}

#[cfg(test)]
mod tests;
