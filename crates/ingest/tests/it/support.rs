//! A server on loopback with three keys, and what clients need.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use hub::Registry;
use ingest::{
    AuthorizeFuture, Authorized, Authorizer, CloseReason, IngestStats, Limits, Refusal, RtmpServer, Tls, bind,
};
use rtmp::{ClientConfig, ClientOutput, ClientSession, HandshakeKind};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

/// No test waits longer than this for anything.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) const WRONG_KEY: &str = "This stream key is not known on this server.";

/// `KEY-x` opens the channel `x`; `PANIC` is a bug.
struct Keys;

impl Authorizer for Keys {
    fn authorize_publish<'a>(&'a self, key: &'a str, app: &'a str, _: SocketAddr) -> AuthorizeFuture<'a> {
        Box::pin(async move {
            assert_ne!(key, "PANIC", "a bug in the authorizer");
            match key.strip_prefix("KEY-") {
                Some(channel) if app == "live" => Ok(Authorized {
                    channel: channel.to_owned(),
                    channel_id: format!("ch-{channel}"),
                    key_id: format!("id-{channel}"),
                }),
                _ => Err(Refusal::wrong_key(WRONG_KEY)),
            }
        })
    }
}

pub(crate) struct Server {
    pub(crate) registry: Arc<Registry>,
    pub(crate) server: Arc<RtmpServer>,
    pub(crate) address: SocketAddr,
    pub(crate) serving: JoinHandle<std::io::Result<()>>,
    scheme: &'static str,
}

impl Server {
    pub(crate) fn start(limits: Limits) -> Self {
        Self::with(limits, None)
    }

    /// RTMPS, with the certificate for `localhost` that `deliver` tests with.
    pub(crate) fn start_tls(limits: Limits) -> Self {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deliver/tests/http");
        let tls = Tls::from_files(&folder.join("cert.pem"), &folder.join("key.pem")).unwrap();
        Self::with(limits, Some(tls))
    }

    fn with(limits: Limits, tls: Option<Tls>) -> Self {
        // The tests look at a whole broadcast after its end.
        let mut hub_limits = hub::Limits::default();
        hub_limits.feed.keep_us = 60_000_000;
        hub_limits.feed.span_max_us = 120_000_000;
        let registry = Registry::new(hub_limits);
        let clock = media::Clock::new(Instant::now(), 0);
        let stats = Arc::new(IngestStats::default());
        let server = RtmpServer::new(limits, Arc::clone(&registry), Arc::new(Keys), clock, stats);
        let listener = bind("127.0.0.1:0".parse().unwrap(), true).unwrap();
        let address = listener.local_addr().unwrap();
        let scheme = if tls.is_some() { "rtmps" } else { "rtmp" };
        let serving = tokio::spawn(Arc::clone(&server).serve(listener, tls));
        Self {
            registry,
            server,
            address,
            serving,
            scheme,
        }
    }

    pub(crate) fn url(&self, key: &str) -> String {
        format!("{}://{}/live/{key}", self.scheme, self.address)
    }

    pub(crate) fn closed(&self, reason: CloseReason) -> u64 {
        self.server.stats().closed(reason)
    }

    /// Waits until that many connections were closed for that reason.
    pub(crate) async fn wait_closed(&self, reason: CloseReason, count: u64) {
        wait(|| self.closed(reason) >= count, reason.as_str()).await;
    }

    pub(crate) fn client(&self, key: &str) -> ClientSession {
        ClientSession::new(ClientConfig {
            app: "live".into(),
            tc_url: format!("rtmp://{}/live", self.address),
            stream_key: key.into(),
            chunk_bytes: 4096,
            handshake: HandshakeKind::Digest0,
            seed: 1,
        })
    }
}

/// Waits for a counter that nobody can await.
pub(crate) async fn wait(condition: impl Fn() -> bool, what: &str) {
    let end = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < end, "waited in vain for {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Our client on a socket, up to publishing, its events so far drained. What the server said if it refused.
pub(crate) async fn publish(server: &Server, key: &str) -> Result<(TcpStream, ClientSession), rtmp::Error> {
    let mut socket = TcpStream::connect(server.address).await.unwrap();
    let mut client = server.client(key);
    let mut input = BytesMut::new();
    while !client.is_publishing() {
        while let Some(output) = client.poll_output() {
            if let ClientOutput::Send(bytes) = output {
                socket.write_all(&bytes).await.unwrap();
            }
        }
        let count = socket.read_buf(&mut input).await.unwrap();
        client.handle_input(&mut input)?;
        assert!(count > 0 || client.is_publishing(), "closed without a word");
    }
    while client.poll_output().is_some() {}
    Ok((socket, client))
}

/// Reads until the server hangs up; what it said last.
pub(crate) async fn last_word(mut socket: TcpStream, mut client: ClientSession) -> Vec<ClientOutput> {
    let mut input = BytesMut::new();
    let mut outputs = Vec::new();
    while socket.read_buf(&mut input).await.unwrap_or(0) > 0 {
        client.handle_input(&mut input).unwrap();
        while let Some(output) = client.poll_output() {
            outputs.push(output);
        }
    }
    outputs
}
