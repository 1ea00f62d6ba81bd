//! Paths behind a token.

use deliver::Class;
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;

use crate::feed::{Feed, SEGMENT_FRAMES};
use crate::support::Harness;

fn started(harness: &Harness, channel: &str) -> Feed {
    let mut feed = Feed::new(channel, "s1", 500);
    feed.push(2 * SEGMENT_FRAMES + 15);
    harness.windows.insert(&feed.window);
    feed
}

#[tokio::test]
async fn a_token_opens_a_private_channel_and_playlists_lead_on_behind_it() {
    let harness = Harness::start();
    let _feed = started(&harness, "private");
    let token = harness.token("/watch/private", |_| {});
    let cases = [
        (
            "master.m3u8",
            "application/vnd.apple.mpegurl",
            "private, max-age=1",
        ),
        ("manifest.mpd", "application/dash+xml", "private, max-age=1"),
        ("thumbnail.jpg", "image/jpeg", "private, max-age=10"),
        (
            "source/playlist.m3u8?_HLS_msn=1",
            "application/vnd.apple.mpegurl",
            "private, max-age=12",
        ),
    ];
    for (name, kind, cache) in cases {
        let plain = harness.get(&format!("/live/private/{name}")).await;
        assert_eq!(plain.status, 404, "{name}");
        let answer = harness.get(&format!("/t/{token}/live/private/{name}")).await;
        assert_eq!(
            (
                answer.status,
                answer.header("content-type"),
                answer.header("cache-control")
            ),
            (200, kind, cache),
            "{name}"
        );
        // Nothing in it leads out from behind the token, but for the clock, which everybody may ask.
        if let Ok(text) = std::str::from_utf8(&answer.body) {
            let text = text.replace("\"/api/v1/time\"", "");
            assert!(!text.contains("/live/") && !text.contains("=\"/"), "{text}");
            assert!(!text.contains("<BaseURL"), "{text}");
        }
    }
    for name in ["init-0.mp4", "part-1.0.m4s", "seg-1.m4s"] {
        let path = format!("/live/private/source/s1/{name}");
        assert_eq!(harness.get(&path).await.code(), "channel_offline");
        let answer = harness.get(&format!("/t/{token}{path}")).await;
        assert_eq!(answer.status, 200, "{name}");
        let cache = answer.header("cache-control");
        let seconds = cache.strip_prefix("private, max-age=").unwrap();
        let seconds: u32 = seconds.strip_suffix(", immutable").unwrap().parse().unwrap();
        assert!((1..=60).contains(&seconds), "as long as the token: {cache}");
        assert_eq!(
            answer.header("etag"),
            format!("\"source/s1/{name}\""),
            "the token is no part of what the bytes are"
        );
    }
}

#[tokio::test]
async fn a_public_channel_is_the_same_behind_a_token() {
    let harness = Harness::start();
    let _feed = started(&harness, "demo");
    let token = harness.token("/live/demo/", |_| {});
    for name in ["master.m3u8", "source/playlist.m3u8", "source/s1/seg-1.m4s"] {
        let plain = harness.get(&format!("/live/demo/{name}")).await;
        let behind = harness.get(&format!("/t/{token}/live/demo/{name}")).await;
        assert_eq!((behind.status, &behind.body), (200, &plain.body), "{name}");
        assert_eq!(behind.header("etag"), plain.header("etag"), "{name}");
    }
}

#[tokio::test]
async fn every_refusal_has_its_code_and_tells_nothing_of_the_channel() {
    let harness = Harness::start();
    let _feed = started(&harness, "private");
    let other_key = access::SigningKey::new(access::KeyId::new([1; 5]), b"another secret");
    let forged = |path: &str| {
        let mut claims = None;
        harness.token(path, |made| claims = Some(made.clone()));
        other_key.sign(&claims.unwrap())
    };
    let network = |text: &str| text.parse().ok();
    for channel in ["private", "nowhere"] {
        let watch = format!("/watch/{channel}");
        let cases = [
            ("x".to_owned(), 401, "token_malformed"),
            (String::new(), 401, "token_malformed"),
            (forged(&watch), 401, "token_signature"),
            (
                harness.token(&watch, |claims| claims.expires_at_s -= 60),
                401,
                "token_expired",
            ),
            (
                harness.token(&watch, |claims| claims.not_before_s = Some(claims.expires_at_s)),
                401,
                "token_not_yet",
            ),
            (
                harness.token(&watch, |claims| claims.network = network("192.0.2.0/24")),
                403,
                "token_ip",
            ),
            (harness.token("/watch/another", |_| {}), 403, "token_path"),
        ];
        for (token, status, code) in cases {
            for path in [
                "master.m3u8",
                "thumbnail.jpg",
                "source/s1/init-0.mp4",
                "source/s1/part-1.0.m4s",
            ] {
                let answer = harness.get(&format!("/t/{token}/live/{channel}/{path}")).await;
                assert_eq!((answer.status, answer.code().as_str()), (status, code), "{path}");
                assert_eq!(answer.header("cache-control"), "no-store");
                assert_eq!(answer.header("access-control-allow-origin"), "*");
                assert_eq!(answer.headers.contains_key("www-authenticate"), status == 401);
            }
        }
    }
    let refusals = harness.counters.http.snapshot().token_refusals;
    assert_eq!(refusals, [16, 8, 8, 8, 8, 8], "in the order of Refusal::ALL");
}

