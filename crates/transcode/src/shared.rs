//! What the callers of a ladder and its supervisor share.

use std::collections::VecDeque;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use media::ladder::Rung;
use media::{FrameRate, Sample, Track, TrackConfig};
use tokio::sync::{Notify, watch};

use crate::args::decoder_threads;
use crate::backlog::{Backlog, Gate, Position, Pushed, Start};
use crate::{LadderEvent, LadderLimits, LadderStats, RestartReason};

/// Events kept for an owner that does not fetch them; the oldest is dropped then.
const EVENTS_MAX: usize = 64;

/// Frames that a decoder may hold back for reordering (ITU-T H.264 A.3.1: MaxDpbFrames is at most 16).
const REORDER_FRAMES_MAX: usize = 16;

/// AAC frames that decoder, resampler and encoder may hold back, in source frames.
const AUDIO_FRAMES_HELD: usize = 12;

/// What a child does.
pub(crate) enum Job {
    Video {
        rungs: Vec<Rung>,
        frame_rate: Option<FrameRate>,
    },
    Audio,
}

/// One output of the child.
pub(crate) struct Output {
    pub(crate) name: String,
    /// `None` for audio.
    pub(crate) rung: Option<Rung>,
    pub(crate) is_active: bool,
    /// Newest delivered frame, in ticks.
    pub(crate) delivered: Option<i64>,
    /// The same on the child's timeline.
    pub(crate) delivered_ms: i64,
    /// Until this frame comes, nothing is delivered.
    pub(crate) gate: Option<Gate>,
    pub(crate) returned_at: Option<Instant>,
    /// Frames in a row whose time was never sent.
    pub(crate) strange: u32,
    pub(crate) track: Option<Arc<Track>>,
    /// Audio: where the next frame belongs.
    pub(crate) expected: Option<i64>,
}

pub(crate) struct Core {
    pub(crate) backlog: Backlog,
    pub(crate) outputs: Vec<Output>,
    /// The child must be replaced.
    pub(crate) respawn: Option<RestartReason>,
    pub(crate) is_done: bool,
    events: VecDeque<LadderEvent>,
}

pub(crate) struct Shared {
    pub(crate) label: String,
    pub(crate) limits: LadderLimits,
    pub(crate) frame_rate: Option<FrameRate>,
    pub(crate) stats: Arc<LadderStats>,
    /// Wakes whoever waits for samples: the writer of the child, or the supervisor when there is none.
    pub(crate) input: Notify,
    /// Wakes the supervisor.
    pub(crate) control: Notify,
    core: Mutex<Core>,
    events: Notify,
    stop: watch::Sender<bool>,
    ended: watch::Sender<bool>,
}

/// Why nothing comes back.
pub(crate) struct Hang {
    pub(crate) output: String,
    pub(crate) waited: Duration,
    /// How long it may take.
    pub(crate) limit: Duration,
}

impl Shared {
    pub(crate) fn new(label: String, job: Job, limits: LadderLimits) -> Self {
        let (rungs, frame_rate) = match job {
            Job::Video { rungs, frame_rate } => (rungs.into_iter().map(Some).collect(), frame_rate),
            Job::Audio => (vec![None], None),
        };
        let outputs: Vec<Output> = rungs.into_iter().map(Output::new).collect();
        let stats = LadderStats::default();
        stats
            .rungs_active
            .store(u32::try_from(outputs.len()).unwrap_or(u32::MAX), Relaxed);
        let core = Core {
            backlog: Backlog::new(limits),
            outputs,
            respawn: None,
            is_done: false,
            events: VecDeque::new(),
        };
        Self {
            label,
            limits,
            frame_rate,
            stats: Arc::new(stats),
            input: Notify::new(),
            control: Notify::new(),
            core: Mutex::new(core),
            events: Notify::new(),
            stop: watch::Sender::new(false),
            ended: watch::Sender::new(false),
        }
    }

    pub(crate) fn core(&self) -> MutexGuard<'_, Core> {
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn rung_names(&self) -> Vec<String> {
        self.core()
            .outputs
            .iter()
            .filter(|output| output.is_active)
            .map(|output| output.name.clone())
            .collect()
    }

    pub(crate) fn set_track(&self, track: &Track) {
        self.core().backlog.set_track(track);
    }

    pub(crate) fn discontinuity(&self) {
        self.core().backlog.discontinuity();
    }

    pub(crate) fn push(&self, sample: Arc<Sample>, force_idr: bool) {
        let pushed = {
            let mut core = self.core();
            if core.is_done {
                return;
            }
            let pushed = core.backlog.push(sample, force_idr, Instant::now());
            if pushed == Pushed::Backwards {
                core.rewind();
            }
            self.stats.frames_dropped.store(core.backlog.dropped(), Relaxed);
            self.stats
                .queue_bytes
                .store(core.backlog.waiting_bytes() as u64, Relaxed);
            pushed
        };
        self.stats.frames_in.fetch_add(1, Relaxed);
        match pushed {
            Pushed::Queued => self.input.notify_one(),
            Pushed::Backwards => {
                self.control.notify_one();
                self.input.notify_one();
            }
            Pushed::Dropped => {}
        }
    }

