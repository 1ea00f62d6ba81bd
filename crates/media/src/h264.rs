//! H.264 headers: parameter sets, slice types, the decoder configuration record.

//!
//! Our own reader rather than `h264-reader`: it is 300 lines without a dependency, allocates nothing on the path of a
//! frame, and takes a parameter set with a broken VUI, which real encoders send and decoders play.

use bytes::{BufMut, Bytes, BytesMut};
use thiserror::Error;

use crate::{VideoCodec, VideoConfig};

pub use crate::sps::{Sps, parse_sps};

/// Why a parameter set or record was refused. The publisher's fault in every case.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum H264Error {
    /// The bytes end inside the named structure.
    #[error("{what} ends too early")]
    Truncated {
        /// The structure.
        what: &'static str,
    },
    /// configurationVersion is not 1.
    #[error("AVCDecoderConfigurationRecord has version {found}, expected 1")]
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
    /// No SPS or no PPS.
    #[error("no {what} in the decoder configuration")]
    Missing {
        /// "SPS" or "PPS".
        what: &'static str,
    },
    /// A field outside the range that the specification allows.
    #[error("{field} is out of range (found {found})")]
    OutOfRange {
        /// The field's name in ISO/IEC 14496-10.
        field: &'static str,
        /// As found.
        found: i64,
    },
    /// More or larger parameter sets than a record can hold.
    #[error("parameter sets do not fit in a record")]
    TooLarge,
}

/// nal_unit_type of a NAL unit, ITU-T H.264 table 7-1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NalType {
    /// Coded slice of a non-IDR picture (1), or its data partitions (2-4).
    Slice,
    /// Coded slice of an IDR picture (5).
    Idr,
    /// Supplemental enhancement information (6).
    Sei,
    /// Sequence parameter set (7).
    Sps,
    /// Picture parameter set (8).
    Pps,
    /// Access unit delimiter (9).
    AccessUnitDelimiter,
    /// Anything else, by number.
    Other(u8),
}

/// What one access unit shows without decoding it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AccessUnit {
    /// It holds at least one coded slice.
    pub has_picture: bool,
    /// Its slices are of an IDR picture.
    pub is_idr: bool,
    /// Every slice has nal_ref_idc 0.
    pub is_disposable: bool,
    /// A B slice is among them.
    pub has_b_slice: bool,
    /// A recovery point SEI (payload type 6) is in it.
    pub has_recovery_point: bool,
    /// SPS or PPS are in it.
    pub has_parameter_sets: bool,
}

/// payloadType of the recovery point SEI message (ITU-T H.264 D.1.8).
pub const SEI_RECOVERY_POINT: u8 = 6;
/// Bytes of all parameter sets of one record; more is refused.
pub const PARAMETER_SETS_BYTES_MAX: usize = 64 << 10;

/// Reads an AVCDecoderConfigurationRecord (ISO/IEC 14496-15 5.3.3.1.2).
///
/// The record in the result is written anew from the parameter sets and always says 4-byte NAL unit lengths, as samples
/// inside Tidewire have; [`record_length_size`] says what the publisher's samples have.
pub fn parse_config(record: &[u8]) -> Result<VideoConfig, H264Error> {
    let sets = RecordSets::read(record)?;
    config_from_parameter_sets(sets.sps, sets.pps)
}

/// Bytes of each NAL unit length in the samples that belong to `record`: 1 to 4.
pub fn record_length_size(record: &[u8]) -> Result<u8, H264Error> {
    match *record {
        [1, _, _, _, sizes, ..] => Ok((sizes & 3) + 1),
        [found, _, _, _, _, ..] => Err(H264Error::Version { found }),
        _ => Err(H264Error::Truncated { what: RECORD }),
    }
}

/// The first SPS of an AVCDecoderConfigurationRecord.
pub fn record_sps(record: &[u8]) -> Result<Sps, H264Error> {
    parse_sps(
        RecordSets::read(record)?
            .sps
            .first()
            .ok_or(H264Error::Missing { what: "SPS" })?,
    )
}

/// Builds the record, and the configuration, from raw SPS and PPS NAL units (no start codes, header byte first).
///
/// What follows a first SPS that cannot be read does not matter: its error is the result.
pub fn config_from_parameter_sets<'a>(
    sps: impl IntoIterator<Item = &'a [u8]>,
    pps: impl IntoIterator<Item = &'a [u8]>,
) -> Result<VideoConfig, H264Error> {
    let sps = parameter_sets(sps, NalType::Sps, 7, 31)?;
    let pps = parameter_sets(pps, NalType::Pps, 8, 255)?;
    let first = *sps.first().ok_or(H264Error::Missing { what: "SPS" })?;
    if pps.is_empty() {
        return Err(H264Error::Missing { what: "PPS" });
    }
    let bytes: usize = sps.iter().chain(&pps).map(|set| set.len()).sum();
    if bytes > PARAMETER_SETS_BYTES_MAX {
        return Err(H264Error::TooLarge);
    }
    let head = parse_sps(first)?;
    Ok(VideoConfig {
        codec: VideoCodec::H264,
        record: write_record(&head, &sps, &pps),
        codec_string: format!(
            "avc1.{:02x}{:02x}{:02x}",
            head.profile, head.constraints, head.level
        ),
        width: head.width,
        height: head.height,
        pixel_aspect: head.pixel_aspect,
        frame_rate: head.frame_rate,
    })
}

