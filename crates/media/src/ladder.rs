//! Ladder arithmetic: which rungs a source gets.
//!
//! A *profile* ([`RungSpec`]) is what the operator asks for in general; a [`Rung`] is what one source really gets:
//! exact even dimensions that keep the source's aspect, a bit rate and a frame rate not above the source's.

use std::num::NonZeroU32;

use crate::{FrameRate, VideoConfig};

/// Highest frame rate of rungs whose profile is at most [`SMALL_RUNG_HEIGHT`] high, frames a second.
pub const SMALL_RUNG_RATE_MAX: u32 = 30;

/// Profiles up to this height get no more than [`SMALL_RUNG_RATE_MAX`] frames a second.
pub const SMALL_RUNG_HEIGHT: u32 = 480;

/// One profile of the ladder as configured (`streaming.profiles[]`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RungSpec {
    /// Rendition name, unique in the ladder: `720p`.
    pub name: String,
    /// Bound for the picture's long side in pixels; `None` = whatever keeps the aspect.
    pub width: Option<u32>,
    /// Bound for the picture's short side in pixels (its height when it lies, its width when it stands).
    pub height: u32,
    /// Upper bound of the video bit rate, bits a second.
    pub bitrate: u32,
    /// Constant rate factor, 0..=51, smaller is better. `Some`: calm pictures take less than `bitrate`, which
    /// stays the cap. `None`: the encoder aims at `bitrate`.
    pub quality: Option<u8>,
}

impl RungSpec {
    fn new(name: &str, height: u32, bitrate: u32) -> Self {
        Self {
            name: name.to_owned(),
            width: None,
            height,
            bitrate,
            quality: None,
        }
    }
}

/// The ladder used when nothing is configured.
pub fn default_profiles() -> Vec<RungSpec> {
    vec![
        RungSpec::new("240p", 240, 400_000),
        RungSpec::new("480p", 480, 1_000_000),
        RungSpec::new("720p", 720, 2_500_000),
        RungSpec::new("1080p", 1080, 5_000_000),
        RungSpec::new("2160p", 2160, 15_000_000),
    ]
}

/// What the ladder must know about the source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Source {
    /// Luma samples per line.
    pub width: u32,
    /// Lines.
    pub height: u32,
    /// Pixel aspect ratio, horizontal : vertical.
    pub pixel_aspect: (u32, u32),
    /// Frame rate, if known.
    pub frame_rate: Option<FrameRate>,
    /// Bit rate in bits a second as the publisher declares it, if it does.
    pub bitrate: Option<u32>,
}

impl Source {
    /// The source that a track's configuration describes.
    pub fn from_config(config: &VideoConfig, bitrate: Option<u32>) -> Self {
        Self {
            width: config.width,
            height: config.height,
            pixel_aspect: config.pixel_aspect,
            frame_rate: config.frame_rate,
            bitrate,
        }
    }

    /// Width and height in square pixels; the longer way of an anamorphic picture is kept by widening only.
    fn display_size(&self) -> (u32, u32) {
        let (horizontal, vertical) = self.pixel_aspect;
        if horizontal == 0 || vertical == 0 || horizontal == vertical {
            return (self.width, self.height);
        }
        let width = u64::from(self.width) * u64::from(horizontal) / u64::from(vertical);
        (u32::try_from(width).unwrap_or(u32::MAX), self.height)
    }
}

/// Whether viewers get the source's own bit stream as a rung.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SourceRung {
    /// The source is the top rung; no encode of the same size is made.
    Offered,
    /// The source cannot be offered (its GOP does not fit the grid); an encode of its size is the top rung.
    Withheld,
}

/// One encode of one source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rung {
    /// Rendition name.
    pub name: String,
    /// Picture width in pixels, even.
    pub width: u32,
    /// Picture height in pixels, even.
    pub height: u32,
    /// Cap of the bit rate in bits a second.
    pub bitrate: u32,
    /// Constant rate factor under the cap, see [`RungSpec::quality`].
    pub quality: Option<u8>,
    /// Frame rate of the rung, if the source's is known.
    pub frame_rate: Option<FrameRate>,
    /// Every how many source frames one is encoded, 1 = all.
    pub frame_step: u32,
}

impl Rung {
    /// Pixels a second; 30 frames a second are assumed when the rate is unknown.
    pub fn pixel_rate(&self) -> u64 {
        pixel_rate(self.width, self.height, self.frame_rate)
    }
}

/// Pixels a second of a picture stream; 30 frames a second are assumed when the rate is unknown.
pub fn pixel_rate(width: u32, height: u32, rate: Option<FrameRate>) -> u64 {
    let pixels = u64::from(width) * u64::from(height);
    match rate {
        Some(rate) => pixels * u64::from(rate.numerator.get()) / u64::from(rate.denominator.get()),
        None => pixels * 30,
    }
}

/// What the plan may spend.
pub struct Budget<'a> {
    /// Most rungs in the plan.
    pub rungs_max: usize,
    /// Share of the machine that the rungs together may take, in millionths.
    pub share_ppm: u32,
    /// Share of the machine that one rung takes, in millionths.
    pub cost_ppm: &'a dyn Fn(&Rung) -> u32,
}

