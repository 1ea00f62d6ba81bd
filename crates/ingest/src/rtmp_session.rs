//! One RTMP connection from accept to close.

use std::any::Any;
use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::BytesMut;
use container::flv;
use hub::{PublishError, Publisher, PublisherInfo};
use media::Micros;
use rtmp::{Capabilities, Event, Output, PublishRequest, ServerSession, caps_ex};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_rustls::server::TlsStream;

use crate::addresses::Peer;
use crate::authorize::BAD_NAME;
use crate::rtmp_server::{LivePublisher, RtmpServer};
use crate::to_hub::{Outcome, ToHub, encoder_name};
use crate::{Authorized, CloseReason, Tls};

/// Room that a read gets: several frames of a usual stream in one call.
const READ_BYTES: usize = 16 << 10;
/// Room after a read that filled the last one: a big key frame, or a peer that sends faster than we read.
const READ_BYTES_BUSY: usize = 64 << 10;
/// With less room than this a new buffer is begun.
const READ_BYTES_MIN: usize = 4 << 10;
/// What is still read of a peer that got its last word, bytes.
const LINGER_BYTES_MAX: usize = 4 << 20;

/// What encoders that speak Enhanced RTMP are told.
const CAPABILITIES: Capabilities = Capabilities {
    video_four_ccs: flv::VIDEO_FOUR_CCS,
    audio_four_ccs: flv::AUDIO_FOUR_CCS,
    caps_ex: caps_ex::RECONNECT | caps_ex::MOD_EX,
};

/// A last word to a publisher.
#[derive(Debug)]
pub(crate) struct Farewell {
    pub(crate) reason: CloseReason,
    pub(crate) sentence: String,
    /// Dropped when the publisher has left the hub.
    pub(crate) gone: Option<oneshot::Sender<()>>,
}

/// Why a connection ended, for the counter and the log.
struct Closed {
    reason: CloseReason,
    detail: String,
}

impl Closed {
    fn new(reason: CloseReason, detail: impl Into<String>) -> Self {
        Self {
            reason,
            detail: detail.into(),
        }
    }
}

/// Runs a connection to its end. Never panics: a panic of the session ends here.
pub(crate) async fn run(server: Arc<RtmpServer>, socket: TcpStream, peer: SocketAddr, tls: Option<Tls>) {
    // Our answers are small and awaited. If it fails, the socket is dead and the first read says so.
    let _ = socket.set_nodelay(true);
    let begun = server.now();
    let end = match tls {
        None => talk(&server, socket, peer, begun, "rtmp").await,
        Some(tls) => match guarded(shake_hands(&server, socket, &tls)).await {
            Ok(Ok(stream)) => talk(&server, stream, peer, begun, "rtmps").await,
            Ok(Err(closed)) => End::of(closed),
            Err(message) => End::of(Closed::new(CloseReason::Panic, message)),
        },
    };
    server.addresses.leave(peer);
    server.stats.connections_active.fetch_sub(1, Ordering::Relaxed);
    server.stats.count_closed(end.closed.reason);
    let seconds = server.now().saturating_sub(begun) / 1_000_000;
    end.log(Peer(peer), seconds);
}

/// TLS, within the time that the RTMP handshake behind it gets too.
async fn shake_hands(
    server: &RtmpServer,
    socket: TcpStream,
    tls: &Tls,
) -> Result<TlsStream<TcpStream>, Closed> {
    let limit = Duration::from_micros(server.limits.session.handshake_timeout);
    match timeout(limit, tls.acceptor.accept(socket)).await {
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err(error)) => Err(Closed::new(CloseReason::TlsFailed, error.to_string())),
        Err(_) => Err(Closed::new(
            CloseReason::TlsFailed,
            format!("no TLS handshake within {} ms", limit.as_millis()),
        )),
    }
}

/// RTMP from its handshake to the close.
async fn talk<S: AsyncRead + AsyncWrite + Unpin>(
    server: &Arc<RtmpServer>,
    socket: S,
    peer: SocketAddr,
    begun: Micros,
    protocol: &'static str,
) -> End {
    let mut connection = Connection::new(Arc::clone(server), socket, peer, begun, protocol);
    let closed = guarded(connection.run())
        .await
        .unwrap_or_else(|message| Closed::new(CloseReason::Panic, message));
    connection.leave();
    End {
        closed,
        channel: connection.channel.take().unwrap_or_default(),
        bytes: connection.session.stats().bytes_in,
    }
}

