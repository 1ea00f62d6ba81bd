//! `tidewire serve`: builds every room from the configuration, runs them on the cores, and ends them in order.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use access::KeyRing;
use api::{Api, ApiOptions, PublishPorts, Sender, SenderOptions};
use deliver::{Cores, Counters, Server, ServerConfig, Shutdown, TlsFiles};
use hub::Registry;
use ingest::{IngestStats, RtmpServer};
use live::{EncoderState, Encoders, Live, LiveConfig};
use media::Clock;
use package::PackageConfig;
use platform::Platform;
use store::Store;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use transcode::LadderLimits;

use crate::config::{StreamingConfig, ValidatedConfig};
use crate::directory::Directory;
use crate::exit::Exit;
use crate::figures::Figures;
use crate::gate::Gate;
use crate::management::Management;
use crate::{encoders, gate, happenings, recordings, records};

/// How long publishers have to be told and to leave.
const PUBLISHERS_LEAVE: Duration = Duration::from_secs(2);
/// How long streams have to package what they hold.
const STREAMS_END: Duration = Duration::from_secs(3);
/// How long what was recorded has to become titles; the next start makes up for what does not.
const RECORDINGS_END: Duration = Duration::from_secs(3);
/// How long the database has to write what it was given: longer than it waits for another process's lock.
const DATABASE_CLOSES: Duration = Duration::from_secs(7);
/// How long threads have to end.
const THREADS_END: Duration = Duration::from_secs(2);

/// Runs the server until SIGINT or SIGTERM; a second signal ends it at once.
pub(crate) fn run(config: ValidatedConfig) -> Result<(), Exit> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Exit::failed(format!("the runtime could not be started: {error}")))?;
    runtime.block_on(serve(config))
}

async fn serve(config: ValidatedConfig) -> Result<(), Exit> {
    let platform = Platform::open_server(&config.data_dir).await?;
    let store = recordings::open(&config.data_dir, &config.recording).await?;
    let sweeping = tokio::spawn(recordings::sweep(
        store.clone(),
        platform.clone(),
        config.recording.retention,
    ));
    let clock = start_clock();
    let registry = Registry::with_unix_origin(hub_limits(&config), clock.unix_origin_us());
    let cores = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
    let cores = Cores::start(cores, "core")
        .map_err(|error| Exit::failed(format!("the server's threads could not be started: {error}")))?;

    let encoders = Encoders::new(EncoderState::Probing);
    encoders::find_out(
        encoders.clone(),
        config.streaming.clone(),
        config.data_dir.clone(),
    )
    .map_err(|error| Exit::failed(format!("the encoder's thread could not be started: {error}")))?;
    let handles = (0..cores.len())
        .map(|index| cores.handle(index).clone())
        .collect();
    let live = Live::new(
        Arc::clone(&registry),
        encoders,
        live_config(&config, &store),
        clock,
        handles,
    );
    tokio::spawn(Arc::clone(&live).run());
    let last_record = Shutdown::new();
    let states = records::record(Arc::clone(&registry), platform.clone(), last_record.clone());
    let telling = happenings::tell(Arc::clone(&live), platform.clone(), last_record.clone());
    let recording = tokio::spawn(async {
        tokio::join!(states, telling);
    });

    let ingest_stats = Arc::new(IngestStats::default());
    let (rtmp, ports) = start_rtmp(&config, &cores, &registry, &platform, clock, &ingest_stats)?;
    tokio::spawn(gate::close_withdrawn(platform.clone(), Arc::clone(&rtmp)));

    let signing_keys = Arc::new(KeyRing::default());
    tokio::spawn(gate::follow_signing_keys(
        platform.clone(),
        Arc::clone(&signing_keys),
    ));

    let rooms = Rooms {
        live: &live,
        platform: &platform,
        store: &store,
        rtmp: &rtmp,
    };
    let (api, http) = start_http(&config, &cores, rooms, signing_keys, ingest_stats, ports)?;
    announce(&config, &http);
    wait_for_signal().await?;
    Ending {
        registry,
        live,
        rtmp,
        api,
        http,
        recording,
        last_record,
        store,
        sweeping,
        platform,
        cores,
    }
    .run()
    .await;
    Ok(())
}

/// The process's timeline begins now.
fn start_clock() -> Clock {
    let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Clock::new(Instant::now(), micros(unix))
}

