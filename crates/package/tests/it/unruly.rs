//! Publishers that do not behave: whatever they send, the histories keep their rules.

use std::collections::VecDeque;

use media::Sample;
use package::{PackageConfig, Role};
use proptest::prelude::*;

use crate::world::{Camera, Microphone, World, audio_track, video_track};

/// Random publishers per run; `PROPTEST_CASES` for more.
fn cases() -> u32 {
    std::env::var("PROPTEST_CASES")
        .ok()
        .and_then(|cases| cases.parse().ok())
        .unwrap_or(64)
}

/// What happens next.
#[derive(Clone, Debug)]
enum Event {
    /// So many milliseconds of ordinary sending.
    Run(u16),
    /// The frame duration changes (ticks), or becomes irregular.
    Rate(i64),
    Jitter(i64),
    /// The GOP changes (pictures), from the next IDR.
    Gop(u64),
    /// The source's timeline jumps ahead (milliseconds), with or without an IDR there.
    Hole(u16),
    /// An IDR out of turn.
    SceneCut,
    /// One of them falls silent, or comes back.
    Camera(bool),
    Sound(bool),
    /// Sound arrives so much earlier (positive) or later, milliseconds.
    SoundShift(i16),
    /// Connection lost for so many milliseconds, with the hub's word of it.
    Reconnect(u16),
    /// Nothing arrives for so long (milliseconds) on the wall clock; then all of it at once.
    Stall(u16),
    /// The encoder of the rung dies; is back.
    RungLost,
    RungBack,
    NewConfig(bool),
    NewSound,
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        8 => (200..6000_u16).prop_map(Event::Run),
        1 => prop_oneof![Just(1500), Just(3000), Just(3003), Just(3750), Just(6000), Just(13_000), Just(45_000)].prop_map(Event::Rate),
        1 => prop_oneof![Just(0), Just(900), Just(2500)].prop_map(Event::Jitter),
        1 => (1..200_u64).prop_map(Event::Gop),
        1 => (50..8000_u16).prop_map(Event::Hole),
        2 => Just(Event::SceneCut),
        2 => any::<bool>().prop_map(Event::Camera),
        2 => any::<bool>().prop_map(Event::Sound),
        1 => (-1500..1500_i16).prop_map(Event::SoundShift),
        1 => (50..9000_u16).prop_map(Event::Reconnect),
        1 => (50..6000_u16).prop_map(Event::Stall),
        1 => Just(Event::RungLost),
        1 => Just(Event::RungBack),
        1 => any::<bool>().prop_map(Event::NewConfig),
        1 => Just(Event::NewSound),
    ]
}

struct Unruly {
    world: World,
    camera: Camera,
    sound: Microphone,
    camera_on: bool,
    sound_on: bool,
    sound_shift_us: i64,
    jitter: i64,
    seed: u64,
    rung_on: bool,
    /// Pictures in the encoder: sample and whether it has to be an IDR.
    encoder: VecDeque<(Sample, bool)>,
    /// Media time ahead of the wall clock's origin by this, microseconds.
    stalled_us: u64,
    last_pts: i64,
}

impl Unruly {
    fn new(encoder_available: bool, reorder: u64, gop: u64, rung: bool) -> Self {
        let mut world = World::new(PackageConfig {
            encoder_available,
            window_ms: 20_000,
            ..PackageConfig::default()
        });
        world.add("source", Role::Source, video_track(1280, Some((30, 1))));
        if rung {
            world.add("480p", Role::Rung, video_track(854, Some((30, 1))));
        }
        world.add("audio", Role::Audio, audio_track(48_000));
        let mut camera = Camera::new(3000, gop);
        camera.reorder = reorder;
        Self {
            world,
            camera,
            sound: Microphone::new(48_000),
            camera_on: true,
            sound_on: true,
            sound_shift_us: 0,
            jitter: 0,
            seed: 1,
            rung_on: rung,
            encoder: VecDeque::new(),
            stalled_us: 0,
            last_pts: -1,
        }
    }

