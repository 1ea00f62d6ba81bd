//! Enhanced RTMP v2 tag headers (Veovera, Enhancing RTMP, FLV: "Enhanced Video", "Enhanced Audio").

use bytes::{Buf, Bytes};
use media::VideoCodec;

use super::{AudioTag, Codec, Error, FRAME_INFO, FRAME_KEY, VideoTag};

/// ModEx packets in front of one tag; one for each type that the specification has would do.
const MOD_EX_MAX: usize = 8;
/// Tracks in one multitrack tag: track ids have 8 bits, encoders make up to 6.
pub const TRACKS_PER_TAG_MAX: usize = 32;

/// FourCCs of video codecs that come out as frames.
pub const VIDEO_FOUR_CCS: &[&str] = &["avc1", "hvc1", "av01"];

/// FourCCs of audio codecs that come out as frames.
pub const AUDIO_FOUR_CCS: &[&str] = &["mp4a", ".mp3", "Opus", "fLaC"];

/// AudioPacketType.
mod audio_packet {
    pub(super) const SEQUENCE_START: u8 = 0;
    pub(super) const CODED_FRAMES: u8 = 1;
    pub(super) const SEQUENCE_END: u8 = 2;
    pub(super) const MULTICHANNEL_CONFIG: u8 = 4;
    pub(super) const MULTITRACK: u8 = 5;
    pub(super) const MOD_EX: u8 = 7;
}

/// VideoPacketType.
mod packet {
    pub(super) const SEQUENCE_START: u8 = 0;
    pub(super) const CODED_FRAMES: u8 = 1;
    pub(super) const SEQUENCE_END: u8 = 2;
    pub(super) const CODED_FRAMES_X: u8 = 3;
    pub(super) const METADATA: u8 = 4;
    pub(super) const MPEG2_TS_SEQUENCE_START: u8 = 5;
    pub(super) const MULTITRACK: u8 = 6;
    pub(super) const MOD_EX: u8 = 7;
}

/// AvMultitrackType.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Multitrack {
    OneTrack,
    ManyTracks,
    ManyTracksManyCodecs,
}

/// Reads from the front of a tag body.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Cursor {
    what: &'static str,
    rest: Bytes,
    read: usize,
}

impl Cursor {
    fn take<const COUNT: usize>(&mut self) -> Result<[u8; COUNT], Error> {
        let bytes = self.rest.first_chunk().copied().ok_or(Error::Truncated {
            what: self.what,
            found: self.read + self.rest.len(),
            expected: self.read + COUNT,
        })?;
        self.rest.advance(COUNT);
        self.read += COUNT;
        Ok(bytes)
    }

    fn split(&mut self, count: usize) -> Result<Bytes, Error> {
        if count > self.rest.len() {
            return Err(Error::Truncated {
                what: self.what,
                found: self.read + self.rest.len(),
                expected: self.read + count,
            });
        }
        self.read += count;
        Ok(self.rest.split_to(count))
    }

    /// Passes over ModEx packets; the packet type behind them. Their only type so far (TimestampOffsetNano) refines a
    /// time by less than a millisecond, which the repaired timeline does not need.
    fn skip_mod_ex(&mut self, mut packet: u8) -> Result<u8, Error> {
        // One number in both kinds.
        const { assert!(packet::MOD_EX == audio_packet::MOD_EX) };
        for _ in 0..MOD_EX_MAX {
            if packet != packet::MOD_EX {
                return Ok(packet);
            }
            let [size] = self.take()?;
            let mut size = usize::from(size) + 1;
            if size == 256 {
                size = usize::from(u16::from_be_bytes(self.take()?)) + 1;
            }
            self.split(size)?;
            let [types] = self.take()?;
            packet = types & 0x0f;
        }
        Err(Error::PacketType {
            what: self.what,
            found: packet,
        })
    }
}

