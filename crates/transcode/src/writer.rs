//! Feeds a child.

use std::sync::Arc;
use std::time::Instant;

use bytes::BytesMut;
use container::bmff::{ChunkHeader, ChunkSample, init_segment, write_chunk};
use container::flv::{AvcPacket, Muxer, TagKind, avc_body_header, mp3_body_header};
use media::{MILLISECONDS, Track, TrackConfig, VideoCodec};
use tokio::io::AsyncWriteExt;
use tokio::net::unix::pipe;

use crate::backlog::Work;
use crate::shared::Shared;
use std::sync::atomic::Ordering::Relaxed;

/// A recovery point SEI (ITU-T H.264 D.1.8: recovery_frame_cnt 0, exact match, no broken link) as a NAL unit with its
/// length. FFmpeg's decoder flags the picture behind it as key, and `-force_key_frames source` makes it an IDR.
const RECOVERY_POINT: [u8; 9] = [0, 0, 0, 5, 0x06, 0x06, 0x01, 0xc4, 0x80];

/// What a child is fed with. Times are milliseconds in both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Feed {
    /// H.264 and MP3; a configuration may change on the way.
    Flv,
    /// HEVC and AV1, which FFmpeg before 6.1 does not know in FLV: a fragment for each sample, one configuration.
    Mp4,
}

impl Feed {
    /// For a child that begins with this track.
    pub(crate) fn of(track: &Track) -> Self {
        match &track.config {
            TrackConfig::Video(config) if config.codec != VideoCodec::H264 => Self::Mp4,
            _ => Self::Flv,
        }
    }

    /// FFmpeg's name of it.
    pub(crate) fn format(self) -> &'static str {
        match self {
            Self::Flv => "flv",
            Self::Mp4 => "mp4",
        }
    }
}

/// Writes until a stop is requested and nothing waits, until the child no longer reads, or until something comes that this
/// child cannot take: it gives what it has and ends then, and the next one begins there. Dropping `stdin` closes it.
pub(crate) async fn write_all(shared: Arc<Shared>, mut stdin: pipe::Sender, feed: Feed) {
    let mut buffer = BytesMut::new();
    let mut form = Form {
        feed,
        is_begun: false,
        fragments: 0,
    };
    loop {
        let work = {
            let mut core = shared.core();
            // A child that is to be replaced gets nothing more.
            let work = if core.respawn.is_some() {
                None
            } else {
                core.backlog.take(Instant::now())
            };
            shared
                .stats
                .queue_bytes
                .store(core.backlog.waiting_bytes() as u64, Relaxed);
            work
        };
        let Some(work) = work else {
            if shared.is_stopping() {
                return;
            }
            shared.input.notified().await;
            continue;
        };
        buffer.clear();
        if !form.put(&mut buffer, &work) || stdin.write_all(&buffer).await.is_err() {
            // The supervisor sees its end or its silence.
            return;
        }
    }
}

/// Where the writing of one child stands.
struct Form {
    feed: Feed,
    is_begun: bool,
    /// Fragments written, MP4.
    fragments: u32,
}

impl Form {
    /// Appends what the child is to read; false if it cannot take this.
    fn put(&mut self, buffer: &mut BytesMut, work: &Work) -> bool {
        if let Some(track) = &work.track
            && !self.put_track(buffer, track, work.dts_ms)
        {
            return false;
        }
        match self.feed {
            Feed::Flv => put_flv(buffer, work),
            Feed::Mp4 => self.put_fragment(buffer, work),
        }
        true
    }

    fn put_track(&mut self, buffer: &mut BytesMut, track: &Track, dts_ms: i64) -> bool {
        let is_first = !std::mem::replace(&mut self.is_begun, true);
        if Feed::of(track) != self.feed {
            return false;
        }
        match self.feed {
            Feed::Flv => {
                let is_video = matches!(track.config, TrackConfig::Video(_));
                if is_first {
                    Muxer.header(buffer, !is_video, is_video);
                }
                if let TrackConfig::Video(config) = &track.config {
                    Muxer.avc_config(buffer, dts_ms, &config.record);
                }
                true
            }
            Feed::Mp4 => {
                let in_milliseconds = Track {
                    timescale: MILLISECONDS,
                    ..track.clone()
                };
                match init_segment(&in_milliseconds, 0) {
                    Ok(init) if is_first => {
                        buffer.extend_from_slice(&init);
                        true
                    }
                    _ => false,
                }
            }
        }
    }

    fn put_fragment(&mut self, buffer: &mut BytesMut, work: &Work) {
        self.fragments = self.fragments.wrapping_add(1);
        let header = ChunkHeader {
            sequence: self.fragments,
            base_decode_time: u64::try_from(work.dts_ms).unwrap_or(0),
            producer: None,
        };
        let sample = ChunkSample {
            // The next fragment says when it begins.
            duration: 1,
            composition_offset: i32::try_from(work.pts_ms - work.dts_ms).unwrap_or(0),
            is_sync: work.sample.is_sync,
            is_disposable: work.sample.is_disposable,
            data: &work.sample.data,
        };
        buffer.extend_from_slice(&write_chunk(&header, std::iter::once(sample)));
    }
}

fn put_flv(buffer: &mut BytesMut, work: &Work) {
    let sample = &work.sample;
    if work.is_video {
        let composition_time_ms = (work.pts_ms - work.dts_ms).clamp(-0x80_0000, 0x7f_ffff) as i32;
        let head = avc_body_header(AvcPacket::Nalus {
            is_sync: sample.is_sync,
            composition_time_ms,
        });
        let point: &[u8] = if work.forced { &RECOVERY_POINT } else { &[] };
        Muxer.tag(buffer, TagKind::Video, work.dts_ms, &[&head, point, &sample.data]);
    } else {
        Muxer.tag(
            buffer,
            TagKind::Audio,
            work.pts_ms,
            &[&mp3_body_header(), &sample.data],
        );
    }
}
