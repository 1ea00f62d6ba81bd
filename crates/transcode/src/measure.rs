//! Proving by short real encodes what this machine can do.

use std::path::Path;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::oneshot::{Ran, run};
use crate::{CostTable, EncoderSettings, Ffmpeg, MeasuredRung};

/// The sizes measured, and of how many frames the encode is.
const SIZES: [(u32, u32, u32); 5] = [
    (426, 240, 60),
    (854, 480, 45),
    (1280, 720, 30),
    (1920, 1080, 16),
    (3840, 2160, 6),
];

/// Size of the test picture; larger rungs are scaled up from it, as making it costs more than encoding it.
const PATTERN: (u32, u32) = (1280, 720);

/// Longest time for one run.
const RUN_MAX: Duration = Duration::from_secs(6);

/// After this much time larger sizes are not measured but extrapolated.
const TOTAL_MAX: Duration = Duration::from_secs(6);

/// Why the costs could not be measured or kept.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CostError {
    /// FFmpeg did not do a test encode.
    #[error("the test encode of {width}x{height} failed: {detail}")]
    Encode {
        /// Picture width.
        width: u32,
        /// Picture height.
        height: u32,
        /// Last words of FFmpeg.
        detail: String,
    },
    /// The file could not be written.
    #[error("the measured encoder costs could not be kept: {0}")]
    Save(#[from] std::io::Error),
}

/// What a measurement holds for.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Key {
    ffmpeg: String,
    processor: String,
    cores: u32,
    preset: String,
    tune: String,
    threads: u32,
}

#[derive(Serialize, Deserialize)]
struct Kept {
    key: Key,
    table: CostTable,
}

impl Key {
    fn new(ffmpeg: &Ffmpeg, settings: &EncoderSettings) -> Self {
        Self {
            ffmpeg: ffmpeg.version().to_owned(),
            processor: processor(),
            cores: cores(),
            preset: settings.preset.clone(),
            tune: settings.tune.clone(),
            threads: settings.threads,
        }
    }
}

/// CPU cores that this process may use.
pub(crate) fn cores() -> u32 {
    std::thread::available_parallelism().map_or(1, |cores| u32::try_from(cores.get()).unwrap_or(u32::MAX))
}

fn processor() -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let line = info.lines().find(|line| line.starts_with("model name"));
    line.and_then(|line| line.split_once(": "))
        .map_or_else(|| "unknown".to_owned(), |(_, name)| name.to_owned())
}

/// Measures by short real encodes, smallest first; about 4 s on two cores, at most about 8 s. What is counted is CPU
/// time, so other work on the machine makes it slower but not much wrong. Blocks: call it from a thread of its own.
pub fn measure_costs(ffmpeg: &Ffmpeg, settings: &EncoderSettings) -> Result<CostTable, CostError> {
    let started = Instant::now();
    let base_frames = 60;
    let base = encode(ffmpeg, settings, PATTERN, base_frames, false)?;
    let base_us = cpu_us(&base) / u64::from(base_frames);
    let mut rungs = Vec::new();
    let mut decode_ps_per_pixel = 4000;
    for (width, height, frames) in SIZES {
        if started.elapsed() > TOTAL_MAX && !rungs.is_empty() {
            break;
        }
        let ran = match encode(ffmpeg, settings, (width, height), frames, true) {
            Ok(ran) => ran,
            // A large size that does not fit in the time is extrapolated.
            Err(_) if !rungs.is_empty() => break,
            Err(error) => return Err(error),
        };
        let per_frame = |total: u64| total / u64::from(frames);
        let us = |value: u64| u32::try_from(value.max(1)).unwrap_or(u32::MAX);
        rungs.push(MeasuredRung {
            width,
            height,
            cpu_us_per_frame: us(per_frame(cpu_us(&ran)).saturating_sub(base_us)),
            wall_us_per_frame: us(per_frame(micros(ran.wall))),
        });
        if (width, height) == PATTERN
            && let Ok(decoded) = decode(ffmpeg, ran.stdout)
        {
            let pixels = u64::from(width) * u64::from(height) * u64::from(frames);
            decode_ps_per_pixel = u32::try_from(cpu_us(&decoded) * 1_000_000 / pixels).unwrap_or(u32::MAX);
        }
    }
    Ok(CostTable {
        rungs,
        decode_ps_per_pixel,
        cores: cores(),
        measured: true,
    })
}