/// Reads a video tag body with IsExHeader set.
pub(super) fn parse_video(body: &Bytes) -> Result<VideoTag, Error> {
    let mut cursor = Cursor {
        what: "video",
        rest: body.clone(),
        read: 0,
    };
    let [first] = cursor.take()?;
    let frame = first >> 4 & 7;
    let packet = cursor.skip_mod_ex(first & 0x0f)?;
    if frame == FRAME_INFO && packet != packet::METADATA {
        return Ok(VideoTag::Nothing);
    }
    let is_key_flag = frame == FRAME_KEY;
    if packet != packet::MULTITRACK {
        let four_cc = cursor.take()?;
        return one(four_cc, packet, is_key_flag, cursor);
    }
    let [types] = cursor.take()?;
    Ok(VideoTag::Tracks(VideoTracks {
        packet: types & 0x0f,
        is_key_flag,
        tracks: Tracks::new(types >> 4, cursor)?,
    }))
}

/// Reads an audio tag body of SoundFormat 9 (ExAudioTagHeader).
pub(super) fn parse_audio(body: &Bytes) -> Result<AudioTag, Error> {
    let mut cursor = Cursor {
        what: "audio",
        rest: body.clone(),
        read: 0,
    };
    let [first] = cursor.take()?;
    let packet = cursor.skip_mod_ex(first & 0x0f)?;
    if packet != audio_packet::MULTITRACK {
        let four_cc = cursor.take()?;
        return one_audio(four_cc, packet, cursor);
    }
    let [types] = cursor.take()?;
    Ok(AudioTag::Tracks(AudioTracks {
        packet: types & 0x0f,
        tracks: Tracks::new(types >> 4, cursor)?,
    }))
}

/// What one audio track has in the tag.
fn one_audio(four_cc: [u8; 4], packet: u8, cursor: Cursor) -> Result<AudioTag, Error> {
    let body = cursor.rest;
    match (&four_cc, packet) {
        (b"mp4a", audio_packet::SEQUENCE_START) => Ok(AudioTag::AacHeader(body)),
        (b"Opus", audio_packet::SEQUENCE_START) => Ok(AudioTag::OpusHeader(body)),
        (b"fLaC", audio_packet::SEQUENCE_START) => Ok(AudioTag::FlacHeader(body)),
        (b"mp4a" | b".mp3" | b"Opus" | b"fLaC", audio_packet::CODED_FRAMES) if body.is_empty() => {
            Ok(AudioTag::Nothing)
        }
        (b"mp4a", audio_packet::CODED_FRAMES) => Ok(AudioTag::Aac(body)),
        (b".mp3", audio_packet::CODED_FRAMES) => Ok(AudioTag::Mp3(body)),
        (b"Opus", audio_packet::CODED_FRAMES) => Ok(AudioTag::Opus(body)),
        (b"fLaC", audio_packet::CODED_FRAMES) => Ok(AudioTag::Flac(body)),
        (b"mp4a" | b".mp3" | b"Opus" | b"fLaC", found) => match found {
            // MP3 says all in its frames, and the channels' order is in each codec's own header.
            audio_packet::SEQUENCE_START | audio_packet::SEQUENCE_END | audio_packet::MULTICHANNEL_CONFIG => {
                Ok(AudioTag::Nothing)
            }
            found => Err(Error::PacketType { what: "audio", found }),
        },
        _ => Ok(AudioTag::Unsupported(Codec::FourCc(four_cc))),
    }
}

