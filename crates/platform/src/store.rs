//! Opening the database, its one writer and its readers.

use std::fs::{self, DirBuilder, File, TryLockError};
use std::future::Future;
use std::io::{Read, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use sqlx::sqlite::{
    SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePool, SqlitePoolOptions,
    SqliteSynchronous,
};
use sqlx::{ConnectOptions, Connection};
use subtle::ConstantTimeEq;
use tokio::sync::{mpsc, oneshot, watch};

use crate::error::Error;
use crate::secret::{Purpose, SECRET_FILE, ServerSecret};

/// How long a connection waits for another process's write lock.
pub const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// File name of the database in the data directory.
const DATABASE_FILE: &str = "tidewire.db";
/// Held by the running server.
const LOCK_FILE: &str = "server.lock";
/// Connections for reading.
const READERS: u32 = 4;
/// Writes that wait for the writer; a caller beyond them waits its turn.
const QUEUED_WRITES_MAX: usize = 256;
/// How often other processes' commits are looked for.
const CHANGE_POLL: Duration = Duration::from_millis(250);

/// The schema, one script a version. Never edit one that was released: add the next.
const MIGRATIONS: &[&str] = &[
    include_str!("../migrations/sqlite/0001_first.sql"),
    include_str!("../migrations/sqlite/0002_token_scopes.sql"),
    include_str!("../migrations/sqlite/0003_events.sql"),
    include_str!("../migrations/sqlite/0004_webhooks.sql"),
    include_str!("../migrations/sqlite/0010_signing_keys.sql"),
];

/// A boxed future that borrows the writing connection.
pub(crate) type WriteFuture<'c, T> = Pin<Box<dyn Future<Output = Result<T, Failure>> + Send + 'c>>;

type Job =
    Box<dyn for<'c> FnOnce(&'c mut SqliteConnection) -> Pin<Box<dyn Future<Output = ()> + Send + 'c>> + Send>;

/// What a write inside a transaction may fail with; the store adds the path.
#[derive(Debug)]
pub(crate) enum Failure {
    Refused(Error),
    Database(sqlx::Error),
}

impl From<sqlx::Error> for Failure {
    fn from(error: sqlx::Error) -> Self {
        Self::Database(error)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Refused(error)
    }
}

/// Channels, keys, tokens and stream records of one data directory. Clones share everything.
///
/// Keep the tokio runtime on which it was opened alive as long as it is used: the writer runs there. It may be
/// called from other runtimes.
#[derive(Clone)]
pub struct Platform {
    inner: Arc<Inner>,
}

struct Inner {
    path: PathBuf,
    secret: ServerSecret,
    readers: SqlitePool,
    writes: mpsc::Sender<Job>,
    /// The lock on the data directory lives as long as the server's `Platform`.
    _server_lock: Option<File>,
}

/// Milliseconds since 1970 (UTC) by the system's clock.
pub fn now_ms() -> i64 {
    let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(elapsed.as_millis()).unwrap_or(i64::MAX)
}

impl Platform {
    /// Opens the data directory for a command, making what is missing. Works beside a running server.
    pub async fn open(data_dir: &Path) -> Result<Self, Error> {
        create_data_dir(data_dir)?;
        Self::open_with(data_dir, None, BUSY_TIMEOUT).await
    }

    /// Opens the data directory for the one server that may run on it, and closes the records of streams that a
    /// crash has left open: they become `failed`.
    pub async fn open_server(data_dir: &Path) -> Result<Self, Error> {
        create_data_dir(data_dir)?;
        let lock = lock_server(data_dir)?;
        let platform = Self::open_with(data_dir, Some(lock), BUSY_TIMEOUT).await?;
        let recovered = platform
            .recover_streams("the server stopped without ending this stream")
            .await?;
        if recovered > 0 {
            tracing::warn!(
                streams = recovered,
                "streams that the last server left open are now recorded as failed"
            );
        }
        Ok(platform)
    }

    pub(crate) async fn open_with(
        data_dir: &Path,
        server_lock: Option<File>,
        busy_timeout: Duration,
    ) -> Result<Self, Error> {
        let path = data_dir.join(DATABASE_FILE);
        let secret = ServerSecret::load_or_create(data_dir)?;
        let options = SqliteConnectOptions::new()
            .filename(&path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Normal)
            .busy_timeout(busy_timeout)
            .foreign_keys(true)
            .disable_statement_logging();
        let mut writer = connect(&options, &path).await?;
        migrate(&mut writer, &path).await?;
        check_secret(&mut writer, &secret, data_dir, &path).await?;
        let readers = SqlitePoolOptions::new()
            .max_connections(READERS)
            .acquire_timeout(BUSY_TIMEOUT)
            .connect_lazy_with(options.pragma("query_only", "true"));
        let (writes, jobs) = mpsc::channel(QUEUED_WRITES_MAX);
        tokio::spawn(run_writer(writer, jobs));
        Ok(Self {
            inner: Arc::new(Inner {
                path,
                secret,
                readers,
                writes,
                _server_lock: server_lock,
            }),
        })
    }

