//! One small picture of a stream, made when somebody asks and kept for a while.

use std::sync::Arc;

use bytes::Bytes;
use package::{LiveWindow, Role};
use tokio::sync::Mutex;
use transcode::Transcoder;

/// Width of a thumbnail in pixels.
const WIDTH: u32 = 480;
/// A picture is made anew after so many segments (10 s at the default length).
pub(crate) const SEGMENTS_PER_THUMBNAIL: u64 = 5;

/// The last picture, and the lock that lets only one be made at a time.
#[derive(Default)]
pub(crate) struct Thumbnails {
    last: Mutex<Option<(u64, Bytes)>>,
}

impl Thumbnails {
    /// A JPEG of the newest picture, at most [`SEGMENTS_PER_THUMBNAIL`] segments old; an older one if making fails.
    pub(crate) async fn get(
        &self,
        window: &Arc<LiveWindow>,
        transcoder: Option<&Transcoder>,
    ) -> Option<Bytes> {
        let mut last = self.last.lock().await;
        let current = newest(window);
        if let Some((version, picture)) = last.as_ref() {
            if current.as_ref().is_none_or(|(_, _, now)| now == version) {
                return Some(picture.clone());
            }
        }
        let (init, part, version) = current?;
        match transcoder?.thumbnail(init, part, WIDTH).await {
            Ok(picture) => {
                *last = Some((version, picture.clone()));
                Some(picture)
            }
            Err(error) => {
                tracing::debug!(channel = window.channel(), %error, "no thumbnail");
                last.as_ref().map(|(_, picture)| picture.clone())
            }
        }
    }
}

/// Counts up whenever a new picture can be made; `None` while there is none.
pub(crate) fn version(window: &LiveWindow) -> Option<u64> {
    newest(window).map(|(_, _, version)| version)
}

/// Init and first part of the newest independent picture, from the rendition with the fewest bytes to decode.
fn newest(window: &LiveWindow) -> Option<(Bytes, Bytes, u64)> {
    let logs = window.renditions();
    let log = logs
        .iter()
        .filter(|log| log.role() != Role::Audio)
        .min_by_key(|log| log.info().map_or(u64::MAX, |info| info.average_bitrate))?;
    let (init, part, msn) = log.latest_sync_part()?;
    Some((init, part, msn / SEGMENTS_PER_THUMBNAIL))
}
