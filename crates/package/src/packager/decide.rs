//! Deciding the mode: by the source's first pictures, or without them.

use std::sync::Arc;

use media::{Micros, Sample};

use crate::clock::part_target_us;
use crate::config::{Mode, Notice, Role};
use crate::probe::{Probe, Probed};
use crate::rendition::nominal_frame;
use crate::window::Fixed;

use super::{Packager, VIDEO_AWAITED_US};

/// Deciding the mode.
impl Packager {
    /// A picture before the mode is decided: kept, until a second IDR or enough time.
    pub(super) fn learn(&mut self, index: usize, sample: Arc<Sample>, now: Micros) -> bool {
        let timescale = self.renditions[index].timescale();
        if self.probe.is_none() && !sample.is_sync {
            self.renditions[index].dropped += 1;
            return false;
        }
        let probe = self.probe.get_or_insert_with(|| Probe::new(timescale, now));
        let force_idr = match probe.push(sample, &self.config) {
            Probed::Learning { force_idr } => force_idr,
            Probed::Known => self.decide_video(now),
        };
        self.decide_without_video(now);
        force_idr
    }

    /// Decides by what the probe has seen and sends its pictures on. True if a segment starts at the last one.
    pub(super) fn decide_video(&mut self, now: Micros) -> bool {
        let Some(probe) = self.probe.take() else {
            return false;
        };
        self.video_decided = true;
        let Some(index) = self
            .renditions
            .iter()
            .position(|rendition| rendition.spec.role == Role::Source)
        else {
            return false;
        };
        let gop_us = probe.gop_us(&self.config);
        let mode = if gop_us.is_none() && self.config.encoder_available {
            Mode::Grid
        } else {
            Mode::Source
        };
        self.driver.frame = probe.frame();
        let is_late = self.plan.last().is_some();
        self.decide(mode, gop_us);
        let mut cut = false;
        for sample in probe.into_samples(is_late) {
            cut = self.drive(index, &sample, now);
        }
        // Only now: what is held ran ahead of the pictures because they were kept here.
        self.pump_others(index, now);
        cut
    }

    /// Audio goes on alone if video is not there, or does not come.
    pub(super) fn decide_without_video(&mut self, now: Micros) {
        if self.plan.mode().is_some() || self.probe.is_some() {
            return;
        }
        let audio = self.renditions.iter().find(|rendition| rendition.is_audio());
        let span_us = audio.and_then(|audio| {
            let span = audio.queue.back()?.pts - audio.queue.front()?.pts;
            Some(audio.time(span).micros())
        });
        let awaited = self
            .renditions
            .iter()
            .any(|r| r.spec.role == Role::Source && r.track.is_some());
        let lead_max = i64::from(self.config.audio_lead_ms_max) * 1000;
        if span_us.is_some_and(|span| span >= if awaited { VIDEO_AWAITED_US } else { lead_max }) {
            self.decide(Mode::Audio, None);
            self.pump_others(usize::MAX, now);
        }
    }

    pub(super) fn decide(&mut self, mode: Mode, gop_us: Option<i64>) {
        let longest_us = i64::from(self.config.source_gop_ms_max) * 1000;
        let target_duration = self.plan.decide(mode, gop_us, longest_us);
        let gop_ms = gop_us.and_then(|gop| u32::try_from(gop / 1000).ok());
        self.note(Notice::ModeDecided { mode, gop_ms });
        if self.fixed.is_none() {
            let targets = (0..self.renditions.len()).filter_map(|index| self.part_target(index));
            let longest = targets.max().unwrap_or(i64::from(self.config.part_ms) * 1000);
            let fixed = Fixed {
                target_duration,
                part_hold_back_us: longest.unsigned_abs() * 3,
                window_ms: self.window_ms(target_duration),
            };
            self.config.window_ms = fixed.window_ms;
            self.fixed = Some(fixed);
            self.window.set_fixed(fixed);
        }
        (0..self.renditions.len()).for_each(|index| self.lay_out(index));
    }

    /// The window never shrinks below what CAN-SKIP-UNTIL and players at HOLD-BACK need.
    pub(super) fn window_ms(&self, target_duration: u32) -> u32 {
        self.config.window_ms.max(target_duration * 6_000)
    }

    /// PART-TARGET of a rendition in microseconds: the most whole frames that fit.
    pub(super) fn part_target(&self, index: usize) -> Option<i64> {
        let rendition = &self.renditions[index];
        let track = rendition.track.as_ref()?;
        let longest_us = i64::from(self.config.part_ms.clamp(100, 1000)) * 1000;
        let cap_us = self
            .fixed
            .map_or(i64::MAX, |fixed| fixed.part_hold_back_us as i64 / 3);
        let timescale = i64::from(track.timescale.get());
        let Some(frame) = self.frame(index) else {
            return Some(longest_us.min(cap_us));
        };
        let frames = (longest_us.min(cap_us) * timescale / 1_000_000 / frame).max(1);
        Some(part_target_us(frames * frame, track.timescale).min(cap_us))
    }

    /// Frame duration in ticks as declared, or as the probe saw it.
    pub(super) fn frame(&self, index: usize) -> Option<i64> {
        let rendition = &self.renditions[index];
        let declared = rendition.track.as_ref().and_then(|track| nominal_frame(track));
        let observed =
            Some(self.driver.frame).filter(|frame| *frame > 0 && rendition.spec.role == Role::Source);
        declared.or(observed)
    }

    pub(super) fn lay_out(&mut self, index: usize) {
        if self.fixed.is_none() || self.renditions[index].builder.is_some() {
            return;
        }
        if let Some(target) = self.part_target(index) {
            let guess = i64::from(self.renditions[index].timescale().get()) / 30;
            let frame = self.frame(index).unwrap_or(guess);
            self.renditions[index].lay_out(target, frame);
        }
    }
}
