//! `tidewire-bench live`: what a publisher, a part, a viewer and a GET cost, beside nginx in the same run.

use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::task::LocalSet;

use crate::args::Args;
use crate::clock::SendTimes;
use crate::flv::{self, Clip};
use crate::get::{self, Load};
use crate::http::{Body, Connection, Url};
use crate::playlist;
use crate::publish::{self, Publishers};
use crate::report::{Report, Row};
use crate::servers::{self, Nginx, Server};
use crate::usage::{self, Usage};
use crate::view;

/// What a live server keeps in memory, seconds: 60 listed, and three segments of 2 s that stay fetchable after that.
const WINDOW_S: u64 = 66;
/// Viewers are spread over so many streams, which part at different moments: those of one stream all ask at once.
const VIEWED_STREAMS: usize = 20;
/// Connections that ask every 250 ms, as viewers' connections do.
const SPREAD_CONNECTIONS: usize = 4000;
const SETTLE: Duration = Duration::from_secs(5);

struct Plan {
    streams: Vec<usize>,
    viewers: Vec<usize>,
    seconds: u64,
    nginx: bool,
    tidewire: bool,
    server_core: u32,
}

/// Runs the suite.
pub(crate) async fn main(args: &mut Args) -> Result<()> {
    let plan = Plan {
        streams: args.list("streams", &[60, 100, 200])?,
        viewers: args.list("viewers", &[500, 1500, 3000])?,
        seconds: args.value("seconds", 15)?,
        nginx: !args.switch("no-nginx"),
        tidewire: !args.switch("no-tidewire"),
        server_core: args.value("server-core", 0)?,
    };
    let load_core: u32 = args.value("load-core", 1)?;
    args.nothing_left()?;
    pin_self(load_core)?;
    let file = publish::clip_file();
    flv::make(&file)?;
    let clip = Rc::new(flv::load(&file)?);
    let setup = format!(
        "Server on core {}, load on core {load_core}; publishers of {:.2} Mb/s (720p30 H.264 with a GOP of 2 s, AAC), no transcoding; {} s a measurement.",
        plan.server_core,
        clip.bit_rate() as f64 / 1e6,
        plan.seconds
    );
    println!("{setup}\n");
    let mut report = Report::default();
    let local = LocalSet::new();
    local.run_until(publishers(&plan, &clip, &mut report)).await?;
    if plan.tidewire {
        LocalSet::new()
            .run_until(part_latency(&plan, &clip, &mut report))
            .await?;
        for count in &plan.viewers {
            LocalSet::new()
                .run_until(viewers(&plan, &clip, *count, &mut report))
                .await?;
        }
    }
    hot_get(&plan, &clip, &mut report).await?;
    println!("\nwritten to {}", report.write(&setup)?.display());
    Ok(())
}

fn pin_self(core: u32) -> Result<()> {
    let mut command = std::process::Command::new("taskset");
    command.args([
        "-a",
        "-c",
        "-p",
        &core.to_string(),
        &std::process::id().to_string(),
    ]);
    let status = command
        .stdout(std::process::Stdio::null())
        .status()
        .context("taskset (package util-linux)")?;
    anyhow::ensure!(status.success(), "cannot pin the load to core {core}");
    Ok(())
}

async fn publishers(plan: &Plan, clip: &Rc<Clip>, report: &mut Report) -> Result<()> {
    for count in &plan.streams {
        if plan.nginx {
            for mode in [Nginx::Relay, Nginx::Hls] {
                one_publish_run(
                    plan,
                    clip,
                    &servers::nginx(plan.server_core, mode)?,
                    *count,
                    report,
                )
                .await?;
            }
        }
        if plan.tidewire {
            one_publish_run(
                plan,
                clip,
                &servers::tidewire(plan.server_core, *count)?,
                *count,
                report,
            )
            .await?;
        }
    }
    Ok(())
}

