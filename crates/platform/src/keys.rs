//! Stream keys: who may publish to a channel.

use serde::Serialize;
use sqlx::FromRow;
use sqlx::sqlite::SqliteConnection;
use subtle::ConstantTimeEq;

use crate::channels::{Channel, insert_channel};
use crate::credential::{self, SecretText};
use crate::error::{Error, KeyRefusal};
use crate::events::{self, EventType};
use crate::id::new_id;
use crate::secret::Purpose;
use crate::signed_stream_keys;
use crate::store::{Failure, Platform, now_ms};

/// Most keys of one channel, the revoked and expired ones included.
pub const KEYS_PER_CHANNEL_MAX: i64 = 64;

const PREFIX: &str = "tw_";

/// What is stored of a stream key.
#[derive(Clone, Debug, PartialEq, Eq, FromRow, Serialize)]
pub struct KeyInfo {
    /// `key_` and 26 characters.
    pub id: String,
    /// The first characters of the key, to tell keys apart.
    pub prefix: String,
    /// The operator's words; may be empty.
    pub label: String,
    /// Milliseconds since 1970 (UTC).
    #[sqlx(rename = "created_at")]
    pub created_at_ms: i64,
    /// From then on the key is refused.
    #[sqlx(rename = "expires_at")]
    pub expires_at_ms: Option<i64>,
    /// When it was revoked.
    #[sqlx(rename = "revoked_at")]
    pub revoked_at_ms: Option<i64>,
    /// When it last opened a stream, to about a second.
    #[sqlx(rename = "used_at")]
    pub used_at_ms: Option<i64>,
}

/// A key just made. The secret is nowhere else.
#[derive(Clone, Debug)]
pub struct NewKey {
    /// What is stored.
    pub info: KeyInfo,
    /// `tw_` and 32 characters: what the publisher types.
    pub stream_key: SecretText,
}

/// The channel that a stream key opens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChannelRef {
    /// `ch_...`.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Whether viewers need a credential.
    pub private: bool,
    /// Which of its keys it was: give it to [`Platform::check_key`] while the stream lives.
    pub key_id: String,
    /// That key's label.
    pub key_label: String,
}

#[derive(FromRow)]
struct KeyRow {
    key_id: String,
    key_label: String,
    digest: String,
    expires_at: Option<i64>,
    revoked_at: Option<i64>,
    channel_id: String,
    channel_name: String,
    private: bool,
}

impl Platform {
    /// Makes a channel together with its first key, or neither.
    pub async fn create_channel_with_key(
        &self,
        name: &str,
        private: bool,
    ) -> Result<(Channel, NewKey), Error> {
        let channel = Channel::new(name, private, now_ms())?;
        let (key, digest) = self.new_key("first key", None)?;
        let (row, key_row) = (channel.clone(), key.info.clone());
        self.write(move |db| {
            Box::pin(async move {
                insert_channel(&mut *db, row.clone()).await?;
                insert_key(db, row, key_row, digest).await
            })
        })
        .await?;
        Ok((channel, key))
    }

    /// Makes another key for a channel. The others stay valid, so that keys can be exchanged without a gap.
    pub async fn add_key(
        &self,
        channel: &str,
        label: &str,
        expires_at_ms: Option<i64>,
    ) -> Result<NewKey, Error> {
        let (key, digest) = self.new_key(label, expires_at_ms)?;
        let (channel, row) = (self.channel(channel).await?, key.info.clone());
        self.write(move |db| Box::pin(insert_key(db, channel, row, digest)))
            .await?;
        Ok(key)
    }

    /// A key that is not stored yet, and its digest.
    fn new_key(&self, label: &str, expires_at_ms: Option<i64>) -> Result<(NewKey, String), Error> {
        let now = now_ms();
        credential::check(label, expires_at_ms, now)?;
        let stream_key = SecretText::generate(PREFIX)?;
        let info = KeyInfo {
            id: new_id("key", now)?,
            prefix: stream_key.display_prefix(PREFIX),
            label: label.to_owned(),
            created_at_ms: now,
            expires_at_ms,
            revoked_at_ms: None,
            used_at_ms: None,
        };
        let digest = self.digest(Purpose::StreamKey, stream_key.expose());
        Ok((NewKey { info, stream_key }, digest))
    }

    /// The keys of a channel, oldest first.
    pub async fn list_keys(&self, channel: &str) -> Result<Vec<KeyInfo>, Error> {
        let channel = self.channel(channel).await?;
        sqlx::query_as(
            "SELECT id, prefix, label, created_at, expires_at, revoked_at, used_at \
             FROM stream_keys WHERE channel_id = $1 ORDER BY created_at, id",
        )
        .bind(channel.id)
        .fetch_all(self.readers())
        .await
        .map_err(|error| self.fault(error))
    }

