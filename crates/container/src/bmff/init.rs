//! Init segments: `ftyp`, `moov`.

use bytes::Bytes;
use media::{AudioCodec, AudioConfig, Track, TrackConfig, VideoCodec, VideoConfig};

use super::TRACK_ID;

/// Why a track has no init segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InitError {
    /// The codec is not packaged; it has to be transcoded first.
    #[error("{codec:?} has no sample entry here: transcode it to AAC first")]
    Audio {
        /// What the track carries.
        codec: AudioCodec,
    },
    /// The codec has no sample entry here yet.
    #[error("{codec:?} has no sample entry here")]
    Video {
        /// What the track carries.
        codec: VideoCodec,
    },
    /// The decoder configuration is missing or too long for its box.
    #[error("a decoder configuration of {bytes} bytes cannot be written (1 to 65535)")]
    Record {
        /// Its length.
        bytes: usize,
    },
}

/// The init segment of a track. `bitrate` (bits a second) fills `btrt` and the audio descriptors; 0 if unknown.
pub fn init_segment(track: &Track, bitrate: u32) -> Result<Bytes, InitError> {
    let record = match &track.config {
        TrackConfig::Video(video) => match sample_entry(video.codec) {
            Some(_) => &video.record,
            None => return Err(InitError::Video { codec: video.codec }),
        },
        TrackConfig::Audio(audio) if !is_audio_packaged(audio.codec) => {
            return Err(InitError::Audio { codec: audio.codec });
        }
        TrackConfig::Audio(audio) => &audio.record,
    };
    if record.is_empty() || record.len() > usize::from(u16::MAX) {
        return Err(InitError::Record { bytes: record.len() });
    }
    let mut out = Writer(Vec::with_capacity(768 + record.len()));
    out.boxed(b"ftyp", |out| {
        out.bytes(b"iso6");
        out.u32(0);
        // cmfc: the CMAF constraints; cmf2: composition offsets may be negative and there is no edit list.
        out.bytes(b"iso6cmfccmf2mp41");
        // Asked for by AV1-ISOBMFF 2.1.
        if matches!(&track.config, TrackConfig::Video(video) if video.codec == VideoCodec::Av1) {
            out.bytes(b"av01");
        }
    });
    out.boxed(b"moov", |out| {
        movie_header(out);
        out.boxed(b"trak", |out| {
            track_header(out, &track.config);
            out.boxed(b"mdia", |out| media_box(out, track, bitrate));
        });
        out.boxed(b"mvex", |out| {
            out.full(b"trex", 0, 0, |out| {
                out.u32(TRACK_ID);
                // Sample description 1; duration, size and flags are told by each fragment.
                [1, 0, 0, 0].into_iter().for_each(|value| out.u32(value));
            });
        });
    });
    Ok(Bytes::from(out.0))
}

const MATRIX: [u32; 9] = [0x0001_0000, 0, 0, 0, 0x0001_0000, 0, 0, 0, 0x4000_0000];

fn movie_header(out: &mut Writer) {
    out.full(b"mvhd", 0, 0, |out| {
        // Creation and modification time unknown, timescale, duration 0: fragments follow.
        [0, 0, 1000, 0].into_iter().for_each(|value| out.u32(value));
        out.u32(0x0001_0000); // rate 1.0
        out.u16(0x0100); // volume 1.0
        out.zeros(10);
        MATRIX.into_iter().for_each(|value| out.u32(value));
        out.zeros(24);
        out.u32(TRACK_ID + 1);
    });
}

fn track_header(out: &mut Writer, config: &TrackConfig) {
    // Enabled, in movie.
    out.full(b"tkhd", 0, 3, |out| {
        [0, 0, TRACK_ID, 0, 0]
            .into_iter()
            .for_each(|value| out.u32(value));
        out.zeros(8 + 2 + 2); // reserved, layer, alternate group
        out.u16(if matches!(config, TrackConfig::Audio(_)) {
            0x0100
        } else {
            0
        });
        out.zeros(2);
        MATRIX.into_iter().for_each(|value| out.u32(value));
        let (width, height) = match config {
            TrackConfig::Video(video) => (display_width(video), u64::from(video.height) << 16),
            TrackConfig::Audio(_) => (0, 0),
        };
        out.u32(u32::try_from(width).unwrap_or(u32::MAX));
        out.u32(u32::try_from(height).unwrap_or(u32::MAX));
    });
}

