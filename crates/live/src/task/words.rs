//! What a stream says of itself: notices for people, lines for the log.

use hub::Severity;
use media::Micros;
use package::Notice;

use super::{PRESENCE_AFTER_US, StreamTask, TROUBLE_SHOWN_US};
use crate::{EncoderState, sentences};

impl StreamTask {
    pub(super) fn take_notices(&mut self, now: Micros) {
        while let Some(notice) = self.packager.poll_notice() {
            let channel = self.broadcast.stream.channel();
            let board = self.broadcast.stream.notices();
            match notice {
                Notice::ModeDecided { mode, gop_ms } => {
                    tracing::info!(channel, ?mode, gop_ms, "segment plan decided");
                    sentences::mode_decided(board, mode, gop_ms, self.can_make_grid());
                    if self.mode.is_none() {
                        self.mode = Some(mode);
                        self.start_ladder();
                    }
                }
                Notice::ForcedCut { msn } => {
                    if let Some(left_out) = self.lines.forced_cut.may(now) {
                        tracing::warn!(channel, msn, left_out, "no keyframe in time");
                    }
                    sentences::forced_cut(board);
                }
                Notice::Gap { rendition, msn } => {
                    if let Some(left_out) = self.lines.gap.may(now) {
                        tracing::warn!(channel, rendition, msn, left_out, "segment missing");
                    }
                }
                Notice::Unsupported { rendition, reason } => {
                    if let Some(left_out) = self.lines.refused.may(now) {
                        tracing::warn!(channel, rendition, reason, left_out, "track refused");
                    }
                    let text = format!("The {rendition} track cannot be offered: {reason}.");
                    board.set(sentences::TRACK_UNSUPPORTED, Severity::Error, text);
                }
                Notice::Discontinuity { msn } => {
                    if let Some(left_out) = self.lines.discontinuity.may(now) {
                        tracing::info!(channel, msn, left_out, "discontinuity");
                    }
                    self.trouble_until.get_or_insert(now + TROUBLE_SHOWN_US);
                }
            }
        }
    }

    pub(super) fn say_encoders(&mut self) {
        let state = self.encoders.get();
        let board = self.broadcast.stream.notices();
        board.clear(sentences::ENCODER_PROBING);
        board.clear(sentences::ENCODER_MISSING);
        match &state {
            EncoderState::Probing => {
                let text =
                    "This server is still measuring what it can encode; more qualities follow in a moment.";
                board.set(sentences::ENCODER_PROBING, Severity::Info, text);
            }
            EncoderState::Missing { text } => sentences::encoder_missing(board, text),
            EncoderState::Ready { .. } | EncoderState::Disabled { .. } => {}
        }
        self.packager.set_encoder_available(self.can_make_grid());
    }

    /// Says what the broadcast lacks, once it had time to show what it has.
    pub(super) fn say_presence(&self) {
        let (video, audio) = (
            self.video.is_some(),
            self.audio.is_some() || self.audio_child.is_some(),
        );
        if self.presence_said && (video || audio) {
            sentences::presence(self.broadcast.stream.notices(), video, audio);
        }
    }

    pub(super) fn pass_time(&mut self, now: Micros) {
        let board = self.broadcast.stream.notices();
        if self.trouble_until.is_some_and(|until| now >= until) {
            self.trouble_until = None;
            board.clear(sentences::TIMELINE_BROKEN);
        }
        if now >= self.opened_us + PRESENCE_AFTER_US {
            self.presence_said = true;
            self.say_presence();
        }
    }
}
