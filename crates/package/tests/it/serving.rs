//! What deliver asks of a window: blocking, waking, expiry, rendering once; and goldens of the three texts.

use std::pin::Pin;
use std::task::{Context, Waker};

use event_listener::EventListener;
use media::{Micros, Sample};
use package::{Answer, PackageConfig, Role};

use crate::world::{Camera, Microphone, UTC, World, audio_track, video_track};

struct Publisher {
    world: World,
    camera: Camera,
    sound: Microphone,
}

impl Publisher {
    fn new(config: PackageConfig) -> Self {
        let mut world = World::new(config);
        world.add("source", Role::Source, video_track(1280, Some((30, 1))));
        world.add("audio", Role::Audio, audio_track(48_000));
        let mut camera = Camera::new(3000, 60);
        camera.reorder = 3;
        Self {
            world,
            camera,
            sound: Microphone::new(48_000),
        }
    }

    fn run_until(&mut self, us: i64) {
        while self.camera.time_us().min(self.sound.time_us()) < us {
            let at = self.camera.time_us().min(self.sound.time_us());
            self.world.advance(1_000_000 + at.unsigned_abs());
            if self.camera.time_us() <= self.sound.time_us() {
                self.world.push("source", self.camera.take());
            } else {
                self.world.push("audio", self.sound.take());
            }
        }
    }
}

fn golden(name: &str, text: &str) {
    let path = format!("{}/tests/it/goldens/{name}", env!("CARGO_MANIFEST_DIR"));
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, text).unwrap();
    }
    assert_eq!(
        text,
        std::fs::read_to_string(&path).unwrap_or_default(),
        "{name}: UPDATE=1 rewrites it"
    );
}

