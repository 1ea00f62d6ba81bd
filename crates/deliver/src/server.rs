//! Listeners on every core, admission of connections, and the end of all of it.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener as StdListener};
use std::path::PathBuf;
use std::pin::pin;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::{Duration, Instant};

use axum::Router;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

use crate::config::{Limits, ServerConfig};
use crate::connection::{Connection, Watchdog, Watched, limited_address};
use crate::cores::{Cores, Shutdown};
use crate::headers::CacheHeaders;
use crate::service::{self, CoreState};
use crate::stats::{CloseReason, HttpStats};
use crate::streams::Streams;
use crate::tls;
use crate::viewers::Viewers;

/// Connections waiting in the kernel for each listener.
const BACKLOG: i32 = 4096;
/// Pause after a failed `accept`, such as for want of file descriptors.
const ACCEPT_RETRY: Duration = Duration::from_millis(50);

/// Why the server could not start.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The address is taken, forbidden or not ours.
    #[error(
        "cannot listen on {address}: {source}; choose another address, or stop what holds it (`ss -ltnp` shows it)"
    )]
    Listen {
        /// As configured.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// `https` without certificate files.
    #[error(
        "an https address is configured without a certificate: give both the certificate and the key file"
    )]
    NoCertificate,
    /// A certificate or key file that cannot be used.
    #[error("cannot use {path}: {reason}", path = path.display())]
    Certificate {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
}

/// Counters shared with the metrics; made before the server, as pages and metrics are given to it.
#[derive(Clone, Debug)]
pub struct Counters {
    /// Requests and connections.
    pub http: Arc<HttpStats>,
    /// Viewers by channel.
    pub viewers: Arc<Viewers>,
}

impl Counters {
    /// Counters for a server on `cores` cores.
    pub fn new(cores: usize, limits: &Limits) -> Self {
        Self {
            http: Arc::new(HttpStats::new(cores)),
            viewers: Arc::new(Viewers::new(limits.sessions_max)),
        }
    }
}

/// A running HTTP server.
#[derive(Debug)]
pub struct Server {
    http: Vec<SocketAddr>,
    https: Vec<SocketAddr>,
    shutdown: Shutdown,
    admission: Arc<Admission>,
    drain_timeout: Duration,
    tasks: Vec<JoinHandle<()>>,
}

impl Server {
    /// Listens on every address from every core and begins to serve.
    ///
    /// Paths under `/live/` are media; everything else goes to `fallback`, with the peer's [`SocketAddr`] as a request
    /// extension and the request's id in the header `x-request-id`. A token in front of a path is taken off; `fallback`
    /// finds the `Arc<access::Grant>` among the extensions then.
    ///
    /// # Errors
    /// An address or a certificate cannot be used; nothing is left running then.
    pub fn start(
        config: ServerConfig,
        cores: &Cores,
        streams: Arc<dyn Streams>,
        fallback: Router,
        counters: &Counters,
    ) -> Result<Self, ServerError> {
        let acceptor = match (&config.tls, config.https.is_empty()) {
            (_, true) => None,
            (None, false) => return Err(ServerError::NoCertificate),
            (Some(files), false) => Some(tls::acceptor(files)?),
        };
        let http = listeners(&config.http, cores.len())?;
        let https = listeners(&config.https, cores.len())?;
        let shutdown = Shutdown::new();
        let shared = Arc::new(Shared {
            admission: Arc::new(Admission::default()),
            cache: CacheHeaders::new(&config.timing),
            limits: config.limits,
            timing: config.timing,
            started: Instant::now(),
            streams,
            keys: config.keys,
            viewers: Arc::clone(&counters.viewers),
        });
        let mut server = Self {
            http: http.iter().map(|(address, _)| *address).collect(),
            https: https.iter().map(|(address, _)| *address).collect(),
            shutdown: shutdown.clone(),
            admission: Arc::clone(&shared.admission),
            drain_timeout: shared.limits.drain_timeout,
            tasks: Vec::new(),
        };
        let mut sockets: Vec<Vec<(StdListener, Option<TlsAcceptor>)>> =
            (0..cores.len()).map(|_| Vec::new()).collect();
        let secured = https
            .into_iter()
            .map(|(_, per_core)| (per_core, acceptor.clone()));
        for (per_core, acceptor) in http
            .into_iter()
            .map(|(_, per_core)| (per_core, None))
            .chain(secured)
        {
            for (core, socket) in per_core.into_iter().enumerate() {
                sockets[core].push((socket, acceptor.clone()));
            }
        }
        for (index, sockets) in sockets.into_iter().enumerate() {
            let core = Arc::new(CoreState::new(
                Arc::clone(&shared),
                Arc::clone(counters.http.shard(index)),
                fallback.clone(),
            ));
            server
                .tasks
                .push(cores.spawn_on(index, serve_core(core, sockets, shutdown.clone(), index == 0)));
        }
        Ok(server)
    }

