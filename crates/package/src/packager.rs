//! The packager of one stream: decides the mode, drives the plan, hands samples to the renditions.

use std::collections::VecDeque;
use std::sync::Arc;

use media::{Micros, Sample, Track};

use crate::clock::part_target_us;
use crate::config::{Mode, Notice, PackageConfig, Pushed, RenditionId, RenditionSpec, Role};
use crate::dash::Period;
use crate::log::RenditionLog;
use crate::plan::{Plan, Step, Verdict};
use crate::probe::{Probe, Probed};
use crate::rendition::{Context, Rendition, Taken, nominal_frame};
use crate::window::{Fixed, LiveWindow};

/// Notices that wait to be read; further ones are dropped.
pub(crate) const NOTICES_MAX: usize = 64;
/// Media time for which audio alone waits for video whose track is known but whose pictures have not come.
const VIDEO_AWAITED_US: i64 = 2_000_000;
/// Silence, beyond the longest segment, after which segments in work are completed.
const STALL_US: u64 = 1_000_000;

/// Packages one stream. One owner drives it; readers share the [`LiveWindow`].
#[derive(Debug)]
pub struct Packager {
    config: PackageConfig,
    window: Arc<LiveWindow>,
    plan: Plan,
    renditions: Vec<Rendition>,
    /// The source's first pictures, until its GOP is known.
    probe: Option<Probe>,
    video_decided: bool,
    driver: Driver,
    fixed: Option<Fixed>,
    next_init: u32,
    notices: VecDeque<Notice>,
    utc_of_origin_ms: Option<i64>,
    first_part: Option<Micros>,
    master_ready: bool,
    last_arrival: Option<Micros>,
    ended: bool,
}

/// The source's decode timeline where the source itself is not packaged.
#[derive(Debug, Default)]
struct Driver {
    shift: Option<i64>,
    last: Option<i64>,
    frame: i64,
}

/// Feeding.
impl Packager {
    /// A packager that appends to `window`.
    pub fn new(config: PackageConfig, window: Arc<LiveWindow>) -> Self {
        Self {
            plan: Plan::new(&config),
            config,
            window,
            renditions: Vec::new(),
            probe: None,
            video_decided: false,
            driver: Driver::default(),
            fixed: None,
            next_init: 0,
            notices: VecDeque::new(),
            utc_of_origin_ms: None,
            first_part: None,
            master_ready: false,
            last_arrival: None,
            ended: false,
        }
    }

    /// Adds a rendition. It is offered to viewers once it has media (the source: once the mode allows it). The master
    /// playlist lists renditions in the order in which they were added.
    pub fn add_rendition(&mut self, spec: RenditionSpec) -> RenditionId {
        let log = RenditionLog::new(&spec.name, spec.role, spec.declared_bitrate, &self.window);
        self.renditions.push(Rendition::new(spec, log));
        RenditionId(self.renditions.len() - 1)
    }

    /// Sets a rendition's track. The same configuration again is a no-op; another one starts a new epoch: of the whole
    /// stream (source, audio), or from the rung's next boundary. A track that cannot be packaged is refused and noted.
    pub fn set_track(&mut self, id: RenditionId, track: Arc<Track>) {
        if !self.renditions[id.0].differs(&track) {
            return;
        }
        let (had_track, role) = (
            self.renditions[id.0].track.is_some(),
            self.renditions[id.0].spec.role,
        );
        if had_track && role == Role::Source && !self.video_decided {
            self.probe = None;
        } else if had_track && role == Role::Rung {
            self.with_rendition(id.0, |rendition, context| rendition.end_segment(None, context));
            self.renditions[id.0].lose();
        } else if had_track {
            self.end_epoch(id.0, self.last_arrival.unwrap_or(0));
            self.plan.discontinue();
            if role == Role::Source {
                self.driver = Driver::default();
            }
        }
        if let Err(error) = self.renditions[id.0].set_track(track) {
            let rendition = self.renditions[id.0].spec.name.clone();
            self.note(Notice::Unsupported {
                rendition,
                reason: error.to_string(),
            });
            return;
        }
        self.lay_out(id.0);
    }

