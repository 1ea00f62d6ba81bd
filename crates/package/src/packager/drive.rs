//! Driving the plan, and the renditions along it.

use std::sync::Arc;

use media::{Micros, Sample};

use crate::config::{Mode, Notice, Role};
use crate::dash::Period;
use crate::plan::{Step, Verdict};
use crate::rendition::{Context, Rendition, Taken};

use super::{NOTICES_MAX, Packager};

/// The most that a segment's date moves against the one before: 500 ppm of the default segment.
const DATE_STEP_MS: i64 = 1;

/// Driving the plan.
impl Packager {
    /// A picture of the source. True if a segment starts at it.
    pub(super) fn drive(&mut self, index: usize, sample: &Arc<Sample>, now: Micros) -> bool {
        let step = self.step(index, sample);
        let verdict = self.plan.video(&step, now);
        let cut = verdict != Verdict::Continue;
        if cut {
            self.note_cut(verdict == Verdict::Cut { forced: true });
        }
        let mut starts = cut;
        if self.plan.mode() == Some(Mode::Source) {
            self.with_rendition(index, |rendition, context| {
                starts |= rendition.take_source(sample, cut, context)
            });
            self.keep_promise(index);
        }
        starts
    }

    /// A segment's last part went out in expectation of a boundary that is still to be made: now there has to be one.
    pub(super) fn keep_promise(&mut self, index: usize) {
        let driver = &self.renditions[index];
        let ended = driver.started && !driver.lost && !driver.waits_epoch && driver.segment.is_none();
        if ended && driver.next_msn == self.plan.next_msn() {
            self.plan.force_next();
        }
    }

    pub(super) fn step(&mut self, index: usize, sample: &Sample) -> Step {
        let rendition = &self.renditions[index];
        let packaged = self.plan.mode() == Some(Mode::Source);
        let lost = !rendition.started || rendition.lost || rendition.waits_epoch;
        if self.driver.shift.is_none() && sample.is_sync {
            self.driver.shift = Some(sample.pts - sample.dts);
        }
        let mut decode = sample.dts + self.driver.shift.unwrap_or(0);
        let declared = Some(i64::from(sample.duration)).filter(|duration| *duration > 0);
        let mut frame = declared.or(self.frame(index)).unwrap_or(self.driver.frame).max(1);
        let mut lead = self.driver.last.map_or(0, |last| decode - last - frame);
        self.driver.last = Some(decode);
        if let Some(builder) = rendition.builder.as_ref().filter(|_| packaged && !lost) {
            (decode, frame, lead) = (builder.shifted(sample), builder.frame(), builder.lead(sample));
        }
        Step {
            pts: rendition.time(sample.pts),
            decode_us: rendition.time(decode).micros(),
            frame_us: rendition.time(frame).micros(),
            is_sync: sample.is_sync,
            lead_us: rendition.time(lead).micros(),
            source_lost: packaged && lost,
            segment_start_us: rendition
                .segment_start()
                .filter(|_| packaged && !lost)
                .map(|at| rendition.time(at).micros()),
        }
    }

    pub(super) fn note_cut(&mut self, forced: bool) {
        let Some(last) = self.plan.last().copied() else {
            return;
        };
        self.date(last.discontinuity);
        if last.discontinuity || last.msn == 0 {
            let origin_utc_ms = self.dated_origin_ms.unwrap_or(0);
            self.window.add_period(Period {
                number: last.period,
                at: last.at,
                origin_utc_ms,
            });
        }
        if last.discontinuity {
            self.note(Notice::Discontinuity { msn: last.msn });
        }
        if forced && self.plan.mode() == Some(Mode::Source) {
            self.note(Notice::ForcedCut { msn: last.msn });
        }
    }

    /// The wall clock that the next segment is dated by: follows the clock map slowly, so that dates and durations agree.
    fn date(&mut self, over_discontinuity: bool) {
        let Some(latest) = self.utc_of_origin_ms else {
            return;
        };
        let dated = self.dated_origin_ms.map_or(latest, |dated| {
            let slewed = dated + (latest - dated).clamp(-DATE_STEP_MS, DATE_STEP_MS);
            if over_discontinuity {
                slewed.max(latest)
            } else {
                slewed
            }
        });
        self.dated_origin_ms = Some(dated);
    }

    /// The plan may have moved on: everybody else follows.
    pub(super) fn pump_others(&mut self, index: usize, now: Micros) {
        for other in (0..self.renditions.len()).filter(|other| *other != index) {
            self.pump(other, now);
        }
    }

    /// Hands on what a rendition holds, as far as the plan allows.
    pub(super) fn pump(&mut self, index: usize, now: Micros) {
        if self.plan.mode().is_none() {
            return;
        }
        match self.renditions[index].spec.role {
            Role::Audio => self.pump_audio(index, now),
            Role::Rung => {
                while let Some(sample) = self.renditions[index].queue.pop_front() {
                    let taken = self
                        .with_rendition(index, |rendition, context| rendition.take_rung(&sample, context));
                    if taken == Taken::Held {
                        self.renditions[index].queue.push_front(sample);
                        break;
                    }
                }
            }
            Role::Source => {}
        }
        self.with_rendition(index, |rendition, context| rendition.follow_plan(context));
    }

