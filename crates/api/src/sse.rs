//! Event streams that one task each writes, for the few listeners with a token. (`events` serves the many without one.)

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body as AnyBody;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::header;
use http_body::{Body, Frame};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};

use crate::problem::{self, Problem};

/// Event streams of this kind that may be open at once.
const STREAMS_MAX: usize = 256;
/// A comment after this much silence keeps proxies from closing the stream.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// How many are open, and whether they have to end.
#[derive(Debug)]
pub(crate) struct Desk {
    free: Arc<Semaphore>,
    is_closed: watch::Sender<bool>,
}

/// The listener is gone, or has to go.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Gone;

/// The writing end of one event stream. It holds at most one event that was not taken.
pub(crate) struct Writer {
    events: mpsc::Sender<Bytes>,
    is_closed: watch::Receiver<bool>,
    _place: OwnedSemaphorePermit,
}

struct Reading(mpsc::Receiver<Bytes>);

impl Default for Desk {
    fn default() -> Self {
        Self {
            free: Arc::new(Semaphore::new(STREAMS_MAX)),
            is_closed: watch::Sender::new(false),
        }
    }
}

impl Desk {
    /// Answers with an event stream that `write` writes.
    pub(crate) fn open<F, Fut>(&self, write: F) -> Result<Response, Problem>
    where
        F: FnOnce(Writer) -> Fut,
        Fut: Future<Output = Result<(), Gone>> + Send + 'static,
    {
        let place = Arc::clone(&self.free)
            .try_acquire_owned()
            .map_err(|_| problem::TOO_MANY_EVENT_STREAMS)?;
        let (events, reading) = mpsc::channel(1);
        let writing = write(Writer {
            events,
            is_closed: self.is_closed.subscribe(),
            _place: place,
        });
        tokio::spawn(writing);
        let headers = [
            (header::CONTENT_TYPE, "text/event-stream"),
            (header::CACHE_CONTROL, "no-store"),
            // nginx in front would otherwise collect events before it passes them on.
            (header::HeaderName::from_static("x-accel-buffering"), "no"),
        ];
        Ok((headers, AnyBody::new(Reading(reading))).into_response())
    }

    /// Ends all of them: what is open would hold up a shutdown.
    pub(crate) fn close(&self) {
        self.is_closed.send_replace(true);
    }
}

impl Writer {
    /// Hands on text of whole events, when the one before was taken.
    pub(crate) async fn send(&mut self, text: Bytes) -> Result<(), Gone> {
        tokio::select! {
            _ = self.is_closed.wait_for(|is_closed| *is_closed) => Err(Gone),
            sent = self.events.send(text) => sent.map_err(|_| Gone),
        }
    }

    /// Waits, and keeps the connection alive meanwhile.
    pub(crate) async fn wait<T>(&mut self, what: impl Future<Output = T>) -> Result<T, Gone> {
        let mut what = std::pin::pin!(what);
        loop {
            tokio::select! {
                biased;
                done = &mut what => return Ok(done),
                _ = self.is_closed.wait_for(|is_closed| *is_closed) => return Err(Gone),
                () = self.events.closed() => return Err(Gone),
                () = tokio::time::sleep(KEEP_ALIVE) => {}
            }
            self.send(Bytes::from_static(b": keep-alive\n\n")).await?;
        }
    }
}

impl Body for Reading {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        self.0
            .poll_recv(cx)
            .map(|text| text.map(|text| Ok(Frame::data(text))))
    }
}
