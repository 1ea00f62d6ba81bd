//! LL-HLS viewers: what a player asks for, without the playing.
//!
//! A viewer has two connections a track: one for blocking playlist reloads, one for the hinted part. Video and audio
//! run side by side, so at 250 ms parts a viewer asks 16 times a second.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use crate::args::Args;
use crate::clock::{Latencies, SendTimes};
use crate::http::{Body, Connection, Url};
use crate::playlist;
use crate::usage::{self, Usage};

/// What all viewers of a run have seen.
#[derive(Debug, Default)]
pub(crate) struct Totals {
    pub(crate) playlists: u64,
    pub(crate) parts: u64,
    pub(crate) bytes: u64,
    pub(crate) errors: u64,
    pub(crate) first_error: Option<String>,
    /// From the sending of a part's last sample to the receipt of the part's last byte.
    pub(crate) part_latency: Latencies,
    /// Measured parts whose last sample was not found among the sent ones.
    pub(crate) unmatched: u64,
}

impl Totals {
    fn clear(&mut self) {
        let errors = self.errors;
        let first_error = self.first_error.take();
        *self = Self {
            errors,
            first_error,
            ..Self::default()
        };
    }
}

/// Viewers that run until this is dropped.
pub(crate) struct Viewers {
    tasks: Vec<tokio::task::JoinHandle<()>>,
    totals: Rc<RefCell<Totals>>,
}

impl Drop for Viewers {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

impl Viewers {
    /// Forgets what was counted so far: the measurement begins.
    pub(crate) fn begin(&self) {
        self.totals.borrow_mut().clear();
    }

    pub(crate) fn totals(&self) -> std::cell::Ref<'_, Totals> {
        self.totals.borrow()
    }
}

/// Full bodies are read by this many viewers a run, to measure; the others throw them away.
const MEASURING_MAX: usize = 200;

/// Starts `count` viewers over `channels` (URL and send times of its publisher), spread over `ramp`.
pub(crate) async fn start(
    channels: &[(Url, Option<SendTimes>)],
    count: usize,
    ramp: Duration,
) -> Result<Viewers> {
    let totals = Rc::new(RefCell::new(Totals::default()));
    let mut viewers = Viewers {
        tasks: Vec::new(),
        totals: Rc::clone(&totals),
    };
    let pause = ramp / u32::try_from(count.max(1))?;
    for viewer in 0..count {
        let (url, times) = &channels[viewer % channels.len()];
        let mut connection = Connection::open(url.address).await?;
        let (status, _) = connection.get(&url.path, Body::Keep).await?;
        ensure!(status == 200, "{}: status {status}", url.path);
        let (video, audio) = playlist::tracks(std::str::from_utf8(&connection.body)?)?;
        drop(connection);
        let times = times.clone().filter(|_| viewer < MEASURING_MAX);
        for (track, times) in [(Some(video), times), (audio, None)] {
            let Some(track) = track else { continue };
            let url = Url {
                address: url.address,
                path: playlist::resolve(&url.path, &track),
            };
            let totals = Rc::clone(&totals);
            viewers.tasks.push(tokio::task::spawn_local(async move {
                if let Err(error) = follow(&url, times.as_ref(), &totals).await {
                    let mut totals = totals.borrow_mut();
                    totals.errors += 1;
                    totals
                        .first_error
                        .get_or_insert_with(|| format!("{}: {error:#}", url.path));
                }
            }));
        }
        tokio::time::sleep(pause).await;
    }
    Ok(viewers)
}

