//! The long run: all rungs, B-frames, one reconnect, the history checker on every rendition, a browser watching.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command-line tool talks on stdout"
)]

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use tidewire_e2e::browser::{self, Watch};
use tidewire_e2e::hls::checker::{self, Options};
use tidewire_e2e::publish::barcode::{ClockPublisher, Picture};
use tidewire_e2e::server::{Server, Setup};

/// The publisher comes back within the grace window of 10 s.
const PAUSE: Duration = Duration::from_secs(3);

fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("soak: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<bool> {
    let (mut seconds, mut with_browser, mut with_ladder, mut with_pause) = (600, true, true, true);
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let mut number = || -> Result<u64> { Ok(words.next().context("a number is missing")?.parse()?) };
        match word.as_str() {
            "--minutes" => seconds = number()? * 60,
            "--seconds" => seconds = number()?,
            "--no-browser" => with_browser = false,
            "--no-ladder" => with_ladder = false,
            "--no-reconnect" => with_pause = false,
            other => bail!(
                "unknown option {other}: --minutes M, --seconds S, --no-browser, --no-ladder, --no-reconnect"
            ),
        }
    }
    let run_for = Duration::from_secs(seconds);
    let config = format!("streaming:\n  enable_abr: {with_ladder}\n");
    let server = Server::start_with(&Setup {
        config,
        ..Setup::default()
    })?;
    let key = server.add_channel("soak")?;
    let url = server.publish_url(&key);
    let picture = Picture {
        width: 854,
        height: 480,
        bit_rate: "1200k",
        b_frames: 2,
        zero_latency: false,
    };
    let publish = || ClockPublisher::start(&url, picture);
    let publisher = publish()?;
    server.wait_playable("soak")?;
    let options = Options {
        server: server.http,
        channel: "soak".into(),
        run_for,
        expect_pause: with_pause,
    };
    let check = std::thread::spawn(move || checker::check(&options));
    let watch = Watch {
        seconds: seconds.saturating_sub(5).max(10),
        ..Watch::new("page", server.http, "soak")
    };
    let watching = with_browser.then(|| std::thread::spawn(move || browser::watch(&watch)));
    let start = Instant::now();
    let mut publisher = Some(publisher);
    while start.elapsed() < run_for {
        std::thread::sleep(Duration::from_millis(500));
        if with_pause
            && publisher.is_some()
            && start.elapsed() > run_for / 2
            && start.elapsed() < run_for / 2 + PAUSE
        {
            println!("the publisher is gone for {PAUSE:?}");
            drop(publisher.take());
            std::thread::sleep(PAUSE);
            publisher = Some(publish()?);
        }
    }
    let Ok(outcome) = check.join() else {
        bail!("the checker panicked")
    };
    let outcome = outcome?;
    println!("{outcome}");
    println!("resident memory {:.1} MB", server.resident_bytes()? as f64 / 1e6);
    let mut good = outcome.findings.is_empty();
    if let Some(watching) = watching {
        let Ok(report) = watching.join() else {
            bail!("the browser thread panicked")
        };
        let report = report?;
        println!("browser: {report}");
        let allowed = u64::from(with_pause);
        good &= report["stalls"].as_u64().is_some_and(|stalls| stalls <= allowed);
    }
    drop(publisher);
    println!("{}", if good { "clean" } else { "NOT clean" });
    Ok(good)
}
