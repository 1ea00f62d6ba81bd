//! The rungs of a stream: starting them, and what comes back.

use std::sync::Arc;

use hub::{Item, Severity, Start};
use media::ladder::{Source, SourceRung};
use media::{MediaKind, Micros, TrackConfig, VideoCodec};
use package::{Mode, RenditionSpec, Role};
use transcode::{LadderEvent, LadderSpec};

use super::{Rung, StreamTask, next_event};
use crate::rungs::FeedSink;
use crate::{EncoderState, sentences};

impl StreamTask {
    /// Starts the ladder if the mode is known, the encoder stands ready and there is none yet.
    pub(super) fn start_ladder(&mut self) {
        if self.ladder.is_some() || self.ladder_refused {
            return;
        }
        let Some(mode @ (Mode::Source | Mode::Grid)) = self.mode else {
            return;
        };
        let (transcoder, budget) = match self.encoders.get() {
            EncoderState::Ready { transcoder, budget } => (transcoder, budget),
            EncoderState::Probing => return,
            EncoderState::Disabled { .. } | EncoderState::Missing { .. } => {
                self.refuse_ladder();
                return;
            }
        };
        let Some((_, track)) = &self.video else { return };
        let TrackConfig::Video(config) = &track.config else {
            return;
        };
        // Who cannot decode the source gets an encode of its size.
        let source_rung = if mode == Mode::Source && config.codec == VideoCodec::H264 {
            SourceRung::Offered
        } else {
            SourceRung::Withheld
        };
        let source = Source::from_config(config, None);
        let admission = budget.admit(&source, &self.config.profiles, source_rung);
        let stream = Arc::clone(&self.broadcast.stream);
        sentences::left_out(stream.notices(), &admission.left_out);
        self.broadcast
            .update_ladder(|view| view.left_out.clone_from(&admission.left_out));
        let (frame_rate, track) = (config.frame_rate, Arc::clone(track));
        let mut sinks = Vec::new();
        for rung in admission.rungs {
            let feed = match stream.open_feed(&rung.name) {
                Ok(feed) => feed,
                Err(error) => {
                    tracing::warn!(channel = stream.channel(), rung = rung.name, %error, "no feed for a rung");
                    continue;
                }
            };
            let spec = RenditionSpec {
                name: rung.name.clone(),
                role: Role::Rung,
                declared_bitrate: Some(rung.bitrate),
            };
            let id = self.packager.add_rendition(spec);
            let reader = feed.reader(Start::Oldest);
            self.rungs.push(Rung {
                name: rung.name.clone(),
                id,
                kind: MediaKind::Video,
                reader,
                is_over: false,
            });
            sinks.push((rung, FeedSink::boxed(feed, MediaKind::Video)));
        }
        if sinks.is_empty() {
            self.refuse_ladder();
            return;
        }
        let names: Vec<_> = sinks.iter().map(|(rung, _)| rung.name.as_str()).collect();
        tracing::info!(
            channel = stream.channel(),
            stream = stream.id(),
            rungs = names.join(","),
            "ladder started"
        );
        let ladder = Arc::new(transcoder.start_ladder(LadderSpec {
            label: stream.channel().to_owned(),
            frame_rate,
            rungs: sinks,
            permit: Some(admission.permit),
            limits: self.config.ladder,
        }));
        self.broadcast
            .update_ladder(|view| view.video = Some(Arc::clone(ladder.stats())));
        let input = ladder.input();
        input.set_track(&track);
        for (sample, force_idr) in self.kept.take() {
            input.push(sample, force_idr);
        }
        self.ladder_events = Some(next_event(Arc::clone(&ladder)));
        self.looks.renewed();
        self.ladder = Some(ladder);
    }

    /// The source's codec decides what can be made of it.
    pub(super) fn check_codec(&mut self) {
        self.packager.set_encoder_available(self.can_make_grid());
        self.say_source_only();
    }

    /// Whether rungs can have IDRs where the source has none: the encoder's child is asked for them within the source's bit
    /// stream, and only H.264 has the words.
    pub(super) fn can_make_grid(&self) -> bool {
        self.encoders.get().may_encode()
            && !self.config.profiles.is_empty()
            && !self.ladder_refused
            && self.video_codec().is_none_or(|codec| codec == VideoCodec::H264)
    }

    /// Says which viewers see nothing, where no rung is H.264.
    fn say_source_only(&self) {
        let board = self.broadcast.stream.notices();
        match self.video_codec() {
            Some(codec) if codec != VideoCodec::H264 && self.ladder_refused => {
                sentences::source_only(board, codec);
            }
            _ => {
                board.clear(sentences::SOURCE_ONLY);
            }
        }
    }

    fn video_codec(&self) -> Option<VideoCodec> {
        match &self.video.as_ref()?.1.config {
            TrackConfig::Video(config) => Some(config.codec),
            TrackConfig::Audio(_) => None,
        }
    }

    pub(super) fn refuse_ladder(&mut self) {
        self.ladder_refused = true;
        self.kept.clear();
        self.packager.set_encoder_available(false);
        self.say_source_only();
    }

    pub(super) fn handle_ladder(&mut self, event: LadderEvent) {
        let channel = self.broadcast.stream.channel();
        let board = self.broadcast.stream.notices();
        match event {
            LadderEvent::Restarting { reason, text } => {
                tracing::warn!(channel, reason = reason.label(), text, "encoder restarting");
                board.set(sentences::ENCODER_RESTARTING, Severity::Warning, text);
            }
            LadderEvent::Recovered => {
                tracing::info!(channel, "encoder recovered");
                board.clear(sentences::ENCODER_RESTARTING);
            }
            LadderEvent::RungsDropped { rungs, text } => {
                tracing::warn!(channel, rungs = rungs.join(","), text, "rungs dropped");
                board.set(sentences::RUNGS_DROPPED, Severity::Warning, text);
                self.broadcast.update_ladder(|view| view.dropped.extend(rungs));
            }
            LadderEvent::GaveUp { text } => {
                tracing::error!(channel, text, "encoding given up");
                board.clear(sentences::ENCODER_RESTARTING);
                board.set(sentences::RUNGS_DROPPED, Severity::Error, text);
                self.ladder = None;
                self.refuse_ladder();
            }
        }
    }

    pub(super) fn handle_rung(&mut self, index: usize, item: Item, now: Micros) {
        let rung = &mut self.rungs[index];
        match item {
            Item::Track(track) => {
                self.packager.set_track(rung.id, Arc::clone(&track));
                if rung.kind == MediaKind::Audio {
                    self.audio = Some((rung.id, track));
                }
            }
            Item::Sample(_, sample) => {
                self.packager.push(rung.id, sample, now);
            }
            Item::Discontinuity | Item::Skipped { .. } => self.packager.rendition_lost(rung.id),
            Item::End => {
                rung.is_over = true;
                self.packager.remove_rendition(rung.id);
                self.broadcast.stream.close_feed(&rung.name);
            }
        }
    }
}
