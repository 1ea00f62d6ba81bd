//! What this machine can encode, as far as it is known.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use event_listener::{Event, EventListener};
use transcode::{EncodeBudget, Transcoder};

/// What this machine can encode, as far as it is known.
#[derive(Clone)]
pub enum EncoderState {
    /// FFmpeg is being proved; ladders start when it is done.
    Probing,
    /// Rungs can be made.
    Ready {
        /// Starts children.
        transcoder: Transcoder,
        /// Admits rungs.
        budget: Arc<EncodeBudget>,
    },
    /// The operator wants no ladder; thumbnails and audio transcodes are still made if FFmpeg is there.
    Disabled {
        /// Starts children, if there is an FFmpeg.
        transcoder: Option<Transcoder>,
    },
    /// Nothing can be encoded. The text says why and what to do.
    Missing {
        /// A plain sentence.
        text: String,
    },
}

impl EncoderState {
    pub(crate) fn may_encode(&self) -> bool {
        matches!(self, Self::Probing | Self::Ready { .. })
    }

    /// What starts FFmpeg children, if there is one.
    pub fn transcoder(&self) -> Option<&Transcoder> {
        match self {
            Self::Ready { transcoder, .. } => Some(transcoder),
            Self::Disabled { transcoder } => transcoder.as_ref(),
            Self::Probing | Self::Missing { .. } => None,
        }
    }
}

/// The shared, changing [`EncoderState`]. Cheap to clone.
#[derive(Clone)]
pub struct Encoders {
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<EncoderState>,
    changed: Event,
}

impl Encoders {
    /// Starts in `state`.
    pub fn new(state: EncoderState) -> Self {
        Self {
            shared: Arc::new(Shared {
                state: Mutex::new(state),
                changed: Event::new(),
            }),
        }
    }

    /// Changes the state; every stream learns of it.
    pub fn set(&self, state: EncoderState) {
        *self.lock() = state;
        self.shared.changed.notify(usize::MAX);
    }

    /// The state now.
    pub fn get(&self) -> EncoderState {
        self.lock().clone()
    }

    /// Fires at the next change.
    pub(crate) fn changed(&self) -> EventListener {
        self.shared.changed.listen()
    }

    fn lock(&self) -> MutexGuard<'_, EncoderState> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