    /// Cleartext addresses, with the ports that were chosen for port 0.
    pub fn http_addresses(&self) -> &[SocketAddr] {
        &self.http
    }

    /// TLS addresses, with the ports that were chosen for port 0.
    pub fn https_addresses(&self) -> &[SocketAddr] {
        &self.https
    }

    /// Connections open now.
    pub fn open_connections(&self) -> u32 {
        self.admission.open.load(Ordering::Relaxed)
    }

    /// Stops accepting, answers held requests with 503, lets responses end and returns within `drain_timeout` and a
    /// little.
    pub async fn stop(self) {
        self.shutdown.trigger();
        for task in self.tasks {
            let _ = tokio::time::timeout(self.drain_timeout + Duration::from_secs(1), task).await;
        }
    }
}

/// What all cores share.
pub(crate) struct Shared {
    pub(crate) admission: Arc<Admission>,
    pub(crate) cache: CacheHeaders,
    pub(crate) limits: Limits,
    pub(crate) timing: crate::config::Timing,
    pub(crate) started: Instant,
    pub(crate) streams: Arc<dyn Streams>,
    pub(crate) keys: Arc<access::KeyRing>,
    pub(crate) viewers: Arc<Viewers>,
}

/// Who may open a connection.
#[derive(Debug, Default)]
pub(crate) struct Admission {
    open: AtomicU32,
    by_address: Mutex<HashMap<IpAddr, u32>>,
}

/// A connection's place; gives it back when dropped.
#[derive(Debug)]
struct Place {
    admission: Arc<Admission>,
    address: Option<IpAddr>,
}

impl Admission {
    fn admit(self: &Arc<Self>, address: IpAddr, limits: &Limits) -> Result<Place, CloseReason> {
        if self.open.fetch_add(1, Ordering::Relaxed) >= limits.connections_max {
            self.open.fetch_sub(1, Ordering::Relaxed);
            return Err(CloseReason::TooMany);
        }
        let mut place = Place {
            admission: Arc::clone(self),
            address: None,
        };
        if let Some(address) = limited_address(address) {
            let mut by_address = self.by_address.lock().unwrap_or_else(PoisonError::into_inner);
            let open = by_address.entry(address).or_default();
            if *open >= limits.connections_per_address_max {
                drop(by_address);
                return Err(CloseReason::TooManyFromAddress);
            }
            *open += 1;
            place.address = Some(address);
        }
        Ok(place)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.admission.open.fetch_sub(1, Ordering::Relaxed);
        let Some(address) = self.address else { return };
        let mut by_address = self
            .admission
            .by_address
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(open) = by_address.get_mut(&address) {
            *open -= 1;
            if *open == 0 {
                by_address.remove(&address);
            }
        }
    }
}

