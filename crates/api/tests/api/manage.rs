//! What needs a token, over a real database.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use api::{Api, ApiOptions, ChannelView, Control, PublishPorts, StreamStats};
use axum::Router;
use axum::body::Body;
use http::{Request, Response};
use http_body_util::BodyExt;
use platform::{Channel, Platform, Scope, Scopes, StreamState};
use serde_json::{Value, json};
use tower_service::Service;

use crate::{Fake, json};

/// Streams that run, by id.
#[derive(Default)]
pub(crate) struct FakeControl {
    running: Mutex<Vec<(String, StreamStats)>>,
}

impl Control for FakeControl {
    fn view(&self, channel: &Channel) -> ChannelView {
        ChannelView::offline(&channel.name)
    }

    fn running(&self) -> Vec<(String, StreamStats)> {
        self.running.lock().unwrap().clone()
    }

    fn stats(&self, stream_id: &str) -> Option<StreamStats> {
        let running = self.running();
        running
            .into_iter()
            .find(|(id, _)| id == stream_id)
            .map(|(_, stats)| stats)
    }

    fn publisher_address(&self, stream_id: &str) -> Option<String> {
        self.stats(stream_id).map(|_| "192.0.2.7".to_owned())
    }

    fn stop(&self, stream_id: &str) -> bool {
        let mut running = self.running.lock().unwrap();
        let before = running.len();
        running.retain(|(id, _)| id != stream_id);
        running.len() < before
    }
}

fn stats(viewers: u32) -> StreamStats {
    StreamStats {
        at: "2026-01-01T00:00:00.000Z".to_owned(),
        ingest_bitrate: 3_000_000,
        frame_rate: 30.0,
        gop_ms: 2000,
        clock_drift_ms: -1.5,
        audio_drift_ms: 0.0,
        repairs: 0,
        discontinuities: 0,
        viewers,
        encoder: None,
        renditions: Vec::new(),
        notices: Vec::new(),
    }
}

/// A managed API over a database of its own, which goes with it.
pub(crate) struct Office {
    dir: PathBuf,
    pub(crate) platform: Platform,
    pub(crate) control: Arc<FakeControl>,
    directory: Arc<Fake>,
    pub(crate) api: Api,
    pub(crate) router: Router,
    admin: String,
}

impl Office {
    pub(crate) async fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let dir = std::env::temp_dir().join(format!("tidewire-api-{}-{number}", std::process::id()));
        let _ = std::fs::remove_dir_all(&dir);
        let platform = Platform::open(&dir).await.unwrap();
        let control = Arc::new(FakeControl::default());
        let fake = Arc::new(Fake::default());
        fake.set(ChannelView::offline("demo"));
        let ports = PublishPorts {
            rtmp: Some(1935),
            ..PublishPorts::default()
        };
        let api = Api::new(
            Arc::clone(&fake) as Arc<dyn api::Directory>,
            ApiOptions::default(),
        )
        .with_management(platform.clone(), Arc::clone(&control) as Arc<dyn Control>, ports);
        let admin = platform
            .create_admin_token("test", Scopes::ALL, None)
            .await
            .unwrap();
        Self {
            dir,
            platform,
            control,
            directory: fake,
            router: api.router(),
            api,
            admin: admin.token.expose().to_owned(),
        }
    }

    async fn token(&self, scope: Scope) -> String {
        let scopes = [scope].into_iter().collect();
        let made = self
            .platform
            .create_admin_token("narrow", scopes, None)
            .await
            .unwrap();
        made.token.expose().to_owned()
    }

    pub(crate) async fn send(
        &self,
        token: Option<&str>,
        method: &str,
        path: &str,
        body: Option<&Value>,
    ) -> Response<Body> {
        self.send_with(token, method, path, body, &[]).await
    }

    async fn send_with(
        &self,
        token: Option<&str>,
        method: &str,
        path: &str,
        body: Option<&Value>,
        headers: &[(&str, &str)],
    ) -> Response<Body> {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "example.org:8080");
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let body = match body {
            Some(body) => {
                request = request.header("content-type", "application/json");
                Body::from(body.to_string())
            }
            None => Body::empty(),
        };
        self.router
            .clone()
            .call(request.body(body).unwrap())
            .await
            .unwrap()
    }

    /// As the operator who may do everything: status and JSON.
    pub(crate) async fn ask(&self, method: &str, path: &str, body: Option<Value>) -> (u16, Value) {
        let response = self.send(Some(&self.admin), method, path, body.as_ref()).await;
        let status = response.status().as_u16();
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        (status, serde_json::from_slice(&bytes).unwrap_or(Value::Null))
    }
}

