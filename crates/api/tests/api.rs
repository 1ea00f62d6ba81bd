//! The router as a caller sees it.
#![allow(clippy::unwrap_used)] // a failed expectation is a failed test

extern crate tidewire_api as api; // the short name, as everywhere else

#[path = "api/document.rs"]
mod document;
#[path = "api/manage.rs"]
mod manage;
#[path = "api/webhook.rs"]
mod webhook;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use api::{
    Api, ApiOptions, ChannelState, ChannelView, Directory, FindingVideo, FindingVideos, VideoCursor,
    VideoPage, VideoView,
};
use axum::Router;
use axum::body::Body;
use event_listener::{Event, EventListener};
use http::{Request, Response, StatusCode};
use http_body_util::BodyExt;
use serde_json::Value;
use tower_service::Service;

#[derive(Default)]
struct Fake {
    channels: Mutex<Vec<ChannelView>>,
    private: Mutex<Vec<ChannelView>>,
    changed: Event,
    missing: Mutex<Option<String>>,
}

impl Fake {
    fn set(&self, view: ChannelView) {
        let mut channels = self.channels.lock().unwrap();
        channels.retain(|known| known.name != view.name);
        channels.push(view);
        drop(channels);
        self.changed.notify(usize::MAX);
    }
}

impl Directory for Fake {
    fn channels(&self) -> Vec<ChannelView> {
        self.channels.lock().unwrap().clone()
    }

    fn private_channels(&self) -> Vec<ChannelView> {
        self.private.lock().unwrap().clone()
    }

    fn any_channel(&self, name: &str) -> Option<ChannelView> {
        let mut all = self.channels();
        all.extend(self.private_channels());
        all.into_iter().find(|view| view.name == name)
    }

    fn channel(&self, name: &str) -> Option<ChannelView> {
        self.channels().into_iter().find(|view| view.name == name)
    }

    fn changes(&self) -> EventListener {
        self.changed.listen()
    }

    fn videos(&self, before: Option<VideoCursor>, limit: u32) -> FindingVideos {
        let next = before.map(|cursor| format!("{cursor}/{limit}"));
        let broken = self.missing.lock().unwrap().clone();
        let page = VideoPage {
            data: vec![video("s1")],
            next,
        };
        Box::pin(std::future::ready(broken.map_or(Ok(page), Err)))
    }

    fn video(&self, id: &str) -> FindingVideo {
        let found = (id == "s1").then(|| video(id));
        Box::pin(std::future::ready(Ok(found)))
    }

    fn ready(&self) -> Result<(), String> {
        self.missing.lock().unwrap().clone().map_or(Ok(()), Err)
    }

    fn metrics(&self) -> String {
        "# EOF\n".into()
    }
}

fn video(id: &str) -> VideoView {
    VideoView {
        id: id.into(),
        channel: "demo".into(),
        started_at: "2026-11-20T18:03:11.250Z".into(),
        duration_ms: 12_000,
        bytes: 700_000,
        complete: true,
        hls: format!("/vod/{id}/master.m3u8"),
        dash: format!("/vod/{id}/manifest.mpd"),
        renditions: Vec::new(),
    }
}

fn setup(options: ApiOptions) -> (Arc<Fake>, Api, Router) {
    let fake = Arc::new(Fake::default());
    fake.set(ChannelView::offline("demo"));
    fake.set(ChannelView::offline("other"));
    *fake.private.lock().unwrap() = vec![ChannelView::offline("secret"), ChannelView::offline("hidden")];
    let directory: Arc<dyn Directory> = Arc::clone(&fake) as _;
    let api = Api::new(directory, options);
    let router = api.router();
    (fake, api, router)
}

async fn send(router: &Router, method: &str, path: &str) -> Response<Body> {
    let request = Request::builder()
        .method(method)
        .uri(path)
        .body(Body::empty())
        .unwrap();
    router.clone().call(request).await.unwrap()
}

async fn get(router: &Router, path: &str) -> Response<Body> {
    send(router, "GET", path).await
}

async fn text(response: Response<Body>) -> String {
    String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap()
}

async fn json(response: Response<Body>) -> Value {
    serde_json::from_str(&text(response).await).unwrap()
}

