//! Which channel has which stream, and what happens to it.

use std::collections::{BTreeMap, VecDeque};
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, Mutex, Weak};
use std::task::Poll;

use event_listener::{Event, EventListener};
use media::Micros;
use thiserror::Error;

use crate::{Limits, Publisher, PublisherInfo, Stream, StreamState, lock};

/// Why a publisher was refused. The texts may be shown to the publisher.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum PublishError {
    /// The channel has a publisher of this kind. The publisher's side; retry when the other has gone.
    #[error(
        "channel {channel} is already live: {} came over {protocol} {} s ago; stop it first",
        if *is_backup { "a backup publisher" } else { "a publisher" },
        age_us / 1_000_000
    )]
    AlreadyLive {
        /// The channel.
        channel: String,
        /// When the present publisher came.
        since: Micros,
        /// How long ago that was, microseconds.
        age_us: u64,
        /// `rtmp`, ...
        protocol: &'static str,
        /// Both are backups.
        is_backup: bool,
    },
    /// `Limits::streams_max` reached. Our side; retry later.
    #[error("this server carries {max} streams already, its limit; try again later")]
    TooManyStreams {
        /// The limit.
        max: usize,
    },
    /// The server is shutting down. Our side; retry at once, elsewhere or after the restart.
    #[error("this server is shutting down; connect again in a moment")]
    Draining,
}

/// What happened to a stream.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum StreamEvent {
    /// A new stream, in state `Starting`.
    Opened(Arc<Stream>),
    /// The state changed to this one.
    StateChanged(Arc<Stream>, StreamState),
    /// The stream is over and has left the registry (its last `StateChanged` came before).
    Ended(Arc<Stream>),
    /// The subscriber was too slow and lost this many events: look at [`Registry::streams`].
    Missed {
        /// Events lost.
        events: u64,
    },
}

/// All streams of the process.
#[derive(Debug)]
pub struct Registry {
    limits: Limits,
    unix_origin_us: u64,
    slots: Mutex<Slots>,
    bus: Arc<Bus>,
    timeout_changed: Event,
}

#[derive(Debug, Default)]
struct Slots {
    by_channel: BTreeMap<String, Slot>,
    last_id: u64,
    last_publisher: u64,
    is_draining: bool,
}

#[derive(Debug)]
struct Slot {
    stream: Arc<Stream>,
    /// The primary, the backup, or both.
    publishers: Vec<Present>,
    presence: Presence,
}

/// A publisher that is there.
#[derive(Clone, Copy, Debug)]
struct Present {
    number: u64,
    is_backup: bool,
    protocol: &'static str,
    since: Micros,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Presence {
    /// A publisher is there.
    Publishing,
    /// It went without a time; the next `handle_timeout` starts the grace window.
    Gone,
    /// The grace window ends then.
    GoneUntil(Micros),
}

impl Registry {
    /// An empty registry whose stream ids are unique in this process only (tests).
    pub fn new(limits: Limits) -> Arc<Self> {
        Self::with_unix_origin(limits, 0)
    }

    /// An empty registry. `unix_origin_us` is the wall clock, microseconds since 1970, at `now == 0`: it makes stream
    /// ids unique over restarts.
    pub fn with_unix_origin(limits: Limits, unix_origin_us: u64) -> Arc<Self> {
        Arc::new(Self {
            limits,
            unix_origin_us,
            slots: Mutex::default(),
            bus: Arc::new(Bus::new(limits.events_max)),
            timeout_changed: Event::new(),
        })
    }

