//! The handle of one stream's ladder.

use std::sync::Arc;

use media::ladder::Rung;
use media::{FrameRate, Sample, Track};

use crate::shared::Shared;
use crate::{LadderEvent, LadderLimits, LadderStats, Permit};

/// Receives one rung. Called on the transcode thread: must not block.
pub trait RungSink: Send {
    /// The samples that follow are of this track. Called before the first sample, and again only if the encoder's
    /// configuration really differs.
    fn set_track(&mut self, track: Arc<Track>);
    /// One coded picture (or audio frame), times on the source's timeline.
    fn sample(&mut self, sample: Arc<Sample>);
    /// Samples are missing between the last and the next one; the next one is a sync sample.
    fn lost(&mut self);
    /// Nothing more will come.
    fn ended(&mut self);
}

/// What a ladder needs to start.
pub struct LadderSpec {
    /// Name of the stream in logs.
    pub label: String,
    /// Frame rate of the source, if known.
    pub frame_rate: Option<FrameRate>,
    /// The rungs, smallest first, and where each goes.
    pub rungs: Vec<(Rung, Box<dyn RungSink>)>,
    /// The share of the machine that was admitted for them.
    pub permit: Option<Permit>,
    /// Bounds and deadlines.
    pub limits: LadderLimits,
}

/// A running ladder. Dropping it stops the child in the background.
pub struct VideoLadder {
    pub(crate) shared: Arc<Shared>,
}

impl VideoLadder {
    /// Where the source's samples go.
    pub fn input(&self) -> LadderInput {
        LadderInput {
            shared: Arc::clone(&self.shared),
        }
    }

    /// Counters.
    pub fn stats(&self) -> &Arc<LadderStats> {
        &self.shared.stats
    }

    /// Names of the rungs that have not been dropped, smallest first.
    pub fn rungs(&self) -> Vec<String> {
        self.shared.rung_names()
    }

    /// Waits for the next event; `None` once the ladder has ended.
    pub async fn next_event(&self) -> Option<LadderEvent> {
        self.shared.next_event().await
    }

    /// Lets the child finish what it has, ends it, and returns when it is gone (at most about 2 s).
    pub async fn stop(self) {
        self.shared.request_stop();
        self.shared.ended().await;
    }
}

impl Drop for VideoLadder {
    fn drop(&mut self) {
        self.shared.request_stop();
    }
}

/// The input side of a ladder; cheap to clone, usable from any thread. No call waits.
#[derive(Clone)]
pub struct LadderInput {
    pub(crate) shared: Arc<Shared>,
}

impl LadderInput {
    /// The samples that follow are of this video track. A change of the codec configuration needs no new child.
    pub fn set_track(&self, track: &Track) {
        self.shared.set_track(track);
    }

    /// One source picture in decode order. With `force_idr` every rung has an IDR at its time (as it has at every
    /// source IDR).
    pub fn push(&self, sample: Arc<Sample>, force_idr: bool) {
        self.shared.push(sample, force_idr);
    }

    /// Pictures are missing before the next one (a reader that lagged); the rungs go on at the next IDR.
    pub fn discontinuity(&self) {
        self.shared.discontinuity();
    }
}