/// What one track has in the tag.
fn one(four_cc: [u8; 4], packet: u8, is_key_flag: bool, mut cursor: Cursor) -> Result<VideoTag, Error> {
    let codec = match &four_cc {
        b"avc1" => VideoCodec::H264,
        b"hvc1" => VideoCodec::Hevc,
        b"av01" => VideoCodec::Av1,
        _ => return Ok(VideoTag::Unsupported(Codec::FourCc(four_cc))),
    };
    match packet {
        packet::SEQUENCE_START => Ok(VideoTag::SequenceHeader {
            codec,
            record: cursor.rest,
        }),
        packet::CODED_FRAMES | packet::CODED_FRAMES_X => {
            let has_time = packet == packet::CODED_FRAMES && codec != VideoCodec::Av1;
            let composition_time_ms = if has_time {
                let [a, b, c] = cursor.take()?;
                i32::from_be_bytes([a, b, c, 0]) >> 8
            } else {
                0
            };
            Ok(VideoTag::Frame {
                codec,
                is_key_flag,
                composition_time_ms,
                data: cursor.rest,
            })
        }
        packet::SEQUENCE_END => Ok(VideoTag::EndOfSequence),
        // HDR metadata is in the bit stream too; the sequence start of MPEG-TS says nothing that a sequence header does not.
        packet::METADATA | packet::MPEG2_TS_SEQUENCE_START => Ok(VideoTag::Nothing),
        found => Err(Error::PacketType { what: "video", found }),
    }
}

/// The bodies of a multitrack tag. Ends behind an error.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Tracks {
    multitrack: Multitrack,
    /// Of all tracks, unless each has its own.
    four_cc: Option<[u8; 4]>,
    cursor: Cursor,
    left: usize,
}

impl Tracks {
    fn new(multitrack: u8, mut cursor: Cursor) -> Result<Self, Error> {
        let multitrack = match multitrack {
            0 => Multitrack::OneTrack,
            1 => Multitrack::ManyTracks,
            2 => Multitrack::ManyTracksManyCodecs,
            found => {
                return Err(Error::Multitrack {
                    what: cursor.what,
                    found,
                });
            }
        };
        let four_cc = match multitrack {
            Multitrack::ManyTracksManyCodecs => None,
            _ => Some(cursor.take()?),
        };
        Ok(Self {
            multitrack,
            four_cc,
            cursor,
            left: TRACKS_PER_TAG_MAX,
        })
    }

    /// The next track's number, codec and body, read by `read`.
    fn next<T>(
        &mut self,
        read: impl FnOnce([u8; 4], Cursor) -> Result<T, Error>,
    ) -> Option<Result<(u8, T), Error>> {
        if self.cursor.rest.is_empty() || self.left == 0 {
            return None;
        }
        self.left -= 1;
        let track = self
            .body()
            .and_then(|(four_cc, track, body)| Ok((track, read(four_cc, body)?)));
        if track.is_err() {
            self.left = 0;
        }
        Some(track)
    }

    fn body(&mut self) -> Result<([u8; 4], u8, Cursor), Error> {
        let four_cc = match self.four_cc {
            Some(four_cc) => four_cc,
            None => self.cursor.take()?,
        };
        let [track] = self.cursor.take()?;
        let body = if self.multitrack == Multitrack::OneTrack {
            self.cursor.rest.len()
        } else {
            let [a, b, c] = self.cursor.take()?;
            u32::from_be_bytes([0, a, b, c]) as usize
        };
        let cursor = Cursor {
            what: self.cursor.what,
            rest: self.cursor.split(body)?,
            read: 0,
        };
        Ok((four_cc, track, cursor))
    }
}

/// The tracks of a multitrack video tag, in order: number and what it has. Ends behind an error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VideoTracks {
    packet: u8,
    is_key_flag: bool,
    tracks: Tracks,
}

impl Iterator for VideoTracks {
    type Item = Result<(u8, VideoTag), Error>;

    fn next(&mut self) -> Option<Self::Item> {
        let (packet, is_key_flag) = (self.packet, self.is_key_flag);
        self.tracks
            .next(|four_cc, body| one(four_cc, packet, is_key_flag, body))
    }
}

/// The tracks of a multitrack audio tag, in order: number and what it has. Ends behind an error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AudioTracks {
    packet: u8,
    tracks: Tracks,
}

impl Iterator for AudioTracks {
    type Item = Result<(u8, AudioTag), Error>;

    fn next(&mut self) -> Option<Self::Item> {
        let packet = self.packet;
        self.tracks.next(|four_cc, body| one_audio(four_cc, packet, body))
    }
}
