//! What the server asks the rest of the program.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use package::LiveWindow;
use store::{StoreError, StoredTitle};

/// A JPEG picture of a channel, when it is ready; `None` if there is none.
pub type Thumbnail = Pin<Box<dyn Future<Output = Option<Bytes>> + Send>>;

/// A title being looked for; `None` if there is none that the viewer may watch.
pub type FindingTitle = Pin<Box<dyn Future<Output = Result<Option<Arc<StoredTitle>>, StoreError>> + Send>>;

/// On whose behalf a request is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Viewer {
    /// Somebody.
    Anyone,
    /// Somebody whose token opens what is asked for.
    Granted,
}

/// Where live media comes from. Called for every media request, from all cores: answers at once, from memory.
pub trait Streams: Send + Sync + 'static {
    /// The window of the channel's current stream, also of one that ended a moment ago. `None` too if `viewer` may not
    /// watch it: that is answered like a channel that is not live.
    fn window(&self, channel: &str, viewer: Viewer) -> Option<Arc<LiveWindow>>;

    /// A recent picture of the channel, if `viewer` may watch it. The server gives up on it after its API timeout.
    fn thumbnail(&self, channel: &str, viewer: Viewer) -> Thumbnail;

    /// The title of that id, if `viewer` may watch it. Unlike the others it may have to ask the disk.
    fn title(&self, _id: &str, _viewer: Viewer) -> FindingTitle {
        Box::pin(std::future::ready(Ok(None)))
    }
}