/// What is said of a connection in the log.
struct End {
    closed: Closed,
    /// Empty if it never published.
    channel: String,
    bytes: u64,
}

impl End {
    fn of(closed: Closed) -> Self {
        Self {
            closed,
            channel: String::new(),
            bytes: 0,
        }
    }

    fn log(&self, peer: Peer, seconds: u64) {
        let (channel, bytes) = (self.channel.as_str(), self.bytes);
        let (reason, detail) = (self.closed.reason.as_str(), self.closed.detail.as_str());
        if self.closed.reason == CloseReason::Panic {
            tracing::error!(%peer, channel, reason, detail, bytes, seconds, "RTMP session failed; this is a bug in Tidewire");
        } else if channel.is_empty() {
            // Scanners and strangers come by all day.
            tracing::debug!(%peer, reason, detail, bytes, seconds, "RTMP connection closed");
        } else {
            tracing::info!(%peer, channel, reason, detail, bytes, seconds, "RTMP publisher gone");
        }
    }
}

/// The future's result, or the message of its panic.
async fn guarded<F: Future>(future: F) -> Result<F::Output, String> {
    let mut future = pin!(future);
    poll_fn(|context| {
        catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(context))).map_or_else(
            |panic| std::task::Poll::Ready(Err(panic_message(&*panic))),
            |poll| poll.map(Ok),
        )
    })
    .await
}

fn panic_message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "panic".to_owned())
}

struct Connection<S> {
    server: Arc<RtmpServer>,
    socket: S,
    peer: SocketAddr,
    /// `rtmp` or `rtmps`.
    protocol: &'static str,
    session: ServerSession,
    input: BytesMut,
    output: BytesMut,
    read_bytes: usize,
    /// The peer takes no more bytes.
    is_deaf: bool,
    to_hub: Option<ToHub>,
    live: Option<LivePublisher>,
    farewell: Option<oneshot::Receiver<Farewell>>,
    /// Dropped by [`leave`](Self::leave): someone waits for it.
    gone: Option<oneshot::Sender<()>>,
    last_input_at: Arc<AtomicU64>,
    /// The channel last published to.
    channel: Option<String>,
    /// Set when the session says something final; the close follows.
    closing: Option<Closed>,
}

/// What a connection waits for.
enum Wake {
    Read(std::io::Result<usize>),
    Timeout,
    Drain,
    Farewell(Option<Farewell>),
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    fn new(
        server: Arc<RtmpServer>,
        socket: S,
        peer: SocketAddr,
        now: Micros,
        protocol: &'static str,
    ) -> Self {
        let mut session = ServerSession::new(server.limits.session.clone(), server.next_seed(), now);
        session.set_capabilities(CAPABILITIES);
        Self {
            server,
            socket,
            peer,
            protocol,
            session,
            input: BytesMut::new(),
            output: BytesMut::new(),
            read_bytes: READ_BYTES,
            is_deaf: false,
            to_hub: None,
            live: None,
            farewell: None,
            gone: None,
            last_input_at: Arc::new(AtomicU64::new(now)),
            channel: None,
            closing: None,
        }
    }

    async fn run(&mut self) -> Closed {
        let server = Arc::clone(&self.server);
        let mut draining = server.draining();
        let mut drained = pin!(draining.wait_for(|is_draining| *is_draining));
        let clock = server.clock;
        let mut armed_for = self.session.poll_timeout().unwrap_or_default();
        let mut timer = pin!(sleep_until(Instant::from_std(clock.instant(armed_for))));
        loop {
            if let Err(closed) = self.settle().await {
                return self.close(closed).await;
            }
            // The deadline mostly moves away: then the timer fires early once, and is set anew. Only a nearer one
            // has to be set at once.
            if let Some(deadline) = self.session.poll_timeout()
                && (deadline < armed_for || timer.is_elapsed())
            {
                armed_for = deadline;
                timer.as_mut().reset(Instant::from_std(clock.instant(deadline)));
            }
            self.make_room();
            // Reading comes last: from a peer that sends without a pause there is always something to read.
            let wake = tokio::select! {
                biased;
                farewell = farewell(&mut self.farewell) => Wake::Farewell(farewell),
                _ = drained.as_mut() => Wake::Drain,
                () = timer.as_mut() => Wake::Timeout,
                read = self.socket.read_buf(&mut self.input) => Wake::Read(read),
            };
            if let Err(closed) = self.wake(wake) {
                return self.close(closed).await;
            }
        }
    }