/// Scales and encodes the moving test picture as a ladder does; without `full` it is only made.
fn encode(
    ffmpeg: &Ffmpeg,
    settings: &EncoderSettings,
    (width, height): (u32, u32),
    frames: u32,
    full: bool,
) -> Result<Ran, CostError> {
    let pattern = format!("testsrc2=s={}x{}:r=30,format=yuv420p", PATTERN.0, PATTERN.1);
    let (frames, scale) = (frames.to_string(), format!("scale={width}:{height}"));
    let mut args = vec![
        "-hide_banner",
        "-nostdin",
        "-benchmark",
        "-f",
        "lavfi",
        "-i",
        &pattern,
        "-frames:v",
        &frames,
    ];
    // About what a ladder gives to the size: 0.09 bits a pixel.
    let rate = (u64::from(width) * u64::from(height) * 30 * 9 / 100).to_string();
    let threads = crate::args::encoder_threads(settings.threads, height).to_string();
    if full {
        args.extend(["-vf", &scale, "-c:v", "libx264", "-preset", &settings.preset]);
        if !settings.tune.is_empty() {
            args.extend(["-tune", &settings.tune]);
        }
        args.extend([
            "-threads", &threads, "-bf", "0", "-b:v", &rate, "-maxrate", &rate, "-bufsize", &rate,
        ]);
        args.extend(["-f", "flv", "pipe:1"]);
    } else {
        args.extend(["-f", "null", "-"]);
    }
    run(ffmpeg.path(), &args, Vec::new(), RUN_MAX).map_err(|detail| CostError::Encode {
        width,
        height,
        detail,
    })
}

fn decode(ffmpeg: &Ffmpeg, flv: Vec<u8>) -> Result<Ran, String> {
    let args = [
        "-hide_banner",
        "-benchmark",
        "-threads",
        "1",
        "-f",
        "flv",
        "-i",
        "pipe:0",
        "-f",
        "null",
        "-",
    ];
    run(ffmpeg.path(), &args, flv, RUN_MAX)
}

/// `bench: utime=0.352s stime=0.020s rtime=0.203s` of `-benchmark`; wall time if it is not there.
fn cpu_us(ran: &Ran) -> u64 {
    parse_benchmark(&ran.stderr).unwrap_or_else(|| micros(ran.wall))
}

fn parse_benchmark(stderr: &str) -> Option<u64> {
    let line = stderr.lines().rev().find(|line| line.contains("bench: utime="))?;
    let value = |key: &str| {
        let text = line.split_once(key)?.1.split('s').next()?;
        let (whole, fraction) = text.split_once('.')?;
        let digits: String = fraction.chars().chain("000000".chars()).take(6).collect();
        whole
            .parse::<u64>()
            .ok()?
            .checked_mul(1_000_000)?
            .checked_add(digits.parse().ok()?)
    };
    Some(value("utime=")? + value("stime=")?)
}

fn micros(span: Duration) -> u64 {
    u64::try_from(span.as_micros()).unwrap_or(u64::MAX)
}

/// The table kept at `file` if it was measured with this FFmpeg, these settings and this processor.
pub fn load_costs(file: &Path, ffmpeg: &Ffmpeg, settings: &EncoderSettings) -> Option<CostTable> {
    let text = std::fs::read(file).ok()?;
    let kept: Kept = serde_json::from_slice(&text).ok()?;
    (kept.key == Key::new(ffmpeg, settings) && !kept.table.rungs.is_empty()).then_some(kept.table)
}

/// Keeps a measured table at `file`, whole or not at all.
pub fn save_costs(
    file: &Path,
    ffmpeg: &Ffmpeg,
    settings: &EncoderSettings,
    table: &CostTable,
) -> Result<(), CostError> {
    let kept = Kept {
        key: Key::new(ffmpeg, settings),
        table: table.clone(),
    };
    let text = serde_json::to_vec_pretty(&kept).map_err(std::io::Error::from)?;
    let temporary = file.with_extension(format!("{}.tmp", std::process::id()));
    std::fs::write(&temporary, text)?;
    std::fs::rename(&temporary, file)?;
    Ok(())
}

/// The kept table, or a new measurement that is kept then. Blocks for the time of [`measure_costs`].
pub fn cached_costs(
    file: &Path,
    ffmpeg: &Ffmpeg,
    settings: &EncoderSettings,
) -> Result<CostTable, CostError> {
    if let Some(table) = load_costs(file, ffmpeg, settings) {
        return Ok(table);
    }
    let table = measure_costs(ffmpeg, settings)?;
    if let Err(error) = save_costs(file, ffmpeg, settings, &table) {
        tracing::warn!(%error, file = %file.display(), "encoder costs are measured again at the next start");
    }
    Ok(table)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn benchmark_line_is_parsed() {
        let text = "frame= 1\nbench: utime=0.352s stime=0.020s rtime=0.203s\nbench: maxrss=63232kB\n";
        assert_eq!(parse_benchmark(text), Some(372_000));
        assert_eq!(parse_benchmark("bench: utime=\n"), None);
        assert_eq!(parse_benchmark(""), None);
    }
}
