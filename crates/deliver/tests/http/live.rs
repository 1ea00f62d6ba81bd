//! Playlists, parts and segments of a live window.

use std::time::{Duration, Instant};

use deliver::{Class, Limits, Timing};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::feed::{Feed, SEGMENT_FRAMES};
use crate::support::{Answer, Harness};

fn started(harness: &Harness) -> Feed {
    let mut feed = Feed::new("demo", "s1", 500);
    // Two whole segments and a bit of the third.
    feed.push(2 * SEGMENT_FRAMES + 15);
    harness.windows.insert(&feed.window);
    feed
}

#[tokio::test]
async fn playlists_carry_the_right_headers() {
    let harness = Harness::start();
    let _feed = started(&harness);
    let cases = [
        (
            "/live/demo/master.m3u8",
            "application/vnd.apple.mpegurl",
            "public, max-age=1",
        ),
        (
            "/live/demo/manifest.mpd",
            "application/dash+xml",
            "public, max-age=1",
        ),
        (
            "/live/demo/source/playlist.m3u8",
            "application/vnd.apple.mpegurl",
            "public, max-age=1",
        ),
        (
            "/live/demo/source/playlist.m3u8?_HLS_msn=1",
            "application/vnd.apple.mpegurl",
            "public, max-age=12",
        ),
        (
            "/live/demo/source/playlist.m3u8?_HLS_msn=1&_HLS_x=1&_HLS_skip=YES",
            "application/vnd.apple.mpegurl",
            "public, max-age=12",
        ),
    ];
    for (path, kind, cache) in cases {
        let answer = harness.get(path).await;
        assert_eq!(answer.status, 200, "{path}");
        assert_eq!(answer.header("content-type"), kind, "{path}");
        assert_eq!(answer.header("cache-control"), cache, "{path}");
        assert_eq!(answer.header("access-control-allow-origin"), "*", "{path}");
        assert_eq!(answer.header("vary"), "accept-encoding", "{path}");
        assert!(!answer.header("date").is_empty());
        assert_eq!(answer.header("content-length"), answer.body.len().to_string());

        let etag = format!("if-none-match: {}\r\n", answer.header("etag"));
        let known = harness.get_with(path, &etag).await;
        assert_eq!(
            (known.status, known.body.len(), known.header("etag")),
            (304, 0, answer.header("etag")),
            "{path}"
        );

        let gzip = harness.get_with(path, "accept-encoding: br, gzip\r\n").await;
        assert_eq!(gzip.header("content-encoding"), "gzip");
        assert_ne!(gzip.header("etag"), answer.header("etag"));
        assert_eq!(gzip.body[..2], [0x1f, 0x8b]);
        let head = harness
            .send(&format!(
                "HEAD {path} HTTP/1.1\r\nhost: t\r\nconnection: close\r\n\r\n"
            ))
            .await;
        assert_eq!((head.status, head.body.len()), (200, 0));
        assert_eq!(
            head.header("content-length"),
            answer.header("content-length"),
            "{path}"
        );
    }
    let playlists = harness.counters.http.snapshot().class(Class::Playlist).by_status;
    assert_eq!(playlists, [0, 12, 4, 0, 0]);
}

