//! What the rest of the process may see of one stream.

use std::sync::{Arc, Mutex, PoisonError};

use event_listener::Event;
use hub::Stream;
use package::LiveWindow;
use transcode::LadderStats;

use crate::thumbnail::Thumbnails;

/// One stream with its window, shared with delivery, pages and metrics.
pub struct Broadcast {
    /// The stream in the hub.
    pub stream: Arc<Stream>,
    /// What viewers can fetch.
    pub window: Arc<LiveWindow>,
    pub(crate) thumbnails: Thumbnails,
    ladder: Mutex<LadderView>,
    changed: Arc<Event>,
}

/// The ladder of a stream as metrics and pages see it.
#[derive(Clone, Debug, Default)]
pub struct LadderView {
    /// Counters of the video child, once one was started.
    pub video: Option<Arc<LadderStats>>,
    /// Counters of the audio child, once one was started.
    pub audio: Option<Arc<LadderStats>>,
    /// Rungs that fit the source but not this machine.
    pub left_out: Vec<String>,
    /// Rungs that were dropped while the stream ran.
    pub dropped: Vec<String>,
}

impl Broadcast {
    pub(crate) fn new(stream: Arc<Stream>, changed: Arc<Event>) -> Arc<Self> {
        let window = LiveWindow::new(stream.channel(), stream.id());
        Arc::new(Self {
            stream,
            window,
            thumbnails: Thumbnails::default(),
            ladder: Mutex::default(),
            changed,
        })
    }

    /// The ladder now.
    pub fn ladder(&self) -> LadderView {
        self.ladder.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Says that what people see of the stream has changed.
    pub(crate) fn touch(&self) {
        self.changed.notify(usize::MAX);
    }

    pub(crate) fn update_ladder(&self, change: impl FnOnce(&mut LadderView)) {
        change(&mut self.ladder.lock().unwrap_or_else(PoisonError::into_inner));
    }
}
