//! The index: an SQLite database that says what refers to which object. An object is kept before a row speaks of it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::sqlite::{
    SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePool, SqlitePoolOptions,
    SqliteSynchronous,
};
use sqlx::{ConnectOptions as _, Connection as _};
use tokio::sync::{Mutex, MutexGuard};

use crate::error::StoreError;

mod read;
mod write;

pub(crate) use write::{Row, SealedRow};

/// File name of the index in the store's directory.
pub(crate) const INDEX_FILE: &str = "store.sqlite";
/// How long a connection waits for another process's write lock.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// Connections for reading.
const READERS: u32 = 4;
/// The schema, one script a version. Never edit one that was released: add the next.
const MIGRATIONS: &[&str] = &[include_str!("../migrations/sqlite/0001_first.sql")];

/// SHA-256 of an object.
pub(crate) type Digest = [u8; 32];

#[derive(Debug)]
pub(crate) struct Index {
    path: PathBuf,
    writer: Mutex<SqliteConnection>,
    readers: SqlitePool,
}

impl Index {
    pub(crate) async fn open(dir: &Path) -> Result<Self, StoreError> {
        let path = dir.join(INDEX_FILE);
        let options = SqliteConnectOptions::new()
            .filename(&path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Normal)
            .busy_timeout(BUSY_TIMEOUT)
            .foreign_keys(true)
            .disable_statement_logging();
        let fault = |source| StoreError::Index {
            path: path.clone(),
            source,
        };
        let mut writer = options.connect().await.map_err(fault)?;
        let found = migrate(&mut writer).await.map_err(fault)?;
        let supported = i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX);
        if found > supported {
            return Err(StoreError::NewerSchema {
                path,
                found,
                supported,
            });
        }
        let readers = SqlitePoolOptions::new()
            .max_connections(READERS)
            .acquire_timeout(BUSY_TIMEOUT)
            .connect_lazy_with(options.pragma("query_only", "true"));
        Ok(Self {
            path,
            writer: Mutex::new(writer),
            readers,
        })
    }

    pub(crate) async fn close(&self) {
        self.readers.close().await;
    }

    fn fault(&self, source: sqlx::Error) -> StoreError {
        StoreError::Index {
            path: self.path.clone(),
            source,
        }
    }

    fn bad_row(&self, what: &'static str) -> StoreError {
        StoreError::BadRow {
            path: self.path.clone(),
            what,
        }
    }

    async fn writer(&self) -> MutexGuard<'_, SqliteConnection> {
        self.writer.lock().await
    }
}

/// Brings the schema up to date; the version that was found.
async fn migrate(connection: &mut SqliteConnection) -> Result<i64, sqlx::Error> {
    let mut db = connection.begin_with("BEGIN IMMEDIATE").await?;
    sqlx::query("CREATE TABLE IF NOT EXISTS schema_versions (version BIGINT PRIMARY KEY NOT NULL)")
        .execute(&mut *db)
        .await?;
    let found: i64 = sqlx::query_scalar("SELECT COALESCE(MAX(version), 0) FROM schema_versions")
        .fetch_one(&mut *db)
        .await?;
    for (version, script) in (1_i64..).zip(MIGRATIONS).filter(|(version, _)| *version > found) {
        sqlx::raw_sql(*script).execute(&mut *db).await?;
        sqlx::query("INSERT INTO schema_versions (version) VALUES ($1)")
            .bind(version)
            .execute(&mut *db)
            .await?;
    }
    db.commit().await?;
    Ok(found)
}
