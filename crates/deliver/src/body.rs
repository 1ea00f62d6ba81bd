//! Response bodies: shared bytes, several of them, or a segment while it is being made.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use event_listener::EventListener;
use http_body::{Frame, SizeHint};
use package::{Answer, RenditionLog, SegmentBody};
use store::{ObjectReader, StoreError};
use tokio::time::Sleep;

use crate::connection::InFlight;
use crate::stats::Class;

/// A response body, with the guard that tells its connection when it is over.
pub(crate) struct Body {
    kind: Kind,
    class: Class,
    guard: Option<InFlight>,
}

pub(crate) enum Kind {
    Empty,
    Full(Bytes),
    /// Bytes in order and their sum.
    Parts(std::vec::IntoIter<Bytes>, u64),
    Follow(Box<Follow>),
    /// From the store, piece by piece.
    Stored(Box<Stored>),
    /// From the API router.
    Routed(axum::body::Body),
}

/// Why a body broke off.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BodyError {
    #[error("the segment stopped growing")]
    Late,
    #[error("the segment left the window while it was sent")]
    Gone,
    #[error("panic while the body was made")]
    Panic,
    #[error(transparent)]
    Routed(#[from] axum::Error),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Body {
    pub(crate) fn new(kind: Kind, class: Class) -> Self {
        Self {
            kind,
            class,
            guard: None,
        }
    }

    pub(crate) fn empty() -> Self {
        Self::new(Kind::Empty, Class::Other)
    }

    pub(crate) fn attach(&mut self, class: Class, guard: InFlight) {
        self.class = class;
        self.guard = Some(guard);
    }

    /// Bytes in it, if that is known already.
    pub(crate) fn length(&self) -> Option<u64> {
        match &self.kind {
            Kind::Empty => Some(0),
            Kind::Full(bytes) => Some(bytes.len() as u64),
            Kind::Parts(_, left) => Some(*left),
            Kind::Follow(_) => None,
            Kind::Stored(stored) => Some(stored.left),
            Kind::Routed(body) => http_body::Body::size_hint(body).exact(),
        }
    }

    fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match &mut self.kind {
            Kind::Empty => Poll::Ready(None),
            Kind::Full(bytes) => {
                let bytes = std::mem::take(bytes);
                self.kind = Kind::Empty;
                Poll::Ready((!bytes.is_empty()).then(|| Ok(Frame::data(bytes))))
            }
            Kind::Parts(parts, left) => {
                let next = parts.next();
                *left -= next.as_ref().map_or(0, |bytes| bytes.len() as u64);
                Poll::Ready(next.map(|bytes| Ok(Frame::data(bytes))))
            }
            Kind::Follow(follow) => catch_unwind(AssertUnwindSafe(|| follow.poll_next(cx)))
                .unwrap_or(Poll::Ready(Some(Err(BodyError::Panic))))
                .map(|next| next.map(|bytes| bytes.map(Frame::data))),
            Kind::Stored(stored) => stored
                .poll_next(cx)
                .map(|next| next.map(|bytes| bytes.map(Frame::data))),
            Kind::Routed(body) => catch_unwind(AssertUnwindSafe(|| {
                http_body::Body::poll_frame(Pin::new(body), cx)
            }))
            .map(|next| next.map(|next| next.map(|frame| frame.map_err(BodyError::Routed))))
            .unwrap_or(Poll::Ready(Some(Err(BodyError::Panic)))),
        }
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let polled = self.poll_data(cx);
        let class = self.class;
        if let Some(guard) = &mut self.guard {
            let shard = &guard.connection().shard;
            match &polled {
                Poll::Ready(Some(Ok(frame))) => {
                    shard.body_bytes(class, frame.data_ref().map_or(0, |bytes| bytes.len() as u64));
                }
                Poll::Ready(Some(Err(BodyError::Panic))) => {
                    shard.panicked();
                    tracing::error!(class = class.as_str(), "panic while a response body was made");
                }
                _ => {}
            }
            guard.set_waiting(polled.is_pending());
        }
        if let Poll::Ready(None | Some(Err(_))) = polled {
            self.guard = None;
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Empty => true,
            Kind::Full(bytes) => bytes.is_empty(),
            Kind::Parts(_, left) => *left == 0,
            Kind::Follow(_) => false,
            Kind::Stored(stored) => stored.left == 0,
            Kind::Routed(body) => http_body::Body::is_end_stream(body),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Routed(body) => http_body::Body::size_hint(body),
            _ => self.length().map_or_else(SizeHint::default, SizeHint::with_exact),
        }
    }
}

