//! The sequence parameter set of HEVC (ITU-T H.265 7.3.2.2 and annex E).

use crate::FrameRate;
use crate::bits::Bits;
use crate::hevc::{HevcError, NAL_SPS};
use crate::sps::{frame_rate, read_aspect};

/// Luma samples along one side, at most: what level 6.2 allows (sqrt(8 x 35 651 584)), A.4.1.
const SIDE_MAX: u32 = 16_888;
/// Pictures that a decoded picture buffer can hold, A.4.2.
const DPB_PICTURES_MAX: u32 = 16;
/// Short-term reference picture sets of one SPS, 7.4.3.2.1.
const SHORT_TERM_SETS_MAX: u32 = 64;
/// Pictures of one short-term set, 7.4.8.
const DELTA_POCS_MAX: u32 = 16;
/// Long-term reference pictures of one SPS, 7.4.3.2.1.
const LONG_TERM_PICTURES_MAX: u32 = 32;

/// What Tidewire reads of a sequence parameter set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sps {
    /// general_profile_space to general_level_idc of profile_tier_level(), as the 12 bytes stand (7.3.3).
    pub profile_tier_level: [u8; 12],
    /// Temporal sub-layers, 1 to 7.
    pub sub_layers: u8,
    /// sps_temporal_id_nesting_flag.
    pub is_temporal_id_nested: bool,
    /// chroma_format_idc: 0 none, 1 4:2:0, 2 4:2:2, 3 4:4:4.
    pub chroma_format: u8,
    /// Bits a luma sample, 8 to 16.
    pub bit_depth_luma: u8,
    /// Bits a chroma sample, 8 to 16.
    pub bit_depth_chroma: u8,
    /// Luma samples per line after cropping.
    pub width: u32,
    /// Lines after cropping.
    pub height: u32,
    /// Sample aspect ratio, (1, 1) if not said.
    pub pixel_aspect: (u32, u32),
    /// Pictures a second by VUI timing, if said.
    pub frame_rate: Option<FrameRate>,
    /// Pictures that may precede a picture in decoding order and follow it in output order, 0..=16
    /// (sps_max_num_reorder_pics of the highest sub-layer).
    pub reorder_depth: u8,
}

/// Reads an SPS NAL unit (two header bytes first, emulation prevention still in).
///
/// What stands behind the sizes is read as far as it goes: a VUI that is cut short or out of range leaves the rest at
/// "not said".
pub fn parse_sps(nal: &[u8]) -> Result<Sps, HevcError> {
    let [header, _, payload @ ..] = nal else {
        return Err(HevcError::Truncated { what: "SPS" });
    };
    let found = header >> 1 & 63;
    if found != NAL_SPS {
        return Err(HevcError::NalType {
            expected: NAL_SPS,
            found,
        });
    }
    let mut bits = Bits::nal(payload);
    whole(bits.skip(4))?; // sps_video_parameter_set_id
    let sub_layers = 1 + whole(bits.byte(3))?;
    if sub_layers > 7 {
        return Err(out_of_range("sps_max_sub_layers_minus1", 7));
    }
    let is_temporal_id_nested = whole(bits.flag())?;
    let profile_tier_level = whole(read_profile_tier_level(&mut bits, sub_layers))?;
    let picture = Picture::read(&mut bits, sub_layers)?;
    let mut vui = Vui::default();
    // `None` is a tail that ends too early or is not understood: what was read before stands.
    let _ = vui.find(&mut bits, &picture);
    Ok(Sps {
        profile_tier_level,
        sub_layers,
        is_temporal_id_nested,
        chroma_format: picture.chroma_format,
        bit_depth_luma: picture.bit_depth_luma,
        bit_depth_chroma: picture.bit_depth_chroma,
        width: picture.width,
        height: picture.height,
        pixel_aspect: vui.pixel_aspect.unwrap_or((1, 1)),
        frame_rate: vui.frame_rate,
        reorder_depth: picture.reorder_depth,
    })
}

fn whole<T>(read: Option<T>) -> Result<T, HevcError> {
    read.ok_or(HevcError::Truncated { what: "SPS" })
}

fn out_of_range(field: &'static str, found: u32) -> HevcError {
    HevcError::OutOfRange {
        field,
        found: i64::from(found),
    }
}

