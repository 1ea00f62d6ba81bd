//! Counters of one stream, read by metrics and pages without a lock.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use media::Micros;

/// Kinds of timestamp trouble that the hub repairs, each counted apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Repair {
    /// No decode time came; it was worked out from presentation times.
    MissingDts,
    /// Decode time equal to the one before.
    DuplicateDts,
    /// Decode time a little before the one before.
    NonMonotonicDts,
    /// Presentation before decoding.
    PtsBeforeDts,
    /// Presentation absurdly long after decoding.
    PtsTooLate,
    /// One stray timestamp between good ones.
    Outlier,
    /// The publisher's clock went back by more than a second.
    BackwardJump,
    /// The publisher's clock went ahead of the wall clock by more than 3 s.
    ForwardJump,
    /// Audio and video counted from different origins.
    OriginMismatch,
    /// Nothing came for more than a second, and the timestamps agree.
    Gap,
    /// Audio timestamps ran ahead of the samples: silence was left.
    AudioGap,
    /// Audio timestamps ran behind the samples: frames were left out.
    AudioOverlap,
    /// One audio sample frame inserted or removed to follow the timestamps.
    AudioSlew,
    /// Left out: came after a discontinuity with the old clock, or before the start of the timeline.
    Straggler,
    /// Left out: video that cannot be decoded because no keyframe came yet.
    BeforeKeyframe,
    /// Left out: came before its codec configuration.
    BeforeConfig,
}

impl Repair {
    /// All kinds, in the order of their counters.
    pub const ALL: [Self; 16] = [
        Self::MissingDts,
        Self::DuplicateDts,
        Self::NonMonotonicDts,
        Self::PtsBeforeDts,
        Self::PtsTooLate,
        Self::Outlier,
        Self::BackwardJump,
        Self::ForwardJump,
        Self::OriginMismatch,
        Self::Gap,
        Self::AudioGap,
        Self::AudioOverlap,
        Self::AudioSlew,
        Self::Straggler,
        Self::BeforeKeyframe,
        Self::BeforeConfig,
    ];

    /// The value of the metric's `kind` label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::MissingDts => "missing_dts",
            Self::DuplicateDts => "duplicate_dts",
            Self::NonMonotonicDts => "non_monotonic_dts",
            Self::PtsBeforeDts => "pts_before_dts",
            Self::PtsTooLate => "pts_too_late",
            Self::Outlier => "outlier",
            Self::BackwardJump => "backward_jump",
            Self::ForwardJump => "forward_jump",
            Self::OriginMismatch => "origin_mismatch",
            Self::Gap => "gap",
            Self::AudioGap => "audio_gap",
            Self::AudioOverlap => "audio_overlap",
            Self::AudioSlew => "audio_slew",
            Self::Straggler => "straggler",
            Self::BeforeKeyframe => "before_keyframe",
            Self::BeforeConfig => "before_config",
        }
    }
}

/// Counters and gauges of one stream. All are written by the publisher's side; relaxed atomics.
#[derive(Debug, Default)]
pub struct StreamStats {
    pub(crate) bytes_in: AtomicU64,
    pub(crate) video_frames: AtomicU64,
    pub(crate) audio_frames: AtomicU64,
    pub(crate) keyframes: AtomicU64,
    pub(crate) gop_last_ms: AtomicU64,
    pub(crate) gop_max_ms: AtomicU64,
    pub(crate) frame_rate_milli: AtomicU64,
    pub(crate) bits_per_second: AtomicU64,
    pub(crate) discontinuities: AtomicU64,
    pub(crate) publishers: AtomicU64,
    pub(crate) takeovers: AtomicU64,
    pub(crate) clock_drift_us: AtomicI64,
    pub(crate) audio_drift_us: AtomicI64,
    pub(crate) last_arrival_us: AtomicU64,
    pub(crate) skipped: AtomicU64,
    pub(crate) repairs: [AtomicU64; Repair::ALL.len()],
}

impl StreamStats {
    /// Payload bytes from publishers, those of left out samples included.
    pub fn bytes_in(&self) -> u64 {
        self.bytes_in.load(Ordering::Relaxed)
    }

    /// Pictures that went into the source feed.
    pub fn video_frames(&self) -> u64 {
        self.video_frames.load(Ordering::Relaxed)
    }

    /// Audio frames that went into the source feed.
    pub fn audio_frames(&self) -> u64 {
        self.audio_frames.load(Ordering::Relaxed)
    }

    /// Sync pictures among [`video_frames`](Self::video_frames).
    pub fn keyframes(&self) -> u64 {
        self.keyframes.load(Ordering::Relaxed)
    }

    /// Media time between the last two keyframes, milliseconds; 0 before the second keyframe.
    pub fn gop_last_ms(&self) -> u64 {
        self.gop_last_ms.load(Ordering::Relaxed)
    }

    /// The longest GOP so far, milliseconds; the one in work counts as soon as it is the longest.
    pub fn gop_max_ms(&self) -> u64 {
        self.gop_max_ms.load(Ordering::Relaxed)
    }

    /// Pictures a second x 1000, over about the last second of media; 0 while unknown.
    pub fn frame_rate_milli(&self) -> u64 {
        self.frame_rate_milli.load(Ordering::Relaxed)
    }

    /// Bits a second that arrived in the last whole window of at least one second; 0 while unknown.
    /// It keeps its last value when nothing arrives: look at [`last_arrival_us`](Self::last_arrival_us).
    pub fn bits_per_second(&self) -> u64 {
        self.bits_per_second.load(Ordering::Relaxed)
    }

    /// Discontinuities in the source feed.
    pub fn discontinuities(&self) -> u64 {
        self.discontinuities.load(Ordering::Relaxed)
    }

    /// Publishers that this stream has had; more than one means reconnects, or a backup.
    pub fn publishers(&self) -> u64 {
        self.publishers.load(Ordering::Relaxed)
    }

    /// How often one of two publishers took over from the other.
    pub fn takeovers(&self) -> u64 {
        self.takeovers.load(Ordering::Relaxed)
    }

    /// How far the media timeline has fallen behind (positive) or run ahead of (negative) the wall clock since the
    /// stream began, microseconds.
    pub fn clock_drift_us(&self) -> i64 {
        self.clock_drift_us.load(Ordering::Relaxed)
    }

    /// Smoothed distance of the publisher's audio timestamps from the count of audio samples, microseconds.
    pub fn audio_drift_us(&self) -> i64 {
        self.audio_drift_us.load(Ordering::Relaxed)
    }

    /// When the last sample arrived; 0 before the first.
    pub fn last_arrival_us(&self) -> Micros {
        self.last_arrival_us.load(Ordering::Relaxed)
    }

    /// Samples that readers of this stream's feeds lost by being slow, summed over readers.
    pub fn skipped(&self) -> u64 {
        self.skipped.load(Ordering::Relaxed)
    }

    /// How often this kind of repair was made.
    pub fn repairs(&self, kind: Repair) -> u64 {
        self.repairs[kind as usize].load(Ordering::Relaxed)
    }

    /// Repairs of all kinds.
    pub fn repairs_total(&self) -> u64 {
        Repair::ALL.iter().map(|&kind| self.repairs(kind)).sum()
    }

    pub(crate) fn count_repair(&self, kind: Repair) {
        self.repairs[kind as usize].fetch_add(1, Ordering::Relaxed);
    }
}
