//! The sequence parameter set of H.264 (ITU-T H.264 7.3.2.1.1 and annex E).

use std::num::NonZeroU32;

use crate::FrameRate;
use crate::bits::Bits;
use crate::h264::H264Error;

/// Macroblocks along one side, at most: what level 6.2 allows (sqrt(8 x 139264)), table A-1.
const SIDE_MBS_MAX: u32 = 1055;
/// More frames a second than this in the VUI is a timebase, not a frame rate.
const FRAME_RATE_MAX: u64 = 300;
/// Frames that a decoded picture buffer can hold, A.3.1.
const DPB_FRAMES_MAX: u32 = 16;

/// What Tidewire reads of a sequence parameter set (ITU-T H.264 7.3.2.1.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sps {
    /// profile_idc.
    pub profile: u8,
    /// constraint_set flags and reserved bits, as the byte stands.
    pub constraints: u8,
    /// level_idc.
    pub level: u8,
    /// chroma_format_idc: 0 none, 1 4:2:0, 2 4:2:2, 3 4:4:4.
    pub chroma_format: u8,
    /// Bits a luma sample, 8 to 14.
    pub bit_depth_luma: u8,
    /// Bits a chroma sample, 8 to 14.
    pub bit_depth_chroma: u8,
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

/// Reads an SPS NAL unit (header byte first, emulation prevention still in).
///
/// The VUI is read as far as it goes: one that is cut short or out of range leaves the rest at "not said".
pub fn parse_sps(nal: &[u8]) -> Result<Sps, H264Error> {
    let header = *nal.first().ok_or(H264Error::Truncated { what: "SPS" })?;
    if header & 31 != 7 {
        return Err(H264Error::NalType {
            expected: 7,
            found: header & 31,
        });
    }
    let mut bits = Bits::nal(&nal[1..]);
    let head = Head::read(&mut bits)?;
    let picture = Picture::read(&mut bits, &head)?;
    let has_vui = bits.flag().unwrap_or(false);
    let mut vui = Vui::default();
    if has_vui {
        // `None` is a VUI that ends too early: what was read before stands.
        let _ = vui.read(&mut bits);
    }
    let reorder_depth = match vui.reorder_frames {
        Some(frames) if frames <= DPB_FRAMES_MAX => frames,
        _ => picture.reorder_frames_max(&head),
    };
    Ok(Sps {
        profile: head.profile,
        constraints: head.constraints,
        level: head.level,
        chroma_format: head.chroma_format,
        bit_depth_luma: head.bit_depth_luma,
        bit_depth_chroma: head.bit_depth_chroma,
        width: picture.width,
        height: picture.height,
        pixel_aspect: vui.pixel_aspect.unwrap_or((1, 1)),
        frame_rate: vui.frame_rate(),
        is_fixed_frame_rate: vui.is_fixed_frame_rate,
        reorder_depth: u8::try_from(reorder_depth).unwrap_or(16),
    })
}

fn whole<T>(read: Option<T>) -> Result<T, H264Error> {
    read.ok_or(H264Error::Truncated { what: "SPS" })
}

fn ue_up_to(bits: &mut Bits<'_>, max: u32, field: &'static str) -> Result<u32, H264Error> {
    let found = whole(bits.ue())?;
    if found > max {
        return Err(H264Error::OutOfRange {
            field,
            found: i64::from(found),
        });
    }
    Ok(found)
}

/// Profile, level, sample format.
struct Head {
    profile: u8,
    constraints: u8,
    level: u8,
    chroma_format: u8,
    is_separate_planes: bool,
    bit_depth_luma: u8,
    bit_depth_chroma: u8,
}

impl Head {
    fn read(bits: &mut Bits<'_>) -> Result<Self, H264Error> {
        let (profile, constraints, level) =
            (whole(bits.byte(8))?, whole(bits.byte(8))?, whole(bits.byte(8))?);
        ue_up_to(bits, 31, "seq_parameter_set_id")?;
        let mut head = Self {
            profile,
            constraints,
            level,
            chroma_format: 1,
            is_separate_planes: false,
            bit_depth_luma: 8,
            bit_depth_chroma: 8,
        };
        if matches!(
            profile,
            44 | 83 | 86 | 100 | 110 | 118 | 122 | 128 | 134 | 135 | 138 | 139 | 244
        ) {
            head.read_high(bits)?;
        }
        Ok(head)
    }

