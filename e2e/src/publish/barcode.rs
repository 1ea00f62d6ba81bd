//! A picture whose lower edge shows the wall clock as a Gray-code bar, so that a browser can read from its canvas how
//! old the frame is: glass to glass, with the same clock on both sides.
//!
//! The bar has [`CELLS`] cells over the whole width in the last eighth of the height: white, black (to find the levels),
//! then the Unix time in milliseconds modulo 2^[`BITS`], highest bit first, in Gray code: two neighbouring values differ
//! in one cell, so a blended or half-updated cell costs one millisecond, not thousands.

use std::io::Write as _;
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result};

use super::{LOOK_AHEAD, ffmpeg, video_options};

/// Bits of the clock: 1048 s until it repeats.
pub const BITS: usize = 20;
/// White, black, then the bits.
pub const CELLS: usize = BITS + 2;

/// What is drawn and how it is encoded, at 30 frames a second with an IDR every 2 s.
#[derive(Clone, Copy, Debug)]
pub struct Picture {
    /// Pixels.
    pub width: usize,
    /// Pixels.
    pub height: usize,
    /// For the encoder.
    pub bit_rate: &'static str,
    /// Between reference frames.
    pub b_frames: u32,
    /// No look-ahead: the encoder hands out a frame as soon as it has it, as the demo's does. Without it x264 holds
    /// about ten frames back, and that is part of what a viewer then waits.
    pub zero_latency: bool,
}

impl Picture {
    /// 640x360 without B-frames and without look-ahead.
    pub const SMALL: Self = Self {
        width: 640,
        height: 360,
        bit_rate: "800k",
        b_frames: 0,
        zero_latency: true,
    };
}

/// A publisher of such pictures with AAC beside.
#[derive(Debug)]
pub struct ClockPublisher {
    child: Child,
    stop: Arc<AtomicBool>,
    writer: Option<JoinHandle<()>>,
}

impl ClockPublisher {
    /// Starts.
    ///
    /// # Errors
    /// When FFmpeg cannot be started.
    pub fn start(url: &str, picture: Picture) -> Result<Self> {
        let Picture { width, height, .. } = picture;
        let mut command = ffmpeg();
        // Frames are stamped when they are drawn; the encoder adds what it adds.
        command.args([
            "-use_wallclock_as_timestamps",
            "1",
            "-f",
            "rawvideo",
            "-pix_fmt",
            "gray",
        ]);
        command.args([
            "-s",
            &format!("{width}x{height}"),
            "-r",
            "30",
            "-thread_queue_size",
            "4",
            "-i",
            "pipe:0",
        ]);
        // Not `-re`: sound on a pace of its own starts later than the pictures, and the muxer would hold them back for it.
        command.args(["-f", "lavfi", "-i", "sine=frequency=880:sample_rate=48000"]);
        video_options(&mut command, 60, picture.b_frames, picture.bit_rate);
        command.args(if picture.zero_latency {
            ["-tune", "zerolatency"]
        } else {
            LOOK_AHEAD
        });
        command.args([
            "-fps_mode",
            "passthrough",
            "-c:a",
            "aac",
            "-b:a",
            "96k",
            "-ac",
            "2",
            "-f",
            "flv",
            url,
        ]);
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let mut pipe = child.stdin.take().context("no pipe to ffmpeg")?;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let writer = std::thread::spawn(move || {
            let start = Instant::now();
            let mut frame = vec![0_u8; width * height];
            for number in 0_u64.. {
                let due = start + Duration::from_micros(number * 1_000_000 / 30);
                std::thread::sleep(due.saturating_duration_since(Instant::now()));
                if stopped.load(Ordering::Relaxed) {
                    break;
                }
                draw(&mut frame, width, height, number, now_ms());
                if pipe.write_all(&frame).is_err() {
                    break;
                }
            }
        });
        Ok(Self {
            child,
            stop,
            writer: Some(writer),
        })
    }
}

impl Drop for ClockPublisher {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = self.child.kill();
        let _ = self.child.wait();
        if let Some(writer) = self.writer.take() {
            let _ = writer.join();
        }
    }
}

/// Unix time in milliseconds.
#[must_use]
pub fn now_ms() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
}

/// A moving ramp, so that the encoder has work, with the bar below.
fn draw(frame: &mut [u8], width: usize, height: usize, number: u64, time_ms: u64) {
    let shift = usize::try_from(number % 256).unwrap_or(0);
    let bar = height - height / 8;
    for (y, row) in frame.chunks_mut(width).enumerate() {
        if y < bar {
            for (x, pixel) in row.iter_mut().enumerate() {
                *pixel = (32 + ((x + y + 2 * shift) & 0x7f)) as u8;
            }
        } else {
            for (x, pixel) in row.iter_mut().enumerate() {
                *pixel = if cell(x * CELLS / width, time_ms) { 235 } else { 16 };
            }
        }
    }
}

fn cell(index: usize, time_ms: u64) -> bool {
    match index {
        0 => true,
        1 => false,
        index => {
            let gray = time_ms ^ (time_ms >> 1);
            let value = time_ms & ((1 << BITS) - 1);
            // The top bit has no higher neighbour inside the bar.
            let gray = if index == 2 { value } else { gray };
            gray >> (BITS + 1 - index) & 1 == 1
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The same decoding as in `browser/lib.mjs`.
    fn decode(frame: &[u8], width: usize, height: usize) -> u64 {
        let row = (height - height / 16) * width;
        let mut bit = false;
        (2..CELLS).fold(0, |value, index| {
            bit ^= frame[row + (2 * index + 1) * width / (2 * CELLS)] > 125;
            value << 1 | u64::from(bit)
        })
    }

    #[test]
    fn the_clock_is_read_back() {
        let (width, height) = (640, 360);
        let mut frame = vec![0; width * height];
        for time_ms in [0, 1, 1023, 1024, 0xf_ffff, 0x10_0000, 1_763_661_234_567] {
            draw(&mut frame, width, height, 3, time_ms);
            assert_eq!(decode(&frame, width, height), time_ms & 0xf_ffff, "{time_ms}");
        }
    }
}
