//! A server over one synthetic broadcast, for `wrk` and other load: `serve [ADDRESS] [FRAME_BYTES]`.
//!
//! Serves `/live/demo/...` with a part each 240 ms, and prints its own CPU time once a second on stderr.
#![allow(clippy::print_stdout, clippy::print_stderr)] // it is a program

extern crate tidewire_deliver as deliver;

#[allow(dead_code)] // the tests use more of it
#[path = "../tests/http/feed.rs"]
mod feed;

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use deliver::{Class, Cores, Counters, Server, ServerConfig, Streams, Thumbnail};
use feed::{Feed, SEGMENT_FRAMES};
use package::LiveWindow;

struct One(Arc<LiveWindow>);

impl Streams for One {
    fn window(&self, channel: &str) -> Option<Arc<LiveWindow>> {
        (channel == "demo").then(|| Arc::clone(&self.0))
    }

    fn thumbnail(&self, _: &str) -> Thumbnail {
        Box::pin(std::future::ready(None))
    }

    fn allow_view(&self, _: &str) -> bool {
        true
    }
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let address: SocketAddr = arguments
        .next()
        .unwrap_or_else(|| "127.0.0.1:8080".into())
        .parse()
        .expect("an address like 127.0.0.1:8080");
    // 6 frames of 640 bytes and their boxes are a part of about 4 KB.
    let frame_bytes = arguments
        .next()
        .map_or(640, |bytes| bytes.parse().expect("a number of bytes"));
    let mut feed = Feed::new("demo", "s1", frame_bytes);
    feed.push(3 * SEGMENT_FRAMES);
    let cores = Cores::start(NonZeroUsize::MIN, "http").expect("a thread");
    let config = ServerConfig {
        http: vec![address],
        ..ServerConfig::default()
    };
    let counters = Counters::new(cores.len(), &config.limits);
    let page = Bytes::from(vec![b'x'; 4096]);
    let router = axum::Router::new().route("/page", axum::routing::get(move || async move { page }));
    let server = Server::start(
        config,
        &cores,
        Arc::new(One(Arc::clone(&feed.window))),
        router,
        &counters,
    )
    .unwrap_or_else(|error| panic!("{error}"));
    println!(
        "http://{}/live/demo/source/s1/part-2.1.m4s",
        server.http_addresses()[0]
    );
    let started = Instant::now();
    let mut frames = 0;
    loop {
        std::thread::sleep(Duration::from_millis(40));
        feed.push(1);
        frames += 1;
        if frames % 125 == 0 {
            let http = counters.http.snapshot();
            let requests: u64 = Class::ALL
                .iter()
                .map(|class| http.class(*class).by_status.iter().sum::<u64>())
                .sum();
            eprintln!("{:.0?} open {} requests {requests}", started.elapsed(), http.open);
        }
    }
}