/// For each address: the address as bound, and one listening socket for each core.
fn listeners(
    addresses: &[SocketAddr],
    cores: usize,
) -> Result<Vec<(SocketAddr, Vec<StdListener>)>, ServerError> {
    let listen = |address: SocketAddr| -> io::Result<(SocketAddr, Vec<StdListener>)> {
        // SO_REUSEPORT would let a second server of the same user share the port in silence: look first.
        let probe = socket(address)?;
        probe.bind(&address.into())?;
        let bound = probe.local_addr()?.as_socket().unwrap_or(address);
        drop(probe);
        let per_core = (0..cores).map(|_| {
            let socket = socket(bound)?;
            socket.set_reuse_port(true)?;
            socket.bind(&bound.into())?;
            socket.listen(BACKLOG)?;
            Ok(StdListener::from(socket))
        });
        Ok((bound, per_core.collect::<io::Result<_>>()?))
    };
    addresses
        .iter()
        .map(|address| {
            listen(*address).map_err(|source| ServerError::Listen {
                address: *address,
                source,
            })
        })
        .collect()
}

fn socket(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

async fn serve_core(
    core: Arc<CoreState>,
    sockets: Vec<(StdListener, Option<TlsAcceptor>)>,
    shutdown: Shutdown,
    sweeps_viewers: bool,
) {
    let open = Arc::new(OpenTasks::default());
    let accepting: Vec<_> = sockets
        .into_iter()
        .filter_map(|(socket, acceptor)| match TcpListener::from_std(socket) {
            Ok(listener) => Some(tokio::spawn(accept(
                Arc::clone(&core),
                listener,
                acceptor,
                Arc::clone(&open),
            ))),
            Err(error) => {
                tracing::error!(%error, "a listener could not be registered");
                None
            }
        })
        .collect();
    let sweeper = sweeps_viewers.then(|| tokio::spawn(sweep_viewers(Arc::clone(&core))));
    shutdown.triggered().await;
    for task in accepting {
        task.abort();
    }
    core.begin_drain();
    let _ = tokio::time::timeout(core.shared.limits.drain_timeout, open.none()).await;
    core.cut();
    let _ = tokio::time::timeout(Duration::from_millis(500), open.none()).await;
    if let Some(sweeper) = sweeper {
        sweeper.abort();
    }
}

/// Once a second: the count of viewer sessions.
async fn sweep_viewers(core: Arc<CoreState>) {
    let mut interval = tokio::time::interval(Duration::from_secs(1));
    loop {
        interval.tick().await;
        core.shared.viewers.sweep(core.now_s());
    }
}

async fn accept(
    core: Arc<CoreState>,
    listener: TcpListener,
    acceptor: Option<TlsAcceptor>,
    open: Arc<OpenTasks>,
) {
    loop {
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                core.shard.accept_failed();
                tracing::debug!(%error, "accept failed");
                tokio::time::sleep(ACCEPT_RETRY).await;
                continue;
            }
        };
        let place = match core.shared.admission.admit(peer.ip(), &core.shared.limits) {
            Ok(place) => place,
            Err(reason) => {
                core.shard.refused(reason);
                if acceptor.is_none() {
                    refuse(&stream);
                }
                continue;
            }
        };
        // Parts are whole when they are written; waiting for more would only add latency.
        let _ = stream.set_nodelay(true);
        let _ = SockRef::from(&stream).set_tcp_notsent_lowat(core.shared.limits.unsent_bytes_max);
        core.shard.accepted();
        let closing = Closing {
            core: Arc::clone(&core),
            reason: CloseReason::Panic,
            _place: place,
            _open: OpenTask::new(&open),
        };
        tokio::spawn(serve(Arc::clone(&core), stream, peer, acceptor.clone(), closing));
    }
}

/// Says in HTTP why the connection ends. What does not fit into an empty socket buffer at once is not said.
fn refuse(stream: &TcpStream) {
    const ANSWER: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nconnection: close\r\ncontent-length: 0\r\nretry-after: 5\r\n\r\n";
    let _ = stream.try_write(ANSWER);
}

/// Counts the end of a connection whatever it was: a panic leaves `reason` as it is made.
struct Closing {
    core: Arc<CoreState>,
    reason: CloseReason,
    _place: Place,
    _open: OpenTask,
}

impl Drop for Closing {
    fn drop(&mut self) {
        if self.reason == CloseReason::Panic {
            self.core.shard.panicked();
        }
        self.core.shard.closed(self.reason);
    }
}

