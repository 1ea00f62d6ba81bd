//! The RTMP listener: accepts, counts, spawns one task per connection, drains.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hub::Registry;
use media::{Clock, Micros};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;

use crate::addresses::{Addresses, NotTaken, Peer};
use crate::rtmp_session::{self, Farewell};
use crate::{Authorizer, CloseReason, IngestStats, Limits, Tls};

/// Pause after a failed `accept`: without file descriptors it fails again at once.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// A failing `accept` is logged this often: peers can keep it failing.
const ACCEPT_SILENCE: Duration = Duration::from_secs(10);
const BACKLOG: i32 = 1024;

/// Takes publishers over RTMP. Shared by all runtimes that serve one of its listeners.
pub struct RtmpServer {
    pub(crate) limits: Limits,
    pub(crate) registry: Arc<Registry>,
    pub(crate) authorizer: Arc<dyn Authorizer>,
    pub(crate) clock: Clock,
    pub(crate) stats: Arc<IngestStats>,
    pub(crate) addresses: Addresses,
    /// By channel, the primary and the backup apart.
    live: Mutex<HashMap<(String, bool), Live>>,
    drain: watch::Sender<bool>,
    seed: AtomicU64,
}

struct Live {
    publisher: LivePublisher,
    farewell: oneshot::Sender<Farewell>,
    /// When its last byte came.
    last_input_at: Arc<AtomicU64>,
}

/// A publisher at this moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LivePublisher {
    /// The channel that it feeds.
    pub channel: String,
    /// [`Authorized::key_id`](crate::Authorized::key_id) that let it in.
    pub key_id: String,
    /// Where it comes from.
    pub peer: Peer,
    /// It stands by for the channel's primary.
    pub is_backup: bool,
}

impl RtmpServer {
    /// A server without a listener yet.
    pub fn new(
        limits: Limits,
        registry: Arc<Registry>,
        authorizer: Arc<dyn Authorizer>,
        clock: Clock,
        stats: Arc<IngestStats>,
    ) -> Arc<Self> {
        Arc::new(Self {
            addresses: Addresses::new(&limits),
            limits,
            registry,
            authorizer,
            clock,
            stats,
            live: Mutex::default(),
            drain: watch::Sender::new(false),
            seed: AtomicU64::new(0),
        })
    }

    /// Counts.
    pub fn stats(&self) -> &Arc<IngestStats> {
        &self.stats
    }

