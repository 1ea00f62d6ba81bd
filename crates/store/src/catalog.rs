//! What commands may do beside a running server: list, mark for removal, pin.

use std::path::Path;

use crate::error::StoreError;
use crate::index::{INDEX_FILE, Index};
use crate::recording::{Recording, RecordingState};
use crate::store::STORE_DIR;

/// The index alone. Objects are touched by the server only.
#[derive(Debug)]
pub struct Catalog {
    index: Index,
}

impl Catalog {
    /// Opens the index in `data_dir`; `None` if no server has kept anything there yet.
    ///
    /// # Errors
    /// The index cannot be used.
    pub async fn open(data_dir: &Path) -> Result<Option<Self>, StoreError> {
        let dir = data_dir.join(STORE_DIR);
        if !dir.join(INDEX_FILE).is_file() {
            return Ok(None);
        }
        let index = Index::open(&dir).await?;
        Ok(Some(Self { index }))
    }

    /// Every recording that nobody asked to remove, newest first.
    ///
    /// # Errors
    /// The index cannot be read.
    pub async fn recordings(&self) -> Result<Vec<Recording>, StoreError> {
        let mut recordings = self.index.recordings(u32::MAX, (i64::MAX, "")).await?;
        recordings.retain(|recording| recording.state != RecordingState::Removed);
        Ok(recordings)
    }

    /// Bytes of all objects.
    ///
    /// # Errors
    /// The index cannot be read.
    pub async fn used_bytes(&self) -> Result<u64, StoreError> {
        self.index.used_bytes().await
    }

    /// Marks a title for removal. The server removes it within seconds, or when it starts.
    ///
    /// # Errors
    /// There is none of that id, or it is still being recorded.
    pub async fn mark_removed(&self, id: &str) -> Result<Recording, StoreError> {
        let recording = self.title(id).await?;
        self.index.mark_removed(id).await?;
        Ok(recording)
    }

    /// Keeps a title from retention, or gives it back to it.
    ///
    /// # Errors
    /// There is none of that id.
    pub async fn set_pinned(&self, id: &str, pinned: bool) -> Result<Recording, StoreError> {
        let recording = self.title(id).await?;
        self.index.set_pinned(id, pinned).await?;
        Ok(Recording { pinned, ..recording })
    }

    async fn title(&self, id: &str) -> Result<Recording, StoreError> {
        let id = id.to_owned();
        match self.index.recording(&id).await? {
            Some(recording) if recording.state == RecordingState::Recording => {
                Err(StoreError::StillRecording { id })
            }
            Some(recording) if recording.state.is_title() => Ok(recording),
            _ => Err(StoreError::TitleNotFound { id }),
        }
    }
}
