//! The task of one stream.

mod ladder;
mod sound;
mod words;

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use event_listener::EventListener;
use hub::{Item, Reader, Severity, Start};
use media::{Clock, MediaKind, Micros, Sample, Track};
use package::{Mode, Packager, RenditionId, RenditionSpec, Role};
use transcode::{AudioToAac, LadderEvent, VideoLadder};

use crate::alarm::Alarm;
use crate::kept::Kept;
use crate::looks::Looks;
use crate::seldom::Seldom;
use crate::{Broadcast, Encoders, LiveConfig, sentences};

/// Name of the rendition that carries the publisher's own pictures.
const SOURCE: &str = "source";
/// Name of the rendition that carries the sound.
const AUDIO: &str = "audio";
/// Feed of sound that had to be transcoded.
const AUDIO_FEED: &str = "aac";
/// Samples handled before the task lets others run.
const BATCH: usize = 64;
/// FFmpeg children that a stream's sound may take: a publisher that changes its format all the time gets no more.
const AUDIO_CHILDREN_MAX: u32 = 8;
/// A stream that has shown only one kind of track for so long is said to lack the other.
const PRESENCE_AFTER_US: Micros = 5_000_000;
/// How long a passing trouble is shown.
const TROUBLE_SHOWN_US: Micros = 30_000_000;
/// How often the wall clock of media 0 is taken anew.
const CLOCK_EVERY_US: Micros = 1_000_000;

type LadderEvents = Pin<Box<dyn Future<Output = (Arc<VideoLadder>, Option<LadderEvent>)> + Send>>;

enum Wake {
    Source(Item),
    Rung(usize, Item),
    Ladder(Arc<VideoLadder>, Option<LadderEvent>),
    EncodersChanged,
    NoticesChanged,
    Deadline,
}

/// What a publisher or a slow machine can cause with every segment.
#[derive(Default)]
struct Lines {
    behind: Seldom,
    forced_cut: Seldom,
    gap: Seldom,
    refused: Seldom,
    discontinuity: Seldom,
}

struct Rung {
    name: String,
    id: RenditionId,
    kind: MediaKind,
    reader: Reader,
    is_over: bool,
}

/// Owns a stream's packager and its encoders until the stream ends.
pub(crate) struct StreamTask {
    broadcast: Arc<Broadcast>,
    encoders: Encoders,
    encoders_changed: EventListener,
    notices_changed: EventListener,
    config: LiveConfig,
    clock: Clock,
    packager: Packager,
    source: Reader,
    video: Option<(RenditionId, Arc<Track>)>,
    audio: Option<(RenditionId, Arc<Track>)>,
    /// The audio that is pushed to `audio_child` instead of the packager.
    audio_child: Option<AudioToAac>,
    audio_children: u32,
    /// What comes can be packaged as it is.
    is_audio_packaged: bool,
    mode: Option<Mode>,
    ladder: Option<Arc<VideoLadder>>,
    ladder_events: Option<LadderEvents>,
    ladder_refused: bool,
    /// Pictures since the last place where a ladder can start, until there is one.
    kept: Kept,
    rungs: Vec<Rung>,
    alarm: Alarm,
    looks: Looks,
    opened_us: Micros,
    clock_set_us: Option<Micros>,
    trouble_until: Option<Micros>,
    presence_said: bool,
    lines: Lines,
    is_playable: bool,
}

impl StreamTask {
    pub(crate) fn new(
        broadcast: Arc<Broadcast>,
        encoders: Encoders,
        config: LiveConfig,
        clock: Clock,
    ) -> Self {
        let mut package = config.package.clone();
        package.encoder_available = encoders.get().may_encode() && !config.profiles.is_empty();
        let packager = Packager::new(package, Arc::clone(&broadcast.window));
        let source = broadcast.stream.source().reader(Start::Oldest);
        let opened_us = clock.at(Instant::now());
        Self {
            encoders_changed: encoders.changed(),
            notices_changed: broadcast.stream.notices().changed(),
            encoders,
            config,
            clock,
            packager,
            source,
            video: None,
            audio: None,
            audio_child: None,
            audio_children: 0,
            is_audio_packaged: false,
            mode: None,
            ladder: None,
            ladder_events: None,
            ladder_refused: false,
            kept: Kept::default(),
            rungs: Vec::new(),
            alarm: Alarm::new(),
            looks: Looks::default(),
            opened_us,
            clock_set_us: None,
            trouble_until: None,
            presence_said: false,
            lines: Lines::default(),
            is_playable: false,
            broadcast,
        }
    }