impl Budget<'_> {
    /// No bound.
    pub const UNLIMITED: Budget<'static> = Budget {
        rungs_max: usize::MAX,
        share_ppm: u32::MAX,
        cost_ppm: &|_rung| 0,
    };
}

/// The rungs for `source`, smallest first.
///
/// Never larger, faster or with more bits than the source. When the budget is short the larger rungs are left out,
/// because small rungs are cheap and are what a viewer on a bad line needs.
pub fn plan_ladder(
    source: &Source,
    profiles: &[RungSpec],
    source_rung: SourceRung,
    budget: &Budget<'_>,
) -> Vec<Rung> {
    let mut rungs: Vec<Rung> = profiles
        .iter()
        .filter_map(|profile| fit(source, profile, source_rung))
        .collect();
    if rungs.is_empty() && source_rung == SourceRung::Withheld {
        rungs.extend(own_size(source, profiles));
    }
    rungs.sort_by_key(|rung| (u64::from(rung.width) * u64::from(rung.height), rung.bitrate));
    rungs.dedup_by(|second, first| (second.width, second.height) == (first.width, first.height));
    let mut spent: u64 = 0;
    rungs
        .into_iter()
        .take_while(|rung| {
            spent += u64::from((budget.cost_ppm)(rung));
            spent <= u64::from(budget.share_ppm)
        })
        .take(budget.rungs_max)
        .collect()
}

/// `profile` on `source`; `None` when it would enlarge it or repeat an offered source.
fn fit(source: &Source, profile: &RungSpec, source_rung: SourceRung) -> Option<Rung> {
    let (width, height) = source.display_size();
    let (short, long) = (width.min(height), width.max(height));
    if short < 2 || profile.height < 2 || profile.width.is_some_and(|bound| bound < 2) || profile.bitrate == 0
    {
        return None;
    }
    // The scale is rung_side / source_side: the smaller of the two bounds.
    let (mut side, mut of) = (profile.height, short);
    if let Some(bound) = profile.width
        && u64::from(bound) * u64::from(short) < u64::from(profile.height) * u64::from(long)
    {
        (side, of) = (bound, long);
    }
    let fits = match source_rung {
        SourceRung::Offered => side < of,
        SourceRung::Withheld => side <= of,
    };
    if !fits {
        return None;
    }
    let small = profile.height <= SMALL_RUNG_HEIGHT;
    Some(rung(
        source,
        profile,
        (scale_even(width, side, of), scale_even(height, side, of)),
        small,
    ))
}

/// A rung of the source's own size, for a source smaller than every profile.
fn own_size(source: &Source, profiles: &[RungSpec]) -> Option<Rung> {
    let (width, height) = source.display_size();
    let smallest = profiles
        .iter()
        .filter(|profile| profile.bitrate > 0)
        .min_by_key(|profile| profile.height)?;
    let size = (width & !1, height & !1);
    if size.0 == 0 || size.1 == 0 {
        return None;
    }
    Some(rung(source, smallest, size, true))
}

fn rung(source: &Source, profile: &RungSpec, (width, height): (u32, u32), small: bool) -> Rung {
    let frame_step = match source.frame_rate {
        Some(rate) if small => frame_step(rate, SMALL_RUNG_RATE_MAX),
        _ => 1,
    };
    let declared = source.bitrate.filter(|&bitrate| bitrate > 0);
    Rung {
        name: profile.name.clone(),
        width,
        height,
        bitrate: declared.map_or(profile.bitrate, |bitrate| profile.bitrate.min(bitrate)),
        quality: profile.quality,
        frame_rate: source.frame_rate.map(|rate| divide_rate(rate, frame_step)),
        frame_step,
    }
}

/// `value * side / of` (which is at most `value`), to the nearest even number that is not above `value`, at least 2.
fn scale_even(value: u32, side: u32, of: u32) -> u32 {
    let numerator = u64::from(value) * u64::from(side);
    let halves = (numerator + u64::from(of)) / (2 * u64::from(of));
    u32::try_from(halves * 2)
        .unwrap_or(u32::MAX)
        .min(value & !1)
        .max(2)
}

/// The smallest whole step that brings `rate` to `max` or below. A thousandth above it is tolerated, so that a
/// measured 30.02 is not halved.
fn frame_step(rate: FrameRate, max: u32) -> u32 {
    let numerator = u64::from(rate.numerator.get()) * 1000;
    let allowed = u64::from(rate.denominator.get()) * u64::from(max) * 1001;
    u32::try_from(numerator.div_ceil(allowed))
        .unwrap_or(u32::MAX)
        .max(1)
}

fn divide_rate(rate: FrameRate, step: u32) -> FrameRate {
    let numerator = rate.numerator.get();
    if numerator.is_multiple_of(step)
        && let Some(numerator) = NonZeroU32::new(numerator / step)
    {
        return FrameRate {
            numerator,
            denominator: rate.denominator,
        };
    }
    let denominator = rate
        .denominator
        .saturating_mul(NonZeroU32::new(step).unwrap_or(NonZeroU32::MIN));
    FrameRate {
        numerator: rate.numerator,
        denominator,
    }
}

#[cfg(test)]
#[path = "ladder_tests.rs"]
mod tests;
