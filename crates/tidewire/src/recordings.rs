//! The store as the server runs it: opened from the configuration, and swept while the server lives.

use std::collections::HashSet;
use std::path::Path;
use std::time::Duration;

use platform::{Platform, now_ms};
use store::{Store, StoreError, StoreLimits};

use crate::config::{RecordingConfig, Space};

/// What the disk keeps free, whatever the budget says: the database, the logs and the system live there too.
pub(crate) const FREE_MIN_BYTES: u64 = 512 << 20;
/// How soon a title that a command removed is gone.
const MARKED_EVERY: Duration = Duration::from_secs(2);
/// How often age is looked at, in looks for what commands removed.
const AGE_EVERY: u32 = 30;

/// Opens the store; before streams are taken.
pub(crate) async fn open(data_dir: &Path, config: &RecordingConfig) -> Result<Store, StoreError> {
    let limits = StoreLimits {
        budget_bytes: budget_bytes(data_dir, config.budget),
        free_min_bytes: FREE_MIN_BYTES,
        fsync: config.fsync,
    };
    Store::open(data_dir, limits).await
}

/// A share is of the whole disk; of a disk whose size cannot be read it is nothing.
pub(crate) fn budget_bytes(data_dir: &Path, budget: Space) -> u64 {
    match budget {
        Space::Bytes(bytes) => bytes,
        Space::Percent(percent) => {
            let total = rustix::fs::statvfs(data_dir)
                .map_or(0, |facts| facts.f_blocks.saturating_mul(facts.f_frsize));
            total / 100 * u64::from(percent)
        }
    }
}

/// Removes titles that commands marked, that are too old, or whose channel was removed, until the server ends.
pub(crate) async fn sweep(store: Store, platform: Platform, retention: Duration) {
    let retention_ms = i64::try_from(retention.as_millis()).unwrap_or(i64::MAX);
    for round in 0_u32.. {
        let outcome = if round % AGE_EVERY == 0 {
            sweep_all(&store, &platform, retention_ms).await
        } else {
            store.remove_marked().await.map(drop)
        };
        if let Err(error) = outcome {
            tracing::warn!(%error, "titles that are to go could not be removed; trying again");
        }
        tokio::time::sleep(MARKED_EVERY).await;
    }
}

async fn sweep_all(store: &Store, platform: &Platform, retention_ms: i64) -> Result<(), StoreError> {
    store.remove_marked().await?;
    store.remove_older(now_ms().saturating_sub(retention_ms)).await?;
    // Before the channels are: a channel that is made meanwhile has none among them.
    let recordings = store.recordings().await?;
    let channels = match platform.list_channels().await {
        Ok(channels) => channels,
        Err(error) => {
            tracing::warn!(%error, "the list of channels could not be read");
            return Ok(());
        }
    };
    let known: HashSet<_> = channels.into_iter().map(|channel| channel.id).collect();
    for recording in recordings {
        if recording.state.is_title() && !known.contains(&recording.channel_id) {
            store.remove(&recording.stream_id).await?;
            tracing::info!(title = recording.stream_id, "title removed with its channel");
        }
    }
    Ok(())
}
