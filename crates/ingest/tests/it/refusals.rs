//! Every named limit and fault, and that others are not touched by it.

use std::time::{Duration, Instant};

use bytes::BytesMut;
use ingest::{CloseReason, Limits, MediaFault};
use media::MediaKind;
use rtmp::{ClientEvent, ClientOutput, Error, ErrorReason};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::support::{PATIENCE, Server, WRONG_KEY, last_word, publish, wait};

fn refused(result: Result<(TcpStream, rtmp::ClientSession), Error>) -> (String, String) {
    match result {
        Err(Error::Refused { code, description }) => (code, description),
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("accepted"),
    }
}

/// Connects, sends, reads until the server hangs up.
async fn send_and_wait(server: &Server, bytes: &[u8]) {
    let mut socket = TcpStream::connect(server.address).await.unwrap();
    // The server may hang up in the middle.
    let _ = socket.write_all(bytes).await;
    let mut sink = Vec::new();
    let _ = timeout(PATIENCE, socket.read_to_end(&mut sink))
        .await
        .expect("the server hangs up");
}

#[tokio::test]
async fn wrong_keys_are_refused_then_throttled() {
    let limits = Limits {
        failed_keys_max: 3,
        ..Limits::default()
    };
    let server = Server::start(limits);
    for _ in 0..3 {
        let (code, sentence) = refused(publish(&server, "NONSENSE").await);
        assert_eq!(
            (code.as_str(), sentence.as_str()),
            ("NetStream.Publish.BadName", WRONG_KEY)
        );
    }
    let (_, sentence) = refused(publish(&server, "KEY-a").await);
    assert!(sentence.contains("Too many wrong stream keys"), "{sentence}");
    server.wait_closed(CloseReason::WrongKey, 3).await;
    server.wait_closed(CloseReason::Throttled, 1).await;
}

#[tokio::test]
async fn a_live_channel_refuses_a_second_publisher_in_words() {
    let server = Server::start(Limits::default());
    let (mut socket, mut client) = publish(&server, "KEY-a").await.unwrap();
    let (code, sentence) = refused(publish(&server, "KEY-a").await);
    assert_eq!(code, "NetStream.Publish.BadName");
    assert!(sentence.contains("already live"), "{sentence}");
    // The first goes on, and ends in good order.
    let mut out = BytesMut::new();
    client.write_unpublish(&mut out);
    socket.write_all(&out).await.unwrap();
    drop(socket);
    server.wait_closed(CloseReason::Unpublished, 1).await;
    publish(&server, "KEY-a").await.unwrap();
}

#[tokio::test]
async fn a_silent_publisher_gives_way() {
    let limits = Limits {
        stale_publisher_after: Duration::ZERO,
        ..Limits::default()
    };
    let server = Server::start(limits);
    let first = publish(&server, "KEY-a").await.unwrap();
    let second = publish(&server, "KEY-a").await.unwrap();
    let said = last_word(first.0, first.1).await;
    assert!(format!("{said:?}").contains("Another connection"), "{said:?}");
    server.wait_closed(CloseReason::Replaced, 1).await;
    assert_eq!(server.server.publishers().len(), 1);
    drop(second);
}

#[tokio::test]
async fn a_panic_ends_one_session_only() {
    let server = Server::start(Limits::default());
    let (socket, client) = publish(&server, "KEY-a").await.unwrap();
    let mut other = TcpStream::connect(server.address).await.unwrap();
    let mut input = BytesMut::new();
    let mut bad = server.client("PANIC");
    loop {
        while let Some(ClientOutput::Send(bytes)) = bad.poll_output() {
            other.write_all(&bytes).await.unwrap();
        }
        if other.read_buf(&mut input).await.unwrap_or(0) == 0 {
            break;
        }
        bad.handle_input(&mut input).unwrap();
    }
    server.wait_closed(CloseReason::Panic, 1).await;
    assert_eq!(server.server.publishers().len(), 1);
    assert!(client.is_publishing());
    drop(socket);
    server.wait_closed(CloseReason::ConnectionLost, 1).await;
    assert_eq!(
        server
            .server
            .stats()
            .connections_active
            .load(std::sync::atomic::Ordering::Relaxed),
        0
    );
}

#[tokio::test]
async fn strangers_are_closed_and_counted() {
    let server = Server::start(Limits::default());
    send_and_wait(&server, b"GET / HTTP/1.1\r\n\r\n").await;
    server
        .wait_closed(CloseReason::Protocol(ErrorReason::NotRtmp), 1)
        .await;
    // A handshake, then a header that refers to nothing.
    let mut noise = vec![3; 1 + 1536 + 1536];
    noise.extend([0xff; 100]);
    send_and_wait(&server, &noise).await;
    server
        .wait_closed(CloseReason::Protocol(ErrorReason::BadChunk), 1)
        .await;
    // A handshake, then a message of 16 MiB.
    let mut long = vec![3; 1 + 1536 + 1536];
    long.extend([3, 0, 0, 0, 0xff, 0xff, 0xff, 20, 0, 0, 0, 0]);
    send_and_wait(&server, &long).await;
    server
        .wait_closed(CloseReason::Protocol(ErrorReason::TooLong), 1)
        .await;
    drop(TcpStream::connect(server.address).await.unwrap());
    server.wait_closed(CloseReason::LeftEarly, 1).await;
}