fn ue_up_to(bits: &mut Bits<'_>, max: u32, field: &'static str) -> Result<u32, HevcError> {
    let found = whole(bits.ue())?;
    if found > max {
        return Err(out_of_range(field, found));
    }
    Ok(found)
}

fn small(value: u32) -> u8 {
    u8::try_from(value).unwrap_or(u8::MAX)
}

/// profile_tier_level(1, sub_layers - 1), 7.3.3.
fn read_profile_tier_level(bits: &mut Bits<'_>, sub_layers: u8) -> Option<[u8; 12]> {
    let mut general = [0; 12];
    for byte in &mut general {
        *byte = bits.byte(8)?;
    }
    let mut present = [(false, false); 7];
    let lower = usize::from(sub_layers - 1);
    for flags in &mut present[..lower] {
        *flags = (bits.flag()?, bits.flag()?);
    }
    if lower > 0 {
        bits.skip(2 * (8 - u32::from(sub_layers - 1)))?;
    }
    for (has_profile, has_level) in &present[..lower] {
        bits.skip(if *has_profile { 88 } else { 0 })?;
        bits.skip(if *has_level { 8 } else { 0 })?;
    }
    Some(general)
}

/// Size, depth and order of pictures.
struct Picture {
    chroma_format: u8,
    width: u32,
    height: u32,
    bit_depth_luma: u8,
    bit_depth_chroma: u8,
    /// log2_max_pic_order_cnt_lsb_minus4 + 4.
    order_count_bits: u32,
    reorder_depth: u8,
}

impl Picture {
    fn read(bits: &mut Bits<'_>, sub_layers: u8) -> Result<Self, HevcError> {
        ue_up_to(bits, 15, "sps_seq_parameter_set_id")?;
        let chroma_format = small(ue_up_to(bits, 3, "chroma_format_idc")?);
        let is_separate_planes = chroma_format == 3 && whole(bits.flag())?;
        let width = ue_up_to(bits, SIDE_MAX, "pic_width_in_luma_samples")?;
        let height = ue_up_to(bits, SIDE_MAX, "pic_height_in_luma_samples")?;
        let (crop_x, crop_y) = read_window(bits, chroma_format, is_separate_planes)?;
        let cropped = |side: u32, crop: u64, field| match u32::try_from(u64::from(side).saturating_sub(crop))
        {
            Ok(left) if left > 0 => Ok(left),
            _ => Err(out_of_range(field, side)),
        };
        let (width, height) = (
            cropped(width, crop_x, "pic_width_in_luma_samples")?,
            cropped(height, crop_y, "pic_height_in_luma_samples")?,
        );
        let bit_depth_luma = 8 + small(ue_up_to(bits, 8, "bit_depth_luma_minus8")?);
        let bit_depth_chroma = 8 + small(ue_up_to(bits, 8, "bit_depth_chroma_minus8")?);
        let order_count_bits = 4 + ue_up_to(bits, 12, "log2_max_pic_order_cnt_lsb_minus4")?;
        let first = if whole(bits.flag())? { 0 } else { sub_layers - 1 };
        let mut reorder_depth = 0;
        for _ in first..sub_layers {
            ue_up_to(bits, DPB_PICTURES_MAX - 1, "sps_max_dec_pic_buffering_minus1")?;
            reorder_depth = small(ue_up_to(bits, DPB_PICTURES_MAX, "sps_max_num_reorder_pics")?);
            whole(bits.ue())?; // sps_max_latency_increase_plus1
        }
        Ok(Self {
            chroma_format,
            width,
            height,
            bit_depth_luma,
            bit_depth_chroma,
            order_count_bits,
            reorder_depth,
        })
    }
}

/// Luma samples cut off horizontally and vertically by the conformance window, 7.4.3.2.1.
fn read_window(
    bits: &mut Bits<'_>,
    chroma_format: u8,
    is_separate_planes: bool,
) -> Result<(u64, u64), HevcError> {
    if !whole(bits.flag())? {
        return Ok((0, 0));
    }
    let mut offset = || whole(bits.ue()).map(u64::from);
    let (left, right, top, bottom) = (offset()?, offset()?, offset()?, offset()?);
    let (unit_x, unit_y) = match (chroma_format, is_separate_planes) {
        (1, _) => (2, 2),
        (2, _) => (2, 1),
        _ => (1, 1),
    };
    Ok(((left + right) * unit_x, (top + bottom) * unit_y))
}

