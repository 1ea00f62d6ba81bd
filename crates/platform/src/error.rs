//! What can go wrong, said to the person who can act on it.

use std::io;
use std::path::{Path, PathBuf};

/// A refused or failed operation on the platform's data.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The data directory or a file in it cannot be made, read or written.
    #[error(
        "{path}: cannot {action}: {source}; give this user the directory, or name another with --data-dir"
    )]
    DataDir {
        /// What was tried: `create the data directory`, `read the server secret`.
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The operating system's answer.
        source: io::Error,
    },
    /// Another connection held the write lock longer than [`crate::BUSY_TIMEOUT`].
    #[error(
        "{path}: the database is locked by another process for more than {waited_s} s; \
             try again, or end the program that holds it (`fuser {path}` names it)"
    )]
    Locked {
        /// The database file.
        path: PathBuf,
        /// Whole seconds that were waited.
        waited_s: u64,
    },
    /// The file is not a database or is damaged.
    #[error(
        "{path}: the database is damaged ({detail}); stop the server, move the file away and restore a backup"
    )]
    Corrupt {
        /// The database file.
        path: PathBuf,
        /// SQLite's words.
        detail: String,
    },
    /// The file or its file system is read-only.
    #[error("{path}: the database cannot be written (read-only); check the owner and the mount")]
    ReadOnly {
        /// The database file.
        path: PathBuf,
    },
    /// No space left.
    #[error("{path}: the disk is full; free some space and try again")]
    DiskFull {
        /// The database file.
        path: PathBuf,
    },
    /// A later Tidewire has written this database.
    #[error(
        "{path}: the database has schema {found}, this program knows up to {supported}; use the newer Tidewire"
    )]
    NewerSchema {
        /// The database file.
        path: PathBuf,
        /// Version found.
        found: i64,
        /// Newest version that this program knows.
        supported: i64,
    },
    /// The secret file does not belong to the database: no key would ever match.
    #[error(
        "{path}: this server secret does not belong to the database beside it; restore the two from one backup"
    )]
    WrongSecret {
        /// The secret file.
        path: PathBuf,
    },
    /// The secret file has another length than it was written with.
    #[error("{path}: the server secret is damaged ({found} bytes instead of 32); restore it from a backup")]
    DamagedSecret {
        /// The secret file.
        path: PathBuf,
        /// Length found.
        found: usize,
    },
    /// A second server on the same data directory.
    #[error("{path}: another tidewire server uses this data directory{}; stop it, or name another with --data-dir",
            pid.map(|pid| format!(" (process {pid})")).unwrap_or_default())]
    AlreadyServing {
        /// The data directory.
        path: PathBuf,
        /// Process id of the other server, when it could be read.
        pid: Option<u32>,
    },
    /// The name does not fit `[a-z0-9][a-z0-9_-]{0,62}`.
    #[error(
        "`{name}` is no channel name: use 1 to 63 of a-z, 0-9, `-` and `_`, beginning with a letter or a digit"
    )]
    InvalidName {
        /// The name as given, shortened.
        name: String,
    },
    /// A label is too long or has control characters.
    #[error("the label is too long or has control characters: use at most 100 printable characters")]
    InvalidLabel,
    /// The expiry lies in the past.
    #[error("the expiry lies in the past")]
    ExpiryPast,
    /// The channel is there already.
    #[error("the channel `{name}` exists already; `tidewire key add {name}` makes another key for it")]
    ChannelExists {
        /// Its name.
        name: String,
    },
    /// No such channel.
    #[error("there is no channel `{name}`; `tidewire channel list` shows those there are")]
    ChannelNotFound {
        /// The name or id asked for.
        name: String,
    },
    /// No such key on the channel.
    #[error(
        "the channel `{channel}` has no key `{key}`; `tidewire key list {channel}` shows those there are"
    )]
    KeyNotFound {
        /// Channel name.
        channel: String,
        /// The key id or prefix asked for.
        key: String,
    },
    /// The prefix fits several keys.
    #[error("`{key}` fits {found} keys of `{channel}`; give the id that `tidewire key list {channel}` shows")]
    KeyAmbiguous {
        /// Channel name.
        channel: String,
        /// The prefix asked for.
        key: String,
        /// How many it fits.
        found: usize,
    },
    /// A key that opens nothing any more cannot be rotated.
    #[error("the key {key} is {state} already; `tidewire key add` makes another one")]
    KeyOver {
        /// Its id.
        key: String,
        /// `revoked` or `expired`.
        state: &'static str,
    },
    /// No such admin token.
    #[error("there is no admin token `{token}`")]
    TokenNotFound {
        /// The token id asked for.
        token: String,
    },
    /// No such signing key.
    #[error("there is no signing key `{key}`; `tidewire signing-key list` shows those there are")]
    SigningKeyNotFound {
        /// The id asked for.
        key: String,
    },
    /// A named maximum is reached.
    #[error("there are {max} {what} already, which is the maximum; remove some first")]
    TooMany {
        /// What is counted.
        what: &'static str,
        /// The maximum.
        max: i64,
    },
    /// The platform's writer has ended: the server is stopping.
    #[error("the server is stopping")]
    Closed,
    /// The operating system gives no randomness.
    #[error("the operating system gave no random numbers: {0}")]
    Random(getrandom::Error),
    /// Anything else that the database said.
    #[error("{path}: {source}")]
    Database {
        /// The database file.
        path: PathBuf,
        /// The database's words.
        source: sqlx::Error,
    },
}

