//! Titles of a real store.

use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use bytes::Bytes;
use media::{MediaTime, VIDEO_TIMESCALE};
use package::{CompletedSegment, Period, Role, TitleSegment, TrackFacts};
use store::{Batch, Cid, Codec, Fsync, NewRecording, RecordingState, RenditionFacts, Store, StoreLimits};

use crate::support::Harness;

/// Larger than four of the pieces in which objects are read, and no multiple of them.
const SEGMENT_BYTES: usize = (1 << 20) + 12_345;

struct World {
    harness: Harness,
    folder: PathBuf,
    segment: Vec<u8>,
}

impl World {
    /// A title `s1` with a segment and a gap.
    async fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("tidewire-titles-{}-{count}", std::process::id()));
        let limits = StoreLimits {
            budget_bytes: 16 << 20,
            free_min_bytes: 0,
            fsync: Fsync::Never,
        };
        let store = Store::open(&folder, limits).await.unwrap();
        let new = NewRecording {
            stream_id: "s1".into(),
            channel_id: "ch_1".into(),
            channel: "demo".into(),
            started_ms: 1_700_000_000_000,
        };
        store.begin(&new).await.unwrap();
        let segment: Vec<u8> = (0..SEGMENT_BYTES as u32)
            .map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8)
            .collect();
        store.append("s1", &batch(&segment)).await.unwrap();
        assert!(store.seal("s1", RecordingState::Sealed).await.unwrap());
        let harness = Harness::start();
        harness.windows.keep(store);
        Self {
            harness,
            folder,
            segment,
        }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn batch(segment: &[u8]) -> Batch {
    let facts = |msn: u64, bytes: usize| TitleSegment {
        msn,
        init: 0,
        period: 0,
        discontinuity: false,
        gap: bytes == 0,
        independent: true,
        timescale: VIDEO_TIMESCALE,
        start: 180_000 * msn as i64,
        duration: 180_000,
        utc_ms: 1_700_000_000_000 + 2_000 * msn as i64,
        bytes: bytes as u64,
    };
    let completed = |msn, bytes: &[u8]| CompletedSegment {
        facts: facts(msn, bytes.len()),
        parts: bytes.chunks(100_000).map(Bytes::copy_from_slice).collect(),
    };
    Batch {
        renditions: vec![RenditionFacts {
            name: "source".into(),
            position: 0,
            role: Role::Source,
            facts: TrackFacts::Video {
                codecs: "avc1.64001f".into(),
                width: 1280,
                height: 720,
                pixel_aspect: (1, 1),
                frame_rate: None,
            },
        }],
        periods: vec![Period {
            number: 0,
            at: MediaTime::new(0, NonZeroU32::new(90_000).unwrap()),
            origin_utc_ms: 1_700_000_000_000,
        }],
        inits: vec![("source".into(), 0, Bytes::from_static(b"init"))],
        segments: vec![
            ("source".into(), completed(0, segment)),
            ("source".into(), completed(1, b"")),
        ],
    }
}

#[tokio::test]
async fn texts_and_objects_carry_the_right_headers() {
    let world = World::new().await;
    for (path, kind, cache) in [
        (
            "/vod/s1/master.m3u8",
            "application/vnd.apple.mpegurl",
            "public, max-age=60",
        ),
        (
            "/vod/s1/manifest.mpd",
            "application/dash+xml",
            "public, max-age=60",
        ),
        (
            "/vod/s1/source/playlist.m3u8",
            "application/vnd.apple.mpegurl",
            "public, max-age=60",
        ),
        (
            "/vod/s1/source/init-0.mp4",
            "video/mp4",
            "public, max-age=31536000, immutable",
        ),
        (
            "/vod/s1/source/seg-0.m4s",
            "video/mp4",
            "public, max-age=31536000, immutable",
        ),
    ] {
        let answer = world.harness.get(path).await;
        assert_eq!(answer.status, 200, "{path}");
        assert_eq!(
            (answer.header("content-type"), answer.header("cache-control")),
            (kind, cache),
            "{path}"
        );
        assert_eq!(answer.header("access-control-allow-origin"), "*", "{path}");
        let head = world
            .harness
            .send(&format!(
                "HEAD {path} HTTP/1.1\r\nhost: t\r\nconnection: close\r\n\r\n"
            ))
            .await;
        assert_eq!((head.status, head.body.len()), (200, 0), "{path}");
        assert_eq!(
            head.header("content-length"),
            answer.body.len().to_string(),
            "{path}"
        );
        assert_eq!(head.header("etag"), answer.header("etag"), "{path}");
    }
    let gzip = world
        .harness
        .get_with("/vod/s1/source/playlist.m3u8", "accept-encoding: gzip\r\n")
        .await;
    assert_eq!(gzip.header("content-encoding"), "gzip");
}