#[tokio::test]
async fn media_is_immutable_and_takes_ranges() {
    let harness = Harness::start();
    let _feed = started(&harness);
    for path in [
        "/live/demo/source/s1/init-0.mp4",
        "/live/demo/source/s1/part-0.1.m4s",
        "/live/demo/source/s1/seg-1.m4s",
    ] {
        let whole = harness.get(path).await;
        assert_eq!(
            (whole.status, whole.header("content-type")),
            (200, "video/mp4"),
            "{path}"
        );
        assert_eq!(
            whole.header("cache-control"),
            "public, max-age=31536000, immutable"
        );
        assert_eq!(whole.header("accept-ranges"), "bytes");
        let length = whole.body.len();
        let range = harness.get_with(path, "range: bytes=100-299\r\n").await;
        assert_eq!(
            (range.status, &range.body[..]),
            (206, &whole.body[100..300]),
            "{path}"
        );
        assert_eq!(range.header("content-range"), format!("bytes 100-299/{length}"));
        let tail = harness.get_with(path, "range: bytes=-7\r\n").await;
        assert_eq!((tail.status, &tail.body[..]), (206, &whole.body[length - 7..]));
        let past = harness
            .get_with(path, &format!("range: bytes={length}-\r\n"))
            .await;
        assert_eq!(
            (past.status, past.code().as_str()),
            (416, "range_not_satisfiable")
        );
        assert_eq!(past.header("content-range"), format!("bytes */{length}"));
        assert_eq!(
            harness.get_with(path, "range: bytes=0-1,4-5\r\n").await.status,
            200
        );
        assert_eq!(
            harness
                .get_with(path, "range: bytes=0-1\r\nif-range: \"other\"\r\n")
                .await
                .status,
            200
        );
        let same = format!("range: bytes=0-1\r\nif-range: {}\r\n", whole.header("etag"));
        assert_eq!(harness.get_with(path, &same).await.status, 206);
        let known = format!("if-none-match: {}\r\n", whole.header("etag"));
        assert_eq!(harness.get_with(path, &known).await.status, 304);
    }
    let parts: Vec<u8> = {
        let mut bytes = Vec::new();
        for part in 0.. {
            let answer = harness
                .get(&format!("/live/demo/source/s1/part-0.{part}.m4s"))
                .await;
            if answer.status != 200 {
                break;
            }
            bytes.extend(answer.body);
        }
        bytes
    };
    assert_eq!(
        harness.get("/live/demo/source/s1/seg-0.m4s").await.body,
        parts,
        "parts sum to the segment"
    );
}

#[tokio::test]
async fn refusals_are_problems() {
    let harness = Harness::start();
    let _feed = started(&harness);
    let cases = [
        (
            "/live/demo/source/playlist.m3u8?_HLS_msn=99",
            400,
            "reload_too_far_ahead",
        ),
        (
            "/live/demo/source/playlist.m3u8?_HLS_part=1",
            400,
            "delivery_directive_invalid",
        ),
        (
            "/live/demo/source/playlist.m3u8?_HLS_msn=x",
            400,
            "delivery_directive_invalid",
        ),
        ("/live/demo/4k/playlist.m3u8", 404, "rendition_not_found"),
        ("/live/demo/source/s0/seg-0.m4s", 404, "media_expired"),
        ("/live/demo/source/s1/seg-99.m4s", 404, "media_unknown"),
        ("/live/demo/source/s1/part-0.99.m4s", 404, "media_unknown"),
        ("/live/demo/source/s1/init-9.mp4", 404, "media_unknown"),
        ("/live/other/master.m3u8", 404, "channel_offline"),
        ("/live/private/master.m3u8", 404, "channel_offline"),
        ("/live/demo/nothing", 404, "media_not_found"),
        ("/live/other/thumbnail.jpg", 404, "thumbnail_not_found"),
    ];
    for (path, status, code) in cases {
        let answer = harness.get(path).await;
        assert_eq!((answer.status, answer.code().as_str()), (status, code), "{path}");
    }
    let post = harness.send("POST /live/demo/master.m3u8 HTTP/1.1\r\nhost: t\r\nconnection: close\r\ncontent-length: 0\r\n\r\n").await;
    assert_eq!(
        (post.status, post.header("allow"), post.code().as_str()),
        (405, "GET, HEAD, OPTIONS", "method_not_allowed")
    );
    let preflight = harness
        .send("OPTIONS /live/demo/master.m3u8 HTTP/1.1\r\nhost: t\r\nconnection: close\r\n\r\n")
        .await;
    assert_eq!(
        (preflight.status, preflight.header("access-control-allow-origin")),
        (204, "*")
    );
    let picture = harness.get("/live/demo/thumbnail.jpg").await;
    assert_eq!(
        (picture.status, picture.header("content-type")),
        (200, "image/jpeg")
    );
}

#[tokio::test]
async fn a_held_reload_and_a_hinted_part_come_when_they_exist() {
    let harness = Harness::start();
    let mut feed = started(&harness);
    // 15 frames of segment 2 are two parts of 6 and a half-full third.
    let reload = "/live/demo/source/playlist.m3u8?_HLS_msn=2&_HLS_part=2";
    let part = "/live/demo/source/s1/part-2.2.m4s";
    let (reload, part, ()) = tokio::join!(timed(&harness, reload), timed(&harness, part), async {
        harness.until("two held", |http| http.held_now == 2).await;
        feed.push(6);
    });
    let pushed = Instant::now();
    for (answer, at) in [&reload, &part] {
        assert_eq!(answer.status, 200);
        assert!(
            *at <= pushed + Duration::from_millis(200),
            "late by {:?}",
            *at - pushed
        );
    }
    assert!(reload.0.text().contains("part-2.2.m4s\""), "{}", reload.0.text());
    let http = harness.counters.http.snapshot();
    assert_eq!(
        (
            http.class(Class::Part).held.count(),
            http.class(Class::Playlist).held.count(),
            http.held_now
        ),
        (1, 1, 0)
    );
}