impl Error {
    /// Whether trying again later may help without anybody acting.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Locked { .. } | Self::DiskFull { .. })
    }

    /// Names the fault behind an SQLite result code (sqlite.org/rescode.html).
    pub(crate) fn database(path: &Path, source: sqlx::Error) -> Self {
        let path = path.to_owned();
        let Some(code) = primary_code(&source) else {
            return match source {
                sqlx::Error::PoolTimedOut => Self::Locked {
                    path,
                    waited_s: crate::BUSY_TIMEOUT.as_secs(),
                },
                sqlx::Error::PoolClosed | sqlx::Error::WorkerCrashed => Self::Closed,
                source => Self::Database { path, source },
            };
        };
        match code {
            5 | 6 => Self::Locked {
                path,
                waited_s: crate::BUSY_TIMEOUT.as_secs(),
            },
            8 => Self::ReadOnly { path },
            11 | 26 => Self::Corrupt {
                path,
                detail: detail(&source),
            },
            13 => Self::DiskFull { path },
            14 => Self::DataDir {
                action: "open the database",
                path,
                source: io::Error::other(detail(&source)),
            },
            _ => Self::Database { path, source },
        }
    }
}

/// The low byte of SQLite's extended result code.
fn primary_code(error: &sqlx::Error) -> Option<i32> {
    let code: i32 = error.as_database_error()?.code()?.parse().ok()?;
    Some(code & 0xff)
}

fn detail(error: &sqlx::Error) -> String {
    error
        .as_database_error()
        .map_or_else(|| error.to_string(), |error| error.message().to_owned())
}

/// Why a stream key does not open a channel. The text is fit for the publisher's screen.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyRefusal {
    /// Not in the form of a stream key at all; the database was not asked.
    #[error(
        "this is not a stream key: a key is `tw_` and 32 letters and digits, as `tidewire key add` prints it"
    )]
    Malformed,
    /// In the right form, but no channel has it.
    #[error("this stream key is not known on this server: check for a typing error or ask for a new key")]
    Unknown,
    /// Withdrawn by an operator.
    #[error("this stream key was revoked: ask for a new one")]
    Revoked,
    /// Past its expiry.
    #[error("this stream key has expired: ask for a new one")]
    Expired,
    /// The database could not be asked; the publisher may try again.
    #[error("the server cannot check stream keys just now: try again in a moment")]
    Unavailable(#[source] Error),
}

impl KeyRefusal {
    /// A short, stable word for metrics and logs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::Unknown => "unknown",
            Self::Revoked => "revoked",
            Self::Expired => "expired",
            Self::Unavailable(_) => "unavailable",
        }
    }
}
