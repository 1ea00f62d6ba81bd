//! Two encoders on one channel: viewers do not notice when the first one dies.

use std::time::Duration;

use tidewire_e2e::browser::{Watch, watch};
use tidewire_e2e::hls::checker::{self, Options};
use tidewire_e2e::publish::barcode::{ClockPublisher, Picture};
use tidewire_e2e::server::Server;

use crate::{NO_LADDER, setup};

/// What a viewer may see of a takeover.
const STOPPED_MS: u64 = 1000;

#[test]
fn browser_plays_on_when_the_primary_dies_and_when_it_comes_back() {
    let server = Server::start_with(&setup(NO_LADDER)).expect("start");
    let key = server.add_channel("test").expect("channel");
    let url = server.publish_url(&key);
    let publish = |url: &str| ClockPublisher::start(url, Picture::SMALL).expect("ffmpeg");
    let mut primary = Some(publish(&url));
    server.wait_playable("test").expect("plays");
    let _backup = publish(&format!("{url}?backup=1"));
    let options = Options {
        server: server.http,
        channel: "test".into(),
        run_for: Duration::from_secs(26),
        expect_pause: false,
    };
    let viewer = Watch {
        seconds: 22,
        ..Watch::new("page", server.http, "test")
    };
    let (outcome, report) = std::thread::scope(|scope| {
        let checked = scope.spawn(|| checker::check(&options).expect("check"));
        let watched = scope.spawn(|| watch(&viewer).expect("watch"));
        std::thread::sleep(Duration::from_secs(7));
        primary.take();
        let on_air = |view: &serde_json::Value| view["notices"].to_string().contains("backup_on_air");
        let view = server
            .wait_channel("test", Duration::from_secs(5), "the backup on the air", on_air)
            .expect("takeover");
        assert_eq!(view["state"], "live", "{view}");
        std::thread::sleep(Duration::from_secs(3));
        primary = Some(publish(&url));
        server
            .wait_channel(
                "test",
                Duration::from_secs(15),
                "the primary on the air",
                |view| !on_air(view),
            )
            .expect("the primary takes over again");
        (checked.join().expect("checker"), watched.join().expect("viewer"))
    });
    println!("{outcome}\n{report}");
    assert!(outcome.findings.is_empty(), "{outcome}");
    for (path, followed) in &outcome.renditions {
        assert_eq!(followed.discontinuities, 2, "{path}: {outcome}");
        // Where the two encoders' keyframes nearly meet, a segment of a picture or two lies between them, and no sound in it.
        let gaps_max = u64::from(!followed.is_video());
        assert!(followed.gaps <= gaps_max, "{path}: {outcome}");
    }
    let stopped = report["stalled_ms"].as_u64().expect("stalls were measured");
    assert!(stopped <= STOPPED_MS, "{report}");
    assert!(
        report["frames"].as_u64().is_some_and(|frames| frames > 450),
        "{report}"
    );
}