async fn timed(harness: &Harness, path: &str) -> (Answer, Instant) {
    let answer = harness.get(path).await;
    (answer, Instant::now())
}

#[tokio::test]
async fn a_segment_in_progress_is_followed_to_its_end() {
    let harness = Harness::start();
    let mut feed = started(&harness);
    let mut stream = TcpStream::connect(harness.address()).await.unwrap();
    stream
        .write_all(b"GET /live/demo/source/s1/seg-2.m4s HTTP/1.1\r\nhost: t\r\nconnection: close\r\n\r\n")
        .await
        .unwrap();
    let mut bytes = vec![0; 4096];
    let read = stream.read(&mut bytes).await.unwrap();
    bytes.truncate(read);
    assert!(String::from_utf8_lossy(&bytes).contains("transfer-encoding: chunked"));
    for _ in 0..SEGMENT_FRAMES {
        feed.push(1);
        tokio::task::yield_now().await;
    }
    stream.read_to_end(&mut bytes).await.unwrap();
    let followed = Answer::parse(&bytes);
    let complete = harness.get("/live/demo/source/s1/seg-2.m4s").await;
    assert_eq!(followed.body, complete.body);
    assert_eq!(followed.header("etag"), complete.header("etag"));
}

#[tokio::test]
async fn a_stream_that_starts_is_waited_for() {
    let timing = Timing {
        start_hold: Duration::from_millis(300),
        ..Timing::default()
    };
    let harness = Harness::with(Limits::default(), timing);
    let mut feed = Feed::new("demo", "s1", 500);
    harness.windows.insert(&feed.window);
    for path in ["/live/demo/master.m3u8", "/live/demo/manifest.mpd"] {
        let answer = harness.get(path).await;
        assert_eq!(
            (
                answer.status,
                answer.code().as_str(),
                answer.header("retry-after")
            ),
            (503, "stream_starting", "1")
        );
    }
    let (answer, ()) = tokio::join!(harness.get("/live/demo/master.m3u8"), async {
        harness.until("held", |http| http.held_now == 1).await;
        feed.push(2 * SEGMENT_FRAMES + 15);
    });
    assert_eq!(answer.status, 200);
}

#[tokio::test]
async fn a_stalled_publisher_is_said_in_time() {
    let timing = Timing {
        target_duration_s: 0,
        ..Timing::default()
    };
    let harness = Harness::with(Limits::default(), timing);
    let _feed = started(&harness);
    let late = harness
        .get("/live/demo/source/playlist.m3u8?_HLS_msn=2&_HLS_part=9")
        .await;
    assert_eq!((late.status, late.code().as_str()), (503, "media_late"));
}

#[tokio::test]
async fn an_ended_stream_answers_what_it_has() {
    let harness = Harness::start();
    let mut feed = started(&harness);
    let held = "/live/demo/source/playlist.m3u8?_HLS_msn=3";
    let (answer, ()) = tokio::join!(harness.get(held), async {
        harness.until("held", |http| http.held_now == 1).await;
        feed.end();
    });
    assert_eq!(answer.status, 200);
    assert!(answer.text().contains("#EXT-X-ENDLIST"));
    // The same URL means the next stream's playlist soon.
    let blocking = "/live/demo/source/playlist.m3u8?_HLS_msn=7&_HLS_part=0";
    let answer = harness.get(blocking).await;
    assert_eq!(
        (answer.status, answer.header("cache-control")),
        (200, "public, max-age=1")
    );
}

#[tokio::test]
async fn viewers_are_counted_by_their_playlists() {
    let harness = Harness::start();
    let _feed = started(&harness);
    for agent in ["one", "two", "two"] {
        let answer = harness
            .get_with(
                "/live/demo/source/playlist.m3u8",
                &format!("user-agent: {agent}\r\n"),
            )
            .await;
        assert_eq!(answer.status, 200);
    }
    let deadline = Instant::now() + Duration::from_secs(5);
    while harness.counters.viewers.of("demo") != 2 {
        assert!(Instant::now() < deadline);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
