//! AV1 headers: open bitstream units, the sequence header, the configuration record.

use bytes::{BufMut, Bytes, BytesMut};
use thiserror::Error;

use crate::bits::Bits;
use crate::sps::frame_rate;
use crate::{FrameRate, VideoCodec, VideoConfig};

/// Why a sequence header or record was refused. The publisher's fault in every case.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Av1Error {
    /// The bytes end inside the named structure.
    #[error("{what} ends too early")]
    Truncated {
        /// The structure.
        what: &'static str,
    },
    /// marker and version of the record are not 1 and 1.
    #[error("AV1CodecConfigurationRecord begins with {found:#04x}, expected 0x81")]
    Version {
        /// As found.
        found: u8,
    },
    /// There is no sequence header.
    #[error("no sequence header in the AV1 configuration")]
    NoSequenceHeader,
    /// seq_profile is reserved.
    #[error("AV1 profile {found} is reserved, expected 0 to 2")]
    Profile {
        /// As found.
        found: u8,
    },
    /// The sequence header is longer than any encoder writes.
    #[error("a sequence header of {found} bytes, at most {SEQUENCE_HEADER_BYTES_MAX} are taken")]
    TooLarge {
        /// Its bytes.
        found: usize,
    },
}

/// Bytes of a sequence header; encoders write 10 to 20, 32 operating points with all fields take less than 600.
pub const SEQUENCE_HEADER_BYTES_MAX: usize = 1024;

/// obu_type, AV1 6.2.2.
mod obu {
    pub(super) const SEQUENCE_HEADER: u8 = 1;
    pub(super) const TEMPORAL_DELIMITER: u8 = 2;
    pub(super) const FRAME_HEADER: u8 = 3;
    pub(super) const FRAME: u8 = 6;
    pub(super) const TILE_LIST: u8 = 8;
    pub(super) const PADDING: u8 = 15;
}

const KEY_FRAME: u8 = 0;
/// CP_UNSPECIFIED and CP_BT_709, AV1 6.4.2; the same values stand for transfer and matrix.
const UNSPECIFIED: u8 = 2;
const BT_709: u8 = 1;
/// sRGB: CP_BT_709, TC_SRGB, MC_IDENTITY.
const SRGB: [u8; 3] = [BT_709, 13, 0];

/// One open bitstream unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Obu<'a> {
    kind: u8,
    /// All of it, header first.
    whole: &'a [u8],
    payload: &'a [u8],
}

/// Walks the units of a temporal unit. Ends at the first that does not fit.
#[derive(Clone, Debug)]
struct Obus<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Obus<'a> {
    type Item = Obu<'a>;

    fn next(&mut self) -> Option<Obu<'a>> {
        let header = *self.rest.first()?;
        // obu_forbidden_bit
        if header & 0x80 != 0 {
            return None;
        }
        let head = 1 + usize::from(header >> 2 & 1);
        let has_size = header & 2 != 0;
        let (size, start) = if has_size {
            let (size, bytes) = leb128(self.rest.get(head..)?)?;
            (size, head + bytes)
        } else {
            // Without a size it is the last one.
            (self.rest.len().checked_sub(head)?, head)
        };
        let (whole, rest) = self.rest.split_at_checked(start.checked_add(size)?)?;
        self.rest = rest;
        Some(Obu {
            kind: header >> 3 & 15,
            whole,
            payload: &whole[start..],
        })
    }
}

/// leb128(), AV1 4.10.5: the value and its bytes.
fn leb128(bytes: &[u8]) -> Option<(usize, usize)> {
    let mut value = 0u64;
    for (index, byte) in bytes.iter().take(8).enumerate() {
        value |= u64::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            let value = u32::try_from(value).ok()?;
            return Some((value as usize, index + 1));
        }
    }
    None
}

/// What Tidewire reads of a sequence header (AV1 5.5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SequenceHeader {
    /// seq_profile: 0 main, 1 high, 2 professional.
    pub profile: u8,
    /// seq_level_idx of the first operating point.
    pub level: u8,
    /// seq_tier of the first operating point.
    pub is_high_tier: bool,
    /// Bits a sample: 8, 10 or 12.
    pub bit_depth: u8,
    /// mono_chrome.
    pub is_monochrome: bool,
    /// subsampling_x and subsampling_y.
    pub subsampling: (bool, bool),
    /// chroma_sample_position, 0 to 3.
    pub chroma_position: u8,
    /// Colour primaries, transfer characteristics, matrix coefficients (ISO/IEC 23091-4); 2 where not said.
    pub colour: [u8; 3],
    /// color_range: full.
    pub is_full_range: bool,
    /// max_frame_width_minus_1 + 1.
    pub width: u32,
    /// max_frame_height_minus_1 + 1.
    pub height: u32,
    /// Where pictures are equally spaced and that is said.
    pub frame_rate: Option<FrameRate>,
    /// reduced_still_picture_header: every frame is a shown key frame, without saying so.
    pub is_reduced: bool,
}