#[tokio::test]
async fn channels_are_listed_and_shown() {
    let (_fake, _api, router) = setup(ApiOptions::default());
    let list = get(&router, "/api/v1/channels").await;
    assert_eq!(list.headers()["access-control-allow-origin"], "*");
    assert_eq!(list.headers()["cache-control"], "no-store");
    assert!(list.headers().contains_key("x-request-id"));
    let list = json(list).await;
    assert_eq!(list["data"].as_array().map(Vec::len), Some(2));
    let view = json(get(&router, "/api/v1/channels/demo").await).await;
    let expected = serde_json::json!({
        "name": "demo", "state": "offline", "title": null, "started_at": null, "viewers": 0, "thumbnail": null,
        "hls": "/live/demo/master.m3u8", "dash": "/live/demo/manifest.mpd", "stream_id": null,
        "renditions": [], "notices": [],
    });
    assert_eq!(view, expected);
}

#[tokio::test]
async fn videos_are_listed_and_shown() {
    let (fake, _api, router) = setup(ApiOptions::default());
    let list = json(get(&router, "/api/v1/videos").await).await;
    assert_eq!(
        (&list["data"][0]["id"], &list["next"]),
        (&"s1".into(), &Value::Null)
    );
    let next = json(get(&router, "/api/v1/videos?after=17.s0&limit=2").await).await;
    assert_eq!(next["next"], "17.s0/2");
    let view = json(get(&router, "/api/v1/videos/s1").await).await;
    assert_eq!(view, serde_json::to_value(video("s1")).unwrap());
    for (path, status, code) in [
        ("/api/v1/videos/s2", 404, "title_not_found"),
        ("/api/v1/videos/%ff", 404, "title_not_found"),
        ("/api/v1/videos?after=x", 400, "parameter_invalid"),
        ("/api/v1/videos?after=1.a%20b", 400, "parameter_invalid"),
        ("/api/v1/videos?limit=0", 400, "parameter_invalid"),
        ("/api/v1/videos?limit=201", 400, "parameter_invalid"),
    ] {
        let response = get(&router, path).await;
        assert_eq!(response.status(), status, "{path}");
        assert_eq!(json(response).await["code"], code, "{path}");
    }
    *fake.missing.lock().unwrap() = Some("The disk is gone.".into());
    assert_eq!(get(&router, "/api/v1/videos").await.status(), 503);
}

#[tokio::test]
async fn refusals_are_problems_with_the_request_id() {
    let (_fake, _api, router) = setup(ApiOptions::default());
    let cases = [
        ("GET", "/api/v1/channels/nobody", 404, "channel_not_found"),
        ("GET", "/api/v1/channels/%ff", 404, "channel_not_found"),
        ("GET", "/api/v1/nothing", 404, "path_not_found"),
        ("GET", "/api", 404, "path_not_found"),
        ("POST", "/api/v1/channels", 405, "method_not_allowed"),
        ("GET", "/nothing", 404, "page_not_found"),
        ("GET", "/assets/nothing.js", 404, "page_not_found"),
        ("POST", "/", 405, "method_not_allowed"),
    ];
    for (method, path, status, code) in cases {
        let response = send(&router, method, path).await;
        assert_eq!(response.status().as_u16(), status, "{path}");
        assert_eq!(
            response.headers()["content-type"],
            "application/problem+json",
            "{path}"
        );
        assert_eq!(
            status == 405,
            response.headers().contains_key("allow"),
            "{path}: {:?}",
            response.headers()
        );
        let id = response.headers()["x-request-id"].to_str().unwrap().to_owned();
        let body = json(response).await;
        assert_eq!(
            (body["code"].as_str(), body["request_id"].as_str()),
            (Some(code), Some(id.as_str())),
            "{path}"
        );
    }
    let request = Request::get("/api/v1/nothing")
        .header("x-request-id", "given-7")
        .body(Body::empty())
        .unwrap();
    let response = router.clone().call(request).await.unwrap();
    assert_eq!(json(response).await["request_id"], "given-7");
    assert_eq!(send(&router, "OPTIONS", "/api/v1/channels").await.status(), 204);
}

#[tokio::test]
async fn operations() {
    let (fake, _api, router) = setup(ApiOptions::default());
    assert_eq!(get(&router, "/healthz").await.status(), 200);
    assert_eq!(get(&router, "/readyz").await.status(), 200);
    *fake.missing.lock().unwrap() = Some("The database cannot be written.".into());
    let response = get(&router, "/readyz").await;
    assert_eq!(response.status(), 503);
    assert_eq!(json(response).await["detail"], "The database cannot be written.");
    assert_eq!(text(get(&router, "/metrics").await).await, "# EOF\n");
    let time = text(get(&router, "/api/v1/time").await).await;
    assert!(time.len() == 24 && time.ends_with('Z'), "{time}");
    assert_eq!(send(&router, "HEAD", "/api/v1/time").await.status(), 200);
}

