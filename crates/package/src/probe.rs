//! The source's first pictures, kept until its GOP is known.

use std::num::NonZeroU32;
use std::sync::Arc;

use media::{MediaTime, Micros, Sample};

use crate::config::PackageConfig;

/// Pictures and bytes kept at most, whatever time they span.
const PICTURES_MAX: usize = 2_000;
const BYTES_MAX: usize = 128 << 20;
/// A second IDR that comes earlier than this may be a change of scene: look on.
const GOP_MIN_US: i64 = 900_000;
/// Rounding and a frame's worth of lateness that a GOP may have beyond the longest one.
const SLACK_US: i64 = 50_000;
/// Wall clock beyond the longest GOP after which the decision is made without a second IDR.
const WAIT_US: u64 = 1_000_000;

/// What a picture told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Probed {
    /// Not enough yet. A segment may turn out to start at this picture.
    Learning { force_idr: bool },
    /// The GOP is known, or known not to fit.
    Known,
}

#[derive(Debug)]
pub(crate) struct Probe {
    timescale: NonZeroU32,
    samples: Vec<Arc<Sample>>,
    started: Micros,
    bytes: usize,
    last_idr_us: i64,
    longest_gop_us: Option<i64>,
    next_grid_us: i64,
}

impl Probe {
    pub(crate) fn new(timescale: NonZeroU32, now: Micros) -> Self {
        Self {
            timescale,
            samples: Vec::new(),
            started: now,
            bytes: 0,
            last_idr_us: 0,
            longest_gop_us: None,
            next_grid_us: i64::MIN,
        }
    }

    fn us(&self, ticks: i64) -> i64 {
        MediaTime::new(ticks, self.timescale).micros()
    }

    pub(crate) fn push(&mut self, sample: Arc<Sample>, config: &PackageConfig) -> Probed {
        let (pts, is_sync) = (self.us(sample.pts), sample.is_sync);
        let first = self.samples.first().map_or(pts, |first| self.us(first.pts));
        let elapsed = self.us(sample.dts - self.samples.first().map_or(sample.dts, |first| first.dts));
        let mut known = false;
        if is_sync && !self.samples.is_empty() {
            let gop = (pts - self.last_idr_us).max(1);
            self.longest_gop_us = Some(self.longest_gop_us.map_or(gop, |longest| longest.max(gop)));
            known = gop >= GOP_MIN_US || pts - first + SLACK_US >= i64::from(config.segment_ms) * 1000;
        }
        if is_sync {
            self.last_idr_us = pts;
        }
        self.bytes += sample.data.len();
        self.samples.push(sample);
        let longest = i64::from(config.source_gop_ms_max) * 1000 + SLACK_US;
        if known || elapsed.abs() > longest || self.samples.len() >= PICTURES_MAX || self.bytes > BYTES_MAX {
            return Probed::Known;
        }
        let on_grid = pts >= self.next_grid_us;
        if on_grid {
            let periods = (pts - first) / (i64::from(config.segment_ms.max(1)) * 1000) + 1;
            self.next_grid_us = first + periods * i64::from(config.segment_ms.max(1)) * 1000;
        }
        Probed::Learning {
            force_idr: is_sync || on_grid,
        }
    }

    /// The longest GOP, if one was seen and fits.
    pub(crate) fn gop_us(&self, config: &PackageConfig) -> Option<i64> {
        let longest = i64::from(config.source_gop_ms_max) * 1000 + SLACK_US;
        self.longest_gop_us.filter(|gop| *gop <= longest)
    }

    /// The frame duration as observed, ticks: the median. 0 if there are too few pictures.
    pub(crate) fn frame(&self) -> i64 {
        let mut steps: Vec<i64> = self
            .samples
            .windows(2)
            .map(|pair| pair[1].dts - pair[0].dts)
            .collect();
        steps.retain(|step| *step > 0);
        steps.sort_unstable();
        steps.get(steps.len() / 2).copied().unwrap_or(0)
    }

    pub(crate) fn deadline(&self, config: &PackageConfig) -> Micros {
        self.started + u64::from(config.source_gop_ms_max) * 1000 + WAIT_US
    }

    /// The pictures in order; `is_late`: only those that can still join a stream that went on without them.
    pub(crate) fn into_samples(mut self, is_late: bool) -> Vec<Arc<Sample>> {
        let last_idr = self
            .samples
            .iter()
            .rposition(|sample| sample.is_sync)
            .unwrap_or(0);
        if is_late {
            self.samples.split_off(last_idr)
        } else {
            self.samples
        }
    }
}