async fn one_publish_run(
    plan: &Plan,
    clip: &Rc<Clip>,
    server: &Server,
    count: usize,
    report: &mut Report,
) -> Result<()> {
    let pids = server.pids();
    let empty = Usage::of(&pids)?;
    let publishers = start(clip, server, count).await?;
    // A server with a window is measured when that is full: before, it pays for fresh memory.
    let settle = if server.names.is_some() {
        Duration::from_secs(WINDOW_S)
    } else {
        Duration::ZERO
    };
    tokio::time::sleep(SETTLE + settle).await;
    publishers.totals.late_us_max.store(0, Ordering::Relaxed);
    let (before, own) = (Usage::of(&pids)?, usage::own()?);
    tokio::time::sleep(Duration::from_secs(plan.seconds)).await;
    let (after, own_after) = (Usage::of(&pids)?, usage::own()?);
    let percent = after.core_percent_since(&before);
    let sent = publishers.totals.bytes.load(Ordering::Relaxed);
    let window = sent.min(clip.bit_rate() / 8 * WINDOW_S * count as u64);
    let grown = after.rss_bytes.saturating_sub(empty.rss_bytes);
    let keeps_window = server.names.is_some();
    let beyond = grown as f64 - if keeps_window { window as f64 } else { 0.0 };
    let is_ours = server.name == "tidewire";
    report.add(Row {
        server: server.name.into(),
        what: format!("{count} publishers"),
        figures: vec![
            (
                "CPU a publisher".into(),
                percent / count as f64,
                "% of a core",
                is_ours.then_some(0.14),
            ),
            (
                "memory a publisher beyond the window".into(),
                beyond / 1e6 / count as f64,
                "MB",
                is_ours.then_some(2.0),
            ),
        ],
        note: format!(
            "server {percent:.1} %, resident {:.0} MB; {}",
            after.rss_bytes as f64 / 1e6,
            load_note(&publishers, own_after.core_percent_since(&own))
        ),
    });
    Ok(())
}

fn load_note(publishers: &Publishers, percent: f64) -> String {
    let totals = &publishers.totals;
    format!(
        "load {percent:.0} %, worst lateness {:.1} ms, {} lost",
        totals.late_us_max.load(Ordering::Relaxed) as f64 / 1000.0,
        totals.failures.load(Ordering::Relaxed)
    )
}

async fn start(clip: &Rc<Clip>, server: &Server, count: usize) -> Result<Publishers> {
    let targets = publish::targets(&server.publish_url, count, server.names.as_deref())?;
    publish::start(clip, targets)
        .await
        .with_context(|| format!("publishing to {}", server.name))
}

async fn channels(
    server: &Server,
    publishers: &Publishers,
    count: usize,
) -> Result<Vec<(Url, Option<SendTimes>)>> {
    let mut list = Vec::new();
    for n in 0..count {
        list.push((
            Url::parse(&server.master(n)).await?,
            publishers.times.get(n).cloned(),
        ));
    }
    Ok(list)
}

/// One viewer on each of some of 100 streams: how soon a part is there after its last sample.
async fn part_latency(plan: &Plan, clip: &Rc<Clip>, report: &mut Report) -> Result<()> {
    const STREAMS: usize = 100;
    const WATCHED: usize = 20;
    let server = servers::tidewire(plan.server_core, STREAMS)?;
    let publishers = start(clip, &server, STREAMS).await?;
    tokio::time::sleep(SETTLE).await;
    let channels = channels(&server, &publishers, WATCHED).await?;
    let viewers = view::start(&channels, WATCHED, Duration::from_secs(2)).await?;
    measure_viewers(
        plan,
        &server,
        &publishers,
        &viewers,
        WATCHED,
        format!("part latency, {STREAMS} streams, {WATCHED} watched"),
        5.0,
        report,
    )
    .await
}

/// Many viewers of one stream.
async fn viewers(plan: &Plan, clip: &Rc<Clip>, count: usize, report: &mut Report) -> Result<()> {
    let server = servers::tidewire(plan.server_core, VIEWED_STREAMS)?;
    let publishers = start(clip, &server, VIEWED_STREAMS).await?;
    tokio::time::sleep(SETTLE).await;
    let channels = channels(&server, &publishers, VIEWED_STREAMS).await?;
    let ramp = Duration::from_millis(count as u64 * 3);
    let viewers = view::start(&channels, count, ramp).await?;
    measure_viewers(
        plan,
        &server,
        &publishers,
        &viewers,
        count,
        format!("{count} LL-HLS viewers of {VIEWED_STREAMS} streams"),
        20.0,
        report,
    )
    .await
}

