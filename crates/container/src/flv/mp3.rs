//! MPEG audio layer III frame headers (ISO/IEC 11172-3 2.4.1.3, ISO/IEC 13818-3).

use std::num::NonZeroU32;

use bytes::Bytes;
use media::{AudioCodec, AudioConfig};

/// Why a frame header was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Mp3Error {
    /// No frame begins here.
    #[error("no MPEG audio frame header")]
    NoHeader,
    /// Layer I or II.
    #[error("MPEG audio layer {found}, expected layer 3")]
    Layer {
        /// 1 or 2.
        found: u8,
    },
}

/// The configuration that the first frame of a tag says.
pub fn parse_mp3_config(frame: &[u8]) -> Result<AudioConfig, Mp3Error> {
    let Some(&[0xff, second, third, fourth]) = frame.first_chunk() else {
        return Err(Mp3Error::NoHeader);
    };
    let rate_index = usize::from(third >> 2 & 3);
    if second & 0xe0 != 0xe0 || rate_index == 3 || third >> 4 == 15 {
        return Err(Mp3Error::NoHeader);
    }
    match second >> 1 & 3 {
        1 => {}
        0 => return Err(Mp3Error::NoHeader),
        layer => return Err(Mp3Error::Layer { found: 4 - layer }),
    }
    // MPEG-1 44.1/48/32 kHz with 1152 samples a frame; MPEG-2 half of both, MPEG-2.5 a quarter of the rate.
    let (divisor, frame_samples) = match second >> 3 & 3 {
        3 => (1, 1152),
        2 => (2, 576),
        0 => (4, 576),
        _ => return Err(Mp3Error::NoHeader),
    };
    let sample_rate =
        NonZeroU32::new([44_100, 48_000, 32_000][rate_index] / divisor).ok_or(Mp3Error::NoHeader)?;
    Ok(AudioConfig {
        codec: AudioCodec::Mp3,
        record: Bytes::new(),
        codec_string: if divisor == 1 { "mp4a.6B" } else { "mp4a.69" }.to_owned(),
        sample_rate,
        channels: if fourth >> 6 == 3 { 1 } else { 2 },
        frame_samples,
    })
}
