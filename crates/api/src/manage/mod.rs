//! What needs a token: channels, keys, tokens, streams and their figures, events.
//!
//! Every operation is called with a bearer token in a header of its own, which no browser adds by itself: there is no cookie
//! for a foreign page to ride on.

mod account;
mod channels;
mod events;
mod history;
mod keys;
mod publish;
mod streams;
mod views;
mod webhooks;

use std::sync::Arc;

use platform::{Channel, Platform};
use tokio::sync::watch;

use crate::idempotency::Answers;
use crate::operation::Operation;
use crate::sse::Desk;
use crate::view::ChannelView;

pub(crate) use history::History;
pub use views::{EncoderStats, RenditionStats, StreamStats};
pub(crate) use webhooks::event_body;

/// What the program does for the management part. Called from all cores; answers at once, from memory.
pub trait Control: Send + Sync + 'static {
    /// The channel with what is on it, private or not.
    fn view(&self, channel: &Channel) -> ChannelView;

    /// Ids and figures of all streams that run.
    fn running(&self) -> Vec<(String, StreamStats)>;

    /// The figures of one stream, while it runs.
    fn stats(&self, stream_id: &str) -> Option<StreamStats>;

    /// Where the stream's publisher comes from, while it runs.
    fn publisher_address(&self, stream_id: &str) -> Option<String>;

    /// Tells the stream's publisher that an operator ends the stream, and ends it. `false`: no such stream runs.
    fn stop(&self, stream_id: &str) -> bool;
}

/// Ports on which publishers are taken; `None`: not at all.
#[derive(Clone, Copy, Debug, Default)]
pub struct PublishPorts {
    /// RTMP.
    pub rtmp: Option<u16>,
    /// RTMP over TLS.
    pub rtmps: Option<u16>,
    /// SRT.
    pub srt: Option<u16>,
}

/// What managed operations work on.
pub(crate) struct Management {
    pub(crate) platform: Platform,
    pub(crate) control: Arc<dyn Control>,
    pub(crate) ports: PublishPorts,
    pub(crate) once: Arc<Answers>,
    pub(crate) desk: Desk,
    pub(crate) history: Arc<History>,
    /// Sequence number of the newest event that is known.
    pub(crate) newest_event: watch::Sender<i64>,
}

impl Management {
    pub(crate) fn new(platform: Platform, control: Arc<dyn Control>, ports: PublishPorts) -> Self {
        Self {
            platform,
            control,
            ports,
            once: Arc::default(),
            desk: Desk::default(),
            history: Arc::default(),
            newest_event: watch::Sender::new(0),
        }
    }
}

/// All operations that need a token.
pub(crate) fn operations() -> Vec<Operation> {
    [
        account::operations(),
        channels::operations(),
        keys::operations(),
        streams::operations(),
        events::operations(),
        publish::operations(),
        webhooks::operations(),
    ]
    .concat()
}
