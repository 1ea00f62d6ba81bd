//! The pictures of one publisher, whatever their codec: tag data to samples.

use bytes::{BufMut, Bytes, BytesMut};
use media::av1::{self, Av1Error};
use media::h264::{self, H264Error};
use media::hevc::{self, HevcError, ParameterSets};
use media::{VideoCodec, VideoConfig};

use super::AvcStream;

/// One access unit in the form of [`media::Sample`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VideoSample {
    /// As [`media::Sample::data`]. Empty if nothing else than parameter sets, delimiters and filler was there.
    pub data: Bytes,
    /// Decoding can start here, by what the bit stream says.
    pub is_sync: bool,
    /// No other picture refers to it.
    pub is_disposable: bool,
    /// It holds a coded picture. What holds none is not worth a sample.
    pub has_picture: bool,
    /// It belongs to an open GOP: who starts at the sync sample before it cannot decode it (HEVC RASL).
    pub is_open_gop: bool,
    /// It brought parameter sets that differ from those in force: this is the configuration from it on.
    pub new_config: Option<VideoConfig>,
}

/// Why a sequence header was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum VideoError {
    /// H.264.
    #[error(transparent)]
    H264(#[from] H264Error),
    /// HEVC.
    #[error(transparent)]
    Hevc(#[from] HevcError),
    /// AV1.
    #[error(transparent)]
    Av1(#[from] Av1Error),
}

/// The pictures of one publisher.
#[derive(Clone, Debug)]
pub enum VideoStream {
    /// H.264.
    Avc(AvcStream),
    /// HEVC.
    Hevc(HevcStream),
    /// AV1.
    Av1(Av1Stream),
}

impl VideoStream {
    /// From the record of a sequence header.
    pub fn new(codec: VideoCodec, record: &Bytes) -> Result<Self, VideoError> {
        Ok(match codec {
            VideoCodec::Hevc => Self::Hevc(HevcStream::new(record)?),
            VideoCodec::Av1 => Self::Av1(Av1Stream::new(record)?),
            _ => Self::Avc(AvcStream::new(record)?),
        })
    }

    /// The configuration in force.
    pub fn config(&self) -> &VideoConfig {
        match self {
            Self::Avc(stream) => stream.config(),
            Self::Hevc(stream) => &stream.config,
            Self::Av1(stream) => &stream.config,
        }
    }

    /// Its codec.
    pub fn codec(&self) -> VideoCodec {
        self.config().codec
    }

    /// The access unit of one tag. A malformed tail is left out.
    pub fn sample(&mut self, data: &Bytes) -> VideoSample {
        match self {
            Self::Avc(stream) => stream.sample(data),
            Self::Hevc(stream) => stream.sample(data),
            Self::Av1(stream) => stream.sample(data),
        }
    }
}

/// The HEVC of one publisher.
#[derive(Clone, Debug)]
pub struct HevcStream {
    config: VideoConfig,
    length_size: u8,
    sub_layers: u8,
}

impl HevcStream {
    /// From the record of a sequence header (HEVCDecoderConfigurationRecord).
    pub fn new(record: &[u8]) -> Result<Self, HevcError> {
        let config = hevc::parse_config(record)?;
        Ok(Self {
            length_size: hevc::record_length_size(record)?,
            sub_layers: hevc::record_sps(&config.record)?.sub_layers,
            config,
        })
    }

    fn sample(&mut self, data: &Bytes) -> VideoSample {
        let (mut out, mut unit) = hevc::normalise(data, self.length_size);
        let (mut source, mut length_size) = (data.clone(), self.length_size);
        if !unit.has_picture && is_byte_stream(data) {
            source = with_lengths(data);
            length_size = 4;
            (out, unit) = hevc::normalise(&source, 4);
        }
        let new_config = if unit.has_parameter_sets {
            self.compare(&source, length_size)
        } else {
            None
        };
        VideoSample {
            data: let_go(out, source.len()),
            is_sync: unit.is_irap,
            // Pictures of a higher sub-layer may refer to it otherwise.
            is_disposable: unit.is_non_reference && unit.temporal_id + 1 >= self.sub_layers,
            has_picture: unit.has_picture,
            is_open_gop: unit.is_skipped_leading,
            new_config,
        }
    }

    /// The new configuration, if the access unit has parameter sets that are not in force.
    fn compare(&mut self, data: &[u8], length_size: u8) -> Option<VideoConfig> {
        let here = ParameterSets::of_sample(data, length_size).ok()?;
        let in_force_record = self.config.record.clone();
        let in_force = ParameterSets::of_record(&in_force_record).ok()?;
        if here.iter().all(|set| in_force.iter().any(|known| known == set)) {
            return None;
        }
        let or = |here: Vec<_>, in_force| if here.is_empty() { in_force } else { here };
        let sets = ParameterSets {
            vps: or(here.vps, in_force.vps),
            sps: or(here.sps, in_force.sps),
            pps: or(here.pps, in_force.pps),
        };
        let config = hevc::config_from_parameter_sets(&sets).ok()?;
        if config.record == self.config.record {
            return None;
        }
        self.sub_layers = hevc::record_sps(&config.record).ok()?.sub_layers;
        self.config = config.clone();
        Some(config)
    }
}

/// The AV1 of one publisher.
#[derive(Clone, Debug)]
pub struct Av1Stream {
    config: VideoConfig,
    /// The payload of the sequence header in force.
    header: Bytes,
    is_reduced: bool,
}

impl Av1Stream {
    /// From the record of a sequence header (AV1CodecConfigurationRecord).
    pub fn new(record: &[u8]) -> Result<Self, Av1Error> {
        Self::with_config(av1::parse_config(record)?)
    }

    fn with_config(config: VideoConfig) -> Result<Self, Av1Error> {
        let header = av1::record_sequence_header(&config.record).ok_or(Av1Error::NoSequenceHeader)?;
        Ok(Self {
            is_reduced: av1::parse_sequence_header(header)?.is_reduced,
            header: Bytes::copy_from_slice(header),
            config,
        })
    }

    fn sample(&mut self, data: &Bytes) -> VideoSample {
        let (out, unit) = av1::normalise(data, &self.header, self.is_reduced);
        let new_config = if unit.has_sequence_header {
            self.compare(&out)
        } else {
            None
        };
        VideoSample {
            data: let_go(out, data.len()),
            is_sync: unit.is_key,
            is_disposable: false,
            has_picture: unit.has_picture,
            is_open_gop: false,
            new_config,
        }
    }

    fn compare(&mut self, units: &[u8]) -> Option<VideoConfig> {
        let header = av1::sequence_header(units).filter(|header| *header != &self.header[..])?;
        let config = av1::config_from_sequence_header(header).ok()?;
        let is_new = config != self.config;
        *self = Self::with_config(config.clone()).ok()?;
        is_new.then_some(config)
    }
}

/// A small slice must not keep a big tag alive (a tag full of filler).
pub(super) fn let_go(out: Bytes, source_bytes: usize) -> Bytes {
    if out.len() < source_bytes / 2 {
        Bytes::copy_from_slice(&out)
    } else {
        out
    }
}

/// Some encoders send a byte stream with start codes where lengths belong.
pub(super) fn is_byte_stream(data: &[u8]) -> bool {
    data.starts_with(&[0, 0, 0, 1])
}

/// A byte stream with start codes, rewritten with 4-byte lengths.
pub(super) fn with_lengths(data: &[u8]) -> Bytes {
    let mut out = BytesMut::with_capacity(data.len() + 16);
    for nal in h264::annexb_units(data) {
        out.put_u32(nal.len() as u32);
        out.put_slice(nal);
    }
    out.freeze()
}

#[cfg(test)]
#[path = "stream_tests.rs"]
mod tests;
