//! What operators see of the running streams through the API, and how they end one.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Instant, SystemTime};

use api::{ChannelView, EncoderStats, RenditionStats, StreamStats};
use ingest::RtmpServer;
use live::Broadcast;
use package::LiveWindow;
use platform::Channel;

use crate::directory::{Directory, notice, rendition};

/// A publisher that sent nothing for so long sends nothing.
const SILENCE_US: u64 = 3_000_000;

/// What is said to a publisher whose stream an operator ends.
const STOPPED: &str = "An operator has ended this stream.";

/// Joins the directory with those who bring the streams in.
pub(crate) struct Management {
    directory: Arc<Directory>,
    rtmp: Arc<RtmpServer>,
}

impl Management {
    pub(crate) fn new(directory: Arc<Directory>, rtmp: Arc<RtmpServer>) -> Self {
        Self { directory, rtmp }
    }

    /// The broadcasts that are not over.
    fn broadcasts(&self) -> impl Iterator<Item = Arc<Broadcast>> {
        let all = self.directory.live.broadcasts().into_iter();
        all.filter(|broadcast| !broadcast.stream.state().is_final())
    }

    fn broadcast(&self, stream_id: &str) -> Option<Arc<Broadcast>> {
        self.broadcasts()
            .find(|broadcast| broadcast.stream.id() == stream_id)
    }

    fn figures(&self, broadcast: &Broadcast) -> StreamStats {
        let (stream, window) = (&broadcast.stream, &broadcast.window);
        let stats = stream.stats();
        let now = self.directory.live.clock().at(Instant::now());
        let is_silent = now.saturating_sub(stats.last_arrival_us()) > SILENCE_US;
        StreamStats {
            at: api::rfc3339_utc(SystemTime::now()),
            ingest_bitrate: if is_silent { 0 } else { stats.bits_per_second() },
            frame_rate: if is_silent {
                0.0
            } else {
                stats.frame_rate_milli() as f64 / 1e3
            },
            gop_ms: stats.gop_last_ms(),
            clock_drift_ms: stats.clock_drift_us() as f64 / 1e3,
            audio_drift_ms: stats.audio_drift_us() as f64 / 1e3,
            repairs: stats.repairs_total(),
            discontinuities: stats.discontinuities(),
            viewers: self.directory.viewers.of(stream.channel()),
            encoder: encoder(broadcast),
            renditions: renditions(window),
            notices: stream.notices().list().into_iter().map(notice).collect(),
        }
    }
}

fn renditions(window: &LiveWindow) -> Vec<RenditionStats> {
    let logs = window.renditions();
    let figures = logs.iter().filter_map(|log| {
        let view = rendition(log.info()?);
        Some(RenditionStats {
            name: view.name,
            bitrate: view.bitrate,
            target_bitrate: log.declared_bitrate().map(u64::from),
            width: view.width,
            height: view.height,
            frame_rate: view.frame_rate,
        })
    });
    let mut figures: Vec<_> = figures.collect();
    figures.sort_by_key(|figures| std::cmp::Reverse((figures.height, figures.bitrate)));
    figures
}

fn encoder(broadcast: &Broadcast) -> Option<EncoderStats> {
    let stats = broadcast.ladder().video?;
    Some(EncoderStats {
        running: stats.pid.load(Ordering::Relaxed) != 0,
        speed: f64::from(stats.speed_milli.load(Ordering::Relaxed)) / 1e3,
        lag_ms: stats.lag_ms.load(Ordering::Relaxed),
        restarts: stats.restarts_total(),
    })
}

impl api::Control for Management {
    fn view(&self, channel: &Channel) -> ChannelView {
        self.directory.view(channel)
    }

    fn running(&self) -> Vec<(String, StreamStats)> {
        self.broadcasts()
            .map(|broadcast| (broadcast.stream.id().to_owned(), self.figures(&broadcast)))
            .collect()
    }

    fn stats(&self, stream_id: &str) -> Option<StreamStats> {
        self.broadcast(stream_id)
            .map(|broadcast| self.figures(&broadcast))
    }

    fn publisher_address(&self, stream_id: &str) -> Option<String> {
        let broadcast = self.broadcast(stream_id)?;
        let is_there = broadcast.stream.state() != hub::StreamState::Reconnecting;
        is_there.then(|| broadcast.stream.publisher().peer)
    }

    fn stop(&self, stream_id: &str) -> bool {
        let Some(broadcast) = self.broadcast(stream_id) else {
            return false;
        };
        let stream = &broadcast.stream;
        let publishers = self.rtmp.publishers();
        let own = publishers
            .iter()
            .filter(|publisher| publisher.channel == stream.channel());
        let told = own
            .filter(|publisher| self.rtmp.disconnect(publisher, STOPPED))
            .count();
        if told == 0 {
            // It waits for its publisher: nobody continues it.
            stream.set_state(hub::StreamState::Ended);
        }
        tracing::info!(
            channel = stream.channel(),
            stream = stream_id,
            "an operator has ended the stream"
        );
        true
    }
}