    pub(crate) fn emit(&self, event: LadderEvent) {
        let mut core = self.core();
        if core.events.len() == EVENTS_MAX {
            core.events.pop_front();
        }
        core.events.push_back(event);
        drop(core);
        self.events.notify_one();
    }

    pub(crate) async fn next_event(&self) -> Option<LadderEvent> {
        let mut ended = self.ended.subscribe();
        loop {
            let is_ended = *ended.borrow_and_update();
            if let Some(event) = self.core().events.pop_front() {
                return Some(event);
            }
            if is_ended {
                return None;
            }
            tokio::select! {
                () = self.events.notified() => {}
                _ = ended.changed() => {}
            }
        }
    }

    pub(crate) fn request_stop(&self) {
        self.stop.send_replace(true);
        self.input.notify_one();
        self.control.notify_one();
    }

    pub(crate) fn is_stopping(&self) -> bool {
        *self.stop.borrow()
    }

    pub(crate) async fn stop_requested(&self) {
        // The sender lives in `self`, so an error cannot come.
        let _ = self.stop.subscribe().wait_for(|stop| *stop).await;
    }

    pub(crate) fn set_ended(&self) {
        self.core().is_done = true;
        self.ended.send_replace(true);
    }

    pub(crate) async fn ended(&self) {
        let _ = self.ended.subscribe().wait_for(|ended| *ended).await;
    }
}

impl Output {
    fn new(rung: Option<Rung>) -> Self {
        Self {
            name: rung
                .as_ref()
                .map_or_else(|| "audio".to_owned(), |rung| rung.name.clone()),
            rung,
            is_active: true,
            delivered: None,
            delivered_ms: 0,
            gate: None,
            returned_at: None,
            strange: 0,
            track: None,
            expected: None,
        }
    }

    /// Distance of the next frame that a thinned-out rung takes, in ticks, for source frames of `duration`.
    fn distance(&self, duration: u32) -> i64 {
        let step = self.rung.as_ref().map_or(1, |rung| rung.frame_step);
        if step < 2 {
            1
        } else {
            i64::from(duration) * i64::from(step - 1) + i64::from(duration / 2) + 1
        }
    }
}

impl Core {
    pub(crate) fn active(&self) -> impl Iterator<Item = &Output> {
        self.outputs.iter().filter(|output| output.is_active)
    }

    pub(crate) fn is_audio(&self) -> bool {
        self.outputs.iter().all(|output| output.rung.is_none())
    }

    /// The source's time went back: what was delivered says nothing about what comes.
    fn rewind(&mut self) {
        self.respawn = Some(RestartReason::Timeline);
        for output in &mut self.outputs {
            let lost = output.delivered.is_some() || output.gate.is_some_and(|gate| gate.lost);
            output.gate = Some(Gate { pts: i64::MAX, lost });
            output.delivered = None;
            output.expected = None;
        }
    }

    /// Prepares for a new child, if there is something that it could begin with.
    pub(crate) fn start(&mut self) -> Option<Start> {
        let duration = self.backlog.newest_duration();
        let positions: Vec<Position> = self
            .active()
            .map(|output| Position {
                delivered: output.delivered,
                distance: output.distance(duration),
            })
            .collect();
        let start = self.backlog.start(&positions)?;
        let active = self.outputs.iter_mut().filter(|output| output.is_active);
        for (output, gate) in active.zip(&start.gates) {
            output.gate = Some(Gate {
                lost: gate.lost || output.gate.is_some_and(|gate| gate.lost),
                ..*gate
            });
            output.delivered_ms = self.backlog.millis(gate.pts) - 1;
            output.returned_at = None;
            output.strange = 0;
        }
        self.respawn = None;
        Some(start)
    }

    /// Frames that may be inside a healthy child at any time.
    fn frames_held(&self) -> usize {
        match self.backlog.track().map(|track| &track.config) {
            Some(TrackConfig::Video(config)) => {
                let threads = decoder_threads(config.height) as usize;
                threads
                    + if self.backlog.reorders() {
                        REORDER_FRAMES_MAX
                    } else {
                        0
                    }
            }
            _ => AUDIO_FRAMES_HELD,
        }
    }

    /// The output that has given nothing for longest although frames went in, from half of the limit on.
    pub(crate) fn hang(&self, started: Instant, now: Instant, limits: &LadderLimits) -> Option<Hang> {
        let held = self.frames_held();
        let hangs = self.active().filter_map(|output| {
            let step = output.rung.as_ref().map_or(1, |rung| rung.frame_step as usize);
            let overdue = self.backlog.overdue_since(output.delivered_ms, held + step)?;
            let (since, limit) = match output.returned_at {
                Some(returned_at) => (returned_at.max(overdue), limits.hang_after),
                None => (started.max(overdue), limits.first_frame_after),
            };
            let waited = now.saturating_duration_since(since);
            (waited > limit / 2).then(|| Hang {
                output: output.name.clone(),
                waited,
                limit,
            })
        });
        hangs.max_by_key(|hang| hang.waited)
    }

    /// Distance of the slowest output to the newest sample.
    pub(crate) fn lag(&self) -> Duration {
        self.active()
            .map(|output| self.backlog.lag(output.delivered))
            .max()
            .unwrap_or(Duration::ZERO)
    }
}