const RECORD: &str = "AVCDecoderConfigurationRecord";

/// The distinct sets, in their order.
fn parameter_sets<'a>(
    sets: impl IntoIterator<Item = &'a [u8]>,
    wanted: NalType,
    expected: u8,
    count_max: usize,
) -> Result<Vec<&'a [u8]>, H264Error> {
    let mut distinct: Vec<&[u8]> = Vec::new();
    for set in sets {
        if nal_type(set) != Some(wanted) {
            let found = set.first().map_or(0, |header| header & 31);
            return Err(H264Error::NalType { expected, found });
        }
        if distinct.contains(&set) {
            continue;
        }
        if distinct.len() == count_max || set.len() > usize::from(u16::MAX) {
            return Err(H264Error::TooLarge);
        }
        distinct.push(set);
    }
    Ok(distinct)
}

fn write_record(head: &Sps, sps: &[&[u8]], pps: &[&[u8]]) -> Bytes {
    let mut record = BytesMut::with_capacity(64);
    record.put_slice(&[1, head.profile, head.constraints, head.level, 0xff]);
    record.put_u8(0xe0 | u8::try_from(sps.len()).unwrap_or(31));
    put_sets(&mut record, sps);
    record.put_u8(u8::try_from(pps.len()).unwrap_or(255));
    put_sets(&mut record, pps);
    if !matches!(head.profile, 66 | 77 | 88) {
        record.put_u8(0xfc | head.chroma_format);
        record.put_u8(0xf8 | (head.bit_depth_luma - 8));
        record.put_u8(0xf8 | (head.bit_depth_chroma - 8));
        record.put_u8(0);
    }
    record.freeze()
}

fn put_sets(record: &mut BytesMut, sets: &[&[u8]]) {
    for set in sets {
        record.put_u16(u16::try_from(set.len()).unwrap_or(u16::MAX));
        record.put_slice(set);
    }
}

/// The parameter sets as they stand in a record.
struct RecordSets<'a> {
    sps: Vec<&'a [u8]>,
    pps: Vec<&'a [u8]>,
}

impl<'a> RecordSets<'a> {
    fn read(record: &'a [u8]) -> Result<Self, H264Error> {
        record_length_size(record)?;
        let mut rest = &record[5..];
        let sps_count = usize::from(take(&mut rest, 1)?[0] & 31);
        let sps = Self::take_sets(&mut rest, sps_count)?;
        let pps_count = usize::from(take(&mut rest, 1)?[0]);
        let pps = Self::take_sets(&mut rest, pps_count)?;
        Ok(Self { sps, pps })
    }

    fn take_sets(rest: &mut &'a [u8], count: usize) -> Result<Vec<&'a [u8]>, H264Error> {
        let mut sets = Vec::with_capacity(count);
        for _ in 0..count {
            let len = take(rest, 2)?;
            let len = usize::from(u16::from_be_bytes([len[0], len[1]]));
            sets.push(take(rest, len)?);
        }
        Ok(sets)
    }
}

fn take<'a>(rest: &mut &'a [u8], len: usize) -> Result<&'a [u8], H264Error> {
    let (head, tail) = rest
        .split_at_checked(len)
        .ok_or(H264Error::Truncated { what: RECORD })?;
    *rest = tail;
    Ok(head)
}

/// The NAL units of a sample with 4-byte lengths. Ends at the first length that does not fit.
pub fn nal_units(data: &[u8]) -> NalUnits<'_> {
    nal_units_sized(data, 4)
}

/// The NAL units of a sample with lengths of `length_size` bytes (1 to 4).
pub fn nal_units_sized(data: &[u8], length_size: u8) -> NalUnits<'_> {
    NalUnits {
        rest: data,
        length_size: usize::from(length_size.clamp(1, 4)),
        is_malformed: false,
    }
}

/// Iterator over NAL units, see [`nal_units`].
#[derive(Clone, Debug)]
pub struct NalUnits<'a> {
    rest: &'a [u8],
    length_size: usize,
    is_malformed: bool,
}

impl NalUnits<'_> {
    /// True once iteration has met a length that points beyond the data.
    pub fn is_malformed(&self) -> bool {
        self.is_malformed
    }
}

impl<'a> Iterator for NalUnits<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        if self.rest.is_empty() || self.is_malformed {
            return None;
        }
        let nal = self
            .rest
            .split_at_checked(self.length_size)
            .and_then(|(size, tail)| {
                let len = size.iter().fold(0, |len, &byte| len << 8 | usize::from(byte));
                tail.split_at_checked(len)
            });
        match nal {
            Some((nal, tail)) => {
                self.rest = tail;
                Some(nal)
            }
            None => {
                self.is_malformed = true;
                None
            }
        }
    }
}