    /// Takes one sample.
    pub fn push(&mut self, id: RenditionId, sample: Arc<Sample>, now: Micros) -> Pushed {
        let rendition = &mut self.renditions[id.0];
        if self.ended || rendition.removed || rendition.track.is_none() {
            return Pushed {
                force_idr: false,
                mode: self.plan.mode(),
            };
        }
        rendition.last_arrival = Some(now);
        self.last_arrival = Some(now);
        let mut force_idr = false;
        match rendition.spec.role {
            Role::Source if self.video_decided => {
                force_idr = self.drive(id.0, &sample, now);
                self.pump_others(id.0, now);
            }
            Role::Source => force_idr = self.learn(id.0, sample, now),
            Role::Audio | Role::Rung => {
                rendition.hold(sample);
                self.decide_without_video(now);
                self.pump(id.0, now);
            }
        }
        self.offer(now);
        Pushed {
            force_idr,
            mode: self.plan.mode(),
        }
    }

    /// The publisher's timeline is interrupted before its next sample: it was gone and is back. One call, for the source
    /// or the audio, stands for both.
    pub fn discontinuity(&mut self, id: RenditionId) {
        let now = self.last_arrival.unwrap_or(0);
        if self.renditions[id.0].spec.role == Role::Rung {
            return self.rendition_lost(id);
        }
        if self.plan.awaits_discontinuity() || self.plan.mode().is_none() {
            self.probe = None;
            return;
        }
        for index in 0..self.renditions.len() {
            if self.renditions[index].spec.role != Role::Rung {
                self.end_epoch(index, now);
            }
        }
        self.plan.discontinue();
        self.driver = Driver::default();
    }

    /// Publishes all there is of the epoch; the next sample has to wait for the boundary of the next one.
    fn end_epoch(&mut self, index: usize, now: Micros) {
        self.pump_all_held(index, now);
        self.with_rendition(index, |rendition, context| {
            rendition.end_segment(None, context);
            rendition.waits_epoch = rendition.started;
        });
    }

    /// The rendition's encoder died: its segment in work becomes a gap, until it is back with an IDR at a boundary.
    pub fn rendition_lost(&mut self, id: RenditionId) {
        self.renditions[id.0].queue.clear();
        self.with_rendition(id.0, |rendition, context| {
            rendition.lose();
            rendition.follow_plan(context);
        });
    }

    /// Takes the rendition out of the master playlist and ends its own.
    pub fn remove_rendition(&mut self, id: RenditionId) {
        let rendition = &mut self.renditions[id.0];
        if std::mem::replace(&mut rendition.removed, true) {
            return;
        }
        rendition.queue.clear();
        self.with_rendition(id.0, |rendition, context| rendition.end_segment(None, context));
        let log = Arc::clone(&self.renditions[id.0].log);
        log.end();
        if self.renditions[id.0].offered {
            self.window.keep_removed(log);
            self.list();
        }
    }

    /// Whether an encoder stands ready; matters until the mode is decided.
    pub fn set_encoder_available(&mut self, available: bool) {
        self.config.encoder_available = available;
    }

    /// UTC, in milliseconds since 1970, of media time 0. May be called again as the clock map is refined.
    pub fn set_clock(&mut self, media0_utc_ms: i64) {
        self.utc_of_origin_ms = Some(media0_utc_ms);
        self.window.set_origin(media0_utc_ms);
    }

    /// How segment boundaries are placed, once that is decided.
    pub fn mode(&self) -> Option<Mode> {
        self.plan.mode()
    }

    /// Samples of the rendition that found no place in any segment.
    pub fn dropped(&self, id: RenditionId) -> u64 {
        self.renditions[id.0].dropped
    }

