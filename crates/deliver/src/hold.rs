//! Holding a request until what it asks for exists.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::{Duration, Instant};

use event_listener::EventListener;

use crate::connection::InFlight;
use crate::service::CoreState;

/// Why a hold ended without an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unheld {
    /// The limit passed.
    Late,
    /// The server is shutting down.
    Draining,
}

/// What one look at the media says: the answer, or what to wait for.
pub(crate) enum Look<T> {
    Now(T),
    Later(EventListener),
}

/// Looks until there is an answer. `held` becomes the time spent waiting, `None` if the first look had it.
pub(crate) async fn hold<T>(
    core: &CoreState,
    guard: &mut InFlight,
    limit: Duration,
    held: &mut Option<Duration>,
    mut look: impl FnMut() -> Look<T>,
) -> Result<T, Unheld> {
    let mut listener = match look() {
        Look::Now(answer) => return Ok(answer),
        Look::Later(listener) => listener,
    };
    if core.is_draining() {
        return Err(Unheld::Draining);
    }
    let began = Instant::now();
    let _counted = Counted::new(core);
    guard.set_waiting(true);
    let mut deadline = pin!(tokio::time::sleep(limit));
    let mut ending = pin!(core.ending.notified());
    let mut is_armed = false;
    let result = poll_fn(|cx| {
        loop {
            if Pin::new(&mut listener).poll(cx).is_pending() {
                break;
            }
            match look() {
                Look::Now(answer) => return Poll::Ready(Ok(answer)),
                Look::Later(next) => listener = next,
            }
        }
        if !is_armed {
            // One poll leaves the task's waker there; later ones read a flag instead of taking locks.
            is_armed = true;
            let _ = (deadline.as_mut().poll(cx), ending.as_mut().poll(cx));
        }
        if core.is_draining() {
            Poll::Ready(Err(Unheld::Draining))
        } else if deadline.is_elapsed() {
            Poll::Ready(Err(Unheld::Late))
        } else {
            Poll::Pending
        }
    })
    .await;
    guard.set_waiting(false);
    *held = Some(held.unwrap_or_default() + began.elapsed());
    result
}

/// Counts one held request for as long as it lives: the future may be dropped when the client leaves.
struct Counted<'a>(&'a CoreState);

impl<'a> Counted<'a> {
    fn new(core: &'a CoreState) -> Self {
        core.shard.hold(1);
        Self(core)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.shard.hold(-1);
    }
}
