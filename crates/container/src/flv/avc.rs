//! H.264 tags to samples.

use bytes::Bytes;
use media::VideoConfig;
use media::h264::{self, H264Error, NalType};

use super::stream::{VideoSample, is_byte_stream, let_go, with_lengths};

/// The H.264 of one publisher: its parameter sets and how its samples are laid out.
#[derive(Clone, Debug)]
pub struct AvcStream {
    config: VideoConfig,
    length_size: u8,
    /// SPS and PPS in force.
    sets: Vec<Bytes>,
}

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
    pub fn sample(&mut self, data: &Bytes) -> VideoSample {
        let (mut out, mut unit) = h264::normalise(data, self.length_size);
        let mut source = data.clone();
        let mut length_size = self.length_size;
        if !unit.has_picture && is_byte_stream(data) {
            source = with_lengths(data);
            length_size = 4;
            (out, unit) = h264::normalise(&source, 4);
        }
        let new_config = if unit.has_parameter_sets {
            self.compare(&source, length_size)
        } else {
            None
        };
        VideoSample {
            data: let_go(out, source.len()),
            is_sync: unit.is_idr,
            is_disposable: unit.is_disposable && !unit.is_idr,
            has_picture: unit.has_picture,
            is_open_gop: false,
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

#[cfg(test)]
#[path = "avc_tests.rs"]
mod tests;