    /// Something to tell, if there is.
    pub fn poll_notice(&mut self) -> Option<Notice> {
        self.notices.pop_front()
    }

    /// Publishes what is left and ends every playlist.
    pub fn end(&mut self, now: Micros) {
        if std::mem::replace(&mut self.ended, true) {
            return;
        }
        if !self.video_decided && self.probe.is_some() {
            self.decide_video(now);
        }
        if self.plan.mode().is_none()
            && self
                .renditions
                .iter()
                .any(|rendition| !rendition.queue.is_empty())
        {
            self.decide(Mode::Audio, None);
        }
        for index in 0..self.renditions.len() {
            self.pump_all_held(index, now);
            self.with_rendition(index, |rendition, context| rendition.end_segment(None, context));
        }
        self.first_part = self.first_part.or(Some(0));
        self.offer(Micros::MAX);
        self.renditions.iter().for_each(|rendition| rendition.log.end());
        self.window.set_ended();
    }
}

/// Time.
impl Packager {
    /// Lets time pass: publishes what has waited too long.
    pub fn handle_timeout(&mut self, now: Micros) {
        if self.ended {
            return;
        }
        if self
            .probe
            .as_ref()
            .is_some_and(|probe| probe.deadline(&self.config) <= now)
        {
            self.decide_video(now);
        }
        for index in 0..self.renditions.len() {
            self.renditions[index].handle_timeout(now);
            if self
                .silent_deadline(&self.renditions[index])
                .is_some_and(|deadline| deadline <= now)
            {
                self.with_rendition(index, |rendition, context| {
                    rendition.lose();
                    rendition.follow_plan(context);
                });
            }
        }
        if self.stall_deadline().is_some_and(|deadline| deadline <= now) {
            for index in 0..self.renditions.len() {
                self.pump_all_held(index, now);
                self.with_rendition(index, |rendition, context| {
                    if !rendition.lost {
                        rendition.end_segment(None, context);
                    }
                });
            }
            self.plan.force_next();
        }
        self.offer(now);
    }

    /// When `handle_timeout` wants to be called next.
    pub fn poll_timeout(&self) -> Option<Micros> {
        if self.ended {
            return None;
        }
        let parts = self.renditions.iter().filter_map(Rendition::part_deadline);
        let silent = self
            .renditions
            .iter()
            .filter_map(|rendition| self.silent_deadline(rendition));
        let master = self
            .first_part
            .filter(|_| !self.master_ready)
            .map(|first| first + self.master_wait_us());
        let probe = self.probe.as_ref().map(|probe| probe.deadline(&self.config));
        parts
            .chain(silent)
            .chain(master)
            .chain(probe)
            .chain(self.stall_deadline())
            .min()
    }

    fn master_wait_us(&self) -> u64 {
        u64::from(self.config.master_wait_ms) * 1000
    }

    /// When a rendition that has fallen silent behind the plan is given up.
    fn silent_deadline(&self, rendition: &Rendition) -> Option<Micros> {
        rendition
            .segment
            .filter(|_| !rendition.lost && !rendition.removed)?;
        let next = self.plan.get(rendition.next_msn)?;
        Some(rendition.last_arrival?.max(next.made_us) + STALL_US)
    }

    fn stall_deadline(&self) -> Option<Micros> {
        let in_work = self
            .renditions
            .iter()
            .any(|rendition| rendition.segment.is_some() && !rendition.lost);
        let last = self.last_arrival.filter(|_| in_work)?;
        Some(last + self.plan.limit_us().unsigned_abs() + STALL_US)
    }
}

