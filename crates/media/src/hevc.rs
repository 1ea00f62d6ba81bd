//! HEVC headers: parameter sets, picture types, the decoder configuration record.

use bytes::{BufMut, Bytes, BytesMut};
use thiserror::Error;

use crate::h264::{PARAMETER_SETS_BYTES_MAX, nal_units_sized};
use crate::nal::keep_units;
use crate::{VideoCodec, VideoConfig};

pub use crate::hevc_sps::{Sps, parse_sps};

/// Why a parameter set or record was refused. The publisher's fault in every case.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum HevcError {
    /// The bytes end inside the named structure.
    #[error("{what} ends too early")]
    Truncated {
        /// The structure.
        what: &'static str,
    },
    /// configurationVersion is not 1 (drafts wrote 0).
    #[error("HEVCDecoderConfigurationRecord has version {found}, expected 1")]
    Version {
        /// As found.
        found: u8,
    },
    /// A NAL unit of another type where a parameter set must be.
    #[error("expected NAL unit type {expected}, found {found}")]
    NalType {
        /// nal_unit_type wanted.
        expected: u8,
        /// nal_unit_type found.
        found: u8,
    },
    /// No VPS, SPS or PPS.
    #[error("no {what} in the decoder configuration")]
    Missing {
        /// "VPS", "SPS" or "PPS".
        what: &'static str,
    },
    /// A field outside the range that the specification allows.
    #[error("{field} is out of range (found {found})")]
    OutOfRange {
        /// The field's name in ITU-T H.265.
        field: &'static str,
        /// As found.
        found: i64,
    },
    /// More or larger parameter sets than a record can hold.
    #[error("parameter sets do not fit in a record")]
    TooLarge,
}

/// nal_unit_type, ITU-T H.265 table 7-1.
const NAL_RASL_N: u8 = 8;
const NAL_RASL_R: u8 = 9;
const NAL_VCL_NON_IRAP_MAX: u8 = 15;
const NAL_IRAP_MAX: u8 = 23;
const NAL_VCL_MAX: u8 = 31;
/// Video parameter set.
pub const NAL_VPS: u8 = 32;
/// Sequence parameter set.
pub const NAL_SPS: u8 = 33;
/// Picture parameter set.
pub const NAL_PPS: u8 = 34;
const NAL_DELIMITER: u8 = 35;
const NAL_FILLER: u8 = 38;

/// Kinds of parameter sets in the order in which a record has them.
const SET_KINDS: [(u8, &str); 3] = [(NAL_VPS, "VPS"), (NAL_SPS, "SPS"), (NAL_PPS, "PPS")];
/// Parameter sets of one kind in a record: pps_pic_parameter_set_id goes up to 63 (7.4.3.3.1).
const SETS_OF_A_KIND_MAX: usize = 64;
const RECORD: &str = "HEVCDecoderConfigurationRecord";
/// Bytes of a record in front of its arrays.
const RECORD_HEAD_BYTES: usize = 23;

/// The parameter sets in force: VPS, SPS and PPS NAL units, two header bytes first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ParameterSets<'a> {
    /// Video parameter sets.
    pub vps: Vec<&'a [u8]>,
    /// Sequence parameter sets.
    pub sps: Vec<&'a [u8]>,
    /// Picture parameter sets.
    pub pps: Vec<&'a [u8]>,
}

impl<'a> ParameterSets<'a> {
    /// Of a HEVCDecoderConfigurationRecord. NAL units of other types in it (SEI) are passed over.
    pub fn of_record(record: &'a [u8]) -> Result<Self, HevcError> {
        record_length_size(record)?;
        let mut rest = &record[RECORD_HEAD_BYTES - 1..];
        let mut sets = Self::default();
        let arrays = take(&mut rest, 1)?[0];
        for _ in 0..arrays {
            let head = take(&mut rest, 3)?;
            for _ in 0..u16::from_be_bytes([head[1], head[2]]) {
                let len = take(&mut rest, 2)?;
                let nal = take(&mut rest, usize::from(u16::from_be_bytes([len[0], len[1]])))?;
                sets.add(nal)?;
            }
        }
        Ok(sets)
    }

    /// Those of an access unit with lengths of `length_size` bytes.
    pub fn of_sample(data: &'a [u8], length_size: u8) -> Result<Self, HevcError> {
        let mut sets = Self::default();
        for nal in nal_units_sized(data, length_size).filter(|nal| is_base_layer(nal)) {
            sets.add(nal)?;
        }
        Ok(sets)
    }

