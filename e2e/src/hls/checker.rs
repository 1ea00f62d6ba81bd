//! The client on the network: follows every rendition of a live stream, fetches everything, and judges.
//!
//! One thread a rendition reads playlists by blocking reload (every third one as a delta update, compared with the full
//! one), a second connection follows preload hints, and all parts, segments and inits are fetched and read.

mod follow;
mod master;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

pub use self::follow::Followed;
use super::Findings;
use super::media::alignment;
use super::playlist::{Variant, parse_master};
use crate::http::Client;

/// How long a stream may take to become playable.
const READY_WITHIN: Duration = Duration::from_secs(20);
/// Longer than any request that a correct server holds.
const HTTP_TIMEOUT: Duration = Duration::from_secs(20);
/// Video of all rungs starts at the same instant; timescales may differ by rounding.
const VIDEO_TOLERANCE_US: i64 = 50;
/// Audio is cut at frames of 1024 samples, at 22.05 kHz at worst.
const AUDIO_TOLERANCE_US: i64 = 47_000;

/// What to check.
#[derive(Clone, Debug)]
pub struct Options {
    /// The server's HTTP address.
    pub server: SocketAddr,
    /// The channel's name.
    pub channel: String,
    /// How long to follow.
    pub run_for: Duration,
    /// The publisher pauses on purpose: a reload that waits long is no finding.
    pub expect_pause: bool,
}

/// The verdict.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Broken rules of all renditions.
    pub findings: Findings,
    /// What was followed, by path of the media playlist.
    pub renditions: BTreeMap<String, Followed>,
}

impl Outcome {
    /// Number of renditions with video.
    #[must_use]
    pub fn video_renditions(&self) -> usize {
        self.renditions
            .values()
            .filter(|followed| followed.is_video())
            .count()
    }
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (path, followed) in &self.renditions {
            writeln!(f, "{path}: {followed}")?;
        }
        if self.findings.is_empty() {
            writeln!(f, "the history checker found nothing")
        } else {
            write!(f, "{}", self.findings)
        }
    }
}

/// Follows a channel for [`Options::run_for`].
///
/// # Errors
/// When the stream never becomes playable. Whatever is wrong with it is in the outcome's findings.
pub fn check(options: &Options) -> Result<Outcome> {
    let mut http = Client::new(options.server, HTTP_TIMEOUT);
    let path = format!("/live/{}/master.m3u8", options.channel);
    wait_until_playable(&mut http, &path)?;
    let stop = Arc::new(AtomicBool::new(false));
    let known = Arc::new(std::sync::Mutex::new(Vec::<String>::new()));
    let mut threads: BTreeMap<String, JoinHandle<(Followed, Findings)>> = BTreeMap::new();
    let mut findings = Findings::default();
    let mut variants = Vec::new();
    let deadline = Instant::now() + options.run_for;
    while Instant::now() < deadline {
        // Rungs may join later: the encoder starts after the source.
        let response = http.get(&path)?;
        match parse_master(&response.text()) {
            Ok(list) if response.status == 200 => variants = list,
            Ok(_) => findings.add("master", &path, format!("status {}", response.status)),
            Err(error) => findings.add("master", &path, format!("{error:#}")),
        }
        master::headers(&response, &path, &mut findings);
        for variant in &variants {
            let url = follow::resolve(&path, &variant.uri);
            if let std::collections::btree_map::Entry::Vacant(entry) = threads.entry(url.clone()) {
                known
                    .lock()
                    .unwrap_or_else(std::sync::PoisonError::into_inner)
                    .push(url.clone());
                let follower = follow::Follower::new(options, &url, Arc::clone(&known), Arc::clone(&stop));
                entry.insert(std::thread::spawn(move || follower.run()));
            }
        }
        std::thread::sleep(
            Duration::from_millis(500).min(deadline.saturating_duration_since(Instant::now())),
        );
    }
    stop.store(true, Ordering::Relaxed);
    let mut outcome = Outcome::default();
    for (url, thread) in threads {
        let Ok((followed, found)) = thread.join() else {
            bail!("the follower of {url} panicked")
        };
        findings.extend(found);
        outcome.renditions.insert(url, followed);
    }
    compare(&outcome.renditions, &mut findings);
    // Bit rates grow with what has been seen: the last word is held against the last segment.
    if let Ok(list) = http
        .get(&path)
        .and_then(|response| parse_master(&response.text()))
    {
        variants = list;
    }
    master::truth(&path, &variants, &outcome.renditions, &mut findings);
    outcome.findings = findings;
    Ok(outcome)
}

fn wait_until_playable(http: &mut Client, path: &str) -> Result<()> {
    let deadline = Instant::now() + READY_WITHIN;
    loop {
        let status = http.get(path).map(|response| response.status);
        if matches!(status, Ok(200)) {
            return Ok(());
        }
        if Instant::now() > deadline {
            bail!(
                "{path} is not playable after {} s: {status:?}",
                READY_WITHIN.as_secs()
            );
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Equal media sequence numbers are equal times in all renditions.
fn compare(renditions: &BTreeMap<String, Followed>, findings: &mut Findings) {
    let Some((name, reference)) = renditions.iter().find(|(_, followed)| followed.is_video()) else {
        return;
    };
    for (other_name, other) in renditions.iter().filter(|(other_name, _)| *other_name != name) {
        let tolerance = if other.is_video() {
            VIDEO_TOLERANCE_US
        } else {
            AUDIO_TOLERANCE_US
        };
        alignment(
            (name, &reference.media),
            (other_name, &other.media),
            tolerance,
            findings,
        );
    }
}

/// The variants that the server offers now.
///
/// # Errors
/// When the stream is not playable or the text is wrong.
pub fn variants(server: SocketAddr, channel: &str) -> Result<Vec<Variant>> {
    let mut http = Client::new(server, HTTP_TIMEOUT);
    let path = format!("/live/{channel}/master.m3u8");
    wait_until_playable(&mut http, &path)?;
    parse_master(&http.get(&path)?.text()).context(path)
}