async fn serve(
    core: Arc<CoreState>,
    stream: TcpStream,
    peer: SocketAddr,
    acceptor: Option<TlsAcceptor>,
    mut closing: Closing,
) {
    let connection = Arc::new(Connection::new(peer, Arc::clone(&core.shard)));
    closing.reason = match acceptor {
        None => serve_stream(&core, &connection, stream).await,
        Some(acceptor) => {
            match tokio::time::timeout(core.shared.limits.handshake_timeout, acceptor.accept(stream)).await {
                Err(_) => CloseReason::HandshakeTimeout,
                Ok(Err(_)) => CloseReason::HandshakeFailed,
                Ok(Ok(stream)) => serve_stream(&core, &connection, stream).await,
            }
        }
    };
}

async fn serve_stream<S>(core: &Arc<CoreState>, connection: &Arc<Connection>, stream: S) -> CloseReason
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let limits = &core.shared.limits;
    let builder = builder(limits);
    let io = TokioIo::new(Watched::new(stream, Arc::clone(connection)));
    let mut http = pin!(builder.serve_connection(io, service::service(core, connection)));
    let mut watchdog = Watchdog::new(Instant::now());
    let interval = Watchdog::interval(limits);
    let mut wake = pin!(tokio::time::sleep(interval));
    let mut ending = pin!(core.ending.notified());
    let (mut is_armed, mut is_draining) = (false, false);
    std::future::poll_fn(|cx| {
        if core.is_draining() && !is_draining {
            (is_draining, is_armed) = (true, false);
            ending.set(core.ending.notified());
            http.as_mut().graceful_shutdown();
        }
        if !is_armed {
            // One poll leaves the task's waker there; later ones read flags instead of taking the lock.
            is_armed = true;
            let _ = ending.as_mut().poll(cx);
        }
        if let Poll::Ready(result) = http.as_mut().poll(cx) {
            return Poll::Ready(match result {
                Ok(()) => CloseReason::Done,
                Err(error) => reason_of(&*error),
            });
        }
        if core.is_cut() {
            return Poll::Ready(CloseReason::Shutdown);
        }
        while wake.as_mut().poll(cx).is_ready() {
            if let Some(reason) = watchdog.check(Instant::now(), connection, limits) {
                return Poll::Ready(reason);
            }
            wake.as_mut().reset(tokio::time::Instant::now() + interval);
        }
        Poll::Pending
    })
    .await
}

fn builder(limits: &Limits) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    // Not `pipeline_flush`: with it hyper copies every body into its write buffer, and slow readers would hold copies.
    builder
        .http1()
        .max_buf_size(limits.request_head_bytes_max.max(8192))
        .max_headers(limits.request_headers_max);
    builder
        .http2()
        .max_concurrent_streams(limits.h2_streams_max)
        .max_pending_accept_reset_streams(limits.h2_pending_resets_max)
        .max_local_error_reset_streams(limits.h2_local_resets_max)
        .max_send_buf_size(limits.h2_send_buffer_bytes_max)
        .max_header_list_size(u32::try_from(limits.request_head_bytes_max).unwrap_or(u32::MAX));
    builder
}

/// The reason in hyper's error, which hides it in causes.
fn reason_of(error: &(dyn std::error::Error + 'static)) -> CloseReason {
    let Some(error) = error.downcast_ref::<hyper::Error>() else {
        return CloseReason::Broken;
    };
    if error.is_parse() || error.is_parse_too_large() {
        CloseReason::Malformed
    } else {
        CloseReason::Broken
    }
}

/// How many connections of a core still run.
#[derive(Debug, Default)]
struct OpenTasks {
    count: AtomicU32,
    changed: Notify,
}

struct OpenTask(Arc<OpenTasks>);

impl OpenTask {
    fn new(tasks: &Arc<OpenTasks>) -> Self {
        tasks.count.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(tasks))
    }
}

impl Drop for OpenTask {
    fn drop(&mut self) {
        self.0.count.fetch_sub(1, Ordering::Relaxed);
        self.0.changed.notify_one();
    }
}

impl OpenTasks {
    async fn none(&self) {
        while self.count.load(Ordering::Relaxed) > 0 {
            self.changed.notified().await;
        }
    }
}