    /// Room for the next read.
    fn make_room(&mut self) {
        if self.input.capacity() - self.input.len() < READ_BYTES_MIN {
            self.input.reserve(self.read_bytes);
        }
    }

    fn wake(&mut self, wake: Wake) -> Result<(), Closed> {
        let now = self.server.now();
        match wake {
            Wake::Read(Ok(0)) => return Err(self.hung_up()),
            Wake::Read(Err(error)) if is_hang_up(&error) => return Err(self.hung_up()),
            Wake::Read(Err(error)) => return Err(Closed::new(CloseReason::Io, error.to_string())),
            Wake::Read(Ok(count)) => {
                let was_filled = self.input.len() == self.input.capacity();
                self.read_bytes = if was_filled { READ_BYTES_BUSY } else { READ_BYTES };
                self.server
                    .stats
                    .bytes_in
                    .fetch_add(count as u64, Ordering::Relaxed);
                self.last_input_at.store(now, Ordering::Relaxed);
                self.session
                    .handle_input(&mut self.input, now)
                    .or_else(|error| self.failed(&error))?;
            }
            Wake::Timeout => self
                .session
                .handle_timeout(now)
                .or_else(|error| self.failed(&error))?,
            Wake::Drain => {
                let sentence = "The server is restarting: connect again in a moment.";
                self.session.request_reconnect(sentence);
                self.say_goodbye(CloseReason::Draining, sentence);
            }
            Wake::Farewell(farewell) => {
                self.farewell = None;
                if let Some(Farewell {
                    reason,
                    sentence,
                    gone,
                }) = farewell
                {
                    self.gone = gone;
                    if reason == CloseReason::Disconnected
                        && let Some(to_hub) = self.to_hub.take()
                    {
                        to_hub.withdraw();
                    }
                    self.say_goodbye(reason, &sentence);
                }
            }
        }
        Ok(())
    }

    /// Notes the failure; what the session had to say before it is still handed on.
    fn failed(&mut self, error: &rtmp::Error) -> Result<(), Closed> {
        self.closing
            .get_or_insert_with(|| Closed::new(CloseReason::Protocol(error.reason()), error.to_string()));
        Ok(())
    }

    fn say_goodbye(&mut self, reason: CloseReason, sentence: &str) {
        self.session
            .close_with("status", "NetStream.Unpublish.Success", sentence);
        self.closing.get_or_insert_with(|| Closed::new(reason, sentence));
    }

    fn hung_up(&self) -> Closed {
        let reason = match (&self.channel, self.session.is_publishing()) {
            (_, true) => CloseReason::ConnectionLost,
            (Some(_), false) => CloseReason::Unpublished,
            (None, false) => CloseReason::LeftEarly,
        };
        Closed::new(reason, "")
    }

    /// Does all that the session wants, until it waits. An error closes the connection.
    async fn settle(&mut self) -> Result<(), Closed> {
        while let Some(output) = self.session.poll_output() {
            match output {
                Output::Send(bytes) => self.output.extend_from_slice(&bytes),
                Output::Event(Event::Media {
                    kind,
                    timestamp_ms,
                    body,
                }) => {
                    self.media(kind, timestamp_ms, &body);
                }
                Output::Event(Event::Metadata(properties)) => {
                    if let Some(to_hub) = &mut self.to_hub {
                        to_hub.metadata(&properties);
                    }
                }
                Output::Event(Event::PublishRequested(request)) => {
                    // Answers so far go out before the authorizer is waited for.
                    self.flush().await?;
                    self.decide(request).await;
                    // The session has left its input alone meanwhile.
                    let now = self.server.now();
                    self.session
                        .handle_input(&mut self.input, now)
                        .or_else(|error| self.failed(&error))?;
                }
                Output::Event(Event::Unpublished) => self.unpublished(),
                Output::Event(Event::PlayRefused) => {
                    self.closing
                        .get_or_insert_with(|| Closed::new(CloseReason::PlayRefused, ""));
                }
                Output::Event(_) => {}
                Output::Close => {
                    self.flush().await?;
                    self.linger().await;
                    let closing = self.closing.take();
                    return Err(closing.unwrap_or_else(|| Closed::new(CloseReason::LeftEarly, "")));
                }
            }
        }
        self.flush().await?;
        self.closing.take().map_or(Ok(()), Err)
    }

