//! Publishers that behave, in their varieties.

use package::{Mode, Notice, PackageConfig, Role};

use crate::world::{Camera, Microphone, UTC, World, audio_track, video_track};

/// Video and audio interleaved by time, arriving as they are captured.
fn run(world: &mut World, camera: &mut Camera, mut sound: Option<&mut Microphone>, until_us: i64) {
    loop {
        let video_next = sound
            .as_ref()
            .is_none_or(|sound| camera.time_us() <= sound.time_us());
        let at = if video_next {
            camera.time_us()
        } else {
            sound.as_ref().unwrap().time_us()
        };
        if at >= until_us {
            return;
        }
        world.advance(1_000_000 + at.unsigned_abs());
        if video_next {
            world.push("source", camera.take());
        } else if let Some(sound) = sound.as_deref_mut() {
            world.push("audio", sound.take());
        }
    }
}

fn world(rate: (u32, u32), config: PackageConfig) -> World {
    let mut world = World::new(config);
    world.add("source", Role::Source, video_track(1280, Some(rate)));
    world.add("audio", Role::Audio, audio_track(48_000));
    world
}

#[test]
fn thirty_frames_two_second_gop() {
    let mut world = world((30, 1), PackageConfig::default());
    let (mut camera, mut sound) = (Camera::new(3000, 60), Microphone::new(48_000));
    run(&mut world, &mut camera, Some(&mut sound), 90_000_000);
    let video = &world.histories["source"];
    let list = video.playlist();
    assert_eq!(
        (list.target, list.part_target_us, list.part_hold_back_us),
        (2, 233_334, 704_001)
    );
    assert_eq!(video.missed_hints, 0, "the end of a segment is foreseen");
    for segment in video.segments().values().filter(|segment| segment.us.is_some()) {
        assert_eq!(segment.us, Some(2_000_000));
    }
    assert!(list.sequence > 10, "the window slides");
    assert!(list.independent);
    assert_eq!(world.histories["audio"].missed_hints, 0);
    assert_eq!(
        world.notices,
        [Notice::ModeDecided {
            mode: Mode::Source,
            gop_ms: Some(2000)
        }]
    );
    world.finish();
}

#[test]
fn dates_follow_the_clock_slowly() {
    let mut world = world((30, 1), PackageConfig::default());
    let (mut camera, mut sound) = (Camera::new(3000, 60), Microphone::new(48_000));
    run(&mut world, &mut camera, Some(&mut sound), 5_000_000);
    // The clock map turns out to be 40 ms off.
    world.packager.set_clock(UTC - 40);
    run(&mut world, &mut camera, Some(&mut sound), 50_000_000);
    for name in ["source", "audio"] {
        let dates = dates_ms(&world, name);
        assert!(dates.len() > 20, "{dates:?}");
        for pair in dates.windows(2) {
            // Audio is cut at its frames.
            let slack = if name == "audio" { 22 } else { 0 };
            assert!((pair[1] - pair[0] - 1999).abs() <= 1 + slack, "{name}: {dates:?}");
        }
    }
}

/// Milliseconds of the hour of each listed segment's date.
fn dates_ms(world: &World, name: &str) -> Vec<i64> {
    let log = world.window.rendition(name).expect("offered");
    let package::Answer::Ready(text) = log.playlist(None, None, false) else {
        panic!("no playlist")
    };
    let text = String::from_utf8(text.body.to_vec()).expect("text");
    text.lines()
        .filter_map(|line| line.strip_prefix("#EXT-X-PROGRAM-DATE-TIME:"))
        .map(|date| {
            let number = |range: std::ops::Range<usize>| date[range].parse::<i64>().expect("digits");
            (number(14..16) * 60 + number(17..19)) * 1000 + number(20..23)
        })
        .collect()
}

