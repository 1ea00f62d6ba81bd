//! What a ladder tells its owner.

/// Why a child was replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RestartReason {
    /// It ended by itself or was killed from outside.
    Exited,
    /// Frames went in and none came back.
    Hung,
    /// What it wrote is not what was asked for.
    Garbage,
    /// It could not be started.
    SpawnFailed,
    /// The top rung was dropped because the machine is too slow.
    FellBehind,
    /// The source's time jumped backwards or ran out of the FLV range.
    Timeline,
}

impl RestartReason {
    /// All of them, in the order of the counters.
    pub const ALL: [Self; 6] = [
        Self::Exited,
        Self::Hung,
        Self::Garbage,
        Self::SpawnFailed,
        Self::FellBehind,
        Self::Timeline,
    ];

    /// Label for metrics and logs.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Exited => "exited",
            Self::Hung => "hung",
            Self::Garbage => "garbage",
            Self::SpawnFailed => "spawn_failed",
            Self::FellBehind => "fell_behind",
            Self::Timeline => "timeline",
        }
    }

    /// Whether it is the child's fault and counts towards giving up.
    pub(crate) const fn is_failure(self) -> bool {
        !matches!(self, Self::FellBehind | Self::Timeline)
    }
}

/// A change that the owner of a stream should know of and may show. `text` is a plain sentence for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LadderEvent {
    /// The child is being replaced; the rungs go on by themselves.
    Restarting {
        /// Why.
        reason: RestartReason,
        /// What happened, with the last words of FFmpeg if there were any.
        text: String,
    },
    /// Frames flow again after a restart (clear the notice of `Restarting`).
    Recovered,
    /// These rungs are gone for the rest of the ladder's life; their sinks got `ended`.
    RungsDropped {
        /// Names of the rungs.
        rungs: Vec<String>,
        /// Why.
        text: String,
    },
    /// No rung is left. Only the source can be offered.
    GaveUp {
        /// Why.
        text: String,
    },
}