    async fn flush(&mut self) -> Result<(), Closed> {
        if self.is_deaf {
            self.output.clear();
        }
        if self.output.is_empty() {
            return Ok(());
        }
        let written = timeout(self.server.limits.write_timeout, async {
            self.socket.write_all(&self.output).await?;
            // TLS holds back what the socket did not take.
            self.socket.flush().await
        })
        .await;
        self.output.clear();
        match written {
            Ok(Ok(())) => Ok(()),
            // Encoders hang up without reading our last answers. What they sent before is still to be read.
            Ok(Err(error)) if is_hang_up(&error) => {
                self.is_deaf = true;
                Ok(())
            }
            Ok(Err(error)) => Err(Closed::new(CloseReason::Io, error.to_string())),
            Err(_) => Err(Closed::new(CloseReason::WriteTimeout, "the peer does not read")),
        }
    }

    fn media(&mut self, kind: media::MediaKind, timestamp_ms: i64, body: &bytes::Bytes) {
        // What came in the same read as the reason to close is not looked at.
        if self.closing.is_some() {
            return;
        }
        let Some(to_hub) = &mut self.to_hub else { return };
        let now = self.server.now();
        let outcome = to_hub.tag(kind, timestamp_ms, body, now, &self.server.stats);
        if let Outcome::UnsupportedVideo(codec) = outcome {
            let sentence = format!(
                "This server takes H.264, HEVC and AV1 video over RTMP; the encoder sends {codec}. Set H.264."
            );
            self.refuse(
                CloseReason::UnsupportedCodec,
                "NetStream.Publish.Failed",
                &sentence,
            );
        } else if to_hub.is_over() {
            let sentence = "The stream has failed on the server: connect again.";
            self.refuse(CloseReason::StreamOver, "NetStream.Publish.Failed", sentence);
        } else if to_hub.bad_in_row() > self.server.limits.bad_tags_max {
            let sentence = format!(
                "{} audio and video tags in a row cannot be read.",
                to_hub.bad_in_row()
            );
            self.refuse(CloseReason::BadMedia, "NetStream.Publish.Failed", &sentence);
        }
    }

    /// Answers a publish request.
    async fn decide(&mut self, request: PublishRequest) {
        let server = Arc::clone(&self.server);
        if server.addresses.is_throttled(self.peer, server.now()) {
            let sentence = "Too many wrong stream keys came from your address: wait a minute.";
            return self.refuse(CloseReason::Throttled, BAD_NAME, sentence);
        }
        let asked = server
            .authorizer
            .authorize_publish(&request.stream_key, &request.app, self.peer);
        let authorized = match timeout(server.limits.authorize_timeout, asked).await {
            Ok(Ok(authorized)) => authorized,
            Ok(Err(refusal)) => {
                let reason = if refusal.is_failed_key {
                    server.addresses.failed_key(self.peer, server.now());
                    CloseReason::WrongKey
                } else {
                    CloseReason::AuthorizerFailed
                };
                return self.refuse(reason, &refusal.code, &refusal.sentence);
            }
            Err(_) => {
                let sentence = "The server could not check the stream key in time: try again.";
                return self.refuse(
                    CloseReason::AuthorizerFailed,
                    "NetStream.Publish.Failed",
                    sentence,
                );
            }
        };
        let is_backup = is_backup(&request.query);
        match self.open(&authorized, &request.flash_version, is_backup).await {
            Ok(publisher) => self.accept(publisher, authorized, is_backup),
            Err(error) => {
                let reason = match error {
                    PublishError::AlreadyLive { .. } => CloseReason::AlreadyLive,
                    PublishError::Draining => CloseReason::Draining,
                    _ => CloseReason::ServerFull,
                };
                self.refuse(reason, BAD_NAME, &sentence(&error.to_string()));
            }
        }
    }

