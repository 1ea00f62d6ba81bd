//! What the server is told: addresses, certificates and limits. Defaults are for one machine facing the Internet.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use access::KeyRing;

/// Where and how to serve.
#[derive(Clone, Debug, Default)]
pub struct ServerConfig {
    /// Cleartext addresses: HTTP/1.1 and HTTP/2 with prior knowledge on the same port.
    pub http: Vec<SocketAddr>,
    /// TLS addresses: ALPN `h2` and `http/1.1`. Needs `tls`.
    pub https: Vec<SocketAddr>,
    /// Certificate chain and key for `https`.
    pub tls: Option<TlsFiles>,
    /// Bounds on clients.
    pub limits: Limits,
    /// How long answers may be held and cached.
    pub timing: Timing,
    /// The keys of path tokens; without any, no token opens anything.
    pub keys: Arc<KeyRing>,
}

/// PEM files of the server's identity.
#[derive(Clone, Debug)]
pub struct TlsFiles {
    /// Certificate chain, the server's own first.
    pub certificate: PathBuf,
    /// PKCS #8, PKCS #1 or SEC1 private key.
    pub key: PathBuf,
}

/// Times of the media answers.
#[derive(Clone, Debug)]
pub struct Timing {
    /// EXT-X-TARGETDURATION of the streams served, whole seconds. Cache lifetimes and holds are multiples of it
    /// (RFC 8216bis 6.2.5.2 and appendix B.1).
    pub target_duration_s: u32,
    /// A request for a stream that is starting waits this long for its first part.
    pub start_hold: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            target_duration_s: 2,
            start_hold: Duration::from_secs(5),
        }
    }
}

impl Timing {
    /// A blocking reload, a hinted part and the next part of a segment in progress wait this long: three target durations,
    /// as RFC 8216bis 6.2.5.2 asks.
    pub fn hold(&self) -> Duration {
        Duration::from_secs(u64::from(self.target_duration_s) * 3)
    }
}

/// Bounds on what clients can take. Every refusal and closing is counted by its reason in [`crate::HttpStats`].
#[derive(Clone, Debug)]
pub struct Limits {
    /// Open connections in the whole process.
    pub connections_max: u32,
    /// Open connections of one IPv4 address or one IPv6 /64. Loopback is exempt: a proxy in front comes from there.
    pub connections_per_address_max: u32,
    /// Bytes of one request head; more is answered 431. Also the read buffer's bound. At least 8192.
    pub request_head_bytes_max: usize,
    /// Header fields of one request; more is answered 431.
    pub request_headers_max: usize,
    /// Bytes of a request body on the API paths; media paths take none.
    pub request_body_bytes_max: usize,
    /// A request head must be whole this long after its first byte, and the first byte must come this long after
    /// the connection was accepted.
    pub head_timeout: Duration,
    /// A TLS handshake must be done by then.
    pub handshake_timeout: Duration,
    /// A connection without a request for this long is closed.
    pub idle_timeout: Duration,
    /// While a response waits for its reader, at least `progress_bytes_min` must leave in every window this long. What
    /// the socket buffers take at first counts, so a reader that stops is closed after one to two windows.
    pub progress_window: Duration,
    /// See `progress_window`. 16 KiB in 20 s is 6.5 kb/s: below every rung.
    pub progress_bytes_min: u64,
    /// Bytes of one connection that wait unsent in the kernel (TCP_NOTSENT_LOWAT), beyond what is on its way.
    /// Without it a stuck reader on a fast path holds megabytes.
    pub unsent_bytes_max: u32,
    /// An API handler must have begun its answer by then.
    pub api_timeout: Duration,
    /// HTTP/2 streams open at once on one connection.
    pub h2_streams_max: u32,
    /// HTTP/2 streams reset by the peer before they were accepted; more closes the connection (CVE-2023-44487).
    pub h2_pending_resets_max: usize,
    /// HTTP/2 streams that we reset for the peer's errors; more closes the connection (CVE-2025-8671).
    pub h2_local_resets_max: usize,
    /// Bytes that one HTTP/2 stream may have waiting for its flow-control window.
    pub h2_send_buffer_bytes_max: usize,
    /// Viewer sessions remembered at once; more are served and not counted.
    pub sessions_max: usize,
    /// After a shutdown, connections that still send are cut after this long.
    pub drain_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections_max: 60_000,
            connections_per_address_max: 1_000,
            request_head_bytes_max: 16 * 1024,
            request_headers_max: 64,
            request_body_bytes_max: 1024 * 1024,
            head_timeout: Duration::from_secs(10),
            handshake_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(75),
            progress_window: Duration::from_secs(20),
            progress_bytes_min: 16 * 1024,
            unsent_bytes_max: 256 * 1024,
            api_timeout: Duration::from_secs(30),
            h2_streams_max: 128,
            h2_pending_resets_max: 32,
            h2_local_resets_max: 64,
            h2_send_buffer_bytes_max: 256 * 1024,
            sessions_max: 200_000,
            drain_timeout: Duration::from_secs(5),
        }
    }
}
