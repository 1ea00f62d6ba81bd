//! Counters of one child's life, read by metrics at any time.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use crate::RestartReason;

/// Counters and gauges of one ladder or audio transcode. All counts since its start, over all restarts.
#[derive(Debug, Default)]
pub struct LadderStats {
    /// Real-time factor as FFmpeg reports it, in thousandths; 0 = not known yet. Live it settles at 1000.
    pub speed_milli: AtomicU32,
    /// Media time between the newest sample in and the newest frame out of the slowest rung, in milliseconds.
    pub lag_ms: AtomicU64,
    /// Samples accepted.
    pub frames_in: AtomicU64,
    /// Frames delivered to the sinks, all rungs together.
    pub frames_out: AtomicU64,
    /// Bytes delivered to the sinks.
    pub bytes_out: AtomicU64,
    /// Samples dropped because the backlog was full.
    pub frames_dropped: AtomicU64,
    /// Frames that came back with a time that was never sent.
    pub frames_unmatched: AtomicU64,
    /// Bytes waiting to be written to the child.
    pub queue_bytes: AtomicU64,
    /// Rungs being encoded now.
    pub rungs_active: AtomicU32,
    /// Process id of the child, 0 = none.
    pub pid: AtomicU32,
    /// Warnings and errors on stderr.
    pub log_lines: AtomicU64,
    restarts: [AtomicU64; RestartReason::ALL.len()],
}

impl LadderStats {
    /// Restarts for `reason`.
    pub fn restarts(&self, reason: RestartReason) -> u64 {
        self.restarts[reason as usize].load(Ordering::Relaxed)
    }

    /// Restarts for any reason.
    pub fn restarts_total(&self) -> u64 {
        RestartReason::ALL
            .into_iter()
            .map(|reason| self.restarts(reason))
            .sum()
    }

    pub(crate) fn count_restart(&self, reason: RestartReason) {
        self.restarts[reason as usize].fetch_add(1, Ordering::Relaxed);
    }
}
