//! The outbox: every change of state is an event, written in the transaction of the change.
//!
//! Sequence numbers are given inside the writing transaction, so their order is the order of commits, over all processes
//! that write: who has seen a number has seen all below it.

use serde_json::Value;
use sqlx::FromRow;
use sqlx::sqlite::SqliteConnection;

use crate::error::Error;
use crate::id;
use crate::store::{Failure, Platform, now_ms};

/// Events that are kept; the oldest go, by hundreds.
pub const EVENTS_MAX: i64 = 100_000;
/// How long an event is kept, milliseconds: 30 days.
pub const EVENTS_KEPT_MS: i64 = 30 * 86_400_000;
/// Events between two looks for old ones.
const PRUNE_EVERY: i64 = 256;
/// Events of one call of [`Platform::record_events`].
const BATCH_MAX: usize = 1_000;

const PREFIX: &str = "evt_";
/// Hexadecimal digits of the sequence number in an id: ids sort as they happened.
const SEQ_DIGITS: usize = 13;

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EventType {
    /// A stream began: its first publisher was accepted.
    StreamStarted,
    /// It can be played, for the first time or again.
    StreamLive,
    /// Its publisher is gone and may come back.
    StreamReconnecting,
    /// It is over.
    StreamEnded,
    /// It is over by a fault of the server.
    StreamFailed,
    /// A rendition can be played.
    RenditionAdded,
    /// A rendition is gone.
    RenditionRemoved,
    /// A publisher came.
    PublisherConnected,
    /// The publisher went.
    PublisherDisconnected,
    /// The notices of a stream are others.
    HealthChanged,
    /// A channel was made.
    ChannelCreated,
    /// A channel is private or public now.
    ChannelChanged,
    /// A channel was removed.
    ChannelRemoved,
    /// A stream key was made.
    KeyCreated,
    /// A stream key was revoked.
    KeyRevoked,
}

impl EventType {
    /// All of them, in the order of the documentation.
    pub const ALL: [Self; 15] = [
        Self::StreamStarted,
        Self::StreamLive,
        Self::StreamReconnecting,
        Self::StreamEnded,
        Self::StreamFailed,
        Self::RenditionAdded,
        Self::RenditionRemoved,
        Self::PublisherConnected,
        Self::PublisherDisconnected,
        Self::HealthChanged,
        Self::ChannelCreated,
        Self::ChannelChanged,
        Self::ChannelRemoved,
        Self::KeyCreated,
        Self::KeyRevoked,
    ];

    /// The name that is stored and sent.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::StreamStarted => "stream.started",
            Self::StreamLive => "stream.live",
            Self::StreamReconnecting => "stream.reconnecting",
            Self::StreamEnded => "stream.ended",
            Self::StreamFailed => "stream.failed",
            Self::RenditionAdded => "rendition.added",
            Self::RenditionRemoved => "rendition.removed",
            Self::PublisherConnected => "publisher.connected",
            Self::PublisherDisconnected => "publisher.disconnected",
            Self::HealthChanged => "health.changed",
            Self::ChannelCreated => "channel.created",
            Self::ChannelChanged => "channel.changed",
            Self::ChannelRemoved => "channel.removed",
            Self::KeyCreated => "key.created",
            Self::KeyRevoked => "key.revoked",
        }
    }

    /// The type of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.as_str() == name)
    }
}

/// An event to be written.
#[derive(Clone, Debug, PartialEq)]
pub struct NewEvent {
    /// What happened.
    pub kind: EventType,
    /// Name of the channel.
    pub channel: String,
    /// `ch_...`.
    pub channel_id: String,
    /// The stream, if it is about one.
    pub stream_id: Option<String>,
    /// What there is to say, by type. No secrets.
    pub data: Value,
}

/// An event that was written.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// Rises by one with each event.
    pub seq: i64,
    /// `evt_` and 21 characters; sorts by `seq`.
    pub id: String,
    /// [`EventType::as_str`].
    pub kind: String,
    /// Milliseconds since 1970 (UTC).
    pub at_ms: i64,
    /// Name of the channel.
    pub channel: String,
    /// `ch_...`.
    pub channel_id: String,
    /// The stream, if it is about one.
    pub stream_id: Option<String>,
    /// What there is to say.
    pub data: Value,
}

#[derive(FromRow)]
struct EventRow {
    seq: i64,
    id: String,
    #[sqlx(rename = "type")]
    kind: String,
    at: i64,
    channel: String,
    channel_id: String,
    stream_id: Option<String>,
    data: String,
}

impl From<EventRow> for Event {
    fn from(row: EventRow) -> Self {
        Self {
            seq: row.seq,
            id: row.id,
            kind: row.kind,
            at_ms: row.at,
            channel: row.channel,
            channel_id: row.channel_id,
            stream_id: row.stream_id,
            data: serde_json::from_str(&row.data).unwrap_or(Value::Null),
        }
    }
}