/// Video usability information, E.2.1.
#[derive(Default)]
struct Vui {
    pixel_aspect: Option<(u32, u32)>,
    frame_rate: Option<FrameRate>,
}

impl Vui {
    /// From behind the sub-layers' buffering to the VUI, and through it.
    fn find(&mut self, bits: &mut Bits<'_>, picture: &Picture) -> Option<()> {
        for _ in 0..6 {
            bits.ue()?; // sizes of coding and transform blocks, depths of transform hierarchy
        }
        if bits.flag()? && bits.flag()? {
            skip_scaling_lists(bits)?;
        }
        bits.skip(2)?; // amp_enabled_flag, sample_adaptive_offset_enabled_flag
        if bits.flag()? {
            bits.skip(8)?; // PCM bit depths
            bits.ue()?;
            bits.ue()?;
            bits.flag()?;
        }
        skip_short_term_sets(bits)?;
        if bits.flag()? {
            let count = bits.ue()?;
            if count > LONG_TERM_PICTURES_MAX {
                return None;
            }
            bits.skip(count * (picture.order_count_bits + 1))?;
        }
        bits.skip(2)?; // sps_temporal_mvp_enabled_flag, strong_intra_smoothing_enabled_flag
        if bits.flag()? { self.read(bits) } else { Some(()) }
    }

    fn read(&mut self, bits: &mut Bits<'_>) -> Option<()> {
        if bits.flag()? {
            self.pixel_aspect = read_aspect(bits)?;
        }
        if bits.flag()? {
            bits.flag()?; // overscan_appropriate_flag
        }
        if bits.flag()? {
            bits.skip(4)?; // video_format, video_full_range_flag
            if bits.flag()? {
                bits.skip(24)?; // colour description
            }
        }
        if bits.flag()? {
            bits.ue()?; // chroma_sample_loc_type
            bits.ue()?;
        }
        bits.flag()?; // neutral_chroma_indication_flag
        let is_field = bits.flag()?;
        bits.flag()?; // frame_field_info_present_flag
        if bits.flag()? {
            for _ in 0..4 {
                bits.ue()?; // default display window
            }
        }
        if bits.flag()? {
            let (units, scale) = (u64::from(bits.bits(32)?), u64::from(bits.bits(32)?));
            // Field by field the pictures are fields.
            self.frame_rate = frame_rate(scale, if is_field { units * 2 } else { units });
        }
        Some(())
    }
}

/// scaling_list_data(), 7.3.4.
fn skip_scaling_lists(bits: &mut Bits<'_>) -> Option<()> {
    for size in 0..4 {
        for _ in 0..if size == 3 { 2 } else { 6 } {
            if !bits.flag()? {
                bits.ue()?; // scaling_list_pred_matrix_id_delta
                continue;
            }
            if size > 1 {
                bits.se()?;
            }
            for _ in 0..64.min(1 << (4 + (size << 1))) {
                bits.se()?;
            }
        }
    }
    Some(())
}

/// The short-term reference picture sets, 7.3.7.
fn skip_short_term_sets(bits: &mut Bits<'_>) -> Option<()> {
    let count = bits.ue()?;
    if count > SHORT_TERM_SETS_MAX {
        return None;
    }
    // Pictures of the set before.
    let mut pictures = 0;
    for index in 0..count {
        if index > 0 && bits.flag()? {
            bits.flag()?; // delta_rps_sign
            bits.ue()?;
            let mut kept = 0;
            for _ in 0..=pictures {
                let is_used = bits.flag()?;
                if is_used || bits.flag()? {
                    kept += 1;
                }
            }
            pictures = kept;
        } else {
            let (negative, positive) = (bits.ue()?, bits.ue()?);
            pictures = negative.checked_add(positive)?;
            if pictures > DELTA_POCS_MAX {
                return None;
            }
            for _ in 0..pictures {
                bits.ue()?;
                bits.flag()?;
            }
        }
        if pictures > DELTA_POCS_MAX {
            return None;
        }
    }
    Some(())
}
