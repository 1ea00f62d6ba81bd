//! Stream records: what was broadcast on which channel, and how it ended.

use serde::{Deserialize, Serialize};
use sqlx::FromRow;
use sqlx::sqlite::SqliteConnection;

use crate::error::Error;
use crate::events::{self, EventType, NewEvent};
use crate::store::{Failure, Platform, now_ms};

/// Ended streams that are kept; the oldest go when the server starts and, by hundreds, while it runs.
pub const STREAM_RECORDS_MAX: i64 = 10_000;

/// Records beyond the maximum before they are looked through again.
const RECORDS_SLACK: i64 = 200;

/// Where a stream is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StreamState {
    /// A publisher was accepted, nothing is playable yet.
    Starting,
    /// Playable and growing.
    Live,
    /// The publisher is gone; the grace window runs.
    Reconnecting,
    /// Over, as its publisher wished or after the grace window.
    Ended,
    /// Over by a fault of ours.
    Failed,
}

impl StreamState {
    /// The word that is stored.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Live => "live",
            Self::Reconnecting => "reconnecting",
            Self::Ended => "ended",
            Self::Failed => "failed",
        }
    }

    /// Whether nothing comes after it.
    pub fn is_final(self) -> bool {
        matches!(self, Self::Ended | Self::Failed)
    }

    fn parse(word: &str) -> Self {
        match word {
            "starting" => Self::Starting,
            "live" => Self::Live,
            "reconnecting" => Self::Reconnecting,
            "ended" => Self::Ended,
            // Only a newer program writes other words, and its database is refused when it is opened.
            _ => Self::Failed,
        }
    }
}

/// What the publisher sent. Every field may be unknown.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SourceFacts {
    /// `rtmp`, later `srt`, `whip`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub protocol: Option<String>,
    /// Which key opened it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_id: Option<String>,
    /// The encoder's name for itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub encoder: Option<String>,
    /// RFC 6381 codec strings, comma-separated.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub codecs: Option<String>,
    /// Pixels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub width: Option<u32>,
    /// Pixels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub height: Option<u32>,
    /// Frames per 1000 seconds: 29.97 is 29970.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub frame_rate_milli: Option<u32>,
}

/// One broadcast.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct StreamRecord {
    /// The hub's stream id.
    pub id: String,
    /// `ch_...`.
    pub channel_id: String,
    /// The channel's name.
    pub channel: String,
    /// Where it is in its life.
    pub state: StreamState,
    /// Milliseconds since 1970 (UTC).
    pub started_at_ms: i64,
    /// Set in a final state.
    pub ended_at_ms: Option<i64>,
    /// What the publisher sent.
    pub source: SourceFacts,
    /// Why it is in this state, when that is not plain.
    pub reason: Option<String>,
}

/// The columns of a [`StreamRow`], and which rows.
macro_rules! stream_sql {
    ($which:literal) => {
        concat!(
            "SELECT s.id, s.channel_id, c.name AS channel, s.state, s.started_at, s.ended_at, s.source, s.reason \
             FROM streams s JOIN channels c ON c.id = s.channel_id ",
            $which
        )
    };
}

#[derive(FromRow)]
struct StreamRow {
    id: String,
    channel_id: String,
    channel: String,
    state: String,
    started_at: i64,
    ended_at: Option<i64>,
    source: Option<String>,
    reason: Option<String>,
}

impl From<StreamRow> for StreamRecord {
    fn from(row: StreamRow) -> Self {
        Self {
            id: row.id,
            channel_id: row.channel_id,
            channel: row.channel,
            state: StreamState::parse(&row.state),
            started_at_ms: row.started_at,
            ended_at_ms: row.ended_at,
            source: row
                .source
                .and_then(|json| serde_json::from_str(&json).ok())
                .unwrap_or_default(),
            reason: row.reason,
        }
    }
}

impl Platform {
    /// Records a stream's state; the first call for an id begins its record.
    ///
    /// `source` replaces what was known when it is given. Returns `false`, and changes nothing, when the stream's
    /// record is final already.
    pub async fn record_stream_state(
        &self,
        channel_id: &str,
        stream_id: &str,
        state: StreamState,
        source: Option<&SourceFacts>,
        reason: Option<&str>,
    ) -> Result<bool, Error> {
        let (channel, stream) = (channel_id.to_owned(), stream_id.to_owned());
        let source = source.cloned();
        let reason = reason.map(str::to_owned);
        self.write(move |db| {
            Box::pin(async move {
                let Some(name) = channel_name(&mut *db, &channel).await? else {
                    return Err(Error::ChannelNotFound { name: channel }.into());
                };
                let before: Option<String> = sqlx::query_scalar("SELECT state FROM streams WHERE id = $1")
                    .bind(&stream)
                    .fetch_optional(&mut *db)
                    .await?;
                let before = before.map(|word| StreamState::parse(&word));
                if before.is_some_and(StreamState::is_final) {
                    return Ok(false);
                }
                let now = now_ms();
                sqlx::query(
                    "INSERT INTO streams (id, channel_id, state, started_at, updated_at, ended_at, source, reason) \
                     VALUES ($1, $2, $3, $4, $4, $5, $6, $7) \
                     ON CONFLICT (id) DO UPDATE SET state = excluded.state, updated_at = excluded.updated_at, \
                         ended_at = excluded.ended_at, source = COALESCE(excluded.source, streams.source), \
                         reason = excluded.reason",
                )
                .bind(&stream)
                .bind(&channel)
                .bind(state.as_str())
                .bind(now)
                .bind(state.is_final().then_some(now))
                .bind(source.as_ref().map(json_text))
                .bind(&reason)
                .execute(&mut *db)
                .await?;
                let data = serde_json::json!({ "reason": reason, "source": source });
                for kind in events_of(before, state) {
                    let event = NewEvent {
                        kind,
                        channel: name.clone(),
                        channel_id: channel.clone(),
                        stream_id: Some(stream.clone()),
                        data: data.clone(),
                    };
                    events::append(&mut *db, event).await?;
                }
                if state.is_final() {
                    forget_oldest(db, RECORDS_SLACK).await?;
                }
                Ok(true)
            })
        })
        .await
    }

