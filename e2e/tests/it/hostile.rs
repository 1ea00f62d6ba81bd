//! Strangers on the ports.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use tidewire_e2e::hls::checker::{self, Options};
use tidewire_e2e::publish::Source;
use tidewire_e2e::server::{Server, Setup};

use crate::{NO_LADDER, setup};

fn options(server: &Server, seconds: u64) -> Options {
    Options {
        server: server.http,
        channel: "test".into(),
        run_for: Duration::from_secs(seconds),
        expect_pause: false,
    }
}

/// xorshift64: the same noise on every run.
fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 24) as u8
    })
    .take(length)
    .collect()
}

#[test]
fn random_bytes_at_the_rtmp_port_close_only_their_own_connection() {
    let server = Server::start_with(&setup(NO_LADDER)).expect("start");
    let key = server.add_channel("test").expect("channel");
    let mut publisher = Source::default()
        .publish(&server.publish_url(&key))
        .expect("ffmpeg");
    server.wait_playable("test").expect("plays");
    let before = server.resident_bytes().expect("memory");
    let rtmp = server.rtmp;
    let noisy = std::thread::spawn(move || {
        for seed in 0..200_u64 {
            let Ok(mut stream) = TcpStream::connect(rtmp) else {
                continue;
            };
            let mut bytes = noise(seed, 64 << 10);
            if seed % 2 == 0 {
                // A right handshake, then noise as chunks.
                bytes[0] = 3;
                bytes[1..9].fill(0);
            }
            let _ = stream.set_write_timeout(Some(Duration::from_millis(200)));
            let _ = stream.set_read_timeout(Some(Duration::from_millis(20)));
            let _ = stream.write_all(&bytes);
            let _ = stream.read(&mut [0; 4096]);
        }
    });
    let outcome = checker::check(&options(&server, 10)).expect("check");
    noisy.join().expect("the noise ends");
    assert!(outcome.findings.is_empty(), "{outcome}");
    assert!(publisher.is_running(), "the publisher was hit");
    let grown = server.resident_bytes().expect("memory").saturating_sub(before);
    assert!(grown < 64 << 20, "memory grew by {grown} bytes");
}

#[test]
fn a_wrong_key_and_a_second_publisher_are_refused() {
    let server = Server::start_with(&setup(NO_LADDER)).expect("start");
    let key = server.add_channel("test").expect("channel");
    let mut wrong = Source::default()
        .publish(&server.publish_url("not-a-key"))
        .expect("ffmpeg");
    wrong.wait(Duration::from_secs(10)).expect("refused");
    let _first = Source::default()
        .publish(&server.publish_url(&key))
        .expect("ffmpeg");
    server.wait_playable("test").expect("plays");
    let mut second = Source::default()
        .publish(&server.publish_url(&key))
        .expect("ffmpeg");
    second.wait(Duration::from_secs(10)).expect("refused");
    assert_eq!(server.channel("test").expect("view")["state"], "live");
}

#[test]
fn a_thousand_stuck_viewers_do_not_disturb_the_others() {
    let config =
        "streaming:\n  enable_abr: false\nlimits:\n  viewer_connections_per_address: 3000\n".to_owned();
    let server = Server::start_with(&Setup {
        config,
        ..Setup::default()
    })
    .expect("start");
    let key = server.add_channel("test").expect("channel");
    let _publisher = Source::default()
        .publish(&server.publish_url(&key))
        .expect("ffmpeg");
    let quiet = checker::check(&options(&server, 6)).expect("check");
    let before = server.resident_bytes().expect("memory");
    // Each asks for the largest object many times over and then never reads.
    let list = server
        .get("/live/test/source/playlist.m3u8")
        .expect("playlist")
        .text();
    let segment = list
        .lines()
        .rfind(|line| line.ends_with(".m4s") && !line.starts_with('#'))
        .expect("a segment");
    let request = format!("GET /live/test/source/{segment} HTTP/1.1\r\nHost: slow\r\n\r\n").repeat(50);
    let stuck: Vec<TcpStream> = (0..1000)
        .map(|_| {
            let mut stream = TcpStream::connect(server.http).expect("connect");
            stream.write_all(request.as_bytes()).expect("ask");
            stream
        })
        .collect();
    let disturbed = checker::check(&options(&server, 8)).expect("check");
    let grown = server.resident_bytes().expect("memory").saturating_sub(before);
    println!(
        "memory grew by {:.1} MB with {} stuck viewers",
        grown as f64 / 1e6,
        stuck.len()
    );
    assert!(disturbed.findings.is_empty(), "{disturbed}");
    assert!(grown < 300 << 20, "memory grew by {grown} bytes");
    let slowest = |outcome: &checker::Outcome| {
        let mut all: Vec<u64> = outcome
            .renditions
            .values()
            .flat_map(|followed| followed.reload_ms.clone())
            .collect();
        all.sort_unstable();
        all[all.len() * 95 / 100]
    };
    let (quiet, disturbed) = (slowest(&quiet), slowest(&disturbed));
    assert!(
        disturbed < quiet + 100,
        "p95 of a reload went from {quiet} to {disturbed} ms"
    );
}

#[test]
fn a_half_request_is_closed_after_a_while() {
    let server = Server::start_with(&setup(NO_LADDER)).expect("start");
    let mut stream = TcpStream::connect(server.http).expect("connect");
    stream.write_all(b"GET / HTTP/1.1\r\nHost:").expect("write");
    stream
        .set_read_timeout(Some(Duration::from_secs(40)))
        .expect("timeout");
    let start = Instant::now();
    let mut sink = Vec::new();
    let closed = stream.read_to_end(&mut sink);
    assert!(closed.is_ok(), "still open after {:?}", start.elapsed());
}