/// Deciding the mode.
impl Packager {
    /// A picture before the mode is decided: kept, until a second IDR or enough time.
    fn learn(&mut self, index: usize, sample: Arc<Sample>, now: Micros) -> bool {
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
    fn decide_video(&mut self, now: Micros) -> bool {
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
    fn decide_without_video(&mut self, now: Micros) {
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

    fn decide(&mut self, mode: Mode, gop_us: Option<i64>) {
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
    fn window_ms(&self, target_duration: u32) -> u32 {
        self.config.window_ms.max(target_duration * 6_000)
    }

    /// PART-TARGET of a rendition in microseconds: the most whole frames that fit.
    fn part_target(&self, index: usize) -> Option<i64> {
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
    fn frame(&self, index: usize) -> Option<i64> {
        let rendition = &self.renditions[index];
        let declared = rendition.track.as_ref().and_then(|track| nominal_frame(track));
        let observed =
            Some(self.driver.frame).filter(|frame| *frame > 0 && rendition.spec.role == Role::Source);
        declared.or(observed)
    }

    fn lay_out(&mut self, index: usize) {
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

/// Driving the plan.
impl Packager {
    /// A picture of the source. True if a segment starts at it.
    fn drive(&mut self, index: usize, sample: &Arc<Sample>, now: Micros) -> bool {
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
    fn keep_promise(&mut self, index: usize) {
        let driver = &self.renditions[index];
        let ended = driver.started && !driver.lost && !driver.waits_epoch && driver.segment.is_none();
        if ended && driver.next_msn == self.plan.next_msn() {
            self.plan.force_next();
        }
    }

    fn step(&mut self, index: usize, sample: &Sample) -> Step {
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

    fn note_cut(&mut self, forced: bool) {
        let Some(last) = self.plan.last().copied() else {
            return;
        };
        if last.discontinuity || last.msn == 0 {
            let origin_utc_ms = self.utc_of_origin_ms.unwrap_or(0);
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

    /// The plan may have moved on: everybody else follows.
    fn pump_others(&mut self, index: usize, now: Micros) {
        for other in (0..self.renditions.len()).filter(|other| *other != index) {
            self.pump(other, now);
        }
    }

    /// Hands on what a rendition holds, as far as the plan allows.
    fn pump(&mut self, index: usize, now: Micros) {
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

    fn pump_audio(&mut self, index: usize, now: Micros) {
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
    fn has_waited(&self, index: usize, sample: &Sample, may_pass_us: i64) -> bool {
        let audio = &self.renditions[index];
        let Some(newest) = audio.queue.back() else {
            return false;
        };
        let lead_us = audio.time(newest.pts - sample.pts).micros();
        if audio.waits_epoch && self.plan.awaits_discontinuity() {
            return lead_us > self.plan.limit_us();
        }
        let waits = audio.time(audio.audio_time(sample)).micros() >= may_pass_us;
        waits && lead_us > i64::from(self.config.audio_lead_ms_max) * 1000
    }

    fn drive_by_audio(&mut self, index: usize, sample: &Sample, now: Micros) -> bool {
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
    fn pump_all_held(&mut self, index: usize, now: Micros) {
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

    fn with_rendition<T>(
        &mut self,
        index: usize,
        work: impl FnOnce(&mut Rendition, &mut Context<'_>) -> T,
    ) -> T {
        let mut context = Context {
            config: &self.config,
            plan: &self.plan,
            utc_of_origin_ms: self.utc_of_origin_ms,
            next_init: &mut self.next_init,
            notices: &mut self.notices,
            now: self.last_arrival.unwrap_or(0),
        };
        work(&mut self.renditions[index], &mut context)
    }

    fn note(&mut self, notice: Notice) {
        if self.notices.len() < NOTICES_MAX {
            self.notices.push_back(notice);
        }
    }

    /// Lists renditions that have got their first media, and lets the master playlist out when it is complete.
    fn offer(&mut self, now: Micros) {
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

    fn list(&mut self) {
        let offered = self
            .renditions
            .iter()
            .filter(|rendition| rendition.offered && !rendition.removed);
        self.window
            .set_renditions(offered.map(|rendition| Arc::clone(&rendition.log)).collect());
    }
}
