//! The recording of a stream: takes complete segments from the window and gives them to the store.
//!
//! The window is the queue: it holds what was not taken yet, within its own bounds, and packaging never waits. If the
//! store is so slow that segments leave the window untaken, or takes no more, the recording ends there, the stream says so,
//! and live goes on.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use hub::Severity;
use package::{RenditionLog, TrackFacts};
use store::{Batch, NewRecording, RecordingState, RenditionFacts, Store, StoreError};
use tokio::sync::oneshot;

use crate::{Broadcast, sentences};

#[cfg(test)]
mod tests;

/// Bytes taken from the window at once, if it holds more than one segment of each rendition.
const BATCH_BYTES_MAX: usize = 16 << 20;
/// Pause after a write that failed for another reason than want of room, and how often that is tried again in a row.
const RETRY_AFTER: Duration = Duration::from_secs(1);
const RETRIES_MAX: u32 = 30;

/// Why a recording ends before its stream.
#[derive(Debug, thiserror::Error)]
enum Stop {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("segments left the live window before the disk had taken them")]
    TooSlow,
}

/// Records one stream.
pub(crate) struct Recorder {
    broadcast: Arc<Broadcast>,
    store: Store,
    started_ms: i64,
    is_begun: bool,
    /// By name: place in the multivariant playlist and number of the next segment.
    renditions: HashMap<String, Progress>,
    inits: HashSet<(String, u32)>,
}

#[derive(Default)]
struct Progress {
    position: u32,
    next_msn: u64,
    facts: Option<TrackFacts>,
}

impl Recorder {
    pub(crate) fn new(broadcast: Arc<Broadcast>, store: Store, started_ms: i64) -> Self {
        Self {
            broadcast,
            store,
            started_ms,
            is_begun: false,
            renditions: HashMap::new(),
            inits: HashSet::new(),
        }
    }

    /// Runs until the stream is recorded to its end. `over` is dropped when the stream's task has ended.
    pub(crate) async fn run(mut self, over: oneshot::Receiver<()>) {
        let outcome = self.follow(over).await;
        let stream = Arc::clone(&self.broadcast.stream);
        let (channel, id) = (stream.channel(), stream.id());
        let is_whole = outcome.is_ok() && self.broadcast.window.is_ended();
        if let Err(stop) = outcome {
            let why = match &stop {
                Stop::Store(error) if error.is_full() => {
                    "the room that the server has for recordings is used up"
                }
                Stop::Store(_) => "the server's disk cannot be written",
                Stop::TooSlow => "the server's disk is too slow",
            };
            tracing::error!(channel, stream = id, error = %stop, "the recording has stopped; live goes on");
            let text =
                format!("This broadcast is no longer recorded, because {why}. Viewers are not affected.");
            stream
                .notices()
                .set(sentences::RECORDING_STOPPED, Severity::Warning, text);
        }
        if !self.is_begun {
            return;
        }
        let state = if is_whole {
            RecordingState::Sealed
        } else {
            RecordingState::Cut
        };
        match self.store.seal(id, state).await {
            Ok(true) => tracing::info!(
                channel,
                stream = id,
                state = state.as_str(),
                "recorded: it is a title now"
            ),
            Ok(false) => {}
            Err(error) => tracing::error!(channel, stream = id, %error, "the recording is not a title yet"),
        }
    }

    async fn follow(&mut self, mut over: oneshot::Receiver<()>) -> Result<(), Stop> {
        let window = Arc::clone(&self.broadcast.window);
        let mut is_over = false;
        loop {
            let segment_made = window.segment_made();
            // Looked at before the segments are, so that none comes between.
            is_over |= window.is_ended();
            loop {
                let (batch, progress) = self.take()?;
                if batch.is_empty() {
                    break;
                }
                self.keep(&batch).await?;
                self.advance(batch, progress);
            }
            if is_over {
                return Ok(());
            }
            tokio::select! {
                () = segment_made => {}
                _ = &mut over => is_over = true,
            }
        }
    }