    /// Takes connections from `listener` on the present tokio runtime until [`drain`](Self::drain), then waits for
    /// its sessions to end. Errors only if the listener cannot be registered. With `tls` the listener speaks RTMPS.
    ///
    /// May run several times at once, with different listeners on different runtimes.
    pub async fn serve(self: Arc<Self>, listener: std::net::TcpListener, tls: Option<Tls>) -> io::Result<()> {
        listener.set_nonblocking(true)?;
        let listener = TcpListener::from_std(listener)?;
        let mut drain = self.drain.subscribe();
        let mut sessions = JoinSet::new();
        let mut silent_until = Instant::now();
        loop {
            tokio::select! {
                biased;
                // The guard that `wait_for` gives must not live through the other arms: it is not `Send`.
                () = async { drop(drain.wait_for(|is_draining| *is_draining).await) } => break,
                accepted = listener.accept() => match accepted {
                    Ok((socket, peer)) => self.take(&mut sessions, socket, peer, tls.as_ref()),
                    Err(error) => {
                        self.stats.accept_errors.fetch_add(1, Ordering::Relaxed);
                        if Instant::now() >= silent_until {
                            silent_until = Instant::now() + ACCEPT_SILENCE;
                            tracing::warn!(%error, "RTMP connections are not accepted; the counter has them all");
                        }
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                },
                Some(_) = sessions.join_next() => {}
            }
        }
        drop(listener);
        while sessions.join_next().await.is_some() {}
        Ok(())
    }

    /// Takes no more connections; publishers are told to come back, in words, and closed.
    pub fn drain(&self) {
        self.drain.send_replace(true);
    }

    /// Who publishes at this moment.
    pub fn publishers(&self) -> Vec<LivePublisher> {
        self.live().values().map(|live| live.publisher.clone()).collect()
    }

    /// Ends a publisher with a sentence for the person at the encoder (key revoked, channel removed), and its stream with
    /// it: nobody may continue that within the grace window. False if it has gone meanwhile.
    pub fn disconnect(&self, publisher: &LivePublisher, sentence: &str) -> bool {
        let Some(live) = self.take_live(publisher) else {
            return false;
        };
        let farewell = Farewell {
            reason: CloseReason::Disconnected,
            sentence: sentence.to_owned(),
            gone: None,
        };
        live.farewell.send(farewell).is_ok()
    }

    /// Ends the channel's publisher of this kind if nothing came from it for [`Limits::stale_publisher_after`]. The receiver resolves,
    /// to an error, when it is gone.
    pub(crate) fn replace_stale(&self, channel: &str, is_backup: bool) -> Option<oneshot::Receiver<()>> {
        let place = (channel.to_owned(), is_backup);
        let patience = u64::try_from(self.limits.stale_publisher_after.as_micros()).unwrap_or(u64::MAX);
        let mut live = self.live();
        let last_input_at = live.get(&place)?.last_input_at.load(Ordering::Relaxed);
        if self.now().saturating_sub(last_input_at) < patience {
            return None;
        }
        let stale = live.remove(&place)?;
        let (gone, receiver) = oneshot::channel();
        let sentence = "Another connection publishes to this channel now.".to_owned();
        let farewell = Farewell {
            reason: CloseReason::Replaced,
            sentence,
            gone: Some(gone),
        };
        // If it is gone already, so is `gone`, and the receiver says so.
        let _ = stale.farewell.send(farewell);
        Some(receiver)
    }

    pub(crate) fn enter_live(
        &self,
        publisher: LivePublisher,
        last_input_at: Arc<AtomicU64>,
    ) -> oneshot::Receiver<Farewell> {
        let (farewell, receiver) = oneshot::channel();
        self.live().insert(
            (publisher.channel.clone(), publisher.is_backup),
            Live {
                publisher,
                farewell,
                last_input_at,
            },
        );
        receiver
    }

    /// Takes the publisher from the list, unless another one has taken its place by now.
    pub(crate) fn leave_live(&self, publisher: &LivePublisher) {
        self.take_live(publisher);
    }

    fn take_live(&self, publisher: &LivePublisher) -> Option<Live> {
        let mut live = self.live();
        let place = (publisher.channel.clone(), publisher.is_backup);
        live.get(&place).filter(|live| live.publisher == *publisher)?;
        live.remove(&place)
    }

    /// Now, on the process's timeline.
    pub(crate) fn now(&self) -> Micros {
        self.clock.at(Instant::now())
    }

    pub(crate) fn draining(&self) -> watch::Receiver<bool> {
        self.drain.subscribe()
    }

    /// Fills handshakes; distinct, not secret.
    pub(crate) fn next_seed(&self) -> u64 {
        let number = self.seed.fetch_add(1, Ordering::Relaxed);
        number.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ self.now()
    }

    fn live(&self) -> MutexGuard<'_, HashMap<(String, bool), Live>> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(
        self: &Arc<Self>,
        sessions: &mut JoinSet<()>,
        socket: TcpStream,
        peer: SocketAddr,
        tls: Option<&Tls>,
    ) {
        let reason = match self.addresses.enter(peer) {
            Ok(()) => {
                self.stats.connections.fetch_add(1, Ordering::Relaxed);
                self.stats.connections_active.fetch_add(1, Ordering::Relaxed);
                sessions.spawn(rtmp_session::run(Arc::clone(self), socket, peer, tls.cloned()));
                return;
            }
            Err(NotTaken::Total) => CloseReason::TooManyConnections,
            Err(NotTaken::Address) => CloseReason::TooManyFromAddress,
        };
        // No line in the log: a flood would fill it. The counter tells.
        self.stats.count_closed(reason);
        tracing::debug!(peer = %Peer(peer), reason = reason.as_str(), "RTMP connection refused");
    }
}

/// A listening socket. With `reuse_port` several of them share the address, one per runtime.
pub fn bind(address: SocketAddr, reuse_port: bool) -> io::Result<std::net::TcpListener> {
    use socket2::{Domain, Protocol, Socket, Type};
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    #[cfg(unix)]
    socket.set_reuse_port(reuse_port)?;
    #[cfg(not(unix))]
    let _ = reuse_port;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}
