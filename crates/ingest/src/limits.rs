//! What publishers may cost.

use std::time::Duration;

/// The bounds of one [`RtmpServer`](crate::RtmpServer). Worst case of memory: `connections_max` times the session's own
/// bounds ([`rtmp::Limits`]) and a read buffer of at most 64 KiB.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Connections at one time. Default 2048.
    pub connections_max: usize,
    /// Connections at one time from one address (IPv6: from one /64). Default 256.
    pub connections_per_address_max: u32,
    /// Wrong keys from one address before it has to wait. Default 10.
    pub failed_keys_max: u32,
    /// After this time one wrong key is forgiven. Default 6 s.
    pub failed_key_forgiven_after: Duration,
    /// Addresses whose wrong keys are remembered. Default 16384.
    pub addresses_max: usize,
    /// Longest time for an answer from the authorizer. Default 10 s.
    pub authorize_timeout: Duration,
    /// Longest time that the peer may refuse to take our bytes. Default 10 s.
    pub write_timeout: Duration,
    /// After a last word, how long the peer may take to hang up. Default 1 s.
    pub linger: Duration,
    /// A publisher that was silent for this long gives way to a new one on the same channel: most likely it is the
    /// same encoder, back after its network changed, and the old connection is dead without knowing. Default 4 s.
    pub stale_publisher_after: Duration,
    /// Tags in a row that make no sense before the connection is closed. Default 200.
    pub bad_tags_max: u32,
    /// The bounds of each session: message size, silence, half handshakes, time without a publish.
    pub session: rtmp::Limits,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections_max: 2048,
            connections_per_address_max: 256,
            failed_keys_max: 10,
            failed_key_forgiven_after: Duration::from_secs(6),
            addresses_max: 16_384,
            authorize_timeout: Duration::from_secs(10),
            write_timeout: Duration::from_secs(10),
            linger: Duration::from_secs(1),
            stale_publisher_after: Duration::from_secs(4),
            bad_tags_max: 200,
            session: rtmp::Limits::default(),
        }
    }
}