    /// Takes in a parameter set unless it is there already; anything else is passed over.
    fn add(&mut self, nal: &'a [u8]) -> Result<(), HevcError> {
        let Some(kind) = (match nal_type(nal) {
            Some(NAL_VPS) => Some(&mut self.vps),
            Some(NAL_SPS) => Some(&mut self.sps),
            Some(NAL_PPS) => Some(&mut self.pps),
            _ => None,
        }) else {
            return Ok(());
        };
        if kind.contains(&nal) {
            return Ok(());
        }
        if kind.len() == SETS_OF_A_KIND_MAX || nal.len() > usize::from(u16::MAX) {
            return Err(HevcError::TooLarge);
        }
        kind.push(nal);
        Ok(())
    }

    /// VPS, SPS, PPS.
    pub fn iter(&self) -> impl Iterator<Item = &'a [u8]> + '_ {
        self.kinds().into_iter().flatten().copied()
    }

    fn kinds(&self) -> [&Vec<&'a [u8]>; 3] {
        [&self.vps, &self.sps, &self.pps]
    }
}

/// Reads a HEVCDecoderConfigurationRecord (ISO/IEC 14496-15 8.3.3.1.2).
///
/// The record in the result is written anew from the parameter sets and always says 4-byte NAL unit lengths, as samples
/// inside Tidewire have; [`record_length_size`] says what the publisher's samples have.
pub fn parse_config(record: &[u8]) -> Result<VideoConfig, HevcError> {
    config_from_parameter_sets(&ParameterSets::of_record(record)?)
}

/// Bytes of each NAL unit length in the samples that belong to `record`: 1 to 4.
pub fn record_length_size(record: &[u8]) -> Result<u8, HevcError> {
    if record.len() < RECORD_HEAD_BYTES {
        return Err(HevcError::Truncated { what: RECORD });
    }
    match record[0] {
        0 | 1 => Ok((record[RECORD_HEAD_BYTES - 2] & 3) + 1),
        found => Err(HevcError::Version { found }),
    }
}

/// The first SPS of a HEVCDecoderConfigurationRecord.
pub fn record_sps(record: &[u8]) -> Result<Sps, HevcError> {
    let sets = ParameterSets::of_record(record)?;
    parse_sps(sets.sps.first().ok_or(HevcError::Missing { what: "SPS" })?)
}

/// Builds the record, and the configuration, from parameter sets.
pub fn config_from_parameter_sets(sets: &ParameterSets<'_>) -> Result<VideoConfig, HevcError> {
    for (kind, (_, what)) in sets.kinds().into_iter().zip(SET_KINDS) {
        if kind.is_empty() {
            return Err(HevcError::Missing { what });
        }
    }
    if sets.iter().map(<[u8]>::len).sum::<usize>() > PARAMETER_SETS_BYTES_MAX {
        return Err(HevcError::TooLarge);
    }
    let head = parse_sps(sets.sps[0])?;
    Ok(VideoConfig {
        codec: VideoCodec::Hevc,
        record: write_record(&head, sets),
        codec_string: codec_string(&head.profile_tier_level),
        width: head.width,
        height: head.height,
        pixel_aspect: head.pixel_aspect,
        frame_rate: head.frame_rate,
    })
}

fn write_record(head: &Sps, sets: &ParameterSets<'_>) -> Bytes {
    let mut record = BytesMut::with_capacity(256);
    record.put_u8(1);
    record.put_slice(&head.profile_tier_level);
    // Segmentation and parallelism are not known: min_spatial_segmentation_idc 0, parallelismType 0.
    record.put_slice(&[0xf0, 0, 0xfc]);
    record.put_u8(0xfc | head.chroma_format);
    record.put_u8(0xf8 | ((head.bit_depth_luma - 8) & 7));
    record.put_u8(0xf8 | ((head.bit_depth_chroma - 8) & 7));
    record.put_u16(0); // average frame rate: not said
    record.put_u8(head.sub_layers << 3 | u8::from(head.is_temporal_id_nested) << 2 | 3);
    record.put_u8(3);
    for (kind, (nal_type, _)) in sets.kinds().into_iter().zip(SET_KINDS) {
        // All sets of this type are here and none in the samples, as `hvc1` wants it (8.3.3.1.2).
        record.put_u8(0x80 | nal_type);
        record.put_u16(u16::try_from(kind.len()).unwrap_or(u16::MAX));
        for nal in kind {
            record.put_u16(u16::try_from(nal.len()).unwrap_or(u16::MAX));
            record.put_slice(nal);
        }
    }
    record.freeze()
}

