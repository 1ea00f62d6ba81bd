//! One connection as its core sees it: what it does now, and when it has to go.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::config::Limits;
use crate::grants::Grants;
use crate::stats::{CloseReason, Shard};

/// What one connection is doing. Written by its own core only; atomics because tasks may, in principle, move.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) peer: SocketAddr,
    pub(crate) shard: Arc<Shard>,
    /// The path tokens it has shown.
    pub(crate) grants: Grants,
    /// Bytes taken from and given to the socket.
    read_bytes: AtomicU64,
    written_bytes: AtomicU64,
    /// The last write found the socket full.
    write_blocked: AtomicBool,
    requests: AtomicU64,
    in_flight: AtomicU32,
    /// Of `in_flight`: those that wait for us and not for the peer.
    waiting: AtomicU32,
    is_h2: AtomicBool,
    /// The session last reported from here and when: see [`Connection::marks_viewer`].
    viewer_key: AtomicU64,
    viewer_marked_s: AtomicU32,
}

impl Connection {
    pub(crate) fn new(peer: SocketAddr, shard: Arc<Shard>) -> Self {
        Self {
            peer,
            shard,
            grants: Grants::default(),
            read_bytes: AtomicU64::new(0),
            written_bytes: AtomicU64::new(0),
            write_blocked: AtomicBool::new(false),
            requests: AtomicU64::new(0),
            in_flight: AtomicU32::new(0),
            waiting: AtomicU32::new(0),
            is_h2: AtomicBool::new(false),
            viewer_key: AtomicU64::new(0),
            viewer_marked_s: AtomicU32::new(0),
        }
    }

    /// A request head was read; the guard lives until its response body is done with.
    pub(crate) fn begin(self: &Arc<Self>, is_h2: bool) -> InFlight {
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        if is_h2 {
            self.is_h2.store(true, Ordering::Relaxed);
        }
        InFlight {
            connection: Arc::clone(self),
            is_waiting: false,
        }
    }

    /// The viewer's mark is due: once a second for the same viewer on the same connection.
    pub(crate) fn marks_viewer(&self, key: u64, now_s: u32) -> bool {
        if self.viewer_key.load(Ordering::Relaxed) == key
            && self.viewer_marked_s.load(Ordering::Relaxed) == now_s
        {
            return false;
        }
        self.viewer_key.store(key, Ordering::Relaxed);
        self.viewer_marked_s.store(now_s, Ordering::Relaxed);
        true
    }
}

/// One request from its head to the end of its response body.
#[derive(Debug)]
pub(crate) struct InFlight {
    connection: Arc<Connection>,
    is_waiting: bool,
}

impl InFlight {
    pub(crate) fn connection(&self) -> &Arc<Connection> {
        &self.connection
    }

    /// The request waits for us (media that does not exist yet, an API handler), not for its reader.
    pub(crate) fn set_waiting(&mut self, is_waiting: bool) {
        if self.is_waiting != is_waiting {
            self.is_waiting = is_waiting;
            if is_waiting {
                self.connection.waiting.fetch_add(1, Ordering::Relaxed);
            } else {
                self.connection.waiting.fetch_sub(1, Ordering::Relaxed);
            }
        }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.set_waiting(false);
        self.connection.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Decides, a few times in each of its limits, whether a connection may stay. Costs nothing per request.
#[derive(Debug)]
pub(crate) struct Watchdog {
    opened_at: Instant,
    idle_since: Instant,
    requests_seen: u64,
    read_at_idle: u64,
    head_since: Option<Instant>,
    window_since: Instant,
    window_written: u64,
}

impl Watchdog {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            opened_at: now,
            idle_since: now,
            requests_seen: 0,
            read_at_idle: 0,
            head_since: None,
            window_since: now,
            window_written: 0,
        }
    }

    /// How often to ask [`Watchdog::check`]: an eighth of the shortest limit, between 10 ms and 1 s.
    pub(crate) fn interval(limits: &Limits) -> Duration {
        let shortest = limits
            .head_timeout
            .min(limits.idle_timeout)
            .min(limits.progress_window);
        (shortest / 8).clamp(Duration::from_millis(10), Duration::from_secs(1))
    }

    /// The reason to close the connection now, if there is one.
    pub(crate) fn check(
        &mut self,
        now: Instant,
        connection: &Connection,
        limits: &Limits,
    ) -> Option<CloseReason> {
        let in_flight = connection.in_flight.load(Ordering::Relaxed);
        let is_blocked = connection.write_blocked.load(Ordering::Relaxed);
        let is_sending = is_blocked || in_flight > connection.waiting.load(Ordering::Relaxed);
        if self.is_stuck(
            now,
            is_sending,
            connection.written_bytes.load(Ordering::Relaxed),
            limits,
        ) {
            return Some(CloseReason::SlowReader);
        }

        let requests = connection.requests.load(Ordering::Relaxed);
        let read = connection.read_bytes.load(Ordering::Relaxed);
        if in_flight > 0 || is_blocked || requests != self.requests_seen {
            self.idle_since = now;
            self.requests_seen = requests;
            self.read_at_idle = read;
            self.head_since = None;
            return None;
        }
        if requests == 0 {
            return (now - self.opened_at >= limits.head_timeout).then_some(CloseReason::HeadTimeout);
        }
        // On HTTP/2 bytes without a request are pings and window updates.
        if read > self.read_at_idle && !connection.is_h2.load(Ordering::Relaxed) {
            let since = *self.head_since.get_or_insert(now);
            if now - since >= limits.head_timeout {
                return Some(CloseReason::HeadTimeout);
            }
        }
        (now - self.idle_since >= limits.idle_timeout).then_some(CloseReason::IdleTimeout)
    }