impl Drop for Office {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

#[tokio::test]
async fn a_token_says_who_it_is_and_where_publishers_go() {
    let office = Office::new().await;
    let (status, me) = office.ask("GET", "/api/v1/me", None).await;
    assert_eq!(status, 200);
    assert_eq!(me["token"]["scopes"], json!(["read", "publish", "admin"]));
    assert_eq!(me["server"]["rtmp"], "rtmp://example.org:1935/live");
    assert_eq!(
        (&me["server"]["http"], &me["server"]["srt"]),
        (&json!("http://example.org:8080"), &Value::Null)
    );
}

#[tokio::test]
async fn tokens_do_what_their_scopes_say_and_no_more() {
    let office = Office::new().await;
    let (read, publish) = (
        office.token(Scope::Read).await,
        office.token(Scope::Publish).await,
    );
    let revoked = office
        .platform
        .create_admin_token("gone", Scopes::ALL, None)
        .await
        .unwrap();
    office
        .platform
        .revoke_admin_token(&revoked.info.id)
        .await
        .unwrap();
    office.platform.create_channel("stage", false).await.unwrap();
    let (channels, keys) = ("/api/v1/manage/channels", "/api/v1/manage/channels/stage/keys");
    let (channel, key) = (json!({ "name": "attic" }), json!({}));
    for (token, method, path, body, expected) in [
        (None, "GET", channels, None, (401, "token_missing")),
        (Some("twa_0"), "GET", channels, None, (401, "token_refused")),
        (
            Some(revoked.token.expose()),
            "GET",
            channels,
            None,
            (401, "token_refused"),
        ),
        (Some(&read), "GET", channels, None, (200, "")),
        (
            Some(&read),
            "POST",
            channels,
            Some(&channel),
            (403, "scope_missing"),
        ),
        (Some(&read), "POST", keys, Some(&key), (403, "scope_missing")),
        (Some(&publish), "GET", keys, None, (403, "scope_missing")),
        (Some(&publish), "POST", keys, Some(&key), (201, "")),
        (
            Some(&publish),
            "POST",
            channels,
            Some(&channel),
            (403, "scope_missing"),
        ),
        (Some(&office.admin), "POST", channels, Some(&channel), (201, "")),
    ] {
        let response = office.send(token, method, path, body).await;
        let status = response.status().as_u16();
        let answer = json(response).await;
        let code = answer["code"].as_str().unwrap_or("");
        assert_eq!((status, code), expected, "{token:?} {method} {path}");
    }
    // A stream key opens nothing here.
    let key = office.platform.add_key("stage", "", None).await.unwrap();
    let response = office
        .send(Some(key.stream_key.expose()), "GET", channels, None)
        .await;
    assert_eq!(response.status(), 401);
}

#[tokio::test]
async fn a_channel_and_its_keys_from_first_to_last() {
    let office = Office::new().await;
    let channels = "/api/v1/manage/channels";
    let (status, made) = office
        .ask(
            "POST",
            channels,
            Some(json!({ "name": "stage", "private": true })),
        )
        .await;
    assert_eq!((status, made["channel"]["private"].as_bool()), (201, Some(true)));
    let first = made["key"]["stream_key"].as_str().unwrap().to_owned();
    assert!(office.platform.authorize_publish(&first).await.is_ok());
    let again = office
        .ask("POST", channels, Some(json!({ "name": "stage" })))
        .await;
    assert_eq!((again.0, again.1["code"].as_str()), (409, Some("channel_exists")));
    let stage = format!("{channels}/stage");
    let (_, shown) = office
        .ask("PATCH", &stage, Some(json!({ "private": false })))
        .await;
    assert_eq!(shown["private"], false);
    let keys = format!("{stage}/keys");
    let body = json!({ "label": "guest", "expires_at": "2099-01-01T00:00:00Z" });
    let (_, guest) = office.ask("POST", &keys, Some(body)).await;
    assert_eq!(guest["expires_at"], "2099-01-01T00:00:00.000Z");
    let first_id = made["key"]["id"].as_str().unwrap();
    let (status, rotated) = office
        .ask(
            "POST",
            &format!("{keys}/{first_id}/rotate"),
            Some(json!({ "overlap_s": 0 })),
        )
        .await;
    assert_eq!(status, 201);
    assert!(office.platform.authorize_publish(&first).await.is_err());
    let second = rotated["stream_key"].as_str().unwrap();
    assert!(office.platform.authorize_publish(second).await.is_ok());
    let guest_id = guest["id"].as_str().unwrap();
    assert_eq!(
        office.ask("DELETE", &format!("{keys}/{guest_id}"), None).await.0,
        204
    );
    let (_, list) = office.ask("GET", &keys, None).await;
    let list = list["data"].as_array().unwrap().clone();
    assert_eq!(list.len(), 3);
    assert!(list.iter().all(|key| key.get("stream_key").is_none()), "{list:?}");
    assert!(list[1]["revoked_at"].is_string());
    assert_eq!(office.ask("DELETE", &stage, None).await.0, 204);
    assert_eq!(office.ask("GET", &stage, None).await.0, 404);
    assert!(office.platform.authorize_publish(second).await.is_err());
}

#[tokio::test]
async fn lists_come_in_pages() {
    let office = Office::new().await;
    for number in 0..5 {
        office
            .platform
            .create_channel(&format!("c{number}"), false)
            .await
            .unwrap();
    }
    let (mut names, mut after) = (Vec::new(), String::new());
    loop {
        let (status, page) = office
            .ask("GET", &format!("/api/v1/manage/channels?limit=2{after}"), None)
            .await;
        assert_eq!(status, 200);
        let data = page["data"].as_array().unwrap();
        names.extend(
            data.iter()
                .map(|channel| channel["name"].as_str().unwrap().to_owned()),
        );
        let Some(next) = page["next"].as_str() else { break };
        after = format!("&after={next}");
    }
    assert_eq!(names, ["c0", "c1", "c2", "c3", "c4"]);
    for limit in ["0", "201", "many", ""] {
        let (status, problem) = office
            .ask("GET", &format!("/api/v1/tokens?limit={limit}"), None)
            .await;
        assert_eq!(
            (status, problem["code"].as_str()),
            (400, Some("parameter_invalid")),
            "{limit}"
        );
    }
}

#[tokio::test]
async fn bodies_are_what_the_document_says_or_refused() {
    let office = Office::new().await;
    let tokens = "/api/v1/tokens";
    for (body, code) in [
        (json!({ "scopes": [] }), "body_invalid"),
        (json!({ "scopes": ["everything"] }), "body_invalid"),
        (json!({ "scopes": ["read"], "colour": "red" }), "body_invalid"),
        (
            json!({ "scopes": ["read"], "expires_at": "soon" }),
            "body_invalid",
        ),
        (
            json!({ "scopes": ["read"], "expires_at": "2001-01-01T00:00:00Z" }),
            "expiry_past",
        ),
        (json!({ "scopes": ["read"], "label": "a\nb" }), "label_invalid"),
        (json!([]), "body_invalid"),
    ] {
        let (status, problem) = office.ask("POST", tokens, Some(body.clone())).await;
        assert_eq!((status, problem["code"].as_str()), (400, Some(code)), "{body}");
    }
    let form = [("content-type", "application/x-www-form-urlencoded")];
    let response = office
        .send_with(Some(&office.admin), "POST", tokens, None, &form)
        .await;
    assert_eq!(response.status(), 415);
    let large = json!({ "scopes": ["read"], "label": "x".repeat(70_000) });
    assert_eq!(office.ask("POST", tokens, Some(large)).await.0, 413);
}

#[tokio::test]
async fn the_same_idempotency_key_makes_one_thing() {
    let office = Office::new().await;
    let (channels, body) = ("/api/v1/manage/channels", json!({ "name": "stage" }));
    let key = [("idempotency-key", "k-1")];
    let admin = Some(office.admin.as_str());
    let first = office.send_with(admin, "POST", channels, Some(&body), &key).await;
    assert_eq!(first.status(), 201);
    assert!(!first.headers().contains_key("idempotency-replayed"));
    let first = json(first).await;
    let second = office.send_with(admin, "POST", channels, Some(&body), &key).await;
    assert_eq!(
        (
            second.status().as_u16(),
            &second.headers()["idempotency-replayed"]
        ),
        (201, &"true".parse().unwrap())
    );
    assert_eq!(json(second).await, first);
    let other = json!({ "name": "attic" });
    let mismatch = office
        .send_with(admin, "POST", channels, Some(&other), &key)
        .await;
    assert_eq!(mismatch.status(), 422);
    // What was refused made nothing, and its key is free.
    let wrong = [("idempotency-key", "k-2")];
    let refused = office
        .send_with(admin, "POST", channels, Some(&json!({ "name": "Stage" })), &wrong)
        .await;
    assert_eq!(refused.status(), 400);
    let made = office
        .send_with(admin, "POST", channels, Some(&other), &wrong)
        .await;
    assert_eq!(made.status(), 201);
    for key in ["", "a b", &"x".repeat(256)] {
        let response = office
            .send_with(admin, "POST", channels, Some(&body), &[("idempotency-key", key)])
            .await;
        assert_eq!(json(response).await["code"], "idempotency_key_invalid", "{key}");
    }
}

#[tokio::test]
async fn streams_are_shown_and_stopped() {
    let office = Office::new().await;
    let channel = office.platform.create_channel("stage", false).await.unwrap();
    for (id, state) in [("one", StreamState::Ended), ("two", StreamState::Live)] {
        office
            .platform
            .record_stream_state(&channel.id, id, state, None, None)
            .await
            .unwrap();
    }
    office
        .control
        .running
        .lock()
        .unwrap()
        .push(("two".to_owned(), stats(3)));
    let (_, list) = office.ask("GET", "/api/v1/streams?channel=stage", None).await;
    assert_eq!(
        (&list["data"][0]["id"], &list["data"][1]["id"]),
        (&json!("two"), &json!("one"))
    );
    let (_, two) = office.ask("GET", "/api/v1/streams/two", None).await;
    assert_eq!(
        (&two["channel"], &two["state"], &two["publisher"]["address"]),
        (&json!("stage"), &json!("live"), &json!("192.0.2.7"))
    );
    assert_eq!(
        office.ask("GET", "/api/v1/streams?channel=nobody", None).await.0,
        404
    );
    assert_eq!(office.ask("GET", "/api/v1/streams?after=x", None).await.0, 400);
    assert_eq!(
        office.ask("GET", "/api/v1/streams/two/stats", None).await.1["viewers"],
        3
    );
    for (path, status) in [
        ("/api/v1/streams/one/stats", 409),
        ("/api/v1/streams/nobody/stats", 404),
        ("/api/v1/streams/one/stats/live", 409),
    ] {
        assert_eq!(office.ask("GET", path, None).await.0, status, "{path}");
    }
    assert_eq!(office.ask("POST", "/api/v1/streams/two/stop", None).await.0, 202);
    assert_eq!(office.ask("POST", "/api/v1/streams/two/stop", None).await.0, 409);
    assert_eq!(
        office.ask("POST", "/api/v1/streams/nobody/stop", None).await.0,
        404
    );
}

#[tokio::test]
async fn figures_are_followed_with_their_history_until_the_end() {
    let office = Office::new().await;
    let channel = office.platform.create_channel("stage", false).await.unwrap();
    office
        .platform
        .record_stream_state(&channel.id, "one", StreamState::Live, None, None)
        .await
        .unwrap();
    office
        .control
        .running
        .lock()
        .unwrap()
        .push(("one".to_owned(), stats(1)));
    let running = tokio::spawn(office.api.clone().run());
    let response = office
        .send(Some(&office.admin), "GET", "/api/v1/streams/one/stats/live", None)
        .await;
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let mut body = response.into_body();
    let mut text = String::new();
    let mut read_until = async |what: &str| {
        while !text.contains(what) {
            let frame = body.frame().await.unwrap().unwrap();
            text.push_str(std::str::from_utf8(frame.data_ref().unwrap()).unwrap());
        }
    };
    read_until("event: history\ndata: [").await;
    office.control.running.lock().unwrap()[0].1 = stats(9);
    read_until("event: stats\ndata: {").await;
    read_until("\"viewers\":9").await;
    office.control.running.lock().unwrap().clear();
    read_until("event: end\n").await;
    assert!(body.frame().await.is_none());
    running.abort();
    // What is open ends with the server.
    office
        .control
        .running
        .lock()
        .unwrap()
        .push(("one".to_owned(), stats(1)));
    let response = office
        .send(Some(&office.admin), "GET", "/api/v1/streams/one/stats/live", None)
        .await;
    office.api.close();
    assert!(response.into_body().collect().await.is_ok());
}

#[tokio::test]
async fn events_are_listed_both_ways_and_by_kind() {
    let office = Office::new().await;
    for name in ["a", "b", "c"] {
        office
            .platform
            .create_channel_with_key(name, false)
            .await
            .unwrap();
    }
    let types = |page: &Value| -> Vec<String> {
        let events = page["data"].as_array().unwrap().iter();
        events
            .map(|event| {
                format!(
                    "{} {}",
                    event["type"].as_str().unwrap(),
                    event["channel"].as_str().unwrap()
                )
            })
            .collect()
    };
    let (_, page) = office.ask("GET", "/api/v1/events?limit=2", None).await;
    assert_eq!(types(&page), ["channel.created a", "key.created a"]);
    let next = page["next"].as_str().unwrap();
    let (_, page) = office
        .ask(
            "GET",
            &format!("/api/v1/events?after={next}&type=key.created"),
            None,
        )
        .await;
    assert_eq!(
        (types(&page), &page["next"]),
        (
            vec!["key.created b".to_owned(), "key.created c".to_owned()],
            &Value::Null
        )
    );
    let (_, page) = office
        .ask("GET", "/api/v1/events?order=desc&limit=3&channel=b", None)
        .await;
    assert_eq!(types(&page), ["key.created b", "channel.created b"]);
    let odd = [("last-event-id", "7")];
    let response = office
        .send_with(Some(&office.admin), "GET", "/api/v1/events", None, &odd)
        .await;
    assert_eq!(response.status(), 400);
    for query in ["after=evt_x", "type=stream", "order=up", "limit=0"] {
        let (status, problem) = office.ask("GET", &format!("/api/v1/events?{query}"), None).await;
        assert_eq!(
            (status, problem["code"].as_str()),
            (400, Some("parameter_invalid")),
            "{query}"
        );
    }
}

#[tokio::test]
async fn an_event_stream_goes_on_behind_the_last_event() {
    let office = Office::new().await;
    office.platform.create_channel("a", false).await.unwrap();
    let running = tokio::spawn(office.api.clone().run());
    let (_, page) = office.ask("GET", "/api/v1/events", None).await;
    let first = page["data"][0]["id"].as_str().unwrap();
    let read = async |headers: &[(&str, &str)], until: &str| {
        let path = "/api/v1/events";
        let response = office
            .send_with(Some(&office.admin), "GET", path, None, headers)
            .await;
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        let mut body = response.into_body();
        let mut text = String::new();
        while !text.contains(until) {
            let frame = body.frame().await.unwrap().unwrap();
            text.push_str(std::str::from_utf8(frame.data_ref().unwrap()).unwrap());
            if text.contains(": following") && !text.contains("evt_") {
                // It begins now: what is made from here on comes.
                let _ = office.platform.create_channel("b", false).await;
            }
        }
        text
    };
    let sse = ("accept", "text/event-stream");
    let text = read(&[sse], "\"channel\":\"b\"").await;
    assert!(!text.contains(first), "only what is new: {text}");
    assert!(
        text.contains("event: channel.created\ndata: {\"id\":\"evt_"),
        "{text}"
    );
    let text = read(
        &[sse, ("last-event-id", "evt_000000000000000000000")],
        "\"channel\":\"b\"",
    )
    .await;
    assert_eq!(text.matches(&format!("id: {first}\n")).count(), 1, "{text}");
    let text = read(&[sse, ("last-event-id", first)], "\"channel\":\"b\"").await;
    assert!(!text.contains(first), "{text}");
    running.abort();
}

#[tokio::test]
async fn streams_start_by_key_and_stop_by_id_under_both_names() {
    let office = Office::new().await;
    let (channel, key) = office
        .platform
        .create_channel_with_key("demo", false)
        .await
        .unwrap();
    for path in ["/v1/streams/start", "/api/v1/stream/start"] {
        let (status, started) = office
            .ask(
                "POST",
                path,
                Some(json!({ "stream_key": key.stream_key.expose() })),
            )
            .await;
        assert_eq!(
            (status, &started["channel"], &started["state"]),
            (200, &json!("demo"), &json!("offline"))
        );
        assert_eq!(started["publish_url"], "rtmp://example.org:1935/live");
        let (status, problem) = office
            .ask("POST", path, Some(json!({ "stream_key": "tw_0" })))
            .await;
        assert_eq!((status, problem["code"].as_str()), (403, Some("key_refused")));
    }
    // Asking is not publishing.
    assert_eq!(
        office.platform.list_keys("demo").await.unwrap()[0].used_at_ms,
        None
    );
    for (path, id) in [("/v1/streams/stop", "one"), ("/api/v1/stream/stop", "two")] {
        office
            .platform
            .record_stream_state(&channel.id, id, StreamState::Live, None, None)
            .await
            .unwrap();
        office
            .control
            .running
            .lock()
            .unwrap()
            .push((id.to_owned(), stats(0)));
        let body = json!({ "stream_id": id });
        assert_eq!(office.ask("POST", path, Some(body.clone())).await.0, 202);
        assert_eq!(office.ask("POST", path, Some(body)).await.0, 409);
    }
    // The directory says what can be watched: nothing of a stream that is not on its channel now.
    assert_eq!(
        office.ask("GET", "/v1/streams/one/manifest.m3u8", None).await.0,
        404
    );
    let mut view = ChannelView::offline("demo");
    view.stream_id = Some("one".to_owned());
    office.directory.set(view);
    let response = office
        .send(None, "GET", "/v1/streams/one/manifest.m3u8", None)
        .await;
    assert_eq!(
        (response.status().as_u16(), &response.headers()["location"]),
        (302, &"/live/demo/master.m3u8".parse().unwrap())
    );
}
