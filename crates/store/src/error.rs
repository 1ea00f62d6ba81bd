//! What can go wrong, said to the person who can act on it.

use std::io;
use std::path::{Path, PathBuf};

use crate::cid::Cid;
use crate::dag::DagError;

/// A refused or failed operation on the store.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The byte budget would be exceeded. Nothing was written.
    #[error(
        "the store holds {used_bytes} of {budget_bytes} bytes and cannot take {wanted_bytes} more; \
         raise `recording.budget`, or remove titles with `tidewire library remove`"
    )]
    OverBudget {
        /// Bytes kept now.
        used_bytes: u64,
        /// Bytes allowed.
        budget_bytes: u64,
        /// Bytes of the object.
        wanted_bytes: u64,
    },
    /// The disk would be left with less than it must keep free. Nothing was written.
    #[error(
        "{path}: the disk has {free_bytes} bytes left and must keep {free_min_bytes}; free some space on it"
    )]
    DiskLow {
        /// The store's directory.
        path: PathBuf,
        /// Bytes free now.
        free_bytes: u64,
        /// Bytes that stay free.
        free_min_bytes: u64,
    },
    /// A file or directory cannot be made, read or written.
    #[error("{path}: cannot {action}: {source}")]
    Io {
        /// What was tried: `write an object`.
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The operating system's answer.
        source: io::Error,
    },
    /// An object's bytes are not those of its name: the disk has changed them.
    #[error("{path}: the object {cid} is damaged; remove the title it belongs to, and check the disk")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The object.
        cid: Cid,
    },
    /// The index said something.
    #[error("{path}: {source}")]
    Index {
        /// The index file.
        path: PathBuf,
        /// The database's words.
        source: sqlx::Error,
    },
    /// A later Tidewire has written this index.
    #[error(
        "{path}: the index has schema {found}, this program knows up to {supported}; use the newer Tidewire"
    )]
    NewerSchema {
        /// The index file.
        path: PathBuf,
        /// Version found.
        found: i64,
        /// Newest version that this program knows.
        supported: i64,
    },
    /// A row of the index holds what this program never writes.
    #[error("{path}: the index is damaged ({what}); restore it from a backup, or move it away to begin anew")]
    BadRow {
        /// The index file.
        path: PathBuf,
        /// What was found.
        what: &'static str,
    },
    /// No such title.
    #[error("there is no title `{id}`; `tidewire library list` shows those there are")]
    TitleNotFound {
        /// The id asked for.
        id: String,
    },
    /// The recording goes on.
    #[error("the title `{id}` is still being recorded; end its stream first")]
    StillRecording {
        /// The id asked for.
        id: String,
    },
    /// A manifest that is none.
    #[error("the manifest {cid} cannot be read: {reason}")]
    Manifest {
        /// Its name.
        cid: Cid,
        /// What is wrong with it.
        reason: ManifestFault,
    },
    /// The runtime ends.
    #[error("the server is stopping")]
    Closed,
}

/// What is wrong with a manifest.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ManifestFault {
    /// It is no node.
    #[error(transparent)]
    Dag(#[from] DagError),
    /// It is a node of another shape.
    #[error("`{field}` is missing or of another kind than in a manifest of ours")]
    Shape {
        /// The field.
        field: &'static str,
    },
    /// More than we read.
    #[error("it has more than {max} {what}")]
    TooMany {
        /// What is counted.
        what: &'static str,
        /// How many are read.
        max: usize,
    },
    /// A node that it refers to is not there.
    #[error("the node {0} that it refers to is not there")]
    Missing(Cid),
}

impl StoreError {
    pub(crate) fn io(action: &'static str, path: &Path, source: io::Error) -> Self {
        Self::Io {
            action,
            path: path.to_owned(),
            source,
        }
    }

    /// There is no room: removing titles may help, trying again does not.
    pub fn is_full(&self) -> bool {
        match self {
            Self::OverBudget { .. } | Self::DiskLow { .. } => true,
            Self::Io { source, .. } => {
                matches!(
                    source.kind(),
                    io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
                )
            }
            _ => false,
        }
    }
}
