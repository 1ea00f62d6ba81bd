//! A server to test against, and a client that shows every byte.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::routing::{get, post};
use bytes::Bytes;
use deliver::{
    Cores, Counters, FindingTitle, Limits, Server, ServerConfig, Streams, Thumbnail, Timing, TlsFiles, Viewer,
};
use package::LiveWindow;
use store::Store;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Bytes of the page `/big`.
pub(crate) const BIG: usize = 32 << 20;

#[derive(Default)]
pub(crate) struct Windows(Mutex<HashMap<String, Arc<LiveWindow>>>, OnceLock<Store>);

impl Windows {
    pub(crate) fn insert(&self, window: &Arc<LiveWindow>) {
        self.0
            .lock()
            .unwrap()
            .insert(window.channel().to_owned(), Arc::clone(window));
    }
}

impl Windows {
    /// Where titles come from.
    pub(crate) fn keep(&self, store: Store) {
        self.1.set(store).unwrap();
    }
}

impl Streams for Windows {
    fn title(&self, id: &str, _viewer: Viewer) -> FindingTitle {
        let (store, id) = (self.1.get().cloned(), id.to_owned());
        Box::pin(async move {
            match store {
                Some(store) => store.title(&id).await,
                None => Ok(None),
            }
        })
    }

    fn window(&self, channel: &str, viewer: Viewer) -> Option<Arc<LiveWindow>> {
        assert_ne!(channel, "panic", "a panic that a test asks for");
        if channel == "private" && viewer == Viewer::Anyone {
            return None;
        }
        self.0.lock().unwrap().get(channel).cloned()
    }

    fn thumbnail(&self, channel: &str, viewer: Viewer) -> Thumbnail {
        let has_one = channel == "demo" || channel == "private" && viewer == Viewer::Granted;
        let picture = has_one.then(|| Bytes::from_static(b"\xff\xd8picture"));
        Box::pin(std::future::ready(picture))
    }
}

pub(crate) struct Harness {
    pub(crate) windows: Arc<Windows>,
    pub(crate) counters: Counters,
    pub(crate) server: Server,
    pub(crate) cores: Cores,
    pub(crate) keys: Arc<access::KeyRing>,
}

fn signing_key() -> access::SigningKey {
    access::SigningKey::new(access::KeyId::new([1; 5]), b"a secret of the tests")
}

impl Harness {
    pub(crate) fn start() -> Self {
        Self::with(Limits::default(), Timing::default())
    }

    pub(crate) fn with(limits: Limits, timing: Timing) -> Self {
        let windows = Arc::new(Windows::default());
        let cores = Cores::start(NonZeroUsize::new(2).unwrap(), "http").unwrap();
        let counters = Counters::new(cores.len(), &limits);
        let keys = Arc::new(access::KeyRing::default());
        keys.replace(vec![signing_key()]);
        let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/http");
        let config = ServerConfig {
            http: vec![SocketAddr::from(([127, 0, 0, 1], 0))],
            https: vec![SocketAddr::from(([127, 0, 0, 1], 0))],
            tls: Some(TlsFiles {
                certificate: folder.join("cert.pem"),
                key: folder.join("key.pem"),
            }),
            limits,
            timing,
            keys: Arc::clone(&keys),
        };
        let streams: Arc<dyn Streams> = Arc::clone(&windows) as _;
        let server = Server::start(config, &cores, streams, router(), &counters).unwrap();
        Self {
            windows,
            counters,
            server,
            cores,
            keys,
        }
    }

    /// A token for whatever belongs to the path, good for a minute, but for what `change` does to it.
    pub(crate) fn token(&self, path: &str, change: impl FnOnce(&mut access::Claims)) -> String {
        let key = signing_key();
        let now_s = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let mut claims = access::Claims {
            key_id: key.id(),
            expires_at_s: now_s + 60,
            not_before_s: None,
            network: None,
            scope: access::Scope::of_link(path).unwrap(),
        };
        change(&mut claims);
        key.sign(&claims)
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.server.http_addresses()[0]
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(&format!(
            "GET {path} HTTP/1.1\r\nhost: t\r\nconnection: close\r\n\r\n"
        ))
        .await
    }

