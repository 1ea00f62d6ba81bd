//! The life of a child: spawned, fed, drained, watched, replaced, ended.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use media::TrackConfig;
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use crate::args::{self, VideoArgs};
use crate::backlog::Start;
use crate::output::{Delivery, OutputError, OutputReader};
use crate::policy::{Behind, Failures};
use crate::process::{Process, cpu_ticks, describe};
use crate::shared::{Hang, Shared};
use crate::stderr::{LastWords, read as read_stderr, read_progress};
use crate::writer::{Feed, write_all};
use crate::{EncoderSettings, Ffmpeg, LadderEvent, Permit, RestartReason, RungSink};

/// How often a child is looked at.
const TICK: Duration = Duration::from_millis(100);

/// How long the output of a dead child is waited for: its pipes may still hold frames.
const DRAIN: Duration = Duration::from_millis(500);

/// A child that gives nothing but uses CPU time starves rather than hangs (a restart would only add to the load): it
/// gets so many times the limit.
const STARVING_FACTOR: u32 = 4;

type Sink = Arc<Mutex<Box<dyn RungSink>>>;

/// Why a child is no more.
enum End {
    Stopped,
    Replace {
        reason: RestartReason,
        detail: String,
        was_healthy: bool,
    },
}

/// What is remembered of a child between looks at it.
struct Watch {
    started: Instant,
    pid: u32,
    behind: Behind,
    /// CPU time when it first seemed to hang.
    suspected_at: Option<u64>,
}

impl Watch {
    fn is_hung(&mut self, hang: &Hang) -> bool {
        let ticks = cpu_ticks(self.pid).unwrap_or(0);
        let is_busy = ticks > *self.suspected_at.get_or_insert(ticks);
        hang.waited
            > if is_busy {
                hang.limit.saturating_mul(STARVING_FACTOR)
            } else {
                hang.limit
            }
    }
}

struct Supervisor {
    shared: Arc<Shared>,
    ffmpeg: Ffmpeg,
    settings: EncoderSettings,
    sinks: Vec<Sink>,
    permit: Option<Permit>,
    failures: Failures,
    /// Said that something is wrong and not yet that it is over.
    in_trouble: bool,
}

/// Runs until a stop is requested; all sinks are told of the end then.
pub(crate) async fn run(
    shared: Arc<Shared>,
    ffmpeg: Ffmpeg,
    settings: EncoderSettings,
    sinks: Vec<Box<dyn RungSink>>,
    permit: Option<Permit>,
) {
    let sinks = sinks.into_iter().map(|sink| Arc::new(Mutex::new(sink))).collect();
    let failures = Failures::default();
    let mut supervisor = Supervisor {
        shared,
        ffmpeg,
        settings,
        sinks,
        permit,
        failures,
        in_trouble: false,
    };
    supervisor.run().await;
    let shared = Arc::clone(&supervisor.shared);
    let left: Vec<usize> = supervisor.active();
    supervisor.end_outputs(&left);
    shared.set_ended();
}

impl Supervisor {
    async fn run(&mut self) {
        while !self.active().is_empty() {
            let Some(start) = self.next_start().await else {
                return;
            };
            let end = self.live(&start).await;
            self.shared.stats.pid.store(0, Relaxed);
            self.shared.core().backlog.detach();
            match end {
                End::Stopped => return,
                End::Replace {
                    reason,
                    detail,
                    was_healthy,
                } => {
                    let delay = self.judge(reason, &detail, was_healthy);
                    tokio::select! {
                        () = sleep(delay) => {}
                        () = self.shared.stop_requested() => return,
                    }
                }
            }
        }
        self.shared.core().is_done = true;
        self.shared.stop_requested().await;
    }

    fn active(&self) -> Vec<usize> {
        let core = self.shared.core();
        (0..core.outputs.len())
            .filter(|&index| core.outputs[index].is_active)
            .collect()
    }