    fn read_high(&mut self, bits: &mut Bits<'_>) -> Result<(), H264Error> {
        let small = |value: u32| u8::try_from(value).unwrap_or(0);
        self.chroma_format = small(ue_up_to(bits, 3, "chroma_format_idc")?);
        if self.chroma_format == 3 {
            self.is_separate_planes = whole(bits.flag())?;
        }
        self.bit_depth_luma = 8 + small(ue_up_to(bits, 6, "bit_depth_luma_minus8")?);
        self.bit_depth_chroma = 8 + small(ue_up_to(bits, 6, "bit_depth_chroma_minus8")?);
        whole(bits.flag())?; // qpprime_y_zero_transform_bypass_flag
        if whole(bits.flag())? {
            let lists = if self.chroma_format == 3 { 12 } else { 8 };
            for list in 0..lists {
                if whole(bits.flag())? {
                    skip_scaling_list(bits, if list < 6 { 16 } else { 64 })?;
                }
            }
        }
        Ok(())
    }
}

/// scaling_list(), 7.3.2.1.1.1.
fn skip_scaling_list(bits: &mut Bits<'_>, size: u32) -> Result<(), H264Error> {
    let (mut last, mut next) = (8, 8);
    for _ in 0..size {
        if next != 0 {
            next = (last + whole(bits.se())?).rem_euclid(256);
        }
        last = if next == 0 { last } else { next };
    }
    Ok(())
}

/// Picture order and size.
struct Picture {
    width: u32,
    height: u32,
    frame_mbs: u32,
    poc_type: u32,
}

impl Picture {
    fn read(bits: &mut Bits<'_>, head: &Head) -> Result<Self, H264Error> {
        ue_up_to(bits, 12, "log2_max_frame_num_minus4")?;
        let poc_type = ue_up_to(bits, 2, "pic_order_cnt_type")?;
        match poc_type {
            0 => {
                ue_up_to(bits, 12, "log2_max_pic_order_cnt_lsb_minus4")?;
            }
            1 => {
                whole(bits.flag())?;
                whole(bits.se())?;
                whole(bits.se())?;
                for _ in 0..ue_up_to(bits, 255, "num_ref_frames_in_pic_order_cnt_cycle")? {
                    whole(bits.se())?;
                }
            }
            _ => {}
        }
        ue_up_to(bits, DPB_FRAMES_MAX, "max_num_ref_frames")?;
        whole(bits.flag())?; // gaps_in_frame_num_value_allowed_flag
        let width_mbs = 1 + ue_up_to(bits, SIDE_MBS_MAX - 1, "pic_width_in_mbs_minus1")?;
        let map_units = 1 + ue_up_to(bits, SIDE_MBS_MAX - 1, "pic_height_in_map_units_minus1")?;
        let is_frame_only = whole(bits.flag())?;
        if !is_frame_only {
            whole(bits.flag())?; // mb_adaptive_frame_field_flag
        }
        whole(bits.flag())?; // direct_8x8_inference_flag
        let field_factor = if is_frame_only { 1 } else { 2 };
        let height_mbs = map_units * field_factor;
        let (crop_x, crop_y) = read_cropping(bits, head, field_factor)?;
        let cropped = |mbs: u32, crop: u64, field| {
            let side = u64::from(mbs) * 16;
            match u32::try_from(side.saturating_sub(crop)) {
                Ok(cropped) if cropped > 0 => Ok(cropped),
                _ => Err(H264Error::OutOfRange {
                    field,
                    found: i64::try_from(crop).unwrap_or(i64::MAX),
                }),
            }
        };
        Ok(Self {
            width: cropped(
                width_mbs,
                crop_x,
                "frame_crop_left_offset + frame_crop_right_offset",
            )?,
            height: cropped(
                height_mbs,
                crop_y,
                "frame_crop_top_offset + frame_crop_bottom_offset",
            )?,
            frame_mbs: width_mbs * height_mbs,
            poc_type,
        })
    }

    /// The upper bound of reordering where the VUI does not say it (E.2.1, max_num_reorder_frames).
    fn reorder_frames_max(&self, head: &Head) -> u32 {
        let is_intra_only =
            matches!(head.profile, 44 | 86 | 100 | 110 | 122 | 244) && head.constraints & 0x10 != 0;
        if head.profile == 66 || self.poc_type == 2 || is_intra_only {
            return 0;
        }
        (dpb_mbs_max(head) / self.frame_mbs.max(1)).clamp(1, DPB_FRAMES_MAX)
    }
}

