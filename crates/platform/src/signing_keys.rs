//! Signing keys of path tokens: which there are. Their secrets are derived from the server secret and stored nowhere.

use access::{KeyId, SigningKey};
use serde::Serialize;
use sqlx::FromRow;
use sqlx::sqlite::SqliteConnection;

use crate::error::Error;
use crate::id;
use crate::secret::Purpose;
use crate::store::{Failure, Platform, now_ms};

/// Most signing keys that are not revoked.
pub const SIGNING_KEYS_MAX: i64 = access::KEYS_MAX as i64;
/// Revoked signing keys that are remembered; the oldest are forgotten first. Forgotten or revoked, they open nothing.
const REVOKED_KEPT: i64 = 64;

/// What is stored of a signing key.
#[derive(Clone, Debug, PartialEq, Eq, FromRow, Serialize)]
pub struct SigningKeyInfo {
    /// `sig_` and ten hexadecimal digits; stands in every token that it signs.
    pub id: String,
    /// Milliseconds since 1970 (UTC). The newest key that is not revoked signs.
    #[sqlx(rename = "created_at")]
    pub created_at_ms: i64,
    /// When it was revoked. Its tokens open nothing from then on.
    #[sqlx(rename = "revoked_at")]
    pub revoked_at_ms: Option<i64>,
}

impl Platform {
    /// The keys whose tokens are good, newest first.
    pub async fn signing_keys(&self) -> Result<Vec<SigningKey>, Error> {
        let ids: Vec<String> = sqlx::query_scalar(
            "SELECT id FROM signing_keys WHERE revoked_at IS NULL ORDER BY created_at DESC, id DESC",
        )
        .fetch_all(self.readers())
        .await
        .map_err(|error| self.fault(error))?;
        Ok(ids.iter().filter_map(|id| self.signing_key(id)).collect())
    }

    /// The key that signs now; the first is made when it is asked for.
    pub async fn current_signing_key(&self) -> Result<SigningKey, Error> {
        if let Some(key) = self.signing_keys().await?.into_iter().next() {
            return Ok(key);
        }
        let id = self.rotate_signing_key().await?.id;
        self.signing_key(&id).ok_or(Error::SigningKeyNotFound { key: id })
    }

    /// Makes a new key, which signs from now on. What older keys signed stays good until they are revoked.
    pub async fn rotate_signing_key(&self) -> Result<SigningKeyInfo, Error> {
        let info = SigningKeyInfo {
            id: KeyId::new(id::random()?).to_string(),
            created_at_ms: now_ms(),
            revoked_at_ms: None,
        };
        let row = info.clone();
        self.write(move |db| Box::pin(insert(db, row))).await?;
        Ok(info)
    }

    /// All signing keys, oldest first.
    pub async fn list_signing_keys(&self) -> Result<Vec<SigningKeyInfo>, Error> {
        sqlx::query_as("SELECT id, created_at, revoked_at FROM signing_keys ORDER BY created_at, id")
            .fetch_all(self.readers())
            .await
            .map_err(|error| self.fault(error))
    }

    /// Revokes one: every token that it signed is refused from now on. Revoking a revoked key changes nothing.
    pub async fn revoke_signing_key(&self, key: &str) -> Result<SigningKeyInfo, Error> {
        let (asked, now) = (key.to_owned(), now_ms());
        self.write(move |db| {
            Box::pin(async move {
                sqlx::query("UPDATE signing_keys SET revoked_at = COALESCE(revoked_at, $1) WHERE id = $2")
                    .bind(now)
                    .bind(&asked)
                    .execute(&mut *db)
                    .await?;
                let found: Option<SigningKeyInfo> =
                    sqlx::query_as("SELECT id, created_at, revoked_at FROM signing_keys WHERE id = $1")
                        .bind(&asked)
                        .fetch_optional(&mut *db)
                        .await?;
                found.ok_or_else(|| Error::SigningKeyNotFound { key: asked }.into())
            })
        })
        .await
    }

    /// The key with its secret; `None` if the text is no key id.
    fn signing_key(&self, id: &str) -> Option<SigningKey> {
        let secret = self.derive(Purpose::SigningKey, id);
        id.parse().ok().map(|id| SigningKey::new(id, &secret))
    }
}

async fn insert(db: &mut SqliteConnection, key: SigningKeyInfo) -> Result<(), Failure> {
    let count: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM signing_keys WHERE revoked_at IS NULL")
        .fetch_one(&mut *db)
        .await?;
    if count >= SIGNING_KEYS_MAX {
        return Err(Error::TooMany {
            what: "signing keys that are not revoked",
            max: SIGNING_KEYS_MAX,
        }
        .into());
    }
    sqlx::query(
        "DELETE FROM signing_keys WHERE revoked_at IS NOT NULL AND id NOT IN \
         (SELECT id FROM signing_keys WHERE revoked_at IS NOT NULL ORDER BY revoked_at DESC, id DESC LIMIT $1)",
    )
    .bind(REVOKED_KEPT)
    .execute(&mut *db)
    .await?;
    sqlx::query("INSERT INTO signing_keys (id, created_at) VALUES ($1, $2)")
        .bind(key.id)
        .bind(key.created_at_ms)
        .execute(db)
        .await?;
    Ok(())
}
