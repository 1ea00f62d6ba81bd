//! Who may publish: stream keys, asked of the database. And whose tokens open private media: signing keys.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use access::KeyRing;
use ingest::{AuthorizeFuture, Authorized, Authorizer, LivePublisher, Peer, Refusal, RtmpServer};
use platform::{KeyRefusal, Platform};

/// The keys of live publishers are looked at this often even if nothing changed: they expire, and the database may have
/// been busy when it was asked.
const CHECK_EVERY: Duration = Duration::from_secs(15);

/// Opens channels to those who know a stream key.
pub(crate) struct Gate {
    platform: Platform,
}

impl Gate {
    pub(crate) fn new(platform: Platform) -> Self {
        Self { platform }
    }
}

impl Authorizer for Gate {
    fn authorize_publish<'a>(&'a self, key: &'a str, _app: &'a str, peer: SocketAddr) -> AuthorizeFuture<'a> {
        Box::pin(async move {
            match self.platform.authorize_publish(key).await {
                Ok(channel) => Ok(Authorized {
                    channel: channel.name,
                    channel_id: channel.id,
                    key_id: channel.key_id,
                }),
                Err(refusal) => {
                    // Without the application: people put their key there.
                    tracing::debug!(peer = %Peer(peer), reason = refusal.code(), "stream key refused");
                    Err(sentence(&refusal))
                }
            }
        })
    }
}

fn sentence(refusal: &KeyRefusal) -> Refusal {
    match refusal {
        KeyRefusal::Unavailable(error) => {
            tracing::error!(%error, "stream keys cannot be checked");
            Refusal::unavailable(refusal.to_string())
        }
        _ => Refusal::wrong_key(refusal.to_string()),
    }
}

/// Ends publishers whose key was revoked or has expired, or whose channel was removed, while they were live.
pub(crate) async fn close_withdrawn(platform: Platform, rtmp: Arc<RtmpServer>) {
    let mut changes = match platform.changes().await {
        Ok(changes) => changes,
        Err(error) => {
            tracing::error!(%error, "revoked keys of live streams will not be noticed");
            return;
        }
    };
    // Too long without a change is no error.
    while !matches!(
        tokio::time::timeout(CHECK_EVERY, changes.changed()).await,
        Ok(Err(_))
    ) {
        for publisher in rtmp.publishers() {
            match platform.check_key(&publisher.key_id).await {
                Ok(()) | Err(KeyRefusal::Unavailable(_)) => {}
                Err(refusal) => send_away(&rtmp, &publisher, &refusal),
            }
        }
    }
}

/// Keeps the signing keys current until the database goes away: a new key's tokens are good, and a revoked one's are not, a
/// quarter of a second later.
pub(crate) async fn follow_signing_keys(platform: Platform, keys: Arc<KeyRing>) {
    let mut changes = match platform.changes().await {
        Ok(changes) => changes,
        Err(error) => {
            tracing::error!(%error, "signed links will not open");
            return;
        }
    };
    loop {
        match platform.signing_keys().await {
            Ok(found) => keys.replace(found),
            Err(error) => tracing::warn!(%error, "the signing keys could not be read"),
        }
        // Too long without a change is no error; the database may have been busy when it was asked.
        if matches!(
            tokio::time::timeout(CHECK_EVERY, changes.changed()).await,
            Ok(Err(_))
        ) {
            return;
        }
    }
}

fn send_away(rtmp: &RtmpServer, publisher: &LivePublisher, refusal: &KeyRefusal) {
    // Keys are never deleted alone.
    let (reason, sentence) = match refusal {
        KeyRefusal::Unknown => (
            "channel_removed",
            "this channel was removed from the server".to_owned(),
        ),
        _ => (refusal.code(), refusal.to_string()),
    };
    if rtmp.disconnect(publisher, &sentence) {
        tracing::info!(channel = publisher.channel, reason, "publisher sent away");
    }
}