fn fired(listener: &mut EventListener) -> bool {
    Pin::new(listener)
        .poll(&mut Context::from_waker(Waker::noop()))
        .is_ready()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn goldens() {
    let mut publisher = Publisher::new(PackageConfig {
        window_ms: 20_000,
        ..PackageConfig::default()
    });
    publisher.run_until(29_300_000);
    publisher
        .world
        .packager
        .discontinuity(publisher.world.ids["source"]);
    publisher.camera.offset += 270_000;
    publisher.sound.offset += 144_000;
    publisher.camera.index = publisher.camera.index.next_multiple_of(60);
    publisher.run_until(36_000_000);
    let window = publisher.world.window.clone();
    golden("source.m3u8", &publisher.world.playlist("source"));
    golden("audio.m3u8", &publisher.world.playlist("audio"));
    let Answer::Ready(delta) = window.rendition("source").unwrap().playlist(None, None, true) else {
        panic!()
    };
    golden("source-delta.m3u8", &text(&delta.body));
    golden("master.m3u8", &text(&window.master().unwrap().body));
    golden("manifest.mpd", &text(&window.mpd(UTC + 36_000).unwrap().body));
    publisher.world.finish();
    golden(
        "manifest-ended.mpd",
        &text(&window.mpd(UTC + 40_000).unwrap().body),
    );
}

#[test]
fn a_blocked_reader_is_woken_with_the_last_sample_of_the_part() {
    let mut publisher = Publisher::new(PackageConfig::default());
    publisher.run_until(6_100_000);
    let log = publisher.world.window.rendition("source").unwrap();
    // Segment 3 began at 6.0 s. Its part 1 is pictures 7 to 13; with part 0 yet to come it has to wait.
    let Answer::Wait(mut listener) = log.playlist(Some(3), Some(1), false) else {
        panic!("not there yet")
    };
    assert!(matches!(log.part(3, 1), Answer::Wait(_)));
    assert!(!fired(&mut listener));
    let made_at: Micros = loop {
        publisher.run_until(publisher.camera.time_us() + 1);
        if !fired(&mut listener) {
            continue;
        }
        match log.playlist(Some(3), Some(1), false) {
            Answer::Wait(next) => listener = next,
            Answer::Ready(_) => break publisher.world.now,
            other => panic!("{other:?}"),
        }
    };
    // Picture 13 of the segment was captured at 6.4333 s: it is out before picture 14 is there.
    assert_eq!(made_at, 1_000_000 + 6_433_333);
    assert!(matches!(log.part(3, 1), Answer::Ready(_)));
}

#[test]
fn reloads_too_far_ahead_are_refused_and_old_objects_expire() {
    let mut publisher = Publisher::new(PackageConfig {
        window_ms: 12_000,
        ..PackageConfig::default()
    });
    publisher.run_until(40_100_000);
    let log = publisher.world.window.rendition("source").unwrap();
    let last_complete = 19;
    assert!(matches!(
        log.playlist(Some(last_complete), None, false),
        Answer::Ready(_)
    ));
    assert!(matches!(
        log.playlist(Some(last_complete + 1), None, false),
        Answer::Wait(_)
    ));
    assert!(matches!(
        log.playlist(Some(last_complete + 2), Some(0), false),
        Answer::Wait(_)
    ));
    assert!(matches!(
        log.playlist(Some(last_complete + 3), None, false),
        Answer::TooFarAhead
    ));
    assert!(matches!(
        log.playlist(Some(last_complete + 1), Some(40), false),
        Answer::TooFarAhead
    ));
    // Beyond the end of a complete segment means the start of the next one.
    assert!(matches!(
        log.playlist(Some(last_complete), Some(30), false),
        Answer::Wait(_)
    ));
    assert!(matches!(
        log.playlist(Some(last_complete - 1), Some(30), false),
        Answer::Ready(_)
    ));
    assert!(matches!(log.part(0, 0), Answer::Expired));
    assert!(matches!(log.segment(3), Answer::Expired));
    assert!(matches!(log.part(last_complete, 30), Answer::Unknown));
    assert!(matches!(log.part(last_complete + 5, 0), Answer::Unknown));
    let Answer::Ready(first) = log.playlist(None, None, false) else {
        panic!()
    };
    let Answer::Ready(second) = log.playlist(None, None, false) else {
        panic!()
    };
    assert!(std::sync::Arc::ptr_eq(&first, &second), "rendered once");
    let (init, part, msn) = log.latest_sync_part().unwrap();
    assert!(msn >= last_complete && !init.is_empty() && !part.is_empty());
    publisher.world.finish();
    assert!(
        text(&match log.playlist(Some(500), None, false) {
            Answer::Ready(text) => text.body.clone(),
            other => panic!("{other:?}"),
        })
        .ends_with("#EXT-X-ENDLIST\n")
    );
}

#[test]
fn a_segment_in_progress_can_be_followed() {
    let mut publisher = Publisher::new(PackageConfig::default());
    publisher.run_until(6_500_000);
    let log = publisher.world.window.rendition("source").unwrap();
    let mut parts = Vec::new();
    loop {
        match log.segment_after(3, parts.len()) {
            Answer::Ready(body) => {
                parts.extend(body.parts);
                if body.complete {
                    break;
                }
            }
            Answer::Wait(_) => publisher.run_until(publisher.camera.time_us() + 1),
            other => panic!("{other:?}"),
        }
    }
    let Answer::Ready(whole) = log.segment(3) else {
        panic!()
    };
    assert_eq!(whole.parts, parts);
}

/// Players switch within an AdaptationSet without a new decoder, so each codec has its own.
#[test]
fn an_hevc_source_and_its_h264_rung_are_two_sets() {
    let mut publisher = Publisher::new(PackageConfig::default());
    let mut track = (*video_track(1920, Some((30, 1)))).clone();
    let media::TrackConfig::Video(config) = &mut track.config else {
        panic!()
    };
    config.codec = media::VideoCodec::Hevc;
    config.codec_string = "hvc1.1.6.L93.90".into();
    let world = &mut publisher.world;
    world
        .packager
        .set_track(world.ids["source"], std::sync::Arc::new(track));
    world.add("480p", Role::Rung, video_track(854, Some((30, 1))));
    while publisher.camera.time_us() < 9_000_000 {
        let sample = publisher.camera.take();
        publisher
            .world
            .advance(1_000_000 + publisher.camera.time_us().unsigned_abs());
        let force = publisher.world.push("source", sample.clone());
        let is_sync = force || sample.is_sync;
        publisher.world.push("480p", Sample { is_sync, ..sample });
    }
    let window = &publisher.world.window;
    let mpd = text(&window.mpd(UTC + 9_000).unwrap().body);
    let sets: Vec<&str> = mpd.split("<AdaptationSet ").skip(1).collect();
    assert_eq!(sets.len(), 2, "{mpd}");
    assert!(
        sets[0].starts_with("id=\"0\"") && sets[0].contains("codecs=\"avc1.64001f\""),
        "{mpd}"
    );
    assert!(
        sets[1].starts_with("id=\"2\"") && sets[1].contains("codecs=\"hvc1.1.6.L93.90\""),
        "{mpd}"
    );
    let master = text(&window.master().unwrap().body);
    assert!(master.contains("CODECS=\"hvc1.1.6.L93.90\""), "{master}");
}

#[test]
fn rungs_come_and_go() {
    let mut publisher = Publisher::new(PackageConfig::default());
    publisher
        .world
        .add("480p", Role::Rung, video_track(854, Some((30, 1))));
    let mut encoder = std::collections::VecDeque::new();
    let mut picture = |publisher: &mut Publisher| {
        let at = publisher.camera.time_us();
        publisher.world.advance(1_000_000 + at.unsigned_abs());
        let sample = publisher.camera.take();
        let force = publisher.world.push("source", sample.clone());
        encoder.push_back(Sample {
            is_sync: force,
            ..sample
        });
        if encoder.len() > 8 {
            let sample: Sample = encoder.pop_front().unwrap();
            publisher.world.push("480p", sample);
        }
    };
    while publisher.camera.time_us() < 9_000_000 {
        picture(&mut publisher);
        while publisher.sound.time_us() < publisher.camera.time_us() {
            publisher.world.push("audio", publisher.sound.take());
        }
    }
    let names = |publisher: &Publisher| -> Vec<String> {
        publisher
            .world
            .window
            .renditions()
            .iter()
            .map(|log| log.name().to_owned())
            .collect()
    };
    assert_eq!(names(&publisher), ["source", "audio", "480p"]);
    let id = publisher.world.ids["480p"];
    publisher.world.packager.rendition_lost(id);
    while publisher.camera.time_us() < 15_000_000 {
        picture(&mut publisher);
    }
    let gaps: Vec<u64> = publisher.world.histories["480p"]
        .segments()
        .values()
        .filter(|s| s.gap)
        .map(|s| s.msn)
        .collect();
    assert_eq!(gaps, [4], "one segment is missing");
    publisher.world.packager.remove_rendition(id);
    publisher.world.look();
    assert_eq!(names(&publisher), ["source", "audio"]);
    let removed = publisher.world.window.rendition("480p").unwrap();
    assert!(removed.is_ended());
    publisher.world.finish();
}

#[test]
fn a_publisher_that_dies_between_picture_and_sound_leaves_no_gap() {
    let mut publisher = Publisher::new(PackageConfig::default());
    publisher.run_until(7_900_000);
    // The IDR of the next segment came, the sound before it did not.
    while publisher.camera.time_us() < 8_100_000 {
        publisher.world.push("source", publisher.camera.take());
    }
    publisher.world.advance(15_000_000);
    let audio = publisher.world.window.rendition("audio").unwrap();
    let Answer::Ready(text) = audio.playlist(None, None, false) else {
        panic!("the audio playlist is there");
    };
    let text = String::from_utf8(text.body.to_vec()).unwrap();
    assert!(!text.contains("EXT-X-GAP"), "{text}");
    assert_eq!(text.matches("#EXTINF").count(), 4, "{text}");
    assert!(
        publisher
            .world
            .notices
            .iter()
            .all(|notice| !matches!(notice, package::Notice::Gap { .. }))
    );
}