/// Reads the payload of a sequence header OBU.
pub fn parse_sequence_header(payload: &[u8]) -> Result<SequenceHeader, Av1Error> {
    if payload.len() > SEQUENCE_HEADER_BYTES_MAX {
        return Err(Av1Error::TooLarge { found: payload.len() });
    }
    let mut bits = Bits::new(payload);
    let profile = whole(bits.byte(3))?;
    if profile > 2 {
        return Err(Av1Error::Profile { found: profile });
    }
    whole(read_sequence_header(&mut bits, profile))
}

fn whole<T>(read: Option<T>) -> Result<T, Av1Error> {
    read.ok_or(Av1Error::Truncated {
        what: "sequence header",
    })
}

fn read_sequence_header(bits: &mut Bits<'_>, profile: u8) -> Option<SequenceHeader> {
    bits.flag()?; // still_picture
    let is_reduced = bits.flag()?;
    let points = if is_reduced {
        OperatingPoints {
            level: bits.byte(5)?,
            is_high_tier: false,
            frame_rate: None,
        }
    } else {
        OperatingPoints::read(bits)?
    };
    let (width_bits, height_bits) = (bits.bits(4)? + 1, bits.bits(4)? + 1);
    let (width, height) = (bits.bits(width_bits)? + 1, bits.bits(height_bits)? + 1);
    if !is_reduced && bits.flag()? {
        bits.skip(4 + 3)?; // lengths of frame ids
    }
    bits.skip(3)?; // 128x128 superblocks, filter intra, intra edge filter
    if !is_reduced {
        skip_tools(bits)?;
    }
    bits.skip(3)?; // superres, CDEF, restoration
    let colour = Colour::read(bits, profile)?;
    Some(SequenceHeader {
        profile,
        level: points.level,
        is_high_tier: points.is_high_tier,
        bit_depth: colour.bit_depth,
        is_monochrome: colour.is_monochrome,
        subsampling: colour.subsampling,
        chroma_position: colour.chroma_position,
        colour: colour.description,
        is_full_range: colour.is_full_range,
        width,
        height,
        frame_rate: points.frame_rate,
        is_reduced,
    })
}

/// Timing, decoder model and operating points.
struct OperatingPoints {
    level: u8,
    is_high_tier: bool,
    frame_rate: Option<FrameRate>,
}

impl OperatingPoints {
    fn read(bits: &mut Bits<'_>) -> Option<Self> {
        let mut rate = None;
        let mut model_bits = None;
        if bits.flag()? {
            let (units, scale) = (u64::from(bits.bits(32)?), u64::from(bits.bits(32)?));
            if bits.flag()? {
                // num_ticks_per_picture_minus_1, uvlc() as ue(v).
                let ticks = u64::from(bits.ue()?) + 1;
                rate = frame_rate(scale, units.saturating_mul(ticks));
            }
            if bits.flag()? {
                model_bits = Some(bits.bits(5)? + 1);
                bits.skip(32 + 5 + 5)?;
            }
        }
        let has_delay = bits.flag()?;
        let count = bits.bits(5)? + 1;
        let mut first = None;
        for _ in 0..count {
            bits.skip(12)?; // operating_point_idc
            let level = bits.byte(5)?;
            let is_high_tier = level > 7 && bits.flag()?;
            if let Some(model_bits) = model_bits
                && bits.flag()?
            {
                bits.skip(2 * model_bits + 1)?;
            }
            if has_delay && bits.flag()? {
                bits.skip(4)?;
            }
            first.get_or_insert((level, is_high_tier));
        }
        let (level, is_high_tier) = first?;
        Some(Self {
            level,
            is_high_tier,
            frame_rate: rate,
        })
    }
}