    /// The database file.
    pub fn database_path(&self) -> &Path {
        &self.inner.path
    }

    /// A counter that rises after every commit to the database, by this process or another one, within 250 ms.
    ///
    /// The server watches it to notice revoked keys and removed channels of streams that are live. The looking ends
    /// when the receiver is dropped.
    pub async fn changes(&self) -> Result<watch::Receiver<u64>, Error> {
        let options = self.inner.readers.connect_options();
        let path = self.inner.path.clone();
        let mut connection = connect(&options, &path).await?;
        // data_version rises only by other connections' commits (sqlite.org/pragma.html#pragma_data_version), and
        // this connection makes none.
        let mut seen = data_version(&mut connection)
            .await
            .map_err(|error| Error::database(&path, error))?;
        let (sender, receiver) = watch::channel(0_u64);
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    () = sender.closed() => return,
                    () = tokio::time::sleep(CHANGE_POLL) => {}
                }
                match data_version(&mut connection).await {
                    Ok(version) if version != seen => {
                        seen = version;
                        sender.send_modify(|count| *count += 1);
                    }
                    Ok(_) => {}
                    Err(error) => tracing::warn!(%error, "cannot look for changes of the database"),
                }
            }
        });
        Ok(receiver)
    }

    /// Waits until the writes asked for so far are committed, and closes the readers.
    pub async fn close(&self) -> Result<(), Error> {
        self.write(|_| Box::pin(async { Ok(()) })).await?;
        self.inner.readers.close().await;
        Ok(())
    }

    pub(crate) fn digest(&self, purpose: Purpose, text: &str) -> String {
        self.inner.secret.digest(purpose, text)
    }

    pub(crate) fn derive(&self, purpose: Purpose, text: &str) -> [u8; 32] {
        self.inner.secret.derive(purpose, text)
    }

    pub(crate) fn readers(&self) -> &SqlitePool {
        &self.inner.readers
    }

    pub(crate) fn fault(&self, error: sqlx::Error) -> Error {
        Error::database(&self.inner.path, error)
    }

    /// Runs `job` in a `BEGIN IMMEDIATE` transaction on the writing connection; an error rolls it back.
    pub(crate) async fn write<T, F>(&self, job: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: for<'c> FnOnce(&'c mut SqliteConnection) -> WriteFuture<'c, T> + Send + 'static,
    {
        let (answer, outcome) = oneshot::channel();
        let job: Job = Box::new(move |connection| {
            Box::pin(async move {
                // The caller may have gone; the write is done all the same.
                let _ = answer.send(transact(connection, job).await);
            })
        });
        self.inner.writes.send(job).await.map_err(|_| Error::Closed)?;
        outcome
            .await
            .map_err(|_| Error::Closed)?
            .map_err(|failure| match failure {
                Failure::Refused(error) => error,
                Failure::Database(error) => self.fault(error),
            })
    }

    /// Queues a write whose outcome nobody waits for; dropped when the queue is full.
    pub(crate) fn write_if_idle<F>(&self, job: F)
    where
        F: for<'c> FnOnce(&'c mut SqliteConnection) -> WriteFuture<'c, ()> + Send + 'static,
    {
        let job: Job = Box::new(move |connection| {
            Box::pin(async move {
                if let Err(failure) = transact(connection, job).await {
                    tracing::debug!(?failure, "a write that nobody waits for failed");
                }
            })
        });
        let _ = self.inner.writes.try_send(job);
    }
}

async fn transact<T, F>(connection: &mut SqliteConnection, job: F) -> Result<T, Failure>
where
    F: for<'c> FnOnce(&'c mut SqliteConnection) -> WriteFuture<'c, T>,
{
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
    let value = job(&mut transaction).await?;
    transaction.commit().await?;
    Ok(value)
}

async fn run_writer(mut connection: SqliteConnection, mut jobs: mpsc::Receiver<Job>) {
    while let Some(job) = jobs.recv().await {
        job(&mut connection).await;
    }
    if let Err(error) = connection.close().await {
        tracing::warn!(%error, "cannot close the database cleanly");
    }
}

