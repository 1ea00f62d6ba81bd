//! Players in a real browser: they play, near live, without stalling, and switch. How near and how fast in figures is
//! `cargo xtask bench browser`; here stand the bounds beyond which something is broken and not just slow.

use serde_json::Value;
use tidewire_e2e::browser::{Watch, watch};
use tidewire_e2e::publish::barcode::{ClockPublisher, Picture};
use tidewire_e2e::server::Server;

use crate::{NO_LADDER, TWO_RUNGS, setup};

/// Playing from whole segments (2 s, three of them back from the edge) is at least 6 s behind: only who plays parts is nearer.
const LOW_LATENCY_MS: u64 = 4000;
/// A page that needs a second on a quiet machine.
const FIRST_FRAME_MS: u64 = 5000;
const STALLED_MS: u64 = 1000;

struct Stage {
    server: Server,
    _publisher: ClockPublisher,
}

/// A live channel `test` of 640x360 with the clock.
fn stage(config: &str) -> Stage {
    let server = Server::start_with(&setup(config)).expect("start");
    let key = server.add_channel("test").expect("channel");
    let publisher = ClockPublisher::start(&server.publish_url(&key), Picture::SMALL).expect("ffmpeg");
    server.wait_playable("test").expect("plays");
    if config == TWO_RUNGS {
        let has_rung = |view: &Value| {
            let renditions = view["renditions"].as_array().into_iter().flatten();
            renditions
                .filter(|rendition| rendition["kind"] == "video")
                .count()
                >= 2
        };
        server
            .wait_channel(
                "test",
                std::time::Duration::from_secs(30),
                "an encoded rung",
                has_rung,
            )
            .expect("ladder");
    }
    // A viewer comes to a running broadcast.
    std::thread::sleep(std::time::Duration::from_secs(8));
    Stage {
        server,
        _publisher: publisher,
    }
}

fn number(report: &Value, pointer: &str) -> u64 {
    report
        .pointer(pointer)
        .and_then(Value::as_u64)
        .unwrap_or_else(|| panic!("{pointer} was not measured: {report}"))
}

/// Plays for ten seconds, near live and without stalling.
fn play(stage: &Stage, player: &'static str, height: u64) -> Value {
    let report = watch(&Watch {
        height,
        ..Watch::new(player, stage.server.http, "test")
    })
    .expect("watch");
    println!("{player}: {report}");
    assert!(number(&report, "/stalled_ms") <= STALLED_MS, "{report}");
    assert!(number(&report, "/frames") > 150, "{report}");
    assert!(number(&report, "/latency_ms/p95") <= LOW_LATENCY_MS, "{report}");
    if height > 0 {
        let heights = report["heights"].as_object().expect("heights");
        assert_eq!(
            heights.keys().collect::<Vec<_>>(),
            [&height.to_string()],
            "{report}"
        );
    }
    report
}

#[test]
fn browser_page_plays_low_latency() {
    let report = play(&stage(NO_LADDER), "page", 0);
    assert!(number(&report, "/first_frame_ms") <= FIRST_FRAME_MS, "{report}");
}

#[test]
fn browser_hls_js_plays_low_latency() {
    play(&stage(NO_LADDER), "hls", 0);
}

#[test]
fn browser_hls_js_plays_a_transcoded_rung_and_switches_by_hand() {
    let stage = stage(TWO_RUNGS);
    play(&stage, "hls", 240);
    let report = watch(&Watch {
        height: 240,
        switch_to_height: 360,
        ..Watch::new("hls", stage.server.http, "test")
    })
    .expect("watch");
    println!("switch: {report}");
    assert_eq!(number(&report, "/switch_from"), 240, "{report}");
    assert!(number(&report, "/heights/360") > 60, "it stays there: {report}");
    assert!(number(&report, "/stalled_ms") <= STALLED_MS, "{report}");
}

#[test]
fn browser_dash_js_plays_low_latency() {
    play(&stage(NO_LADDER), "dash", 0);
}

#[test]
fn browser_shaka_plays_hls() {
    play(&stage(NO_LADDER), "shaka-hls", 0);
}

#[test]
fn browser_shaka_plays_dash() {
    play(&stage(NO_LADDER), "shaka-dash", 0);
}