    async fn keep(&mut self, batch: &Batch) -> Result<(), Stop> {
        let id = self.broadcast.stream.id().to_owned();
        let mut failures = 0;
        loop {
            let kept = self.try_keep(&id, batch).await;
            match kept {
                Ok(()) => return Ok(()),
                Err(error) if error.is_full() || failures == RETRIES_MAX => return Err(error.into()),
                Err(error) => {
                    if failures == 0 {
                        tracing::warn!(stream = id, %error, "segments could not be kept; trying again");
                    }
                    failures += 1;
                    tokio::time::sleep(RETRY_AFTER).await;
                }
            }
        }
    }

    async fn try_keep(&mut self, id: &str, batch: &Batch) -> Result<(), StoreError> {
        if !self.is_begun {
            let stream = &self.broadcast.stream;
            let new = NewRecording {
                stream_id: id.to_owned(),
                channel_id: stream.owner().to_owned(),
                channel: stream.channel().to_owned(),
                started_ms: self.started_ms,
            };
            self.store.begin(&new).await?;
            self.is_begun = true;
        }
        self.store.append(id, batch).await
    }

    /// What the window holds and the store does not, and where that leaves each rendition.
    fn take(&mut self) -> Result<(Batch, Vec<(String, u64)>), Stop> {
        let window = Arc::clone(&self.broadcast.window);
        let logs = window.renditions_ever();
        for log in &logs {
            let position = u32::try_from(self.renditions.len()).unwrap_or(u32::MAX);
            let entry = self.renditions.entry(log.name().to_owned());
            entry.or_insert_with(|| Progress {
                position,
                ..Progress::default()
            });
        }
        let mut batch = Batch::default();
        let mut progress = Vec::new();
        let mut left = BATCH_BYTES_MAX;
        // Of two runs of one rendition the earlier one stands behind.
        for log in logs.iter().rev() {
            let next = progress
                .iter()
                .rev()
                .find(|(name, _)| name == log.name())
                .map(|(_, next)| *next);
            let Some(known) = self.renditions.get(log.name()) else {
                continue;
            };
            let completed = log.completed(next.unwrap_or(known.next_msn), left);
            if completed.missed {
                return Err(Stop::TooSlow);
            }
            let Some(last) = completed.segments.last() else {
                continue;
            };
            progress.push((log.name().to_owned(), last.facts.msn + 1));
            for segment in completed.segments {
                let bytes = usize::try_from(segment.facts.bytes).unwrap_or(usize::MAX);
                left = left.saturating_sub(bytes);
                self.take_init(log, segment.facts.init, &mut batch);
                batch.segments.push((log.name().to_owned(), segment));
            }
            self.take_facts(log, &mut batch);
        }
        if !batch.is_empty() {
            batch.periods = window.periods();
        }
        Ok((batch, progress))
    }

    /// The batch is kept: what it had is not taken again.
    fn advance(&mut self, batch: Batch, progress: Vec<(String, u64)>) {
        self.inits
            .extend(batch.inits.into_iter().map(|(name, number, _)| (name, number)));
        for rendition in batch.renditions {
            if let Some(known) = self.renditions.get_mut(&rendition.name) {
                known.facts = Some(rendition.facts);
            }
        }
        for (name, next_msn) in progress {
            if let Some(known) = self.renditions.get_mut(&name) {
                known.next_msn = next_msn;
            }
        }
    }

    fn take_init(&self, log: &RenditionLog, number: u32, batch: &mut Batch) {
        let name = log.name();
        let is_taken = batch
            .inits
            .iter()
            .any(|(known, init, _)| known == name && *init == number)
            || self.inits.contains(&(name.to_owned(), number));
        if !is_taken && let Some(bytes) = log.init(number) {
            batch.inits.push((name.to_owned(), number, bytes));
        }
    }

    fn take_facts(&self, log: &RenditionLog, batch: &mut Batch) {
        let (Some(info), Some(known)) = (log.info(), self.renditions.get(log.name())) else {
            return;
        };
        let facts = TrackFacts::from(info.track.as_ref());
        if known.facts.as_ref() != Some(&facts) {
            batch.renditions.push(RenditionFacts {
                name: log.name().to_owned(),
                position: known.position,
                role: log.role(),
                facts,
            });
        }
    }
}
