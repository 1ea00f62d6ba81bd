//! What the server asks the rest of the program.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use package::LiveWindow;
use store::{StoreError, StoredTitle};

/// A JPEG picture of a channel, when it is ready; `None` if there is none.
pub type Thumbnail = Pin<Box<dyn Future<Output = Option<Bytes>> + Send>>;

/// A title being looked for; `None` if there is none that everybody may watch.
pub type FindingTitle = Pin<Box<dyn Future<Output = Result<Option<Arc<StoredTitle>>, StoreError>> + Send>>;

/// Where live media comes from. Called for every media request, from all cores: answers at once, from memory.
pub trait Streams: Send + Sync + 'static {
    /// The window of the channel's current stream, also of one that ended a moment ago.
    fn window(&self, channel: &str) -> Option<Arc<LiveWindow>>;

    /// A recent picture of the channel. The server gives up on it after its API timeout.
    fn thumbnail(&self, channel: &str) -> Thumbnail;

    /// Anyone may watch the channel. `false` is answered like a channel that is not live.
    fn allow_view(&self, channel: &str) -> bool;

    /// The title of that id. Unlike the others it may have to ask the disk.
    fn title(&self, _id: &str) -> FindingTitle {
        Box::pin(std::future::ready(Ok(None)))
    }
}