#[tokio::test]
async fn a_connection_is_asked_again_for_every_request() {
    let harness = Harness::start();
    let _feed = started(&harness, "private");
    let token = harness.token("/watch/private", |_| {});
    let stream = TcpStream::connect(harness.address()).await.unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .unwrap();
    tokio::spawn(connection);
    let mut ask = async |path: &str| {
        let request = hyper::Request::get(format!("http://localhost/t/{token}{path}"))
            .body(Empty::<bytes::Bytes>::new())
            .unwrap();
        let response = sender.send_request(request).await.unwrap();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        String::from_utf8(body.to_vec()).unwrap()
    };
    let path = "/live/private/master.m3u8";
    for _ in 0..2 {
        assert!(ask(path).await.starts_with("#EXTM3U"));
    }
    assert_eq!(
        ask("/api/v1/channels/private").await,
        "http://localhost/api/v1/channels/private granted /live/private/"
    );
    assert!(ask("/live/other/master.m3u8").await.contains("token_path"));
    harness.keys.replace(Vec::new());
    assert!(ask(path).await.contains("token_signature"));
}

#[tokio::test]
async fn the_router_sees_the_plain_path_and_the_grant() {
    let harness = Harness::start();
    let token = harness.token("/watch/private", |_| {});
    let answer = harness
        .get(&format!("/t/{token}/api/v1/channels/private?x=1"))
        .await;
    assert_eq!(
        answer.text(),
        "/api/v1/channels/private?x=1 granted /live/private/"
    );
    let plain = harness.get("/api/v1/channels/private").await;
    assert_eq!(plain.text(), "/api/v1/channels/private granted nothing");
    // Nothing else is reached behind a token.
    for path in ["/hello", "/", "", "/t/x/live/private/master.m3u8", "/metrics"] {
        let answer = harness.get(&format!("/t/{token}{path}")).await;
        assert_eq!(
            (answer.status, answer.code().as_str()),
            (404, "media_not_found"),
            "{path}"
        );
    }
    let preflight = harness
        .send(&format!(
            "OPTIONS /t/{token}/live/private/master.m3u8 HTTP/1.1\r\nhost: t\r\nconnection: close\r\n\r\n"
        ))
        .await;
    assert_eq!(preflight.status, 204);
}

#[tokio::test]
async fn a_browser_gets_the_page_to_say_why() {
    let harness = Harness::start();
    let token = harness.token("/watch/private", |_| {});
    let accept = "accept: text/html,*/*\r\nif-none-match: \"page\"\r\n";
    let page = harness
        .get_with(&format!("/t/{token}/watch/private"), "accept: text/html\r\n")
        .await;
    assert_eq!((page.status, page.text()), (200, "<html>"));
    assert_eq!(page.header("cache-control"), "private, no-cache");
    assert_eq!(page.header("referrer-policy"), "no-referrer");
    let expired = harness.token("/watch/private", |claims| claims.expires_at_s -= 60);
    let refused = harness
        .get_with(&format!("/t/{expired}/watch/private"), accept)
        .await;
    assert_eq!((refused.status, refused.text()), (401, "<html>"));
    assert_eq!(refused.header("cache-control"), "no-store");
    assert_eq!(refused.header("referrer-policy"), "no-referrer");
    assert!(!refused.headers.contains_key("etag") && refused.headers.contains_key("www-authenticate"));
    // A program gets the problem.
    let refused = harness.get(&format!("/t/{expired}/watch/private")).await;
    assert_eq!((refused.status, refused.code().as_str()), (401, "token_expired"));
    assert!(harness.counters.http.snapshot().class(Class::Other).by_status[3] >= 2);
}
