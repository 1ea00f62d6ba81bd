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
    last: Mutex<Last>,
}

#[derive(Default)]
struct Last {
    /// The version last tried.
    version: Option<u64>,
    picture: Option<Bytes>,
}

impl Thumbnails {
    /// A JPEG of the newest picture, at most [`SEGMENTS_PER_THUMBNAIL`] segments old; an older one if making fails.
    pub(crate) async fn get(
        &self,
        window: &Arc<LiveWindow>,
        transcoder: Option<&Transcoder>,
    ) -> Option<Bytes> {
        let version = version(window).filter(|_| transcoder.is_some());
        self.of_version(version, async || {
            let (init, part, _) = newest(window)?;
            let made = transcoder?.thumbnail(init, part, WIDTH).await;
            made.inspect_err(|error| tracing::debug!(channel = window.channel(), %error, "no thumbnail"))
                .ok()
        })
        .await
    }

    /// Makes the picture of a version once, also if that fails: many may ask, and the next version comes soon.
    async fn of_version(
        &self,
        version: Option<u64>,
        make: impl AsyncFnOnce() -> Option<Bytes>,
    ) -> Option<Bytes> {
        let mut last = self.last.lock().await;
        if version.is_some() && last.version != version {
            let made = make().await;
            last.version = version;
            last.picture = made.or(last.picture.take());
        }
        last.picture.clone()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_version_is_tried_once() {
        let thumbnails = Thumbnails::default();
        let picture = |text: &'static str| Some(Bytes::from_static(text.as_bytes()));
        let never = async || -> Option<Bytes> { panic!("made again") };
        assert_eq!(thumbnails.of_version(None, never).await, None);
        assert_eq!(thumbnails.of_version(Some(0), async || None).await, None);
        assert_eq!(thumbnails.of_version(Some(0), never).await, None);
        assert_eq!(
            thumbnails.of_version(Some(1), async || picture("one")).await,
            picture("one")
        );
        assert_eq!(thumbnails.of_version(Some(1), never).await, picture("one"));
        assert_eq!(
            thumbnails.of_version(Some(2), async || None).await,
            picture("one")
        );
        assert_eq!(thumbnails.of_version(None, never).await, picture("one"));
    }
}