/// The next event: its name and data.
async fn event(body: &mut Body, pending: &mut String) -> (String, Value) {
    loop {
        if let Some((event, rest)) = pending.split_once("\n\n") {
            let (event, rest) = (event.to_owned(), rest.to_owned());
            *pending = rest;
            let (name, data) = event.split_once("\ndata: ").unwrap();
            return (
                name.trim_start_matches("event: ").to_owned(),
                serde_json::from_str(data).unwrap(),
            );
        }
        let frame = tokio::time::timeout(Duration::from_secs(5), body.frame())
            .await
            .expect("an event in time");
        pending.push_str(std::str::from_utf8(&frame.unwrap().unwrap().into_data().unwrap()).unwrap());
    }
}

#[tokio::test]
async fn events_begin_with_a_snapshot_and_carry_the_latest_state() {
    let (fake, api, router) = setup(ApiOptions::default());
    let runner = tokio::spawn(api.run());
    let response = get(&router, "/api/v1/live").await;
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let (mut body, mut pending) = (response.into_body(), String::new());
    let (name, data) = event(&mut body, &mut pending).await;
    assert_eq!(
        (name.as_str(), data["data"].as_array().map(Vec::len)),
        ("snapshot", Some(2))
    );

    let mut only = get(&router, "/api/v1/live?channel=other").await.into_body();
    let mut only_pending = String::new();
    let (_, data) = event(&mut only, &mut only_pending).await;
    assert_eq!(
        (
            data["data"][0]["name"].as_str(),
            data["data"].as_array().map(Vec::len)
        ),
        (Some("other"), Some(1))
    );

    tokio::task::yield_now().await;
    let mut view = ChannelView::offline("demo");
    view.state = ChannelState::Starting;
    fake.set(view.clone());
    let (name, data) = event(&mut body, &mut pending).await;
    assert_eq!(
        (name.as_str(), data["name"].as_str(), data["state"].as_str()),
        ("channel", Some("demo"), Some("starting"))
    );

    // Two changes while nobody reads are one event.
    view.state = ChannelState::Live;
    fake.set(view.clone());
    tokio::time::sleep(Duration::from_millis(200)).await;
    view.viewers = 3;
    fake.set(view);
    tokio::time::sleep(Duration::from_millis(200)).await;
    let mut other = ChannelView::offline("other");
    other.state = ChannelState::Live;
    fake.set(other);
    let (_, data) = event(&mut body, &mut pending).await;
    assert_eq!(
        (data["state"].as_str(), data["viewers"].as_u64()),
        (Some("live"), Some(3))
    );
    let (name, data) = event(&mut only, &mut only_pending).await;
    assert_eq!((name.as_str(), data["name"].as_str()), ("channel", Some("other")));

    fake.channels.lock().unwrap().retain(|view| view.name != "demo");
    fake.changed.notify(usize::MAX);
    loop {
        let (name, data) = event(&mut body, &mut pending).await;
        if name == "removed" {
            assert_eq!(data["name"], "demo");
            break;
        }
    }
    runner.abort();
}

#[tokio::test(start_paused = true)]
async fn silence_is_kept_alive() {
    let (_fake, _api, router) = setup(ApiOptions::default());
    let mut body = get(&router, "/api/v1/live").await.into_body();
    body.frame().await.unwrap().unwrap();
    let comment = body.frame().await.unwrap().unwrap().into_data().unwrap();
    assert_eq!(&comment[..], b": keep-alive\n\n");
}

#[tokio::test]
async fn a_closed_api_ends_its_event_streams() {
    let (fake, api, router) = setup(ApiOptions::default());
    let mut body = get(&router, "/api/v1/live").await.into_body();
    body.frame().await.unwrap().unwrap();
    let waiting = tokio::spawn(async move {
        assert!(body.frame().await.is_none(), "a frame after the end");
        body
    });
    tokio::task::yield_now().await;
    api.close();
    let mut body = tokio::time::timeout(Duration::from_secs(5), waiting)
        .await
        .unwrap()
        .unwrap();
    fake.set(ChannelView::offline("late"));
    assert!(body.frame().await.is_none());
    // One that comes late has its snapshot.
    let late = text(get(&router, "/api/v1/live").await).await;
    assert!(
        late.starts_with("event: snapshot") && late.ends_with("\n\n"),
        "{late}"
    );
}