/// From enable_interintra_compound to order_hint_bits_minus_1.
fn skip_tools(bits: &mut Bits<'_>) -> Option<()> {
    bits.skip(4)?;
    let has_order_hint = bits.flag()?;
    if has_order_hint {
        bits.skip(2)?;
    }
    // SELECT_SCREEN_CONTENT_TOOLS is 2, so a chosen one allows integer motion vectors too.
    let screen_content = if bits.flag()? { 2 } else { bits.bits(1)? };
    if screen_content > 0 && !bits.flag()? {
        bits.skip(1)?;
    }
    if has_order_hint {
        bits.skip(3)?;
    }
    Some(())
}

/// color_config(), AV1 5.5.2.
struct Colour {
    bit_depth: u8,
    is_monochrome: bool,
    description: [u8; 3],
    is_full_range: bool,
    subsampling: (bool, bool),
    chroma_position: u8,
}

impl Colour {
    fn read(bits: &mut Bits<'_>, profile: u8) -> Option<Self> {
        let is_high = bits.flag()?;
        let bit_depth = match (is_high, profile) {
            (false, _) => 8,
            (true, 2) if bits.flag()? => 12,
            (true, _) => 10,
        };
        let is_monochrome = profile != 1 && bits.flag()?;
        let description = if bits.flag()? {
            [bits.byte(8)?, bits.byte(8)?, bits.byte(8)?]
        } else {
            [UNSPECIFIED; 3]
        };
        let mut colour = Self {
            bit_depth,
            is_monochrome,
            description,
            is_full_range: true,
            subsampling: (true, true),
            chroma_position: 0,
        };
        if is_monochrome {
            colour.is_full_range = bits.flag()?;
            return Some(colour);
        }
        if description == SRGB {
            colour.subsampling = (false, false);
            return Some(colour);
        }
        colour.is_full_range = bits.flag()?;
        colour.subsampling = match (profile, bit_depth) {
            (0, _) => (true, true),
            (1, _) => (false, false),
            (_, 12) => {
                let horizontal = bits.flag()?;
                (horizontal, horizontal && bits.flag()?)
            }
            _ => (true, false),
        };
        if colour.subsampling == (true, true) {
            colour.chroma_position = bits.byte(2)?;
        }
        Some(colour)
    }
}

/// Reads an AV1CodecConfigurationRecord (AV1-ISOBMFF 2.3.3). The record in the result is written anew.
pub fn parse_config(record: &[u8]) -> Result<VideoConfig, Av1Error> {
    match record {
        [0x81, _, _, _, units @ ..] => {
            config_from_sequence_header(sequence_header(units).ok_or(Av1Error::NoSequenceHeader)?)
        }
        [0x81, ..] | [] => Err(Av1Error::Truncated {
            what: "AV1CodecConfigurationRecord",
        }),
        [found, ..] => Err(Av1Error::Version { found: *found }),
    }
}

/// The payload of the first sequence header OBU of a temporal unit or of a record's units.
pub fn sequence_header(units: &[u8]) -> Option<&[u8]> {
    Obus { rest: units }
        .find(|unit| unit.kind == obu::SEQUENCE_HEADER)
        .map(|unit| unit.payload)
}

/// The payload of the sequence header OBU of a record.
pub fn record_sequence_header(record: &[u8]) -> Option<&[u8]> {
    sequence_header(record.get(4..)?)
}

/// Builds the record, and the configuration, from the payload of a sequence header OBU.
pub fn config_from_sequence_header(payload: &[u8]) -> Result<VideoConfig, Av1Error> {
    let head = parse_sequence_header(payload)?;
    Ok(VideoConfig {
        codec: VideoCodec::Av1,
        record: write_record(&head, payload),
        codec_string: codec_string(&head),
        width: head.width,
        height: head.height,
        pixel_aspect: (1, 1),
        frame_rate: head.frame_rate,
    })
}

fn write_record(head: &SequenceHeader, payload: &[u8]) -> Bytes {
    let mut record = BytesMut::with_capacity(4 + 4 + payload.len());
    let bit = |is_set: bool, at: u8| u8::from(is_set) << at;
    record.put_slice(&[
        0x81,
        head.profile << 5 | head.level,
        bit(head.is_high_tier, 7)
            | bit(head.bit_depth > 8, 6)
            | bit(head.bit_depth == 12, 5)
            | bit(head.is_monochrome, 4)
            | bit(head.subsampling.0, 3)
            | bit(head.subsampling.1, 2)
            | head.chroma_position,
        0, // the initial presentation delay is not said
    ]);
    put_sequence_header(&mut record, payload);
    record.freeze()
}