/// Width in square pixels, 16.16 fixed point (ISO/IEC 14496-12 8.3.2).
fn display_width(video: &VideoConfig) -> u64 {
    let (horizontal, vertical) = video.pixel_aspect;
    (u64::from(video.width) << 16) * u64::from(horizontal.max(1)) / u64::from(vertical.max(1))
}

fn media_box(out: &mut Writer, track: &Track, bitrate: u32) {
    let is_video = matches!(track.config, TrackConfig::Video(_));
    out.full(b"mdhd", 0, 0, |out| {
        [0, 0, track.timescale.get(), 0]
            .into_iter()
            .for_each(|value| out.u32(value));
        out.u16(0x55c4); // "und"
        out.u16(0);
    });
    out.full(b"hdlr", 0, 0, |out| {
        out.u32(0);
        out.bytes(if is_video { b"vide" } else { b"soun" });
        out.zeros(12);
        out.bytes(if is_video { b"video\0" } else { b"audio\0" });
    });
    out.boxed(b"minf", |out| {
        if is_video {
            out.full(b"vmhd", 0, 1, |out| out.zeros(8));
        } else {
            out.full(b"smhd", 0, 0, |out| out.zeros(4));
        }
        out.boxed(b"dinf", |out| {
            out.full(b"dref", 0, 0, |out| {
                out.u32(1);
                out.full(b"url ", 0, 1, |_| {}); // the data are in this file
            });
        });
        out.boxed(b"stbl", |out| {
            out.full(b"stsd", 0, 0, |out| {
                out.u32(1);
                match &track.config {
                    TrackConfig::Video(video) => video_entry(out, video, bitrate),
                    TrackConfig::Audio(audio) => audio_entry(out, audio, bitrate),
                }
            });
            out.full(b"stts", 0, 0, |out| out.u32(0));
            out.full(b"stsc", 0, 0, |out| out.u32(0));
            out.full(b"stsz", 0, 0, |out| out.zeros(8));
            out.full(b"stco", 0, 0, |out| out.u32(0));
        });
    });
}

/// The sample entry and its box for the decoder configuration.
fn sample_entry(codec: VideoCodec) -> Option<(&'static [u8; 4], &'static [u8; 4])> {
    match codec {
        VideoCodec::H264 => Some((b"avc1", b"avcC")),
        VideoCodec::Hevc => Some((b"hvc1", b"hvcC")),
        VideoCodec::Av1 => Some((b"av01", b"av1C")),
        _ => None,
    }
}

/// ISO/IEC 14496-12 12.1.3, 14496-15 5.4.2 and 8.4.1, AV1-ISOBMFF 2.2. Colour is left to the bit stream's own VUI.
fn video_entry(out: &mut Writer, video: &VideoConfig, bitrate: u32) {
    let Some((entry, configuration)) = sample_entry(video.codec) else {
        return;
    };
    out.boxed(entry, |out| {
        out.zeros(6);
        out.u16(1); // data reference
        out.zeros(16);
        out.u16(u16::try_from(video.width).unwrap_or(u16::MAX));
        out.u16(u16::try_from(video.height).unwrap_or(u16::MAX));
        out.u32(0x0048_0000); // 72 dpi
        out.u32(0x0048_0000);
        out.u32(0);
        out.u16(1); // frames per sample
        out.zeros(32); // compressor name
        out.u16(24); // depth
        out.u16(0xffff);
        out.boxed(configuration, |out| out.bytes(&video.record));
        out.boxed(b"pasp", |out| {
            out.u32(video.pixel_aspect.0.max(1));
            out.u32(video.pixel_aspect.1.max(1));
        });
        bit_rate(out, bitrate);
    });
}

fn bit_rate(out: &mut Writer, bitrate: u32) {
    if bitrate > 0 {
        out.boxed(b"btrt", |out| {
            [0, bitrate, bitrate].into_iter().for_each(|value| out.u32(value))
        });
    }
}

