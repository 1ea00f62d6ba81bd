//! Follows the registry and keeps one task per stream.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use event_listener::{Event, EventListener};
use hub::{Registry, Stream, StreamEvent, StreamState};
use media::Clock;
use media::ladder::RungSpec;
use package::PackageConfig;
use store::Store;
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use transcode::LadderLimits;

use crate::recorder::Recorder;
use crate::task::StreamTask;
use crate::{Broadcast, Encoders, thumbnail};

/// How long an ended stream's window stays fetchable, so that viewers play it out.
const ENDED_KEEP: Duration = Duration::from_secs(60);

/// What every stream is made with.
#[derive(Clone, Debug)]
pub struct LiveConfig {
    /// Packaging targets.
    pub package: PackageConfig,
    /// The profiles of the ladder, smallest first.
    pub profiles: Vec<RungSpec>,
    /// Bounds of the encoders.
    pub ladder: LadderLimits,
    /// Where streams are recorded; `None`: they are not.
    pub store: Option<Store>,
}

/// All running broadcasts of the process.
pub struct Live {
    registry: Arc<Registry>,
    encoders: Encoders,
    config: LiveConfig,
    clock: Clock,
    cores: Vec<Handle>,
    next_core: AtomicUsize,
    panics: AtomicU64,
    recorders: AtomicUsize,
    broadcasts: Mutex<BTreeMap<String, Arc<Broadcast>>>,
    changed: Arc<Event>,
}

impl Live {
    /// A supervisor that spreads its streams over `cores`.
    ///
    /// # Panics
    /// If `cores` is empty: there is always at least the caller's own runtime.
    pub fn new(
        registry: Arc<Registry>,
        encoders: Encoders,
        config: LiveConfig,
        clock: Clock,
        cores: Vec<Handle>,
    ) -> Arc<Self> {
        assert!(!cores.is_empty(), "streams need a core to run on");
        Arc::new(Self {
            registry,
            encoders,
            config,
            clock,
            cores,
            next_core: AtomicUsize::new(0),
            panics: AtomicU64::new(0),
            recorders: AtomicUsize::new(0),
            broadcasts: Mutex::default(),
            changed: Arc::default(),
        })
    }

    /// Follows the registry until the process ends. Also lets the registry's grace windows pass.
    pub async fn run(self: Arc<Self>) {
        let mut events = self.registry.events();
        for stream in self.registry.streams() {
            self.open(stream);
        }
        tokio::spawn(Self::pass_time(Arc::clone(&self)));
        loop {
            match events.next().await {
                StreamEvent::Opened(stream) => self.open(stream),
                StreamEvent::StateChanged(..) | StreamEvent::Ended(_) => self.touch(),
                StreamEvent::Missed { .. } => {
                    for stream in self.registry.streams() {
                        self.open(stream);
                    }
                }
                _ => {}
            }
        }
    }

    /// The channel's running broadcast, or its last one while that can still be played out.
    pub fn broadcast(&self, channel: &str) -> Option<Arc<Broadcast>> {
        self.lock().get(channel).cloned()
    }

    /// All of them, by channel.
    pub fn broadcasts(&self) -> Vec<Arc<Broadcast>> {
        self.lock().values().cloned().collect()
    }

    /// A small JPEG of the broadcast's newest picture.
    pub fn thumbnail(&self, broadcast: Arc<Broadcast>) -> impl Future<Output = Option<Bytes>> + Send + use<> {
        let encoders = self.encoders.get();
        async move {
            broadcast
                .thumbnails
                .get(&broadcast.window, encoders.transcoder())
                .await
        }
    }

    /// Counts up whenever the channel's thumbnail changes; `None` while there is none.
    pub fn thumbnail_version(&self, broadcast: &Broadcast) -> Option<u64> {
        self.encoders.get().transcoder()?;
        thumbnail::version(&broadcast.window)
    }

    /// Fires when the state, the renditions or the notices of any stream change after this call.
    pub fn changes(&self) -> EventListener {
        self.changed.listen()
    }

