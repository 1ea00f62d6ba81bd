//! One rendition: its playlist over time, and all of its media.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::{Duration, Instant};

use super::{HTTP_TIMEOUT, Options};
use crate::hls::Findings;
use crate::hls::history::History;
use crate::hls::media::MediaHistory;
use crate::hls::mp4::{self, Init};
use crate::hls::playlist::{MediaPlaylist, Part, Segment};
use crate::http::{Client, Response};

/// Seconds of a year: what `immutable` objects may be cached for.
const YEAR_S: u64 = 31_536_000;
/// A rendition may be more than a segment apart from the others for so long: an encoder that starts, or starts again, works
/// off what it was given late.
const CATCH_UP: Duration = Duration::from_secs(6);
/// After so many failed reloads in a row the rendition is given up.
const FAILURES_MAX: u32 = 5;

/// What was seen of one rendition.
#[derive(Debug, Default)]
pub struct Followed {
    /// Its media.
    pub media: MediaHistory,
    /// Its newest init segment.
    pub init: Option<Init>,
    /// EXT-X-TARGETDURATION in microseconds.
    pub target_us: i64,
    /// Answered playlist requests, delta updates among them, parts, segments.
    pub counts: [u64; 4],
    /// Time between asking and answer of each blocking reload (milliseconds).
    pub reload_ms: Vec<u64>,
    /// Discontinuities seen.
    pub discontinuities: u64,
    /// Segments with EXT-X-GAP.
    pub gaps: u64,
    /// Hinted requests that were compared with the part that was listed later.
    pub hints: u64,
    /// Hinted parts that never came.
    pub void_hints: u64,
}

impl Followed {
    /// Whether this is video.
    #[must_use]
    pub fn is_video(&self) -> bool {
        self.init.as_ref().is_some_and(|init| init.handler == "vide")
    }
}

impl std::fmt::Display for Followed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut sorted = self.reload_ms.clone();
        sorted.sort_unstable();
        let at =
            |percent: usize| sorted.get((sorted.len() * percent / 100).min(sorted.len().saturating_sub(1)));
        let [playlists, deltas, parts, segments] = self.counts;
        write!(
            f,
            "{playlists} playlists ({deltas} delta), {parts} parts, {} of them hinted ({} void hints), {segments} segments, {} discontinuities, {} gaps, \
             reload p50 {} p95 {} max {} ms",
            self.hints,
            self.void_hints,
            self.discontinuities,
            self.gaps,
            at(50).unwrap_or(&0),
            at(95).unwrap_or(&0),
            sorted.last().unwrap_or(&0)
        )
    }
}

type Hinted = Arc<Mutex<HashMap<String, (u16, Vec<u8>)>>>;

pub(super) struct Follower {
    url: String,
    options: Options,
    known: Arc<Mutex<Vec<String>>>,
    stop: Arc<AtomicBool>,
    http: Client,
    history: History,
    findings: Findings,
    followed: Followed,
    inits: BTreeMap<String, Init>,
    /// Media before this is not looked at.
    from_msn: Option<u64>,
    next: (u64, u64),
    bytes: BTreeMap<(u64, u64), Vec<u8>>,
    hinted: Hinted,
    hints: Option<mpsc::Sender<String>>,
    /// Listed parts whose hinted request has not come back yet.
    listed: HashMap<String, Vec<u8>>,
    /// Since when a reported rendition is more than a segment away.
    apart: HashMap<String, Instant>,
}

impl Follower {
    pub(super) fn new(
        options: &Options,
        url: &str,
        known: Arc<Mutex<Vec<String>>>,
        stop: Arc<AtomicBool>,
    ) -> Self {
        let name = url.split('/').rev().nth(1).unwrap_or(url);
        Self {
            url: url.to_owned(),
            options: options.clone(),
            known,
            stop,
            http: Client::new(options.server, HTTP_TIMEOUT),
            history: History::new(name),
            findings: Findings::default(),
            followed: Followed {
                media: MediaHistory::new(name),
                ..Followed::default()
            },
            inits: BTreeMap::new(),
            from_msn: None,
            next: (0, 0),
            bytes: BTreeMap::new(),
            hinted: Hinted::default(),
            hints: None,
            listed: HashMap::new(),
            apart: HashMap::new(),
        }
    }

