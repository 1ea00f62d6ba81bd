//! Changing the index. Each change is one transaction.

use package::{Period, TitleSegment};
use sqlx::Connection as _;
use sqlx::sqlite::SqliteConnection;

use super::{Digest, Index};
use crate::cid::Cid;
use crate::error::StoreError;
use crate::manifest::{ObjectRef, facts_value, role_name};
use crate::recording::{NewRecording, RenditionFacts};

/// Something of a recording whose object is kept.
#[derive(Debug)]
pub(crate) enum Row {
    Init {
        rendition: String,
        number: u32,
        object: ObjectRef,
    },
    Segment {
        rendition: String,
        facts: TitleSegment,
        /// `None` for a gap.
        cid: Option<Cid>,
    },
}

/// What sealing says of a recording.
#[derive(Debug)]
pub(crate) struct SealedRow {
    pub(crate) state: &'static str,
    pub(crate) root: Cid,
    /// The root too.
    pub(crate) nodes: Vec<ObjectRef>,
    pub(crate) duration_ms: i64,
    pub(crate) bytes: u64,
}

/// SQLite's integers are signed; no length or number of ours comes near the end of them.
fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// Runs a change in a transaction.
macro_rules! transact {
    ($index:expr, |$db:ident| $body:block) => {{
        let index = $index;
        let mut writer = index.writer().await;
        let work = async {
            let mut transaction = writer.begin_with("BEGIN IMMEDIATE").await?;
            let $db: &mut SqliteConnection = &mut transaction;
            let value = $body;
            transaction.commit().await?;
            Ok::<_, sqlx::Error>(value)
        };
        let outcome = work.await;
        outcome.map_err(|error| index.fault(error))
    }};
}

impl Index {
    /// Begins a recording; one that is there is left alone.
    pub(crate) async fn begin(&self, new: &NewRecording) -> Result<(), StoreError> {
        transact!(self, |db| {
            sqlx::query(
                "INSERT INTO recordings \
                 (stream_id, channel_id, channel, started_ms, state, pinned, duration_ms, bytes) \
                 VALUES ($1, $2, $3, $4, 'recording', FALSE, 0, 0) ON CONFLICT (stream_id) DO NOTHING",
            )
            .bind(&new.stream_id)
            .bind(&new.channel_id)
            .bind(&new.channel)
            .bind(new.started_ms)
            .execute(&mut *db)
            .await?;
        })
    }

    /// Adds rows to a recording.
    pub(crate) async fn append(
        &self,
        stream_id: &str,
        renditions: &[RenditionFacts],
        periods: &[Period],
        rows: &[Row],
    ) -> Result<(), StoreError> {
        transact!(self, |db| {
            for rendition in renditions {
                sqlx::query(
                    "INSERT INTO renditions (stream_id, name, position, role, track) VALUES ($1, $2, $3, $4, $5) \
                     ON CONFLICT (stream_id, name) DO UPDATE SET track = excluded.track",
                )
                .bind(stream_id)
                .bind(&rendition.name)
                .bind(i64::from(rendition.position))
                .bind(role_name(rendition.role))
                .bind(facts_value(&rendition.facts).encode())
                .execute(&mut *db)
                .await?;
            }
            for period in periods {
                sqlx::query(
                    "INSERT INTO periods (stream_id, number, ticks, timescale, origin_utc_ms) \
                     VALUES ($1, $2, $3, $4, $5) ON CONFLICT (stream_id, number) DO NOTHING",
                )
                .bind(stream_id)
                .bind(signed(period.number))
                .bind(period.at.ticks)
                .bind(i64::from(period.at.timescale.get()))
                .bind(period.origin_utc_ms)
                .execute(&mut *db)
                .await?;
            }
            for row in rows {
                insert(db, stream_id, row).await?;
            }
        })
    }

    /// Makes a recording a title.
    pub(crate) async fn seal(&self, stream_id: &str, sealed: &SealedRow) -> Result<(), StoreError> {
        transact!(self, |db| {
            for node in &sealed.nodes {
                insert_object(db, node).await?;
                sqlx::query("INSERT INTO nodes (stream_id, digest) VALUES ($1, $2) ON CONFLICT DO NOTHING")
                    .bind(stream_id)
                    .bind(&node.cid.digest()[..])
                    .execute(&mut *db)
                    .await?;
            }
            sqlx::query(
                "UPDATE recordings SET state = $2, manifest = $3, duration_ms = $4, bytes = $5 \
                 WHERE stream_id = $1 AND state = 'recording'",
            )
            .bind(stream_id)
            .bind(sealed.state)
            .bind(&sealed.root.digest()[..])
            .bind(sealed.duration_ms)
            .bind(signed(sealed.bytes))
            .execute(&mut *db)
            .await?;
        })
    }

    /// Removes a recording with all its rows; whether it was there.
    pub(crate) async fn remove(&self, stream_id: &str) -> Result<bool, StoreError> {
        let removed = transact!(self, |db| {
            sqlx::query("DELETE FROM recordings WHERE stream_id = $1")
                .bind(stream_id)
                .execute(&mut *db)
                .await?
                .rows_affected()
        })?;
        Ok(removed > 0)
    }

