//! Reading the index.

use std::collections::{BTreeMap, HashMap};
use std::num::NonZeroU32;

use media::MediaTime;
use package::{Period, TitleRendition, TitleSegment};
use sqlx::FromRow;

use super::{Digest, Index};
use crate::cid::{Cid, Codec};
use crate::dag::Value;
use crate::error::StoreError;
use crate::manifest::{ObjectRef, RenditionObjects, facts, role};
use crate::recording::{Recording, RecordingState, RenditionFacts};

/// All that the index says of a recording, beside its row.
#[derive(Debug, Default)]
pub(crate) struct Loaded {
    pub(crate) periods: Vec<Period>,
    pub(crate) renditions: Vec<TitleRendition>,
    pub(crate) objects: HashMap<String, RenditionObjects>,
}

#[derive(FromRow)]
struct RecordingRow {
    stream_id: String,
    channel_id: String,
    channel: String,
    started_ms: i64,
    state: String,
    pinned: bool,
    manifest: Option<Vec<u8>>,
    duration_ms: i64,
    bytes: i64,
}

#[derive(FromRow)]
struct SegmentRow {
    rendition: String,
    msn: i64,
    digest: Option<Vec<u8>>,
    bytes: i64,
    init: i64,
    period: i64,
    discontinuity: bool,
    independent: bool,
    timescale: i64,
    start: i64,
    duration: i64,
    utc_ms: i64,
}

const RECORDING: &str = "SELECT stream_id, channel_id, channel, started_ms, state, pinned, manifest, duration_ms, bytes FROM recordings";

impl Index {
    /// Recordings before the one of that start and id, newest first, at most `limit`.
    pub(crate) async fn recordings(
        &self,
        limit: u32,
        before: (i64, &str),
    ) -> Result<Vec<Recording>, StoreError> {
        let statement = format!(
            "{RECORDING} WHERE (started_ms, stream_id) < ($1, $2) ORDER BY started_ms DESC, stream_id DESC LIMIT $3"
        );
        let rows: Vec<RecordingRow> = sqlx::query_as(sqlx::AssertSqlSafe(statement))
            .bind(before.0)
            .bind(before.1)
            .bind(i64::from(limit))
            .fetch_all(&self.readers)
            .await
            .map_err(|error| self.fault(error))?;
        rows.into_iter().map(|row| self.recording_of(row)).collect()
    }

    /// One of them.
    pub(crate) async fn recording(&self, stream_id: &str) -> Result<Option<Recording>, StoreError> {
        let row: Option<RecordingRow> =
            sqlx::query_as(sqlx::AssertSqlSafe(format!("{RECORDING} WHERE stream_id = $1")))
                .bind(stream_id)
                .fetch_optional(&self.readers)
                .await
                .map_err(|error| self.fault(error))?;
        row.map(|row| self.recording_of(row)).transpose()
    }

    /// Ids of the recordings that somebody asked to remove.
    pub(crate) async fn marked(&self) -> Result<Vec<String>, StoreError> {
        sqlx::query_scalar("SELECT stream_id FROM recordings WHERE state = 'removed'")
            .fetch_all(&self.readers)
            .await
            .map_err(|error| self.fault(error))
    }

    fn recording_of(&self, row: RecordingRow) -> Result<Recording, StoreError> {
        let manifest = row
            .manifest
            .map(|digest| self.cid(Codec::DagCbor, &digest))
            .transpose()?;
        Ok(Recording {
            stream_id: row.stream_id,
            channel_id: row.channel_id,
            channel: row.channel,
            started_ms: row.started_ms,
            state: RecordingState::parse(&row.state).ok_or_else(|| self.bad_row("a recording's state"))?,
            pinned: row.pinned,
            manifest,
            duration_ms: row.duration_ms,
            bytes: u64::try_from(row.bytes).unwrap_or(0),
        })
    }

    fn cid(&self, codec: Codec, digest: &[u8]) -> Result<Cid, StoreError> {
        let digest: Digest = digest
            .try_into()
            .map_err(|_| self.bad_row("an object's digest"))?;
        Ok(Cid::from_digest(codec, digest))
    }

    /// Every object with its length.
    pub(crate) async fn objects(&self) -> Result<HashMap<Digest, u64>, StoreError> {
        let rows: Vec<(Vec<u8>, i64)> = sqlx::query_as("SELECT digest, bytes FROM objects")
            .fetch_all(&self.readers)
            .await
            .map_err(|error| self.fault(error))?;
        rows.into_iter()
            .map(|(digest, bytes)| {
                let digest = digest
                    .try_into()
                    .map_err(|_| self.bad_row("an object's digest"))?;
                Ok((digest, u64::try_from(bytes).unwrap_or(0)))
            })
            .collect()
    }

    /// Bytes of all objects.
    pub(crate) async fn used_bytes(&self) -> Result<u64, StoreError> {
        let sum: i64 = sqlx::query_scalar("SELECT COALESCE(SUM(bytes), 0) FROM objects")
            .fetch_one(&self.readers)
            .await
            .map_err(|error| self.fault(error))?;
        Ok(u64::try_from(sum).unwrap_or(0))
    }

