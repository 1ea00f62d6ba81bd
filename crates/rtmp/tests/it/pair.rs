//! Our client against our server.

use bytes::BytesMut;
use media::MediaKind::{Audio, Video};
use rtmp::amf::Value;
use rtmp::{Error, Event, HandshakeKind, Limits};

use crate::support::{Pair, config};

#[test]
fn every_handshake_leads_to_publishing() {
    for kind in [
        HandshakeKind::Simple,
        HandshakeKind::Digest0,
        HandshakeKind::Digest1,
    ] {
        let mut pair = Pair::new(config(4096, kind), Limits::default());
        pair.publish();
        assert_eq!(pair.server.handshake_kind(), Some(kind));
    }
}

#[test]
fn media_and_metadata_arrive_as_sent_whatever_the_chunk_size() {
    for chunk_bytes in [1, 2, 127, 128, 129, 4096, 65_536, 0xff_ffff] {
        let mut pair = Pair::new(config(chunk_bytes, HandshakeKind::Simple), Limits::default());
        pair.publish();
        let mut out = BytesMut::new();
        let metadata = vec![("framerate".to_owned(), Value::Number(30.0))];
        pair.client.write_metadata(&mut out, &metadata);
        pair.send(&out);
        pair.step(0).unwrap();
        assert_eq!(pair.server_events.remove(0), Event::Metadata(metadata));
        let mut expected = Vec::new();
        let mut out = BytesMut::new();
        for number in 0..60i64 {
            let length = [0, 1, 5, 128, 700, 5000, 40_000][number as usize % 7];
            let kind = if number % 3 == 0 { Video } else { Audio };
            let body: Vec<u8> = (0..length).map(|at| (at as i64 + number) as u8).collect();
            pair.client.write_media(
                &mut out,
                kind,
                number * 17,
                &[&body[..length / 2], &body[length / 2..]],
            );
            expected.push((kind, number * 17, body.into()));
        }
        pair.send(&out);
        pair.step(0).unwrap();
        assert_eq!(pair.media(), expected);
        assert_eq!(pair.server.partial_bytes(), 0);
    }
}

#[test]
fn times_never_wrap_and_extended_ones_travel() {
    let mut pair = Pair::new(config(128, HandshakeKind::Simple), Limits::default());
    pair.publish();
    let times = [
        0,
        0xff_fffe,
        0xff_ffff,
        0x100_0000,
        0x100_0028,
        0x200_0028,
        0x300_0050,
        0x2ff_fff0,
        0x7fff_fff0,
        0xc000_0000,
        0xffff_fff0,
        0x1_0000_0010,
        0x1_0000_0004,
        0x1_0000_0038,
    ];
    let mut out = BytesMut::new();
    for at in times {
        // Longer than a chunk: the extended time is repeated in each.
        pair.client.write_media(&mut out, Video, at, &[&[7; 500]]);
    }
    pair.send(&out);
    pair.step(0).unwrap();
    let found: Vec<i64> = pair.media().into_iter().map(|(_, at, _)| at).collect();
    assert_eq!(found, times);
}

#[test]
fn a_refused_client_reads_why() {
    let mut pair = Pair::new(config(128, HandshakeKind::Digest0), Limits::default());
    pair.ask();
    pair.server
        .reject_publish("NetStream.Publish.BadName", "This stream key is not known.");
    let error = pair.step(0).unwrap_err();
    let expected = Error::Refused {
        code: "NetStream.Publish.BadName".into(),
        description: "This stream key is not known.".into(),
    };
    assert_eq!(error, expected);
    assert!(pair.is_closed);
    assert_eq!(pair.server.poll_timeout(), None);
}

#[test]
fn a_stream_ends_in_good_order_and_may_begin_again() {
    let mut pair = Pair::new(config(128, HandshakeKind::Simple), Limits::default());
    pair.publish();
    let mut out = BytesMut::new();
    pair.client.write_media(&mut out, Audio, 5, &[&[1]]);
    pair.client.write_unpublish(&mut out);
    pair.client.write_media(&mut out, Audio, 6, &[&[2]]);
    pair.send(&out);
    pair.step(0).unwrap();
    let events: Vec<_> = pair.server_events.drain(..).collect();
    assert!(
        matches!(
            events[..],
            [Event::Media { timestamp_ms: 5, .. }, Event::Unpublished]
        ),
        "{events:?}"
    );
    assert!(!pair.server.is_publishing());
    assert_eq!(pair.server.stats().ignored_messages, 1);
}

#[test]
fn a_silent_peer_is_asked_then_dropped() {
    let limits = Limits::default();
    let mut pair = Pair::new(config(128, HandshakeKind::Simple), limits.clone());
    pair.publish();
    let ping_at = pair.server.poll_timeout().unwrap();
    assert_eq!(ping_at, limits.idle_timeout / 2);
    pair.server.handle_timeout(ping_at).unwrap();
    // The client answers the ping: it lives.
    pair.step(ping_at).unwrap();
    assert_eq!(
        pair.server.poll_timeout(),
        Some(ping_at + limits.idle_timeout / 2)
    );
    let again = ping_at + limits.idle_timeout / 2;
    pair.server.handle_timeout(again).unwrap();
    let end = ping_at + limits.idle_timeout;
    assert_eq!(pair.server.poll_timeout(), Some(end));
    assert_eq!(
        pair.server.handle_timeout(end),
        Err(Error::Idle { limit_ms: 30_000 })
    );
}

#[test]
fn received_bytes_are_acknowledged() {
    let mut pair = Pair::new(config(65_536, HandshakeKind::Simple), Limits::default());
    pair.publish();
    let before = pair.server.stats().bytes_out;
    let mut out = BytesMut::new();
    for number in 0..60 {
        pair.client.write_media(&mut out, Video, number, &[&[0; 50_000]]);
    }
    pair.send(&out);
    pair.step(0).unwrap();
    // 3 MB against a window of 2.5 MB: one acknowledgement, 4 bytes behind a header of at most 12.
    let sent = pair.server.stats().bytes_out - before;
    assert!((5..=16).contains(&sent), "{sent}");
}