    /// The bounds in force.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Opens the channel's stream, or continues it within the grace window if it is the same owner's. One primary and one
    /// backup publisher a channel.
    pub fn publish(
        self: &Arc<Self>,
        channel: &str,
        info: PublisherInfo,
        now: Micros,
    ) -> Result<Publisher, PublishError> {
        self.handle_timeout(now);
        let mut slots = lock(&self.slots);
        if slots.is_draining {
            return Err(PublishError::Draining);
        }
        slots.last_publisher += 1;
        let present = Present {
            number: slots.last_publisher,
            is_backup: info.is_backup,
            protocol: info.protocol,
            since: now,
        };
        if let Some(slot) = slots.by_channel.get_mut(channel) {
            if slot.stream.owner() != info.owner && slot.presence != Presence::Publishing {
                slot.stream.set_state(StreamState::Ended);
            }
            if !slot.stream.state().is_final() {
                return Self::rejoin(self, slot, present, info, now);
            }
            slots.by_channel.remove(channel);
        }
        if slots.by_channel.len() >= self.limits.streams_max {
            return Err(PublishError::TooManyStreams {
                max: self.limits.streams_max,
            });
        }
        let number = self
            .unix_origin_us
            .saturating_add(now)
            .max(slots.last_id.saturating_add(1));
        slots.last_id = number;
        let bus = Arc::clone(&self.bus);
        let stream = Stream::new(base36(number), channel, now, self.limits, info.clone(), bus);
        let slot = Slot {
            stream: Arc::clone(&stream),
            publishers: vec![present],
            presence: Presence::Publishing,
        };
        slots.by_channel.insert(channel.to_owned(), slot);
        self.bus.send(&StreamEvent::Opened(Arc::clone(&stream)));
        drop(slots);
        Ok(Publisher::new(
            Arc::clone(self),
            stream,
            present.number,
            info,
            now,
        ))
    }

    fn rejoin(
        registry: &Arc<Self>,
        slot: &mut Slot,
        present: Present,
        info: PublisherInfo,
        now: Micros,
    ) -> Result<Publisher, PublishError> {
        let same =
            |other: &&Present| other.is_backup == present.is_backup || slot.stream.owner() != info.owner;
        if let Some(other) = slot.publishers.iter().find(same) {
            return Err(PublishError::AlreadyLive {
                channel: slot.stream.channel().to_owned(),
                since: other.since,
                age_us: now.saturating_sub(other.since),
                protocol: other.protocol,
                is_backup: other.is_backup,
            });
        }
        slot.publishers.push(present);
        slot.presence = Presence::Publishing;
        let stream = Arc::clone(&slot.stream);
        Ok(Publisher::new(
            Arc::clone(registry),
            stream,
            present.number,
            info,
            now,
        ))
    }

    /// The channel's stream, while it has one that is not over.
    pub fn stream(&self, channel: &str) -> Option<Arc<Stream>> {
        let slots = lock(&self.slots);
        let stream = &slots.by_channel.get(channel)?.stream;
        (!stream.state().is_final()).then(|| Arc::clone(stream))
    }

    /// All streams that are not over, ordered by channel.
    pub fn streams(&self) -> Vec<Arc<Stream>> {
        let slots = lock(&self.slots);
        let streams = slots.by_channel.values().map(|slot| &slot.stream);
        streams
            .filter(|stream| !stream.state().is_final())
            .cloned()
            .collect()
    }

    /// Subscribes to what happens from now on. Subscribe first, then look at [`streams`](Self::streams).
    pub fn events(&self) -> Events {
        self.bus.subscribe()
    }