    fn random(&mut self) -> i64 {
        self.seed = self
            .seed
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.seed >> 33) as i64
    }

    fn picture(&mut self, force_sync: bool) {
        if force_sync {
            let left = self.camera.gop - self.camera.index % self.camera.gop;
            if left != self.camera.gop {
                // The GOP ends early: the IDR takes the place of the next picture.
                self.camera.offset -= left as i64 * self.camera.frame;
                self.camera.index += left;
            }
        }
        let mut sample = self.camera.take();
        if self.jitter > 0 && self.camera.reorder == 1 {
            let late = self.random() % self.jitter;
            sample.dts += late;
            sample.pts += late;
            if sample.dts <= self.last_pts {
                sample.dts = self.last_pts + 1;
                sample.pts = sample.dts;
            }
        }
        self.last_pts = sample.dts;
        if !self.camera_on {
            return;
        }
        let force = self.world.push("source", sample.clone());
        if self.rung_on {
            self.encoder.push_back((sample, force));
            if self.encoder.len() > 6 {
                let (mut sample, idr) = self.encoder.pop_front().unwrap();
                // The encoder makes no B-frames of its own.
                sample.is_sync = idr;
                sample.is_disposable = false;
                sample.dts = sample.pts;
                if self.camera.reorder == 1 {
                    self.world.push("480p", sample);
                }
            }
        }
    }

    fn run_us(&mut self, us: i64) {
        let end = self.camera.time_us().max(self.sound.time_us()) + us;
        loop {
            let (video, sound) = (self.camera.time_us(), self.sound.time_us() + self.sound_shift_us);
            if video.min(sound) >= end {
                return;
            }
            self.world
                .advance(3_000_000 + video.min(sound).max(0).unsigned_abs() + self.stalled_us);
            if video <= sound {
                self.picture(false);
            } else {
                let sample = self.sound.take();
                if self.sound_on {
                    self.world.push("audio", sample);
                }
            }
        }
    }

    fn jump_us(&mut self, us: i64) {
        self.camera.offset += us * 9 / 100;
        self.sound.offset += us * 48 / 1000;
    }

    fn apply(&mut self, event: &Event) {
        match *event {
            Event::Run(ms) => self.run_us(i64::from(ms) * 1000),
            Event::Rate(frame) => {
                self.camera.offset += self.camera.index as i64 * (self.camera.frame - frame);
                self.camera.frame = frame;
            }
            Event::Jitter(ticks) => self.jitter = ticks,
            Event::Gop(gop) => {
                let now = self.camera.offset + self.camera.index as i64 * self.camera.frame;
                self.camera.gop = gop;
                self.camera.index += gop - self.camera.index % gop;
                self.camera.offset = now - self.camera.index as i64 * self.camera.frame;
            }
            Event::Hole(ms) => self.jump_us(i64::from(ms) * 1000),
            Event::SceneCut => self.picture(true),
            Event::Camera(on) => self.camera_on = on,
            Event::Sound(on) => self.sound_on = on,
            Event::SoundShift(ms) => self.sound_shift_us = i64::from(ms) * -1000,
            Event::Reconnect(ms) => {
                self.jump_us(i64::from(ms) * 1000);
                let id = self.world.ids["source"];
                self.world.packager.discontinuity(id);
                self.picture(true);
            }
            Event::Stall(ms) => {
                self.stalled_us += u64::from(ms) * 1000;
                let now = self.world.now + u64::from(ms) * 1000;
                self.world.advance(now);
            }
            Event::RungLost => {
                self.rung_on = false;
                self.encoder.clear();
                if let Some(id) = self.world.ids.get("480p") {
                    self.world.packager.rendition_lost(*id);
                }
            }
            Event::RungBack => self.rung_on = self.world.ids.contains_key("480p"),
            Event::NewConfig(wide) => {
                let id = self.world.ids["source"];
                let track = video_track(if wide { 1280 } else { 640 }, Some((30, 1)));
                self.world.packager.set_track(id, track);
                self.picture(true);
            }
            Event::NewSound => {
                let id = self.world.ids["audio"];
                let mut track = (*audio_track(48_000)).clone();
                if let media::TrackConfig::Audio(audio) = &mut track.config {
                    audio.channels = 1 + (self.seed % 2) as u16;
                    self.seed += 1;
                }
                self.world.packager.set_track(id, track.into());
            }
        }
    }
}

/// Findings of the property below, kept.
#[test]
fn findings() {
    use Event::*;
    let cases: [(&[Event], bool, u64, u64, bool); 11] = [
        (&[SoundShift(566), Run(200), Run(3211)], false, 2, 60, false),
        (
            &[
                NewConfig(false),
                Hole(2062),
                Run(5734),
                SoundShift(1355),
                Run(1834),
                Reconnect(367),
            ],
            false,
            1,
            60,
            false,
        ),
        (&[Run(2001)], false, 1, 1, false),
        (
            &[
                Run(200),
                NewConfig(false),
                Run(2434),
                Run(4534),
                Rate(45_000),
                Run(1481),
            ],
            false,
            3,
            60,
            false,
        ),
        (
            &[Run(2001), Reconnect(3345), Rate(13_000), Run(2601)],
            false,
            3,
            60,
            false,
        ),
        (
            &[
                Gop(109),
                Hole(2254),
                NewConfig(false),
                Hole(1096),
                Run(1601),
                Run(1934),
            ],
            false,
            1,
            60,
            false,
        ),
        (
            &[
                Sound(false),
                Run(200),
                Camera(false),
                Hole(2658),
                Run(1554),
                Run(1038),
                Sound(true),
                Run(505),
            ],
            false,
            1,
            60,
            false,
        ),
        (
            &[Run(3001), Run(2301), SceneCut, Stall(979), Run(200)],
            false,
            1,
            47,
            false,
        ),
        (
            &[
                Run(598),
                Run(1382),
                Rate(45_000),
                Gop(7),
                Run(2001),
                Camera(false),
                Run(3019),
            ],
            false,
            3,
            60,
            false,
        ),
        (
            &[
                Run(2167),
                Hole(2284),
                NewConfig(true),
                Reconnect(50),
                SceneCut,
                Camera(false),
                Run(3234),
                Run(4781),
            ],
            false,
            1,
            60,
            false,
        ),
        (&[Run(4334), NewSound, NewSound, Run(2482)], true, 1, 60, false),
    ];
    for (events, encoder_available, reorder, gop, rung) in cases {
        println!("{events:?}");
        let mut unruly = Unruly::new(encoder_available, reorder, gop, rung);
        events.iter().for_each(|event| unruly.apply(event));
        unruly.world.finish();
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_sequence_keeps_the_rules(
        events in prop::collection::vec(event(), 1..24),
        encoder_available: bool,
        reorder in 1..4_u64,
        gop in prop_oneof![Just(60_u64), 1..180_u64],
        rung: bool,
    ) {
        let mut unruly = Unruly::new(encoder_available, reorder, gop, rung);
        for event in &events {
            unruly.apply(event);
        }
        unruly.world.finish();
    }
}