/// Whether the codec has a sample entry here; the others have to be transcoded first.
pub fn is_audio_packaged(codec: AudioCodec) -> bool {
    audio_entry_kind(codec).is_some()
}

fn audio_entry_kind(codec: AudioCodec) -> Option<&'static [u8; 4]> {
    match codec {
        AudioCodec::Aac => Some(b"mp4a"),
        AudioCodec::Opus => Some(b"Opus"),
        AudioCodec::Flac => Some(b"fLaC"),
        _ => None,
    }
}

/// ISO/IEC 14496-12 12.2.3; Encapsulation of Opus in ISO BMFF 4.3; Encapsulation of FLAC in ISO BMFF 3.3.
fn audio_entry(out: &mut Writer, audio: &AudioConfig, bitrate: u32) {
    let Some(kind) = audio_entry_kind(audio.codec) else {
        return;
    };
    out.boxed(kind, |out| {
        out.zeros(6);
        out.u16(1); // data reference
        out.zeros(8);
        out.u16(audio.channels);
        out.u16(16); // bits a sample, by convention
        out.zeros(4);
        // 16.16 fixed point; a rate that does not fit is told by the decoder configuration alone.
        out.u32(u16::try_from(audio.sample_rate.get()).map_or(0, |rate| u32::from(rate) << 16));
        match audio.codec {
            AudioCodec::Opus => out.boxed(b"dOps", |out| out.bytes(&audio.record)),
            AudioCodec::Flac => out.full(b"dfLa", 0, 0, |out| out.bytes(&audio.record)),
            _ => descriptors(out, audio, bitrate),
        }
        bit_rate(out, bitrate);
    });
}

/// `esds`, ISO/IEC 14496-14 6.7.
fn descriptors(out: &mut Writer, audio: &AudioConfig, bitrate: u32) {
    out.full(b"esds", 0, 0, |out| {
        let specific = audio.record.len();
        let decoder = 13 + descriptor_bytes(specific);
        let stream = 3 + descriptor_bytes(decoder) + descriptor_bytes(1);
        out.descriptor(0x03, stream);
        out.u16(0); // ES_ID: 0 in files
        out.u8(0);
        out.descriptor(0x04, decoder);
        out.u8(0x40); // ISO/IEC 14496-3 audio
        out.u8(0x15); // audio stream
        out.bytes(&[0, 0, 0]); // buffer size unknown
        out.u32(bitrate);
        out.u32(bitrate);
        out.descriptor(0x05, specific);
        out.bytes(&audio.record);
        out.descriptor(0x06, 1);
        out.u8(2); // ISO base media files
    });
}

/// Bytes of a descriptor with its tag and length (ISO/IEC 14496-1 8.3.3).
fn descriptor_bytes(payload: usize) -> usize {
    1 + length_bytes(payload) + payload
}

fn length_bytes(payload: usize) -> usize {
    match payload {
        0..0x80 => 1,
        0x80..0x4000 => 2,
        _ => 3,
    }
}

struct Writer(Vec<u8>);

impl Writer {
    fn boxed(&mut self, kind: &[u8; 4], content: impl FnOnce(&mut Self)) {
        let start = self.0.len();
        self.u32(0);
        self.bytes(kind);
        content(self);
        let size = (self.0.len() - start) as u32;
        self.0[start..start + 4].copy_from_slice(&size.to_be_bytes());
    }

    fn full(&mut self, kind: &[u8; 4], version: u8, flags: u32, content: impl FnOnce(&mut Self)) {
        self.boxed(kind, |out| {
            out.u32(u32::from(version) << 24 | flags);
            content(out);
        });
    }

    fn descriptor(&mut self, tag: u8, payload: usize) {
        self.u8(tag);
        for index in (0..length_bytes(payload)).rev() {
            let more = if index > 0 { 0x80 } else { 0 };
            self.u8((payload >> (7 * index) & 0x7f) as u8 | more);
        }
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    fn zeros(&mut self, count: usize) {
        self.0.resize(self.0.len() + count, 0);
    }

    fn u8(&mut self, value: u8) {
        self.0.push(value);
    }

    fn u16(&mut self, value: u16) {
        self.bytes(&value.to_be_bytes());
    }

    fn u32(&mut self, value: u32) {
        self.bytes(&value.to_be_bytes());
    }
}
