//! What the packager is told and what it says.

/// Limits and targets of one stream's packaging. They are fixed for the stream's life.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PackageConfig {
    /// Length that a segment aims at, in milliseconds; 500 to 10 000. Default 2000.
    pub segment_ms: u32,
    /// Longest part, in milliseconds; 100 to 1000. Default 250. A rendition's PART-TARGET is the largest whole number of
    /// frames that fits.
    pub part_ms: u32,
    /// Media kept and listed per rendition, in milliseconds. Default 60 000. Never less than six target durations.
    pub window_ms: u32,
    /// Most bytes kept per rendition, whatever `window_ms` says. Default 256 MiB.
    pub window_bytes_max: usize,
    /// Longest source GOP that is packaged as it stands, in milliseconds. Default 4000.
    pub source_gop_ms_max: u32,
    /// An encoder stands ready to make rungs, so a source whose GOP does not fit can be left out. Default false.
    pub encoder_available: bool,
    /// How far audio may run ahead of video before it goes on alone, in milliseconds of media. Default 500.
    pub audio_lead_ms_max: u32,
    /// How long the master playlist waits for renditions that were added but have no media yet, in milliseconds after
    /// the first part. Default 2000.
    pub master_wait_ms: u32,
}

impl Default for PackageConfig {
    fn default() -> Self {
        Self {
            segment_ms: 2_000,
            part_ms: 250,
            window_ms: 60_000,
            window_bytes_max: 256 << 20,
            source_gop_ms_max: 4_000,
            encoder_available: false,
            audio_lead_ms_max: 500,
            master_wait_ms: 2_000,
        }
    }
}

/// What a rendition is in its stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// The publisher's video as it came. Drives the plan, whether it is offered to viewers or not.
    Source,
    /// Video encoded from the source; starts its segments with a sync sample at the plan's boundaries.
    Rung,
    /// The stream's sound. Drives the plan while there is no video.
    Audio,
}

/// A rendition to be packaged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RenditionSpec {
    /// Its name in URLs: `source`, `720p`, `audio`. Unique in the stream; letters, digits, `-`, `_`.
    pub name: String,
    /// What it is in the stream.
    pub role: Role,
    /// Bits a second it is meant to have, if somebody says so; used until a segment has been measured.
    pub declared_bitrate: Option<u32>,
}

/// Names a rendition of one [`Packager`](crate::Packager).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RenditionId(pub(crate) usize);

/// How segment boundaries are placed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mode {
    /// At IDR pictures of the source, which is offered as a rendition.
    Source,
    /// At the first frame at or after each multiple of the segment length; the source is not offered.
    Grid,
    /// On the audio clock: there is no video.
    Audio,
}

/// What became of a pushed sample.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pushed {
    /// Encoders of the other renditions must make this picture an IDR: a segment starts here, or may turn out to
    /// start here once the mode is decided.
    pub force_idr: bool,
    /// The plan's mode, once it is decided.
    pub mode: Option<Mode>,
}

/// Something that an operator or a publisher may want to be told. Counted by the packager, at most a few waiting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// The mode was decided; the source's GOP as observed (milliseconds), if one was seen.
    ModeDecided {
        /// The mode.
        mode: Mode,
        /// Longest GOP seen before the decision.
        gop_ms: Option<u32>,
    },
    /// No IDR came in time: a segment of the source starts with another picture.
    ForcedCut {
        /// Media sequence number of the segment.
        msn: u64,
    },
    /// Segments of a rendition are gaps.
    Gap {
        /// Its name.
        rendition: String,
        /// Media sequence number.
        msn: u64,
    },
    /// A track that cannot be packaged was refused.
    Unsupported {
        /// The rendition's name.
        rendition: String,
        /// Why.
        reason: String,
    },
    /// The timeline was interrupted before this segment.
    Discontinuity {
        /// Media sequence number of the first segment after it.
        msn: u64,
    },
}
