//! AAC AudioSpecificConfig (ISO/IEC 14496-3 1.6.2.1).

use thiserror::Error;

use crate::AudioConfig;

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

/// Reads an AudioSpecificConfig (ISO/IEC 14496-3 1.6.2.1).
pub fn parse_config(record: &[u8]) -> Result<AudioConfig, AacError> {
    Err(AacError::Truncated { len: record.len() })
}
