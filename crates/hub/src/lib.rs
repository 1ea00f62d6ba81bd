//! The hub: one publisher, many readers, per stream.
//!
//! A [`Publisher`] takes what a protocol brought in, repairs its timestamps and writes immutable samples into the
//! stream's source [`Feed`], a bounded ring. A [`Reader`] is a cursor into it: no queue and no copy per reader. The
//! [`Registry`] knows which channel has which [`Stream`], lets one publisher at a time feed it (a backup stands
//! by), and keeps the stream alive for a grace window when the last publisher goes away.
//!
//! What it does not do: sockets, clocks, threads, protocols, packaging. Time comes in as `now`; sleeping readers are
//! woken through `event-listener`.
//!
//! The loop: `Registry::publish` -> `Publisher::set_video` / `set_audio` / `push` ... -> drop or `finish`; beside it one
//! timer calls `Registry::handle_timeout` at `Registry::poll_timeout`.
//!
//! Timeline: media 0 is the first sample of the stream, for every track. Video in 90 kHz ticks, audio in its sample
//! rate. Decode times of a track grow strictly over the whole life of the stream; between discontinuities each audio
//! sample begins where the one before ends, to the tick.

mod clock;
mod feed;
mod gauges;
mod limits;
mod notices;
mod publisher;
mod reader;
mod registry;
mod repair;
mod standby;
mod stats;
mod stream;
mod watch;

pub use clock::ClockMap;
pub use feed::{Feed, Item, Start};
pub use limits::{FeedLimits, Limits};
pub use notices::{NOTICE_TEXT_MAX, NOTICES_MAX, Notice, NoticeBoard, Severity};
pub use publisher::{Metadata, Publisher, PublisherInfo, RawSample};
pub use reader::Reader;
pub use registry::{Events, PublishError, Registry, StreamEvent};
pub use stats::{Repair, StreamStats};
pub use stream::{FeedError, Stream, StreamState};

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks; a panic elsewhere while the lock was held does not spread (every critical section leaves whole state).
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
