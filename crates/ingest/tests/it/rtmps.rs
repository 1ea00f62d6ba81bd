//! RTMP over TLS.

use std::time::Duration;

use bytes::BytesMut;
use ingest::{CloseReason, Limits};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::ffmpeg::{FRAME_RATE, SECONDS, run, usual};
use crate::support::Server;

/// FFmpeg's TLS (GnuTLS in Debian) does not ask who signed the certificate unless told to.
#[tokio::test]
async fn ffmpeg_publishes_over_tls() {
    let server = Server::start_tls(Limits::default());
    let seen = run(&server, &usual(), "a").await;
    assert_eq!(seen.video.len(), SECONDS * FRAME_RATE);
    assert!(seen.audio.len() > 180, "{}", seen.audio.len());
    let stream = server.registry.stream("a").unwrap();
    assert_eq!(stream.publisher().protocol, "rtmps");
}

#[tokio::test]
async fn who_speaks_no_tls_is_closed_and_counted() {
    let mut limits = Limits::default();
    limits.session.handshake_timeout = 200_000;
    let server = Server::start_tls(limits);
    // RTMP without TLS.
    let mut socket = TcpStream::connect(server.address).await.unwrap();
    socket.write_all(&[3; 1537]).await.unwrap();
    let mut rest = BytesMut::new();
    // An alert, then the end; or a reset, as there are unread bytes.
    while socket.read_buf(&mut rest).await.unwrap_or(0) > 0 {}
    server.wait_closed(CloseReason::TlsFailed, 1).await;
    // Nothing at all.
    let silent = TcpStream::connect(server.address).await.unwrap();
    server.wait_closed(CloseReason::TlsFailed, 2).await;
    drop(silent);
    assert_eq!(server.server.stats().closed(CloseReason::LeftEarly), 0);
}

/// A peer that is in its TLS handshake when the server ends.
#[tokio::test]
async fn a_drain_does_not_wait_for_ever_for_a_handshake() {
    let mut limits = Limits::default();
    limits.session.handshake_timeout = 300_000;
    let server = Server::start_tls(limits);
    let silent = TcpStream::connect(server.address).await.unwrap();
    crate::support::wait(
        || {
            let active = &server.server.stats().connections_active;
            active.load(std::sync::atomic::Ordering::Relaxed) == 1
        },
        "the connection",
    )
    .await;
    server.server.drain();
    tokio::time::timeout(Duration::from_secs(10), server.serving)
        .await
        .expect("the server ends")
        .unwrap()
        .unwrap();
    drop(silent);
}
