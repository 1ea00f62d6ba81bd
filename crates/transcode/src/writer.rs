//! Feeds a child.

use std::sync::Arc;
use std::time::Instant;

use bytes::BytesMut;
use container::flv::{AvcPacket, Muxer, TagKind, avc_body_header, mp3_body_header};
use media::TrackConfig;
use tokio::io::AsyncWriteExt;
use tokio::net::unix::pipe;

use crate::backlog::Work;
use crate::shared::Shared;
use std::sync::atomic::Ordering::Relaxed;

/// A recovery point SEI (ITU-T H.264 D.1.8: recovery_frame_cnt 0, exact match, no broken link) as a NAL unit with its
/// length. FFmpeg's decoder flags the picture behind it as key, and `-force_key_frames source` makes it an IDR.
const RECOVERY_POINT: [u8; 9] = [0, 0, 0, 5, 0x06, 0x06, 0x01, 0xc4, 0x80];

/// Writes until a stop is requested and nothing waits, or until the child no longer reads. Dropping `stdin` closes it.
pub(crate) async fn write_all(shared: Arc<Shared>, mut stdin: pipe::Sender) {
    let mut buffer = BytesMut::new();
    let mut is_first = true;
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
        put(&mut buffer, &work, &mut is_first);
        if stdin.write_all(&buffer).await.is_err() {
            // The supervisor sees its end or its silence.
            return;
        }
    }
}

fn put(buffer: &mut BytesMut, work: &Work, is_first: &mut bool) {
    if let Some(track) = &work.track {
        let is_video = matches!(track.config, TrackConfig::Video(_));
        if std::mem::take(is_first) {
            Muxer.header(buffer, !is_video, is_video);
        }
        if let TrackConfig::Video(config) = &track.config {
            Muxer.avc_config(buffer, work.dts_ms, &config.record);
        }
    }
    let sample = &work.sample;
    let is_video = work.is_video;
    if is_video {
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
