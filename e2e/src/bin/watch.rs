//! `cargo xtask bench browser`: what a viewer gets in Chromium, from a broadcast like the demo's.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command-line tool talks on stdout"
)]

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};
use tidewire_e2e::browser::{self, Watch};
use tidewire_e2e::publish::barcode::{ClockPublisher, Picture};
use tidewire_e2e::server::{Server, Setup};

struct Plan {
    picture: Picture,
    rounds: u64,
    seconds: u64,
    switches: u64,
}

impl Plan {
    fn parse() -> Result<Self> {
        let mut plan = Self {
            picture: Picture {
                width: 1280,
                height: 720,
                bit_rate: "2500k",
                b_frames: 0,
                zero_latency: true,
            },
            rounds: 3,
            seconds: 20,
            switches: 8,
        };
        let mut words = std::env::args().skip(1);
        while let Some(word) = words.next() {
            let mut number = || -> Result<u64> { Ok(words.next().context("a number is missing")?.parse()?) };
            match word.as_str() {
                "--rounds" => plan.rounds = number()?,
                "--seconds" => plan.seconds = number()?,
                "--switches" => plan.switches = number()?,
                "--height" => {
                    plan.picture.height = usize::try_from(number()?)?;
                    plan.picture.width = plan.picture.height * 16 / 9 / 2 * 2;
                }
                other => bail!("unknown option {other}: --rounds N, --seconds S, --switches N, --height H"),
            }
        }
        Ok(plan)
    }
}

fn main() -> ExitCode {
    match Plan::parse().and_then(|plan| run(&plan)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("bench browser: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Whether every bar was held.
fn run(plan: &Plan) -> Result<bool> {
    let server = Server::start_with(&Setup::default())?;
    let key = server.add_channel("bench")?;
    let _publisher = ClockPublisher::start(&server.publish_url(&key), plan.picture)?;
    server.wait_playable("bench")?;
    let encoded = wait_for_rung(&server, plan.picture.height as u64)?;
    // The ladder works off what it was given late.
    std::thread::sleep(Duration::from_secs(8));
    println!(
        "{}x{} at 30 frames a second, x264 zerolatency; source rung and {encoded}p encoded beside it; all on this machine\n",
        plan.picture.width, plan.picture.height
    );
    let seconds = plan.rounds * (plan.seconds * 2 + 30 + plan.switches * 5);
    let report = browser::run(
        "page.mjs",
        seconds,
        &json!({
            "base": format!("http://{}", server.http),
            "channel": "bench",
            "rounds": plan.rounds,
            "seconds": plan.seconds,
            "settleSeconds": 5,
            "switches": plan.switches,
            "source": plan.picture.height,
            "encoded": encoded,
            "chromium": browser::chromium()?,
        }),
    )?;
    let dash = browser::watch(&Watch {
        seconds: plan.seconds,
        ..Watch::new("dash", server.http, "bench")
    })?;
    let mut table = Table { held: true };
    table.line("page, first frame", &numbers(&report["first_frame_ms"]), 1000);
    table.line(
        "page, first frame, new browser",
        &numbers(&report["first_frame_new_browser_ms"]),
        1000,
    );
    for (what, bar) in [("source", 1500), ("encoded", 2000)] {
        let visits: Vec<&Value> = visits(&report).filter(|visit| visit["what"] == what).collect();
        let p95: Vec<u64> = visits
            .iter()
            .filter_map(|visit| visit["latency_ms"]["p95"].as_u64())
            .collect();
        table.line(&format!("page, {what} rung, glass to glass p95"), &p95, bar);
        let stalled: Vec<u64> = visits
            .iter()
            .filter_map(|visit| visit["stalls"].as_u64())
            .collect();
        table.line(&format!("page, {what} rung, stalls"), &stalled, 0);
    }
    table.line("page, switch by hand", &numbers(&report["switch_ms"]), 500);
    let dash_p95: Vec<u64> = dash["latency_ms"]["p95"].as_u64().into_iter().collect();
    table.line("dash.js, glass to glass p95", &dash_p95, 2500);
    println!("\n{report}\ndash.js: {dash}");
    Ok(table.held)
}

fn visits(report: &Value) -> impl Iterator<Item = &Value> {
    report["visits"].as_array().into_iter().flatten()
}

fn numbers(list: &Value) -> Vec<u64> {
    list.as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_u64)
        .collect()
}

/// The height of the best encoded rung, once there is one.
fn wait_for_rung(server: &Server, source: u64) -> Result<u64> {
    let deadline = std::time::Instant::now() + Duration::from_secs(30);
    loop {
        let view = server.channel("bench")?;
        let renditions = view["renditions"].as_array().cloned().unwrap_or_default();
        let encoded = renditions
            .iter()
            .filter_map(|rendition| rendition["height"].as_u64())
            .filter(|height| *height < source)
            .max();
        if let Some(height) = encoded {
            return Ok(height);
        }
        if std::time::Instant::now() > deadline {
            bail!("no encoded rung after 30 s: {view}\n{}", server.log());
        }
        std::thread::sleep(Duration::from_millis(200));
    }
}

struct Table {
    held: bool,
}

impl Table {
    /// Median and worst of `values` against the bar (milliseconds, or a count).
    fn line(&mut self, what: &str, values: &[u64], bar: u64) {
        let mut sorted = values.to_vec();
        sorted.sort_unstable();
        let (Some(median), Some(worst)) = (sorted.get(sorted.len() / 2), sorted.last()) else {
            println!("{what:<42} nothing was measured");
            self.held = false;
            return;
        };
        let verdict = if *worst <= bar { "held" } else { "NOT held" };
        self.held &= *worst <= bar;
        println!("{what:<42} median {median:>5}  worst {worst:>5}  bar {bar:>5}  {verdict}  {values:?}");
    }
}
