//! Clients that are broken, greedy, slow or silent.

use std::time::{Duration, Instant};

use deliver::{Class, CloseReason, Limits, Timing};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use crate::support::{BIG, Harness};

fn short_limits() -> Limits {
    Limits {
        head_timeout: Duration::from_millis(300),
        idle_timeout: Duration::from_millis(600),
        progress_window: Duration::from_millis(800),
        ..Limits::default()
    }
}

#[tokio::test]
async fn malformed_heads_are_refused_and_counted() {
    let harness = Harness::start();
    for bytes in [
        "\x16\x03\x01\x02\x00garbage\r\n\r\n",
        "GET / HTTP/9.9\r\n\r\n",
        "G\0T / HTTP/1.1\r\n\r\n",
    ] {
        assert_eq!(harness.send(bytes).await.status, 400, "{bytes:?}");
    }
    let many = format!("GET / HTTP/1.1\r\nhost: t\r\n{}\r\n", "x: y\r\n".repeat(100));
    assert_eq!(harness.send(&many).await.status, 431);
    // More than the server reads: the refusal may be lost with the reset, the closing is not.
    let long = format!("GET / HTTP/1.1\r\nhost: t\r\nx: {}\r\n\r\n", "y".repeat(100_000));
    let mut stream = TcpStream::connect(harness.address()).await.unwrap();
    let _ = stream.write_all(long.as_bytes()).await;
    harness
        .until("malformed", |http| http.closed_for(CloseReason::Malformed) == 5)
        .await;
    assert_eq!(harness.get("/hello").await.text(), "hello");
}

#[tokio::test]
async fn silent_dripping_and_idle_connections_end() {
    let harness = Harness::with(short_limits(), Timing::default());
    let _silent = TcpStream::connect(harness.address()).await.unwrap();
    let mut dripping = TcpStream::connect(harness.address()).await.unwrap();
    let drip = tokio::spawn(async move {
        for byte in b"GET /hello HTTP/1.1\r\nhost: t\r\nx: yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy".iter() {
            if dripping.write_all(&[*byte]).await.is_err() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    harness
        .until("head timeouts", |http| {
            http.closed_for(CloseReason::HeadTimeout) == 2
        })
        .await;
    drip.await.unwrap();

    let mut idle = TcpStream::connect(harness.address()).await.unwrap();
    idle.write_all(b"GET /hello HTTP/1.1\r\nhost: t\r\n\r\n")
        .await
        .unwrap();
    let mut answer = Vec::new();
    idle.read_to_end(&mut answer).await.unwrap();
    assert!(answer.ends_with(b"hello"));
    harness
        .until("idle", |http| http.closed_for(CloseReason::IdleTimeout) == 1)
        .await;
}

#[tokio::test]
async fn slow_readers_are_closed_and_others_are_not_disturbed() {
    const SLOW: u64 = 300;
    let harness = Harness::with(short_limits(), Timing::default());
    let mut readers = Vec::new();
    for index in 0..SLOW {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4096).unwrap();
        let mut stream = socket.connect(harness.address()).await.unwrap();
        stream
            .write_all(b"GET /big HTTP/1.1\r\nhost: t\r\n\r\n")
            .await
            .unwrap();
        // Half of them read nothing, half a byte now and then.
        if index % 2 == 0 {
            readers.push(tokio::spawn(async move {
                let mut byte = [0];
                while stream.read_exact(&mut byte).await.is_ok() {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }));
        } else {
            readers.push(tokio::spawn(async move {
                tokio::time::sleep(Duration::from_secs(30)).await;
                drop(stream);
            }));
        }
    }
    let mut worst = Duration::ZERO;
    while harness
        .counters
        .http
        .snapshot()
        .closed_for(CloseReason::SlowReader)
        < SLOW
    {
        let began = Instant::now();
        assert_eq!(harness.get("/hello").await.text(), "hello");
        worst = worst.max(began.elapsed());
        assert!(
            readers.len() as u64 == SLOW && worst < Duration::from_secs(5),
            "{:?}",
            harness.counters.http.snapshot()
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    readers.iter().for_each(tokio::task::JoinHandle::abort);
    harness.until("all gone", |http| http.open == 0).await;
}

#[tokio::test]
async fn a_reader_that_keeps_up_gets_everything() {
    let harness = Harness::with(short_limits(), Timing::default());
    let answer = harness.get("/big").await;
    assert_eq!((answer.status, answer.body.len()), (200, BIG));
    harness
        .until("bytes", |http| http.class(Class::Page).bytes == BIG as u64)
        .await;
}

#[tokio::test]
async fn bodies_are_bounded() {
    let harness = Harness::with(
        Limits {
            request_body_bytes_max: 1000,
            ..Limits::default()
        },
        Timing::default(),
    );
    let post = |length: usize, body: &str| {
        format!(
            "POST /echo HTTP/1.1\r\nhost: t\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}"
        )
    };
    assert_eq!(harness.send(&post(5, "12345")).await.text(), "12345");
    assert_eq!(harness.send(&post(1001, "12345")).await.code(), "body_too_large");
    let chunked = format!(
        "POST /echo HTTP/1.1\r\nhost: t\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n7d0\r\n{}\r\n0\r\n\r\n",
        "x".repeat(2000)
    );
    assert_eq!(harness.send(&chunked).await.status, 413);
}

#[tokio::test]
async fn a_panic_is_one_500() {
    let harness = Harness::start();
    for path in ["/panic", "/live/panic/master.m3u8"] {
        let answer = harness.get(path).await;
        assert_eq!((answer.status, answer.code().as_str()), (500, "internal_error"));
    }
    assert_eq!(harness.get("/hello").await.status, 200);
    assert_eq!(harness.counters.http.snapshot().panics, 2);
}

#[tokio::test]
async fn connections_are_bounded() {
    let harness = Harness::with(
        Limits {
            connections_max: 2,
            ..Limits::default()
        },
        Timing::default(),
    );
    let _one = TcpStream::connect(harness.address()).await.unwrap();
    let _two = TcpStream::connect(harness.address()).await.unwrap();
    harness.until("two open", |http| http.open == 2).await;
    assert_eq!(harness.get("/hello").await.status, 503);
    assert_eq!(
        harness.counters.http.snapshot().closed_for(CloseReason::TooMany),
        1
    );
}

#[tokio::test]
async fn a_taken_port_is_said() {
    let harness = Harness::start();
    let config = deliver::ServerConfig {
        http: vec![harness.address()],
        ..deliver::ServerConfig::default()
    };
    let streams = std::sync::Arc::clone(&harness.windows) as _;
    let refused = deliver::Server::start(
        config,
        &harness.cores,
        streams,
        axum::Router::new(),
        &harness.counters,
    );
    let message = refused.unwrap_err().to_string();
    assert!(message.contains(&harness.address().to_string()), "{message}");
}