#[tokio::test]
async fn objects_come_whole_and_in_ranges() {
    let world = World::new().await;
    let path = "/vod/s1/source/seg-0.m4s";
    let whole = world.harness.get(path).await;
    assert!(whole.body == world.segment, "{} bytes came", whole.body.len());
    let cid = Cid::of(Codec::Raw, &world.segment);
    assert_eq!(whole.header("etag"), format!("\"{cid}\""));
    // Across the borders of pieces, to the end, and a single byte.
    for (range, from, to) in [
        ("bytes=0-0", 0, 1),
        ("bytes=262000-800000", 262_000, 800_001),
        ("bytes=1048576-", 1 << 20, SEGMENT_BYTES),
        ("bytes=-5", SEGMENT_BYTES - 5, SEGMENT_BYTES),
    ] {
        let slice = world.harness.get_with(path, &format!("range: {range}\r\n")).await;
        assert_eq!(slice.status, 206, "{range}");
        let expected = format!("bytes {from}-{}/{SEGMENT_BYTES}", to - 1);
        assert_eq!(slice.header("content-range"), expected);
        assert!(slice.body == world.segment[from..to], "{range}");
    }
    let beyond = world
        .harness
        .get_with(path, &format!("range: bytes={SEGMENT_BYTES}-\r\n"))
        .await;
    assert_eq!(
        (beyond.status, beyond.header("content-range")),
        (416, &*format!("bytes */{SEGMENT_BYTES}"))
    );
    let known = world
        .harness
        .get_with(path, &format!("if-none-match: \"{cid}\"\r\n"))
        .await;
    assert_eq!((known.status, known.body.len()), (304, 0));
}

#[tokio::test]
async fn what_is_not_there_is_a_problem() {
    let world = World::new().await;
    for (path, status, code) in [
        ("/vod/s2/master.m3u8", 404, "title_not_found"),
        ("/vod/s1/720p/playlist.m3u8", 404, "rendition_not_found"),
        ("/vod/s1/720p/seg-0.m4s", 404, "media_unknown"),
        ("/vod/s1/source/seg-1.m4s", 404, "media_unknown"),
        ("/vod/s1/source/seg-2.m4s", 404, "media_unknown"),
        ("/vod/s1/source/init-1.mp4", 404, "media_unknown"),
        ("/vod/s1/source/part-0.0.m4s", 404, "media_not_found"),
    ] {
        let answer = world.harness.get(path).await;
        assert_eq!((answer.status, &*answer.code()), (status, code), "{path}");
    }
    let post = world
        .harness
        .send(
            "POST /vod/s1/master.m3u8 HTTP/1.1\r\nhost: t\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
        )
        .await;
    assert_eq!(post.status, 405);
    // A file that is gone is a fault of the server, and no empty 200.
    std::fs::remove_dir_all(world.folder.join("store/objects")).unwrap();
    let lost = world.harness.get("/vod/s1/source/seg-0.m4s").await;
    assert_eq!((lost.status, &*lost.code()), (503, "store_failed"));
}