#[tokio::test]
async fn event_streams_are_bounded() {
    let (_fake, _api, router) = setup(ApiOptions {
        event_streams_max: 1,
        ..ApiOptions::default()
    });
    let one = get(&router, "/api/v1/live").await;
    let refused = get(&router, "/api/v1/live").await;
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(refused.headers()["retry-after"], "10");
    drop(one);
    assert_eq!(get(&router, "/api/v1/live").await.status(), 200);
}

#[tokio::test]
async fn the_front_page_is_there_with_or_without_the_application() {
    let (fake, _api, router) = setup(ApiOptions::default());
    let mut view = ChannelView::offline("demo");
    view.state = ChannelState::Live;
    fake.set(view);
    let page = get(&router, "/").await;
    assert_eq!(page.status(), 200);
    assert_eq!(page.headers()["content-type"], "text/html; charset=utf-8");
    assert_eq!(page.headers()["cache-control"], "no-cache");
    assert_eq!(page.headers()["x-content-type-options"], "nosniff");
    let policy = page.headers()["content-security-policy"]
        .to_str()
        .unwrap()
        .to_owned();
    assert!(
        policy.contains("worker-src 'self' blob:") && policy.contains("frame-ancestors 'self'"),
        "{policy}"
    );
    let html = text(page).await;
    if html.contains("cargo xtask web") {
        assert!(html.contains("/live/demo/master.m3u8"), "{html}");
    }
}

fn keys() -> (access::SigningKey, Arc<access::KeyRing>) {
    let key = access::SigningKey::new(access::KeyId::new([1; 5]), b"a secret of the tests");
    let ring = Arc::new(access::KeyRing::default());
    ring.replace(vec![key.clone()]);
    (key, ring)
}

fn grant(scope: &str, lasts_s: u64) -> (Arc<access::Grant>, Arc<access::KeyRing>) {
    let (key, ring) = keys();
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let claims = access::Claims {
        key_id: key.id(),
        expires_at_s: since.unwrap().as_secs() + lasts_s,
        not_before_s: None,
        network: None,
        scope: access::Scope::of_link(scope).unwrap(),
    };
    let grant = access::Grant::open(&key.sign(&claims), &ring).unwrap();
    (Arc::new(grant), ring)
}

async fn get_granted(router: &Router, path: &str, grant: &Arc<access::Grant>) -> Response<Body> {
    let mut request = Request::builder().uri(path).body(Body::empty()).unwrap();
    request.extensions_mut().insert(Arc::clone(grant));
    router.clone().call(request).await.unwrap()
}

#[tokio::test]
async fn a_grant_shows_its_private_channel_and_no_other() {
    let (_fake, _api, router) = setup(ApiOptions::default());
    let (grant, _ring) = grant("/watch/secret", 60);
    assert_eq!(get(&router, "/api/v1/channels/secret").await.status(), 404);
    let view = json(get_granted(&router, "/api/v1/channels/secret", &grant).await).await;
    let hls = format!("/t/{}/live/secret/master.m3u8", grant.token());
    assert_eq!(
        (view["name"].as_str(), view["hls"].as_str()),
        (Some("secret"), Some(&*hls))
    );
    let other = get_granted(&router, "/api/v1/channels/hidden", &grant).await;
    assert_eq!(other.status(), 404);
    let listed = text(get_granted(&router, "/api/v1/channels", &grant).await).await;
    assert!(!listed.contains("secret") && !listed.contains("hidden"));
}

async fn next_event(body: &mut Body) -> Option<String> {
    let frame = tokio::time::timeout(Duration::from_secs(20), body.frame()).await;
    let data = frame.expect("an event or the end").transpose().unwrap()?;
    Some(String::from_utf8(data.into_data().unwrap().to_vec()).unwrap())
}

