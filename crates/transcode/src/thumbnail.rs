//! One picture as JPEG.

use std::process::Stdio;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use crate::Ffmpeg;
use crate::process::{command, describe};

/// Longest time for one picture.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Largest picture that is taken.
const JPEG_BYTES_MAX: u64 = 2 << 20;

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

/// Must run on the thread that may spawn.
pub(crate) async fn make(
    ffmpeg: &Ffmpeg,
    init: &Bytes,
    part: &Bytes,
    width: u32,
) -> Result<Bytes, ThumbnailError> {
    // Frames of one thread: the first picture must come out without waiting for others.
    let scale = format!("scale={}:-2:out_range=pc,setsar=1", width.clamp(16, 4096) & !1);
    let args = [
        "-hide_banner",
        "-loglevel",
        "error",
        "-threads",
        "1",
        "-f",
        "mp4",
        "-i",
        "pipe:0",
        "-map",
        "0:v:0",
        "-frames:v",
        "1",
        "-vf",
        &scale,
        "-pix_fmt",
        "yuvj420p",
        "-c:v",
        "mjpeg",
        "-q:v",
        "5",
        "-threads",
        "1",
        "-f",
        "mjpeg",
        "pipe:1",
    ];
    let mut command = command(ffmpeg.path(), args);
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = tokio::process::Command::from(command)
        .kill_on_drop(true)
        .spawn()?;
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let feed = async {
        if let Some(mut stdin) = stdin {
            // FFmpeg stops reading after the first picture: a broken pipe is no error.
            let _ = stdin.write_all(init).await;
            let _ = stdin.write_all(part).await;
        }
    };
    let (mut jpeg, mut words) = (Vec::new(), String::new());
    let read = async {
        if let Some(stdout) = stdout {
            stdout.take(JPEG_BYTES_MAX).read_to_end(&mut jpeg).await?;
        }
        Ok::<_, std::io::Error>(())
    };
    let listen = async {
        if let Some(stderr) = stderr {
            // Only for the text of the error.
            let _ = stderr.take(4096).read_to_string(&mut words).await;
        }
    };
    let work = async {
        let ((), read, ()) = tokio::join!(feed, read, listen);
        read?;
        child.wait().await
    };
    let status = timeout(TIMEOUT, work)
        .await
        .map_err(|_| ThumbnailError::Timeout)??;
    if !status.success() || !jpeg.starts_with(&[0xff, 0xd8]) {
        let last = words.lines().last().unwrap_or("it said nothing");
        return Err(ThumbnailError::Failed(format!("it {}: {last}", describe(status))));
    }
    Ok(Bytes::from(jpeg))
}
