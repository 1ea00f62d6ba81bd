//! Enhanced RTMP: what FFmpeg 9 wrote into files is sent by our own client; what arrives in the hub is what it made.

use std::sync::Arc;

use bytes::BytesMut;
use container::flv::{Demuxer, TagKind};
use hub::{Item, Start};
use ingest::{CloseReason, Limits, MediaFault};
use media::{AudioCodec, AudioConfig, MediaKind, Sample, TrackConfig, VideoCodec, VideoConfig};
use rtmp::amf::{Value, encode};
use rtmp::caps_ex;
use rtmp::chunk::ChunkWriter;
use rtmp::message::types;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::{Server, publish, wait};

const HEVC: &[u8] = include_bytes!("../../../container/tests/data/hevc.flv");
const AV1: &[u8] = include_bytes!("../../../container/tests/data/av1.flv");
const TRACKS: &[u8] = include_bytes!("../../../container/tests/data/tracks.flv");

const OPUS: &[u8] = include_bytes!("../../../container/tests/data/opus.flv");
const FLAC: &[u8] = include_bytes!("../../../container/tests/data/flac.flv");

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

/// The configuration and the sound of the channel.
fn heard(server: &Server) -> (AudioConfig, Vec<Arc<Sample>>) {
    let stream = server.registry.stream("a").expect("within its grace window");
    let mut reader = stream.source().reader(Start::Oldest);
    let (mut configs, mut samples) = (Vec::new(), Vec::new());
    while let Some(item) = reader.try_next() {
        match item {
            Item::Track(track) => match &track.config {
                TrackConfig::Audio(audio) => configs.push(audio.clone()),
                TrackConfig::Video(_) => panic!("no video was sent"),
            },
            Item::Sample(MediaKind::Audio, sample) => samples.push(sample),
            _ => {}
        }
    }
    assert_eq!(configs.len(), 1);
    assert_eq!(stream.stats().repairs_total(), 0);
    (configs.remove(0), samples)
}

#[tokio::test]
async fn opus_arrives_on_an_exact_grid() {
    let server = Server::start(Limits::default());
    send(&server, OPUS).await;
    let (config, samples) = heard(&server);
    assert_eq!((config.codec, config.channels), (AudioCodec::Opus, 2));
    assert_eq!((config.sample_rate.get(), config.frame_samples), (48_000, 960));
    // 0.6 s of 20 ms, and the encoder's delay.
    assert!((30..=32).contains(&samples.len()), "{}", samples.len());
    assert!(samples.windows(2).all(|pair| pair[1].pts - pair[0].pts == 960));
}

#[tokio::test]
async fn flac_arrives_on_an_exact_grid() {
    let server = Server::start(Limits::default());
    send(&server, FLAC).await;
    let (config, samples) = heard(&server);
    assert_eq!((config.codec, config.channels), (AudioCodec::Flac, 1));
    assert_eq!(config.sample_rate.get(), 44_100);
    let step = i64::from(config.frame_samples);
    assert!(samples.len() > 2, "{}", samples.len());
    assert!(samples.windows(2).all(|pair| pair[1].pts - pair[0].pts == step));
}

#[tokio::test]
async fn sound_that_browsers_do_not_play_is_named() {
    let server = Server::start(Limits::default());
    let (mut socket, mut client) = publish(&server, "KEY-a").await.unwrap();
    let mut out = BytesMut::new();
    client.write_media(&mut out, MediaKind::Audio, 0, &[b"\x91ac-3", &[0x0b, 0x77]]);
    socket.write_all(&out).await.unwrap();
    let stats = Arc::clone(server.server.stats());
    wait(
        || stats.media_faults(MediaFault::UnsupportedCodec) == 1,
        "the fault",
    )
    .await;
    let stream = server.registry.stream("a").unwrap();
    let said = stream.notices().list();
    assert!(
        said.iter()
            .any(|notice| notice.code == "audio_codec" && notice.text.contains("AC-3"))
    );
    drop(socket);
}

/// Everything that the server says to a peer that publishes, until it hangs up.
async fn said_at_drain(caps_ex: f64) -> String {
    let server = Server::start(Limits::default());
    let mut socket = TcpStream::connect(server.address).await.unwrap();
    let mut out = BytesMut::from(&[3; 1 + 2 * 1536][..]);
    let mut writer = ChunkWriter::default();
    let object = Value::object([("app", "live".into()), ("capsEx", caps_ex.into())]);
    let publish = [
        "publish".into(),
        3.0.into(),
        Value::Null,
        "KEY-a".into(),
        "live".into(),
    ];
    for (stream, command) in [
        (0, encode(&["connect".into(), 1.0.into(), object])),
        (0, encode(&["createStream".into(), 2.0.into(), Value::Null])),
        (1, encode(&publish)),
    ] {
        writer.write(&mut out, 3, types::COMMAND_AMF0, stream, 0, &[&command]);
    }
    socket.write_all(&out).await.unwrap();
    wait(|| server.server.publishers().len() == 1, "the publisher").await;
    server.server.drain();
    let mut said = Vec::new();
    socket.read_to_end(&mut said).await.unwrap();
    server.wait_closed(CloseReason::Draining, 1).await;
    String::from_utf8_lossy(&said).into_owned()
}

#[tokio::test]
async fn a_drain_asks_who_understands_it_to_reconnect() {
    const REQUEST: &str = "NetConnection.Connect.ReconnectRequest";
    let said = said_at_drain(f64::from(caps_ex::RECONNECT)).await;
    let (asked, told) = (said.find(REQUEST), said.find("NetStream.Unpublish.Success"));
    assert!(asked.is_some() && asked < told, "{said:?}");
    let said = said_at_drain(f64::from(caps_ex::MOD_EX)).await;
    assert!(!said.contains(REQUEST), "{said:?}");
    assert!(said.contains("NetStream.Unpublish.Success"), "{said:?}");
}
