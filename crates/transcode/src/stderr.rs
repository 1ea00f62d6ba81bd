//! What FFmpeg says about itself: stderr and progress.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, BufReader};

use crate::LadderStats;

/// Lines kept for the text of an error.
const KEPT_LINES: usize = 6;

/// Longest line kept, bytes.
const LINE_BYTES_MAX: usize = 400;

/// Lines logged in [`LOG_INTERVAL`]; the others are counted.
const LOG_LINES_MAX: u32 = 8;
const LOG_INTERVAL: Duration = Duration::from_secs(10);

/// Normal with a small `-probesize` (the frame rate is given to the encoder instead) and when output is not seekable.
const HARMLESS: [&str; 5] = [
    "not enough frames to estimate rate",
    "Could not find codec parameters",
    "Consider increasing the value for the 'analyzeduration'",
    "Failed to update header with correct",
    "deprecated pixel format used",
];

/// The last lines of one child.
#[derive(Clone, Default)]
pub(crate) struct LastWords(Arc<Mutex<VecDeque<String>>>);

impl LastWords {
    fn add(&self, line: &str) {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.len() == KEPT_LINES {
            lines.pop_front();
        }
        lines.push_back(line.to_owned());
    }

    /// The last error, or the last line; `None` if it was silent.
    pub(crate) fn text(&self) -> Option<String> {
        let lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let wanted = lines
            .iter()
            .rev()
            .find(|line| line.contains("[error]") || line.contains("[fatal]"));
        wanted.or(lines.back()).cloned()
    }
}

/// Reads stderr to its end.
pub(crate) async fn read(
    stderr: impl AsyncRead + Unpin,
    label: String,
    stats: Arc<LadderStats>,
    words: LastWords,
) {
    let mut reader = BufReader::new(stderr);
    let mut line = Vec::new();
    let (mut window, mut logged, mut suppressed) = (Instant::now(), 0_u32, 0_u64);
    loop {
        line.clear();
        let limit = u64::try_from(LINE_BYTES_MAX).unwrap_or(u64::MAX);
        match (&mut reader).take(limit).read_until(b'\n', &mut line).await {
            Ok(0) | Err(_) => break,
            Ok(_) => {}
        }
        let text = String::from_utf8_lossy(&line);
        let text = text.trim();
        if text.is_empty() || HARMLESS.iter().any(|harmless| text.contains(harmless)) {
            continue;
        }
        stats.log_lines.fetch_add(1, Ordering::Relaxed);
        words.add(text);
        if window.elapsed() > LOG_INTERVAL {
            (window, logged) = (Instant::now(), 0);
        }
        if logged == LOG_LINES_MAX {
            suppressed += 1;
            continue;
        }
        logged += 1;
        if text.contains("[error]") || text.contains("[fatal]") {
            tracing::warn!(stream = label, line = text, suppressed, "ffmpeg");
        } else {
            tracing::debug!(stream = label, line = text, suppressed, "ffmpeg");
        }
        suppressed = 0;
    }
}

/// Reads the blocks of `-progress` to their end.
pub(crate) async fn read_progress(progress: impl AsyncRead + Unpin, stats: Arc<LadderStats>) {
    let mut reader = BufReader::with_capacity(1024, progress);
    let mut line = Vec::new();
    loop {
        line.clear();
        match (&mut reader).take(1024).read_until(b'\n', &mut line).await {
            Ok(0) | Err(_) => break,
            Ok(_) => {}
        }
        if let Some(speed) = parse_speed(&line) {
            stats.speed_milli.store(speed, Ordering::Relaxed);
        }
    }
}

/// `speed=1.01x` in thousandths.
fn parse_speed(line: &[u8]) -> Option<u32> {
    let text = std::str::from_utf8(line).ok()?.trim();
    let number = text.strip_prefix("speed=")?.trim().strip_suffix('x')?;
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let whole: u32 = whole.parse().ok()?;
    let digits: String = fraction.chars().chain("000".chars()).take(3).collect();
    whole.checked_mul(1000)?.checked_add(digits.parse().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn speed_is_parsed() {
        for (line, expected) in [
            ("speed=1.01x\n", Some(1010)),
            ("speed=   2x\n", Some(2000)),
            ("speed=0.987x", Some(987)),
            ("speed=N/A\n", None),
            ("speed=1e+03x\n", None),
            ("fps=30.0\n", None),
            ("speed=99999999999x", None),
        ] {
            assert_eq!(parse_speed(line.as_bytes()), expected, "{line:?}");
        }
    }

    #[test]
    fn last_words_prefer_errors_and_are_bounded() {
        let words = LastWords::default();
        assert_eq!(words.text(), None);
        words.add("[x] [error] bad");
        words.add("[warning] later");
        assert_eq!(words.text().as_deref(), Some("[x] [error] bad"));
        for _ in 0..100 {
            words.add("[warning] noise");
        }
        assert_eq!(words.text().as_deref(), Some("[warning] noise"));
    }
}
