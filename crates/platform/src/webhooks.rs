//! Webhooks: who is told of events, and how that went. The rows are queue and log in one; sending is not done here.

use serde_json::Value;
use sqlx::FromRow;
use sqlx::sqlite::SqliteConnection;

use crate::credential;
use crate::error::Error;
use crate::events::{Event, EventType};
use crate::id::new_id;
use crate::secret::Purpose;
use crate::store::{Failure, Platform, now_ms};

/// Most webhooks.
pub const WEBHOOKS_MAX: i64 = 64;
/// Deliveries of one webhook that wait; the oldest fail for new ones.
pub const PENDING_MAX: i64 = 1_000;
/// Finished deliveries of one webhook that are kept.
pub const DELIVERIES_MAX: i64 = 500;
/// How long a delivery is tried, milliseconds: 24 hours.
pub const DELIVERY_TRIED_MS: i64 = 86_400_000;
/// A webhook that fails for so long without a success is disabled, milliseconds: five days.
pub const WEBHOOK_FAILS_MS: i64 = 5 * 86_400_000;
/// Events that are queued in one transaction.
const BATCH: i64 = 200;

/// Somebody who is told of events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Webhook {
    /// `wh_` and 26 characters.
    pub id: String,
    /// Where events are posted to.
    pub url: String,
    /// The operator's words; may be empty.
    pub label: String,
    /// What is sent; empty: everything.
    pub events: Vec<EventType>,
    /// Whether anything is sent.
    pub enabled: bool,
    /// Milliseconds since 1970 (UTC).
    pub created_at_ms: i64,
    /// Since when no delivery has succeeded; `None`: the last one did.
    pub failing_since_ms: Option<i64>,
}

/// What is to change of a webhook.
#[derive(Clone, Debug, Default)]
pub struct WebhookChange {
    /// Where events are posted to.
    pub url: Option<String>,
    /// What is sent.
    pub events: Option<Vec<EventType>>,
    /// Whether anything is sent.
    pub enabled: Option<bool>,
}

/// One event on its way to one webhook, or after it.
#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
pub struct Delivery {
    /// `del_` and 26 characters.
    pub id: String,
    /// The event's id.
    pub event_id: String,
    /// The event's type.
    #[sqlx(rename = "type")]
    pub kind: String,
    /// `pending`, `delivered` or `failed`.
    pub state: String,
    /// Attempts so far.
    pub attempt: i64,
    /// HTTP status of the last attempt, if there was an answer.
    pub status: Option<i64>,
    /// What was wrong with the last attempt.
    pub error: Option<String>,
    /// When the last attempt was, milliseconds since 1970 (UTC).
    #[sqlx(rename = "at")]
    pub at_ms: Option<i64>,
    /// How long the last attempt took.
    pub duration_ms: Option<i64>,
}

/// A delivery whose time has come.
#[derive(Clone, Debug, PartialEq)]
pub struct Due {
    /// Of the delivery.
    pub id: String,
    /// Whose it is.
    pub webhook_id: String,
    /// Where it goes.
    pub url: String,
    /// Attempts so far.
    pub attempt: i64,
    /// What is told.
    pub event: Event,
}

/// How an attempt went.
#[derive(Clone, Debug, Default)]
pub struct Attempt {
    /// HTTP status, if there was an answer.
    pub status: Option<u16>,
    /// What was wrong; `None`: it was delivered.
    pub error: Option<String>,
    /// How long it took.
    pub duration_ms: i64,
    /// When to try again, if it failed, milliseconds since 1970 (UTC).
    pub retry_at_ms: i64,
}

#[derive(FromRow)]
struct WebhookRow {
    id: String,
    url: String,
    label: String,
    events: String,
    enabled: bool,
    created_at: i64,
    from_seq: i64,
    failing_since: Option<i64>,
}

#[derive(FromRow)]
struct DueRow {
    id: String,
    webhook_id: String,
    url: String,
    attempt: i64,
    seq: i64,
    event_id: String,
    #[sqlx(rename = "type")]
    kind: String,
    at: i64,
    channel: String,
    channel_id: String,
    stream_id: Option<String>,
    data: String,
}

impl From<WebhookRow> for Webhook {
    fn from(row: WebhookRow) -> Self {
        Self {
            id: row.id,
            url: row.url,
            label: row.label,
            events: row.events.split(' ').filter_map(EventType::parse).collect(),
            enabled: row.enabled,
            created_at_ms: row.created_at,
            failing_since_ms: row.failing_since,
        }
    }
}

fn words(events: &[EventType]) -> String {
    let words: Vec<&str> = events.iter().map(|kind| kind.as_str()).collect();
    words.join(" ")
}

