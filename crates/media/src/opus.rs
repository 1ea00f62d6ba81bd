//! Opus: the identification header and packet lengths.

use std::num::NonZeroU32;

use bytes::{BufMut, BytesMut};
use thiserror::Error;

use crate::{AudioCodec, AudioConfig};

/// Ticks of every Opus timeline: what the decoder's output is counted in (RFC 7845 4).
pub const SAMPLE_RATE: NonZeroU32 = match NonZeroU32::new(48_000) {
    Some(rate) => rate,
    None => unreachable!(),
};
/// Longest packet, sample frames: 120 ms (RFC 6716 3.2.5).
pub const PACKET_SAMPLES_MAX: u32 = 5760;

const MAGIC: &[u8; 8] = b"OpusHead";
/// Bytes of the header in front of a channel mapping table.
const HEAD_BYTES: usize = 19;

/// Why an identification header was refused. The publisher's fault in every case.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum OpusError {
    /// The bytes end inside the header.
    #[error("Opus identification header of {found} bytes, at least {expected} expected")]
    Truncated {
        /// Bytes given.
        found: usize,
        /// Bytes needed.
        expected: usize,
    },
    /// It does not begin with `OpusHead`.
    #[error("the Opus identification header does not begin with OpusHead")]
    Magic,
    /// The upper half of the version is the part that matters (RFC 7845 5.1).
    #[error("Opus identification header of version {found}, expected 0 to 15")]
    Version {
        /// As found.
        found: u8,
    },
    /// No channels, or more than the mapping family has.
    #[error("{found} Opus channels, 1 to {max} expected")]
    Channels {
        /// As found.
        found: u8,
        /// Of the mapping family.
        max: u8,
    },
}

/// Reads an identification header (RFC 7845 5.1) of a stream whose packets have `packet_samples` sample frames.
///
/// The record in the result is the content of a `dOps` box (Encapsulation of Opus in ISO BMFF 4.3.2).
pub fn parse_head(head: &[u8], packet_samples: u32) -> Result<AudioConfig, OpusError> {
    let truncated = |expected| OpusError::Truncated {
        found: head.len(),
        expected,
    };
    if !head.starts_with(MAGIC) {
        return Err(OpusError::Magic);
    }
    let Some(
        &[
            version,
            channels,
            skip0,
            skip1,
            r0,
            r1,
            r2,
            r3,
            gain0,
            gain1,
            family,
        ],
    ) = head.get(MAGIC.len()..).and_then(<[u8]>::first_chunk)
    else {
        return Err(truncated(HEAD_BYTES));
    };
    if version > 15 {
        return Err(OpusError::Version { found: version });
    }
    let max = match family {
        0 => 2,
        1 => 8,
        _ => 255,
    };
    if channels == 0 || channels > max {
        return Err(OpusError::Channels { found: channels, max });
    }
    let mut record = BytesMut::with_capacity(32);
    // Little endian there, big endian here.
    record.put_slice(&[0, channels, skip1, skip0, r3, r2, r1, r0, gain1, gain0, family]);
    if family != 0 {
        let table = 2 + usize::from(channels);
        let end = HEAD_BYTES + table;
        record.put_slice(head.get(HEAD_BYTES..end).ok_or(truncated(end))?);
    }
    Ok(AudioConfig {
        codec: AudioCodec::Opus,
        record: record.freeze(),
        codec_string: "opus".to_owned(),
        sample_rate: SAMPLE_RATE,
        channels: u16::from(channels),
        frame_samples: packet_samples,
    })
}

/// Sample frames in a packet (RFC 6716 3.1, 3.2); `None` if it is malformed or longer than 120 ms.
pub fn packet_samples(packet: &[u8]) -> Option<u32> {
    let (&toc, rest) = packet.split_first()?;
    let frame = match toc >> 3 {
        // SILK: 10, 20, 40, 60 ms.
        config @ 0..=11 => [480, 960, 1920, 2880][usize::from(config & 3)],
        // Hybrid: 10, 20 ms.
        config @ 12..=15 => [480, 960][usize::from(config & 1)],
        // CELT: 2.5, 5, 10, 20 ms.
        config => [120, 240, 480, 960][usize::from(config & 3)],
    };
    let frames = match toc & 3 {
        0 => 1,
        1 | 2 => 2,
        _ => u32::from(*rest.first()? & 63),
    };
    let samples: u32 = frame * frames;
    (1..=PACKET_SAMPLES_MAX).contains(&samples).then_some(samples)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Stereo, 312 samples of pre-skip, as libopus writes it.
    const HEAD: &[u8] = b"OpusHead\x01\x02\x38\x01\x80\xbb\0\0\0\0\0";

    #[test]
    fn a_header_becomes_a_box() {
        let config = parse_head(HEAD, 960).unwrap();
        assert_eq!((config.channels, config.sample_rate.get()), (2, 48_000));
        assert_eq!(config.record[..], *b"\0\x02\x01\x38\0\0\xbb\x80\0\0\0");
        let surround = [
            b"OpusHead\x01\x06\0\0\0\0\0\0\0\0\x01",
            &b"\x04\x02\0\x04\x01\x02\x03\x05"[..],
        ]
        .concat();
        let config = parse_head(&surround, 960).unwrap();
        assert_eq!(config.channels, 6);
        assert_eq!(config.record[10..], surround[18..]);
    }

    #[test]
    fn what_is_no_header_is_refused() {
        assert_eq!(parse_head(b"OpusTags", 960), Err(OpusError::Magic));
        for end in MAGIC.len()..HEAD.len() {
            assert!(matches!(
                parse_head(&HEAD[..end], 960),
                Err(OpusError::Truncated { .. })
            ));
        }
        let with = |at: usize, value| {
            let mut head = HEAD.to_vec();
            head[at] = value;
            parse_head(&head, 960)
        };
        assert_eq!(with(8, 16), Err(OpusError::Version { found: 16 }));
        assert_eq!(with(9, 0), Err(OpusError::Channels { found: 0, max: 2 }));
        assert_eq!(with(9, 3), Err(OpusError::Channels { found: 3, max: 2 }));
        assert!(matches!(
            with(18, 1),
            Err(OpusError::Truncated { expected: 23, .. })
        ));
    }

    #[test]
    fn packets_say_how_long_they_are() {
        for (packet, expected) in [
            (&[31 << 3][..], Some(960)),
            (&[16 << 3], Some(120)),
            (&[3 << 3 | 1], Some(5760)),
            (&[31 << 3 | 3, 6], Some(5760)),
            (&[31 << 3 | 3, 7], None),
            (&[31 << 3 | 3, 0], None),
            (&[31 << 3 | 3], None),
            (&[], None),
        ] {
            assert_eq!(packet_samples(packet), expected, "{packet:?}");
        }
    }
}
