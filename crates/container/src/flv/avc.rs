//! H.264 tags to samples.

use bytes::{BufMut, Bytes, BytesMut};
use media::VideoConfig;
use media::h264::{self, H264Error, NalType};

/// The H.264 of one publisher: its parameter sets and how its samples are laid out.
#[derive(Clone, Debug)]
pub struct AvcStream {
    config: VideoConfig,
    length_size: u8,
    /// SPS and PPS in force.
    sets: Vec<Bytes>,
}

/// One access unit in the form of [`media::Sample`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AvcSample {
    /// NAL units with 4-byte lengths, without parameter sets, delimiters and filler. Empty if nothing else was there.
    pub data: Bytes,
    /// It has an IDR slice.
    pub is_sync: bool,
    /// Every slice has `nal_ref_idc` 0.
    pub is_disposable: bool,
    /// It holds a coded slice. What holds none is not worth a sample.
    pub has_picture: bool,
    /// It brought parameter sets that differ from those in force: this is the configuration from it on.
    pub new_config: Option<VideoConfig>,
}

const START_CODE: [u8; 4] = [0, 0, 0, 1];

impl AvcStream {
    /// From the record of a sequence header.
    pub fn new(record: &Bytes) -> Result<Self, H264Error> {
        let config = h264::parse_config(record)?;
        let length_size = h264::record_length_size(record)?;
        let sets = parameter_sets(&config.record);
        Ok(Self {
            config,
            length_size,
            sets,
        })
    }

    /// The configuration in force.
    pub fn config(&self) -> &VideoConfig {
        &self.config
    }

    /// The access unit of one tag. A malformed tail is left out.
    pub fn sample(&mut self, data: &Bytes) -> AvcSample {
        let (mut out, mut unit) = h264::normalise(data, self.length_size);
        let mut source = data.clone();
        let mut length_size = self.length_size;
        // Some encoders send a byte stream with start codes where lengths belong.
        if !unit.has_picture && data.starts_with(&START_CODE) {
            source = with_lengths(data);
            length_size = 4;
            (out, unit) = h264::normalise(&source, 4);
        }
        // A small slice must not keep a big tag alive (a tag full of filler).
        if out.len() < source.len() / 2 {
            out = Bytes::copy_from_slice(&out);
        }
        let new_config = if unit.has_parameter_sets {
            self.compare(&source, length_size)
        } else {
            None
        };
        AvcSample {
            data: out,
            is_sync: unit.is_idr,
            is_disposable: unit.is_disposable && !unit.is_idr,
            has_picture: unit.has_picture,
            new_config,
        }
    }

    /// The new configuration, if the access unit has parameter sets that are not in force.
    fn compare(&mut self, data: &[u8], length_size: u8) -> Option<VideoConfig> {
        let nals = || h264::nal_units_sized(data, length_size);
        let is_known = |nal: &&[u8]| self.sets.iter().any(|set| set == nal);
        let is_set = |nal: &&[u8]| matches!(h264::nal_type(nal), Some(NalType::Sps | NalType::Pps));
        if nals().filter(is_set).all(|nal| is_known(&nal)) {
            return None;
        }
        let of_type = |wanted: NalType| {
            let here: Vec<&[u8]> = nals().filter(|nal| h264::nal_type(nal) == Some(wanted)).collect();
            if !here.is_empty() {
                return here;
            }
            let in_force = self.sets.iter().map(|set| &set[..]);
            in_force
                .filter(|nal| h264::nal_type(nal) == Some(wanted))
                .collect()
        };
        let config = h264::config_from_parameter_sets(of_type(NalType::Sps), of_type(NalType::Pps)).ok()?;
        if config.record == self.config.record {
            return None;
        }
        self.sets = parameter_sets(&config.record);
        self.config = config.clone();
        Some(config)
    }
}

/// SPS and PPS of an AVCDecoderConfigurationRecord.
fn parameter_sets(record: &Bytes) -> Vec<Bytes> {
    let mut sets = Vec::new();
    let mut at = 5;
    // SPS have 5 bits of count, PPS 8.
    for mask in [0x1f, 0xff] {
        let Some(count) = record.get(at) else { return sets };
        at += 1;
        for _ in 0..count & mask {
            let Some(length) = record.get(at..at + 2) else {
                return sets;
            };
            let start = at + 2;
            at = start + usize::from(u16::from_be_bytes([length[0], length[1]]));
            if at > record.len() {
                return sets;
            }
            sets.push(record.slice(start..at));
        }
    }
    sets
}

/// A byte stream with start codes, rewritten with 4-byte lengths.
fn with_lengths(data: &[u8]) -> Bytes {
    let mut out = BytesMut::with_capacity(data.len() + 16);
    for nal in h264::annexb_units(data) {
        out.put_u32(nal.len() as u32);
        out.put_slice(nal);
    }
    out.freeze()
}

#[cfg(test)]
#[path = "avc_tests.rs"]
mod tests;