const COLUMNS: &str =
    "SELECT id, url, label, events, enabled, created_at, from_seq, failing_since FROM webhooks ORDER BY id";

impl Platform {
    /// Makes a webhook, which is told of what happens from now on.
    pub async fn create_webhook(
        &self,
        url: &str,
        label: &str,
        events: &[EventType],
    ) -> Result<Webhook, Error> {
        let now = now_ms();
        credential::check(label, None, now)?;
        let webhook = Webhook {
            id: new_id("wh", now)?,
            url: url.to_owned(),
            label: label.to_owned(),
            events: events.to_vec(),
            enabled: true,
            created_at_ms: now,
            failing_since_ms: None,
        };
        let row = webhook.clone();
        self.write(move |db| {
            Box::pin(async move {
                let count: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM webhooks")
                    .fetch_one(&mut *db)
                    .await?;
                if count >= WEBHOOKS_MAX {
                    return Err(Error::TooMany {
                        what: "webhooks",
                        max: WEBHOOKS_MAX,
                    }
                    .into());
                }
                sqlx::query(
                    "INSERT INTO webhooks (id, url, label, events, enabled, created_at, from_seq) \
                     VALUES ($1, $2, $3, $4, $5, $6, (SELECT COALESCE(MAX(seq), 0) FROM events))",
                )
                .bind(row.id)
                .bind(row.url)
                .bind(row.label)
                .bind(words(&row.events))
                .bind(true)
                .bind(row.created_at_ms)
                .execute(db)
                .await?;
                Ok(())
            })
        })
        .await?;
        Ok(webhook)
    }

    /// HMAC-SHA256 key of a webhook. It is derived from the server's secret and is nowhere at rest.
    pub fn webhook_secret(&self, id: &str) -> [u8; 32] {
        self.derive(Purpose::WebhookSecret, id)
    }

    /// All webhooks, oldest first.
    pub async fn list_webhooks(&self) -> Result<Vec<Webhook>, Error> {
        let rows: Vec<WebhookRow> = sqlx::query_as(COLUMNS)
            .fetch_all(self.readers())
            .await
            .map_err(|error| self.fault(error))?;
        Ok(rows.into_iter().map(Webhook::from).collect())
    }

    /// The webhook with that id.
    pub async fn webhook(&self, id: &str) -> Result<Webhook, Error> {
        let found = self
            .list_webhooks()
            .await?
            .into_iter()
            .find(|webhook| webhook.id == id);
        found.ok_or_else(|| Error::WebhookNotFound {
            webhook: id.to_owned(),
        })
    }

    /// Changes a webhook. Enabling it begins anew: what it missed while it was disabled is not sent.
    pub async fn change_webhook(&self, id: &str, change: WebhookChange) -> Result<Webhook, Error> {
        let webhook = self.webhook(id).await?;
        let (row, was_enabled) = (webhook.id, webhook.enabled);
        let enabled = change.enabled.unwrap_or(was_enabled);
        let events = change.events.as_deref().map(words);
        self.write(move |db| {
            Box::pin(async move {
                sqlx::query(
                    "UPDATE webhooks SET url = COALESCE($1, url), events = COALESCE($2, events), enabled = $3, \
                     failing_since = CASE WHEN $4 THEN NULL ELSE failing_since END, from_seq = CASE WHEN $4 \
                     THEN (SELECT COALESCE(MAX(seq), 0) FROM events) ELSE from_seq END WHERE id = $5",
                )
                .bind(change.url)
                .bind(events)
                .bind(enabled)
                .bind(enabled && !was_enabled)
                .bind(row)
                .execute(db)
                .await?;
                Ok(())
            })
        })
        .await?;
        self.webhook(id).await
    }

    /// Removes a webhook with its log.
    pub async fn remove_webhook(&self, id: &str) -> Result<(), Error> {
        let (asked, id) = (id.to_owned(), id.to_owned());
        let removed = self
            .write(move |db| {
                Box::pin(async move {
                    let removed = sqlx::query("DELETE FROM webhooks WHERE id = $1")
                        .bind(id)
                        .execute(db)
                        .await?;
                    Ok(removed.rows_affected())
                })
            })
            .await?;
        if removed == 0 {
            return Err(Error::WebhookNotFound { webhook: asked });
        }
        Ok(())
    }

    /// Queues the events that were not queued yet. Returns whether there may be more.
    pub async fn queue_deliveries(&self) -> Result<bool, Error> {
        // Most commits are no news for anybody, and a write would be another commit that everybody looks at.
        let is_news: i64 = sqlx::query_scalar(
            "SELECT EXISTS (SELECT 1 FROM webhooks WHERE enabled) AND (SELECT COALESCE(MAX(seq), 0) FROM events) > \
             (SELECT COALESCE(MAX(CAST(value AS BIGINT)), 0) FROM settings WHERE name = 'webhooks_seq')",
        )
        .fetch_one(self.readers())
        .await
        .map_err(|error| self.fault(error))?;
        if is_news == 0 {
            return Ok(false);
        }
        self.write(|db| Box::pin(queue_deliveries(db))).await
    }

