//! Webhooks against receivers that behave in all kinds of ways.

use std::sync::Arc;
use std::time::Duration;

use api::{Sender, SenderOptions};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::manage::Office;

/// What a receiver does with one request.
#[derive(Clone, Copy)]
enum Manner {
    Answers(u16),
    ClosesEarly,
    Hangs,
}

/// A request as it came.
struct Seen {
    head: String,
    body: Vec<u8>,
}

impl Seen {
    fn header(&self, name: &str) -> &str {
        let line = self
            .head
            .lines()
            .find_map(|line| line.strip_prefix(&format!("{name}: ")));
        line.unwrap_or_default()
    }

    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

/// Listens, treats its requests in these manners, the last of which holds from then on, and tells of each.
async fn receiver(manners: Vec<Manner>) -> (String, mpsc::UnboundedReceiver<Seen>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    let (tell, seen) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        let mut held = Vec::new();
        for number in 0.. {
            let (mut socket, _) = listener.accept().await.unwrap();
            let mut bytes = Vec::new();
            let request = loop {
                socket.read_buf(&mut bytes).await.unwrap();
                let text = String::from_utf8_lossy(&bytes).into_owned();
                let Some((head, body)) = text.split_once("\r\n\r\n") else {
                    continue;
                };
                let length = head
                    .lines()
                    .find_map(|line| line.strip_prefix("content-length: "));
                if length.is_some_and(|length| body.len() == length.parse::<usize>().unwrap()) {
                    break Seen {
                        head: head.to_owned(),
                        body: body.as_bytes().to_owned(),
                    };
                }
            };
            if tell.send(request).is_err() {
                return;
            }
            match manners[number.min(manners.len() - 1)] {
                Manner::Answers(status) => {
                    let answer = format!("HTTP/1.1 {status} X\r\ncontent-length: 0\r\n\r\n");
                    socket.write_all(answer.as_bytes()).await.unwrap();
                }
                Manner::ClosesEarly => socket.write_all(b"HTTP/1.1 20").await.unwrap(),
                Manner::Hangs => held.push(socket),
            }
        }
    });
    (url, seen)
}

/// Runs the API and its sender.
fn start(office: &Office, allow_private: bool) -> [JoinHandle<()>; 2] {
    let sender = Sender::new(SenderOptions {
        allow_private,
        timeout: Duration::from_millis(300),
        retry_first: Duration::from_millis(5),
    });
    let api = &office.api;
    [
        tokio::spawn(api.clone().run()),
        tokio::spawn(api.clone().send_webhooks(Arc::clone(&sender))),
    ]
}

async fn create(office: &Office, url: &str, events: Value) -> (String, Vec<u8>) {
    let body = json!({ "url": url, "events": events });
    let (status, made) = office.ask("POST", "/api/v1/webhooks", Some(body)).await;
    assert_eq!(status, 201, "{made}");
    let secret = made["secret"].as_str().unwrap().strip_prefix("whsec_").unwrap();
    let key = BASE64_STANDARD.decode(secret).unwrap();
    (made["id"].as_str().unwrap().to_owned(), key)
}

