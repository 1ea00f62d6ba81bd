//! AAC AudioSpecificConfig (ISO/IEC 14496-3 1.6.2.1).

use std::num::NonZeroU32;

use bytes::Bytes;
use thiserror::Error;

use crate::bits::Bits;
use crate::{AudioCodec, AudioConfig};

/// Bytes of an AudioSpecificConfig that are looked at and kept: a program_config_element with the longest comment fits.
pub const CONFIG_BYTES_MAX: usize = 512;

/// Why an AudioSpecificConfig was refused. The publisher's fault in every case.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum AacError {
    /// The bytes end inside a field.
    #[error("AudioSpecificConfig of {len} bytes ends inside a field")]
    Truncated {
        /// Bytes given.
        len: usize,
    },
    /// An audio object type that no browser plays or that is not AAC.
    #[error("audio object type {object_type} is not supported; use AAC-LC (2) or HE-AAC (5, 29)")]
    UnsupportedObjectType {
        /// As in ISO/IEC 14496-3 table 1.17.
        object_type: u8,
    },
    /// A reserved or zero sampling frequency.
    #[error("sampling frequency is reserved or out of range (found {found})")]
    SamplingFrequency {
        /// The index (0-15) or the explicit frequency in Hz.
        found: u32,
    },
    /// A reserved channel configuration, or one without channels.
    #[error("channel configuration {found} is reserved or empty")]
    Channels {
        /// channelConfiguration as found.
        found: u8,
    },
}

const AOT_SBR: u8 = 5;
const AOT_PS: u8 = 29;
const FREQUENCIES: [u32; 13] = [
    96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000, 7_350,
];
/// Explicit frequencies beyond this are refused: no encoder makes them, and a timescale is made of it.
const FREQUENCY_MAX: u32 = 192_000;
/// AudioSpecificConfig syncExtensionType of SBR and of PS, 1.6.2.1.
const SYNC_SBR: u32 = 0x2b7;
const SYNC_PS: u32 = 0x548;

/// Reads an AudioSpecificConfig (ISO/IEC 14496-3 1.6.2.1).
///
/// Main, LC, SSR and LTP with frames of 1024 or 960 are taken, with SBR and PS signalled hierarchically (object type 5
/// or 29 first) or behind the core's configuration. Rate, channels and frame length are those of the decoder's output
/// then: HE-AAC at 24 kHz core gives 48 kHz and 2048. Signalled not at all (implicitly), SBR cannot be seen here: the
/// core's figures are given, and times computed from them are right all the same.
pub fn parse_config(record: &[u8]) -> Result<AudioConfig, AacError> {
    let record = &record[..record.len().min(CONFIG_BYTES_MAX)];
    let truncated = AacError::Truncated { len: record.len() };
    let mut bits = Bits::new(record);
    let signalled = object_type(&mut bits).ok_or(truncated.clone())?;
    let core_rate = frequency(&mut bits).ok_or(truncated.clone())??;
    let channel_config = bits.byte(4).ok_or(truncated.clone())?;
    let (mut has_sbr, mut has_ps) = (matches!(signalled, AOT_SBR | AOT_PS), signalled == AOT_PS);
    let (mut rate, mut core_type) = (core_rate, signalled);
    if has_sbr {
        rate = frequency(&mut bits).ok_or(truncated.clone())??;
        core_type = object_type(&mut bits).ok_or(truncated.clone())?;
    }
    if !(1..=4).contains(&core_type) {
        return Err(AacError::UnsupportedObjectType {
            object_type: core_type,
        });
    }
    let core = GaSpecific::read(&mut bits, channel_config).ok_or(truncated)?;
    if !has_sbr && let Some((extension_rate, ps)) = sync_extension(&mut bits) {
        (has_sbr, has_ps, rate) = (true, ps, extension_rate);
    }
    let core_channels = if channel_config == 0 {
        core.channels
    } else {
        channels(channel_config)
    };
    let channels = match core_channels {
        0 => {
            return Err(AacError::Channels {
                found: channel_config,
            });
        }
        1 if has_ps => 2,
        count => count,
    };
    // SBR doubles the rate, or keeps it (downsampled); the frame's duration is the core's in either case.
    let frame_samples = if rate == core_rate.saturating_mul(2) {
        core.frame_samples * 2
    } else {
        core.frame_samples
    };
    if has_sbr && rate != core_rate && rate != core_rate.saturating_mul(2) {
        return Err(AacError::SamplingFrequency { found: rate });
    }
    let object_type = if has_ps {
        AOT_PS
    } else if has_sbr {
        AOT_SBR
    } else {
        core_type
    };
    Ok(AudioConfig {
        codec: AudioCodec::Aac,
        record: Bytes::copy_from_slice(record),
        codec_string: format!("mp4a.40.{object_type}"),
        sample_rate: NonZeroU32::new(rate).ok_or(AacError::SamplingFrequency { found: rate })?,
        channels,
        frame_samples,
    })
}