    /// The delivery of each enabled webhook whose time came first, if it has come at `now_ms`.
    pub async fn due_deliveries(&self, now_ms: i64) -> Result<Vec<Due>, Error> {
        let rows: Vec<DueRow> = sqlx::query_as(
            "SELECT d.id, d.webhook_id, w.url, d.attempt, e.seq, e.id AS event_id, e.type, e.at, e.channel, \
                    e.channel_id, e.stream_id, e.data \
             FROM webhooks w JOIN webhook_deliveries d ON d.id = \
                 (SELECT id FROM webhook_deliveries WHERE webhook_id = w.id AND state = 'pending' \
                  ORDER BY next_at, event_seq LIMIT 1) \
             JOIN events e ON e.seq = d.event_seq WHERE w.enabled AND d.next_at <= $1",
        )
        .bind(now_ms)
        .fetch_all(self.readers())
        .await
        .map_err(|error| self.fault(error))?;
        let due = |row: DueRow| Due {
            id: row.id,
            webhook_id: row.webhook_id,
            url: row.url,
            attempt: row.attempt,
            event: Event {
                seq: row.seq,
                id: row.event_id,
                kind: row.kind,
                at_ms: row.at,
                channel: row.channel,
                channel_id: row.channel_id,
                stream_id: row.stream_id,
                data: serde_json::from_str(&row.data).unwrap_or(Value::Null),
            },
        };
        Ok(rows.into_iter().map(due).collect())
    }

    /// When the next delivery of an enabled webhook is due.
    pub async fn next_delivery_ms(&self) -> Result<Option<i64>, Error> {
        sqlx::query_scalar(
            "SELECT MIN(d.next_at) FROM webhook_deliveries d JOIN webhooks w ON w.id = d.webhook_id \
             WHERE d.state = 'pending' AND w.enabled",
        )
        .fetch_one(self.readers())
        .await
        .map_err(|error| self.fault(error))
    }

    /// Writes down how an attempt went. Returns `false` when its webhook was disabled by it.
    pub async fn record_attempt(&self, due: &Due, attempt: Attempt) -> Result<bool, Error> {
        let (id, webhook) = (due.id.clone(), due.webhook_id.clone());
        self.write(move |db| {
            Box::pin(async move {
                let (now, is_delivered) = (now_ms(), attempt.error.is_none());
                sqlx::query(
                    "UPDATE webhook_deliveries SET attempt = attempt + 1, status = $1, error = $2, at = $3, \
                     duration_ms = $4, next_at = $5, \
                     state = CASE WHEN $6 THEN 'delivered' WHEN $5 > give_up_at THEN 'failed' ELSE 'pending' END \
                     WHERE id = $7",
                )
                .bind(attempt.status.map(i64::from))
                .bind(attempt.error)
                .bind(now)
                .bind(attempt.duration_ms)
                .bind(attempt.retry_at_ms)
                .bind(is_delivered)
                .bind(id)
                .execute(&mut *db)
                .await?;
                let since = if is_delivered {
                    "UPDATE webhooks SET failing_since = NULL WHERE id = $2 AND failing_since < $1"
                } else {
                    "UPDATE webhooks SET failing_since = COALESCE(failing_since, $1) WHERE id = $2"
                };
                sqlx::query(since).bind(now + 1).bind(&webhook).execute(&mut *db).await?;
                let disabled = sqlx::query("UPDATE webhooks SET enabled = $1 WHERE id = $2 AND enabled AND failing_since < $3")
                    .bind(false)
                    .bind(&webhook)
                    .bind(now - WEBHOOK_FAILS_MS)
                    .execute(&mut *db)
                    .await?;
                forget_deliveries(db, &webhook).await?;
                Ok(disabled.rows_affected() == 0)
            })
        })
        .await
    }

    /// The log of a webhook, newest first, at most `limit`: those whose ids come before `before`.
    pub async fn list_deliveries(
        &self,
        webhook: &str,
        before: Option<&str>,
        limit: u32,
    ) -> Result<Vec<Delivery>, Error> {
        self.webhook(webhook).await?;
        sqlx::query_as(
            "SELECT id, event_id, type, state, attempt, status, error, at, duration_ms FROM webhook_deliveries \
             WHERE webhook_id = $1 AND ($2 IS NULL OR id < $2) ORDER BY id DESC LIMIT $3",
        )
        .bind(webhook)
        .bind(before)
        .bind(i64::from(limit))
        .fetch_all(self.readers())
        .await
        .map_err(|error| self.fault(error))
    }