/// Luma samples cropped off horizontally and vertically, 7.4.2.1.1.
fn read_cropping(bits: &mut Bits<'_>, head: &Head, field_factor: u32) -> Result<(u64, u64), H264Error> {
    if !whole(bits.flag())? {
        return Ok((0, 0));
    }
    let mut offset = || whole(bits.ue()).map(u64::from);
    let (left, right, top, bottom) = (offset()?, offset()?, offset()?, offset()?);
    let (unit_x, unit_y) = match (head.chroma_format, head.is_separate_planes) {
        (1, _) => (2, 2),
        (2, _) => (2, 1),
        _ => (1, 1),
    };
    Ok((
        (left + right) * unit_x,
        (top + bottom) * unit_y * u64::from(field_factor),
    ))
}

/// MaxDpbMbs, table A-1.
fn dpb_mbs_max(head: &Head) -> u32 {
    match head.level {
        0..=10 => 396,
        11 if matches!(head.profile, 66 | 77 | 88) && head.constraints & 0x10 != 0 => 396,
        11 => 900,
        12..=20 => 2_376,
        21 => 4_752,
        22..=30 => 8_100,
        31 => 18_000,
        32 => 20_480,
        33..=41 => 32_768,
        42 => 34_816,
        43..=50 => 110_400,
        51..=59 => 184_320,
        _ => 696_320,
    }
}

/// Video usability information, E.1.1.
#[derive(Default)]
struct Vui {
    pixel_aspect: Option<(u32, u32)>,
    /// (num_units_in_tick, time_scale).
    timing: Option<(u32, u32)>,
    is_fixed_frame_rate: bool,
    reorder_frames: Option<u32>,
}

impl Vui {
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
        if bits.flag()? {
            self.timing = Some((bits.bits(32)?, bits.bits(32)?));
            self.is_fixed_frame_rate = bits.flag()?;
        }
        let has_nal_hrd = bits.flag()?;
        if has_nal_hrd {
            skip_hrd(bits)?;
        }
        let has_vcl_hrd = bits.flag()?;
        if has_vcl_hrd {
            skip_hrd(bits)?;
        }
        if has_nal_hrd || has_vcl_hrd {
            bits.flag()?; // low_delay_hrd_flag
        }
        bits.flag()?; // pic_struct_present_flag
        if bits.flag()? {
            bits.flag()?; // motion_vectors_over_pic_boundaries_flag
            for _ in 0..4 {
                bits.ue()?;
            }
            self.reorder_frames = Some(bits.ue()?);
        }
        Some(())
    }

    /// Half of the field rate, E.2.1.
    fn frame_rate(&self) -> Option<FrameRate> {
        let (units, scale) = self.timing?;
        frame_rate(u64::from(scale), u64::from(units) * 2)
    }
}

/// The reduced fraction, if it can be a frame rate: 1 to [`FRAME_RATE_MAX`] a second.
pub(crate) fn frame_rate(numerator: u64, denominator: u64) -> Option<FrameRate> {
    if denominator == 0 || numerator < denominator || numerator > denominator.saturating_mul(FRAME_RATE_MAX) {
        return None;
    }
    let divisor = greatest_common_divisor(numerator, denominator);
    let part = |value: u64| NonZeroU32::new(u32::try_from(value / divisor).ok()?);
    Some(FrameRate {
        numerator: part(numerator)?,
        denominator: part(denominator)?,
    })
}

/// The sample aspect ratio, table E-1; `Some(None)` where it is unspecified or reserved.
pub(crate) fn read_aspect(bits: &mut Bits<'_>) -> Option<Option<(u32, u32)>> {
    const RATIOS: [(u32, u32); 16] = [
        (1, 1),
        (12, 11),
        (10, 11),
        (16, 11),
        (40, 33),
        (24, 11),
        (20, 11),
        (32, 11),
        (80, 33),
        (18, 11),
        (15, 11),
        (64, 33),
        (160, 99),
        (4, 3),
        (3, 2),
        (2, 1),
    ];
    let ratio = match bits.bits(8)? {
        index @ 1..=16 => RATIOS.get(index as usize - 1).copied(),
        255 => Some((bits.bits(16)?, bits.bits(16)?)),
        _ => None,
    };
    Some(ratio.filter(|&(horizontal, vertical)| horizontal > 0 && vertical > 0))
}

/// hrd_parameters(), E.1.2.
fn skip_hrd(bits: &mut Bits<'_>) -> Option<()> {
    let count = bits.ue()?;
    if count > 31 {
        return None;
    }
    bits.skip(8)?;
    for _ in 0..=count {
        bits.ue()?;
        bits.ue()?;
        bits.flag()?;
    }
    bits.skip(20)
}

fn greatest_common_divisor(mut a: u64, mut b: u64) -> u64 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a.max(1)
}