fn hub_limits(config: &ValidatedConfig) -> hub::Limits {
    hub::Limits {
        streams_max: config.hub.streams_max as usize,
        reconnect_grace_us: micros(config.hub.reconnect_grace),
        ..hub::Limits::default()
    }
}

fn live_config(config: &ValidatedConfig, store: &Store) -> LiveConfig {
    let recording = config.recording;
    let config: &StreamingConfig = &config.streaming;
    let defaults = PackageConfig::default();
    LiveConfig {
        package: PackageConfig {
            segment_ms: millis(config.segment_duration),
            part_ms: millis(config.part_duration),
            window_ms: millis(config.window),
            ..defaults
        },
        profiles: if config.enable_abr {
            config.profiles.clone()
        } else {
            Vec::new()
        },
        ladder: LadderLimits::default(),
        store: recording.enabled.then(|| store.clone()),
    }
}

fn millis(duration: Duration) -> u32 {
    u32::try_from(duration.as_millis()).unwrap_or(u32::MAX)
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

fn start_rtmp(
    config: &ValidatedConfig,
    cores: &Cores,
    registry: &Arc<Registry>,
    platform: &Platform,
    clock: Clock,
    stats: &Arc<IngestStats>,
) -> Result<(Arc<RtmpServer>, PublishPorts), Exit> {
    let limits = ingest::Limits {
        connections_max: config.rtmp.connections_max as usize,
        connections_per_address_max: config.rtmp.connections_per_address_max,
        ..ingest::Limits::default()
    };
    let server = RtmpServer::new(
        limits,
        Arc::clone(registry),
        Arc::new(Gate::new(platform.clone())),
        clock,
        Arc::clone(stats),
    );
    let mut ports = PublishPorts::default();
    if let Some(address) = config.rtmp.address {
        let address = listen(&server, cores, address, None)?;
        ports.rtmp = Some(address.port());
        tracing::info!(%address, "RTMP: publish to rtmp://ADDRESS/live with a stream key");
    }
    if let Some(rtmps) = &config.rtmp.rtmps {
        let tls = ingest::Tls::from_files(&rtmps.certificate, &rtmps.key)
            .map_err(|error| Exit::start(error.to_string()))?;
        let address = listen(&server, cores, rtmps.address, Some(tls))?;
        ports.rtmps = Some(address.port());
        tracing::info!(%address, "RTMPS: publish to rtmps://ADDRESS/live with a stream key");
    }
    Ok((server, ports))
}

/// A listener for publishers on every core; the address in use.
fn listen(
    server: &Arc<RtmpServer>,
    cores: &Cores,
    mut address: SocketAddr,
    tls: Option<ingest::Tls>,
) -> Result<SocketAddr, Exit> {
    let name = if tls.is_some() { "rtmps" } else { "rtmp" };
    for core in 0..cores.len() {
        let listener = ingest::bind(address, true)
            .map_err(|error| Exit::start(format!("cannot listen on {address} for {name}: {error}")))?;
        // Port 0 is a free one; the other cores take the same.
        address = listener
            .local_addr()
            .map_err(|error| Exit::failed(format!("the {name} address cannot be read: {error}")))?;
        let serving = Arc::clone(server).serve(listener, tls.clone());
        cores.spawn_on(core, async move {
            if let Err(error) = serving.await {
                tracing::error!(%error, "a listener for publishers failed");
            }
        });
    }
    Ok(address)
}

/// What the HTTP side shows and changes.
#[derive(Clone, Copy)]
struct Rooms<'a> {
    live: &'a Arc<Live>,
    platform: &'a Platform,
    store: &'a Store,
    rtmp: &'a Arc<RtmpServer>,
}

