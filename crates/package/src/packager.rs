//! The packager of one stream: decides the mode, drives the plan, hands samples to the renditions.

use std::collections::VecDeque;
use std::sync::Arc;

use media::{Micros, Sample, Track};

use crate::config::{Mode, Notice, PackageConfig, Pushed, RenditionId, RenditionSpec, Role};
use crate::log::RenditionLog;
use crate::plan::Plan;
use crate::probe::Probe;
use crate::rendition::Rendition;
use crate::window::{Fixed, LiveWindow};

/// Notices that wait to be read; further ones are dropped.
pub(crate) const NOTICES_MAX: usize = 64;
/// Media time for which audio alone waits for video whose track is known but whose pictures have not come.
const VIDEO_AWAITED_US: i64 = 2_000_000;
/// Silence, beyond the longest segment, after which segments in work are completed.
const STALL_US: u64 = 1_000_000;

mod decide;
mod drive;

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
    /// The same as segments are dated by it.
    dated_origin_ms: Option<i64>,
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
            dated_origin_ms: None,
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
        let nothing_comes = self.last_arrival.is_some_and(|last| last + STALL_US <= now);
        for index in 0..self.renditions.len() {
            self.renditions[index].handle_timeout(now);
            let silent = self.silent_deadline(&self.renditions[index]);
            if silent.is_none_or(|deadline| deadline > now) {
                continue;
            }
            if nothing_comes {
                // The publisher is gone, not this rendition: what it had of the segment stays.
                self.pump_all_held(index, now);
                self.with_rendition(index, |rendition, context| rendition.end_segment(None, context));
            } else {
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