    /// Waits for something that a child can begin with; `None` = stop.
    async fn next_start(&self) -> Option<Start> {
        loop {
            if self.shared.is_stopping() {
                return None;
            }
            let start = self.shared.core().start();
            if start.is_some() {
                return start;
            }
            self.shared.input.notified().await;
        }
    }

    /// The command line, and what the child is fed with.
    fn arguments(&self, start: &Start) -> (Vec<String>, Feed) {
        let core = self.shared.core();
        let feed = core
            .backlog
            .front_track()
            .map_or(Feed::Flv, |track| Feed::of(track));
        let config = core.backlog.track().map(|track| track.config.clone());
        let line = match config {
            Some(TrackConfig::Audio(config)) => args::audio(config.sample_rate.get(), config.channels),
            other => {
                let rungs: Vec<_> = core.active().filter_map(|output| output.rung.as_ref()).collect();
                let source_height = match &other {
                    Some(TrackConfig::Video(config)) => config.height,
                    _ => 0,
                };
                args::video(&VideoArgs {
                    rungs: &rungs,
                    settings: &self.settings,
                    frame_rate: self.shared.frame_rate.or_else(|| core.backlog.nominal_rate()),
                    source_height,
                    feed,
                    first_ms: start.select_from_ms,
                })
            }
        };
        (line, feed)
    }

    /// One child from spawn to end.
    async fn live(&mut self, start: &Start) -> End {
        let outputs = self.active();
        let (arguments, feed) = self.arguments(start);
        let started = Instant::now();
        let (mut process, pipes) = match Process::spawn(self.ffmpeg.path(), &arguments, outputs.len()) {
            Ok(spawned) => spawned,
            Err(error) => {
                let detail = format!(
                    "FFmpeg could not be started at {}: {error}",
                    self.ffmpeg.path().display()
                );
                return End::Replace {
                    reason: RestartReason::SpawnFailed,
                    detail,
                    was_healthy: false,
                };
            }
        };
        let pid = process.id().unwrap_or(0);
        self.shared.stats.pid.store(pid, Relaxed);
        tracing::debug!(?start, "where the child starts");
        tracing::info!(
            channel = self.shared.label,
            pid,
            outputs = outputs.len(),
            "ffmpeg started"
        );
        let words = LastWords::default();
        let (broken, mut is_broken) = mpsc::channel(1);
        let mut readers = JoinSet::new();
        for (pipe, index) in pipes.outputs.into_iter().zip(outputs) {
            let (shared, sink) = (Arc::clone(&self.shared), Arc::clone(&self.sinks[index]));
            readers.spawn(read_output(shared, sink, index, pipe, broken.clone()));
        }
        let mut others = JoinSet::new();
        let (label, stats) = (self.shared.label.clone(), &self.shared.stats);
        others.spawn(read_stderr(pipes.stderr, label, Arc::clone(stats), words.clone()));
        others.spawn(read_progress(pipes.progress, Arc::clone(stats)));
        let writer = tokio::spawn(write_all(Arc::clone(&self.shared), pipes.stdin, feed));
        let end = self.watch(&mut process, &mut is_broken, started, &words).await;
        if matches!(end, End::Stopped) {
            // The writer ends by itself when it has written what waits, which closes stdin.
            let _ = timeout(self.shared.limits.stop_step / 2, async {
                while !writer.is_finished() {
                    sleep(TICK / 10).await
                }
            })
            .await;
            writer.abort();
            process.stop(self.shared.limits.stop_step).await;
        }
        writer.abort();
        process.kill().await;
        let _ = timeout(DRAIN, async { while readers.join_next().await.is_some() {} }).await;
        readers.shutdown().await;
        others.shutdown().await;
        let _ = writer.await;
        end
    }