    /// Whether publishers are taken: not while the process shuts down.
    pub fn takes_publishers(&self) -> bool {
        !self.registry.is_draining()
    }

    /// The process's clock.
    pub fn clock(&self) -> Clock {
        self.clock
    }

    /// The shared encoder state.
    pub fn encoders(&self) -> &Encoders {
        &self.encoders
    }

    /// Stream tasks that ended by a panic.
    pub fn panics(&self) -> u64 {
        self.panics.load(Ordering::Relaxed)
    }

    /// Streams that are being recorded, or were and are being made titles.
    pub fn recorders(&self) -> usize {
        self.recorders.load(Ordering::Acquire)
    }

    fn touch(&self) {
        self.changed.notify(usize::MAX);
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Arc<Broadcast>>> {
        self.broadcasts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn open(self: &Arc<Self>, stream: Arc<Stream>) {
        let broadcast = Broadcast::new(Arc::clone(&stream), Arc::clone(&self.changed));
        {
            let mut broadcasts = self.lock();
            let known = broadcasts.get(stream.channel());
            if known.is_some_and(|known| Arc::ptr_eq(&known.stream, &stream)) {
                return;
            }
            broadcasts.insert(stream.channel().to_owned(), Arc::clone(&broadcast));
        }
        let task = StreamTask::new(
            Arc::clone(&broadcast),
            self.encoders.clone(),
            self.config.clone(),
            self.clock,
        );
        let core = self.next_core.fetch_add(1, Ordering::Relaxed) % self.cores.len();
        let running = self.cores[core].spawn(task.run());
        let over = self.record(&broadcast);
        let live = Arc::clone(self);
        tokio::spawn(async move {
            if running.await.is_err() {
                live.panics.fetch_add(1, Ordering::Relaxed);
                tracing::error!(
                    channel = stream.channel(),
                    stream = stream.id(),
                    "the stream's task panicked"
                );
                stream.set_state(StreamState::Failed);
            }
            drop(over);
            tokio::time::sleep(ENDED_KEEP).await;
            live.forget(&broadcast);
        });
    }

    /// Has the stream recorded, if there is a store. Dropping what is handed back tells the recorder that the stream's task
    /// has ended.
    fn record(self: &Arc<Self>, broadcast: &Arc<Broadcast>) -> Option<oneshot::Sender<()>> {
        let store = self.config.store.clone()?;
        let started_ms = self.clock.unix_ms(broadcast.stream.started_us());
        let recorder = Recorder::new(Arc::clone(broadcast), store, started_ms);
        let (over, is_over) = oneshot::channel();
        self.recorders.fetch_add(1, Ordering::AcqRel);
        let live = Arc::clone(self);
        let recording = tokio::spawn(recorder.run(is_over));
        tokio::spawn(async move {
            if recording.await.is_err() {
                live.panics.fetch_add(1, Ordering::Relaxed);
                tracing::error!("a stream's recorder panicked");
            }
            live.recorders.fetch_sub(1, Ordering::AcqRel);
        });
        Some(over)
    }

    fn forget(&self, broadcast: &Arc<Broadcast>) {
        let mut broadcasts = self.lock();
        let channel = broadcast.stream.channel();
        if broadcasts
            .get(channel)
            .is_some_and(|known| Arc::ptr_eq(known, broadcast))
        {
            broadcasts.remove(channel);
            drop(broadcasts);
            self.touch();
        }
    }

    /// Drives the registry's grace windows.
    async fn pass_time(self: Arc<Self>) {
        loop {
            let changed = self.registry.timeout_changed();
            let now = self.clock.at(Instant::now());
            self.registry.handle_timeout(now);
            match self.registry.poll_timeout() {
                Some(at) => {
                    let deadline = tokio::time::Instant::from_std(self.clock.instant(at));
                    // Either way the registry is asked again.
                    let _ = tokio::time::timeout_at(deadline, changed).await;
                }
                None => changed.await,
            }
        }
    }
}