/// GetAudioObjectType().
fn object_type(bits: &mut Bits<'_>) -> Option<u8> {
    match bits.byte(5)? {
        31 => Some(32 + bits.byte(6)?),
        object_type => Some(object_type),
    }
}

fn frequency(bits: &mut Bits<'_>) -> Option<Result<u32, AacError>> {
    let index = bits.bits(4)?;
    let frequency = match index {
        15 => bits.bits(24)?,
        _ => match FREQUENCIES.get(index as usize) {
            Some(&frequency) => frequency,
            None => return Some(Err(AacError::SamplingFrequency { found: index })),
        },
    };
    let is_usable = (1..=FREQUENCY_MAX).contains(&frequency);
    Some(if is_usable {
        Ok(frequency)
    } else {
        Err(AacError::SamplingFrequency { found: frequency })
    })
}

/// Table 1.19.
fn channels(config: u8) -> u16 {
    match config {
        1..=6 => u16::from(config),
        7 | 12 | 14 => 8,
        11 => 7,
        13 => 24,
        _ => 0,
    }
}

/// GASpecificConfig, 4.4.1, of object types 1 to 4.
struct GaSpecific {
    frame_samples: u32,
    /// Of the program_config_element; 0 without one.
    channels: u16,
}

impl GaSpecific {
    fn read(bits: &mut Bits<'_>, channel_config: u8) -> Option<Self> {
        let frame_samples = if bits.flag()? { 960 } else { 1024 };
        if bits.flag()? {
            bits.skip(14)?; // coreCoderDelay
        }
        let has_extension = bits.flag()?;
        let channels = if channel_config == 0 {
            program_channels(bits)?
        } else {
            0
        };
        if has_extension {
            bits.flag()?; // extensionFlag3
        }
        Some(Self {
            frame_samples,
            channels,
        })
    }
}

/// program_config_element, 4.4.1.1: its number of channels.
fn program_channels(bits: &mut Bits<'_>) -> Option<u16> {
    bits.skip(4 + 2 + 4)?;
    let (front, side, back) = (bits.bits(4)?, bits.bits(4)?, bits.bits(4)?);
    let (lfe, assoc, coupling) = (bits.bits(2)?, bits.bits(3)?, bits.bits(4)?);
    for mixdown_bits in [4, 4, 3] {
        if bits.flag()? {
            bits.skip(mixdown_bits)?;
        }
    }
    let mut channels = 0;
    for _ in 0..front + side + back {
        channels += if bits.flag()? { 2 } else { 1 };
        bits.skip(4)?;
    }
    bits.skip(4 * lfe + 4 * assoc + 5 * coupling)?;
    bits.align()?;
    let comment_bytes = bits.bits(8)?;
    bits.skip(8 * comment_bytes)?;
    Some(channels + u16::try_from(lfe).unwrap_or(0))
}

/// The backward compatible signalling of SBR and PS behind the core's configuration: (rate, has PS).
///
/// Whatever is odd in it is taken as absent, as a decoder without SBR does.
fn sync_extension(bits: &mut Bits<'_>) -> Option<(u32, bool)> {
    if bits.left() < 16 || bits.bits(11)? != SYNC_SBR || object_type(bits)? != AOT_SBR || !bits.flag()? {
        return None;
    }
    let rate = frequency(bits)?.ok()?;
    let has_ps = bits.left() >= 12 && bits.bits(11)? == SYNC_PS && bits.flag()?;
    Some((rate, has_ps))
}

#[cfg(test)]
#[path = "aac_tests.rs"]
mod tests;