    async fn watch(
        &mut self,
        process: &mut Process,
        is_broken: &mut mpsc::Receiver<OutputError>,
        started: Instant,
        words: &LastWords,
    ) -> End {
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let pid = process.id().unwrap_or(0);
        let mut watch = Watch {
            started,
            pid,
            behind: Behind::default(),
            suspected_at: None,
        };
        let (reason, detail) = loop {
            tokio::select! {
                biased;
                () = self.shared.stop_requested() => return End::Stopped,
                status = process.wait() => {
                    let how = status.map_or_else(|error| error.to_string(), describe);
                    // Its last words may still be in the pipe.
                    sleep(Duration::from_millis(20)).await;
                    break (RestartReason::Exited, said(format!("FFmpeg {how}"), words));
                }
                Some(error) = is_broken.recv() => {
                    break (RestartReason::Garbage, said(format!("FFmpeg wrote what is not its format: {error}"), words));
                }
                () = self.shared.control.notified() => {}
                _ = ticks.tick() => {}
            }
            if let Some(found) = self.look(&mut watch) {
                break found;
            }
        };
        let was_healthy = self.delivered_for(started) >= self.shared.limits.healthy_after;
        End::Replace {
            reason,
            detail,
            was_healthy,
        }
    }

    /// From the start of a child to the last frame that it gave.
    fn delivered_for(&self, started: Instant) -> Duration {
        let last = self
            .shared
            .core()
            .active()
            .filter_map(|output| output.returned_at)
            .max();
        last.map_or(Duration::ZERO, |last| last.saturating_duration_since(started))
    }

    /// Whether the child must be replaced.
    fn look(&mut self, watch: &mut Watch) -> Option<(RestartReason, String)> {
        let now = Instant::now();
        let (hang, lag, respawn, flows, count) = {
            let core = self.shared.core();
            let respawn = core
                .respawn
                .or(core.backlog.is_worn_out().then_some(RestartReason::Timeline));
            let flows = core.active().all(|output| output.gate.is_none());
            (
                core.hang(watch.started, now, &self.shared.limits),
                core.lag(),
                respawn,
                flows,
                core.active().count(),
            )
        };
        self.shared
            .stats
            .lag_ms
            .store(u64::try_from(lag.as_millis()).unwrap_or(u64::MAX), Relaxed);
        if flows && self.in_trouble {
            self.in_trouble = false;
            self.shared.emit(LadderEvent::Recovered);
        }
        if let Some(reason) = respawn {
            return Some((
                reason,
                "the source's time jumped back or the child's has run out".to_owned(),
            ));
        }
        match hang {
            Some(hang) if watch.is_hung(&hang) => {
                let (name, waited) = (hang.output, hang.waited.as_millis());
                return Some((
                    RestartReason::Hung,
                    format!("FFmpeg gave nothing for {name} for {waited} ms"),
                ));
            }
            Some(_) => {}
            None => watch.suspected_at = None,
        }
        // A single rung gets the time to start before it is given up.
        let may_drop = count > 1 || watch.started.elapsed() > self.shared.limits.first_frame_after;
        if watch.behind.observe(lag, now, &self.shared.limits) && may_drop {
            let detail = format!("encoding fell {:.1} s behind live", lag.as_secs_f32());
            return Some((RestartReason::FellBehind, detail));
        }
        None
    }

