//! Who may publish: stream keys, asked of the database.

use std::net::SocketAddr;
use std::sync::Arc;

use ingest::{AuthorizeFuture, Authorized, Authorizer, Refusal, RtmpServer};
use platform::{KeyRefusal, Platform};

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
    fn authorize_publish<'a>(&'a self, key: &'a str, app: &'a str, peer: SocketAddr) -> AuthorizeFuture<'a> {
        Box::pin(async move {
            match self.platform.authorize_publish(key).await {
                Ok(channel) => Ok(Authorized {
                    channel: channel.name,
                    key_id: channel.key_id,
                }),
                Err(refusal) => {
                    tracing::debug!(app, %peer, reason = refusal.code(), "stream key refused");
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

/// Ends publishers whose key was revoked or whose channel was removed while they were live.
pub(crate) async fn close_withdrawn(platform: Platform, rtmp: Arc<RtmpServer>) {
    let mut changes = match platform.changes().await {
        Ok(changes) => changes,
        Err(error) => {
            tracing::error!(%error, "revoked keys of live streams will not be noticed");
            return;
        }
    };
    while changes.changed().await.is_ok() {
        for publisher in rtmp.publishers() {
            match platform.check_key(&publisher.key_id).await {
                Ok(()) | Err(KeyRefusal::Unavailable(_)) => {}
                Err(refusal) => {
                    tracing::info!(
                        channel = publisher.channel,
                        reason = refusal.code(),
                        "publisher sent away"
                    );
                    rtmp.disconnect(&publisher.channel, &refusal.to_string());
                }
            }
        }
    }
}