/// What FFmpeg sends, up to 13 kB of it.
const FFMPEG: &[u8] = include_bytes!("../../../rtmp/tests/data/ffmpeg-publish.bin");

/// Noise and broken streams on the port: each connection ends, is counted, and a publisher beside them loses nothing.
#[tokio::test]
async fn noise_on_the_port_touches_nobody() {
    let mut limits = Limits::default();
    limits.session.handshake_timeout = 300_000;
    limits.session.publish_timeout = 600_000;
    let server = Server::start(limits);
    let (mut socket, mut client) = publish(&server, "KEY-a").await.unwrap();
    let mut out = BytesMut::new();
    client.write_media(&mut out, MediaKind::Audio, 0, &[&[0xaf, 0, 0x11, 0x90]]);
    socket.write_all(&out).await.unwrap();
    let mut state = 0x5eed_5eed_5eed_5eedu64;
    let mut random = |bound: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) as usize % bound
    };
    let frames = 120;
    for number in 0..frames {
        let mut bytes = FFMPEG.to_vec();
        if number % 3 == 0 {
            bytes.iter_mut().for_each(|byte| *byte = random(256) as u8);
            bytes[0] = 3;
        } else {
            // Behind the handshake; some are only cut.
            for _ in 0..random(6) {
                let at = 3073 + random(bytes.len() - 3073);
                bytes[at] = random(256) as u8;
            }
            bytes.truncate(1 + random(bytes.len()));
        }
        let mut stranger = TcpStream::connect(server.address).await.unwrap();
        let _ = stranger.write_all(&bytes).await;
        // Some hang up at once, some never.
        if number % 2 == 0 {
            drop(stranger);
        } else {
            let mut sink = Vec::new();
            tokio::spawn(async move { stranger.read_to_end(&mut sink).await });
        }
        let mut out = BytesMut::new();
        client.write_media(
            &mut out,
            MediaKind::Audio,
            number * 1024 / 48,
            &[&[0xaf, 1], &[7; 300]],
        );
        socket.write_all(&out).await.unwrap();
    }
    let closed = || {
        CloseReason::all()
            .map(|reason| server.closed(reason))
            .sum::<u64>()
    };
    wait(|| closed() >= frames as u64, "all strangers to be closed").await;
    assert_eq!(server.closed(CloseReason::Panic), 0);
    assert_eq!(server.server.publishers().len(), 1);
    let stream = server.registry.stream("a").unwrap();
    assert_eq!(stream.stats().audio_frames(), frames as u64);
}

#[tokio::test]
async fn half_handshakes_and_idlers_are_closed_in_time() {
    let mut limits = Limits::default();
    limits.session.handshake_timeout = 50_000;
    limits.session.publish_timeout = 300_000;
    let server = Server::start(limits);
    let begun = Instant::now();
    send_and_wait(&server, &[3; 700]).await;
    server
        .wait_closed(CloseReason::Protocol(ErrorReason::HandshakeTimeout), 1)
        .await;
    send_and_wait(&server, &[3; 1 + 1536 + 1536]).await;
    server
        .wait_closed(CloseReason::Protocol(ErrorReason::PublishTimeout), 1)
        .await;
    assert!(begun.elapsed() < Duration::from_secs(10));
    let mut limits = Limits::default();
    limits.session.idle_timeout = 200_000;
    let server = Server::start(limits);
    let (socket, _client) = publish(&server, "KEY-a").await.unwrap();
    server
        .wait_closed(CloseReason::Protocol(ErrorReason::Idle), 1)
        .await;
    drop(socket);
}

#[tokio::test]
async fn connections_are_limited_by_address_and_in_all() {
    let limits = Limits {
        connections_per_address_max: 2,
        ..Limits::default()
    };
    let server = Server::start(limits);
    let first = TcpStream::connect(server.address).await.unwrap();
    let second = TcpStream::connect(server.address).await.unwrap();
    send_and_wait(&server, &[3]).await;
    server.wait_closed(CloseReason::TooManyFromAddress, 1).await;
    drop(first);
    server.wait_closed(CloseReason::LeftEarly, 1).await;
    publish(&server, "KEY-a").await.unwrap();
    drop(second);

    let server = Server::start(Limits {
        connections_max: 1,
        ..Limits::default()
    });
    let only = TcpStream::connect(server.address).await.unwrap();
    send_and_wait(&server, &[3]).await;
    server.wait_closed(CloseReason::TooManyConnections, 1).await;
    drop(only);
}