async fn follow(url: &Url, times: Option<&SendTimes>, totals: &RefCell<Totals>) -> Result<()> {
    let mut text = Connection::open(url.address).await?;
    let mut media = Connection::open(url.address).await?;
    let (status, _) = text.get(&url.path, Body::Keep).await?;
    ensure!(status == 200, "status {status}");
    let mut end = playlist::end(&text.body);
    let init = playlist::resolve(&url.path, end.map.as_deref().context("no EXT-X-MAP")?);
    let (status, _) = media.get(&init, Body::Keep).await?;
    ensure!(status == 200, "{init}: status {status}");
    let timescale = playlist::timescale(&media.body).context("no timescale in the init segment")?;
    let keep = if times.is_some() {
        Body::Keep
    } else {
        Body::Discard
    };
    while !end.ended {
        let hint = playlist::resolve(&url.path, end.hint.as_deref().context("no preload hint")?);
        let reload = format!(
            "{}?_HLS_msn={}&_HLS_part={}&_HLS_skip=YES",
            url.path, end.msn, end.part
        );
        let part = async {
            let (status, size) = media.get(&hint, keep).await?;
            let received = Instant::now();
            ensure!(status == 200, "{hint}: status {status}");
            let mut totals = totals.borrow_mut();
            totals.parts += 1;
            totals.bytes += size as u64;
            if let Some(times) = times {
                let ticks = playlist::last_decode_time(&media.body);
                let media_us = ticks.map(|ticks| ticks * 1_000_000 / u64::from(timescale));
                match media_us.and_then(|at| times.of(at)) {
                    Some(sent) => totals.part_latency.add(received.saturating_duration_since(sent)),
                    None => totals.unmatched += 1,
                }
            }
            Ok(())
        };
        let list = async {
            let (status, size) = text.get(&reload, Body::Keep).await?;
            ensure!(status == 200, "{reload}: status {status}");
            let mut totals = totals.borrow_mut();
            totals.playlists += 1;
            totals.bytes += size as u64;
            Ok(())
        };
        both(part, list).await?;
        end = playlist::end(&text.body);
    }
    Ok(())
}

/// Awaits two futures at the same time on one task.
async fn both(left: impl Future<Output = Result<()>>, right: impl Future<Output = Result<()>>) -> Result<()> {
    let (mut left, mut right) = (std::pin::pin!(left), std::pin::pin!(right));
    let (mut left_done, mut right_done) = (false, false);
    std::future::poll_fn(|context| {
        for (future, done) in [
            (
                left.as_mut() as std::pin::Pin<&mut dyn Future<Output = Result<()>>>,
                &mut left_done,
            ),
            (right.as_mut(), &mut right_done),
        ] {
            if !*done && let std::task::Poll::Ready(result) = future.poll(context) {
                *done = true;
                if result.is_err() {
                    return std::task::Poll::Ready(result);
                }
            }
        }
        if left_done && right_done {
            std::task::Poll::Ready(Ok(()))
        } else {
            std::task::Poll::Pending
        }
    })
    .await
}

/// `tidewire-bench view`.
pub(crate) async fn main(args: &mut Args) -> Result<()> {
    let pattern = args.text("url").context("--url is needed")?;
    let count: usize = args.value("count", 1)?;
    let channels: usize = args.value("channels", 1)?;
    let seconds: u64 = args.value("seconds", 30)?;
    let pids: Vec<u32> = args.list("pid", &[])?;
    args.nothing_left()?;
    let mut list = Vec::new();
    for n in 0..channels {
        list.push((Url::parse(&pattern.replace("{n}", &n.to_string())).await?, None));
    }
    let local = tokio::task::LocalSet::new();
    local
        .run_until(async {
            let viewers = start(&list, count, Duration::from_secs(4)).await?;
            tokio::time::sleep(Duration::from_secs(3)).await;
            viewers.begin();
            let (before, own) = (Usage::of(&pids)?, usage::own()?);
            tokio::time::sleep(Duration::from_secs(seconds)).await;
            let (after, own_after) = (Usage::of(&pids)?, usage::own()?);
            let totals = viewers.totals();
            println!(
                "{count} viewers: server {:.1} % of a core, load {:.1} %; {} playlists, {} parts, {:.1} MB, {} errors{}",
                after.core_percent_since(&before),
                own_after.core_percent_since(&own),
                totals.playlists,
                totals.parts,
                totals.bytes as f64 / 1e6,
                totals.errors,
                totals.first_error.as_ref().map(|error| format!(" (first: {error})")).unwrap_or_default()
            );
            Ok(())
        })
        .await
}
