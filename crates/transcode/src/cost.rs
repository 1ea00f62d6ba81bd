//! What an encode costs on this machine.

use media::ladder::{Rung, Source, pixel_rate};
use serde::{Deserialize, Serialize};

/// One measured encode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MeasuredRung {
    /// Picture width.
    pub width: u32,
    /// Picture height.
    pub height: u32,
    /// CPU time of scaling and encoding one frame, all threads together, microseconds.
    pub cpu_us_per_frame: u32,
    /// Wall time of the whole run, with its start and the making of the test picture, divided by the frames,
    /// microseconds. For people to read; admission goes by CPU time.
    pub wall_us_per_frame: u32,
}

/// Costs of decoding and encoding on this machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CostTable {
    /// Measured encodes, smallest first, at least one.
    pub rungs: Vec<MeasuredRung>,
    /// CPU time of decoding one pixel, picoseconds.
    pub decode_ps_per_pixel: u32,
    /// CPU cores of the machine that we may use.
    pub cores: u32,
    /// False for [`CostTable::guess`].
    pub measured: bool,
}

impl CostTable {
    /// For the seconds before the measurement is done: a slow core of 2020 with x264 `superfast`.
    pub fn guess(cores: u32) -> Self {
        Self {
            rungs: vec![MeasuredRung {
                width: 1280,
                height: 720,
                cpu_us_per_frame: 11_000,
                wall_us_per_frame: 11_000,
            }],
            decode_ps_per_pixel: 4000,
            cores: cores.max(1),
            measured: false,
        }
    }

    /// Share of the machine that encoding `rung` takes, in millionths.
    pub fn encode_ppm(&self, rung: &Rung) -> u32 {
        let pixels = u64::from(rung.width) * u64::from(rung.height);
        if pixels == 0 {
            return 0;
        }
        let ns_per_frame = self.encode_ns(pixels);
        let frames_milli = rung.pixel_rate().saturating_mul(1000) / pixels;
        // ns a frame * frames a second / 1000 = us of CPU a second = millionths of one core.
        let share =
            u128::from(ns_per_frame) * u128::from(frames_milli) / 1_000_000 / u128::from(self.cores.max(1));
        u32::try_from(share).unwrap_or(u32::MAX)
    }

    /// Share of the machine that decoding `source` once takes, in millionths.
    pub fn decode_ppm(&self, source: &Source) -> u32 {
        let pixels = pixel_rate(source.width, source.height, source.frame_rate);
        let share = u128::from(pixels) * u128::from(self.decode_ps_per_pixel)
            / 1_000_000
            / u128::from(self.cores.max(1));
        u32::try_from(share).unwrap_or(u32::MAX)
    }

    /// Nanoseconds of CPU for one frame of `pixels`: linear between measured sizes, proportional outside them.
    fn encode_ns(&self, pixels: u64) -> u64 {
        let cost = |rung: &MeasuredRung| {
            (
                u64::from(rung.width) * u64::from(rung.height),
                u64::from(rung.cpu_us_per_frame) * 1000,
            )
        };
        let above = self.rungs.iter().map(cost).find(|&(size, _)| size >= pixels);
        let below = self.rungs.iter().map(cost).rev().find(|&(size, _)| size < pixels);
        match (below, above) {
            (Some((low, low_ns)), Some((high, high_ns))) => {
                low_ns + high_ns.saturating_sub(low_ns) * (pixels - low) / (high - low)
            }
            (Some((size, ns)), None) | (None, Some((size, ns))) => {
                u64::try_from(u128::from(ns) * u128::from(pixels) / u128::from(size.max(1)))
                    .unwrap_or(u64::MAX)
            }
            (None, None) => 0,
        }
    }
}
