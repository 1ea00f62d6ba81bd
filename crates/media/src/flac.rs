//! FLAC: the stream's header (RFC 9639 8).

use std::num::NonZeroU32;

use bytes::{BufMut, BytesMut};
use thiserror::Error;

use crate::{AudioCodec, AudioConfig};

const MARKER: &[u8; 4] = b"fLaC";
const STREAMINFO: u8 = 0;
const STREAMINFO_BYTES: usize = 34;
/// The flag of the last metadata block (RFC 9639 8.1).
const LAST_BLOCK: u8 = 0x80;

/// Why a header was refused. The publisher's fault in every case.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum FlacError {
    /// The bytes end inside the header.
    #[error("FLAC header of {found} bytes, at least {expected} expected")]
    Truncated {
        /// Bytes given.
        found: usize,
        /// Bytes needed.
        expected: usize,
    },
    /// The first metadata block is another one.
    #[error("the FLAC header begins with metadata block {found}, expected STREAMINFO (0)")]
    NoStreamInfo {
        /// Block type as found.
        found: u8,
    },
    /// The sample rate or the block size is 0: it cannot be played in time.
    #[error("FLAC with {what} 0")]
    Zero {
        /// "sample rate" or "block size".
        what: &'static str,
    },
    /// Blocks of several sizes: times could not be exact.
    #[error("FLAC with blocks of {min} to {max} samples; set a fixed block size")]
    BlockSizes {
        /// Smallest, sample frames.
        min: u16,
        /// Largest.
        max: u16,
    },
}

/// Reads the marker `fLaC` and the STREAMINFO block; the marker may be missing, and so may the block's header, as FFmpeg
/// sends it.
///
/// The record in the result is the content of a `dfLa` box behind its version and flags: the STREAMINFO block alone.
pub fn parse_header(header: &[u8]) -> Result<AudioConfig, FlacError> {
    let block = header.strip_prefix(MARKER).unwrap_or(header);
    let info = if block.len() == STREAMINFO_BYTES {
        block
    } else {
        match (block.first(), block.get(4..4 + STREAMINFO_BYTES)) {
            (Some(&kind), Some(_)) if kind & 0x7f != STREAMINFO => {
                return Err(FlacError::NoStreamInfo { found: kind & 0x7f });
            }
            (_, Some(info)) => info,
            (_, None) => {
                return Err(FlacError::Truncated {
                    found: header.len(),
                    expected: header.len() - block.len() + 4 + STREAMINFO_BYTES,
                });
            }
        }
    };
    let word = |at: usize| u16::from_be_bytes([info[at], info[at + 1]]);
    let (min, max) = (word(0), word(2));
    if max == 0 {
        return Err(FlacError::Zero { what: "block size" });
    }
    if min != max {
        return Err(FlacError::BlockSizes { min, max });
    }
    let rate = u32::from_be_bytes([0, info[10], info[11], info[12]]) >> 4;
    let mut record = BytesMut::with_capacity(4 + STREAMINFO_BYTES);
    record.put_slice(&[LAST_BLOCK | STREAMINFO, 0, 0, STREAMINFO_BYTES as u8]);
    record.put_slice(&info[..4]);
    // Frame sizes, the count of all samples and the checksum are known at the end only and then sent anew: 0 is "unknown",
    // and the configuration stays the same.
    record.put_bytes(0, 6);
    record.put_slice(&info[10..13]);
    record.put_u8(info[13] & 0xf0);
    record.put_bytes(0, STREAMINFO_BYTES - 14);
    Ok(AudioConfig {
        codec: AudioCodec::Flac,
        record: record.freeze(),
        codec_string: "flac".to_owned(),
        sample_rate: NonZeroU32::new(rate).ok_or(FlacError::Zero { what: "sample rate" })?,
        channels: u16::from(info[12] >> 1 & 7) + 1,
        frame_samples: u32::from(max),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// FFmpeg's: 48 kHz, stereo, blocks of 4608.
    fn header() -> Vec<u8> {
        let mut header = b"fLaC\x80\0\0\x22\x12\0\x12\0\0\0\x10\0\x20\0\x0b\xb8\x02\xf0".to_vec();
        header.resize(4 + 4 + STREAMINFO_BYTES, 0);
        header
    }

    #[test]
    fn a_header_is_read_with_and_without_its_fronts() {
        for from in [0, 4, 8] {
            let config = parse_header(&header()[from..]).unwrap();
            assert_eq!((config.sample_rate.get(), config.channels), (48_000, 2));
            assert_eq!(config.frame_samples, 4608);
            let mut expected = header()[4..].to_vec();
            expected[8..14].fill(0);
            assert_eq!(config.record[..], expected);
        }
    }

    #[test]
    fn what_is_no_header_is_refused() {
        for end in (0..header().len()).filter(|end| *end != 4 + STREAMINFO_BYTES) {
            assert!(
                matches!(parse_header(&header()[..end]), Err(FlacError::Truncated { .. })),
                "{end}"
            );
        }
        let with = |at: usize, value| {
            let mut header = header();
            header[at] = value;
            parse_header(&header)
        };
        assert_eq!(with(4, 0x84), Err(FlacError::NoStreamInfo { found: 4 }));
        assert_eq!(with(8, 0x10), Err(FlacError::BlockSizes { min: 4096, max: 4608 }));
        let mut silent = header();
        silent[18..21].fill(0);
        assert_eq!(
            parse_header(&silent),
            Err(FlacError::Zero { what: "sample rate" })
        );
    }
}
