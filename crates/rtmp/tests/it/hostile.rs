//! Random, cut and changed byte streams: no panic, bounded memory. The fuzz targets do the same without end.

use bytes::BytesMut;
use media::MediaKind;
use rtmp::{Event, HandshakeKind, Limits, Output, ServerSession};

use crate::support::{Pair, Random, config};

/// What FFmpeg 5.1 sent to a server that speaks chunks of 128 bytes: 12 pictures and 1.2 s of AAC.
const FFMPEG: &[u8] = include_bytes!("../data/ffmpeg-publish.bin");

#[test]
fn a_real_client_is_understood_however_its_bytes_are_cut() {
    let mut random = Random::new(3);
    for _ in 0..50 {
        // 2 configurations, 12 pictures, an end of sequence, 53 sounds or so.
        let media = feed(FFMPEG, &mut random);
        assert!((60..80).contains(&media), "{media}");
    }
    for _ in 0..4000 {
        let mut bytes = FFMPEG.to_vec();
        mutate(&mut bytes, &mut random);
        feed(&bytes, &mut random);
    }
}

/// A whole session's bytes as a real client writes them.
fn captured(chunk_bytes: usize, kind: HandshakeKind) -> Vec<u8> {
    let mut pair = Pair::new(config(chunk_bytes, kind), Limits::default());
    pair.publish();
    let mut out = BytesMut::new();
    pair.client
        .write_metadata(&mut out, &[("width".into(), 1280.0.into())]);
    for number in 0..40i64 {
        pair.client
            .write_media(&mut out, MediaKind::Video, number * 33, &[&[0x27; 900]]);
        pair.client
            .write_media(&mut out, MediaKind::Audio, number * 33, &[&[0xaf; 200]]);
    }
    pair.client.write_unpublish(&mut out);
    pair.send(&out);
    pair.step(0).unwrap();
    pair.capture
}

/// Feeds `bytes` in pieces, accepts every publish, and checks the bounds at each step.
fn feed(bytes: &[u8], random: &mut Random) -> usize {
    let limits = Limits::default();
    let mut session = ServerSession::new(limits.clone(), 3, 0);
    let mut input = BytesMut::new();
    let mut media = 0;
    let mut rest = bytes;
    let mut now = 0;
    while !rest.is_empty() {
        let (head, tail) = rest.split_at(1 + random.below(rest.len().min(3000)));
        rest = tail;
        input.extend_from_slice(head);
        now += 1000;
        loop {
            if session.handle_input(&mut input, now).is_err() {
                assert!(input.is_empty());
                return media;
            }
            let mut is_asked = false;
            while let Some(output) = session.poll_output() {
                match output {
                    Output::Event(Event::PublishRequested(_)) => is_asked = true,
                    Output::Event(Event::Media { .. }) => media += 1,
                    _ => {}
                }
            }
            if !is_asked {
                break;
            }
            session.accept_publish(now);
        }
        assert!(session.partial_bytes() <= limits.partial_bytes_max);
        assert!(
            input.len() <= limits.contiguous_bytes_max + 3100,
            "{}",
            input.len()
        );
        if session.handle_timeout(now).is_err() {
            break;
        }
    }
    media
}

fn mutate(bytes: &mut Vec<u8>, random: &mut Random) {
    for _ in 0..1 + random.below(8) {
        // Mostly behind the handshake, where the structure is.
        let floor = if random.below(4) == 0 {
            0
        } else {
            3073.min(bytes.len() - 1)
        };
        let at = floor + random.below(bytes.len() - floor);
        match random.below(5) {
            0 => bytes[at] = random.next() as u8,
            1 => bytes[at] ^= 1 << random.below(8),
            2 => bytes.truncate(at.max(1)),
            3 => {
                bytes.insert(at, random.next() as u8);
            }
            _ => {
                let end = (at + random.below(40)).min(bytes.len());
                bytes.drain(at..end);
            }
        }
        if bytes.len() < 2 {
            bytes.resize(2, 3);
        }
    }
}

#[test]
fn changed_sessions_do_no_harm() {
    let mut random = Random::new(1);
    let originals: Vec<_> = [128, 4096, 65_536]
        .into_iter()
        .flat_map(|size| [HandshakeKind::Simple, HandshakeKind::Digest1].map(|kind| captured(size, kind)))
        .collect();
    for original in &originals {
        assert_eq!(feed(original, &mut random), 80);
    }
    for round in 0..6000 {
        let mut bytes = originals[round % originals.len()].clone();
        mutate(&mut bytes, &mut random);
        feed(&bytes, &mut random);
    }
}

#[test]
fn noise_does_no_harm() {
    let mut random = Random::new(2);
    for round in 0..3000 {
        let mut bytes: Vec<u8> = (0..random.below(6000)).map(|_| random.next() as u8).collect();
        if round % 2 == 0 && !bytes.is_empty() {
            bytes[0] = 3;
        }
        feed(&bytes, &mut random);
    }
}
