//! Recordings: what is given to the store, and what it says of them.

use bytes::Bytes;
use package::{CompletedSegment, Period, Role, TrackFacts};

use crate::cid::Cid;

/// Where a recording is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RecordingState {
    /// Its stream is live, or the server has died under it.
    Recording,
    /// A title: its stream has ended and all of it is there.
    Sealed,
    /// A title that ends before its stream did: at the last whole segment before a crash, or where there was no room.
    Cut,
    /// Somebody asked for its removal; the server has not got to it yet.
    Removed,
}

impl RecordingState {
    /// The word in the index and in JSON: `recording`, `sealed`, `cut`, `removed`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Recording => "recording",
            Self::Sealed => "sealed",
            Self::Cut => "cut",
            Self::Removed => "removed",
        }
    }

    pub(crate) fn parse(word: &str) -> Option<Self> {
        [Self::Recording, Self::Sealed, Self::Cut, Self::Removed]
            .into_iter()
            .find(|state| state.as_str() == word)
    }

    /// Whether it can be played.
    pub fn is_title(self) -> bool {
        matches!(self, Self::Sealed | Self::Cut)
    }
}

/// A recording that begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewRecording {
    /// The stream's id; later the title's.
    pub stream_id: String,
    /// Lasting id of its channel.
    pub channel_id: String,
    /// The channel's name when it began.
    pub channel: String,
    /// When the stream began, milliseconds since 1970.
    pub started_ms: i64,
}

/// A recording as the index lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recording {
    /// The stream's id; the title's, when it is one.
    pub stream_id: String,
    /// Lasting id of its channel.
    pub channel_id: String,
    /// The channel's name when it began.
    pub channel: String,
    /// When the stream began, milliseconds since 1970.
    pub started_ms: i64,
    /// Where it is in its life.
    pub state: RecordingState,
    /// Retention leaves it alone.
    pub pinned: bool,
    /// Root of its manifest; of a title.
    pub manifest: Option<Cid>,
    /// Length, milliseconds; 0 before it is a title.
    pub duration_ms: i64,
    /// Bytes of its inits and segments, shared ones included; 0 before it is a title.
    pub bytes: u64,
}

/// A rendition of a recording.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RenditionFacts {
    /// Name in URLs.
    pub name: String,
    /// Place in the multivariant playlist.
    pub position: u32,
    /// What it is in its stream.
    pub role: Role,
    /// What players are told of it.
    pub facts: TrackFacts,
}

/// What a stream has made since the last batch.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// Renditions that are new or have changed.
    pub renditions: Vec<RenditionFacts>,
    /// Periods that are new; known ones do no harm.
    pub periods: Vec<Period>,
    /// Rendition, number and bytes of new init segments.
    pub inits: Vec<(String, u32, Bytes)>,
    /// Rendition and complete segments.
    pub segments: Vec<(String, CompletedSegment)>,
}

impl Batch {
    /// Nothing in it needs to be kept.
    pub fn is_empty(&self) -> bool {
        self.inits.is_empty() && self.segments.is_empty()
    }
}