    pub(crate) async fn get_with(&self, path: &str, headers: &str) -> Answer {
        self.send(&format!(
            "GET {path} HTTP/1.1\r\nhost: t\r\nconnection: close\r\n{headers}\r\n"
        ))
        .await
    }

    /// One request on a connection of its own; the answer is read to its end.
    pub(crate) async fn send(&self, request: &str) -> Answer {
        let mut stream = TcpStream::connect(self.address()).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut bytes = Vec::new();
        // A connection that is closed with unread input is reset; what came before that is the answer.
        let _ = stream.read_to_end(&mut bytes).await;
        Answer::parse(&bytes)
    }

    /// Waits until the counters say so; a hang is a failure.
    pub(crate) async fn until(&self, what: &str, holds: impl Fn(&deliver::HttpSnapshot) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while !holds(&self.counters.http.snapshot()) {
            assert!(
                Instant::now() < deadline,
                "{what}: {:?}",
                self.counters.http.snapshot()
            );
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

fn router() -> Router {
    let big = Bytes::from(vec![7; BIG]);
    Router::new()
        .route("/hello", get(|| async { "hello" }))
        .route("/watch/{name}", get(page))
        .route("/api/v1/channels/{name}", get(granted))
        .route("/big", get(move || async move { big }))
        .route("/echo", post(|body: Bytes| async move { body }))
        .route("/panic", get(panicking))
}

async fn page() -> ([(&'static str, &'static str); 3], &'static str) {
    let headers = [
        ("cache-control", "no-cache"),
        ("content-type", "text/html"),
        ("etag", "\"page\""),
    ];
    (headers, "<html>")
}

/// What the router sees of a request.
async fn granted(uri: http::Uri, request: axum::extract::Request) -> String {
    let grant = request.extensions().get::<Arc<access::Grant>>();
    let scope = grant.map_or("nothing".to_owned(), |grant| grant.claims().scope.to_string());
    format!("{uri} granted {scope}")
}

async fn panicking() -> &'static str {
    panic!("a panic that a test asks for")
}

/// One HTTP/1.1 response.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HashMap<String, String>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn parse(bytes: &[u8]) -> Self {
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n");
        let end = end.unwrap_or_else(|| panic!("no head in {:?}", String::from_utf8_lossy(bytes)));
        let head = std::str::from_utf8(&bytes[..end]).unwrap();
        let mut lines = head.split("\r\n");
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let headers: HashMap<String, String> = lines
            .filter_map(|line| line.split_once(": "))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
            .collect();
        let mut body = bytes[end + 4..].to_vec();
        if headers
            .get("transfer-encoding")
            .is_some_and(|coding| coding == "chunked")
        {
            body = dechunk(&body);
        }
        Self {
            status,
            headers,
            body,
        }
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    /// The code of a problem.
    pub(crate) fn code(&self) -> String {
        assert_eq!(self.header("content-type"), "application/problem+json");
        let body: serde_json::Value = serde_json::from_slice(&self.body).unwrap();
        assert_eq!(body["request_id"].as_str(), Some(self.header("x-request-id")));
        body["code"].as_str().unwrap().to_owned()
    }
}

fn dechunk(mut bytes: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    while let Some(end) = bytes.windows(2).position(|two| two == b"\r\n") {
        let size = usize::from_str_radix(std::str::from_utf8(&bytes[..end]).unwrap(), 16).unwrap();
        if size == 0 {
            return body;
        }
        body.extend_from_slice(&bytes[end + 2..end + 2 + size]);
        bytes = &bytes[end + 4 + size..];
    }
    panic!("the last chunk is missing");
}