#[tokio::test]
async fn nonsense_in_tags_is_counted_then_ends_the_connection() {
    let server = Server::start(Limits {
        bad_tags_max: 10,
        ..Limits::default()
    });
    let (mut socket, mut client) = publish(&server, "KEY-a").await.unwrap();
    let mut out = BytesMut::new();
    for number in 0..20 {
        client.write_media(&mut out, MediaKind::Video, number, &[&[0x17, 99, 0, 0, 0, 1]]);
    }
    socket.write_all(&out).await.unwrap();
    server.wait_closed(CloseReason::BadMedia, 1).await;
    assert_eq!(server.server.stats().media_faults(MediaFault::BadTag), 11);
    // A FourCC that is not taken: told what to do.
    let (mut socket, mut client) = publish(&server, "KEY-b").await.unwrap();
    let mut out = BytesMut::new();
    client.write_media(&mut out, MediaKind::Video, 0, &[b"\x90vp09", &[1, 2, 3]]);
    socket.write_all(&out).await.unwrap();
    let mut input = BytesMut::new();
    let error = loop {
        assert!(socket.read_buf(&mut input).await.unwrap() > 0);
        if let Err(error) = client.handle_input(&mut input) {
            break error;
        }
    };
    let said = error.to_string();
    assert!(
        said.contains("H.264, HEVC and AV1") && said.contains("sends VP9"),
        "{said}"
    );
    drop(socket);
    server.wait_closed(CloseReason::UnsupportedCodec, 1).await;
}

#[tokio::test]
async fn drain_and_disconnect_say_goodbye() {
    let server = Server::start(Limits::default());
    let (socket, client) = publish(&server, "KEY-a").await.unwrap();
    let publisher = server.server.publishers().remove(0);
    assert_eq!(publisher.key_id, "id-a");
    let stream = server.registry.stream("a").unwrap();
    assert!(
        server
            .server
            .disconnect(&publisher, "This stream key was revoked.")
    );
    assert!(!server.server.disconnect(&publisher, "Again."));
    let said = last_word(socket, client).await;
    let expected = ClientOutput::Event(ClientEvent::Status {
        level: "status".into(),
        code: "NetStream.Unpublish.Success".into(),
        description: "This stream key was revoked.".into(),
    });
    assert_eq!(said, [expected]);
    server.wait_closed(CloseReason::Disconnected, 1).await;
    // No grace window: who comes next begins a stream of his own.
    assert_eq!(stream.state(), hub::StreamState::Ended);
    let next = publish(&server, "KEY-a").await.unwrap();
    assert_ne!(server.registry.stream("a").unwrap().id(), stream.id());
    drop(next);
    server.wait_closed(CloseReason::ConnectionLost, 1).await;

    let (socket, client) = publish(&server, "KEY-b").await.unwrap();
    let idler = TcpStream::connect(server.address).await.unwrap();
    wait(
        || {
            server
                .server
                .stats()
                .connections_active
                .load(std::sync::atomic::Ordering::Relaxed)
                == 2
        },
        "both",
    )
    .await;
    server.server.drain();
    let said = last_word(socket, client).await;
    assert!(format!("{said:?}").contains("restarting"), "{said:?}");
    drop(idler);
    timeout(PATIENCE, server.serving)
        .await
        .expect("the server ends")
        .unwrap()
        .unwrap();
    assert!(TcpStream::connect(server.address).await.is_err());
}

/// A peer whose bytes never stop coming must not drown out who sends it away.
#[tokio::test]
async fn a_flood_is_sent_away_all_the_same() {
    let server = Server::start(Limits::default());
    let (socket, mut client) = publish(&server, "KEY-a").await.unwrap();
    // Small frames: they cost the server more than they cost their sender.
    let mut frames = BytesMut::new();
    for _ in 0..50_000 {
        client.write_media(&mut frames, MediaKind::Audio, 0, &[&[0xaf, 1, 0]]);
    }
    let mut socket = socket.into_std().unwrap();
    socket.set_nonblocking(false).unwrap();
    let flood = std::thread::spawn(move || while std::io::Write::write_all(&mut socket, &frames).is_ok() {});
    wait(
        || server.server.stats().media_faults(MediaFault::NoConfig) > 50_000,
        "the flood",
    )
    .await;
    let publisher = server.server.publishers().remove(0);
    let told = Instant::now();
    assert!(
        server
            .server
            .disconnect(&publisher, "This stream key was revoked.")
    );
    server.wait_closed(CloseReason::Disconnected, 1).await;
    assert!(
        told.elapsed() < Duration::from_secs(5),
        "after {:?}",
        told.elapsed()
    );
    flood.join().unwrap();
}
