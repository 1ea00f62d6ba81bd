//! Paced publishers of one clip.

use std::path::PathBuf;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use tokio::time::Instant;

use crate::args::Args;
use crate::clock::SendTimes;
use crate::flv::{self, Clip, Kind};
use crate::rtmp::{Publisher, Target};
use crate::usage::{self, Usage};

/// The default clip, made on first use.
pub(crate) fn clip_file() -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| PathBuf::from("target"), PathBuf::from);
    target.join("bench/720p30-1100k.flv")
}

/// What all publishers of a run have done.
#[derive(Debug, Default)]
pub(crate) struct Totals {
    pub(crate) live: AtomicU64,
    pub(crate) bytes: AtomicU64,
    pub(crate) failures: AtomicU64,
    /// The worst delay of a tag behind its time, microseconds: says whether the load kept its pace.
    pub(crate) late_us_max: AtomicU64,
}

/// Publishers that run until this is dropped.
pub(crate) struct Publishers {
    tasks: Vec<tokio::task::JoinHandle<()>>,
    pub(crate) totals: Rc<Totals>,
    pub(crate) times: Vec<SendTimes>,
}

impl Drop for Publishers {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

/// Starts one publisher for each target, spread over a GOP so that key frames do not come together.
pub(crate) async fn start(clip: &Rc<Clip>, targets: Vec<Target>) -> Result<Publishers> {
    let totals = Rc::new(Totals::default());
    let count = u32::try_from(targets.len().max(1))?;
    let mut publishers = Publishers {
        tasks: Vec::new(),
        totals: Rc::clone(&totals),
        times: Vec::new(),
    };
    let spread = Duration::from_secs(2) / count;
    for target in targets {
        let connection = Publisher::connect(&target).await?;
        let times = SendTimes::default();
        publishers.times.push(times.clone());
        let (clip, totals) = (Rc::clone(clip), Rc::clone(&totals));
        totals.live.fetch_add(1, Ordering::Relaxed);
        publishers.tasks.push(tokio::task::spawn_local(async move {
            if let Err(error) = send_all(connection, &clip, &totals, &times).await {
                totals.failures.fetch_add(1, Ordering::Relaxed);
                eprintln!("a publisher lost its connection: {error:#}");
            }
            totals.live.fetch_sub(1, Ordering::Relaxed);
        }));
        tokio::time::sleep(spread).await;
    }
    Ok(publishers)
}

async fn send_all(mut connection: Publisher, clip: &Clip, totals: &Totals, times: &SendTimes) -> Result<()> {
    for tag in &clip.head {
        connection.send(tag, 0).await?;
    }
    let start = Instant::now();
    let mut round_ms = 0_u64;
    loop {
        for tag in &clip.media {
            let media_ms = round_ms + u64::from(tag.time_ms);
            let due = start + Duration::from_millis(media_ms);
            if due > Instant::now() {
                tokio::time::sleep_until(due).await;
            }
            let late = Instant::now().saturating_duration_since(due).as_micros();
            totals
                .late_us_max
                .fetch_max(u64::try_from(late).unwrap_or(u64::MAX), Ordering::Relaxed);
            connection.send(tag, (media_ms & 0xffff_ffff) as u32).await?;
            totals.bytes.fetch_add(tag.body.len() as u64, Ordering::Relaxed);
            if tag.kind == Kind::Video {
                times.sent(media_ms * 1000);
            }
        }
        round_ms += u64::from(clip.length_ms);
    }
}

/// The URLs for `count` publishers: by pattern, or one name a line from a file.
pub(crate) fn targets(url: &str, count: usize, names: Option<&str>) -> Result<Vec<Target>> {
    let names: Option<Vec<&str>> =
        names.map(|text| text.lines().filter(|line| !line.trim().is_empty()).collect());
    if let Some(names) = &names
        && names.len() < count
    {
        bail!("{count} publishers, but only {} names", names.len());
    }
    (0..count)
        .map(|n| {
            let number = n.to_string();
            let name = names.as_ref().map_or(number.as_str(), |names| names[n].trim());
            Target::parse(&url.replace("{n}", name))
        })
        .collect()
}

/// `tidewire-bench publish`.
pub(crate) async fn main(args: &mut Args) -> Result<()> {
    let url = args.text("url").context("--url is needed")?;
    let count: usize = args.value("count", 1)?;
    let seconds: u64 = args.value("seconds", 30)?;
    let pids: Vec<u32> = args.list("pid", &[])?;
    let file = args.text("flv").map_or_else(clip_file, PathBuf::from);
    let keys = args
        .text("keys")
        .map(std::fs::read_to_string)
        .transpose()
        .context("--keys")?;
    args.nothing_left()?;
    if file == clip_file() {
        flv::make(&file)?;
    }
    let clip = Rc::new(flv::load(&file)?);
    let local = tokio::task::LocalSet::new();
    local
        .run_until(async {
            let publishers = start(&clip, targets(&url, count, keys.as_deref())?).await?;
            println!("{count} publishers of {:.2} Mb/s", clip.bit_rate() as f64 / 1e6);
            tokio::time::sleep(Duration::from_secs(5)).await;
            let (before, own) = (Usage::of(&pids)?, usage::own()?);
            tokio::time::sleep(Duration::from_secs(seconds)).await;
            let (after, own_after) = (Usage::of(&pids)?, usage::own()?);
            let percent = after.core_percent_since(&before);
            println!(
                "server {percent:.1} % of a core, {:.3} % a publisher, {:.2} MB resident; load {:.1} %, worst lateness {:.1} ms, {} failures",
                percent / count as f64,
                after.rss_bytes as f64 / 1e6,
                own_after.core_percent_since(&own),
                publishers.totals.late_us_max.load(Ordering::Relaxed) as f64 / 1000.0,
                publishers.totals.failures.load(Ordering::Relaxed),
            );
            Ok(())
        })
        .await
}