    /// Sends a delivery again, as if it had never been tried.
    pub async fn replay_delivery(&self, webhook: &str, delivery: &str) -> Result<(), Error> {
        let (webhook, id, asked) = (webhook.to_owned(), delivery.to_owned(), delivery.to_owned());
        let changed = self
            .write(move |db| {
                Box::pin(async move {
                    let now = now_ms();
                    let changed = sqlx::query(
                        "UPDATE webhook_deliveries SET state = 'pending', attempt = 0, next_at = $1, give_up_at = $2 \
                         WHERE id = $3 AND webhook_id = $4 AND event_seq IN (SELECT seq FROM events)",
                    )
                    .bind(now)
                    .bind(now + DELIVERY_TRIED_MS)
                    .bind(id)
                    .bind(webhook)
                    .execute(db)
                    .await?;
                    Ok(changed.rows_affected())
                })
            })
            .await?;
        if changed == 0 {
            return Err(Error::DeliveryNotFound { delivery: asked });
        }
        Ok(())
    }
}

async fn queue_deliveries(db: &mut SqliteConnection) -> Result<bool, Failure> {
    let queued: Option<String> = sqlx::query_scalar("SELECT value FROM settings WHERE name = 'webhooks_seq'")
        .fetch_optional(&mut *db)
        .await?;
    let queued: i64 = queued.and_then(|seq| seq.parse().ok()).unwrap_or(0);
    let webhooks: Vec<WebhookRow> = sqlx::query_as(COLUMNS).fetch_all(&mut *db).await?;
    let first = webhooks.iter().map(|webhook| webhook.from_seq).min();
    let queued = queued.max(first.unwrap_or(0));
    let events: Vec<(i64, String, String)> =
        sqlx::query_as("SELECT seq, id, type FROM events WHERE seq > $1 ORDER BY seq LIMIT $2")
            .bind(queued)
            .bind(BATCH)
            .fetch_all(&mut *db)
            .await?;
    let Some((newest, ..)) = events.last() else {
        return Ok(false);
    };
    let (newest, count) = (*newest, events.len());
    let now = now_ms();
    for webhook in webhooks.into_iter().filter(|webhook| webhook.enabled) {
        let wants =
            |kind: &str| webhook.events.is_empty() || webhook.events.split(' ').any(|known| known == kind);
        for (seq, id, kind) in events
            .iter()
            .filter(|(seq, _, kind)| *seq > webhook.from_seq && wants(kind))
        {
            sqlx::query(
                "INSERT INTO webhook_deliveries \
                 (id, webhook_id, event_seq, event_id, type, state, attempt, next_at, give_up_at) \
                 VALUES ($1, $2, $3, $4, $5, 'pending', 0, $6, $7)",
            )
            .bind(new_id("del", now)?)
            .bind(&webhook.id)
            .bind(seq)
            .bind(id)
            .bind(kind)
            .bind(now)
            .bind(now + DELIVERY_TRIED_MS)
            .execute(&mut *db)
            .await?;
        }
        sqlx::query(
            "UPDATE webhook_deliveries SET state = 'failed', error = 'more than 1000 events waited' \
             WHERE webhook_id = $1 AND state = 'pending' AND id NOT IN (SELECT id FROM webhook_deliveries \
                 WHERE webhook_id = $1 AND state = 'pending' ORDER BY event_seq DESC LIMIT $2)",
        )
        .bind(&webhook.id)
        .bind(PENDING_MAX)
        .execute(&mut *db)
        .await?;
        forget_deliveries(&mut *db, &webhook.id).await?;
    }
    sqlx::query(
        "INSERT INTO settings (name, value) VALUES ('webhooks_seq', $1) \
         ON CONFLICT (name) DO UPDATE SET value = excluded.value",
    )
    .bind(newest.to_string())
    .execute(db)
    .await?;
    Ok(count as i64 == BATCH)
}

/// Drops what is finished beyond the maximum, and what waits for an event that is no longer kept.
async fn forget_deliveries(db: &mut SqliteConnection, webhook: &str) -> Result<(), Failure> {
    sqlx::query(
        "DELETE FROM webhook_deliveries WHERE webhook_id = $1 AND (\
             (state != 'pending' AND id NOT IN (SELECT id FROM webhook_deliveries \
                 WHERE webhook_id = $1 AND state != 'pending' ORDER BY id DESC LIMIT $2)) \
             OR event_seq < (SELECT COALESCE(MIN(seq), 0) FROM events))",
    )
    .bind(webhook)
    .bind(DELIVERIES_MAX)
    .execute(db)
    .await?;
    Ok(())
}
