//! The figures of the process, gathered for `/metrics`.

use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use access::Refusal;
use deliver::{Class, CloseReason, Histogram, HttpStats, LATENCY_BOUNDS_US, Viewers};
use hub::Repair;
use ingest::{IngestStats, MediaFault};
use live::{Broadcast, Live};
use store::{Store, StoreFigures};
use transcode::RestartReason;

use crate::metrics::{Family, HistogramRow, Labels, render};

/// Where figures that belong to no stream come from.
pub(crate) struct Figures {
    pub(crate) http: Arc<HttpStats>,
    pub(crate) ingest: Arc<IngestStats>,
    pub(crate) store: Store,
}

impl Figures {
    /// The OpenMetrics text. `label` says what stands for a channel there.
    pub(crate) fn render(
        &self,
        live: &Live,
        viewers: &Viewers,
        label: impl Fn(&Broadcast) -> String,
    ) -> String {
        let broadcasts: Vec<Labelled> = live
            .broadcasts()
            .into_iter()
            .map(|broadcast| Labelled {
                channel: label(&broadcast),
                broadcast,
            })
            .collect();
        let mut families = vec![
            Family::gauge(
                "tidewire_streams",
                "Broadcasts that are live or can be played out.",
                vec![(Vec::new(), broadcasts.len() as f64)],
            ),
            Family::counter(
                "tidewire_stream_panics",
                "Stream tasks ended by a panic.",
                vec![(Vec::new(), live.panics())],
            ),
        ];
        families.extend(stream_families(&broadcasts, viewers));
        families.extend(encoder_families(&broadcasts));
        families.extend(self.http_families(viewers));
        families.extend(ingest_families(&self.ingest));
        families.extend(store_families(&self.store.figures(), live.recorders()));
        render(families)
    }

    fn http_families(&self, viewers: &Viewers) -> Vec<Family> {
        let snapshot = self.http.snapshot();
        let mut requests = Vec::new();
        let mut bytes = Vec::new();
        let mut service = Vec::new();
        let mut held = Vec::new();
        for class in Class::ALL {
            let sums = snapshot.class(class);
            let label = || vec![("class", class.as_str().to_owned())];
            for (index, count) in sums.by_status.iter().enumerate() {
                let mut labels = label();
                labels.push(("status", format!("{}xx", index + 1)));
                requests.push((labels, *count));
            }
            bytes.push((label(), sums.bytes));
            service.push((label(), histogram(&sums.service)));
            held.push((label(), histogram(&sums.held)));
        }
        let closed = CloseReason::ALL
            .into_iter()
            .map(|reason| {
                (
                    vec![("reason", reason.as_str().to_owned())],
                    snapshot.closed_for(reason),
                )
            })
            .collect();
        let refused = Refusal::ALL.into_iter().zip(snapshot.token_refusals);
        let refused = refused
            .map(|(refusal, count)| (vec![("code", refusal.code().to_owned())], count))
            .collect();
        let one = |value: f64| vec![(Vec::new(), value)];
        vec![
            Family::counter(
                "tidewire_http_token_refusals",
                "Requests refused for their path token, by the problem's code.",
                refused,
            ),
            Family::counter(
                "tidewire_http_requests",
                "Responses by class and status.",
                requests,
            ),
            Family::counter("tidewire_http_response_bytes", "Body bytes by class.", bytes),
            Family::histogram(
                "tidewire_http_service_seconds",
                "Request head to response head, without the time held.",
                service,
            ),
            Family::histogram(
                "tidewire_http_held_seconds",
                "Time that requests waited for media that did not exist yet.",
                held,
            ),
            Family::counter(
                "tidewire_http_connections_closed",
                "Connections ended or refused, by reason.",
                closed,
            ),
            Family::gauge(
                "tidewire_http_connections",
                "Open connections.",
                one(snapshot.open as f64),
            ),
            Family::gauge(
                "tidewire_http_held",
                "Requests held now.",
                one(snapshot.held_now as f64),
            ),
            Family::counter(
                "tidewire_http_panics",
                "Requests answered 500 after a panic.",
                vec![(Vec::new(), snapshot.panics)],
            ),
            Family::counter(
                "tidewire_viewers_uncounted",
                "Playlist requests of viewers beyond the counting limit.",
                vec![(Vec::new(), viewers.uncounted())],
            ),
        ]
    }
}

