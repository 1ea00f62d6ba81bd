//! Signed stream keys: they open a channel for a time, and nothing is stored of them.
//!
//! `tws_SIGNER_EXPIRY_CHANNEL_SEAL`: ten hexadecimal digits of the signing key's id, seconds since 1970 in decimal, the channel's id
//! without `ch_`, and 160 bits of an HMAC-SHA256 over all before it under the server secret, in base 32. One text a key.

use subtle::ConstantTimeEq;

use crate::credential::SecretText;
use crate::error::{Error, KeyRefusal};
use crate::id;
use crate::keys::ChannelRef;
use crate::secret::Purpose;
use crate::store::{Platform, now_ms};

/// What every signed stream key begins with.
pub(crate) const PREFIX: &str = "tws_";
/// Bytes of the seal: 160 bits, as much as a stored key has.
const SEAL_BYTES: usize = 20;
const SEAL_CHARS: usize = 32;

/// A key taken apart. Its text without the seal names it while a stream lives ([`Platform::check_key`]).
struct Parts<'a> {
    signed: &'a str,
    seal: &'a str,
    signer: String,
    expires_at_s: i64,
    channel_id: String,
}

impl<'a> Parts<'a> {
    /// Of a whole key; `None` if it has another form.
    fn of_key(key: &'a str) -> Option<Self> {
        let (signed, seal) = key.rsplit_once('_')?;
        let is_seal = seal.len() == SEAL_CHARS && id::is_base32(seal);
        is_seal.then(|| Self::of_name(signed, seal)).flatten()
    }

    fn of_name(signed: &'a str, seal: &'a str) -> Option<Self> {
        let mut pieces = signed.strip_prefix(PREFIX)?.split('_');
        let (signer, seconds, channel) = (pieces.next()?, pieces.next()?, pieces.next()?);
        let expires_at_s: i64 = seconds.parse().ok()?;
        let is_canonical = pieces.next().is_none() && expires_at_s.to_string() == seconds;
        is_canonical.then(|| Self {
            signed,
            seal,
            signer: format!("sig_{signer}"),
            expires_at_s,
            channel_id: format!("ch_{channel}"),
        })
    }
}

impl Platform {
    /// Makes a key that opens the channel until then, whole seconds. It cannot be revoked by itself: revoking the signing key
    /// ends it with all others of that key, and with all its path tokens.
    pub async fn sign_stream_key(&self, channel: &str, expires_at_ms: i64) -> Result<SecretText, Error> {
        if expires_at_ms <= now_ms() {
            return Err(Error::ExpiryPast);
        }
        let channel = self.channel(channel).await?;
        let signer = self.current_signing_key().await?.id().to_string();
        let bare = |id: &str| {
            id.split_once('_')
                .map_or_else(String::new, |(_, rest)| rest.to_owned())
        };
        let (signer, channel, expires_at_s) = (bare(&signer), bare(&channel.id), expires_at_ms / 1000);
        let signed = format!("{PREFIX}{signer}_{expires_at_s}_{channel}");
        let seal = self.seal(&signed);
        Ok(SecretText::new(format!("{signed}_{seal}")))
    }

    /// The channel that a signed key opens.
    pub(crate) async fn authorize_signed(&self, key: &str) -> Result<ChannelRef, KeyRefusal> {
        let parts = Parts::of_key(key).ok_or(KeyRefusal::Malformed)?;
        if !bool::from(self.seal(parts.signed).as_bytes().ct_eq(parts.seal.as_bytes())) {
            return Err(KeyRefusal::Unknown);
        }
        self.check_parts(&parts).await
    }

    /// As [`Platform::check_key`], of a stream that a signed key opened.
    pub(crate) async fn check_signed(&self, name: &str) -> Result<(), KeyRefusal> {
        let parts = Parts::of_name(name, "").ok_or(KeyRefusal::Unknown)?;
        self.check_parts(&parts).await.map(|_| ())
    }

    async fn check_parts(&self, parts: &Parts<'_>) -> Result<ChannelRef, KeyRefusal> {
        if parts.expires_at_s.saturating_mul(1000) <= now_ms() {
            return Err(KeyRefusal::Expired);
        }
        let unavailable = |error: sqlx::Error| KeyRefusal::Unavailable(self.fault(error));
        let signers: i64 =
            sqlx::query_scalar("SELECT COUNT(*) FROM signing_keys WHERE id = $1 AND revoked_at IS NULL")
                .bind(&parts.signer)
                .fetch_one(self.readers())
                .await
                .map_err(unavailable)?;
        if signers == 0 {
            return Err(KeyRefusal::Revoked);
        }
        let channel: Option<(String, bool)> =
            sqlx::query_as("SELECT name, private FROM channels WHERE id = $1")
                .bind(&parts.channel_id)
                .fetch_optional(self.readers())
                .await
                .map_err(unavailable)?;
        let (name, private) = channel.ok_or(KeyRefusal::Unknown)?;
        Ok(ChannelRef {
            id: parts.channel_id.clone(),
            name,
            private,
            key_id: parts.signed.to_owned(),
            key_label: "signed key".to_owned(),
        })
    }

    fn seal(&self, signed: &str) -> String {
        id::base32(&self.derive(Purpose::SignedStreamKey, signed)[..SEAL_BYTES])
    }
}