    /// Revokes one key of a channel, named by its id, by its shown prefix or by the key itself.
    ///
    /// Revoking a revoked key changes nothing.
    pub async fn revoke_key(&self, channel: &str, key: &str) -> Result<KeyInfo, Error> {
        let row = self.channel(channel).await?;
        let mut info = self.find_key(channel, key).await?;
        let (key, now) = (info.clone(), now_ms());
        self.write(move |db| {
            Box::pin(async move {
                let revoked = sqlx::query(
                    "UPDATE stream_keys SET revoked_at = $1 WHERE id = $2 AND revoked_at IS NULL",
                )
                .bind(now)
                .bind(&key.id)
                .execute(&mut *db)
                .await?;
                if revoked.rows_affected() > 0 {
                    events::append(db, row.event(EventType::KeyRevoked, key_facts(&key))).await?;
                }
                Ok(())
            })
        })
        .await?;
        info.revoked_at_ms = info.revoked_at_ms.or(Some(now));
        Ok(info)
    }

    /// Makes a key in place of another one, with its label and its expiry. The old one, named as for
    /// [`Platform::revoke_key`], stays valid for `overlap_ms` more, so that encoders can be changed over one by one without a
    /// gap; an expiry of its own that is nearer stands. Returns the old one with its new expiry, and the new one.
    pub async fn rotate_key(
        &self,
        channel: &str,
        key: &str,
        overlap_ms: i64,
    ) -> Result<(KeyInfo, NewKey), Error> {
        let mut old = self.find_key(channel, key).await?;
        let (now, id) = (now_ms(), old.id.clone());
        if verdict(old.revoked_at_ms, old.expires_at_ms, now).is_err() {
            let channel = channel.to_owned();
            return Err(Error::KeyOver { channel, key: id });
        }
        let (new, digest) = self.new_key(&old.label, old.expires_at_ms)?;
        let (channel, row) = (self.channel(channel).await?, new.info.clone());
        let end = now.saturating_add(overlap_ms.max(0));
        old.expires_at_ms = Some(old.expires_at_ms.map_or(end, |expiry| expiry.min(end)));
        self.write(move |db| {
            Box::pin(async move {
                // Two that rotate one key at once: the second finds it as the first has left it, which still opens.
                let changed = sqlx::query(
                    "UPDATE stream_keys SET expires_at = CASE WHEN expires_at < $1 THEN expires_at ELSE $1 END \
                     WHERE id = $2 AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > $3)",
                )
                .bind(end)
                .bind(&id)
                .bind(now)
                .execute(&mut *db)
                .await?
                .rows_affected();
                if changed == 0 {
                    return Err(Error::KeyOver {
                        channel: channel.name,
                        key: id,
                    }
                    .into());
                }
                insert_key(db, channel, row, digest).await
            })
        })
        .await?;
        Ok((old, new))
    }

    /// The key of a channel that is named by its id, by its shown prefix or by itself.
    async fn find_key(&self, channel: &str, key: &str) -> Result<KeyInfo, Error> {
        let keys = self.list_keys(channel).await?;
        let whole = if credential::well_formed(key, PREFIX) {
            self.key_id_of(key).await?
        } else {
            None
        };
        let mut found: Vec<KeyInfo> = keys
            .into_iter()
            .filter(|info| info.id == key || info.prefix == key || whole.as_deref() == Some(info.id.as_str()))
            .collect();
        let (channel, count) = (channel.to_owned(), found.len());
        let key = if credential::well_formed(key, PREFIX) {
            format!("{}…", &key[..7])
        } else {
            key.to_owned()
        };
        match (found.pop(), count) {
            (Some(info), 1) => Ok(info),
            (None, _) => Err(Error::KeyNotFound { channel, key }),
            (Some(_), found) => Err(Error::KeyAmbiguous { channel, key, found }),
        }
    }

    /// Says which channel a publisher's key opens, and notes that it was used.
    ///
    /// One indexed read of the database and no cache, so that a revoked key is refused at once.
    pub async fn authorize_publish(&self, key: &str) -> Result<ChannelRef, KeyRefusal> {
        let channel = self.channel_of_key(key).await?;
        let (id, now) = (channel.key_id.clone(), now_ms());
        self.write_if_idle(move |db| {
            Box::pin(async move {
                sqlx::query("UPDATE stream_keys SET used_at = $1 WHERE id = $2")
                    .bind(now)
                    .bind(id)
                    .execute(db)
                    .await?;
                Ok(())
            })
        });
        Ok(channel)
    }