    /// Runs until the stream has ended.
    pub(crate) async fn run(mut self) {
        // It must belong to the runtime that runs the task.
        self.alarm = Alarm::new();
        self.say_encoders();
        let mut handled = 0;
        loop {
            self.arm();
            let wake = poll_fn(|context| self.poll_wake(context)).await;
            let now = self.clock.at(Instant::now());
            if let Wake::Source(Item::End) = wake {
                break;
            }
            self.handle(wake, now);
            handled += 1;
            if handled % BATCH == 0 {
                tokio::task::yield_now().await;
            }
        }
        self.finish().await;
    }

    fn poll_wake(&mut self, context: &mut Context<'_>) -> Poll<Wake> {
        for (index, rung) in self.rungs.iter_mut().enumerate() {
            if rung.is_over {
                continue;
            }
            if let Poll::Ready(item) = rung.reader.poll_next(context) {
                self.looks.sampled();
                return Poll::Ready(Wake::Rung(index, item));
            }
        }
        if let Poll::Ready(item) = self.source.poll_next(context) {
            self.looks.sampled();
            return Poll::Ready(Wake::Source(item));
        }
        if self.looks.may_wait() {
            return Poll::Pending;
        }
        if let Some(events) = &mut self.ladder_events
            && let Poll::Ready((ladder, event)) = events.as_mut().poll(context)
        {
            self.ladder_events = None;
            self.looks.renewed();
            return Poll::Ready(Wake::Ladder(ladder, event));
        }
        if Pin::new(&mut self.encoders_changed).poll(context).is_ready() {
            self.encoders_changed = self.encoders.changed();
            self.looks.renewed();
            return Poll::Ready(Wake::EncodersChanged);
        }
        if Pin::new(&mut self.notices_changed).poll(context).is_ready() {
            self.notices_changed = self.broadcast.stream.notices().changed();
            self.looks.renewed();
            return Poll::Ready(Wake::NoticesChanged);
        }
        let deadline = self.alarm.poll(context).map(|()| Wake::Deadline);
        if deadline.is_pending() {
            self.looks.registered();
        }
        deadline
    }

    fn handle(&mut self, wake: Wake, now: Micros) {
        match wake {
            Wake::Source(item) => self.handle_source(item, now),
            Wake::Rung(index, item) => self.handle_rung(index, item, now),
            Wake::Ladder(ladder, Some(event)) => {
                self.handle_ladder(event);
                self.ladder_events = Some(next_event(ladder));
                self.looks.renewed();
            }
            Wake::Ladder(_, None) => {}
            Wake::EncodersChanged => {
                self.say_encoders();
                self.start_ladder();
            }
            Wake::NoticesChanged => self.broadcast.touch(),
            Wake::Deadline => {
                self.packager.handle_timeout(now);
                self.pass_time(now);
            }
        }
        self.take_notices(now);
        if !self.is_playable && self.broadcast.window.ready().is_none() {
            self.is_playable = true;
            self.broadcast.touch();
        }
    }

    fn handle_source(&mut self, item: Item, now: Micros) {
        match item {
            Item::Track(track) => match track.kind() {
                MediaKind::Video => self.set_video(track),
                MediaKind::Audio => self.set_audio(track),
            },
            Item::Sample(MediaKind::Video, sample) => self.push_video(sample, now),
            Item::Sample(MediaKind::Audio, sample) => self.push_audio(sample, now),
            Item::Discontinuity => self.discontinuity(now),
            Item::Skipped { samples } => {
                if let Some(left_out) = self.lines.behind.may(now) {
                    tracing::warn!(
                        channel = self.channel(),
                        samples,
                        left_out,
                        "packaging fell behind its source"
                    );
                }
                self.discontinuity(now);
            }
            Item::End => {}
        }
    }

