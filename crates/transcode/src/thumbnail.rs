//! One picture as JPEG.

use std::time::Duration;

use bytes::Bytes;

use crate::Ffmpeg;

/// Longest time for one picture.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(5);

/// Why there is no picture.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ThumbnailError {
    /// FFmpeg could not be started or spoken to.
    #[error("FFmpeg could not be started for a thumbnail: {0}")]
    Io(#[from] std::io::Error),
    /// It took too long.
    #[error("no thumbnail after {} s", TIMEOUT.as_secs())]
    Timeout,
    /// FFmpeg found no picture.
    #[error("FFmpeg made no thumbnail: {0}")]
    Failed(String),
    /// The transcoder is being stopped.
    #[error("the transcoder is stopping")]
    Stopped,
}

pub(crate) async fn make(
    ffmpeg: &Ffmpeg,
    init: &Bytes,
    part: &Bytes,
    width: u32,
) -> Result<Bytes, ThumbnailError> {
    let _ = (ffmpeg, init, part, width);
    Err(ThumbnailError::Stopped)
}
