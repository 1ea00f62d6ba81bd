//! The sound of a stream: packaged as it is (AAC, Opus, FLAC), or by way of a child that makes it AAC.

use std::sync::Arc;

use container::bmff::is_audio_packaged;
use hub::{Severity, Start};
use media::{MediaKind, Micros, Sample, Track, TrackConfig};
use package::{RenditionId, RenditionSpec, Role};

use super::{AUDIO, AUDIO_CHILDREN_MAX, AUDIO_FEED, Rung, StreamTask};
use crate::rungs::FeedSink;
use crate::sentences;

impl StreamTask {
    pub(super) fn set_audio(&mut self, track: Arc<Track>) {
        let TrackConfig::Audio(config) = &track.config else {
            return;
        };
        if is_audio_packaged(config.codec) {
            self.drop_audio_child();
            self.is_audio_packaged = true;
            self.broadcast.stream.notices().clear(sentences::AUDIO_UNPLAYABLE);
            let id = self.audio_rendition();
            self.packager.set_track(id, Arc::clone(&track));
            self.audio = Some((id, track));
            self.say_presence();
            return;
        }
        self.is_audio_packaged = false;
        if self.audio_child.is_none() {
            self.start_audio_child();
        }
        if let Some(child) = &self.audio_child {
            child.input().set_track(&track);
        }
    }

    fn audio_rendition(&mut self) -> RenditionId {
        if let Some((id, _)) = &self.audio {
            return *id;
        }
        let spec = RenditionSpec {
            name: AUDIO.to_owned(),
            role: Role::Audio,
            declared_bitrate: None,
        };
        self.packager.add_rendition(spec)
    }

    /// Sound goes to the packager itself from now on. What the child still says would end the rendition.
    fn drop_audio_child(&mut self) {
        if self.audio_child.take().is_some() {
            self.rungs.retain(|rung| rung.kind != MediaKind::Audio);
            self.broadcast.stream.close_feed(AUDIO_FEED);
        }
    }

    fn start_audio_child(&mut self) {
        let state = self.encoders.get();
        let stream = &self.broadcast.stream;
        if self.audio_children == AUDIO_CHILDREN_MAX {
            let text =
                "The encoder keeps changing the format of its sound, which is therefore left out: set AAC.";
            stream
                .notices()
                .set(sentences::AUDIO_UNPLAYABLE, Severity::Warning, text);
            return;
        }
        let feed = stream.open_feed(AUDIO_FEED);
        let (Some(transcoder), Ok(feed)) = (state.transcoder(), feed) else {
            let text = "The sound is MP3 and cannot be converted without FFmpeg on the server.";
            stream
                .notices()
                .set(sentences::AUDIO_UNPLAYABLE, Severity::Warning, text);
            return;
        };
        stream.notices().clear(sentences::AUDIO_UNPLAYABLE);
        let reader = feed.reader(Start::Oldest);
        let sink = FeedSink::boxed(feed, MediaKind::Audio);
        let child = transcoder.start_audio(format!("{}/audio", stream.channel()), sink, self.config.ladder);
        self.broadcast
            .update_ladder(|view| view.audio = Some(Arc::clone(child.stats())));
        let id = self.audio_rendition();
        self.rungs.push(Rung {
            name: AUDIO_FEED.to_owned(),
            id,
            kind: MediaKind::Audio,
            reader,
            is_over: false,
        });
        self.audio_child = Some(child);
        self.audio_children += 1;
    }

    pub(super) fn push_audio(&mut self, sample: Arc<Sample>, now: Micros) {
        self.refresh_clock(now);
        if let Some(child) = &self.audio_child {
            child.input().push(sample);
        } else if let Some((id, _)) = self.audio.as_ref().filter(|_| self.is_audio_packaged) {
            self.packager.push(*id, sample, now);
        }
    }
}
