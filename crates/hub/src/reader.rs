//! A cursor into a feed.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use event_listener::EventListener;
use media::{MediaKind, Track};

use crate::feed::{Content, PerKind, Ring, Situation};
use crate::{Feed, Item, Start, lock};

/// A cursor into a [`Feed`]: it holds a number, not samples. Not shared; make one for each consumer.
#[derive(Debug)]
pub struct Reader {
    feed: Arc<Feed>,
    /// Number of the entry to read next.
    next: u64,
    /// Samples of the feed before `next`.
    ordinal: u64,
    /// Discontinuities of the feed that this reader has passed.
    discontinuities: u64,
    told: PerKind<Arc<Track>>,
    /// Items to hand out before the ring is read again, last first. At most three.
    pending: Vec<Item>,
    /// Video is left out up to its next sync sample.
    awaits_sync: bool,
    /// Video left out since the reader lost its place.
    withheld: u64,
    /// Whether `withheld` is a loss, not the way in of a new reader.
    is_behind: bool,
    skipped: u64,
    listener: Option<EventListener>,
}

impl Reader {
    pub(crate) fn new(feed: Arc<Feed>, start: Start) -> Self {
        let mut reader = Self {
            next: 0,
            ordinal: 0,
            discontinuities: 0,
            told: PerKind::default(),
            pending: Vec::new(),
            awaits_sync: true,
            withheld: 0,
            is_behind: false,
            skipped: 0,
            listener: None,
            feed,
        };
        let feed = Arc::clone(&reader.feed);
        let ring = lock(feed.ring());
        let number = match start {
            Start::Oldest => ring.first(),
            Start::Live => ring.next(),
            Start::LastSync => fresh_place(&ring),
        };
        reader.discontinuities = ring.situation(number).discontinuities;
        reader.place(&ring, number);
        drop(ring);
        reader
    }

    /// The feed that this reader follows.
    pub fn feed(&self) -> &Arc<Feed> {
        &self.feed
    }

    /// Samples lost by being slow.
    pub fn skipped(&self) -> u64 {
        self.skipped
    }

    /// The next item if there is one now.
    pub fn try_next(&mut self) -> Option<Item> {
        if let Some(item) = self.pending.pop() {
            return Some(item);
        }
        loop {
            let content = {
                let ring = lock(self.feed.ring());
                if self.next < ring.first() {
                    None
                } else if let Some(entry) = ring.get(self.next) {
                    Some(entry.content.clone())
                } else {
                    return ring.is_ended.then_some(Item::End);
                }
            };
            let item = match content {
                Some(content) => {
                    self.next += 1;
                    self.pass(content)
                }
                None => self.skip(),
            };
            if item.is_some() {
                return item;
            }
        }
    }

    /// The next item, when there is one. Dropping the future loses nothing.
    pub async fn next(&mut self) -> Item {
        poll_fn(|context| self.poll_next(context)).await
    }

    /// As [`next`](Self::next), for hand-written futures.
    pub fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Item> {
        loop {
            if let Some(item) = self.try_next() {
                self.listener = None;
                return Poll::Ready(item);
            }
            match &mut self.listener {
                Some(listener) => match Pin::new(listener).poll(context) {
                    Poll::Ready(()) => self.listener = None,
                    Poll::Pending => return Poll::Pending,
                },
                // Listen, then look once more: what was pushed in between must not be slept through.
                None => self.listener = Some(self.feed.listen()),
            }
        }
    }

    /// Turns an entry into an item, or swallows it.
    fn pass(&mut self, content: Content) -> Option<Item> {
        match content {
            Content::Track(track) => {
                *self.told.slot(track.kind()) = Some(Arc::clone(&track));
                Some(Item::Track(track))
            }
            Content::Discontinuity => {
                self.discontinuities += 1;
                Some(Item::Discontinuity)
            }
            Content::Sample(kind, sample) => {
                self.ordinal += 1;
                if kind == MediaKind::Video && self.awaits_sync {
                    if !sample.is_sync {
                        self.withheld += 1;
                        return None;
                    }
                    self.awaits_sync = false;
                    if self.is_behind && self.withheld > 0 {
                        self.pending.push(Item::Sample(kind, sample));
                        let samples = std::mem::take(&mut self.withheld);
                        return Some(self.lose(samples));
                    }
                }
                Some(Item::Sample(kind, sample))
            }
        }
    }

    /// Gives up the place that the ring has left behind, and everything up to the newest sync sample.
    fn skip(&mut self) -> Option<Item> {
        let feed = Arc::clone(&self.feed);
        let ring = lock(feed.ring());
        if ring.ordinal(ring.first()) == self.ordinal {
            // Only tracks and discontinuities fell out: they are told, and no sample is lost.
            self.place(&ring, ring.first());
            return self.pending.pop();
        }
        let number = fresh_place(&ring);
        let samples = ring.ordinal(number).saturating_sub(self.ordinal) + std::mem::take(&mut self.withheld);
        self.awaits_sync = true;
        self.is_behind = true;
        self.place(&ring, number);
        Some(self.lose(samples))
    }

    /// Moves to entry `number`; what the reader must know there goes to `pending`.
    fn place(&mut self, ring: &Ring, number: u64) {
        let Situation {
            tracks,
            discontinuities,
        } = ring.situation(number);
        for track in [tracks.audio, tracks.video].into_iter().flatten() {
            let told = self.told.slot(track.kind());
            if !told.as_ref().is_some_and(|old| Arc::ptr_eq(old, &track)) {
                *told = Some(Arc::clone(&track));
                self.pending.push(Item::Track(track));
            }
        }
        if discontinuities > self.discontinuities {
            self.discontinuities = discontinuities;
            self.pending.push(Item::Discontinuity);
        }
        self.next = number;
        self.ordinal = ring.ordinal(number);
    }

    fn lose(&mut self, samples: u64) -> Item {
        self.skipped += samples;
        self.feed.count_skipped(samples);
        Item::Skipped { samples }
    }
}

/// Where a reader begins that wants the newest thing that can be shown: the last sync sample; without video the newest
/// entry; with video but no sync sample in the ring, whatever comes next.
fn fresh_place(ring: &Ring) -> u64 {
    match ring.last_sync() {
        Some(sync) => sync,
        None if ring.has_video() => ring.next(),
        None => ring.next().saturating_sub(1).max(ring.first()),
    }
}
