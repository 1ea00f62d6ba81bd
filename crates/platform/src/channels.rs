//! Channels: durable, named places to publish to.

use serde::Serialize;
use sqlx::FromRow;
use sqlx::sqlite::SqliteConnection;

use crate::error::Error;
use crate::events::{self, EventType, NewEvent};
use crate::id::new_id;
use crate::store::{Failure, Platform, now_ms};

/// Longest channel name.
pub const CHANNEL_NAME_BYTES_MAX: usize = 63;
/// Most channels of one server.
pub const CHANNELS_MAX: i64 = 100_000;

/// A channel.
#[derive(Clone, Debug, PartialEq, Eq, FromRow, Serialize)]
pub struct Channel {
    /// `ch_` and 26 characters; never used again.
    pub id: String,
    /// Unique, `[a-z0-9][a-z0-9_-]{0,62}`; part of every URL of the channel.
    pub name: String,
    /// Whether only viewers with a credential may watch, and the directory leaves it out.
    pub private: bool,
    /// Milliseconds since 1970 (UTC).
    #[sqlx(rename = "created_at")]
    pub created_at_ms: i64,
}

/// Whether `name` fits `[a-z0-9][a-z0-9_-]{0,62}`.
pub fn valid_channel_name(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    name.len() <= CHANNEL_NAME_BYTES_MAX
        && name.bytes().next().is_some_and(plain)
        && name
            .bytes()
            .all(|byte| plain(byte) || byte == b'_' || byte == b'-')
}

fn check_name(name: &str) -> Result<(), Error> {
    if valid_channel_name(name) {
        return Ok(());
    }
    Err(Error::InvalidName {
        name: name.chars().filter(|c| !c.is_control()).take(80).collect(),
    })
}

impl Channel {
    /// What is said when something happens to the channel.
    pub(crate) fn event(&self, kind: EventType, data: serde_json::Value) -> NewEvent {
        NewEvent {
            kind,
            channel: self.name.clone(),
            channel_id: self.id.clone(),
            stream_id: None,
            data,
        }
    }

    fn event_of_itself(&self, kind: EventType) -> NewEvent {
        self.event(kind, serde_json::json!({ "private": self.private }))
    }

    pub(crate) fn new(name: &str, private: bool, now_ms: i64) -> Result<Self, Error> {
        check_name(name)?;
        Ok(Self {
            id: new_id("ch", now_ms)?,
            name: name.to_owned(),
            private,
            created_at_ms: now_ms,
        })
    }
}

pub(crate) async fn insert_channel(db: &mut SqliteConnection, channel: Channel) -> Result<(), Failure> {
    let count: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM channels")
        .fetch_one(&mut *db)
        .await?;
    if count >= CHANNELS_MAX {
        return Err(Error::TooMany {
            what: "channels",
            max: CHANNELS_MAX,
        }
        .into());
    }
    let made = sqlx::query(
        "INSERT INTO channels (id, name, private, created_at) VALUES ($1, $2, $3, $4) ON CONFLICT (name) DO NOTHING",
    )
    .bind(&channel.id)
    .bind(&channel.name)
    .bind(channel.private)
    .bind(channel.created_at_ms)
    .execute(&mut *db)
    .await?;
    if made.rows_affected() == 0 {
        return Err(Error::ChannelExists { name: channel.name }.into());
    }
    events::append(db, channel.event_of_itself(EventType::ChannelCreated)).await
}

impl Platform {
    /// Makes a channel without a key.
    pub async fn create_channel(&self, name: &str, private: bool) -> Result<Channel, Error> {
        let channel = Channel::new(name, private, now_ms())?;
        let row = channel.clone();
        self.write(move |db| Box::pin(insert_channel(db, row))).await?;
        Ok(channel)
    }

    /// All channels, by name.
    pub async fn list_channels(&self) -> Result<Vec<Channel>, Error> {
        sqlx::query_as("SELECT id, name, private, created_at FROM channels ORDER BY name")
            .fetch_all(self.readers())
            .await
            .map_err(|error| self.fault(error))
    }

    /// At most `limit` channels by name, those whose names come after `after`.
    pub async fn list_channels_after(&self, after: &str, limit: u32) -> Result<Vec<Channel>, Error> {
        sqlx::query_as(
            "SELECT id, name, private, created_at FROM channels WHERE name > $1 ORDER BY name LIMIT $2",
        )
        .bind(after)
        .bind(i64::from(limit))
        .fetch_all(self.readers())
        .await
        .map_err(|error| self.fault(error))
    }

    /// Says whether viewers of a channel need a credential from now on.
    pub async fn set_channel_private(&self, name: &str, private: bool) -> Result<Channel, Error> {
        let mut channel = self.channel(name).await?;
        channel.private = private;
        let row = channel.clone();
        self.write(move |db| {
            Box::pin(async move {
                let changed = sqlx::query("UPDATE channels SET private = $1 WHERE id = $2 AND private != $1")
                    .bind(private)
                    .bind(&row.id)
                    .execute(&mut *db)
                    .await?;
                if changed.rows_affected() > 0 {
                    events::append(db, row.event_of_itself(EventType::ChannelChanged)).await?;
                }
                Ok(())
            })
        })
        .await?;
        Ok(channel)
    }

    /// The channel of that name.
    pub async fn channel(&self, name: &str) -> Result<Channel, Error> {
        sqlx::query_as("SELECT id, name, private, created_at FROM channels WHERE name = $1")
            .bind(name)
            .fetch_optional(self.readers())
            .await
            .map_err(|error| self.fault(error))?
            .ok_or_else(|| Error::ChannelNotFound {
                name: name.to_owned(),
            })
    }

    /// Removes a channel with its keys and its stream records.
    pub async fn remove_channel(&self, name: &str) -> Result<Channel, Error> {
        let channel = self.channel(name).await?;
        let row = channel.clone();
        let removed = self
            .write(move |db| {
                Box::pin(async move {
                    let removed = sqlx::query("DELETE FROM channels WHERE id = $1")
                        .bind(&row.id)
                        .execute(&mut *db)
                        .await?
                        .rows_affected();
                    if removed > 0 {
                        events::append(db, row.event_of_itself(EventType::ChannelRemoved)).await?;
                    }
                    Ok(removed)
                })
            })
            .await?;
        if removed == 0 {
            return Err(Error::ChannelNotFound {
                name: name.to_owned(),
            });
        }
        Ok(channel)
    }
}
