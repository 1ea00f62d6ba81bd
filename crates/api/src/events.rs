//! Server-sent events: the latest state of every channel, serialised once for all listeners.

use std::collections::{BTreeMap, HashSet};
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use access::Grant;

use bytes::{Bytes, BytesMut};
use event_listener::{Event, EventListener};
use http_body::{Body, Frame};
use tokio::time::{Instant, Sleep};

use crate::view::ChannelView;

/// A comment after this much silence keeps proxies from closing the stream.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// The latest state of all channels as event text.
#[derive(Debug, Default)]
pub(crate) struct Board {
    state: Mutex<BoardState>,
    changed: Event,
    listeners: AtomicUsize,
}

#[derive(Debug, Default)]
struct BoardState {
    /// Counts refreshes that changed something.
    version: u64,
    is_closed: bool,
    channels: BTreeMap<String, Entry>,
}

#[derive(Debug)]
struct Entry {
    /// Of the last change, [`BoardState::version`].
    version: u64,
    /// `None`: the channel was removed; kept so that listeners hear of it.
    view: Option<ChannelView>,
    text: Bytes,
}

impl Entry {
    /// What is said of it to a listener: made once for all, and anew for one whose paths stand behind a token.
    fn text_for(&self, grant: Option<&Grant>) -> Bytes {
        match (grant, &self.view) {
            (Some(grant), Some(view)) => event_text("channel", &view.behind(&grant.path_prefix())),
            _ => self.text.clone(),
        }
    }
}

/// Removed channels that are remembered for slow listeners; more are forgotten, oldest name first.
const REMOVED_MAX: usize = 1024;

impl Board {
    /// Takes the directory's present state; wakes listeners if it differs.
    pub(crate) fn update(&self, views: Vec<ChannelView>) {
        let mut state = self.lock();
        let version = state.version + 1;
        let mut is_changed = false;
        let present: HashSet<String> = views.iter().map(|view| view.name.clone()).collect();
        for view in views {
            if state
                .channels
                .get(&view.name)
                .and_then(|entry| entry.view.as_ref())
                == Some(&view)
            {
                continue;
            }
            let text = event_text("channel", &view);
            state.channels.insert(
                view.name.clone(),
                Entry {
                    version,
                    view: Some(view),
                    text,
                },
            );
            is_changed = true;
        }
        for (name, entry) in &mut state.channels {
            if entry.view.is_some() && !present.contains(name) {
                *entry = Entry {
                    version,
                    view: None,
                    text: event_text("removed", &serde_json::json!({ "name": name })),
                };
                is_changed = true;
            }
        }
        while state.channels.len() - present.len() > REMOVED_MAX {
            let gone = state
                .channels
                .iter()
                .find(|(_, entry)| entry.view.is_none())
                .map(|(name, _)| name.clone());
            match gone {
                Some(name) => state.channels.remove(&name),
                None => break,
            };
        }
        if is_changed {
            state.version = version;
            drop(state);
            self.changed.notify(usize::MAX);
        }
    }

    /// Ends every stream.
    pub(crate) fn close(&self) {
        self.lock().is_closed = true;
        self.changed.notify(usize::MAX);
    }

    /// Opens a stream that begins with a snapshot, unless `max` are open. `only` narrows it to one channel; it ends when
    /// `grant` does, and its paths stand behind that token.
    pub(crate) fn listen(
        self: &Arc<Self>,
        only: Option<String>,
        grant: Option<Arc<Grant>>,
        max: usize,
    ) -> Option<EventBody> {
        if self.listeners.fetch_add(1, Ordering::Relaxed) >= max {
            self.listeners.fetch_sub(1, Ordering::Relaxed);
            return None;
        }
        Some(EventBody {
            board: Arc::clone(self),
            only,
            seen: None,
            waits: None,
            keep_alive: Box::pin(tokio::time::sleep(pause(grant.as_deref()))),
            grant,
        })
    }