#[tokio::test]
async fn event_streams_of_private_channels_need_a_grant_and_end_with_it() {
    let (fake, api, router) = setup(ApiOptions::default());
    let running = tokio::spawn(api.clone().run());
    let path = "/api/v1/live?channel=secret";
    let (grant, ring) = grant("/watch/secret", 60);
    let mut open = get(&router, path).await.into_body();
    assert!(next_event(&mut open).await.unwrap().contains("{\"data\":[]}"));
    let mut all = get(&router, "/api/v1/live").await.into_body();
    let snapshot = next_event(&mut all).await.unwrap();
    assert!(!snapshot.contains("secret") && !snapshot.contains("hidden"));

    let mut granted = get_granted(&router, path, &grant).await.into_body();
    let snapshot = next_event(&mut granted).await.unwrap();
    assert!(snapshot.contains("\"name\":\"secret\"") && !snapshot.contains("hidden"));
    let mut live = ChannelView::offline("secret");
    live.state = ChannelState::Live;
    live.thumbnail = Some("/live/secret/thumbnail.jpg?v=1".to_owned());
    *fake.private.lock().unwrap() = vec![live];
    fake.changed.notify(usize::MAX);
    let event = next_event(&mut granted).await.unwrap();
    assert!(
        event.starts_with("event: channel\n") && !event.contains("hidden"),
        "{event}"
    );
    let thumbnail = format!("\"/t/{}/live/secret/thumbnail.jpg?v=1\"", grant.token());
    assert!(event.contains(&thumbnail), "{event}");

    // Its key is revoked: the next thing to say is not said any more.
    ring.replace(Vec::new());
    fake.private.lock().unwrap()[0].viewers = 7;
    fake.changed.notify(usize::MAX);
    assert_eq!(next_event(&mut granted).await, None);
    running.abort();
}

#[tokio::test]
async fn event_streams_end_when_their_token_expires() {
    let (_fake, api, router) = setup(ApiOptions::default());
    let running = tokio::spawn(api.clone().run());
    let (grant, _ring) = grant("/watch/secret", 1);
    let mut body = get_granted(&router, "/api/v1/live?channel=secret", &grant)
        .await
        .into_body();
    // At most the snapshot, the board's first look and a sign of life.
    let mut said = 0;
    while next_event(&mut body).await.is_some() {
        said += 1;
    }
    assert!(said <= 4, "{said}");
    running.abort();
}

async fn verify(router: &Router, body: &str) -> (StatusCode, Value) {
    let request = Request::post("/api/v1/tokens/verify")
        .body(Body::from(body.to_owned()))
        .unwrap();
    let response = router.clone().call(request).await.unwrap();
    (response.status(), json(response).await)
}

#[tokio::test]
async fn a_token_is_explained_to_anybody() {
    let (grant, ring) = grant("/watch/secret", 60);
    let (_fake, _api, router) = setup(ApiOptions {
        signing_keys: ring,
        ..ApiOptions::default()
    });
    let link = format!("https://h/t/{}/watch/secret", grant.token());
    let (status, report) = verify(
        &router,
        &serde_json::json!({ "token": link, "ip": "192.0.2.1" }).to_string(),
    )
    .await;
    assert_eq!(
        (status, &report["valid"], &report["code"]),
        (StatusCode::OK, &true.into(), &Value::Null)
    );
    assert_eq!(report["token"]["opens"], "/live/secret/");
    let question = serde_json::json!({ "token": grant.token(), "path": "/watch/other" });
    let (_, report) = verify(&router, &question.to_string()).await;
    assert_eq!(
        (&report["valid"], &report["code"]),
        (&false.into(), &"token_path".into())
    );
    let claims: Vec<_> = report["claims"]
        .as_array()
        .unwrap()
        .iter()
        .map(|claim| (claim["claim"].as_str().unwrap(), claim["ok"] == true))
        .collect();
    assert_eq!(
        claims,
        [
            ("form", true),
            ("signature", true),
            ("expires", true),
            ("path", false)
        ]
    );
    let (_, report) = verify(&router, "{\"token\":\"x\"}").await;
    assert_eq!(
        (&report["token"], &report["code"]),
        (&Value::Null, &"token_malformed".into())
    );
    for body in [
        "",
        "[]",
        "{}",
        "{\"token\":\"x\",\"ip\":\"here\"}",
        "{\"token\":\"x\",\"more\":1}",
    ] {
        let (status, problem) = verify(&router, body).await;
        assert_eq!(
            (status, &problem["code"]),
            (StatusCode::BAD_REQUEST, &"body_invalid".into()),
            "{body}"
        );
    }
    let (status, problem) = verify(&router, &" ".repeat(3 << 20)).await;
    assert_eq!(
        (status, &problem["code"]),
        (StatusCode::PAYLOAD_TOO_LARGE, &"body_too_large".into())
    );
}
