//! The life of a child.

use std::sync::Arc;

use media::ladder::Rung;
use media::{FrameRate, Sample, Track};

use crate::{EncoderSettings, Ffmpeg, LadderEvent, LadderLimits, LadderStats, Permit, RungSink};

/// What a child does.
pub(crate) enum Job {
    Video {
        rungs: Vec<Rung>,
        frame_rate: Option<FrameRate>,
    },
    Audio,
}

pub(crate) struct Shared {
    pub(crate) stats: Arc<LadderStats>,
}

impl Shared {
    pub(crate) fn new(_label: String, _job: Job, _limits: LadderLimits) -> Self {
        Self {
            stats: Arc::default(),
        }
    }
    pub(crate) fn rung_names(&self) -> Vec<String> {
        Vec::new()
    }
    pub(crate) async fn next_event(&self) -> Option<LadderEvent> {
        None
    }
    pub(crate) fn request_stop(&self) {}
    pub(crate) async fn ended(&self) {}
    pub(crate) fn set_track(&self, _track: &Track) {}
    pub(crate) fn push(&self, _sample: Arc<Sample>, _force_idr: bool) {}
    pub(crate) fn discontinuity(&self) {}
}

pub(crate) async fn run(
    _shared: Arc<Shared>,
    _ffmpeg: Ffmpeg,
    _settings: EncoderSettings,
    _sinks: Vec<Box<dyn RungSink>>,
    _permit: Option<Permit>,
) {
}
