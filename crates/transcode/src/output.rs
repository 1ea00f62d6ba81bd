//! What comes back from a child, put on the stream's timeline.

use std::sync::Arc;
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use container::flv::{AudioTag, Demuxer, TagKind, VideoTag, parse_audio, parse_video};
use media::h264::{self, NalType};
use media::{Sample, Track, TrackConfig, VideoCodec, aac};

use crate::shared::{Core, Output};

/// Largest tag accepted from a child.
const TAG_BYTES_MAX: usize = 16 << 20;

/// Frames in a row with a time that was never sent before the child is taken for broken.
const STRANGE_MAX: u32 = 8;

/// Samples in a frame of AAC-LC.
const AAC_SAMPLES: i64 = 1024;

/// What is wrong with a child's output.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum OutputError {
    #[error("{0}")]
    File(#[from] container::flv::FileError),
    #[error("{0}")]
    Tag(#[from] container::flv::Error),
    #[error("{0}")]
    Video(#[from] h264::H264Error),
    #[error("{0}")]
    Audio(#[from] aac::AacError),
    #[error("a tag of another codec than asked for")]
    Codec,
    #[error("a frame before the configuration")]
    NoConfig,
    #[error("a frame whose NAL units do not fit in it")]
    Nalus,
    #[error("frames with times that were never sent, the last at {0} ms")]
    Times(i64),
}

/// One thing for the sink.
#[derive(Debug)]
pub(crate) enum Delivery {
    Track(Arc<Track>),
    Sample { sample: Arc<Sample>, lost: bool },
}

/// Takes the bytes of one output pipe apart.
pub(crate) struct OutputReader {
    demuxer: Demuxer,
    pub(crate) buffer: BytesMut,
    index: usize,
}

impl OutputReader {
    /// For output `index` of the core.
    pub(crate) fn new(index: usize) -> Self {
        Self {
            demuxer: Demuxer::new(TAG_BYTES_MAX),
            buffer: BytesMut::new(),
            index,
        }
    }

    /// Makes room for a read.
    pub(crate) fn reserve(&mut self) {
        let missing = self.demuxer.missing(&self.buffer);
        if self.buffer.capacity() - self.buffer.len() < missing.max(4 << 10) {
            self.buffer.reserve(missing.max(64 << 10));
        }
    }

    /// What the bytes so far give; `None` = more are needed.
    pub(crate) fn next(&mut self, core: &mut Core, now: Instant) -> Result<Option<Delivery>, OutputError> {
        while let Some(tag) = self.demuxer.next(&mut self.buffer)? {
            if core.respawn.is_some() {
                // Of a timeline that is no more.
                continue;
            }
            let delivery = match tag.kind {
                TagKind::Script => None,
                TagKind::Video => match parse_video(&tag.body)? {
                    VideoTag::SequenceHeader {
                        codec: VideoCodec::H264,
                        record,
                    } => video_track(core, self.index, &record)?,
                    VideoTag::Frame {
                        codec: VideoCodec::H264,
                        is_key_flag,
                        composition_time_ms,
                        data,
                    } => {
                        let pts_ms = tag.timestamp_ms + i64::from(composition_time_ms);
                        video_sample(core, self.index, pts_ms, is_key_flag, &data, now)?
                    }
                    VideoTag::EndOfSequence | VideoTag::Nothing => None,
                    _ => return Err(OutputError::Codec),
                },
                TagKind::Audio => match parse_audio(&tag.body)? {
                    AudioTag::AacHeader(record) => audio_track(core, self.index, &record)?,
                    AudioTag::Aac(data) => audio_sample(core, self.index, tag.timestamp_ms, data, now)?,
                    AudioTag::Nothing => None,
                    _ => return Err(OutputError::Codec),
                },
            };
            if delivery.is_some() {
                return Ok(delivery);
            }
        }
        Ok(None)
    }
}

fn video_track(core: &mut Core, index: usize, record: &Bytes) -> Result<Option<Delivery>, OutputError> {
    let mut config = h264::parse_config(record)?;
    let timescale = core.backlog.track().ok_or(OutputError::NoConfig)?.timescale;
    let output = &mut core.outputs[index];
    // What the encoder was told may have been a guess, so it is not read back.
    config.frame_rate = output.rung.as_ref().and_then(|rung| rung.frame_rate);
    Ok(output.announce(TrackConfig::Video(config), timescale))
}

fn audio_track(core: &mut Core, index: usize, record: &Bytes) -> Result<Option<Delivery>, OutputError> {
    let config = aac::parse_config(record)?;
    let timescale = config.sample_rate;
    Ok(core.outputs[index].announce(TrackConfig::Audio(config), timescale))
}

fn video_sample(
    core: &mut Core,
    index: usize,
    pts_ms: i64,
    is_sync: bool,
    data: &Bytes,
    now: Instant,
) -> Result<Option<Delivery>, OutputError> {
    let data = checked(data)?;
    let sent = core.backlog.sent(pts_ms);
    let output = &mut core.outputs[index];
    if output.track.is_none() {
        return Err(OutputError::NoConfig);
    }
    output.returned_at = Some(now);
    if pts_ms < output.delivered_ms {
        // Before the gate of this output; others may have let the frame be forgotten already.
        return Ok(None);
    }
    let Some((key, frame)) = sent else {
        output.strange += 1;
        return if output.strange > STRANGE_MAX {
            Err(OutputError::Times(pts_ms))
        } else {
            Ok(None)
        };
    };
    output.strange = 0;
    if output.delivered_ms < key {
        output.delivered_ms = key;
    }
    if let Some(gate) = output.gate
        && (frame.pts < gate.pts || !is_sync)
    {
        return Ok(None);
    }
    if output.delivered.is_some_and(|delivered| frame.pts <= delivered) {
        return Ok(None);
    }
    let gate = output.gate.take();
    let lost = gate.is_some_and(|gate| gate.lost) || (frame.hole && output.delivered.is_some());
    output.delivered = Some(frame.pts);
    let step = output.rung.as_ref().map_or(1, |rung| rung.frame_step);
    let sample = Sample {
        dts: frame.pts,
        pts: frame.pts,
        duration: frame.duration.saturating_mul(step),
        is_sync,
        is_disposable: false,
        arrived_us: frame.arrived_us.saturating_add(elapsed_us(frame.pushed_at, now)),
        data,
    };
    core.forget(is_sync);
    Ok(Some(Delivery::Sample {
        sample: Arc::new(sample),
        lost,
    }))
}

/// AAC frames do not match source frames; their times follow from counting samples, held to the child's times.
fn audio_sample(
    core: &mut Core,
    index: usize,
    ms: i64,
    data: Bytes,
    now: Instant,
) -> Result<Option<Delivery>, OutputError> {
    let at = core.backlog.ticks(ms).ok_or(OutputError::Times(ms))?;
    let newest = core.backlog.nearest(ms);
    let output = &mut core.outputs[index];
    let timescale = output.track.as_ref().ok_or(OutputError::NoConfig)?.timescale;
    output.returned_at = Some(now);
    output.delivered_ms = output.delivered_ms.max(ms);
    if output.gate.is_some_and(|gate| at < gate.pts - AAC_SAMPLES / 2) {
        return Ok(None);
    }
    let gate = output.gate.take();
    let lost = gate.is_some_and(|gate| gate.lost);
    let tolerance = i64::from(timescale.get()) / 25;
    let wanted = output.expected.or(gate.map(|gate| gate.pts));
    let pts = match wanted {
        Some(wanted) if (at - wanted).abs() <= tolerance || at < wanted => wanted,
        _ => at,
    };
    output.expected = Some(pts + AAC_SAMPLES);
    output.delivered = Some(pts);
    let arrived_us = newest.map_or(0, |frame| {
        frame.arrived_us.saturating_add(elapsed_us(frame.pushed_at, now))
    });
    let sample = Sample {
        dts: pts,
        pts,
        duration: AAC_SAMPLES as u32,
        is_sync: true,
        is_disposable: false,
        arrived_us,
        data,
    };
    core.forget(true);
    Ok(Some(Delivery::Sample {
        sample: Arc::new(sample),
        lost,
    }))
}

impl Output {
    /// A track for the sink, if it differs from the one it has.
    fn announce(&mut self, config: TrackConfig, timescale: std::num::NonZeroU32) -> Option<Delivery> {
        let epoch = match &self.track {
            Some(track) if track.config == config && track.timescale == timescale => return None,
            Some(track) => track.epoch + 1,
            None => 0,
        };
        let track = Arc::new(Track {
            timescale,
            epoch,
            config,
        });
        self.track = Some(Arc::clone(&track));
        Some(Delivery::Track(track))
    }
}

impl Core {
    /// Lets go of what all outputs have delivered.
    fn forget(&mut self, is_sync: bool) {
        let ms = self.active().map(|output| output.delivered_ms).min();
        // `None` sorts first: an output that has given nothing keeps everything.
        let ticks = self.active().map(|output| output.delivered).min().flatten();
        if let (Some(ticks), Some(ms)) = (ticks, ms) {
            self.backlog.forget(ticks, ms, is_sync);
        }
    }
}

fn elapsed_us(since: Instant, now: Instant) -> u64 {
    u64::try_from(now.saturating_duration_since(since).as_micros()).unwrap_or(u64::MAX)
}

/// `data` as a sample: complete NAL units, no parameter sets or delimiters (x264 with global headers writes none).
fn checked(data: &Bytes) -> Result<Bytes, OutputError> {
    let mut nals = h264::nal_units(data);
    let (mut count, mut has_others) = (0, false);
    for nal in &mut nals {
        count += 1;
        has_others |= matches!(
            h264::nal_type(nal),
            Some(NalType::Sps | NalType::Pps | NalType::AccessUnitDelimiter)
        );
    }
    if nals.is_malformed() || count == 0 {
        return Err(OutputError::Nalus);
    }
    Ok(if has_others {
        h264::normalise(data, 4).0
    } else {
        data.clone()
    })
}
