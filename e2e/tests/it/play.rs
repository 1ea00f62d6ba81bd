//! A broadcast plays, everywhere and correctly.

use std::time::Duration;

use tidewire_e2e::hls::checker::{self, Options};
use tidewire_e2e::publish::{Source, ffprobe};
use tidewire_e2e::server::Server;

use crate::{NO_LADDER, TWO_RUNGS, setup};

fn options(server: &Server, seconds: u64) -> Options {
    Options {
        server: server.http,
        channel: "test".into(),
        run_for: Duration::from_secs(seconds),
        expect_pause: false,
    }
}

#[test]
fn the_history_of_a_source_with_b_frames_is_clean() {
    let server = Server::start_with(&setup(NO_LADDER)).expect("start");
    let key = server.add_channel("test").expect("channel");
    let _publisher = Source::default()
        .publish(&server.publish_url(&key))
        .expect("ffmpeg");
    let outcome = checker::check(&options(&server, 20)).expect("check");
    println!("{outcome}");
    assert!(outcome.findings.is_empty(), "{outcome}");
    assert_eq!(outcome.video_renditions(), 1, "{outcome}");
    assert_eq!(outcome.renditions.len(), 2, "video and audio: {outcome}");
}

#[test]
fn the_history_of_all_rungs_is_clean() {
    let server = Server::start_with(&setup(TWO_RUNGS)).expect("start");
    let key = server.add_channel("test").expect("channel");
    let _publisher = Source::default()
        .publish(&server.publish_url(&key))
        .expect("ffmpeg");
    let outcome = checker::check(&options(&server, 25)).expect("check");
    println!("{outcome}");
    assert!(outcome.findings.is_empty(), "{outcome}");
    assert!(
        outcome.video_renditions() >= 2,
        "no transcoded rung joined: {outcome}"
    );
}

#[test]
fn ffprobe_plays_every_rung_and_the_mpd() {
    let server = Server::start_with(&setup(TWO_RUNGS)).expect("start");
    let key = server.add_channel("test").expect("channel");
    let _publisher = Source::default()
        .publish(&server.publish_url(&key))
        .expect("ffmpeg");
    let view = server.wait_channel("test", Duration::from_secs(20), "two video renditions", |view| {
        let renditions = view["renditions"]
            .as_array()
            .map(Vec::as_slice)
            .unwrap_or_default();
        view["state"] == "live"
            && renditions
                .iter()
                .filter(|rendition| rendition["kind"] == "video")
                .count()
                >= 2
    });
    let view = view.expect("the ladder comes up");
    // A demuxer without low latency starts three segments behind the end.
    std::thread::sleep(Duration::from_secs(8));
    let variants = checker::variants(server.http, "test").expect("master");
    for variant in variants {
        let url = format!("http://{}/live/test/{}", server.http, variant.uri);
        let streams = ffprobe(&url, 2).expect("ffprobe plays it");
        assert_eq!(streams.len(), 1, "{url}: {streams:?}");
        let (kind, codec, width, height, packets) = &streams[0];
        assert!(*packets > 20, "{url}: {streams:?}");
        if variant.is_audio_media {
            assert_eq!((kind.as_str(), codec.as_str()), ("audio", "aac"));
        } else {
            assert_eq!((kind.as_str(), codec.as_str()), ("video", "h264"));
            assert_eq!(variant.resolution, Some((*width as u32, *height as u32)), "{url}");
        }
    }
    let mpd = server.get("/live/test/manifest.mpd").expect("mpd");
    assert_eq!(mpd.header("content-type"), Some("application/dash+xml"));
    // It reads every representation from its first segment on; the encoded ones begin when the encoder was ready.
    let streams = ffprobe(&format!("http://{}/live/test/manifest.mpd", server.http), 14)
        .expect("ffprobe plays the MPD");
    let videos = streams
        .iter()
        .filter(|stream| stream.0 == "video" && stream.4 > 20)
        .count();
    let audios = streams
        .iter()
        .filter(|stream| stream.0 == "audio" && stream.4 > 20)
        .count();
    let offered = view["renditions"]
        .as_array()
        .expect("array")
        .iter()
        .filter(|r| r["kind"] == "video")
        .count();
    assert_eq!((videos, audios), (offered, 1), "{streams:?}");
}

#[test]
fn the_channel_says_what_is_on_and_when_it_is_over() {
    let server = Server::start_with(&setup(NO_LADDER)).expect("start");
    let key = server.add_channel("test").expect("channel");
    let offline = |view: &serde_json::Value| view["state"] == "offline";
    server
        .wait_channel("test", Duration::from_secs(5), "offline", offline)
        .expect("known soon");
    let publisher = Source::default()
        .publish(&server.publish_url(&key))
        .expect("ffmpeg");
    let live = |view: &serde_json::Value| view["state"] == "live";
    let view = server
        .wait_channel("test", Duration::from_secs(15), "live", live)
        .expect("live");
    assert_eq!(view["renditions"][0]["height"], 360, "{view}");
    publisher.finish().expect("ffmpeg stops");
    let over = |view: &serde_json::Value| view["state"] == "ended" || view["state"] == "offline";
    server
        .wait_channel("test", Duration::from_secs(15), "over", over)
        .expect("ended");
}

#[test]
fn a_server_that_is_told_to_stop_closes_the_stream_and_ends_with_code_0() {
    let server = Server::start_with(&setup(NO_LADDER)).expect("start");
    let key = server.add_channel("test").expect("channel");
    let mut publisher = Source::default()
        .publish(&server.publish_url(&key))
        .expect("ffmpeg");
    server.wait_playable("test").expect("plays");
    assert_eq!(server.terminate().expect("ends"), Some(0));
    publisher
        .wait(Duration::from_secs(10))
        .expect("the encoder notices");
}