    /// Has the server remove a title.
    pub(crate) async fn mark_removed(&self, stream_id: &str) -> Result<(), StoreError> {
        transact!(self, |db| {
            sqlx::query(
                "UPDATE recordings SET state = 'removed' WHERE stream_id = $1 AND state <> 'recording'",
            )
            .bind(stream_id)
            .execute(&mut *db)
            .await?;
        })
    }

    /// Has retention leave a title alone, or not.
    pub(crate) async fn set_pinned(&self, stream_id: &str, pinned: bool) -> Result<(), StoreError> {
        transact!(self, |db| {
            sqlx::query("UPDATE recordings SET pinned = $2 WHERE stream_id = $1")
                .bind(stream_id)
                .bind(pinned)
                .execute(&mut *db)
                .await?;
        })
    }

    /// Forgets the objects of which no row speaks, and says which those were.
    pub(crate) async fn forget_unreferenced(&self) -> Result<Vec<Digest>, StoreError> {
        const UNREFERENCED: &str = "NOT EXISTS (SELECT 1 FROM segments s WHERE s.digest = objects.digest) \
             AND NOT EXISTS (SELECT 1 FROM inits i WHERE i.digest = objects.digest) \
             AND NOT EXISTS (SELECT 1 FROM nodes n WHERE n.digest = objects.digest)";
        let digests: Vec<Vec<u8>> = transact!(self, |db| {
            let statement = format!("DELETE FROM objects WHERE {UNREFERENCED} RETURNING digest");
            sqlx::query_scalar(sqlx::AssertSqlSafe(statement))
                .fetch_all(&mut *db)
                .await?
        })?;
        let digest = |bytes: Vec<u8>| bytes.try_into().map_err(|_| self.bad_row("an object's digest"));
        digests.into_iter().map(digest).collect()
    }

    /// Takes back what the index says of an object that is not there: its segments become gaps, and recordings that need
    /// it as an init, or as a node of their manifest, go.
    pub(crate) async fn object_lost(&self, digest: &Digest) -> Result<(), StoreError> {
        transact!(self, |db| {
            let digest = &digest[..];
            sqlx::query("UPDATE segments SET digest = NULL, bytes = 0 WHERE digest = $1")
                .bind(digest)
                .execute(&mut *db)
                .await?;
            sqlx::query(
                "DELETE FROM recordings WHERE stream_id IN (SELECT stream_id FROM inits WHERE digest = $1 \
                 UNION SELECT stream_id FROM nodes WHERE digest = $1)",
            )
            .bind(digest)
            .execute(&mut *db)
            .await?;
            sqlx::query("DELETE FROM objects WHERE digest = $1")
                .bind(digest)
                .execute(&mut *db)
                .await?;
        })
    }
}

async fn insert_object(db: &mut SqliteConnection, object: &ObjectRef) -> Result<(), sqlx::Error> {
    sqlx::query("INSERT INTO objects (digest, bytes) VALUES ($1, $2) ON CONFLICT (digest) DO NOTHING")
        .bind(&object.cid.digest()[..])
        .bind(signed(object.bytes))
        .execute(db)
        .await?;
    Ok(())
}

async fn insert(db: &mut SqliteConnection, stream_id: &str, row: &Row) -> Result<(), sqlx::Error> {
    match row {
        Row::Init {
            rendition,
            number,
            object,
        } => {
            insert_object(db, object).await?;
            sqlx::query(
                "INSERT INTO inits (stream_id, rendition, number, digest, bytes) VALUES ($1, $2, $3, $4, $5) \
                 ON CONFLICT DO NOTHING",
            )
            .bind(stream_id)
            .bind(rendition)
            .bind(i64::from(*number))
            .bind(&object.cid.digest()[..])
            .bind(signed(object.bytes))
            .execute(db)
            .await?;
        }
        Row::Segment {
            rendition,
            facts,
            cid,
        } => {
            if let Some(cid) = *cid {
                let bytes = facts.bytes;
                insert_object(db, &ObjectRef { cid, bytes }).await?;
            }
            sqlx::query(
                "INSERT INTO segments (stream_id, rendition, msn, digest, bytes, init, period, discontinuity, \
                 independent, timescale, start, duration, utc_ms) \
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13) ON CONFLICT DO NOTHING",
            )
            .bind(stream_id)
            .bind(rendition)
            .bind(signed(facts.msn))
            .bind(cid.as_ref().map(|cid| &cid.digest()[..]))
            .bind(signed(facts.bytes))
            .bind(i64::from(facts.init))
            .bind(signed(facts.period))
            .bind(facts.discontinuity)
            .bind(facts.independent)
            .bind(i64::from(facts.timescale.get()))
            .bind(facts.start)
            .bind(facts.duration)
            .bind(facts.utc_ms)
            .execute(db)
            .await?;
        }
    }
    Ok(())
}