    pub(super) fn run(mut self) -> (Followed, Findings) {
        let (sender, receiver) = mpsc::channel::<String>();
        self.hints = Some(sender);
        let (hinted, server) = (Arc::clone(&self.hinted), self.options.server);
        let worker = std::thread::spawn(move || follow_hints(server, &receiver, &hinted));
        let mut failures = 0;
        let mut round = 0_u64;
        while !self.stop.load(Ordering::Relaxed) && failures < FAILURES_MAX {
            match self.round(round) {
                Ok(true) => break,
                Ok(false) => failures = 0,
                Err(error) => {
                    failures += 1;
                    if !self.stop.load(Ordering::Relaxed) {
                        self.findings.add("reload", &self.url, format!("{error:#}"));
                    }
                    std::thread::sleep(Duration::from_millis(200));
                }
            }
            round += 1;
        }
        self.hints = None;
        // A hint that is still being held ends with the stream or with the request's own timeout; nobody waits for it.
        drop(worker);
        self.followed.void_hints = self.history.void_hints;
        self.findings.extend(std::mem::take(&mut self.history.findings));
        self.findings
            .extend(std::mem::take(&mut self.followed.media.findings));
        (self.followed, self.findings)
    }

    /// One reload and the media that it brings. `true` when the stream has ended.
    fn round(&mut self, round: u64) -> anyhow::Result<bool> {
        let list = match self.history.last() {
            None => {
                let response = self.http.get(&self.url)?;
                self.playlist_headers(&response, false);
                anyhow::ensure!(response.status == 200, "status {}", response.status);
                MediaPlaylist::parse(&response.text())?
            }
            Some(_) => self.reload(round)?,
        };
        if round == 4 {
            self.too_far_ahead(&list);
        }
        self.history.observe(&list);
        self.followed.target_us = i64::try_from(list.target_s).unwrap_or(0) * 1_000_000;
        self.reports(&list);
        if let (Some(hints), Some(hint)) = (&self.hints, list.part_hints.first()) {
            let _ = hints.send(resolve(&self.url, hint));
        }
        self.media(&list)?;
        self.settle_hints();
        Ok(list.ended)
    }

    fn reload(&mut self, round: u64) -> anyhow::Result<MediaPlaylist> {
        let previous = self.history.last().cloned().unwrap_or_default();
        let (msn, part) = previous.next_part();
        let full_url = format!("{}?_HLS_msn={msn}&_HLS_part={part}", self.url);
        let delta = round.is_multiple_of(3) && previous.can_skip_until.is_some();
        let url = if delta {
            format!("{full_url}&_HLS_skip=YES")
        } else {
            full_url.clone()
        };
        let asked = Instant::now();
        let response = self.http.get(&url)?;
        let took = asked.elapsed();
        let held_too_long = took > Duration::from_secs(3 * previous.target_s);
        if (response.status == 503 || held_too_long) && !self.options.expect_pause {
            self.findings.add(
                "reload-stalled",
                &self.url,
                format!("{url}: {} after {took:?}", response.status),
            );
        }
        if response.status == 503 {
            return Ok(previous);
        }
        anyhow::ensure!(response.status == 200, "{url}: status {}", response.status);
        self.playlist_headers(&response, true);
        self.followed.counts[0] += 1;
        self.followed
            .reload_ms
            .push(u64::try_from(took.as_millis()).unwrap_or(u64::MAX));
        let mut list = MediaPlaylist::parse(&response.text())?;
        if list.skipped > 0 {
            self.followed.counts[1] += 1;
            let merged = list.merged(&previous)?;
            let full = MediaPlaylist::parse(&self.http.get(&full_url)?.text())?;
            self.compare_delta(&merged, &full);
            list = if full.next_part() >= merged.next_part() {
                full
            } else {
                merged
            };
        }
        let reached = list.next_part();
        // A complete segment satisfies a wait for a part that it does not have.
        self.findings.require(
            reached > (msn, part) || list.ended,
            "reload-content",
            &self.url,
            || format!("asked for {msn}.{part}, answered up to {reached:?}"),
        );
        Ok(list)
    }

