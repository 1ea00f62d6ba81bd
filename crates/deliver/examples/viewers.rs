//! LL-HLS viewers against one serving core: `viewers [VIEWERS] [STREAMS] [SECONDS]`.
//!
//! Each viewer holds two connections (as for video and audio) and on each asks for the next playlist, held until its part
//! exists, and then for that part. Prints the serving thread's CPU for each request, and how long after a part's
//! existence its playlist and its bytes were in the viewer's hands. Server and viewers share the machine.
#![allow(clippy::print_stdout)] // it is a program

extern crate tidewire_deliver as deliver;

#[allow(dead_code)] // the tests use more of it
#[path = "../tests/http/feed.rs"]
mod feed;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, RwLock};
use std::time::{Duration, Instant};

use deliver::{Class, Cores, Counters, Server, ServerConfig, Streams, Thumbnail};
use feed::{Feed, SEGMENT_FRAMES};
use package::LiveWindow;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// 240 ms at 25 frames a second.
const PART_FRAMES: u64 = 6;

struct Many(RwLock<HashMap<String, Arc<LiveWindow>>>);

impl Streams for Many {
    fn window(&self, channel: &str) -> Option<Arc<LiveWindow>> {
        self.0.read().ok()?.get(channel).cloned()
    }

    fn thumbnail(&self, _: &str) -> Thumbnail {
        Box::pin(std::future::ready(None))
    }

    fn allow_view(&self, _: &str) -> bool {
        true
    }
}

/// When each part began to exist: by stream, then (msn, part).
type Born = Arc<Vec<Mutex<HashMap<(u64, u64), Instant>>>>;

fn cpu_ns(thread: &str) -> u64 {
    let tasks = std::fs::read_dir("/proc/self/task").expect("Linux");
    for task in tasks.flatten() {
        let read = |file| std::fs::read_to_string(task.path().join(file)).unwrap_or_default();
        if read("comm").trim() == thread {
            return read("schedstat")
                .split(' ')
                .next()
                .and_then(|ns| ns.parse().ok())
                .unwrap_or(0);
        }
    }
    0
}

fn main() {
    let mut numbers = std::env::args()
        .skip(1)
        .map(|text| text.parse::<u64>().expect("a number"));
    let (viewers, streams) = (numbers.next().unwrap_or(500), numbers.next().unwrap_or(50));
    let seconds = numbers.next().unwrap_or(10);
    let born: Born = Arc::new((0..streams).map(|_| Mutex::default()).collect());
    let mut feeds: Vec<Feed> = (0..streams)
        .map(|index| Feed::new(&format!("c{index}"), "s1", 640))
        .collect();
    feeds.iter_mut().for_each(|feed| feed.push(SEGMENT_FRAMES + 1));
    let windows = feeds
        .iter()
        .map(|feed| (feed.window.channel().to_owned(), Arc::clone(&feed.window)))
        .collect();
    let cores = Cores::start(NonZeroUsize::MIN, "serve").expect("a thread");
    let config = ServerConfig {
        http: vec![SocketAddr::from(([127, 0, 0, 1], 0))],
        ..ServerConfig::default()
    };
    let counters = Counters::new(cores.len(), &config.limits);
    let windows = Arc::new(Many(RwLock::new(windows)));
    let server = Server::start(config, &cores, windows, axum::Router::new(), &counters).expect("a port");
    let address = server.http_addresses()[0];

    let load = Cores::start(NonZeroUsize::MIN, "load").expect("a thread");
    let latencies: Arc<Mutex<Vec<(bool, Duration)>>> = Arc::default();
    for loops in 0..viewers * 2 {
        let stream = (loops % streams) as usize;
        load.spawn_on(
            0,
            view(address, stream, Arc::clone(&born), Arc::clone(&latencies)),
        );
    }
    let feeding = std::thread::Builder::new().name("feed".into()).spawn({
        let born = Arc::clone(&born);
        move || feed_all(&mut feeds, &born)
    });
    std::thread::sleep(Duration::from_secs(3));
    latencies.lock().expect("not poisoned").clear();
    let requests = || -> u64 {
        let http = counters.http.snapshot();
        Class::ALL
            .iter()
            .map(|class| http.class(*class).by_status[1])
            .sum()
    };
    let (cpu, feed_cpu, asked) = (cpu_ns("serve-0"), cpu_ns("feed"), requests());
    std::thread::sleep(Duration::from_secs(seconds));
    let (cpu, asked) = (cpu_ns("serve-0") - cpu, requests() - asked);
    let feed_cpu = cpu_ns("feed") - feed_cpu;
    let http = counters.http.snapshot();
    println!(
        "{viewers} viewers, {streams} streams, {seconds} s: {asked} requests, {:.2} us CPU each, serving core {:.1} % busy, \
         feeding thread {:.1} %, open {}, not 2xx {}",
        cpu as f64 / 1000.0 / asked as f64,
        cpu as f64 / 1e7 / seconds as f64,
        feed_cpu as f64 / 1e7 / seconds as f64,
        http.open,
        Class::ALL
            .iter()
            .map(|class| http.class(*class).by_status[2..].iter().sum::<u64>())
            .sum::<u64>(),
    );
    let mut all = std::mem::take(&mut *latencies.lock().expect("not poisoned"));
    for (name, is_part) in [("playlist", false), ("part", true)] {
        let mut times: Vec<Duration> = all
            .iter()
            .filter(|(part, _)| *part == is_part)
            .map(|(_, time)| *time)
            .collect();
        times.sort_unstable();
        let at = |share: f64| {
            times
                .get((times.len() as f64 * share) as usize)
                .copied()
                .unwrap_or_default()
        };
        println!(
            "{name}: {} times, p50 {:.1?}, p99 {:.1?}, max {:.1?}",
            times.len(),
            at(0.5),
            at(0.99),
            at(0.999_999)
        );
    }
    all.clear();
    drop(feeding);
    std::process::exit(0);
}

