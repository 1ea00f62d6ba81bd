//! H.264 headers: parameter sets, slice types, the decoder configuration record.

use bytes::Bytes;
use thiserror::Error;

use crate::{FrameRate, VideoConfig};

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

/// What Tidewire reads of a sequence parameter set (ITU-T H.264 7.3.2.1.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sps {
    /// profile_idc.
    pub profile: u8,
    /// constraint_set flags and reserved bits, as the byte stands.
    pub constraints: u8,
    /// level_idc.
    pub level: u8,
    /// Luma samples per line after cropping.
    pub width: u32,
    /// Lines after cropping (both fields).
    pub height: u32,
    /// Sample aspect ratio, (1, 1) if not said.
    pub pixel_aspect: (u32, u32),
    /// Frames a second by VUI timing, if said.
    pub frame_rate: Option<FrameRate>,
    /// fixed_frame_rate_flag.
    pub is_fixed_frame_rate: bool,
    /// Pictures that may precede a picture in decoding order and follow it in output order:
    /// max_num_reorder_frames if said, 0 for profiles and picture order count types without reordering,
    /// else the decoded picture buffer's size. 0..=16.
    pub reorder_depth: u8,
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

/// Reads an AVCDecoderConfigurationRecord (ISO/IEC 14496-15 5.3.3.1.2).
///
/// The returned record always says 4-byte NAL unit lengths, as samples inside Tidewire have;
/// [`record_length_size`] says what the publisher's samples have.
pub fn parse_config(record: &[u8]) -> Result<VideoConfig, H264Error> {
    let _ = record;
    Err(H264Error::Missing { what: "SPS" })
}

/// Bytes of each NAL unit length in the samples that belong to `record`: 1, 2 or 4.
pub fn record_length_size(record: &[u8]) -> Result<u8, H264Error> {
    let _ = record;
    Err(H264Error::Missing { what: "SPS" })
}

/// The first SPS of an AVCDecoderConfigurationRecord.
pub fn record_sps(record: &[u8]) -> Result<Sps, H264Error> {
    let _ = record;
    Err(H264Error::Missing { what: "SPS" })
}

/// Builds the record, and the configuration, from raw SPS and PPS NAL units (no start codes, header byte first).
pub fn config_from_parameter_sets<'a>(
    sps: impl IntoIterator<Item = &'a [u8]>,
    pps: impl IntoIterator<Item = &'a [u8]>,
) -> Result<VideoConfig, H264Error> {
    let _ = (sps.into_iter(), pps.into_iter());
    Err(H264Error::Missing { what: "SPS" })
}

/// Reads an SPS NAL unit (header byte first, emulation prevention still in).
pub fn parse_sps(nal: &[u8]) -> Result<Sps, H264Error> {
    let _ = nal;
    Err(H264Error::Missing { what: "SPS" })
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
        None
    }
}

/// The NAL units of an Annex B byte stream (start codes 000001 and 00000001), trailing zeros removed.
pub fn annexb_units(data: &[u8]) -> AnnexbUnits<'_> {
    AnnexbUnits { rest: data }
}

/// Iterator over NAL units, see [`annexb_units`].
#[derive(Clone, Debug)]
pub struct AnnexbUnits<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for AnnexbUnits<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let _ = self.rest;
        None
    }
}

/// The type of a NAL unit; `None` for an empty one.
pub fn nal_type(nal: &[u8]) -> Option<NalType> {
    let _ = nal;
    None
}

/// Whether the coded slice is a B slice (slice_type 1 or 6). `false` for what is not a slice.
pub fn is_b_slice(nal: &[u8]) -> bool {
    let _ = nal;
    false
}

/// Brings a publisher's access unit into the form of [`crate::Sample::data`]: 4-byte lengths, no parameter sets, no
/// access unit delimiters. Without a copy where it is so already or where only leading NAL units go.
///
/// A malformed tail is left out; the second value says what the access unit holds.
pub fn normalise(data: &Bytes, length_size: u8) -> (Bytes, AccessUnit) {
    let _ = length_size;
    (data.clone(), AccessUnit::default())
}