    fn compare_delta(&mut self, merged: &MediaPlaylist, full: &MediaPlaylist) {
        if merged.next_part() != full.next_part() || merged.media_sequence != full.media_sequence {
            // A part was added between the two requests.
            return;
        }
        let bare = |list: &MediaPlaylist| -> Vec<Segment> {
            let count = list.segments.len();
            let strip = |(at, segment): (usize, &Segment)| {
                let mut segment = segment.clone();
                if at + 4 < count {
                    segment.parts.clear();
                }
                segment
            };
            list.segments.iter().enumerate().map(strip).collect()
        };
        let (left, right) = (bare(merged), bare(full));
        if left != right {
            let first = left.iter().zip(&right).find(|(left, right)| left != right);
            self.findings.add(
                "delta",
                &self.url,
                format!("the delta update gives another playlist: {first:?}"),
            );
        }
    }

    /// 6.2.5.2: a request beyond the next part or so is a mistake of the client.
    fn too_far_ahead(&mut self, list: &MediaPlaylist) {
        let url = format!("{}?_HLS_msn={}", self.url, list.next_part().0 + 10);
        let status = self.http.get(&url).map(|response| response.status);
        self.findings
            .require(matches!(status, Ok(400)), "too-far-ahead", &self.url, || {
                format!("{url}: {status:?}")
            });
    }

    /// 4.4.5.4: every other rendition is reported, and does not stay far from where we are.
    fn reports(&mut self, list: &MediaPlaylist) {
        if list.ended {
            return;
        }
        let own = list.next_part();
        for report in &list.reports {
            let apart = if report.last_msn.abs_diff(own.0) > 1 {
                let since = self.apart.entry(report.uri.clone()).or_insert_with(Instant::now);
                since.elapsed()
            } else {
                self.apart.remove(&report.uri);
                Duration::ZERO
            };
            let good = apart <= CATCH_UP && report.last_part.is_some();
            self.findings.require(good, "report", &self.url, || {
                format!("{report:?}, while this rendition is at {own:?}, apart for {apart:?}")
            });
        }
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let reported: Vec<String> = list
            .reports
            .iter()
            .map(|report| resolve(&self.url, &report.uri))
            .collect();
        for report in &reported {
            // It may be too new for us; but never ourselves.
            self.findings
                .require(*report != self.url, "report", &self.url, || {
                    "reports itself".into()
                });
        }
        // Renditions that have just joined may not be reported yet.
        if self.followed.counts[0] > 8 {
            for other in known.iter().filter(|other| **other != self.url) {
                self.findings
                    .require(reported.contains(other), "report", &self.url, || {
                        format!("does not report {other}")
                    });
            }
        }
    }

