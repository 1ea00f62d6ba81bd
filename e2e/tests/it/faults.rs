//! Things break; viewers go on.

use std::process::Command;
use std::time::Duration;

use tidewire_e2e::hls::checker::{self, Options, Outcome};
use tidewire_e2e::publish::Source;
use tidewire_e2e::server::{Server, Setup};

use crate::{NO_LADDER, TWO_RUNGS, setup};

/// Checks for `seconds` while `trouble` happens.
fn check_while(server: &Server, seconds: u64, trouble: impl FnOnce()) -> Outcome {
    let options = Options {
        server: server.http,
        channel: "test".into(),
        run_for: Duration::from_secs(seconds),
        expect_pause: true,
    };
    let checking = std::thread::spawn(move || checker::check(&options));
    trouble();
    let outcome = checking
        .join()
        .expect("the checker does not panic")
        .expect("check");
    println!("{outcome}");
    outcome
}

fn signal(pids: &[u32], signal: &str) {
    for pid in pids {
        let status = Command::new("kill")
            .args([signal, &pid.to_string()])
            .status()
            .expect("kill");
        assert!(status.success(), "kill {signal} {pid}");
    }
}

#[test]
fn a_publisher_that_is_back_within_ten_seconds_continues_its_stream() {
    let server = Server::start_with(&setup(NO_LADDER)).expect("start");
    let key = server.add_channel("test").expect("channel");
    let url = server.publish_url(&key);
    let publisher = Source::default().publish(&url).expect("ffmpeg");
    server.wait_playable("test").expect("plays");
    let before = server.channel("test").expect("view")["stream_id"].clone();
    let mut second = None;
    let outcome = check_while(&server, 20, || {
        std::thread::sleep(Duration::from_secs(6));
        drop(publisher);
        let gone = |view: &serde_json::Value| view["state"] == "reconnecting";
        server
            .wait_channel("test", Duration::from_secs(5), "reconnecting", gone)
            .expect("noticed");
        std::thread::sleep(Duration::from_secs(2));
        second = Some(Source::default().publish(&url).expect("ffmpeg"));
    });
    assert!(outcome.findings.is_empty(), "{outcome}");
    assert!(
        outcome
            .renditions
            .values()
            .all(|followed| followed.discontinuities >= 1),
        "{outcome}"
    );
    assert_eq!(
        server.channel("test").expect("view")["stream_id"],
        before,
        "the same stream"
    );
}

#[test]
fn another_resolution_after_a_reconnect_is_a_new_epoch() {
    let server = Server::start_with(&setup(NO_LADDER)).expect("start");
    let key = server.add_channel("test").expect("channel");
    let url = server.publish_url(&key);
    let publisher = Source::default().publish(&url).expect("ffmpeg");
    server.wait_playable("test").expect("plays");
    let mut second = None;
    let outcome = check_while(&server, 18, || {
        std::thread::sleep(Duration::from_secs(6));
        drop(publisher);
        std::thread::sleep(Duration::from_secs(1));
        let other = Source {
            video: Some((480, 270)),
            ..Source::default()
        };
        second = Some(other.publish(&url).expect("ffmpeg"));
    });
    assert!(outcome.findings.is_empty(), "{outcome}");
    let video = outcome
        .renditions
        .values()
        .find(|followed| followed.is_video())
        .expect("video");
    assert_eq!(
        video.init.as_ref().map(|init| (init.width, init.height)),
        Some((480, 270)),
        "{outcome}"
    );
}

/// What may be missing of transcoded rungs after an encoder was lost: one segment; nothing of the others.
fn at_most_one_segment_is_missing(outcome: &Outcome) {
    assert!(outcome.findings.is_empty(), "{outcome}");
    assert!(outcome.video_renditions() >= 2, "{outcome}");
    for (path, followed) in &outcome.renditions {
        let transcoded = !path.contains("/source/") && !path.contains("/audio/");
        assert!(followed.gaps <= u64::from(transcoded), "{path}: {outcome}");
    }
}

fn encoder_trouble(kill: &str) {
    let server = Server::start_with(&setup(TWO_RUNGS)).expect("start");
    let key = server.add_channel("test").expect("channel");
    let _publisher = Source::default()
        .publish(&server.publish_url(&key))
        .expect("ffmpeg");
    server.wait_playable("test").expect("plays");
    let two = |view: &serde_json::Value| {
        let list = view["renditions"].as_array().cloned().unwrap_or_default();
        list.iter()
            .filter(|rendition| rendition["kind"] == "video")
            .count()
            >= 2
    };
    server
        .wait_channel("test", Duration::from_secs(15), "a transcoded rung", two)
        .expect("ladder");
    let outcome = check_while(&server, 25, || {
        std::thread::sleep(Duration::from_secs(7));
        let encoders = server.ffmpeg_children();
        assert!(!encoders.is_empty(), "no FFmpeg child");
        signal(&encoders, kill);
        std::thread::sleep(Duration::from_secs(10));
        let replaced = server.ffmpeg_children();
        assert!(
            !replaced.is_empty() && replaced.iter().all(|pid| !encoders.contains(pid)),
            "not replaced: {replaced:?}"
        );
    });
    at_most_one_segment_is_missing(&outcome);
}

#[test]
fn a_killed_encoder_is_replaced() {
    encoder_trouble("-KILL");
}

#[test]
fn a_stopped_encoder_is_replaced() {
    encoder_trouble("-STOP");
}

#[test]
fn without_ffmpeg_the_source_plays_and_the_page_says_what_is_missing() {
    let config = "streaming:\n  ffmpeg: /nowhere/ffmpeg\n".to_owned();
    let server = Server::start_with(&Setup {
        config,
        ..Setup::default()
    })
    .expect("starts all the same");
    let key = server.add_channel("test").expect("channel");
    let _publisher = Source::default()
        .publish(&server.publish_url(&key))
        .expect("ffmpeg");
    let said =
        |view: &serde_json::Value| view["state"] == "live" && view["notices"].to_string().contains("FFmpeg");
    let view = server
        .wait_channel("test", Duration::from_secs(15), "live, with a notice", said)
        .expect("notice");
    println!("{}", view["notices"]);
    let outcome = check_while(&server, 8, || {});
    assert!(outcome.findings.is_empty(), "{outcome}");
    let doctor = server
        .command(&["doctor", "--config", "/dev/null"])
        .expect("doctor");
    assert!(!doctor.stdout.is_empty());
}
