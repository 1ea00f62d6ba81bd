//! Encoders: FFmpeg with any trouble a test asks for, and a picture that carries the wall clock for machines.

pub mod barcode;

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};

/// What to publish. The default is 640x360p30 with a GOP of 2 s, two B-frames, and AAC.
#[derive(Clone, Debug)]
pub struct Source {
    /// Width and height; `None` leaves video out.
    pub video: Option<(u32, u32)>,
    /// AAC at 48 kHz.
    pub audio: bool,
    /// Frames per second, as FFmpeg takes it (`30`, `30000/1001`).
    pub rate: &'static str,
    /// Frames from IDR to IDR.
    pub gop: u32,
    /// B-frames between reference frames.
    pub b_frames: u32,
    /// Video bit rate.
    pub bit_rate: &'static str,
    /// More output options.
    pub extra: Vec<String>,
}

impl Default for Source {
    fn default() -> Self {
        Self {
            video: Some((640, 360)),
            audio: true,
            rate: "30",
            gop: 60,
            b_frames: 2,
            bit_rate: "800k",
            extra: Vec::new(),
        }
    }
}

/// A running encoder. Dropping it kills it, as a lost connection does.
#[derive(Debug)]
pub struct Publisher {
    child: Child,
}

impl Source {
    /// Starts to publish to `url`.
    ///
    /// # Errors
    /// When FFmpeg cannot be started.
    pub fn publish(&self, url: &str) -> Result<Publisher> {
        let mut command = ffmpeg();
        if let Some((width, height)) = self.video {
            let picture = format!("testsrc2=size={width}x{height}:rate={}", self.rate);
            command.args(["-re", "-f", "lavfi", "-i", &picture]);
        }
        if self.audio {
            command.args(["-re", "-f", "lavfi", "-i", "sine=frequency=440:sample_rate=48000"]);
        }
        if self.video.is_some() {
            video_options(&mut command, self.gop, self.b_frames, self.bit_rate);
            command.args(LOOK_AHEAD);
        }
        if self.audio {
            command.args(["-c:a", "aac", "-b:a", "96k", "-ac", "2"]);
        }
        command.args(&self.extra).args(["-f", "flv", url]);
        spawn(&mut command)
    }
}

/// Publishes what is in `inputs` (MPEG-TS files, one after the other on one timeline) without encoding it again: a
/// change of resolution between two files is a new codec configuration in the same connection.
///
/// # Errors
/// When FFmpeg cannot be started.
pub fn publish_files(inputs: &[std::path::PathBuf], url: &str) -> Result<Publisher> {
    let list: Vec<String> = inputs.iter().map(|file| file.display().to_string()).collect();
    let mut command = ffmpeg();
    command.args(["-re", "-f", "mpegts", "-i", &format!("concat:{}", list.join("|"))]);
    command.args(["-c", "copy", "-bsf:v", "extract_extradata", "-f", "flv", url]);
    spawn(&mut command)
}

/// `ffmpeg` that says only errors.
#[must_use]
pub fn ffmpeg() -> Command {
    let mut command = Command::new("ffmpeg");
    command.args(["-hide_banner", "-nostdin", "-loglevel", "error"]);
    command
}

/// What an encoder that is not set for low latency looks ahead, frames.
pub(crate) const LOOK_AHEAD: [&str; 2] = ["-rc-lookahead", "10"];

pub(crate) fn video_options(command: &mut Command, gop: u32, b_frames: u32, bit_rate: &str) {
    command.args([
        "-pix_fmt",
        "yuv420p",
        "-c:v",
        "libx264",
        "-preset",
        "superfast",
        "-profile:v",
        "main",
    ]);
    command.args(["-bf", &b_frames.to_string(), "-g", &gop.to_string()]);
    command.args(["-keyint_min", &gop.to_string(), "-sc_threshold", "0"]);
    command.args(["-b:v", bit_rate, "-maxrate", bit_rate, "-bufsize", bit_rate]);
}

fn spawn(command: &mut Command) -> Result<Publisher> {
    let child = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn();
    Ok(Publisher {
        child: child.context("cannot start ffmpeg")?,
    })
}

impl Publisher {
    /// Stops as a person does: FFmpeg says that it is done (FCUnpublish, deleteStream).
    ///
    /// # Errors
    /// When it does not end in 10 seconds.
    pub fn finish(mut self) -> Result<()> {
        kill_process(Pid::from_child(&self.child), Signal::INT)?;
        self.wait(Duration::from_secs(10)).map(drop)
    }

    /// Waits until the encoder gives up, and returns what it complained about.
    ///
    /// # Errors
    /// When it is still running after `within`.
    pub fn wait(&mut self, within: Duration) -> Result<String> {
        let deadline = Instant::now() + within;
        while matches!(self.child.try_wait(), Ok(None)) {
            ensure!(
                Instant::now() < deadline,
                "the encoder is still running after {within:?}"
            );
            std::thread::sleep(Duration::from_millis(30));
        }
        let mut text = String::new();
        if let Some(mut stderr) = self.child.stderr.take() {
            std::io::Read::read_to_string(&mut stderr, &mut text)?;
        }
        Ok(text)
    }

    /// Whether it still publishes.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// `(codec_type, codec_name, width, height, packets)`.
pub type Probed = (String, String, u64, u64, u64);

/// The streams that `ffprobe` finds after reading `seconds` of `url`: `(codec_type, codec_name, width, height, packets)`.
///
/// # Errors
/// When it cannot play it, with its words.
pub fn ffprobe(url: &str, seconds: u32) -> Result<Vec<Probed>> {
    let mut command = Command::new("ffprobe");
    command.args([
        "-v",
        "error",
        "-count_packets",
        "-read_intervals",
        &format!("%+{seconds}"),
        "-of",
        "json",
    ]);
    command.args([
        "-show_entries",
        "stream=codec_type,codec_name,width,height,nb_read_packets",
        url,
    ]);
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let deadline = Instant::now() + Duration::from_secs(u64::from(seconds) + 30);
    while matches!(child.try_wait(), Ok(None)) {
        if Instant::now() > deadline {
            let _ = child.kill();
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    let out = child.wait_with_output()?;
    let complaint = String::from_utf8_lossy(&out.stderr).into_owned();
    ensure!(out.status.success(), "ffprobe {url}: {}\n{complaint}", out.status);
    let answer: serde_json::Value = serde_json::from_slice(&out.stdout)?;
    let streams = answer["streams"]
        .as_array()
        .context("ffprobe printed no streams")?;
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    Ok(streams
        .iter()
        .map(|stream| {
            let packets = stream["nb_read_packets"]
                .as_str()
                .and_then(|count| count.parse().ok())
                .unwrap_or(0);
            let (width, height) = (
                stream["width"].as_u64().unwrap_or(0),
                stream["height"].as_u64().unwrap_or(0),
            );
            (
                text(&stream["codec_type"]),
                text(&stream["codec_name"]),
                width,
                height,
                packets,
            )
        })
        .collect())
}
