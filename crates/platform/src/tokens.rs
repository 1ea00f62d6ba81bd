//! Admin tokens: who may change things through the API.

use serde::Serialize;
use sqlx::FromRow;
use subtle::ConstantTimeEq;

use crate::credential::{self, SecretText};
use crate::error::Error;
use crate::id::new_id;
use crate::scopes::Scopes;
use crate::secret::Purpose;
use crate::store::{Platform, now_ms};

/// Most admin tokens, the revoked and expired ones included.
pub const ADMIN_TOKENS_MAX: i64 = 256;

const PREFIX: &str = "twa_";

/// What is stored of an admin token.
#[derive(Clone, Debug, PartialEq, Eq, FromRow, Serialize)]
pub struct TokenInfo {
    /// `tok_` and 26 characters.
    pub id: String,
    /// The first characters of the token, to tell tokens apart.
    pub prefix: String,
    /// The operator's words; may be empty.
    pub label: String,
    /// What it may do.
    #[sqlx(try_from = "String")]
    pub scopes: Scopes,
    /// Milliseconds since 1970 (UTC).
    #[sqlx(rename = "created_at")]
    pub created_at_ms: i64,
    /// From then on the token is refused.
    #[sqlx(rename = "expires_at")]
    pub expires_at_ms: Option<i64>,
    /// When it was revoked.
    #[sqlx(rename = "revoked_at")]
    pub revoked_at_ms: Option<i64>,
}

/// A token just made. The secret is nowhere else.
#[derive(Clone, Debug)]
pub struct NewToken {
    /// What is stored.
    pub info: TokenInfo,
    /// `twa_` and 32 characters.
    pub token: SecretText,
}

#[derive(FromRow)]
struct TokenRow {
    digest: String,
    #[sqlx(flatten)]
    info: TokenInfo,
}

impl Platform {
    /// Makes an admin token that may do what `scopes` says, which is at least one thing.
    pub async fn create_admin_token(
        &self,
        label: &str,
        scopes: Scopes,
        expires_at_ms: Option<i64>,
    ) -> Result<NewToken, Error> {
        let now = now_ms();
        credential::check(label, expires_at_ms, now)?;
        if scopes.is_empty() {
            return Err(Error::NoScope);
        }
        let token = SecretText::generate(PREFIX)?;
        let info = TokenInfo {
            id: new_id("tok", now)?,
            prefix: token.display_prefix(PREFIX),
            label: label.to_owned(),
            scopes,
            created_at_ms: now,
            expires_at_ms,
            revoked_at_ms: None,
        };
        let (row, digest) = (info.clone(), self.digest(Purpose::AdminToken, token.expose()));
        self.write(move |db| {
            Box::pin(async move {
                let count: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM admin_tokens")
                    .fetch_one(&mut *db)
                    .await?;
                if count >= ADMIN_TOKENS_MAX {
                    return Err(Error::TooMany {
                        what: "admin tokens",
                        max: ADMIN_TOKENS_MAX,
                    }
                    .into());
                }
                sqlx::query(
                    "INSERT INTO admin_tokens (id, digest, prefix, label, scopes, created_at, expires_at) \
                     VALUES ($1, $2, $3, $4, $5, $6, $7)",
                )
                .bind(row.id)
                .bind(digest)
                .bind(row.prefix)
                .bind(row.label)
                .bind(row.scopes.to_string())
                .bind(row.created_at_ms)
                .bind(row.expires_at_ms)
                .execute(&mut *db)
                .await?;
                Ok(())
            })
        })
        .await?;
        Ok(NewToken { info, token })
    }

    /// The token's record when it is valid now, else `None`.
    pub async fn verify_admin_token(&self, token: &str) -> Result<Option<TokenInfo>, Error> {
        if !credential::well_formed(token, PREFIX) {
            return Ok(None);
        }
        let digest = self.digest(Purpose::AdminToken, token);
        let row: Option<TokenRow> = sqlx::query_as(
            "SELECT digest, id, prefix, label, scopes, created_at, expires_at, revoked_at FROM admin_tokens WHERE digest = $1",
        )
        .bind(&digest)
        .fetch_optional(self.readers())
        .await
        .map_err(|error| self.fault(error))?;
        let now = now_ms();
        Ok(row
            .filter(|row| bool::from(row.digest.as_bytes().ct_eq(digest.as_bytes())))
            .map(|row| row.info)
            .filter(|info| {
                info.revoked_at_ms.is_none() && info.expires_at_ms.is_none_or(|expiry| expiry > now)
            }))
    }

    /// All admin tokens, oldest first.
    pub async fn list_admin_tokens(&self) -> Result<Vec<TokenInfo>, Error> {
        sqlx::query_as(
            "SELECT id, prefix, label, scopes, created_at, expires_at, revoked_at FROM admin_tokens ORDER BY created_at, id",
        )
        .fetch_all(self.readers())
        .await
        .map_err(|error| self.fault(error))
    }

    /// Revokes the token with that id.
    pub async fn revoke_admin_token(&self, id: &str) -> Result<(), Error> {
        let (asked, id) = (id.to_owned(), id.to_owned());
        let changed = self
            .write(move |db| {
                Box::pin(async move {
                    let sql = "UPDATE admin_tokens SET revoked_at = COALESCE(revoked_at, $1) WHERE id = $2";
                    Ok(sqlx::query(sql)
                        .bind(now_ms())
                        .bind(id)
                        .execute(db)
                        .await?
                        .rows_affected())
                })
            })
            .await?;
        if changed == 0 {
            Err(Error::TokenNotFound { token: asked })
        } else {
            Ok(())
        }
    }
}
