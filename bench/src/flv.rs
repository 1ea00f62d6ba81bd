//! The file that every publisher sends: made once by FFmpeg, kept in memory as FLV tag bodies.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

/// What an RTMP message carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Audio,
    Video,
    Metadata,
}

/// One FLV tag.
#[derive(Clone, Debug)]
pub(crate) struct Tag {
    pub(crate) kind: Kind,
    pub(crate) time_ms: u32,
    pub(crate) body: Vec<u8>,
}

/// A whole file, ready to be looped.
#[derive(Debug)]
pub(crate) struct Clip {
    /// Metadata and codec configurations: sent once.
    pub(crate) head: Vec<Tag>,
    /// Media in order, times from 0.
    pub(crate) media: Vec<Tag>,
    /// Time from the start of one round to the start of the next.
    pub(crate) length_ms: u32,
}

impl Clip {
    /// Average bit rate of the media, bit/s.
    pub(crate) fn bit_rate(&self) -> u64 {
        let bytes: usize = self.media.iter().map(|tag| tag.body.len()).sum();
        bytes as u64 * 8000 / u64::from(self.length_ms.max(1))
    }
}

/// 720p30 H.264 with a GOP of 2 s and stereo AAC, 1.1 Mb/s together.
pub(crate) fn make(file: &Path) -> Result<()> {
    if file.is_file() {
        return Ok(());
    }
    if let Some(dir) = file.parent() {
        std::fs::create_dir_all(dir)?;
    }
    let partial = file.with_extension("partial.flv");
    let mut command = Command::new("ffmpeg");
    command.args(["-hide_banner", "-nostdin", "-loglevel", "error", "-y"]);
    command.args([
        "-f",
        "lavfi",
        "-i",
        "testsrc2=size=1280x720:rate=30,noise=alls=6:allf=t",
    ]);
    command.args([
        "-f",
        "lavfi",
        "-i",
        "anoisesrc=sample_rate=48000:amplitude=0.2,aformat=channel_layouts=stereo",
    ]);
    command.args([
        "-t",
        "20",
        "-pix_fmt",
        "yuv420p",
        "-c:v",
        "libx264",
        "-preset",
        "veryfast",
        "-profile:v",
        "high",
    ]);
    command.args(["-bf", "0", "-g", "60", "-keyint_min", "60", "-sc_threshold", "0"]);
    command.args([
        "-b:v", "970k", "-maxrate", "970k", "-bufsize", "485k", "-c:a", "aac", "-b:a", "128k",
    ]);
    command
        .args(["-flvflags", "no_duration_filesize", "-f", "flv"])
        .arg(&partial);
    let status = command.status().context("cannot start ffmpeg")?;
    ensure!(status.success(), "ffmpeg could not make the test clip");
    std::fs::rename(&partial, file)?;
    Ok(())
}

/// Reads an FLV file.
pub(crate) fn load(file: &Path) -> Result<Clip> {
    let data = std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
    ensure!(data.starts_with(b"FLV\x01"), "{} is no FLV file", file.display());
    let (mut head, mut media): (Vec<Tag>, Vec<Tag>) = (Vec::new(), Vec::new());
    let mut rest = data.get(13..).context("the file is cut")?;
    while rest.len() > 15 {
        let size = usize::from(rest[1]) << 16 | usize::from(rest[2]) << 8 | usize::from(rest[3]);
        let time_ms = u32::from_be_bytes([rest[7], rest[4], rest[5], rest[6]]);
        let body = rest.get(11..11 + size).context("a tag is cut")?.to_vec();
        let kind = match rest[0] & 0x1f {
            8 => Some(Kind::Audio),
            9 => Some(Kind::Video),
            18 => Some(Kind::Metadata),
            _ => None,
        };
        rest = rest.get(11 + size + 4..).unwrap_or_default();
        let (Some(kind), false) = (kind, body.is_empty()) else {
            continue;
        };
        // Packet type 0 of AVC and AAC is the codec configuration, 2 of AVC the end of the sequence.
        let packet_type = body.get(1).copied();
        let is_config = matches!(kind, Kind::Audio | Kind::Video) && packet_type == Some(0);
        let is_end = kind == Kind::Video && packet_type == Some(2);
        if kind == Kind::Metadata || is_config {
            head.push(Tag {
                kind,
                time_ms: 0,
                body,
            });
        } else if !is_end {
            media.push(Tag { kind, time_ms, body });
        }
    }
    let start = media
        .iter()
        .map(|tag| tag.time_ms)
        .min()
        .context("the file has no media")?;
    for tag in &mut media {
        tag.time_ms -= start;
    }
    let video = || {
        media
            .iter()
            .filter(|tag| tag.kind == Kind::Video)
            .map(|tag| tag.time_ms)
    };
    let (first, last) = (video().min(), video().max());
    let (first, last) = first.zip(last).context("the file has no pictures")?;
    let intervals = u32::try_from(video().count())?.saturating_sub(1).max(1);
    // A round is as many frame intervals as it has pictures, so that the next round's IDR comes when it is due.
    let length_ms =
        (f64::from(last - first) / f64::from(intervals) * f64::from(intervals + 1)).round() as u32;
    media.retain(|tag| tag.time_ms < length_ms + first);
    Ok(Clip {
        head,
        length_ms,
        media,
    })
}