    /// Ends the streams whose grace window is over.
    pub fn handle_timeout(&self, now: Micros) {
        let mut over = Vec::new();
        lock(&self.slots).by_channel.retain(|_, slot| {
            if slot.presence == Presence::Gone {
                slot.presence = Presence::GoneUntil(now.saturating_add(self.limits.reconnect_grace_us));
            }
            let is_over = match slot.presence {
                Presence::GoneUntil(deadline) => now >= deadline || slot.stream.state().is_final(),
                Presence::Publishing | Presence::Gone => slot.stream.state().is_final(),
            };
            if is_over {
                over.push(Arc::clone(&slot.stream));
            }
            !is_over
        });
        for stream in over {
            stream.set_state(StreamState::Ended);
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) wants to be called; 0 means at once.
    pub fn poll_timeout(&self) -> Option<Micros> {
        let slots = lock(&self.slots);
        let deadlines = slots.by_channel.values().filter_map(|slot| match slot.presence {
            Presence::Publishing => None,
            Presence::Gone => Some(0),
            Presence::GoneUntil(deadline) => Some(deadline),
        });
        deadlines.min()
    }

    /// Fires when [`poll_timeout`](Self::poll_timeout) may have become earlier. Listen first, then ask it.
    pub fn timeout_changed(&self) -> EventListener {
        self.timeout_changed.listen()
    }

    /// Refuses new publishers, those that come back included.
    pub fn drain(&self) {
        lock(&self.slots).is_draining = true;
    }

    /// Whether [`drain`](Self::drain) was called.
    pub fn is_draining(&self) -> bool {
        lock(&self.slots).is_draining
    }

    /// A publisher of `stream` went away; `now` where that is known. Another one that is there goes on.
    pub(crate) fn publisher_gone(&self, stream: &Arc<Stream>, number: u64, now: Option<Micros>) {
        let mut slots = lock(&self.slots);
        if let Some(slot) = slots.by_channel.get_mut(stream.channel())
            && Arc::ptr_eq(&slot.stream, stream)
        {
            slot.publishers.retain(|present| present.number != number);
            if !slot.publishers.is_empty() {
                return;
            }
            slot.presence = match now {
                Some(now) => Presence::GoneUntil(now.saturating_add(self.limits.reconnect_grace_us)),
                None => Presence::Gone,
            };
            stream.set_state(StreamState::Reconnecting);
        }
        drop(slots);
        self.timeout_changed.notify(usize::MAX);
    }
}

/// Lowercase base 36.
fn base36(mut number: u64) -> String {
    const DIGITS: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";
    let mut text = Vec::with_capacity(13);
    loop {
        let digit = usize::try_from(number % 36).unwrap_or(0);
        text.push(char::from(DIGITS[digit]));
        number /= 36;
        if number == 0 {
            return text.iter().rev().collect();
        }
    }
}

/// Hands events to subscribers, each with its own bounded queue (events are few: a handful a stream).
#[derive(Debug)]
pub(crate) struct Bus {
    queue_max: usize,
    subscribers: Mutex<Vec<Weak<Mailbox>>>,
}

#[derive(Debug, Default)]
struct Mailbox {
    queue: Mutex<(VecDeque<StreamEvent>, u64)>,
    arrived: Event,
}

impl Bus {
    pub(crate) fn new(queue_max: usize) -> Self {
        Self {
            queue_max,
            subscribers: Mutex::default(),
        }
    }

    pub(crate) fn send(&self, event: &StreamEvent) {
        lock(&self.subscribers).retain(|subscriber| {
            let Some(mailbox) = subscriber.upgrade() else {
                return false;
            };
            {
                let mut queue = lock(&mailbox.queue);
                if queue.0.len() >= self.queue_max {
                    queue.1 += 1;
                } else {
                    queue.0.push_back(event.clone());
                }
            }
            mailbox.arrived.notify(usize::MAX);
            true
        });
    }

    fn subscribe(&self) -> Events {
        let mailbox = Arc::new(Mailbox::default());
        lock(&self.subscribers).push(Arc::downgrade(&mailbox));
        Events {
            mailbox,
            listener: None,
        }
    }
}

/// A subscription to the registry's events.
#[derive(Debug)]
pub struct Events {
    mailbox: Arc<Mailbox>,
    listener: Option<EventListener>,
}

impl Events {
    /// The next event if there is one now.
    pub fn try_next(&mut self) -> Option<StreamEvent> {
        let mut queue = lock(&self.mailbox.queue);
        match queue.0.pop_front() {
            Some(event) => Some(event),
            None if queue.1 > 0 => Some(StreamEvent::Missed {
                events: std::mem::take(&mut queue.1),
            }),
            None => None,
        }
    }

    /// The next event, when there is one. Dropping the future loses nothing.
    pub async fn next(&mut self) -> StreamEvent {
        poll_fn(|context| {
            loop {
                if let Some(event) = self.try_next() {
                    self.listener = None;
                    return Poll::Ready(event);
                }
                match &mut self.listener {
                    Some(listener) => match Pin::new(listener).poll(context) {
                        Poll::Ready(()) => self.listener = None,
                        Poll::Pending => return Poll::Pending,
                    },
                    None => self.listener = Some(self.mailbox.arrived.listen()),
                }
            }
        })
        .await
    }
}