    /// The renditions of a recording, in the order of the multivariant playlist.
    pub(crate) async fn renditions(&self, stream_id: &str) -> Result<Vec<RenditionFacts>, StoreError> {
        let rows: Vec<(String, i64, String, Vec<u8>)> = sqlx::query_as(
            "SELECT name, position, role, track FROM renditions WHERE stream_id = $1 ORDER BY position",
        )
        .bind(stream_id)
        .fetch_all(&self.readers)
        .await
        .map_err(|error| self.fault(error))?;
        rows.into_iter()
            .map(|(name, position, role_name, track)| {
                let track = Value::decode(&track).ok();
                Ok(RenditionFacts {
                    name,
                    position: u32::try_from(position).unwrap_or(u32::MAX),
                    role: role(&role_name).ok_or_else(|| self.bad_row("a rendition's role"))?,
                    facts: track
                        .as_ref()
                        .and_then(facts)
                        .ok_or_else(|| self.bad_row("a rendition's track"))?,
                })
            })
            .collect()
    }

    /// All rows of a recording.
    pub(crate) async fn load(&self, stream_id: &str) -> Result<Loaded, StoreError> {
        let mut loaded = Loaded::default();
        let mut db = self.readers.acquire().await.map_err(|error| self.fault(error))?;
        // One snapshot for all of them.
        let mut db = sqlx::Connection::begin(&mut *db)
            .await
            .map_err(|error| self.fault(error))?;
        let periods: Vec<(i64, i64, i64, i64)> = sqlx::query_as(
            "SELECT number, ticks, timescale, origin_utc_ms FROM periods WHERE stream_id = $1 ORDER BY number",
        )
        .bind(stream_id)
        .fetch_all(&mut *db)
        .await
        .map_err(|error| self.fault(error))?;
        for (number, ticks, timescale, origin_utc_ms) in periods {
            loaded.periods.push(Period {
                number: u64::try_from(number).unwrap_or(0),
                at: MediaTime::new(ticks, self.timescale(timescale)?),
                origin_utc_ms,
            });
        }
        let renditions: Vec<(String, String, Vec<u8>)> =
            sqlx::query_as("SELECT name, role, track FROM renditions WHERE stream_id = $1 ORDER BY position")
                .bind(stream_id)
                .fetch_all(&mut *db)
                .await
                .map_err(|error| self.fault(error))?;
        for (name, role_name, track) in renditions {
            let track = Value::decode(&track).ok();
            loaded.renditions.push(TitleRendition {
                role: role(&role_name).ok_or_else(|| self.bad_row("a rendition's role"))?,
                facts: track
                    .as_ref()
                    .and_then(facts)
                    .ok_or_else(|| self.bad_row("a rendition's track"))?,
                segments: Vec::new(),
                name,
            });
        }
        let inits: Vec<(String, i64, Vec<u8>, i64)> =
            sqlx::query_as("SELECT rendition, number, digest, bytes FROM inits WHERE stream_id = $1")
                .bind(stream_id)
                .fetch_all(&mut *db)
                .await
                .map_err(|error| self.fault(error))?;
        for (rendition, number, digest, bytes) in inits {
            let object = ObjectRef {
                cid: self.cid(Codec::Raw, &digest)?,
                bytes: u64::try_from(bytes).unwrap_or(0),
            };
            let number = u32::try_from(number).unwrap_or(0);
            loaded
                .objects
                .entry(rendition)
                .or_default()
                .inits
                .insert(number, object);
        }
        let segments: Vec<SegmentRow> = sqlx::query_as(
            "SELECT rendition, msn, digest, bytes, init, period, discontinuity, independent, timescale, start, \
             duration, utc_ms FROM segments WHERE stream_id = $1 ORDER BY rendition, msn",
        )
        .bind(stream_id)
        .fetch_all(&mut *db)
        .await
        .map_err(|error| self.fault(error))?;
        self.add_segments(&mut loaded, segments)?;
        Ok(loaded)
    }

    fn timescale(&self, ticks: i64) -> Result<NonZeroU32, StoreError> {
        u32::try_from(ticks)
            .ok()
            .and_then(NonZeroU32::new)
            .ok_or_else(|| self.bad_row("a timescale"))
    }

    fn add_segments(&self, loaded: &mut Loaded, rows: Vec<SegmentRow>) -> Result<(), StoreError> {
        let mut by_name: BTreeMap<String, Vec<TitleSegment>> = BTreeMap::new();
        for row in rows {
            let number = |value: i64| u64::try_from(value).unwrap_or(0);
            let segment = TitleSegment {
                msn: number(row.msn),
                init: u32::try_from(row.init).unwrap_or(0),
                period: number(row.period),
                discontinuity: row.discontinuity,
                gap: row.digest.is_none(),
                independent: row.independent,
                timescale: self.timescale(row.timescale)?,
                start: row.start,
                duration: row.duration,
                utc_ms: row.utc_ms,
                bytes: number(row.bytes),
            };
            let cid = row
                .digest
                .map(|digest| self.cid(Codec::Raw, &digest))
                .transpose()?;
            loaded
                .objects
                .entry(row.rendition.clone())
                .or_default()
                .segments
                .push(cid);
            by_name.entry(row.rendition).or_default().push(segment);
        }
        for rendition in &mut loaded.renditions {
            rendition.segments = by_name.remove(&rendition.name).unwrap_or_default();
        }
        Ok(())
    }
}