#[test]
fn target_duration_follows_the_gop() {
    for (gop, target, segment_us) in [
        (30, 2, 2_000_000),
        (60, 2, 2_000_000),
        (90, 3, 3_000_000),
        (120, 4, 4_000_000),
        (45, 3, 3_000_000),
    ] {
        let mut world = world((30, 1), PackageConfig::default());
        let (mut camera, mut sound) = (Camera::new(3000, gop), Microphone::new(48_000));
        camera.reorder = 3;
        run(&mut world, &mut camera, Some(&mut sound), 30_000_000);
        let video = &world.histories["source"];
        assert_eq!(video.playlist().target, target, "gop {gop}");
        let first = video.segments().values().next().unwrap();
        assert!(
            (first.us.unwrap() - segment_us).abs() < 2_000,
            "gop {gop}: {first:?}"
        );
        world.finish();
    }
}

#[test]
fn common_frame_rates() {
    let rates = [
        (24, 1, 3750, 250_000),
        (25, 1, 3600, 240_000),
        (30_000, 1001, 3003, 233_567),
        (50, 1, 1800, 240_000),
        (60, 1, 1500, 250_000),
    ];
    for (numerator, denominator, frame, part_target) in rates {
        let mut world = world((numerator, denominator), PackageConfig::default());
        let gop = 2 * 90_000 / frame as u64;
        let (mut camera, mut sound) = (Camera::new(frame, gop), Microphone::new(48_000));
        camera.reorder = 3;
        run(&mut world, &mut camera, Some(&mut sound), 20_000_000);
        let video = &world.histories["source"];
        assert_eq!(
            video.playlist().part_target_us,
            part_target,
            "{numerator}/{denominator}"
        );
        // Until one GOP has been like the one before, the end of a segment is not foreseen.
        assert!(video.missed_hints <= 1, "{numerator}/{denominator}");
        world.finish();
    }
}

#[test]
fn a_long_gop_is_cut_on_the_grid_or_forced() {
    for encoder_available in [true, false] {
        let mut world = world(
            (30, 1),
            PackageConfig {
                encoder_available,
                ..PackageConfig::default()
            },
        );
        let (mut camera, mut sound) = (Camera::new(3000, 300), Microphone::new(48_000));
        run(&mut world, &mut camera, Some(&mut sound), 40_000_000);
        let names: Vec<_> = world
            .window
            .renditions()
            .iter()
            .map(|log| log.name().to_owned())
            .collect();
        if encoder_available {
            assert_eq!(names, ["audio"]);
            assert_eq!(world.histories["audio"].playlist().target, 2);
        } else {
            assert_eq!(names, ["source", "audio"]);
            assert_eq!(world.histories["source"].playlist().target, 4);
            assert!(
                world
                    .notices
                    .iter()
                    .any(|notice| matches!(notice, Notice::ForcedCut { .. }))
            );
        }
        world.finish();
    }
}

#[test]
fn one_kind_only() {
    let mut world = World::new(PackageConfig::default());
    world.add("audio", Role::Audio, audio_track(44_100));
    let mut sound = Microphone::new(44_100);
    while sound.time_us() < 20_000_000 {
        world.advance(1_000_000 + sound.time_us().unsigned_abs());
        world.push("audio", sound.take());
    }
    assert_eq!(world.packager.mode(), Some(Mode::Audio));
    assert_eq!(world.histories["audio"].missed_hints, 0);
    let master = String::from_utf8(world.window.master().unwrap().body.to_vec()).unwrap();
    assert!(
        master.contains("CODECS=\"mp4a.40.2\"\naudio/playlist.m3u8"),
        "{master}"
    );
    world.finish();

    let mut world = World::new(PackageConfig::default());
    world.add("source", Role::Source, video_track(1280, None));
    let mut camera = Camera::new(3000, 60);
    camera.duration = false;
    run(&mut world, &mut camera, None, 20_000_000);
    assert_eq!(world.histories["source"].missed_hints, 0);
    world.finish();
}

#[test]
fn every_picture_an_idr() {
    let mut world = world((30, 1), PackageConfig::default());
    let (mut camera, mut sound) = (Camera::new(3000, 1), Microphone::new(48_000));
    run(&mut world, &mut camera, Some(&mut sound), 9_000_000);
    println!("{:?}\n{}", world.notices, world.playlist("source"));
    world.finish();
}
