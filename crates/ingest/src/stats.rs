//! Counts of all publishers' connections.

use std::sync::atomic::{AtomicU64, Ordering};

/// Why a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CloseReason {
    /// The peer ended its stream, then hung up.
    Unpublished,
    /// The peer hung up while it published.
    ConnectionLost,
    /// The peer hung up before it published.
    LeftEarly,
    /// RTMPS: no TLS handshake, or none in time.
    TlsFailed,
    /// Reading or writing failed.
    Io,
    /// The peer did not take our bytes.
    WriteTimeout,
    /// The authorizer refused the key.
    WrongKey,
    /// Too many wrong keys from that address.
    Throttled,
    /// The authorizer could not answer.
    AuthorizerFailed,
    /// The channel has a publisher.
    AlreadyLive,
    /// The hub takes no more streams.
    ServerFull,
    /// The server shuts down.
    Draining,
    /// Closed by [`RtmpServer::disconnect`](crate::RtmpServer::disconnect).
    Disconnected,
    /// Silent, and a new publisher came: [`Limits::stale_publisher_after`](crate::Limits::stale_publisher_after).
    Replaced,
    /// The stream failed on our side.
    StreamOver,
    /// The video is in a codec that we do not take.
    UnsupportedCodec,
    /// Too many tags in a row made no sense.
    BadMedia,
    /// A player came.
    PlayRefused,
    /// [`Limits::connections_max`](crate::Limits::connections_max).
    TooManyConnections,
    /// [`Limits::connections_per_address_max`](crate::Limits::connections_per_address_max).
    TooManyFromAddress,
    /// Our fault: the session panicked.
    Panic,
    /// The session machine gave up.
    Protocol(rtmp::ErrorReason),
}

impl CloseReason {
    const OWN: [CloseReason; 21] = [
        Self::Unpublished,
        Self::ConnectionLost,
        Self::LeftEarly,
        Self::TlsFailed,
        Self::Io,
        Self::WriteTimeout,
        Self::WrongKey,
        Self::Throttled,
        Self::AuthorizerFailed,
        Self::AlreadyLive,
        Self::ServerFull,
        Self::Draining,
        Self::Disconnected,
        Self::Replaced,
        Self::StreamOver,
        Self::UnsupportedCodec,
        Self::BadMedia,
        Self::PlayRefused,
        Self::TooManyConnections,
        Self::TooManyFromAddress,
        Self::Panic,
    ];
    const COUNT: usize = Self::OWN.len() + rtmp::ErrorReason::ALL.len();

    /// Every reason.
    pub fn all() -> impl Iterator<Item = CloseReason> {
        Self::OWN
            .into_iter()
            .chain(rtmp::ErrorReason::ALL.into_iter().map(Self::Protocol))
    }

    /// The label's text.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unpublished => "unpublished",
            Self::ConnectionLost => "connection_lost",
            Self::LeftEarly => "left_early",
            Self::TlsFailed => "tls_failed",
            Self::Io => "io",
            Self::WriteTimeout => "write_timeout",
            Self::WrongKey => "wrong_key",
            Self::Throttled => "throttled",
            Self::AuthorizerFailed => "authorizer_failed",
            Self::AlreadyLive => "already_live",
            Self::ServerFull => "server_full",
            Self::Draining => "draining",
            Self::Disconnected => "disconnected",
            Self::Replaced => "replaced",
            Self::StreamOver => "stream_over",
            Self::UnsupportedCodec => "unsupported_codec",
            Self::BadMedia => "bad_media",
            Self::PlayRefused => "play_refused",
            Self::TooManyConnections => "too_many_connections",
            Self::TooManyFromAddress => "too_many_from_address",
            Self::Panic => "panic",
            Self::Protocol(reason) => reason.as_str(),
        }
    }

    fn index(self) -> usize {
        Self::all().position(|reason| reason == self).unwrap_or(0)
    }
}

/// What was wrong with a tag that was left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MediaFault {
    /// The tag body cannot be read.
    BadTag,
    /// A codec configuration cannot be read.
    BadConfig,
    /// Media before its codec configuration.
    NoConfig,
    /// An H.264 tag without a coded slice.
    NoPicture,
    /// A codec that we do not take.
    UnsupportedCodec,
}

impl MediaFault {
    /// Every fault.
    pub const ALL: [MediaFault; 5] = [
        Self::BadTag,
        Self::BadConfig,
        Self::NoConfig,
        Self::NoPicture,
        Self::UnsupportedCodec,
    ];

    /// The label's text.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::BadTag => "bad_tag",
            Self::BadConfig => "bad_config",
            Self::NoConfig => "no_config",
            Self::NoPicture => "no_picture",
            Self::UnsupportedCodec => "unsupported_codec",
        }
    }
}

/// Counts since the start; all may be read at any time.
#[derive(Debug, Default)]
pub struct IngestStats {
    /// Connections accepted and not refused at once.
    pub connections: AtomicU64,
    /// Connections at this moment.
    pub connections_active: AtomicU64,
    /// Publishers at this moment.
    pub publishers_active: AtomicU64,
    /// Publishes accepted.
    pub publishes: AtomicU64,
    /// Bytes read from publishers.
    pub bytes_in: AtomicU64,
    /// Failed `accept` calls (no file descriptors left, ...).
    pub accept_errors: AtomicU64,
    closed: [AtomicU64; CloseReason::COUNT],
    faults: [AtomicU64; MediaFault::ALL.len()],
}

impl IngestStats {
    /// Connections that ended for that reason.
    pub fn closed(&self, reason: CloseReason) -> u64 {
        self.closed[reason.index()].load(Ordering::Relaxed)
    }

    /// Tags left out for that fault.
    pub fn media_faults(&self, fault: MediaFault) -> u64 {
        self.faults[fault as usize].load(Ordering::Relaxed)
    }

    pub(crate) fn count_closed(&self, reason: CloseReason) {
        self.closed[reason.index()].fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn count_fault(&self, fault: MediaFault) {
        self.faults[fault as usize].fetch_add(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_its_own_label_and_slot() {
        let mut labels: Vec<_> = CloseReason::all().map(CloseReason::as_str).collect();
        assert_eq!(labels.len(), CloseReason::COUNT);
        labels.sort_unstable();
        labels.dedup();
        assert_eq!(labels.len(), CloseReason::COUNT);
        let stats = IngestStats::default();
        stats.count_closed(CloseReason::Panic);
        assert_eq!(
            CloseReason::all().map(|reason| stats.closed(reason)).sum::<u64>(),
            1
        );
        assert_eq!(stats.closed(CloseReason::Panic), 1);
    }
}
