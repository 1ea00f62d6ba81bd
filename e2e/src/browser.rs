//! Players in a headless Chromium: `browser/watch.mjs` by node and playwright-core, one JSON object back.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use crate::server::workspace;

/// What a browser should do.
#[derive(Clone, Debug)]
pub struct Watch {
    /// `hls` (hls.js, low latency), `dash` (dash.js, low latency), `shaka-hls`, `shaka-dash`, or `page` (`/watch/...`).
    pub player: &'static str,
    /// The server.
    pub server: SocketAddr,
    /// The channel.
    pub channel: String,
    /// How long to measure after the first frame.
    pub seconds: u64,
    /// Which height to choose by hand: 0 leaves it to the player; the first half is then measured on automatic.
    pub switch_to_height: u64,
    /// Play this height only, from the start (0: automatic).
    pub height: u64,
}

impl Watch {
    /// Ten seconds with automatic quality.
    #[must_use]
    pub fn new(player: &'static str, server: SocketAddr, channel: &str) -> Self {
        Self {
            player,
            server,
            channel: channel.to_owned(),
            seconds: 10,
            switch_to_height: 0,
            height: 0,
        }
    }
}

/// The browser binary.
///
/// # Errors
/// When there is none.
pub fn chromium() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("TIDEWIRE_CHROMIUM") {
        return Ok(path.into());
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .flat_map(|dir| ["chromium", "chromium-browser", "google-chrome"].map(|name| dir.join(name)))
        .find(|file| file.is_file())
        .context("no Chromium: `cargo xtask test` installs it")
}

/// Watches and reports: `first_frame_ms`, `latency_ms` (`p50`, `p95`, `max`, by the clock in the picture), `stalls`,
/// `stalled_ms`, `frames`, `dropped`, `heights`, `switch_ms`, `errors`.
///
/// # Errors
/// When the browser or the page cannot be run.
pub fn watch(watch: &Watch) -> Result<Value> {
    run(
        "watch.mjs",
        watch.seconds,
        &json!({
            "player": watch.player,
            "base": format!("http://{}", watch.server),
            "channel": watch.channel,
            "seconds": watch.seconds,
            "switchToHeight": watch.switch_to_height,
            "height": watch.height,
            "chromium": chromium()?,
        }),
    )
}

/// Runs `browser/SCRIPT` with JSON as its argument; the last line that it prints is its answer.
///
/// # Errors
/// When it fails or takes a minute longer than `seconds`.
pub fn run(script: &str, seconds: u64, argument: &Value) -> Result<Value> {
    let dir = workspace().join("e2e/browser");
    ensure!(
        dir.join("node_modules").is_dir(),
        "e2e/browser has no node_modules: `cargo xtask test` installs them"
    );
    let mut child = Command::new("node")
        .arg(script)
        .arg(argument.to_string())
        .current_dir(&dir)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("cannot start node")?;
    let deadline = Instant::now() + Duration::from_secs(seconds + 60);
    while matches!(child.try_wait(), Ok(None)) {
        if Instant::now() > deadline {
            let _ = child.kill();
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    let out = child.wait_with_output()?;
    let stderr = String::from_utf8_lossy(&out.stderr);
    ensure!(
        out.status.success(),
        "{script} {argument}: {}\n{stderr}",
        out.status
    );
    let stdout = String::from_utf8_lossy(&out.stdout);
    let line = stdout
        .lines()
        .last()
        .with_context(|| format!("{script} printed nothing\n{stderr}"))?;
    serde_json::from_str(line).with_context(|| format!("{script} printed no JSON: {line}"))
}