/// Frames in real time, the streams spread evenly over a frame's time and over a part's.
fn feed_all(feeds: &mut [Feed], born: &Born) {
    let started = Instant::now();
    let count = feeds.len() as u64;
    for step in 0_u64.. {
        // Stream `index` gets its frame at `step * 40 ms + index * 40 ms / count`; its part phase differs by whole frames.
        for (index, feed) in feeds.iter_mut().enumerate() {
            let due = started + Duration::from_micros(step * 40_000 + index as u64 * 40_000 / count);
            if let Some(wait) = due.checked_duration_since(Instant::now()) {
                std::thread::sleep(wait);
            }
            if step < index as u64 % PART_FRAMES {
                continue;
            }
            let before = feed.window.rendition("source").and_then(|log| newest(&log));
            // Known before anyone can be answered.
            let now = Instant::now();
            feed.push(1);
            let after = feed.window.rendition("source").and_then(|log| newest(&log));
            if let Some(key) = after.filter(|_| after != before) {
                born[index].lock().expect("not poisoned").insert(key, now);
            }
        }
    }
}

/// The newest part, by asking for the one after it.
fn newest(log: &package::RenditionLog) -> Option<(u64, u64)> {
    let text = match log.playlist(None, None, false) {
        package::Answer::Ready(text) => text,
        _ => return None,
    };
    hinted(std::str::from_utf8(&text.body).ok()?)
}

/// (msn, part) of the preload hint.
fn hinted(playlist: &str) -> Option<(u64, u64)> {
    let line = playlist
        .lines()
        .rev()
        .find(|line| line.starts_with("#EXT-X-PRELOAD-HINT:"))?;
    let (msn, part) = line
        .split("part-")
        .nth(1)?
        .split(".m4s")
        .next()?
        .split_once('.')?;
    Some((msn.parse().ok()?, part.parse().ok()?))
}

async fn view(
    address: SocketAddr,
    stream: usize,
    born: Born,
    latencies: Arc<Mutex<Vec<(bool, Duration)>>>,
) -> Option<()> {
    let mut socket = TcpStream::connect(address).await.ok()?;
    let _ = socket.set_nodelay(true);
    let mut buffer = vec![0; 64 * 1024];
    let first = get(
        &mut socket,
        &mut buffer,
        &format!("/live/c{stream}/source/playlist.m3u8"),
    )
    .await?;
    let (mut msn, mut part) = hinted(std::str::from_utf8(&buffer[first]).ok()?)?;
    loop {
        let path =
            format!("/live/c{stream}/source/playlist.m3u8?_HLS_msn={msn}&_HLS_part={part}&_HLS_skip=YES");
        let body = get(&mut socket, &mut buffer, &path).await?;
        let at = Instant::now();
        let next = hinted(std::str::from_utf8(&buffer[body]).ok()?)?;
        let since = born[stream]
            .lock()
            .ok()?
            .get(&next)
            .map(|born| at.saturating_duration_since(*born));
        get(
            &mut socket,
            &mut buffer,
            &format!("/live/c{stream}/source/s1/part-{msn}.{part}.m4s"),
        )
        .await?;
        if let Some(since) = since {
            let mut latencies = latencies.lock().ok()?;
            latencies.push((false, since));
            latencies.push((true, since + at.elapsed()));
        }
        (msn, part) = next;
    }
}

/// One GET; where its body lies in the buffer.
async fn get(socket: &mut TcpStream, buffer: &mut [u8], path: &str) -> Option<std::ops::Range<usize>> {
    socket
        .write_all(format!("GET {path} HTTP/1.1\r\nhost: t\r\nuser-agent: viewers\r\n\r\n").as_bytes())
        .await
        .ok()?;
    let mut filled = 0;
    loop {
        let read = socket
            .read(&mut buffer[filled..])
            .await
            .ok()
            .filter(|read| *read > 0)?;
        filled += read;
        let Some(end) = buffer[..filled].windows(4).position(|four| four == b"\r\n\r\n") else {
            continue;
        };
        let head = std::str::from_utf8(&buffer[..end]).ok()?;
        if !head.starts_with("HTTP/1.1 200") {
            println!("{path}: {}", head.lines().next().unwrap_or_default());
        }
        let length = head
            .split("content-length: ")
            .nth(1)?
            .split("\r\n")
            .next()?
            .parse::<usize>()
            .ok()?;
        while filled < end + 4 + length {
            filled += socket
                .read(&mut buffer[filled..])
                .await
                .ok()
                .filter(|read| *read > 0)?;
        }
        return Some(end + 4..end + 4 + length);
    }
}