    /// The latest streams of a channel, newest first, at most `limit`.
    pub async fn list_streams(&self, channel_id: &str, limit: u32) -> Result<Vec<StreamRecord>, Error> {
        self.list_streams_before(Some(channel_id), None, limit).await
    }

    /// Streams, of one channel or of all, newest first, at most `limit`: those that began before the one with this start
    /// and id.
    pub async fn list_streams_before(
        &self,
        channel_id: Option<&str>,
        before: Option<(i64, &str)>,
        limit: u32,
    ) -> Result<Vec<StreamRecord>, Error> {
        let (started_at, id) = before.unwrap_or((i64::MAX, ""));
        let rows: Vec<StreamRow> = sqlx::query_as(stream_sql!(
            "WHERE ($1 IS NULL OR s.channel_id = $1) \
             AND (s.started_at < $2 OR (s.started_at = $2 AND s.id < $3)) \
             ORDER BY s.started_at DESC, s.id DESC LIMIT $4"
        ))
        .bind(channel_id)
        .bind(started_at)
        .bind(id)
        .bind(i64::from(limit))
        .fetch_all(self.readers())
        .await
        .map_err(|error| self.fault(error))?;
        Ok(rows.into_iter().map(StreamRecord::from).collect())
    }

    /// The record of one stream.
    pub async fn stream_record(&self, id: &str) -> Result<Option<StreamRecord>, Error> {
        let row: Option<StreamRow> = sqlx::query_as(stream_sql!("WHERE s.id = $1"))
            .bind(id)
            .fetch_optional(self.readers())
            .await
            .map_err(|error| self.fault(error))?;
        Ok(row.map(StreamRecord::from))
    }

    /// Marks every stream that is not final as failed, and forgets the oldest beyond [`STREAM_RECORDS_MAX`].
    ///
    /// For the server's start, before it takes publishers: it is the only one that may have streams open.
    pub(crate) async fn recover_streams(&self, reason: &str) -> Result<u64, Error> {
        let reason = reason.to_owned();
        self.write(move |db| {
            Box::pin(async move {
                let open: Vec<(String, String, String)> = sqlx::query_as(
                    "SELECT s.id, s.channel_id, c.name FROM streams s JOIN channels c ON c.id = s.channel_id \
                     WHERE s.state NOT IN ('ended', 'failed') ORDER BY s.started_at, s.id",
                )
                .fetch_all(&mut *db)
                .await?;
                let failed = sqlx::query(
                    "UPDATE streams SET state = 'failed', reason = $1, ended_at = updated_at \
                     WHERE state NOT IN ('ended', 'failed')",
                )
                .bind(&reason)
                .execute(&mut *db)
                .await?
                .rows_affected();
                for (stream, channel_id, channel) in open {
                    let event = NewEvent {
                        kind: EventType::StreamFailed,
                        channel,
                        channel_id,
                        stream_id: Some(stream),
                        data: serde_json::json!({ "reason": reason, "source": null }),
                    };
                    events::append(&mut *db, event).await?;
                }
                forget_oldest(db, 0).await?;
                Ok(failed)
            })
        })
        .await
    }
}

async fn channel_name(db: &mut SqliteConnection, id: &str) -> Result<Option<String>, sqlx::Error> {
    sqlx::query_scalar("SELECT name FROM channels WHERE id = $1")
        .bind(id)
        .fetch_optional(db)
        .await
}

fn json_text(facts: &SourceFacts) -> String {
    serde_json::to_string(facts).expect("strings and numbers are always JSON")
}

/// What is said when a stream gets into a state. A stream that is seen for the first time has begun, whatever it is by now.
fn events_of(before: Option<StreamState>, state: StreamState) -> Vec<EventType> {
    let mut kinds = Vec::new();
    if before.is_none() {
        kinds.push(EventType::StreamStarted);
    }
    if before != Some(state) {
        kinds.extend(match state {
            StreamState::Starting => None,
            StreamState::Live => Some(EventType::StreamLive),
            StreamState::Reconnecting => Some(EventType::StreamReconnecting),
            StreamState::Ended => Some(EventType::StreamEnded),
            StreamState::Failed => Some(EventType::StreamFailed),
        });
    }
    kinds
}

/// Forgets the oldest ended streams if there are more than `slack` beyond the maximum.
async fn forget_oldest(db: &mut SqliteConnection, slack: i64) -> Result<(), Failure> {
    let count: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM streams")
        .fetch_one(&mut *db)
        .await?;
    if count > STREAM_RECORDS_MAX + slack {
        sqlx::query(
            "DELETE FROM streams WHERE state IN ('ended', 'failed') \
             AND id NOT IN (SELECT id FROM streams ORDER BY started_at DESC, id DESC LIMIT $1)",
        )
        .bind(STREAM_RECORDS_MAX)
        .execute(db)
        .await?;
    }
    Ok(())
}
