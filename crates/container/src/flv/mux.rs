//! Samples to FLV tags.

use bytes::{BufMut, BytesMut};

use super::demux::{TAG_HEADER_BYTES, TagKind};

/// Bytes in front of the NAL units in an H.264 tag body.
pub const AVC_BODY_HEADER_BYTES: usize = 5;

/// What an H.264 tag body carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AvcPacket {
    /// AVCDecoderConfigurationRecord.
    SequenceHeader,
    /// NAL units.
    Nalus {
        /// It starts with an IDR picture.
        is_sync: bool,
        /// Presentation minus decode time, milliseconds; 24 bits travel.
        composition_time_ms: i32,
    },
    /// Nothing.
    EndOfSequence,
}

/// The front of an H.264 tag body (E.4.3).
pub fn avc_body_header(packet: AvcPacket) -> [u8; AVC_BODY_HEADER_BYTES] {
    match packet {
        AvcPacket::SequenceHeader => [0x17, 0, 0, 0, 0],
        AvcPacket::Nalus {
            is_sync,
            composition_time_ms,
        } => {
            let [_, a, b, c] = composition_time_ms.to_be_bytes();
            [if is_sync { 0x17 } else { 0x27 }, 1, a, b, c]
        }
        AvcPacket::EndOfSequence => [0x17, 2, 0, 0, 0],
    }
}

/// The front of an AAC tag body (E.4.2). The rate and channel bits are fixed for AAC.
pub fn aac_body_header(is_config: bool) -> [u8; 2] {
    [0xaf, u8::from(!is_config)]
}

/// The front of an MP3 tag body: 44 kHz, 16 bits, stereo; readers take the frame's own header.
pub fn mp3_body_header() -> [u8; 1] {
    [0x2f]
}

/// A value of `onMetaData`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum MetadataValue<'a> {
    /// A number.
    Number(f64),
    /// A truth.
    Boolean(bool),
    /// Text, cut at 65535 bytes.
    Text(&'a str),
}

/// Writes the file form into the caller's buffer. Timestamps are masked to 31 bits, as FFmpeg reads them.
#[derive(Clone, Copy, Debug, Default)]
pub struct Muxer;

impl Muxer {
    /// The file header. Readers take the flags as a promise of what comes.
    pub fn header(self, out: &mut BytesMut, has_audio: bool, has_video: bool) {
        let flags = u8::from(has_audio) << 2 | u8::from(has_video);
        out.put_slice(&[b'F', b'L', b'V', 1, flags, 0, 0, 0, 9, 0, 0, 0, 0]);
    }

    /// One tag whose body is the concatenation of `parts`, at most 16 MiB.
    pub fn tag(self, out: &mut BytesMut, kind: TagKind, timestamp_ms: i64, parts: &[&[u8]]) {
        let length: usize = parts.iter().map(|part| part.len()).sum();
        debug_assert!(length < 1 << 24, "an FLV tag body is shorter than 16 MiB");
        let type_id = match kind {
            TagKind::Audio => 8,
            TagKind::Video => 9,
            TagKind::Script => 18,
        };
        out.reserve(TAG_HEADER_BYTES + length + 4);
        out.put_u8(type_id);
        out.put_uint(length as u64, 3);
        let [a, b, c, d] = ((timestamp_ms & 0x7fff_ffff) as u32).to_be_bytes();
        out.put_slice(&[b, c, d, a, 0, 0, 0]);
        for part in parts {
            out.put_slice(part);
        }
        out.put_u32((TAG_HEADER_BYTES + length) as u32);
    }

    /// `onMetaData` with the given properties (E.5).
    pub fn metadata(self, out: &mut BytesMut, properties: &[(&str, MetadataValue<'_>)]) {
        let mut body = BytesMut::new();
        body.put_u8(2);
        put_text(&mut body, "onMetaData");
        body.put_u8(8);
        body.put_u32(properties.len() as u32);
        for (key, value) in properties {
            put_text(&mut body, key);
            match value {
                MetadataValue::Number(number) => {
                    body.put_u8(0);
                    body.put_f64(*number);
                }
                MetadataValue::Boolean(flag) => body.put_slice(&[1, u8::from(*flag)]),
                MetadataValue::Text(text) => {
                    body.put_u8(2);
                    put_text(&mut body, text);
                }
            }
        }
        body.put_slice(&[0, 0, 9]);
        self.tag(out, TagKind::Script, 0, &[&body]);
    }

    /// The H.264 configuration.
    pub fn avc_config(self, out: &mut BytesMut, timestamp_ms: i64, record: &[u8]) {
        self.tag(
            out,
            TagKind::Video,
            timestamp_ms,
            &[&avc_body_header(AvcPacket::SequenceHeader), record],
        );
    }

    /// One H.264 access unit, NAL units with 4-byte lengths.
    pub fn avc_sample(self, out: &mut BytesMut, dts_ms: i64, pts_ms: i64, is_sync: bool, data: &[u8]) {
        let composition_time_ms = (pts_ms - dts_ms).clamp(-0x80_0000, 0x7f_ffff) as i32;
        let head = avc_body_header(AvcPacket::Nalus {
            is_sync,
            composition_time_ms,
        });
        self.tag(out, TagKind::Video, dts_ms, &[&head, data]);
    }

    /// The AAC configuration.
    pub fn aac_config(self, out: &mut BytesMut, timestamp_ms: i64, record: &[u8]) {
        self.tag(
            out,
            TagKind::Audio,
            timestamp_ms,
            &[&aac_body_header(true), record],
        );
    }

    /// One AAC access unit.
    pub fn aac_sample(self, out: &mut BytesMut, timestamp_ms: i64, data: &[u8]) {
        self.tag(
            out,
            TagKind::Audio,
            timestamp_ms,
            &[&aac_body_header(false), data],
        );
    }

    /// One MP3 frame.
    pub fn mp3_sample(self, out: &mut BytesMut, timestamp_ms: i64, data: &[u8]) {
        self.tag(out, TagKind::Audio, timestamp_ms, &[&mp3_body_header(), data]);
    }
}

fn put_text(out: &mut BytesMut, text: &str) {
    let mut end = text.len().min(usize::from(u16::MAX));
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    out.put_u16(end as u16);
    out.put_slice(&text.as_bytes()[..end]);
}