async fn data_version(connection: &mut SqliteConnection) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar("PRAGMA data_version")
        .fetch_one(connection)
        .await
}

/// Connects; while another process changes a new database to WAL, SQLite answers busy without waiting, so that is
/// tried again for [`BUSY_TIMEOUT`].
async fn connect(options: &SqliteConnectOptions, path: &Path) -> Result<SqliteConnection, Error> {
    const PAUSE: Duration = Duration::from_millis(50);
    let mut waited = Duration::ZERO;
    loop {
        match options
            .connect()
            .await
            .map_err(|error| Error::database(path, error))
        {
            Err(Error::Locked { .. }) if waited < BUSY_TIMEOUT => {
                tokio::time::sleep(PAUSE).await;
                waited += PAUSE;
            }
            other => return other,
        }
    }
}

async fn migrate(connection: &mut SqliteConnection, path: &Path) -> Result<(), Error> {
    let supported = i64::try_from(MIGRATIONS.len()).expect("a handful of migrations");
    transact(connection, move |db| {
        Box::pin(async move {
            sqlx::query("CREATE TABLE IF NOT EXISTS schema_versions (version BIGINT PRIMARY KEY NOT NULL, applied_at BIGINT NOT NULL)")
                .execute(&mut *db)
                .await?;
            let found: i64 =
                sqlx::query_scalar("SELECT COALESCE(MAX(version), 0) FROM schema_versions").fetch_one(&mut *db).await?;
            for (version, script) in (1_i64..).zip(MIGRATIONS).filter(|(version, _)| *version > found) {
                sqlx::raw_sql(*script).execute(&mut *db).await?;
                sqlx::query("INSERT INTO schema_versions (version, applied_at) VALUES ($1, $2)")
                    .bind(version)
                    .bind(now_ms())
                    .execute(&mut *db)
                    .await?;
            }
            Ok(found)
        })
    })
    .await
    .map_err(|failure| match failure {
        Failure::Refused(error) => error,
        Failure::Database(error) => Error::database(path, error),
    })
    .and_then(|found| {
        let path = path.to_owned();
        if found > supported { Err(Error::NewerSchema { path, found, supported }) } else { Ok(()) }
    })
}

/// The database keeps a digest of a fixed text, so that a lost or swapped secret file is noticed at once and not as
/// keys that all stop working.
async fn check_secret(
    connection: &mut SqliteConnection,
    secret: &ServerSecret,
    data_dir: &Path,
    path: &Path,
) -> Result<(), Error> {
    let expected = secret.digest(Purpose::SecretCheck, "");
    let ours = expected.clone();
    let stored: Result<String, Failure> = transact(connection, move |db| {
        Box::pin(async move {
            sqlx::query("INSERT INTO settings (name, value) VALUES ('secret_check', $1) ON CONFLICT (name) DO NOTHING")
                .bind(ours)
                .execute(&mut *db)
                .await?;
            Ok(sqlx::query_scalar("SELECT value FROM settings WHERE name = 'secret_check'").fetch_one(&mut *db).await?)
        })
    })
    .await;
    match stored {
        Ok(stored) if bool::from(stored.as_bytes().ct_eq(expected.as_bytes())) => Ok(()),
        Ok(_) => Err(Error::WrongSecret {
            path: data_dir.join(SECRET_FILE),
        }),
        Err(Failure::Refused(error)) => Err(error),
        Err(Failure::Database(error)) => Err(Error::database(path, error)),
    }
}

fn create_data_dir(data_dir: &Path) -> Result<(), Error> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(data_dir)
        .map_err(|source| Error::DataDir {
            action: "create the data directory",
            path: data_dir.to_owned(),
            source,
        })
}

/// Takes the advisory lock that a server holds on its data directory and writes the process id into it.
fn lock_server(data_dir: &Path) -> Result<File, Error> {
    let path = data_dir.join(LOCK_FILE);
    let fault = |source| Error::DataDir {
        action: "lock the data directory",
        path: path.clone(),
        source,
    };
    let mut file = fs::OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)
        .map_err(fault)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut text = String::new();
            let pid = file
                .read_to_string(&mut text)
                .ok()
                .and_then(|_| text.trim().parse().ok());
            return Err(Error::AlreadyServing {
                path: data_dir.to_owned(),
                pid,
            });
        }
        Err(TryLockError::Error(source)) => return Err(fault(source)),
    }
    file.set_len(0).map_err(fault)?;
    writeln!(file, "{}", std::process::id()).map_err(fault)?;
    Ok(file)
}
