//! What the operator can choose.

use std::time::Duration;

/// How the encoders run (`streaming.encoder`).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct EncoderSettings {
    /// x264 preset: `ultrafast` .. `veryslow`.
    pub preset: String,
    /// x264 tune. `zerolatency` means no look-ahead and no B-frames: the encoder holds no frame back.
    pub tune: String,
    /// Threads of each encoder; 0 = FFmpeg chooses.
    pub threads: u32,
}

impl Default for EncoderSettings {
    fn default() -> Self {
        Self {
            preset: "superfast".to_owned(),
            tune: "zerolatency".to_owned(),
            threads: 0,
        }
    }
}

/// How much of the machine the encoders may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BudgetSettings {
    /// Real-time factor that must remain when all admitted rungs run, in percent: 150 = 1.5x.
    pub headroom_percent: u32,
    /// Most transcoded rungs of one stream.
    pub rungs_max: usize,
}

impl Default for BudgetSettings {
    fn default() -> Self {
        Self {
            headroom_percent: 150,
            rungs_max: 8,
        }
    }
}

/// Bounds and deadlines of one ladder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LadderLimits {
    /// Bytes kept for a child: not yet written, or kept for a restart.
    pub backlog_bytes_max: usize,
    /// Media time of samples that wait to be written; more is dropped up to the next IDR.
    pub backlog_time_max: Duration,
    /// No frame back for so long while frames go in: the child hangs.
    pub hang_after: Duration,
    /// As `hang_after`, before a child gave its first frame.
    pub first_frame_after: Duration,
    /// Distance between the newest sample in and the newest frame out that counts as behind.
    pub behind_after: Duration,
    /// Behind for so long without catching up: the top rung is dropped.
    pub behind_for: Duration,
    /// After a failure, missing frames are made good if they span no more than this; else the rungs go on at the
    /// newest boundary.
    pub replay_max: Duration,
    /// Wait before restart number n after the first (which is immediate) is `backoff_first << n`.
    pub backoff_first: Duration,
    /// Longest wait before a restart.
    pub backoff_max: Duration,
    /// Failures in a row, without `healthy_after` between them, that halve the number of rungs.
    pub failures_max: u32,
    /// A child that delivered for so long ends a row of failures.
    pub healthy_after: Duration,
    /// Wait after closing stdin before SIGTERM, and after that before SIGKILL.
    pub stop_step: Duration,
}

impl Default for LadderLimits {
    fn default() -> Self {
        Self {
            backlog_bytes_max: 64 << 20,
            backlog_time_max: Duration::from_secs(6),
            hang_after: Duration::from_millis(800),
            first_frame_after: Duration::from_secs(4),
            behind_after: Duration::from_millis(1500),
            behind_for: Duration::from_secs(3),
            replay_max: Duration::from_secs(4),
            backoff_first: Duration::from_millis(250),
            backoff_max: Duration::from_secs(15),
            failures_max: 3,
            healthy_after: Duration::from_secs(3),
            stop_step: Duration::from_secs(1),
        }
    }
}