fn start_http(
    config: &ValidatedConfig,
    cores: &Cores,
    rooms: Rooms<'_>,
    signing_keys: Arc<KeyRing>,
    ingest: Arc<IngestStats>,
    ports: PublishPorts,
) -> Result<(Api, Server), Exit> {
    let Rooms {
        live,
        platform,
        store,
        rtmp,
    } = rooms;
    let allow_private = config.webhooks_allow_private;
    let (config, streaming) = (&config.http, &config.streaming);
    let limits = deliver::Limits {
        connections_max: config.connections_max,
        connections_per_address_max: config.connections_per_address_max,
        ..deliver::Limits::default()
    };
    let counters = Counters::new(cores.len(), &limits);
    let figures = Figures {
        http: Arc::clone(&counters.http),
        ingest,
        store: store.clone(),
    };
    let directory = Directory::new(
        Arc::clone(live),
        store.clone(),
        Arc::clone(&counters.viewers),
        figures,
    );
    tokio::spawn(Arc::clone(&directory).forward_changes());
    let following = Arc::clone(&directory).follow(platform.clone());
    tokio::spawn(async move {
        if let Err(error) = following.await {
            tracing::error!(%error, "the list of channels cannot be followed");
        }
    });
    let api = Api::new(
        Arc::clone(&directory) as Arc<dyn api::Directory>,
        ApiOptions {
            signing_keys: Arc::clone(&signing_keys),
            ..ApiOptions::default()
        },
    );
    let management = Management::new(Arc::clone(&directory), Arc::clone(rtmp));
    let api = api.with_management(platform.clone(), Arc::new(management), ports);
    tokio::spawn(api.clone().run());
    let sender = Sender::new(SenderOptions {
        allow_private,
        ..SenderOptions::default()
    });
    tokio::spawn(api.clone().send_webhooks(sender));
    let target_duration_s = u32::try_from(streaming.segment_duration.as_millis().div_ceil(1000)).unwrap_or(2);
    let server = ServerConfig {
        http: config.http.into_iter().collect(),
        https: config.https.iter().map(|https| https.address).collect(),
        tls: config.https.as_ref().map(|https| TlsFiles {
            certificate: https.certificate.clone(),
            key: https.key.clone(),
        }),
        limits,
        timing: deliver::Timing {
            target_duration_s,
            ..deliver::Timing::default()
        },
        keys: signing_keys,
    };
    let server = Server::start(server, cores, directory, api.router(), &counters)
        .map_err(|error| Exit::start(error.to_string()))?;
    Ok((api, server))
}

fn announce(config: &ValidatedConfig, http: &Server) {
    for address in http.http_addresses() {
        tracing::info!(%address, "HTTP: pages at http://ADDRESS/");
    }
    for address in http.https_addresses() {
        tracing::info!(%address, "HTTPS: pages at https://ADDRESS/");
    }
    tracing::info!(data_dir = %config.data_dir.display(), version = env!("CARGO_PKG_VERSION"), "ready");
}

async fn wait_for_signal() -> Result<(), Exit> {
    let failed = |error: std::io::Error| Exit::failed(format!("signals cannot be received: {error}"));
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    tokio::spawn(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        tracing::warn!("second signal: ending at once");
        std::process::exit(130);
    });
    Ok(())
}

/// All that has to end in order.
struct Ending {
    registry: Arc<Registry>,
    live: Arc<Live>,
    rtmp: Arc<RtmpServer>,
    api: Api,
    http: Server,
    recording: JoinHandle<()>,
    last_record: Shutdown,
    store: Store,
    sweeping: JoinHandle<()>,
    platform: Platform,
    cores: Cores,
}

impl Ending {
    /// Publishers are told first, then their streams are packaged to the end, then viewers are let go, who get the last
    /// playlists meanwhile.
    async fn run(self) {
        tracing::info!("shutting down: publishers are told to come back, segments are closed");
        self.registry.drain();
        self.rtmp.drain();
        wait_until(PUBLISHERS_LEAVE, || self.rtmp.publishers().is_empty()).await;
        for stream in self.registry.streams() {
            stream.set_state(hub::StreamState::Ended);
        }
        let broadcasts = self.live.broadcasts();
        wait_until(STREAMS_END, || {
            broadcasts.iter().all(|broadcast| broadcast.window.is_ended())
        })
        .await;
        wait_until(RECORDINGS_END, || self.live.recorders() == 0).await;
        self.api.close();
        self.http.stop().await;
        self.last_record.trigger();
        self.sweeping.abort();
        self.store.close().await;
        let written = async {
            // A panic there has been said.
            let _ = self.recording.await;
            self.platform.close().await
        };
        match timeout(DATABASE_CLOSES, written).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "the database was not closed in order"),
            Err(_) => {
                tracing::warn!("the database did not close in time; the last states may not be recorded")
            }
        }
        if !self.cores.stop(THREADS_END) {
            tracing::warn!("some threads had to be left behind");
        }
        tracing::info!("ended");
    }
}

async fn wait_until(limit: Duration, done: impl Fn() -> bool) {
    let ended = async {
        while !done() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    // Whoever has not gone by then is cut off.
    let _ = timeout(limit, ended).await;
}