/// A sequence header OBU with its size.
fn put_sequence_header(out: &mut BytesMut, payload: &[u8]) {
    out.put_u8(obu::SEQUENCE_HEADER << 3 | 2);
    let mut size = payload.len();
    while size > 0x7f {
        out.put_u8(0x80 | (size & 0x7f) as u8);
        size >>= 7;
    }
    out.put_u8(size as u8);
    out.put_slice(payload);
}

/// `av01.0.04M.08`, with the colour where it is said and not BT.709 (AV1-ISOBMFF 5).
fn codec_string(head: &SequenceHeader) -> String {
    let tier = if head.is_high_tier { 'H' } else { 'M' };
    let mut text = format!(
        "av01.{}.{:02}{tier}.{:02}",
        head.profile, head.level, head.bit_depth
    );
    let is_usual = head.colour == [UNSPECIFIED; 3] || head.colour == [BT_709; 3];
    if !is_usual || head.is_monochrome || head.profile != 0 {
        let [primaries, transfer, matrix] = head
            .colour
            .map(|value| if value == UNSPECIFIED { BT_709 } else { value });
        let (x, y) = head.subsampling;
        let position = if x && y { head.chroma_position } else { 0 };
        text.push_str(&format!(
            ".{}.{}{}{position}.{primaries:02}.{transfer:02}.{matrix:02}.{}",
            u8::from(head.is_monochrome),
            u8::from(x),
            u8::from(y),
            u8::from(head.is_full_range)
        ));
    }
    text
}

/// What one temporal unit shows without decoding it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TemporalUnit {
    /// It holds at least one frame header.
    pub has_picture: bool,
    /// Its first frame is a key frame that is shown: decoding can start here.
    pub is_key: bool,
    /// A sequence header is in it.
    pub has_sequence_header: bool,
}

/// Brings a publisher's temporal unit into the form of [`crate::Sample::data`]: no temporal delimiters, tile lists or
/// padding (AV1-ISOBMFF 2.4); a shown key frame that has no sequence header gets `in_force` (the payload of one) in front.
/// A malformed tail is left out. Without a copy where what remains is one run of the unit.
pub fn normalise(data: &Bytes, in_force: &[u8], is_reduced: bool) -> (Bytes, TemporalUnit) {
    let mut unit = TemporalUnit::default();
    let (mut from, mut to) = (0, 0);
    let mut is_one_run = true;
    let mut at = 0;
    for item in (Obus { rest: data }) {
        let end = at + item.whole.len();
        if unit.add(&item, is_reduced) {
            if from == to {
                from = at;
            } else if to != at {
                is_one_run = false;
            }
            to = end;
        }
        at = end;
    }
    let needs_header = unit.is_key && !unit.has_sequence_header && !in_force.is_empty();
    if !needs_header && (is_one_run || from == to) {
        return (data.slice(from..to), unit);
    }
    let mut copy = BytesMut::with_capacity(data.len() + in_force.len() + 4);
    if needs_header {
        put_sequence_header(&mut copy, in_force);
        unit.has_sequence_header = true;
    }
    for item in (Obus { rest: data }).filter(|item| TemporalUnit::keeps(item.kind)) {
        copy.put_slice(item.whole);
    }
    (copy.freeze(), unit)
}

impl TemporalUnit {
    fn keeps(kind: u8) -> bool {
        !matches!(kind, obu::TEMPORAL_DELIMITER | obu::TILE_LIST | obu::PADDING)
    }

    /// Takes note of a unit; returns whether it stays in the sample.
    fn add(&mut self, item: &Obu<'_>, is_reduced: bool) -> bool {
        match item.kind {
            obu::SEQUENCE_HEADER => self.has_sequence_header = true,
            obu::FRAME_HEADER | obu::FRAME => {
                if !self.has_picture {
                    self.is_key = is_reduced || is_shown_key(item.payload);
                }
                self.has_picture = true;
            }
            _ => {}
        }
        Self::keeps(item.kind)
    }
}

/// Whether an uncompressed header (AV1 5.9.2) is of a key frame that is shown.
fn is_shown_key(payload: &[u8]) -> bool {
    let mut bits = Bits::new(payload);
    let read = |bits: &mut Bits<'_>| Some((bits.flag()?, bits.byte(2)?, bits.flag()?));
    // show_existing_frame, frame_type, show_frame
    read(&mut bits) == Some((false, KEY_FRAME, true))
}

#[cfg(test)]
#[path = "av1_tests.rs"]
mod tests;