    fn snapshot(&self, only: Option<&str>, grant: Option<&Grant>) -> (Bytes, u64) {
        let state = self.lock();
        let views: Vec<&ChannelView> = state
            .channels
            .values()
            .filter_map(|entry| entry.view.as_ref())
            .filter(|view| only.is_none_or(|only| only == view.name))
            .collect();
        let text = match grant {
            None => event_text("snapshot", &serde_json::json!({ "data": views })),
            Some(grant) => {
                let prefix = grant.path_prefix();
                let views: Vec<ChannelView> = views.iter().map(|view| view.behind(&prefix)).collect();
                event_text("snapshot", &serde_json::json!({ "data": views }))
            }
        };
        (text, state.version)
    }

    /// What changed after `seen`: of each channel the latest only. `None`: nothing, and nothing will.
    fn since(&self, seen: u64, only: Option<&str>, grant: Option<&Grant>) -> Option<(Bytes, u64)> {
        let state = self.lock();
        let mut changed: Vec<&Entry> = match only {
            Some(name) => state.channels.get(name).into_iter().collect(),
            None => state.channels.values().collect(),
        };
        changed.retain(|entry| entry.version > seen);
        let text = match changed[..] {
            [one] => one.text_for(grant),
            _ => {
                let mut text = BytesMut::with_capacity(changed.iter().map(|entry| entry.text.len()).sum());
                changed
                    .iter()
                    .for_each(|entry| text.extend_from_slice(&entry.text_for(grant)));
                text.freeze()
            }
        };
        (!text.is_empty() || !state.is_closed).then_some((text, state.version))
    }

    fn lock(&self) -> MutexGuard<'_, BoardState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One event; JSON has no line breaks in it, so that one `data` line holds it.
fn event_text(name: &str, data: &impl serde::Serialize) -> Bytes {
    let json = serde_json::to_string(data).unwrap_or_else(|_| "null".to_owned());
    Bytes::from(format!("event: {name}\ndata: {json}\n\n"))
}

/// The body of one event stream. It holds no queue: what its reader has not taken is looked up when it has.
#[derive(Debug)]
pub(crate) struct EventBody {
    board: Arc<Board>,
    only: Option<String>,
    /// Version of the last thing sent; `None` before the snapshot.
    seen: Option<u64>,
    waits: Option<EventListener>,
    keep_alive: Pin<Box<Sleep>>,
    grant: Option<Arc<Grant>>,
}

/// How long until something must be said, or the grant be looked at again.
fn pause(grant: Option<&Grant>) -> Duration {
    let left_s = grant.map_or(u64::MAX, |grant| {
        grant.claims().expires_at_s.saturating_sub(unix_now_s())
    });
    KEEP_ALIVE.min(Duration::from_secs(left_s))
}

fn unix_now_s() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

impl EventBody {
    fn next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        let only = self.only.as_deref();
        let grant = self.grant.as_deref();
        if grant.is_some_and(|grant| grant.check_time(unix_now_s()).is_err()) {
            return Poll::Ready(None);
        }
        let Some(seen) = self.seen else {
            let (text, version) = self.board.snapshot(only, grant);
            self.seen = Some(version);
            return Poll::Ready(Some(text));
        };
        loop {
            // Listening before looking: a change in between wakes.
            let listener = self.waits.get_or_insert_with(|| self.board.changed.listen());
            let Some((text, version)) = self.board.since(self.seen.unwrap_or(seen), only, grant) else {
                return Poll::Ready(None);
            };
            self.seen = Some(version);
            if !text.is_empty() {
                self.waits = None;
                return Poll::Ready(Some(text));
            }
            if Pin::new(listener).poll(cx).is_pending() {
                break;
            }
            self.waits = None;
        }
        if self.keep_alive.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Some(Bytes::from_static(b": keep-alive\n\n")));
        }
        Poll::Pending
    }
}

impl Body for EventBody {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        self.next(cx).map(|text| {
            let pause = pause(self.grant.as_deref());
            self.keep_alive.as_mut().reset(Instant::now() + pause);
            text.map(|text| Ok(Frame::data(text)))
        })
    }
}

impl Drop for EventBody {
    fn drop(&mut self) {
        self.board.listeners.fetch_sub(1, Ordering::Relaxed);
    }
}