    /// Opens the channel in the hub; a publisher there that is silent for long gives way.
    async fn open(
        &self,
        authorized: &Authorized,
        flash_version: &str,
        is_backup: bool,
    ) -> Result<Publisher, PublishError> {
        let channel = authorized.channel.as_str();
        let encoder = Some(encoder_name(flash_version)).filter(|name| !name.is_empty());
        let info = PublisherInfo {
            owner: authorized.channel_id.clone(),
            protocol: self.protocol,
            peer: Peer(self.peer).to_string(),
            encoder,
            is_backup,
        };
        let server = &self.server;
        let first = server.registry.publish(channel, info.clone(), server.now());
        if !matches!(first, Err(PublishError::AlreadyLive { .. })) {
            return first;
        }
        let Some(gone) = server.replace_stale(channel, is_backup) else {
            return first;
        };
        // It resolves to an error, when the other has gone.
        let _ = timeout(server.limits.write_timeout, gone).await;
        server.registry.publish(channel, info, server.now())
    }

    fn accept(&mut self, publisher: Publisher, authorized: Authorized, is_backup: bool) {
        let server = &self.server;
        let now = server.now();
        let Authorized { channel, key_id, .. } = authorized;
        let stream = publisher.stream().id().to_owned();
        let peer = Peer(self.peer);
        let encoder = publisher.info().encoder.as_deref().unwrap_or_default();
        let protocol = self.protocol;
        tracing::info!(%peer, protocol, channel, stream, encoder, is_backup, "RTMP publisher accepted");
        let live = LivePublisher {
            channel: channel.clone(),
            key_id,
            peer,
            is_backup,
        };
        self.last_input_at.store(now, Ordering::Relaxed);
        self.farewell = Some(server.enter_live(live.clone(), Arc::clone(&self.last_input_at)));
        self.live = Some(live);
        self.channel = Some(channel);
        self.to_hub = Some(ToHub::new(publisher));
        server.stats.publishes.fetch_add(1, Ordering::Relaxed);
        server.stats.publishers_active.fetch_add(1, Ordering::Relaxed);
        self.session.accept_publish(now);
    }

    fn refuse(&mut self, reason: CloseReason, code: &str, sentence: &str) {
        self.closing.get_or_insert_with(|| Closed::new(reason, sentence));
        self.session.reject_publish(code, sentence);
    }

    /// The peer ended its stream in good order.
    fn unpublished(&mut self) {
        let to_hub = self.to_hub.take();
        self.leave();
        if let Some(to_hub) = to_hub {
            to_hub.finish(self.server.now());
        }
    }

    /// Nothing is published any more; a stream that did not end in good order may come back.
    fn leave(&mut self) {
        self.to_hub = None;
        self.farewell = None;
        self.gone = None;
        if let Some(live) = self.live.take() {
            self.server.leave_live(&live);
            self.server
                .stats
                .publishers_active
                .fetch_sub(1, Ordering::Relaxed);
        }
    }

    async fn close(&mut self, closed: Closed) -> Closed {
        // The hub should know at once, not after the socket's farewell.
        self.leave();
        let _ = timeout(self.server.limits.linger, self.socket.shutdown()).await;
        closed
    }

    /// Waits until the peer has taken the last word: closing while its bytes are unread would reset the connection
    /// and throw that word away.
    async fn linger(&mut self) {
        self.leave();
        let limit = self.server.limits.linger;
        let _ = timeout(limit, async {
            let _ = self.socket.shutdown().await;
            let mut total = 0;
            while total < LINGER_BYTES_MAX {
                self.input.clear();
                self.input.reserve(READ_BYTES);
                match self.socket.read_buf(&mut self.input).await {
                    Ok(0) | Err(_) => return,
                    Ok(count) => total += count,
                }
            }
        })
        .await;
    }
}

/// The last word, when there is one; waits for ever if nothing is published.
async fn farewell(receiver: &mut Option<oneshot::Receiver<Farewell>>) -> Option<Farewell> {
    match receiver {
        Some(receiver) => Pin::new(receiver).await.ok(),
        None => std::future::pending().await,
    }
}

/// The error says that the peer closed, in its own way.
fn is_hang_up(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset};
    matches!(error.kind(), ConnectionReset | BrokenPipe | ConnectionAborted)
}

/// `KEY?backup=1`: this encoder stands by for the channel's primary.
fn is_backup(query: &str) -> bool {
    query
        .split('&')
        .any(|pair| matches!(pair, "backup=1" | "backup=true" | "backup"))
}

/// With a capital and a full stop.
fn sentence(text: &str) -> String {
    let mut characters = text.chars();
    let first = characters
        .next()
        .map(|first| first.to_uppercase().to_string())
        .unwrap_or_default();
    format!("{first}{}.", characters.as_str())
}
