//! Enhanced RTMP: what FFmpeg 9 wrote into files is sent by our own client; what arrives in the hub is what it made.

use std::sync::Arc;

use bytes::BytesMut;
use container::flv::{Demuxer, TagKind};
use hub::{Item, Start};
use ingest::{CloseReason, Limits};
use media::{MediaKind, Sample, TrackConfig, VideoCodec, VideoConfig};
use tokio::io::AsyncWriteExt;

use crate::support::{Server, publish};

const HEVC: &[u8] = include_bytes!("../../../container/tests/data/hevc.flv");
const AV1: &[u8] = include_bytes!("../../../container/tests/data/av1.flv");
const TRACKS: &[u8] = include_bytes!("../../../container/tests/data/tracks.flv");

/// Publishes the tags of a file and ends in good order.
async fn send(server: &Server, file: &[u8]) {
    let (mut socket, mut client) = publish(server, "KEY-a").await.unwrap();
    let mut demuxer = Demuxer::new(1 << 20);
    let mut input = BytesMut::from(file);
    let mut out = BytesMut::new();
    while let Some(tag) = demuxer.next(&mut input).unwrap() {
        let kind = match tag.kind {
            TagKind::Video => MediaKind::Video,
            TagKind::Audio => MediaKind::Audio,
            TagKind::Script => continue,
        };
        client.write_media(&mut out, kind, tag.timestamp_ms, &[&tag.body]);
    }
    client.write_unpublish(&mut out);
    socket.write_all(&out).await.unwrap();
    drop(socket);
    server.wait_closed(CloseReason::Unpublished, 1).await;
}

/// The last configuration and the pictures of the channel.
fn seen(server: &Server) -> (VideoConfig, Vec<Arc<Sample>>) {
    let stream = server.registry.stream("a").expect("within its grace window");
    let mut reader = stream.source().reader(Start::Oldest);
    let (mut config, mut samples) = (None, Vec::new());
    while let Some(item) = reader.try_next() {
        match item {
            Item::Track(track) => match &track.config {
                TrackConfig::Video(video) => config = Some(video.clone()),
                TrackConfig::Audio(_) => panic!("no audio was sent"),
            },
            Item::Sample(MediaKind::Video, sample) => samples.push(sample),
            _ => {}
        }
    }
    assert_eq!(stream.stats().repairs_total(), 0);
    (config.unwrap(), samples)
}

fn notice(server: &Server, code: &str) -> bool {
    let stream = server.registry.stream("a").unwrap();
    stream.notices().list().iter().any(|notice| notice.code == code)
}

#[tokio::test]
async fn hevc_arrives_whole() {
    let server = Server::start(Limits::default());
    send(&server, HEVC).await;
    let (config, samples) = seen(&server);
    assert_eq!(
        (config.codec, config.width, config.height),
        (VideoCodec::Hevc, 128, 72)
    );
    assert_eq!(samples.len(), 30);
    let syncs = samples.iter().filter(|sample| sample.is_sync).count();
    assert_eq!(syncs, 3);
    assert!(samples.windows(2).all(|pair| pair[0].dts < pair[1].dts));
    assert!(samples.iter().any(|sample| sample.pts > sample.dts));
    assert!(notice(&server, "open_gop"));
}

#[tokio::test]
async fn av1_arrives_whole() {
    let server = Server::start(Limits::default());
    send(&server, AV1).await;
    let (config, samples) = seen(&server);
    assert_eq!((config.codec, config.width), (VideoCodec::Av1, 128));
    let syncs: Vec<usize> = (0..samples.len()).filter(|at| samples[*at].is_sync).collect();
    assert_eq!((samples.len(), syncs), (25, vec![0, 10, 20]));
    assert!(samples.iter().all(|sample| sample.pts == sample.dts));
    assert!(!notice(&server, "open_gop"));
}

#[tokio::test]
async fn the_first_track_of_several_is_the_source() {
    let server = Server::start(Limits::default());
    send(&server, TRACKS).await;
    let (config, samples) = seen(&server);
    assert_eq!(
        (config.codec, config.width, samples.len()),
        (VideoCodec::Hevc, 128, 10)
    );
    assert!(notice(&server, "video_tracks"));
}
