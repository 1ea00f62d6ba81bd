//! Players in a real browser. Latency is read from the clock in the picture.

use serde_json::Value;
use tidewire_e2e::browser::{Watch, watch};
use tidewire_e2e::publish::barcode::ClockPublisher;
use tidewire_e2e::server::Server;

use crate::{NO_LADDER, TWO_RUNGS, setup};

struct Stage {
    server: Server,
    _publisher: ClockPublisher,
}

/// A live channel `test` of 640x360 with the clock.
fn stage(config: &str) -> Stage {
    let server = Server::start_with(&setup(config)).expect("start");
    let key = server.add_channel("test").expect("channel");
    let publisher = ClockPublisher::start(&server.publish_url(&key), 640, 360, 0, "800k").expect("ffmpeg");
    server.wait_playable("test").expect("plays");
    // A viewer comes to a running broadcast.
    std::thread::sleep(std::time::Duration::from_secs(8));
    Stage {
        server,
        _publisher: publisher,
    }
}

fn play(stage: &Stage, player: &'static str, height: u64) -> Value {
    let report = watch(&Watch {
        height,
        ..Watch::new(player, stage.server.http, "test")
    })
    .expect("watch");
    println!("{player}: {report}");
    // Shaka joins a DASH stream at the very edge and may wait once for the segment in progress.
    let stalls_max = u64::from(player == "shaka-dash");
    assert!(
        report["stalls"]
            .as_u64()
            .is_some_and(|stalls| stalls <= stalls_max),
        "{report}"
    );
    assert!(
        report["stalled_ms"].as_u64().is_some_and(|ms| ms <= 1000),
        "{report}"
    );
    assert!(
        report["frames"].as_u64().is_some_and(|frames| frames > 150),
        "{report}"
    );
    report
}

fn p95(report: &Value) -> u64 {
    report["latency_ms"]["p95"]
        .as_u64()
        .unwrap_or_else(|| panic!("no latency was measured: {report}"))
}

#[test]
fn browser_hls_js_plays_a_second_behind() {
    // hls.js alone does not catch up what its start has lost; our page does, and has the strict bar.
    let report = play(&stage(NO_LADDER), "hls", 0);
    assert!(p95(&report) <= 2000, "{report}");
}

#[test]
fn browser_page_shows_the_first_frame_within_a_second() {
    let report = play(&stage(NO_LADDER), "page", 0);
    assert!(
        report["first_frame_ms"].as_u64().is_some_and(|ms| ms <= 1000),
        "{report}"
    );
    assert!(p95(&report) <= 1500, "{report}");
}

#[test]
fn browser_hls_js_plays_a_transcoded_rung_and_switches_by_hand() {
    let stage = stage(TWO_RUNGS);
    let report = play(&stage, "hls", 240);
    assert!(p95(&report) <= 2500, "{report}");
    let switch = Watch {
        height: 240,
        switch_to_height: 360,
        ..Watch::new("hls", stage.server.http, "test")
    };
    let report = watch(&switch).expect("watch");
    println!("switch: {report}");
    assert!(
        report["switch_ms"].as_u64().is_some_and(|ms| ms <= 1000),
        "{report}"
    );
}

#[test]
fn browser_dash_js_plays_low_latency() {
    let report = play(&stage(NO_LADDER), "dash", 0);
    assert!(p95(&report) <= 2500, "{report}");
}

#[test]
fn browser_shaka_plays_hls() {
    play(&stage(NO_LADDER), "shaka-hls", 0);
}

#[test]
fn browser_shaka_plays_dash() {
    play(&stage(NO_LADDER), "shaka-dash", 0);
}
