//! Who may publish.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;

/// What [`Authorizer::authorize_publish`] gives.
pub type AuthorizeFuture<'a> = Pin<Box<dyn Future<Output = Result<Authorized, Refusal>> + Send + 'a>>;

/// Decides who may publish where.
pub trait Authorizer: Send + Sync {
    /// The channel that `key` opens. `app` is the application part of the URL, `peer` where the connection comes from.
    fn authorize_publish<'a>(&'a self, key: &'a str, app: &'a str, peer: SocketAddr) -> AuthorizeFuture<'a>;
}

/// Leave to publish.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authorized {
    /// Name of the channel.
    pub channel: String,
    /// Its lasting id: who continues a stream must have the same.
    pub channel_id: String,
    /// Which key it was, for a later check that it still holds. Not the key itself.
    pub key_id: String,
}

/// No leave to publish, in words for the person at the encoder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// RTMP status code: `NetStream.Publish.BadName`.
    pub code: String,
    /// A whole sentence.
    pub sentence: String,
    /// It counts against the address, see [`Limits::failed_keys_max`](crate::Limits::failed_keys_max).
    pub is_failed_key: bool,
}

/// The status code that encoders show as a problem of the key.
pub(crate) const BAD_NAME: &str = "NetStream.Publish.BadName";

impl Refusal {
    /// The key opens nothing (unknown, revoked, expired): `sentence` says which.
    pub fn wrong_key(sentence: impl Into<String>) -> Self {
        Self {
            code: BAD_NAME.to_owned(),
            sentence: sentence.into(),
            is_failed_key: true,
        }
    }

    /// The fault is ours: trying again later may help.
    pub fn unavailable(sentence: impl Into<String>) -> Self {
        Self {
            code: "NetStream.Publish.Failed".to_owned(),
            sentence: sentence.into(),
            is_failed_key: false,
        }
    }
}
