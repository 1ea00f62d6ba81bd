//! FFmpeg's command lines.

use media::FrameRate;
use media::ladder::{Rung, SMALL_RUNG_HEIGHT};

use crate::EncoderSettings;
use crate::process::FIRST_FD;
use crate::writer::Feed;

/// What the command line of a ladder child depends on.
pub(crate) struct VideoArgs<'a> {
    pub(crate) rungs: &'a [&'a Rung],
    pub(crate) settings: &'a EncoderSettings,
    /// Of the source; 30 is assumed when unknown.
    pub(crate) frame_rate: Option<FrameRate>,
    /// Lines of the source's picture.
    pub(crate) source_height: u32,
    /// What the child is fed with.
    pub(crate) feed: Feed,
    /// Frames before this time (milliseconds of the child's timeline) are decoded only.
    pub(crate) first_ms: Option<i64>,
}

/// One decode, `rungs` encodes, FLV on one pipe each.
pub(crate) fn video(args: &VideoArgs<'_>) -> Vec<String> {
    let threads = decoder_threads(args.source_height);
    let mut line = head(threads, FIRST_FD + args.rungs.len(), args.feed);
    push(&mut line, &["-filter_complex", &filter(args)]);
    for (index, rung) in args.rungs.iter().enumerate() {
        push(&mut line, &["-map", &format!("[o{index}]")]);
        encoder(&mut line, rung, args);
        push(
            &mut line,
            &[
                "-flvflags",
                "no_duration_filesize",
                "-f",
                "flv",
                &format!("pipe:{}", FIRST_FD + index),
            ],
        );
    }
    line
}

/// Any audio of the input to AAC. `aresample=async=1` keeps the samples where their times say, with silence in gaps.
pub(crate) fn audio(sample_rate: u32, channels: u16) -> Vec<String> {
    let mut line = head(1, FIRST_FD + 1, Feed::Flv);
    push(
        &mut line,
        &[
            "-map",
            "0:a:0",
            "-af",
            "aresample=async=1",
            "-c:a",
            "aac",
            "-b:a",
            "128k",
        ],
    );
    push(
        &mut line,
        &[
            "-ar",
            &sample_rate.to_string(),
            "-ac",
            &channels.clamp(1, 2).to_string(),
            "-vn",
        ],
    );
    push(
        &mut line,
        &[
            "-flvflags",
            "no_duration_filesize",
            "-f",
            "flv",
            &format!("pipe:{FIRST_FD}"),
        ],
    );
    line
}

/// Everything up to the input. A small probe makes the first frame come in 30-70 ms instead of 1.4 s.
fn head(decoder_threads: u32, progress_fd: usize, feed: Feed) -> Vec<String> {
    let mut line = Vec::with_capacity(64);
    push(
        &mut line,
        &["-hide_banner", "-nostats", "-loglevel", "level+warning", "-y"],
    );
    push(
        &mut line,
        &[
            "-progress",
            &format!("pipe:{progress_fd}"),
            "-stats_period",
            "0.5",
        ],
    );
    push(
        &mut line,
        &[
            "-probesize",
            "32",
            "-analyzeduration",
            "0",
            "-threads",
            &decoder_threads.to_string(),
        ],
    );
    push(&mut line, &["-f", feed.format(), "-i", "pipe:0", "-copyts"]);
    line
}

/// Frame threads hold one frame back each, so there is one, unless one core may not keep up with decoding.
pub(crate) const fn decoder_threads(source_height: u32) -> u32 {
    if source_height <= 1088 { 1 } else { 4 }
}

fn filter(args: &VideoArgs<'_>) -> String {
    let mut text = String::from("[0:v]");
    if let Some(first_ms) = args.first_ms {
        text.push_str(&format!("select='gte(pts\\,{first_ms})',"));
    }
    text.push_str(&format!("split={}", args.rungs.len()));
    for index in 0..args.rungs.len() {
        text.push_str(&format!("[s{index}]"));
    }
    for (index, rung) in args.rungs.iter().enumerate() {
        text.push_str(&format!(";[s{index}]"));
        if rung.frame_step > 1 {
            text.push_str(&thin_out(rung, args.frame_rate));
        }
        let (width, height) = (rung.width, rung.height);
        text.push_str(&format!(
            "scale={width}:{height}:out_range=tv,format=yuv420p,setsar=1[o{index}]"
        ));
    }
    text
}

/// Takes one of `frame_step` frames. Not the `fps` filter: that one loses the key flags that become IDRs.
fn thin_out(rung: &Rung, source_rate: Option<FrameRate>) -> String {
    let rate = rate_or_30(source_rate);
    let half_steps = u64::from(rung.frame_step) * 2 - 1;
    let micros = half_steps * 500_000 * u64::from(rate.1) / u64::from(rate.0);
    let (whole, fraction) = (micros / 1_000_000, micros % 1_000_000);
    format!("select='key+gte(t-prev_selected_t\\,{whole}.{fraction:06})+isnan(prev_selected_t)',")
}

fn encoder(line: &mut Vec<String>, rung: &Rung, args: &VideoArgs<'_>) {
    let settings = args.settings;
    push(line, &["-c:v", "libx264", "-preset", &settings.preset]);
    if !settings.tune.is_empty() {
        push(line, &["-tune", &settings.tune]);
    }
    let short = rung.width.min(rung.height);
    push(
        line,
        &[
            "-profile:v",
            if short <= SMALL_RUNG_HEIGHT {
                "main"
            } else {
                "high"
            },
        ],
    );
    let rate = rung.bitrate.to_string();
    match rung.quality {
        Some(quality) => push(line, &["-crf", &quality.min(51).to_string()]),
        None => push(line, &["-b:v", &rate]),
    }
    // Half a second of buffer: no segment of 2 s exceeds the cap by more than a tenth.
    push(
        line,
        &["-maxrate", &rate, "-bufsize", &(rung.bitrate / 2).to_string()],
    );
    push(
        line,
        &["-threads", &encoder_threads(settings.threads, short).to_string()],
    );
    push(
        line,
        &["-g", "9999", "-keyint_min", "1", "-sc_threshold", "0", "-bf", "0"],
    );
    push(line, &["-force_key_frames", "source", "-forced-idr", "1"]);
    // Rate control needs the true frame rate, and the small probe makes FFmpeg guess it wrongly.
    let (numerator, denominator) = rate_or_30(rung.frame_rate.or(args.frame_rate));
    push(line, &["-x264-params", &format!("fps={numerator}/{denominator}")]);
    push(
        line,
        &["-enc_time_base", "1:90000", "-fps_mode", "passthrough", "-an"],
    );
}

/// Threads of x264 with zerolatency are slices, which cost bits: few for small pictures. 0 = x264 chooses.
pub(crate) const fn encoder_threads(configured: u32, short_side: u32) -> u32 {
    match (configured, short_side) {
        (0, ..=480) => 1,
        (0, ..=720) => 2,
        (0, ..=1080) => 4,
        _ => configured,
    }
}

fn rate_or_30(rate: Option<FrameRate>) -> (u32, u32) {
    rate.map_or((30, 1), |rate| (rate.numerator.get(), rate.denominator.get()))
}

fn push(line: &mut Vec<String>, args: &[&str]) {
    line.extend(args.iter().map(|&arg| arg.to_owned()));
}