    fn is_stuck(&mut self, now: Instant, is_sending: bool, written: u64, limits: &Limits) -> bool {
        if is_sending && now - self.window_since < limits.progress_window {
            return false;
        }
        let is_stuck = is_sending && written - self.window_written < limits.progress_bytes_min;
        self.window_since = now;
        self.window_written = written;
        is_stuck
    }
}

/// A socket that tells its [`Connection`] what passes.
#[derive(Debug)]
pub(crate) struct Watched<S> {
    stream: S,
    connection: Arc<Connection>,
}

impl<S> Watched<S> {
    pub(crate) fn new(stream: S, connection: Arc<Connection>) -> Self {
        Self { stream, connection }
    }

    fn note_written(&self, result: &Poll<io::Result<usize>>) {
        match result {
            Poll::Ready(Ok(bytes)) => {
                self.connection
                    .written_bytes
                    .fetch_add(*bytes as u64, Ordering::Relaxed);
                self.connection.write_blocked.store(false, Ordering::Relaxed);
            }
            Poll::Pending => self.connection.write_blocked.store(true, Ordering::Relaxed),
            Poll::Ready(Err(_)) => {}
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        let bytes = buf.filled().len() - before;
        self.connection
            .read_bytes
            .fetch_add(bytes as u64, Ordering::Relaxed);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.note_written(&result);
        result
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.note_written(&result);
        result
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// What counts as one address: an IPv4 address, or the /64 that one IPv6 subscriber has. `None`: not limited (loopback).
pub(crate) fn limited_address(address: IpAddr) -> Option<IpAddr> {
    let address = address.to_canonical();
    if address.is_loopback() {
        return None;
    }
    match address {
        IpAddr::V4(_) => Some(address),
        IpAddr::V6(v6) => Some(IpAddr::from((u128::from(v6) >> 64 << 64).to_be_bytes())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::HttpStats;

    fn connection() -> Arc<Connection> {
        let peer = SocketAddr::from(([192, 0, 2, 1], 1));
        Arc::new(Connection::new(peer, Arc::clone(HttpStats::new(1).shard(0))))
    }

    fn seconds(start: Instant, seconds: u64) -> Instant {
        start + Duration::from_secs(seconds)
    }

    #[test]
    fn a_silent_connection_and_a_dripped_head_end() {
        let (limits, start, connection) = (Limits::default(), Instant::now(), connection());
        let mut dog = Watchdog::new(start);
        assert_eq!(dog.check(seconds(start, 9), &connection, &limits), None);
        assert_eq!(
            dog.check(seconds(start, 10), &connection, &limits),
            Some(CloseReason::HeadTimeout)
        );

        drop(connection.begin(false));
        let mut dog = Watchdog::new(start);
        assert_eq!(dog.check(seconds(start, 1), &connection, &limits), None);
        connection.read_bytes.fetch_add(1, Ordering::Relaxed);
        assert_eq!(dog.check(seconds(start, 2), &connection, &limits), None);
        assert_eq!(dog.check(seconds(start, 11), &connection, &limits), None);
        assert_eq!(
            dog.check(seconds(start, 12), &connection, &limits),
            Some(CloseReason::HeadTimeout)
        );
    }

    #[test]
    fn an_idle_connection_ends_and_pings_do_not_keep_it() {
        let (limits, start, connection) = (Limits::default(), Instant::now(), connection());
        let mut dog = Watchdog::new(start);
        drop(connection.begin(true));
        for second in 1..76 {
            assert_eq!(dog.check(seconds(start, second), &connection, &limits), None);
            connection.read_bytes.fetch_add(17, Ordering::Relaxed);
        }
        assert_eq!(
            dog.check(seconds(start, 76), &connection, &limits),
            Some(CloseReason::IdleTimeout)
        );
    }

    #[test]
    fn a_held_request_may_wait_and_a_slow_reader_may_not() {
        let (limits, start, connection) = (Limits::default(), Instant::now(), connection());
        let mut dog = Watchdog::new(start);
        let mut request = connection.begin(false);
        request.set_waiting(true);
        for second in 1..200 {
            assert_eq!(dog.check(seconds(start, second), &connection, &limits), None);
        }
        request.set_waiting(false);
        for second in 200..219 {
            assert_eq!(dog.check(seconds(start, second), &connection, &limits), None);
            connection.written_bytes.fetch_add(1, Ordering::Relaxed);
        }
        assert_eq!(
            dog.check(seconds(start, 219), &connection, &limits),
            Some(CloseReason::SlowReader)
        );
    }

    #[test]
    fn a_reader_that_keeps_the_minimum_stays() {
        let (limits, start, connection) = (Limits::default(), Instant::now(), connection());
        let mut dog = Watchdog::new(start);
        connection.write_blocked.store(true, Ordering::Relaxed);
        for second in 1..200 {
            connection.written_bytes.fetch_add(1_000, Ordering::Relaxed);
            assert_eq!(dog.check(seconds(start, second), &connection, &limits), None);
        }
    }

    #[test]
    fn addresses() {
        let parse = |text: &str| text.parse::<IpAddr>().unwrap();
        assert_eq!(limited_address(parse("127.0.0.1")), None);
        assert_eq!(limited_address(parse("::1")), None);
        assert_eq!(
            limited_address(parse("::ffff:192.0.2.1")),
            Some(parse("192.0.2.1"))
        );
        assert_eq!(
            limited_address(parse("2001:db8:1:2:3:4:5:6")),
            Some(parse("2001:db8:1:2::"))
        );
    }
}