/// A segment in progress: what exists, then every part the moment it does. Holds references to parts only, and takes
/// the next ones when its reader has taken the last.
pub(crate) struct Follow {
    log: Arc<RenditionLog>,
    msn: u64,
    seen: usize,
    queue: std::vec::IntoIter<Bytes>,
    is_complete: bool,
    waits: Option<(EventListener, Pin<Box<Sleep>>)>,
    patience: Duration,
}

impl Follow {
    /// `first`: the answer to `log.segment(msn)`. `patience`: how long the next part may take.
    pub(crate) fn new(log: Arc<RenditionLog>, msn: u64, first: SegmentBody, patience: Duration) -> Self {
        let mut follow = Self {
            log,
            msn,
            seen: 0,
            queue: Vec::new().into_iter(),
            is_complete: false,
            waits: None,
            patience,
        };
        follow.take(first);
        follow
    }

    fn take(&mut self, more: SegmentBody) {
        self.seen += more.parts.len();
        self.is_complete = more.complete;
        self.queue = more.parts.into_iter();
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, BodyError>>> {
        loop {
            if let Some(bytes) = self.queue.next() {
                return Poll::Ready(Some(Ok(bytes)));
            }
            if self.is_complete {
                return Poll::Ready(None);
            }
            if let Some((listener, deadline)) = &mut self.waits {
                if Pin::new(listener).poll(cx).is_pending() {
                    return match deadline.as_mut().poll(cx) {
                        Poll::Ready(()) => Poll::Ready(Some(Err(BodyError::Late))),
                        Poll::Pending => Poll::Pending,
                    };
                }
                self.waits = None;
            }
            match self.log.segment_after(self.msn, self.seen) {
                Answer::Ready(more) => self.take(more),
                Answer::Wait(listener) => {
                    self.waits = Some((listener, Box::pin(tokio::time::sleep(self.patience))))
                }
                // The stream ended, or the segment became a gap: what was sent is what there is.
                Answer::Unknown => return Poll::Ready(None),
                Answer::Expired | Answer::TooFarAhead => return Poll::Ready(Some(Err(BodyError::Gone))),
            }
        }
    }
}

/// Bytes read from the store at once: a slow viewer holds two pieces at most.
const PIECE_BYTES: u64 = 256 << 10;

type Reading = Pin<Box<dyn Future<Output = Result<Bytes, StoreError>> + Send>>;

/// A part of an object of the store. The next piece is read when the last one was taken.
pub(crate) struct Stored {
    reader: ObjectReader,
    ready: Option<Bytes>,
    reading: Option<Reading>,
    /// Where the next piece begins.
    at: u64,
    end: u64,
    /// Bytes that were not handed out yet.
    left: u64,
}

impl Stored {
    /// Bytes `start..end` of an object, which lie inside; the first piece is read.
    pub(crate) async fn begin(reader: ObjectReader, start: u64, end: u64) -> Result<Self, StoreError> {
        let length = (end - start).min(PIECE_BYTES);
        let first = reader.read(start, length as usize).await?;
        Ok(Self {
            reader,
            ready: Some(first).filter(|first| !first.is_empty()),
            reading: None,
            at: start + length,
            end,
            left: end - start,
        })
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, BodyError>>> {
        if let Some(bytes) = self.ready.take() {
            self.left -= bytes.len() as u64;
            return Poll::Ready(Some(Ok(bytes)));
        }
        if self.left == 0 {
            return Poll::Ready(None);
        }
        let reading = self.reading.get_or_insert_with(|| {
            let (reader, start) = (self.reader.clone(), self.at);
            let length = (self.end - self.at).min(PIECE_BYTES);
            self.at += length;
            Box::pin(async move { reader.read(start, length as usize).await })
        });
        let read = match reading.as_mut().poll(cx) {
            Poll::Ready(read) => read,
            Poll::Pending => return Poll::Pending,
        };
        self.reading = None;
        if let Ok(bytes) = &read {
            self.left -= bytes.len() as u64;
        }
        Poll::Ready(Some(read.map_err(BodyError::Store)))
    }
}