/// The NAL units of an Annex B byte stream (start codes 000001 and 00000001), trailing zeros removed.
///
/// Bytes before the first start code are no NAL unit and are left out.
pub fn annexb_units(data: &[u8]) -> AnnexbUnits<'_> {
    let start = start_code(data).map_or(data.len(), |at| at + 3);
    AnnexbUnits { rest: &data[start..] }
}

/// Iterator over NAL units, see [`annexb_units`].
#[derive(Clone, Debug)]
pub struct AnnexbUnits<'a> {
    /// Begins right behind a start code.
    rest: &'a [u8],
}

impl<'a> Iterator for AnnexbUnits<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        while !self.rest.is_empty() {
            let end = start_code(self.rest);
            let nal = &self.rest[..end.unwrap_or(self.rest.len())];
            self.rest = end.map_or(&[], |end| &self.rest[end + 3..]);
            let len = nal.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
            if len > 0 {
                return Some(&nal[..len]);
            }
        }
        None
    }
}

/// Where the first 000001 is.
fn start_code(data: &[u8]) -> Option<usize> {
    let mut at = 2;
    while let Some(&byte) = data.get(at) {
        match byte {
            0 => at += 1,
            1 if data[at - 1] == 0 && data[at - 2] == 0 => return Some(at - 2),
            _ => at += 3,
        }
    }
    None
}

/// The type of a NAL unit; `None` for an empty one.
pub fn nal_type(nal: &[u8]) -> Option<NalType> {
    Some(match nal.first()? & 31 {
        1..=4 => NalType::Slice,
        5 => NalType::Idr,
        6 => NalType::Sei,
        7 => NalType::Sps,
        8 => NalType::Pps,
        9 => NalType::AccessUnitDelimiter,
        other => NalType::Other(other),
    })
}

/// Whether the coded slice is a B slice (slice_type 1 or 6). `false` for what is not a slice, and for partitions B and C.
pub fn is_b_slice(nal: &[u8]) -> bool {
    if !matches!(nal.first().map(|header| header & 31), Some(1 | 2)) {
        return false;
    }
    let mut bits = crate::bits::Bits::nal(&nal[1..]);
    matches!(bits.ue().and_then(|_first_mb_in_slice| bits.ue()), Some(1 | 6))
}

/// Whether a SEI NAL unit holds a message of this payloadType (ITU-T H.264 7.3.2.3.1).
pub fn sei_has(nal: &[u8], payload_type: u32) -> bool {
    let mut at = 1;
    let number = |at: &mut usize| -> Option<u32> {
        let mut number = 0u32;
        loop {
            let byte = *nal.get(*at)?;
            *at += 1;
            number = number.saturating_add(u32::from(byte));
            if byte != 255 {
                return Some(number);
            }
        }
    };
    // Two bytes at least a message; what remains at the end is rbsp_trailing_bits.
    while at + 2 < nal.len() {
        let (Some(found), Some(size)) = (number(&mut at), number(&mut at)) else {
            return false;
        };
        if found == payload_type {
            return true;
        }
        at = at.saturating_add(size as usize);
    }
    false
}

/// Brings a publisher's access unit into the form of [`crate::Sample::data`]: 4-byte lengths, no parameter sets, access
/// unit delimiters, filler data or end-of-sequence NAL units. Without a copy where what remains is one run of it with
/// 4-byte lengths, as in all but odd streams.
///
/// A malformed tail is left out; the second value says what the access unit holds.
pub fn normalise(data: &Bytes, length_size: u8) -> (Bytes, AccessUnit) {
    let mut unit = AccessUnit::default();
    let kept = crate::nal::keep_units(data, length_size, |nal| unit.add(nal), AccessUnit::keeps);
    unit.is_disposable &= unit.has_picture;
    (kept, unit)
}

impl AccessUnit {
    /// Looks at an access unit with 4-byte lengths without changing it.
    pub fn of(data: &[u8]) -> Self {
        let mut unit = Self::default();
        for nal in nal_units(data) {
            unit.add(nal);
        }
        unit.is_disposable &= unit.has_picture;
        unit
    }

    /// Whether such a NAL unit stays in a sample.
    fn keeps(nal: &[u8]) -> bool {
        !matches!(nal.first().map(|header| header & 31), None | Some(7..=13))
    }

    /// Takes note of a NAL unit; returns whether it stays in the sample.
    fn add(&mut self, nal: &[u8]) -> bool {
        match nal_type(nal) {
            Some(slice @ (NalType::Slice | NalType::Idr)) => {
                let is_reference = nal[0] & 0x60 != 0;
                self.is_disposable = !is_reference && (self.is_disposable || !self.has_picture);
                self.has_picture = true;
                self.is_idr |= slice == NalType::Idr;
                self.has_b_slice = self.has_b_slice || is_b_slice(nal);
            }
            Some(NalType::Sei) => self.has_recovery_point |= sei_has(nal, u32::from(SEI_RECOVERY_POINT)),
            Some(NalType::Sps | NalType::Pps) => self.has_parameter_sets = true,
            _ => {}
        }
        Self::keeps(nal)
    }
}

#[cfg(test)]
#[path = "h264_tests.rs"]
mod tests;
