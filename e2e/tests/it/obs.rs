//! OBS Studio, the encoder that most people come with.

use std::collections::BTreeMap;
use std::time::Duration;

use tidewire_e2e::hls::checker::{self, Options};
use tidewire_e2e::obs::{Obs, Settings};
use tidewire_e2e::publish::ffprobe;
use tidewire_e2e::server::Server;

use crate::{NO_LADDER, setup};

/// OBS draws in software and loads its plug-ins on two cores.
const LIVE_WITHIN: Duration = Duration::from_secs(90);
/// A lost connection is noticed at once, then waited for: `reconnect_grace`, 10 s.
const ENDED_WITHIN: Duration = Duration::from_secs(30);

fn state(wanted: &'static str) -> impl Fn(&serde_json::Value) -> bool {
    move |view| view["state"] == wanted
}

/// A server with the live channel `test`, and the OBS that publishes there with that keyframe interval (seconds).
fn stage(keyframe_interval_s: u32) -> (Server, Obs) {
    let server = Server::start_with(&setup(NO_LADDER)).expect("start");
    let key = server.add_channel("test").expect("channel");
    let settings = Settings {
        server: format!("rtmp://{}/live", server.rtmp),
        key,
        keyframe_interval_s,
    };
    let obs = Obs::start(&settings).expect("OBS starts");
    obs.wait_log("Streaming Start", LIVE_WITHIN)
        .expect("OBS connects");
    server
        .wait_channel("test", Duration::from_secs(15), "live", state("live"))
        .expect("live");
    (server, obs)
}

/// The samples of `/metrics` whose names begin with `prefix`, by name with labels.
fn metrics(server: &Server, prefix: &str) -> BTreeMap<String, f64> {
    let text = server.get("/metrics").expect("metrics").text();
    text.lines()
        .filter(|line| line.starts_with(prefix))
        .filter_map(|line| {
            let (name, value) = line.rsplit_once(' ')?;
            Some((name.to_owned(), value.parse().ok()?))
        })
        .collect()
}

/// The lengths of the complete segments in the source's playlist, seconds.
fn segment_lengths(server: &Server) -> Vec<f64> {
    let playlist = server.get("/live/test/source/playlist.m3u8").expect("playlist");
    let text = playlist.text();
    text.lines()
        .filter_map(|line| line.strip_prefix("#EXTINF:"))
        .map(|rest| rest.trim_end_matches(',').parse().expect("a number"))
        .collect()
}

fn ffprobe_plays(server: &Server, path: &str, expected: (&str, &str, u64, u64)) {
    let url = format!("http://{}/live/test/{path}", server.http);
    let streams = ffprobe(&url, 3).expect("ffprobe plays it");
    println!("{path}: {streams:?}");
    let [(kind, codec, width, height, packets)] = streams.as_slice() else {
        panic!("{url}: {streams:?}");
    };
    assert_eq!(
        (kind.as_str(), codec.as_str(), *width, *height),
        expected,
        "{url}"
    );
    assert!(*packets > 60, "{url}: {streams:?}");
}

/// Inaudible by design is only the single sample frame that follows a sound card's clock.
fn nothing_was_repaired(server: &Server) {
    let mut repairs = metrics(server, "tidewire_ingest_repairs_total{");
    assert!(!repairs.is_empty(), "the metric is there");
    repairs.retain(|name, count| *count > 0.0 && !name.contains("kind=\"audio_slew\""));
    assert_eq!(repairs, BTreeMap::new());
    let mut faults = metrics(server, "tidewire_rtmp_media_faults_total{");
    assert!(!faults.is_empty(), "the metric is there");
    faults.retain(|_, count| *count > 0.0);
    assert_eq!(faults, BTreeMap::new());
}

/// The stream's record has OBS's name for itself. SQLite keeps a text in one piece, in the database or in its log.
fn the_record_names_obs(server: &Server) {
    let name = b"obs-output module (libobs version ";
    let files = std::fs::read_dir(server.data_dir()).expect("data directory");
    let is_there = files.flatten().any(|file| {
        let bytes = std::fs::read(file.path()).unwrap_or_default();
        bytes.windows(name.len()).any(|window| window == name)
    });
    assert!(is_there, "OBS's name is not in the database\n{}", server.log());
}

#[test]
fn slow_a_broadcast_from_obs_plays_cleanly_and_waits_for_obs_after_a_crash() {
    let (server, mut obs) = stage(2);
    let outcome = checker::check(&Options {
        server: server.http,
        channel: "test".into(),
        run_for: Duration::from_secs(16),
        expect_pause: false,
    })
    .expect("check");
    println!("{outcome}");
    obs.require_running().expect("OBS still streams");
    assert!(outcome.findings.is_empty(), "{outcome}");
    assert_eq!(outcome.renditions.len(), 2, "video and audio: {outcome}");

    let lengths = segment_lengths(&server);
    println!("segments: {lengths:?}");
    // RTMP counts milliseconds, on which 30 frames a second do not fall: the first segment may be one short. Where the
    // clip starts again, x264 sees another scene and sends its keyframe early.
    let whole = lengths.iter().filter(|length| (**length - 2.0).abs() < 0.002);
    assert!(whole.count() >= 4, "{lengths:?}");
    assert!(lengths.iter().all(|length| *length < 2.002), "{lengths:?}");
    ffprobe_plays(&server, "source/playlist.m3u8", ("video", "h264", 640, 360));
    ffprobe_plays(&server, "audio/playlist.m3u8", ("audio", "aac", 0, 0));
    nothing_was_repaired(&server);
    println!("{:#?}", metrics(&server, "tidewire_ingest_"));
    let view = server.channel("test").expect("view");
    assert_eq!(
        view["notices"],
        serde_json::json!([]),
        "2 s is what we ask for: {view}"
    );
    the_record_names_obs(&server);

    obs.crash();
    for wanted in ["reconnecting", "ended"] {
        server
            .wait_channel("test", ENDED_WITHIN, wanted, state(wanted))
            .expect("noticed");
    }
    assert!(
        server.log().contains("reason=\"connection_lost\""),
        "{}",
        server.log()
    );
}

#[test]
fn obs_that_exits_says_so_and_the_stream_ends() {
    let (server, obs) = stage(2);
    server.wait_playable("test").expect("plays");
    obs.exit().expect("OBS exits");
    server
        .wait_channel("test", ENDED_WITHIN, "ended", state("ended"))
        .expect("ended");
    assert!(
        server.log().contains("reason=\"unpublished\""),
        "{}",
        server.log()
    );
    let playlist = server
        .get("/live/test/source/playlist.m3u8")
        .expect("playlist")
        .text();
    assert!(playlist.ends_with("#EXT-X-ENDLIST\n"), "{playlist}");
}

#[test]
fn obs_with_its_own_keyframe_interval_is_told_to_set_it() {
    let (server, _obs) = stage(0);
    let told = |view: &serde_json::Value| view["notices"][0]["code"] == "keyframes_apart";
    let view = server
        .wait_channel("test", Duration::from_secs(30), "a notice", told)
        .expect("told");
    println!("{}", view["notices"]);
    let text = view["notices"][0]["text"].as_str().unwrap_or_default();
    assert!(text.ends_with("Set the keyframe interval to 2 s."), "{text}");
    assert_eq!(view["state"], "live", "it plays all the same");
}