    /// Says which channel a stream key opens now.
    pub async fn channel_of_key(&self, key: &str) -> Result<ChannelRef, KeyRefusal> {
        let key = key.trim();
        if key.starts_with(signed_stream_keys::PREFIX) {
            return self.authorize_signed(key).await;
        }
        if !credential::well_formed(key, PREFIX) {
            return Err(KeyRefusal::Malformed);
        }
        let digest = self.digest(Purpose::StreamKey, key);
        let row: Option<KeyRow> = sqlx::query_as(
            "SELECT k.id AS key_id, k.label AS key_label, k.digest, k.expires_at, k.revoked_at, \
                    c.id AS channel_id, c.name AS channel_name, c.private \
             FROM stream_keys k JOIN channels c ON c.id = k.channel_id WHERE k.digest = $1",
        )
        .bind(&digest)
        .fetch_optional(self.readers())
        .await
        .map_err(|error| KeyRefusal::Unavailable(self.fault(error)))?;
        // The index has compared keyed digests, of which a caller learns nothing; the comparison that decides takes
        // the same time wherever they differ.
        let row = row
            .filter(|row| bool::from(row.digest.as_bytes().ct_eq(digest.as_bytes())))
            .ok_or(KeyRefusal::Unknown)?;
        verdict(row.revoked_at, row.expires_at, now_ms())?;
        Ok(ChannelRef {
            id: row.channel_id,
            name: row.channel_name,
            private: row.private,
            key_id: row.key_id,
            key_label: row.key_label,
        })
    }

    /// Whether a key that opened a stream still may: refuses what was revoked, has expired or was removed with its
    /// channel since. Ask when [`Platform::changes`] rises.
    pub async fn check_key(&self, key_id: &str) -> Result<(), KeyRefusal> {
        if key_id.starts_with(signed_stream_keys::PREFIX) {
            return self.check_signed(key_id).await;
        }
        let row: Option<(Option<i64>, Option<i64>)> =
            sqlx::query_as("SELECT revoked_at, expires_at FROM stream_keys WHERE id = $1")
                .bind(key_id)
                .fetch_optional(self.readers())
                .await
                .map_err(|error| KeyRefusal::Unavailable(self.fault(error)))?;
        let (revoked_at, expires_at) = row.ok_or(KeyRefusal::Unknown)?;
        verdict(revoked_at, expires_at, now_ms())
    }

    async fn key_id_of(&self, key: &str) -> Result<Option<String>, Error> {
        sqlx::query_scalar("SELECT id FROM stream_keys WHERE digest = $1")
            .bind(self.digest(Purpose::StreamKey, key))
            .fetch_optional(self.readers())
            .await
            .map_err(|error| self.fault(error))
    }
}

fn verdict(revoked_at: Option<i64>, expires_at: Option<i64>, now: i64) -> Result<(), KeyRefusal> {
    match (revoked_at, expires_at) {
        (Some(_), _) => Err(KeyRefusal::Revoked),
        (None, Some(expiry)) if expiry <= now => Err(KeyRefusal::Expired),
        _ => Ok(()),
    }
}

async fn insert_key(
    db: &mut SqliteConnection,
    channel: Channel,
    key: KeyInfo,
    digest: String,
) -> Result<(), Failure> {
    let count: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM stream_keys WHERE channel_id = $1")
        .bind(&channel.id)
        .fetch_one(&mut *db)
        .await?;
    if count >= KEYS_PER_CHANNEL_MAX {
        return Err(Error::TooMany {
            what: "keys on this channel",
            max: KEYS_PER_CHANNEL_MAX,
        }
        .into());
    }
    let outcome = sqlx::query(
        "INSERT INTO stream_keys (id, channel_id, digest, prefix, label, created_at, expires_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7)",
    )
    .bind(&key.id)
    .bind(&channel.id)
    .bind(digest)
    .bind(&key.prefix)
    .bind(&key.label)
    .bind(key.created_at_ms)
    .bind(key.expires_at_ms)
    .execute(&mut *db)
    .await;
    match outcome {
        Err(error)
            if error
                .as_database_error()
                .is_some_and(|error| error.is_foreign_key_violation()) =>
        {
            Err(Error::ChannelNotFound { name: channel.name }.into())
        }
        other => {
            other?;
            let facts = key_facts(&key);
            events::append(db, channel.event(EventType::KeyCreated, facts)).await
        }
    }
}

/// What events say of a key: enough to know it again, nothing to publish with.
fn key_facts(key: &KeyInfo) -> serde_json::Value {
    serde_json::json!({ "key_id": key.id, "label": key.label })
}
