//! What the public API says of a channel. One definition for JSON, events and pages.

use schemars::JsonSchema;
use serde::Serialize;

/// A channel as everybody may see it.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct ChannelView {
    /// Name in URLs.
    pub name: String,
    /// What goes on there.
    pub state: ChannelState,
    /// Title of the broadcast, if the publisher gave one.
    pub title: Option<String>,
    /// RFC 3339, UTC; when the current stream began.
    pub started_at: Option<String>,
    /// Viewers of the last ten seconds.
    pub viewers: u32,
    /// Path of a recent picture, with a version that changes with it.
    pub thumbnail: Option<String>,
    /// Path of the HLS multivariant playlist.
    pub hls: String,
    /// Path of the DASH manifest.
    pub dash: String,
    /// Id of the current stream.
    pub stream_id: Option<String>,
    /// What can be played, best first.
    pub renditions: Vec<RenditionView>,
    /// Plain sentences on what is wrong with the stream.
    pub notices: Vec<NoticeView>,
}

impl ChannelView {
    /// A channel with nothing on it.
    pub fn offline(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            state: ChannelState::Offline,
            title: None,
            started_at: None,
            viewers: 0,
            thumbnail: None,
            hls: format!("/live/{name}/master.m3u8"),
            dash: format!("/live/{name}/manifest.mpd"),
            stream_id: None,
            renditions: Vec::new(),
            notices: Vec::new(),
        }
    }
}

impl ChannelView {
    /// As it is shown to who came with a token: its paths stand behind `prefix`, `/t/TOKEN`.
    pub(crate) fn behind(&self, prefix: &str) -> Self {
        let behind = |path: &str| format!("{prefix}{path}");
        Self {
            thumbnail: self.thumbnail.as_deref().map(behind),
            hls: behind(&self.hls),
            dash: behind(&self.dash),
            ..self.clone()
        }
    }
}

/// A title as everybody may see it.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct VideoView {
    /// Its id, which was its stream's.
    pub id: String,
    /// Name of its channel.
    pub channel: String,
    /// RFC 3339, UTC; when its stream began.
    pub started_at: String,
    /// Length, milliseconds.
    pub duration_ms: u64,
    /// Bytes of all renditions.
    pub bytes: u64,
    /// All of its stream is there; `false`: it ends before its stream did.
    pub complete: bool,
    /// Path of the HLS multivariant playlist.
    pub hls: String,
    /// Path of the DASH manifest.
    pub dash: String,
    /// What can be played, best first. Their rates stand in the playlist.
    pub renditions: Vec<RenditionView>,
}

/// Some titles, newest first.
#[derive(Clone, Debug, Default, PartialEq, Serialize, JsonSchema)]
pub struct VideoPage {
    /// The titles.
    pub data: Vec<VideoView>,
    /// The value of `after` that gives those after these; `None` if there are none.
    pub next: Option<String>,
}

/// What goes on on a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ChannelState {
    /// Nothing.
    Offline,
    /// A publisher is there, nothing can be played yet.
    Starting,
    /// Playable.
    Live,
    /// The publisher is gone and may come back within the grace window.
    Reconnecting,
    /// The last stream ended a moment ago.
    Ended,
    /// The last stream broke.
    Failed,
}

/// One rendition of a stream.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct RenditionView {
    /// Name in URLs: `source`, `720p`, `audio`.
    pub name: String,
    /// What it carries.
    pub kind: RenditionKind,
    /// Pixels; `None` for audio.
    pub width: Option<u32>,
    /// Pixels; `None` for audio.
    pub height: Option<u32>,
    /// Frames a second; `None` for audio or if unknown.
    pub frame_rate: Option<f64>,
    /// Bits a second.
    pub bitrate: Option<u64>,
    /// RFC 6381.
    pub codecs: String,
    /// The publisher's own encode, passed through.
    pub source: bool,
}

/// What a rendition carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RenditionKind {
    /// Pictures.
    Video,
    /// Sound.
    Audio,
}

/// A sentence for the people who publish or watch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct NoticeView {
    /// Stable.
    pub code: String,
    /// How bad it is.
    pub severity: Severity,
    /// One sentence.
    pub text: String,
}

/// How bad a notice is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Worth knowing.
    Info,
    /// Viewers may notice.
    Warning,
    /// Viewers do notice.
    Error,
}