    /// Counts, says and draws the consequence; the wait before the next child.
    fn judge(&mut self, reason: RestartReason, detail: &str, was_healthy: bool) -> Duration {
        self.shared.stats.count_restart(reason);
        let outputs = self.active();
        if reason == RestartReason::Timeline {
            tracing::info!(stream = self.shared.label, detail, "ffmpeg is replaced");
            return Duration::ZERO;
        }
        let is_audio = self.shared.core().is_audio();
        if !reason.is_failure() && !is_audio {
            let top = outputs.last().copied().into_iter().collect::<Vec<_>>();
            self.drop_outputs(&top, detail);
            return Duration::ZERO;
        }
        let verdict = self.failures.add(was_healthy, &self.shared.limits);
        let delay_ms = u64::try_from(verdict.delay.as_millis()).unwrap_or(u64::MAX);
        tracing::warn!(
            stream = self.shared.label,
            reason = reason.label(),
            detail,
            delay_ms,
            "ffmpeg is replaced"
        );
        self.in_trouble = true;
        self.shared.emit(LadderEvent::Restarting {
            reason,
            text: detail.to_owned(),
        });
        // Sound has no smaller rendition to fall back to: it is tried for ever, less and less often.
        if verdict.shrink && !is_audio {
            let keep = outputs.len() / 2;
            self.drop_outputs(&outputs[keep..], detail);
        }
        verdict.delay
    }

    /// Takes rungs out for good.
    fn drop_outputs(&mut self, indices: &[usize], detail: &str) {
        let names: Vec<String> = {
            let core = self.shared.core();
            indices
                .iter()
                .map(|&index| core.outputs[index].name.clone())
                .collect()
        };
        self.end_outputs(indices);
        let list = names.join(", ");
        let text = format!("{list} is no longer offered: {detail}");
        tracing::warn!(
            stream = self.shared.label,
            rungs = list,
            detail,
            "transcoded renditions dropped"
        );
        self.shared.emit(LadderEvent::RungsDropped { rungs: names, text });
        if self.active().is_empty() {
            let text = format!("no transcoded rendition is left, only the source is offered: {detail}");
            self.shared.emit(LadderEvent::GaveUp { text });
        }
    }

    fn end_outputs(&mut self, indices: &[usize]) {
        for &index in indices {
            let name = {
                let mut core = self.shared.core();
                core.outputs[index].is_active = false;
                core.outputs[index].name.clone()
            };
            if let Some(permit) = &mut self.permit {
                permit.release(&name);
            }
            self.sinks[index]
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .ended();
        }
        let active = u32::try_from(self.active().len()).unwrap_or(u32::MAX);
        self.shared.stats.rungs_active.store(active, Relaxed);
    }
}

fn said(what: String, words: &LastWords) -> String {
    match words.text() {
        Some(line) => format!("{what} ({line})"),
        None => what,
    }
}

/// Drains one output pipe into its sink.
async fn read_output(
    shared: Arc<Shared>,
    sink: Sink,
    index: usize,
    mut pipe: pipe::Receiver,
    broken: mpsc::Sender<OutputError>,
) {
    let mut reader = OutputReader::new(index);
    loop {
        reader.reserve();
        match pipe.read_buf(&mut reader.buffer).await {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
        loop {
            let next = reader.next(&mut shared.core(), Instant::now());
            match next {
                Ok(Some(delivery)) => deliver(&shared, &sink, delivery),
                Ok(None) => break,
                Err(error) => {
                    // One error is enough; the others find the channel full.
                    let _ = broken.try_send(error);
                    return discard(pipe, BytesMut::new()).await;
                }
            }
        }
    }
}

/// Reads on for nothing, so that the child does not block before it is replaced.
async fn discard(mut pipe: pipe::Receiver, mut buffer: BytesMut) {
    loop {
        buffer.clear();
        buffer.reserve(16 << 10);
        if !matches!(pipe.read_buf(&mut buffer).await, Ok(1..)) {
            return;
        }
    }
}

fn deliver(shared: &Shared, sink: &Sink, delivery: Delivery) {
    let mut sink = sink.lock().unwrap_or_else(PoisonError::into_inner);
    match delivery {
        Delivery::Track(track) => sink.set_track(track),
        Delivery::Sample { sample, lost } => {
            shared.stats.frames_out.fetch_add(1, Relaxed);
            shared
                .stats
                .bytes_out
                .fetch_add(sample.data.len() as u64, Relaxed);
            if lost {
                sink.lost();
            }
            sink.sample(sample);
        }
    }
}