    fn set_video(&mut self, track: Arc<Track>) {
        let packager = &mut self.packager;
        let id = self.video.as_ref().map_or_else(
            || {
                let spec = RenditionSpec {
                    name: SOURCE.to_owned(),
                    role: Role::Source,
                    declared_bitrate: None,
                };
                packager.add_rendition(spec)
            },
            |(id, _)| *id,
        );
        packager.set_track(id, Arc::clone(&track));
        self.video = Some((id, Arc::clone(&track)));
        self.check_codec();
        if let Some(ladder) = &self.ladder {
            ladder.input().set_track(&track);
        } else {
            self.kept.clear();
        }
        self.say_presence();
    }

    fn push_video(&mut self, sample: Arc<Sample>, now: Micros) {
        let Some(id) = self.video.as_ref().map(|(id, _)| *id) else {
            return;
        };
        self.refresh_clock(now);
        let pushed = self.packager.push(id, Arc::clone(&sample), now);
        if let Some(ladder) = &self.ladder {
            ladder.input().push(sample, pushed.force_idr);
        } else if !self.ladder_refused {
            // While the mode is undecided all pictures are kept: which of the sync samples is the first is not known.
            self.kept.push(sample, pushed.force_idr, self.mode.is_some());
        }
        if pushed.mode.is_some() && self.mode != pushed.mode {
            self.mode = pushed.mode;
            self.start_ladder();
        }
    }

    fn discontinuity(&mut self, now: Micros) {
        for (id, _) in self.video.iter().chain(&self.audio) {
            self.packager.discontinuity(*id);
        }
        if let Some(ladder) = &self.ladder {
            ladder.input().discontinuity();
        }
        if let Some(child) = &self.audio_child {
            child.input().discontinuity();
        }
        self.kept.clear();
        self.clock_set_us = None;
        self.trouble_until = Some(now + TROUBLE_SHOWN_US);
        let text = "The broadcast was interrupted a moment ago and goes on.";
        self.broadcast
            .stream
            .notices()
            .set(sentences::TIMELINE_BROKEN, Severity::Info, text);
    }

    /// Gives the packager the wall clock of media 0, which slews as the hub learns the publisher's clock.
    fn refresh_clock(&mut self, now: Micros) {
        if self.clock_set_us.is_some_and(|at| now < at + CLOCK_EVERY_US) {
            return;
        }
        if let Some(map) = self.broadcast.stream.origin() {
            let media_us = map.us_to_media_us(now);
            let media0_utc_ms = self.clock.unix_ms(now) - media_us.div_euclid(1000);
            self.packager.set_clock(media0_utc_ms);
            self.clock_set_us = Some(now);
        }
    }

    /// Sets the alarm to the earliest deadline; leaves it alone when it is early enough.
    fn arm(&mut self) {
        let own = if self.presence_said {
            self.trouble_until
        } else {
            Some(self.opened_us + PRESENCE_AFTER_US)
        };
        let wanted = [self.packager.poll_timeout(), self.trouble_until, own]
            .into_iter()
            .flatten()
            .min();
        if let Some(wanted) = wanted {
            let clock = self.clock;
            let is_new = self
                .alarm
                .set(wanted, || tokio::time::Instant::from_std(clock.instant(wanted)));
            if is_new {
                self.looks.renewed();
            }
        }
    }

    async fn finish(mut self) {
        let now = self.clock.at(Instant::now());
        self.ladder_events = None;
        if let Some(ladder) = self.ladder.take() {
            match Arc::try_unwrap(ladder) {
                Ok(ladder) => ladder.stop().await,
                Err(ladder) => drop(ladder),
            }
            // What the encoder still had comes before the end.
            for index in 0..self.rungs.len() {
                while let Some(item) = self.rungs[index].reader.try_next() {
                    if matches!(item, Item::End) {
                        break;
                    }
                    self.handle_rung(index, item, now);
                }
            }
        }
        self.packager.end(now);
        tracing::info!(
            channel = self.channel(),
            stream = self.broadcast.stream.id(),
            "stream packaged to its end"
        );
    }

    fn channel(&self) -> &str {
        self.broadcast.stream.channel()
    }
}

fn next_event(ladder: Arc<VideoLadder>) -> LadderEvents {
    Box::pin(async move {
        let event = ladder.next_event().await;
        (ladder, event)
    })
}
