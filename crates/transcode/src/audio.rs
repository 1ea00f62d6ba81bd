//! Audio that players do not take, turned into AAC.

use std::sync::Arc;

use media::{Sample, Track};

use crate::shared::Shared;
use crate::{LadderEvent, LadderStats};

/// A running audio transcode to AAC-LC 128 kb/s. Dropping it stops the child in the background.
pub struct AudioToAac {
    pub(crate) shared: Arc<Shared>,
}

impl AudioToAac {
    /// Where the source's audio frames go.
    pub fn input(&self) -> AudioInput {
        AudioInput {
            shared: Arc::clone(&self.shared),
        }
    }

    /// Counters.
    pub fn stats(&self) -> &Arc<LadderStats> {
        &self.shared.stats
    }

    /// Waits for the next event; `None` once it has ended.
    pub async fn next_event(&self) -> Option<LadderEvent> {
        self.shared.next_event().await
    }

    /// Lets the child finish what it has, ends it, and returns when it is gone.
    pub async fn stop(self) {
        self.shared.request_stop();
        self.shared.ended().await;
    }
}

impl Drop for AudioToAac {
    fn drop(&mut self) {
        self.shared.request_stop();
    }
}

/// The input side; no call waits.
#[derive(Clone)]
pub struct AudioInput {
    shared: Arc<Shared>,
}

impl AudioInput {
    /// The frames that follow are of this audio track (MP3).
    pub fn set_track(&self, track: &Track) {
        self.shared.set_track(track);
    }

    /// One audio frame.
    pub fn push(&self, sample: Arc<Sample>) {
        self.shared.push(sample, false);
    }

    /// Frames are missing before the next one.
    pub fn discontinuity(&self) {
        self.shared.discontinuity();
    }
}