fn ingest_families(stats: &IngestStats) -> Vec<Family> {
    let read = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
    let one = |counter| vec![(Vec::new(), read(counter))];
    let gauge = |counter| vec![(Vec::new(), read(counter) as f64)];
    let closed = ingest::CloseReason::all()
        .map(|reason| (vec![("reason", reason.as_str().to_owned())], stats.closed(reason)))
        .collect();
    let faults = MediaFault::ALL
        .into_iter()
        .map(|fault| {
            (
                vec![("fault", fault.as_str().to_owned())],
                stats.media_faults(fault),
            )
        })
        .collect();
    vec![
        Family::counter(
            "tidewire_rtmp_connections_accepted",
            "Connections taken.",
            one(&stats.connections),
        ),
        Family::gauge(
            "tidewire_rtmp_connections",
            "Open connections.",
            gauge(&stats.connections_active),
        ),
        Family::gauge(
            "tidewire_rtmp_publishers",
            "Publishers.",
            gauge(&stats.publishers_active),
        ),
        Family::counter(
            "tidewire_rtmp_publishes",
            "Publishes accepted.",
            one(&stats.publishes),
        ),
        Family::counter(
            "tidewire_rtmp_bytes",
            "Bytes read from publishers.",
            one(&stats.bytes_in),
        ),
        Family::counter(
            "tidewire_rtmp_connections_closed",
            "Connections ended, by reason.",
            closed,
        ),
        Family::counter("tidewire_rtmp_media_faults", "Tags left out, by fault.", faults),
    ]
}

fn store_families(figures: &StoreFigures, recorders: usize) -> Vec<Family> {
    let count = |value: u64| vec![(Vec::new(), value)];
    let level = |value: u64| vec![(Vec::new(), value as f64)];
    vec![
        Family::gauge(
            "tidewire_store_bytes",
            "Bytes of all objects of recordings and titles.",
            level(figures.used_bytes),
        ),
        Family::gauge(
            "tidewire_store_budget_bytes",
            "Bytes that they may have.",
            level(figures.budget_bytes),
        ),
        Family::gauge("tidewire_store_objects", "Objects.", level(figures.objects)),
        Family::gauge(
            "tidewire_store_writes_waiting",
            "Writes to the store's disk that run or wait for a thread.",
            level(figures.writes_waiting),
        ),
        Family::counter(
            "tidewire_store_segments",
            "Segments recorded.",
            count(figures.segments),
        ),
        Family::counter(
            "tidewire_store_failures",
            "Changes of recordings that failed; a recording that goes on tries again.",
            count(figures.failures),
        ),
        Family::counter(
            "tidewire_store_titles_removed",
            "Titles removed by age, or to make room.",
            count(figures.removed_titles),
        ),
        Family::gauge(
            "tidewire_recordings",
            "Streams that are being recorded.",
            vec![(Vec::new(), recorders as f64)],
        ),
    ]
}

fn histogram(histogram: &Histogram) -> HistogramRow {
    let bounds = LATENCY_BOUNDS_US
        .iter()
        .map(|us| *us as f64 / 1e6)
        .chain([f64::INFINITY]);
    HistogramRow {
        sum_s: histogram.sum_us as f64 / 1e6,
        buckets: bounds.zip(histogram.buckets).collect(),
    }
}

/// A broadcast, and what stands for its channel.
struct Labelled {
    channel: String,
    broadcast: Arc<Broadcast>,
}

impl Deref for Labelled {
    type Target = Broadcast;

    fn deref(&self) -> &Broadcast {
        &self.broadcast
    }
}

fn stream_labels(broadcast: &Labelled) -> Labels {
    vec![("channel", broadcast.channel.clone())]
}

