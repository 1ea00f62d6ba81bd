//! Broadcasts as they come from real encoders: odd GOPs, missing tracks, broken clocks.

use std::time::Duration;

use tidewire_e2e::hls::checker::{self, Options, Outcome};
use tidewire_e2e::publish::{Publisher, Source, ffmpeg, publish_files};
use tidewire_e2e::server::{Server, TempDir};

use crate::{NO_LADDER, TWO_RUNGS, setup};

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

/// Publishes and checks; the encoder must still be connected at the end.
fn judge(config: &str, source: &Source, seconds: u64) -> (Outcome, serde_json::Value) {
    let server = Server::start_with(&setup(config)).expect("start");
    let key = server.add_channel("test").expect("channel");
    let mut publisher: Publisher = source.publish(&server.publish_url(&key)).expect("ffmpeg");
    let options = Options {
        server: server.http,
        channel: "test".into(),
        run_for: Duration::from_secs(seconds),
        expect_pause: false,
    };
    let outcome = checker::check(&options).expect("check");
    println!("{outcome}");
    assert!(
        publisher.is_running(),
        "the publisher was closed: {:?}",
        publisher.wait(Duration::from_secs(1))
    );
    let view = server.channel("test").expect("view");
    (outcome, view)
}

#[test]
fn ntsc_rate() {
    let (outcome, _) = judge(
        NO_LADDER,
        &Source {
            rate: "30000/1001",
            ..Source::default()
        },
        12,
    );
    assert!(outcome.findings.is_empty(), "{outcome}");
}

#[test]
fn variable_rate() {
    // Every third and every seventh picture is dropped: intervals of one and two frames in no fixed order.
    let extra = words(&["-vf", "select='mod(n\\,3)*mod(n\\,7)'", "-fps_mode", "vfr"]);
    let (outcome, _) = judge(
        NO_LADDER,
        &Source {
            extra,
            ..Source::default()
        },
        12,
    );
    let counts = outcome.findings.counts();
    // A rate that varies has no FRAME-RATE; the rest of the rules hold.
    assert!(counts.keys().all(|rule| *rule == "frame-rate"), "{outcome}");
}

#[test]
fn ten_second_gop_without_ladder_plays_and_is_explained() {
    let (outcome, view) = judge(
        NO_LADDER,
        &Source {
            gop: 300,
            ..Source::default()
        },
        24,
    );
    println!("{}", view["notices"]);
    // Segments must be cut without a keyframe then, and nothing else may be wrong.
    let counts = outcome.findings.counts();
    assert!(counts.keys().all(|rule| *rule == "segment-start"), "{outcome}");
    assert_ne!(
        view["notices"].as_array().map(Vec::len),
        Some(0),
        "a long GOP is worth a sentence: {view}"
    );
}

#[test]
fn one_keyframe_in_thirty_seconds_is_cut_on_a_grid_and_explained() {
    let (outcome, view) = judge(
        TWO_RUNGS,
        &Source {
            gop: 900,
            ..Source::default()
        },
        24,
    );
    assert!(outcome.findings.is_empty(), "{outcome}");
    assert!(outcome.video_renditions() >= 1, "{outcome}");
    let notices = view["notices"].as_array().cloned().unwrap_or_default();
    assert!(
        notices.iter().any(|notice| notice["code"] == "keyframes_apart"),
        "{view}"
    );
}

#[test]
fn ten_second_gop_with_ladder_is_cut_on_a_grid() {
    let (outcome, _) = judge(
        TWO_RUNGS,
        &Source {
            gop: 300,
            ..Source::default()
        },
        24,
    );
    assert!(outcome.findings.is_empty(), "{outcome}");
    assert!(outcome.video_renditions() >= 1, "{outcome}");
}

#[test]
fn audio_only() {
    let (outcome, _) = judge(
        NO_LADDER,
        &Source {
            video: None,
            ..Source::default()
        },
        12,
    );
    assert!(outcome.findings.is_empty(), "{outcome}");
    assert_eq!(
        (outcome.renditions.len(), outcome.video_renditions()),
        (1, 0),
        "{outcome}"
    );
}

#[test]
fn video_only() {
    let (outcome, _) = judge(
        NO_LADDER,
        &Source {
            audio: false,
            ..Source::default()
        },
        12,
    );
    assert!(outcome.findings.is_empty(), "{outcome}");
    assert_eq!(
        (outcome.renditions.len(), outcome.video_renditions()),
        (1, 1),
        "{outcome}"
    );
}

#[test]
fn timestamps_that_jump_an_hour_do_not_close_the_publisher() {
    // Both tracks jump together after five seconds. The FLV muxer counts in milliseconds.
    let jump =
        |count: u32| format!("setts=pts=PTS+gte(N\\,{count})*3600000:dts=DTS+gte(N\\,{count})*3600000");
    let extra = words(&["-bsf:v", &jump(150), "-bsf:a", &jump(234)]);
    let (outcome, view) = judge(
        NO_LADDER,
        &Source {
            b_frames: 0,
            extra,
            ..Source::default()
        },
        16,
    );
    println!("{}", view["notices"]);
    assert!(outcome.findings.is_empty(), "{outcome}");
    let video = outcome
        .renditions
        .values()
        .find(|followed| followed.is_video())
        .expect("video");
    assert!(video.counts[3] >= 5, "it plays on after the jump: {outcome}");
}

#[test]
fn another_resolution_in_the_same_connection_is_a_new_epoch() {
    let dir = TempDir::new().expect("temp dir");
    let mut files = Vec::new();
    for (number, size) in ["640x360", "480x270"].into_iter().enumerate() {
        let file = dir.path().join(format!("{number}.ts"));
        let mut command = ffmpeg();
        command.args(["-f", "lavfi", "-i", &format!("testsrc2=size={size}:rate=30")]);
        command.args(["-f", "lavfi", "-i", "sine=frequency=440:sample_rate=48000"]);
        command.args([
            "-t",
            "8",
            "-pix_fmt",
            "yuv420p",
            "-c:v",
            "libx264",
            "-preset",
            "superfast",
            "-bf",
            "0",
        ]);
        command.args([
            "-g",
            "60",
            "-keyint_min",
            "60",
            "-sc_threshold",
            "0",
            "-c:a",
            "aac",
        ]);
        command
            .args([
                "-output_ts_offset",
                &format!("{}", 10 + 8 * number),
                "-f",
                "mpegts",
            ])
            .arg(&file);
        assert!(command.status().expect("ffmpeg").success());
        files.push(file);
    }
    let server = Server::start_with(&setup(NO_LADDER)).expect("start");
    let key = server.add_channel("test").expect("channel");
    let _publisher = publish_files(&files, &server.publish_url(&key)).expect("ffmpeg");
    let options = Options {
        server: server.http,
        channel: "test".into(),
        run_for: Duration::from_secs(12),
        expect_pause: false,
    };
    let outcome = checker::check(&options).expect("check");
    println!("{outcome}");
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
    assert!(video.discontinuities >= 1, "{outcome}");
}
