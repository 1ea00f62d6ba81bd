//! The packager of one stream.

use std::sync::Arc;

use media::{Micros, Sample, Track};

use crate::config::{Notice, PackageConfig, Pushed, RenditionId, RenditionSpec};
use crate::window::LiveWindow;

/// Packages one stream. One owner drives it; readers share the [`LiveWindow`].
#[derive(Debug)]
pub struct Packager {
    config: PackageConfig,
    window: Arc<LiveWindow>,
}

impl Packager {
    /// A packager that appends to `window`.
    pub fn new(config: PackageConfig, window: Arc<LiveWindow>) -> Self {
        Self { config, window }
    }
    /// Adds a rendition; it is offered once it has media (the source: once the mode allows it).
    pub fn add_rendition(&mut self, spec: RenditionSpec) -> RenditionId {
        let _ = (&self.config, &self.window, spec);
        RenditionId(0)
    }
    /// Sets a rendition's track. A configuration that differs from the last starts a new epoch; the same is a no-op.
    pub fn set_track(&mut self, id: RenditionId, track: Arc<Track>) {
        let _ = (id, track);
    }
    /// Takes one sample.
    pub fn push(&mut self, id: RenditionId, sample: Arc<Sample>, now: Micros) -> Pushed {
        let _ = (id, sample, now);
        Pushed::default()
    }
    /// The rendition's timeline is interrupted before its next sample (publisher gone and back).
    pub fn discontinuity(&mut self, id: RenditionId) {
        let _ = id;
    }
    /// The rendition's encoder died: its segment in work becomes a gap, until it is back at a boundary.
    pub fn rendition_lost(&mut self, id: RenditionId) {
        let _ = id;
    }
    /// Takes the rendition out of the master playlist and ends its own.
    pub fn remove_rendition(&mut self, id: RenditionId) {
        let _ = id;
    }
    /// Whether an encoder stands ready; matters until the mode is decided.
    pub fn set_encoder_available(&mut self, available: bool) {
        self.config.encoder_available = available;
    }
    /// UTC, in milliseconds since 1970, of media time 0. May be called again as the clock map is refined.
    pub fn set_clock(&mut self, media0_utc_ms: i64) {
        let _ = media0_utc_ms;
    }
    /// Lets time pass: publishes what has waited too long.
    pub fn handle_timeout(&mut self, now: Micros) {
        let _ = now;
    }
    /// When `handle_timeout` wants to be called next.
    pub fn poll_timeout(&self) -> Option<Micros> {
        None
    }
    /// Something to tell, if there is.
    pub fn poll_notice(&mut self) -> Option<Notice> {
        None
    }
    /// Publishes what is left and ends every playlist.
    pub fn end(&mut self, now: Micros) {
        let _ = now;
    }
}