#[allow(
    clippy::too_many_arguments,
    reason = "one table row from everything that made it"
)]
async fn measure_viewers(
    plan: &Plan,
    server: &Server,
    publishers: &Publishers,
    viewers: &view::Viewers,
    count: usize,
    what: String,
    bar_ms: f64,
    report: &mut Report,
) -> Result<()> {
    tokio::time::sleep(Duration::from_secs(3)).await;
    let pids = server.pids();
    viewers.begin();
    let (before, own) = (Usage::of(&pids)?, usage::own()?);
    tokio::time::sleep(Duration::from_secs(plan.seconds)).await;
    let (after, own_after) = (Usage::of(&pids)?, usage::own()?);
    let totals = viewers.totals();
    let percent = after.core_percent_since(&before);
    let [p50, p95, p99, max] = totals.part_latency.percentiles().unwrap_or([f64::NAN; 4]);
    let requests = totals.playlists + totals.parts;
    let mut figures = vec![
        ("part p50".into(), p50, "ms", None),
        ("p95".into(), p95, "ms", None),
        ("p99".into(), p99, "ms", Some(bar_ms)),
        ("max".into(), max, "ms", None),
    ];
    // With many publishers the server's CPU is theirs.
    if publishers.times.len() <= VIEWED_STREAMS {
        let cpu_us = percent / 100.0 * plan.seconds as f64 * 1e6;
        figures.push((
            "viewers a core".into(),
            count as f64 * 100.0 / percent,
            "",
            Some(3000.0),
        ));
        figures.push(("CPU a request".into(), cpu_us / requests as f64, "us", None));
    }
    report.add(Row {
        server: server.name.into(),
        what,
        figures,
        note: format!(
            "server {percent:.1} %; {} playlists, {} parts, {:.0} Mb/s, {} measured, {} unmatched, {} errors{}; {}",
            totals.playlists,
            totals.parts,
            totals.bytes as f64 * 8e-6 / plan.seconds as f64,
            totals.part_latency.count(),
            totals.unmatched,
            totals.errors,
            totals.first_error.as_ref().map(|error| format!(" (first: {error})")).unwrap_or_default(),
            load_note(publishers, own_after.core_percent_since(&own))
        ),
    });
    Ok(())
}

/// An object of about 4 KB: an audio part here, a file on nginx.
async fn hot_get(plan: &Plan, clip: &Rc<Clip>, report: &mut Report) -> Result<()> {
    if plan.nginx {
        let server = servers::nginx(plan.server_core, Nginx::Relay)?;
        let url = Url::parse(&format!("http://{}/4k.bin", server.http)).await?;
        one_get(plan, &server, &url, None, report).await?;
    }
    if plan.tidewire {
        let server = servers::tidewire(plan.server_core, 1)?;
        let local = LocalSet::new();
        let url = local
            .run_until(async {
                let _publishers = start(clip, &server, 1).await?;
                tokio::time::sleep(SETTLE).await;
                audio_part(&server).await
            })
            .await?;
        one_get(plan, &server, &url, Some(10.0), report).await?;
    }
    Ok(())
}

async fn one_get(
    plan: &Plan,
    server: &Server,
    url: &Url,
    bar: Option<f64>,
    report: &mut Report,
) -> Result<()> {
    let seconds = plan.seconds.min(10);
    let hot = Load {
        connections: 32,
        every: None,
        seconds,
    };
    let spread = Load {
        connections: SPREAD_CONNECTIONS,
        every: Some(Duration::from_millis(250)),
        seconds,
    };
    for (what, load, bar) in [("hot GET", hot, bar), ("GET every 250 ms", spread, None)] {
        let cost = get::measure(url, load, &server.pids()).await?;
        report.add(Row {
            server: server.name.into(),
            what: format!("{what}, {} bytes", cost.bytes),
            figures: vec![
                ("CPU a GET".into(), cost.server_us, "us", bar),
                ("GETs a second".into(), cost.per_second, "", None),
            ],
            note: format!("{} requests over {} connections", cost.requests, load.connections),
        });
    }
    Ok(())
}

/// A complete audio part that stays in the window for the measurement (the stream pauses meanwhile).
async fn audio_part(server: &Server) -> Result<Url> {
    let master = Url::parse(&server.master(0)).await?;
    let mut connection = Connection::open(master.address).await?;
    connection.get(&master.path, Body::Keep).await?;
    let (video, audio) = playlist::tracks(std::str::from_utf8(&connection.body)?)?;
    let path = playlist::resolve(&master.path, &audio.unwrap_or(video));
    connection.get(&path, Body::Keep).await?;
    let text = String::from_utf8_lossy(&connection.body).into_owned();
    let line = text
        .lines()
        .rfind(|line| line.starts_with("#EXT-X-PART:"))
        .context("no part listed")?;
    let uri = line
        .split_once("URI=\"")
        .and_then(|(_, rest)| rest.split_once('"'))
        .context("a part without URI")?
        .0;
    Ok(Url {
        address: master.address,
        path: playlist::resolve(&path, uri),
    })
}