fn stream_families(broadcasts: &[Labelled], viewers: &Viewers) -> Vec<Family> {
    let gauge = |name, help, value: &dyn Fn(&Broadcast) -> f64| {
        let rows = broadcasts
            .iter()
            .map(|broadcast| (stream_labels(broadcast), value(broadcast)))
            .collect();
        Family::gauge(name, help, rows)
    };
    let counter = |name, help, value: &dyn Fn(&Broadcast) -> u64| {
        let rows = broadcasts
            .iter()
            .map(|broadcast| (stream_labels(broadcast), value(broadcast)))
            .collect();
        Family::counter(name, help, rows)
    };
    let mut repairs = Vec::new();
    let mut parts = Vec::new();
    let mut states = Vec::new();
    for broadcast in broadcasts {
        for kind in Repair::ALL {
            let mut labels = stream_labels(broadcast);
            labels.push(("kind", kind.as_str().to_owned()));
            repairs.push((labels, broadcast.stream.stats().repairs(kind)));
        }
        for log in broadcast.window.renditions() {
            let mut labels = stream_labels(broadcast);
            labels.push(("rendition", log.name().to_owned()));
            parts.push((labels, log.parts_made()));
        }
        let mut labels = stream_labels(broadcast);
        labels.push(("state", broadcast.stream.state().as_str().to_owned()));
        states.push((labels, 1.0));
    }
    vec![
        Family::gauge(
            "tidewire_stream_state",
            "1 for the state that a stream is in.",
            states,
        ),
        gauge(
            "tidewire_stream_viewers",
            "Viewer sessions of the last ten seconds.",
            &|b| f64::from(viewers.of(b.stream.channel())),
        ),
        counter("tidewire_ingest_bytes", "Payload bytes from publishers.", &|b| {
            b.stream.stats().bytes_in()
        }),
        gauge(
            "tidewire_ingest_bits_per_second",
            "Payload rate from the publisher.",
            &|b| b.stream.stats().bits_per_second() as f64,
        ),
        gauge("tidewire_ingest_frame_rate", "Pictures a second.", &|b| {
            b.stream.stats().frame_rate_milli() as f64 / 1e3
        }),
        gauge("tidewire_ingest_gop_seconds", "Length of the last GOP.", &|b| {
            b.stream.stats().gop_last_ms() as f64 / 1e3
        }),
        counter("tidewire_ingest_video_frames", "Pictures received.", &|b| {
            b.stream.stats().video_frames()
        }),
        counter("tidewire_ingest_audio_frames", "Audio frames received.", &|b| {
            b.stream.stats().audio_frames()
        }),
        gauge(
            "tidewire_ingest_clock_drift_seconds",
            "Publisher's clock against ours.",
            &|b| b.stream.stats().clock_drift_us() as f64 / 1e6,
        ),
        gauge(
            "tidewire_ingest_audio_drift_seconds",
            "Audio sample count against its timestamps.",
            &|b| b.stream.stats().audio_drift_us() as f64 / 1e6,
        ),
        counter(
            "tidewire_ingest_discontinuities",
            "Interruptions of the timeline.",
            &|b| b.stream.stats().discontinuities(),
        ),
        counter("tidewire_ingest_publishers", "Times a publisher came.", &|b| {
            b.stream.stats().publishers()
        }),
        counter(
            "tidewire_ingest_takeovers",
            "Times one of two publishers took over from the other.",
            &|b| b.stream.stats().takeovers(),
        ),
        counter(
            "tidewire_hub_samples_skipped",
            "Samples that slow readers lost.",
            &|b| b.stream.stats().skipped(),
        ),
        Family::counter("tidewire_ingest_repairs", "Timestamp repairs, by kind.", repairs),
        Family::counter("tidewire_package_parts", "Parts made.", parts),
    ]
}

fn encoder_families(broadcasts: &[Labelled]) -> Vec<Family> {
    let (mut speed, mut lag, mut rungs, mut dropped, mut restarts) = (vec![], vec![], vec![], vec![], vec![]);
    for broadcast in broadcasts {
        let ladder = broadcast.ladder();
        let children = [("video", ladder.video), ("audio", ladder.audio)];
        for (kind, stats) in children {
            let Some(stats) = stats else { continue };
            let labels = || {
                let mut labels = stream_labels(broadcast);
                labels.push(("kind", kind.to_owned()));
                labels
            };
            speed.push((
                labels(),
                f64::from(stats.speed_milli.load(Ordering::Relaxed)) / 1e3,
            ));
            lag.push((labels(), stats.lag_ms.load(Ordering::Relaxed) as f64 / 1e3));
            rungs.push((labels(), f64::from(stats.rungs_active.load(Ordering::Relaxed))));
            dropped.push((labels(), stats.frames_dropped.load(Ordering::Relaxed)));
            for reason in RestartReason::ALL {
                let mut labels = labels();
                labels.push(("reason", reason.label().to_owned()));
                restarts.push((labels, stats.restarts(reason)));
            }
        }
    }
    vec![
        Family::gauge(
            "tidewire_encoder_speed",
            "Real-time factor as FFmpeg reports it.",
            speed,
        ),
        Family::gauge(
            "tidewire_encoder_lag_seconds",
            "Newest picture in to newest picture out.",
            lag,
        ),
        Family::gauge("tidewire_encoder_rungs", "Rungs being encoded.", rungs),
        Family::counter(
            "tidewire_encoder_frames_dropped",
            "Pictures dropped before the encoder.",
            dropped,
        ),
        Family::counter(
            "tidewire_encoder_restarts",
            "FFmpeg children replaced, by reason.",
            restarts,
        ),
    ]
}