    fn media(&mut self, list: &MediaPlaylist) -> anyhow::Result<()> {
        let from = *self.from_msn.get_or_insert_with(|| {
            // The first segment whose parts are all there, so that bytes can be compared.
            let with_parts = list.segments.iter().find(|segment| !segment.parts.is_empty());
            with_parts.map_or(list.media_sequence, |segment| segment.msn)
        });
        let from = from.max(self.next.0);
        for segment in list.segments.iter().filter(|segment| segment.msn >= from) {
            if segment.gap {
                self.followed.gaps += u64::from(self.next.0 <= segment.msn);
                self.followed.media.cut();
                self.next = (segment.msn + 1, 0);
                continue;
            }
            let Some(init) = self.init(segment)? else { continue };
            if self.next <= (segment.msn, 0) && segment.discontinuity {
                self.followed.media.cut();
                self.followed.discontinuities += 1;
            }
            for (number, part) in (0_u64..).zip(&segment.parts) {
                if (segment.msn, number) >= self.next {
                    self.part(&init, segment.msn, number, part)?;
                    self.next = (segment.msn, number + 1);
                }
            }
            if segment.uri.is_some() {
                self.segment(&init, segment)?;
                self.next = (segment.msn + 1, 0);
            }
        }
        Ok(())
    }

    fn init(&mut self, segment: &Segment) -> anyhow::Result<Option<Init>> {
        let Some(map) = &segment.map else {
            self.findings.add(
                "map",
                &self.url,
                format!("segment {} has no EXT-X-MAP", segment.msn),
            );
            return Ok(None);
        };
        if let Some(init) = self.inits.get(map) {
            return Ok(Some(init.clone()));
        }
        let url = resolve(&self.url, map);
        let response = self.http.get(&url)?;
        self.media_headers(&url, &response);
        let init = mp4::init(&response.body);
        match init {
            Ok(init) => {
                self.inits.insert(map.clone(), init.clone());
                self.followed.init = Some(init.clone());
                Ok(Some(init))
            }
            Err(error) => {
                self.findings.add("init", &url, format!("{error:#}"));
                Ok(None)
            }
        }
    }

    fn part(&mut self, init: &Init, msn: u64, number: u64, part: &Part) -> anyhow::Result<()> {
        if part.gap {
            self.followed.media.cut();
            return Ok(());
        }
        let url = resolve(&self.url, &part.uri);
        let response = self.http.get(&url)?;
        self.media_headers(&url, &response);
        self.followed.counts[2] += 1;
        self.listed.insert(url.clone(), response.body.clone());
        match mp4::fragments(init, &response.body) {
            Ok(fragments) => self.followed.media.part(init, msn, number, part, &fragments),
            Err(error) => self.findings.add("part-mp4", &url, format!("{error:#}")),
        }
        self.bytes.insert((msn, number), response.body);
        Ok(())
    }

    /// Compares what hinted requests brought with the parts that were listed later.
    fn settle_hints(&mut self) {
        let mut hinted = self.hinted.lock().unwrap_or_else(PoisonError::into_inner);
        let both: Vec<String> = hinted
            .keys()
            .filter(|url| self.listed.contains_key(*url))
            .cloned()
            .collect();
        for url in both {
            let (Some((status, early)), Some(late)) = (hinted.remove(&url), self.listed.remove(&url)) else {
                continue;
            };
            self.followed.hints += 1;
            self.findings
                .require(status == 200 && early == late, "hint-bytes", &url, || {
                    format!(
                        "the hinted request brought status {status} and {} bytes, the part has {}",
                        early.len(),
                        late.len()
                    )
                });
        }
        drop(hinted);
        // Bounded: parts that were never hinted are forgotten.
        if self.listed.len() > 64 {
            self.listed.clear();
        }
    }

    fn segment(&mut self, init: &Init, segment: &Segment) -> anyhow::Result<()> {
        let url = resolve(&self.url, segment.uri.as_deref().unwrap_or_default());
        let response = self.http.get(&url)?;
        self.media_headers(&url, &response);
        self.followed.counts[3] += 1;
        let count = segment.parts.len() as u64;
        let parts: Option<Vec<u8>> = (0..count)
            .map(|number| self.bytes.get(&(segment.msn, number)).map(Vec::as_slice))
            .collect::<Option<Vec<&[u8]>>>()
            .filter(|parts| !parts.is_empty())
            .map(|parts| parts.concat());
        self.bytes.retain(|(msn, _), _| *msn > segment.msn);
        match mp4::fragments(init, &response.body) {
            Ok(fragments) => {
                self.followed
                    .media
                    .segment(init, segment, &response.body, parts.as_deref(), &fragments)
            }
            Err(error) => self.findings.add("segment-mp4", &url, format!("{error:#}")),
        }
        Ok(())
    }