/// The log, as soon as it is as it should be.
async fn log(office: &Office, webhook: &str, is_right: impl Fn(&[Value]) -> bool) -> Vec<Value> {
    let path = format!("/api/v1/webhooks/{webhook}/deliveries");
    let looking = async {
        loop {
            let (_, page) = office.ask("GET", &path, None).await;
            let entries = page["data"].as_array().cloned().unwrap_or_default();
            if is_right(&entries) {
                return entries;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), looking)
        .await
        .unwrap()
}

#[tokio::test]
async fn an_event_is_sent_until_it_is_taken_and_is_signed_each_time() {
    let office = Office::new().await;
    let (url, mut seen) = receiver(vec![
        Manner::Answers(500),
        Manner::ClosesEarly,
        Manner::Hangs,
        Manner::Answers(302),
        Manner::Answers(204),
    ])
    .await;
    office.platform.create_channel("before", false).await.unwrap();
    let (id, key) = create(&office, &url, json!(["channel.created"])).await;
    let tasks = start(&office, true);
    office
        .platform
        .create_channel_with_key("stage", false)
        .await
        .unwrap();
    let mut ids = Vec::new();
    for _ in 0..5 {
        let request = seen.recv().await.unwrap();
        let (event, at) = (request.header("webhook-id"), request.header("webhook-timestamp"));
        let mut mac = Hmac::<Sha256>::new_from_slice(&key).unwrap();
        mac.update(format!("{event}.{at}.").as_bytes());
        mac.update(&request.body);
        let expected = format!("v1,{}", BASE64_STANDARD.encode(mac.finalize().into_bytes()));
        assert_eq!(request.header("webhook-signature"), expected);
        let body = request.json();
        assert_eq!(
            (&body["type"], &body["data"]["channel"]),
            (&json!("channel.created"), &json!("stage"))
        );
        assert_eq!(body["data"]["id"], event);
        ids.push(event.to_owned());
    }
    ids.dedup();
    assert_eq!(ids.len(), 1, "every attempt has the event's id: {ids:?}");
    // What happened before the webhook was made, and what it did not ask for, is not sent.
    let entries = log(&office, &id, |entries| {
        entries.iter().all(|entry| entry["state"] == "delivered")
    })
    .await;
    assert_eq!(entries.len(), 1);
    assert_eq!(
        (
            &entries[0]["attempt"],
            &entries[0]["status"],
            &entries[0]["error"]
        ),
        (&json!(5), &json!(204), &Value::Null)
    );
    let delivery = entries[0]["id"].as_str().unwrap();
    let replay = format!("/api/v1/webhooks/{id}/deliveries/{delivery}/replay");
    assert_eq!(office.ask("POST", &replay, None).await.0, 202);
    assert_eq!(seen.recv().await.unwrap().header("webhook-id"), ids[0]);
    tasks.iter().for_each(JoinHandle::abort);
}

#[tokio::test]
async fn an_endpoint_that_hangs_holds_up_nobody_else_and_is_tried_again() {
    let office = Office::new().await;
    let (stuck_url, mut stuck) = receiver(vec![Manner::Hangs]).await;
    let (good_url, mut good) = receiver(vec![Manner::Answers(200)]).await;
    let (stuck_id, _) = create(&office, &stuck_url, json!([])).await;
    create(&office, &good_url, json!([])).await;
    let tasks = start(&office, true);
    for number in 0..3 {
        office
            .platform
            .create_channel(&format!("c{number}"), false)
            .await
            .unwrap();
    }
    let mut names = Vec::new();
    for _ in 0..3 {
        names.push(good.recv().await.unwrap().json()["data"]["channel"].clone());
    }
    assert_eq!(names, ["c0", "c1", "c2"]);
    stuck.recv().await.unwrap();
    let timed_out = |entry: &Value| {
        entry["error"]
            .as_str()
            .is_some_and(|error| error.contains("within 0.3 s"))
    };
    let entries = log(&office, &stuck_id, |entries| entries.iter().any(timed_out)).await;
    assert!(
        entries.iter().all(|entry| entry["state"] == "pending"),
        "{entries:?}"
    );
    let (_, webhook) = office
        .ask("GET", &format!("/api/v1/webhooks/{stuck_id}"), None)
        .await;
    assert!(
        webhook["failing_since"].is_string() && webhook["enabled"] == true,
        "{webhook}"
    );
    // Disabled, it gets nothing; enabled again, what happens from then on.
    let path = format!("/api/v1/webhooks/{stuck_id}");
    let (_, webhook) = office
        .ask("PATCH", &path, Some(json!({ "enabled": false })))
        .await;
    assert_eq!(webhook["enabled"], false);
    let (_, webhook) = office
        .ask(
            "PATCH",
            &path,
            Some(json!({ "enabled": true, "events": ["key.revoked"] })),
        )
        .await;
    assert_eq!(
        (&webhook["failing_since"], &webhook["events"]),
        (&Value::Null, &json!(["key.revoked"]))
    );
    assert_eq!(office.ask("DELETE", &path, None).await.0, 204);
    assert_eq!(office.ask("GET", &path, None).await.0, 404);
    tasks.iter().for_each(JoinHandle::abort);
}

#[tokio::test]
async fn private_addresses_are_not_reached_and_odd_urls_not_taken() {
    let office = Office::new().await;
    let (url, mut seen) = receiver(vec![Manner::Answers(200)]).await;
    let (id, _) = create(&office, &url, json!([])).await;
    let tasks = start(&office, false);
    office.platform.create_channel("stage", false).await.unwrap();
    let refused = |entry: &Value| {
        entry["error"]
            .as_str()
            .is_some_and(|error| error.contains("not a public address"))
    };
    log(&office, &id, |entries| entries.iter().any(refused)).await;
    assert!(seen.try_recv().is_err());
    for url in [
        "",
        "/hook",
        "ftp://example.org/",
        "http://user:secret@example.org/",
        "http:///x",
    ] {
        let (status, problem) = office
            .ask("POST", "/api/v1/webhooks", Some(json!({ "url": url })))
            .await;
        assert_eq!(
            (status, problem["code"].as_str()),
            (400, Some("url_invalid")),
            "{url}"
        );
    }
    let unknown = json!({ "url": "https://example.org/", "events": ["stream"] });
    assert_eq!(office.ask("POST", "/api/v1/webhooks", Some(unknown)).await.0, 400);
    tasks.iter().for_each(JoinHandle::abort);
}