/// Which events.
#[derive(Clone, Debug, Default)]
pub struct EventFilter {
    /// Only this type.
    pub kind: Option<EventType>,
    /// Only the channel of this name.
    pub channel: Option<String>,
}

/// The sequence number in an event's id, also of one that is no longer kept.
pub fn event_seq(id: &str) -> Option<i64> {
    let digits = id.strip_prefix(PREFIX)?.get(..SEQ_DIGITS)?;
    let is_hex = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_hex.then(|| i64::from_str_radix(digits, 16).ok()).flatten()
}

/// Writes an event in the transaction of what it tells.
pub(crate) async fn append(db: &mut SqliteConnection, event: NewEvent) -> Result<(), Failure> {
    let now = now_ms();
    let seq: i64 = sqlx::query_scalar("SELECT COALESCE(MAX(seq), 0) + 1 FROM events")
        .fetch_one(&mut *db)
        .await?;
    // The random end keeps ids apart where a database was lost and numbers begin anew.
    let id = format!("{PREFIX}{seq:0SEQ_DIGITS$x}{}", id::base32(&id::random::<5>()?));
    sqlx::query(
        "INSERT INTO events (seq, id, type, at, channel, channel_id, stream_id, data) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
    )
    .bind(seq)
    .bind(id)
    .bind(event.kind.as_str())
    .bind(now)
    .bind(event.channel)
    .bind(event.channel_id)
    .bind(event.stream_id)
    .bind(event.data.to_string())
    .execute(&mut *db)
    .await?;
    if seq % PRUNE_EVERY == 0 {
        // The newest stays in any case: numbers go on from it.
        sqlx::query("DELETE FROM events WHERE seq <= $1 OR (at < $2 AND seq < $3)")
            .bind(seq - EVENTS_MAX)
            .bind(now - EVENTS_KEPT_MS)
            .bind(seq)
            .execute(db)
            .await?;
    }
    Ok(())
}

impl Platform {
    /// Writes events that tell of no row of the database, all in one transaction; those beyond a thousand are dropped.
    pub async fn record_events(&self, mut events: Vec<NewEvent>) -> Result<(), Error> {
        if events.len() > BATCH_MAX {
            tracing::warn!(
                dropped = events.len() - BATCH_MAX,
                "more happened at once than is recorded"
            );
            events.truncate(BATCH_MAX);
        }
        if events.is_empty() {
            return Ok(());
        }
        self.write(move |db| {
            Box::pin(async move {
                for event in events {
                    append(&mut *db, event).await?;
                }
                Ok(())
            })
        })
        .await
    }

    /// At most `limit` events that come after the one numbered `after`, oldest first.
    pub async fn list_events_after(
        &self,
        after: i64,
        filter: &EventFilter,
        limit: u32,
    ) -> Result<Vec<Event>, Error> {
        let rows = sqlx::query_as(
            "SELECT seq, id, type, at, channel, channel_id, stream_id, data FROM events \
             WHERE seq > $1 AND ($2 IS NULL OR type = $2) AND ($3 IS NULL OR channel = $3) ORDER BY seq LIMIT $4",
        );
        self.events(rows, after, filter, limit).await
    }

    /// At most `limit` events that come before the one numbered `before`, newest first.
    pub async fn list_events_before(
        &self,
        before: i64,
        filter: &EventFilter,
        limit: u32,
    ) -> Result<Vec<Event>, Error> {
        let rows = sqlx::query_as(
            "SELECT seq, id, type, at, channel, channel_id, stream_id, data FROM events \
             WHERE seq < $1 AND ($2 IS NULL OR type = $2) AND ($3 IS NULL OR channel = $3) ORDER BY seq DESC LIMIT $4",
        );
        self.events(rows, before, filter, limit).await
    }

    async fn events(
        &self,
        rows: sqlx::query::QueryAs<'_, sqlx::Sqlite, EventRow, sqlx::sqlite::SqliteArguments>,
        seq: i64,
        filter: &EventFilter,
        limit: u32,
    ) -> Result<Vec<Event>, Error> {
        let rows: Vec<EventRow> = rows
            .bind(seq)
            .bind(filter.kind.map(EventType::as_str))
            .bind(filter.channel.clone())
            .bind(i64::from(limit))
            .fetch_all(self.readers())
            .await
            .map_err(|error| self.fault(error))?;
        Ok(rows.into_iter().map(Event::from).collect())
    }

    /// The number of the newest event; 0: there is none.
    pub async fn newest_event_seq(&self) -> Result<i64, Error> {
        sqlx::query_scalar("SELECT COALESCE(MAX(seq), 0) FROM events")
            .fetch_one(self.readers())
            .await
            .map_err(|error| self.fault(error))
    }
}