    fn playlist_headers(&mut self, response: &Response, blocking: bool) {
        super::master::headers(response, &self.url, &mut self.findings);
        let age = max_age(response);
        let target = self.history.last().map_or(u64::MAX / 8, |list| list.target_s);
        // RFC 8216bis B.1: a blocking answer stays true for ever, but is useful for a few targets only.
        let bound = if blocking { 6 * target } else { target };
        self.findings.require(
            age.is_none_or(|age| age <= bound),
            "cache-playlist",
            &self.url,
            || format!("max-age {age:?} on a playlist (blocking: {blocking})"),
        );
    }

    fn media_headers(&mut self, url: &str, response: &Response) {
        self.findings
            .require(response.status == 200, "media-status", url, || {
                format!("status {}", response.status)
            });
        let cache = response.header("cache-control").unwrap_or_default();
        let right = cache.contains("immutable") && max_age(response) == Some(YEAR_S);
        self.findings
            .require(right, "cache-media", url, || format!("Cache-Control: {cache}"));
        let kind = response.header("content-type").unwrap_or_default();
        self.findings.require(
            matches!(kind, "video/mp4" | "audio/mp4" | "video/iso.segment"),
            "content-type",
            url,
            || format!("{kind:?}"),
        );
        let cors = response.header("access-control-allow-origin").is_some();
        self.findings
            .require(cors, "cors", url, || "no Access-Control-Allow-Origin".into());
    }
}

fn follow_hints(server: std::net::SocketAddr, hints: &mpsc::Receiver<String>, hinted: &Hinted) {
    let mut http = Client::new(server, HTTP_TIMEOUT);
    let mut last = String::new();
    while let Ok(url) = hints.recv() {
        if url == last {
            continue;
        }
        if let Ok(response) = http.get(&url) {
            let mut hinted = hinted.lock().unwrap_or_else(PoisonError::into_inner);
            // Bounded: what was never listed is thrown away with the rest.
            if hinted.len() > 64 {
                hinted.clear();
            }
            hinted.insert(url.clone(), (response.status, response.body));
        }
        last = url;
    }
}

fn max_age(response: &Response) -> Option<u64> {
    let cache = response.header("cache-control")?;
    cache
        .split(',')
        .find_map(|word| word.trim().strip_prefix("max-age="))?
        .parse()
        .ok()
}

/// `reference` relative to the path `base` (RFC 3986 5.2, without `..` beyond the root).
pub(super) fn resolve(base: &str, reference: &str) -> String {
    if reference.starts_with('/') {
        return reference.to_owned();
    }
    let mut parts: Vec<&str> = base.split('/').collect();
    parts.pop();
    for word in reference.split('/') {
        match word {
            "." => {}
            ".." => {
                parts.pop();
            }
            word => parts.push(word),
        }
    }
    parts.join("/")
}

#[cfg(test)]
mod tests {
    use super::resolve;

    #[test]
    fn references_are_resolved() {
        for (base, reference, expected) in [
            (
                "/live/a/master.m3u8",
                "source/playlist.m3u8",
                "/live/a/source/playlist.m3u8",
            ),
            (
                "/live/a/source/playlist.m3u8",
                "../audio/playlist.m3u8",
                "/live/a/audio/playlist.m3u8",
            ),
            (
                "/live/a/source/playlist.m3u8",
                "x/part-1.0.m4s",
                "/live/a/source/x/part-1.0.m4s",
            ),
            ("/live/a/source/playlist.m3u8", "/b", "/b"),
        ] {
            assert_eq!(resolve(base, reference), expected);
        }
    }
}