/// `hvc1.1.6.L93.B0` (ISO/IEC 14496-15 E.3).
fn codec_string(profile_tier_level: &[u8; 12]) -> String {
    let [first, c0, c1, c2, c3, constraints @ .., level] = *profile_tier_level;
    let space = match first >> 6 {
        1 => "A",
        2 => "B",
        3 => "C",
        _ => "",
    };
    let compatibility = u32::from_be_bytes([c0, c1, c2, c3]).reverse_bits();
    let tier = if first & 0x20 == 0 { 'L' } else { 'H' };
    let mut text = format!("hvc1.{space}{}.{compatibility:X}.{tier}{level}", first & 31);
    let kept = constraints
        .iter()
        .rposition(|&byte| byte != 0)
        .map_or(0, |last| last + 1);
    for byte in &constraints[..kept] {
        text.push_str(&format!(".{byte:X}"));
    }
    text
}

fn take<'a>(rest: &mut &'a [u8], len: usize) -> Result<&'a [u8], HevcError> {
    let (head, tail) = rest
        .split_at_checked(len)
        .ok_or(HevcError::Truncated { what: RECORD })?;
    *rest = tail;
    Ok(head)
}

/// nal_unit_type; `None` for what is shorter than a header.
pub fn nal_type(nal: &[u8]) -> Option<u8> {
    match nal {
        [first, _, ..] => Some(first >> 1 & 63),
        _ => None,
    }
}

/// nuh_layer_id is 0: not a layer of a multi-view or scalable stream, which players of `hvc1` do not take.
fn is_base_layer(nal: &[u8]) -> bool {
    matches!(nal, [first, second, ..] if first & 1 == 0 && second >> 3 == 0)
}

/// What one access unit shows without decoding it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AccessUnit {
    /// It holds at least one coded slice.
    pub has_picture: bool,
    /// Its slices are of an IRAP picture (IDR, CRA or BLA): decoding can start here.
    pub is_irap: bool,
    /// It is a leading picture that cannot be decoded by who starts at the IRAP picture before it (RASL): the GOP is open.
    pub is_skipped_leading: bool,
    /// Every slice is of a sub-layer non-reference picture: none of the same sub-layer refers to it.
    pub is_non_reference: bool,
    /// TemporalId of its slices, 0 to 6.
    pub temporal_id: u8,
    /// VPS, SPS or PPS are in it.
    pub has_parameter_sets: bool,
}

/// Brings a publisher's access unit into the form of [`crate::Sample::data`]: 4-byte lengths, no parameter sets, access
/// unit delimiters, filler data, or layers above the base. A malformed tail is left out; the second value says what the
/// access unit holds.
pub fn normalise(data: &Bytes, length_size: u8) -> (Bytes, AccessUnit) {
    let mut unit = AccessUnit::default();
    let kept = keep_units(data, length_size, |nal| unit.add(nal), AccessUnit::keeps);
    unit.is_non_reference &= unit.has_picture;
    (kept, unit)
}

impl AccessUnit {
    /// Whether such a NAL unit stays in a sample.
    fn keeps(nal: &[u8]) -> bool {
        is_base_layer(nal) && !matches!(nal_type(nal), None | Some(NAL_VPS..=NAL_DELIMITER | NAL_FILLER))
    }

    /// Takes note of a NAL unit; returns whether it stays in the sample.
    fn add(&mut self, nal: &[u8]) -> bool {
        if !is_base_layer(nal) {
            return false;
        }
        match nal_type(nal) {
            Some(kind @ 0..=NAL_VCL_MAX) => {
                // Even types up to RSV_VCL_N14 are the non-reference ones.
                let is_reference = kind > NAL_VCL_NON_IRAP_MAX || kind % 2 == 1;
                self.is_non_reference = !is_reference && (self.is_non_reference || !self.has_picture);
                self.has_picture = true;
                self.is_irap |= (NAL_VCL_NON_IRAP_MAX + 1..=NAL_IRAP_MAX).contains(&kind);
                self.is_skipped_leading |= matches!(kind, NAL_RASL_N | NAL_RASL_R);
                self.temporal_id = self.temporal_id.max((nal[1] & 7).saturating_sub(1));
            }
            Some(NAL_VPS..=NAL_PPS) => self.has_parameter_sets = true,
            _ => {}
        }
        Self::keeps(nal)
    }
}

#[cfg(test)]
#[path = "hevc_tests.rs"]
mod tests;