    pub(super) fn pump_audio(&mut self, index: usize, now: Micros) {
        let mut moved = false;
        while let Some(sample) = self.renditions[index].queue.pop_front() {
            let mut may_pass_us = self.plan.earliest_next_us();
            let alone = self.plan.mode() == Some(Mode::Audio) || self.has_waited(index, &sample, may_pass_us);
            if alone {
                moved |= self.drive_by_audio(index, &sample, now);
                may_pass_us = i64::MAX;
            }
            let taken = self.with_rendition(index, |rendition, context| {
                rendition.take_audio(&sample, may_pass_us, context)
            });
            if taken == Taken::Held {
                self.renditions[index].queue.push_front(sample);
                break;
            }
            let audio = &self.renditions[index];
            if self.plan.mode() == Some(Mode::Audio)
                && audio.started
                && !audio.lost
                && audio.segment.is_none()
            {
                self.plan.force_next();
            }
        }
        if moved {
            for other in (0..self.renditions.len()).filter(|other| *other != index) {
                self.with_rendition(other, |rendition, context| rendition.follow_plan(context));
            }
        }
    }

    /// Audio that has to wait for the pictures is so far ahead of them that it no longer does.
    pub(super) fn has_waited(&self, index: usize, sample: &Sample, may_pass_us: i64) -> bool {
        let audio = &self.renditions[index];
        let Some(newest) = audio.queue.back() else {
            return false;
        };
        let lead_us = audio.time(newest.pts - sample.pts).micros();
        if audio.waits_epoch && self.plan.awaits_discontinuity() {
            return lead_us > self.plan.limit_us();
        }
        let waits = audio.waits_epoch || audio.time(audio.audio_time(sample)).micros() >= may_pass_us;
        waits && lead_us > i64::from(self.config.audio_lead_ms_max) * 1000
    }

    pub(super) fn drive_by_audio(&mut self, index: usize, sample: &Sample, now: Micros) -> bool {
        let audio = &self.renditions[index];
        let settled = audio.started && !audio.lost && !audio.waits_epoch;
        if audio.waits_epoch && !self.plan.awaits_discontinuity() {
            let made = self
                .plan
                .iter()
                .any(|b| b.discontinuity && b.msn >= audio.next_msn);
            if !made {
                self.plan.discontinue();
            }
        }
        let at = audio.audio_time(sample);
        let lead = audio
            .builder
            .as_ref()
            .filter(|_| settled)
            .map_or(0, |builder| builder.lead(sample));
        let (time, end) = (audio.time(at), audio.time(at + i64::from(sample.duration)));
        let lead_us = audio.time(lead).micros();
        let cut = self.plan.audio(time, end, lead_us, now) != Verdict::Continue;
        if cut {
            self.note_cut(false);
        }
        cut
    }

    /// Hands on everything that is held: no picture will come that it could wait for.
    pub(super) fn pump_all_held(&mut self, index: usize, now: Micros) {
        while let Some(sample) = self.renditions[index].queue.pop_front() {
            let rendition = &self.renditions[index];
            if rendition.is_audio() {
                let time = rendition.time(rendition.audio_time(&sample));
                if time.micros() >= self.plan.earliest_next_us() {
                    self.drive_by_audio(index, &sample, now);
                }
            }
            self.with_rendition(index, |rendition, context| {
                let _ = match rendition.spec.role {
                    Role::Audio => rendition.take_audio(&sample, i64::MAX, context),
                    Role::Rung => rendition.take_rung(&sample, context),
                    Role::Source => Taken::Yes,
                };
            });
        }
    }

    pub(super) fn with_rendition<T>(
        &mut self,
        index: usize,
        work: impl FnOnce(&mut Rendition, &mut Context<'_>) -> T,
    ) -> T {
        let mut context = Context {
            config: &self.config,
            plan: &self.plan,
            utc_of_origin_ms: self.dated_origin_ms,
            next_init: &mut self.next_init,
            notices: &mut self.notices,
            now: self.last_arrival.unwrap_or(0),
        };
        work(&mut self.renditions[index], &mut context)
    }

    pub(super) fn note(&mut self, notice: Notice) {
        if self.notices.len() < NOTICES_MAX {
            self.notices.push_back(notice);
        }
    }

    /// Lists renditions that have got their first media, and lets the master playlist out when it is complete.
    pub(super) fn offer(&mut self, now: Micros) {
        let mut new = false;
        for rendition in self
            .renditions
            .iter_mut()
            .filter(|rendition| rendition.started && !rendition.offered)
        {
            if rendition.log.has_media() && !rendition.removed {
                rendition.offered = true;
                new = true;
            }
        }
        if new {
            self.first_part.get_or_insert(now);
            self.list();
        }
        let Some(first) = self.first_part.filter(|_| !self.master_ready) else {
            return;
        };
        let grid = self.plan.mode() == Some(Mode::Grid);
        let due = |rendition: &&Rendition| !(grid && rendition.spec.role == Role::Source);
        let missing = |rendition: &Rendition| !rendition.offered && !rendition.removed;
        if !self.renditions.iter().filter(due).any(missing)
            || now >= first.saturating_add(self.master_wait_us())
        {
            self.master_ready = true;
            self.window.set_ready();
        }
    }

    pub(super) fn list(&mut self) {
        let offered = self
            .renditions
            .iter()
            .filter(|rendition| rendition.offered && !rendition.removed);
        self.window
            .set_renditions(offered.map(|rendition| Arc::clone(&rendition.log)).collect());
    }
}
