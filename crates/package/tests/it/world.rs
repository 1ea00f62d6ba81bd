//! A publisher, an encoder and a clock, all imagined.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::Arc;

use bytes::Bytes;
use media::{
    AudioCodec, AudioConfig, FrameRate, Micros, Sample, Track, TrackConfig, VIDEO_TIMESCALE, VideoCodec,
    VideoConfig,
};
use package::{LiveWindow, Notice, PackageConfig, Packager, RenditionId, RenditionSpec, Role};

use crate::checker::{History, check_alignment, check_reports};

pub(crate) const UTC: i64 = 1_800_000_000_000;

pub(crate) fn video_track(width: u32, rate: Option<(u32, u32)>) -> Arc<Track> {
    let number = |value| NonZeroU32::new(value).unwrap();
    Arc::new(Track {
        timescale: VIDEO_TIMESCALE,
        epoch: 0,
        config: TrackConfig::Video(VideoConfig {
            codec: VideoCodec::H264,
            record: Bytes::from_static(&[
                1, 0x64, 0, 0x1f, 0xff, 0xe1, 0, 4, 0x67, 0x64, 0, 0x1f, 1, 0, 2, 0x68, 0xeb,
            ]),
            codec_string: "avc1.64001f".into(),
            width,
            height: width * 9 / 16,
            pixel_aspect: (1, 1),
            frame_rate: rate.map(|(n, d)| FrameRate {
                numerator: number(n),
                denominator: number(d),
            }),
        }),
    })
}

pub(crate) fn audio_track(rate: u32) -> Arc<Track> {
    Arc::new(Track {
        timescale: NonZeroU32::new(rate).unwrap(),
        epoch: 0,
        config: TrackConfig::Audio(AudioConfig {
            codec: AudioCodec::Aac,
            record: Bytes::from_static(&[0x11, 0x90]),
            codec_string: "mp4a.40.2".into(),
            sample_rate: NonZeroU32::new(rate).unwrap(),
            channels: 2,
            frame_samples: 1024,
        }),
    })
}

/// One stream with everything that watches it.
pub(crate) struct World {
    pub(crate) packager: Packager,
    pub(crate) window: Arc<LiveWindow>,
    pub(crate) now: Micros,
    pub(crate) ids: BTreeMap<&'static str, RenditionId>,
    pub(crate) histories: BTreeMap<&'static str, History>,
    pub(crate) scales: BTreeMap<&'static str, i64>,
    pub(crate) pushed: BTreeMap<&'static str, BTreeMap<u64, i64>>,
    pub(crate) notices: Vec<Notice>,
    next_number: u64,
}

impl World {
    pub(crate) fn new(config: PackageConfig) -> Self {
        let window = LiveWindow::new("demo", "s1");
        let mut packager = Packager::new(config, Arc::clone(&window));
        packager.set_clock(UTC);
        Self {
            packager,
            window,
            now: 1_000_000,
            ids: BTreeMap::new(),
            histories: BTreeMap::new(),
            scales: BTreeMap::new(),
            pushed: BTreeMap::new(),
            notices: Vec::new(),
            next_number: 0,
        }
    }

    pub(crate) fn add(&mut self, name: &'static str, role: Role, track: Arc<Track>) {
        let spec = RenditionSpec {
            name: name.into(),
            role,
            declared_bitrate: None,
        };
        let id = self.packager.add_rendition(spec);
        self.scales.insert(name, i64::from(track.timescale.get()));
        self.packager.set_track(id, track);
        self.ids.insert(name, id);
        self.histories.insert(name, History::default());
    }

    /// Lets the clock run, with the timeouts that fall due.
    pub(crate) fn advance(&mut self, to: Micros) {
        let mut rounds = 0;
        while let Some(due) = self.packager.poll_timeout().filter(|due| *due <= to) {
            self.now = self.now.max(due);
            self.packager.handle_timeout(self.now);
            rounds += 1;
            assert!(rounds < 1000, "timeouts do not end: {due} at {}", self.now);
            self.look();
        }
        self.now = self.now.max(to);
    }

    pub(crate) fn push(&mut self, name: &'static str, mut sample: Sample) -> bool {
        let number = self.next_number;
        self.next_number += 1;
        let mut data = number.to_be_bytes().to_vec();
        data.resize(
            8 + (number as usize * 7) % 40 + if sample.is_sync { 60 } else { 10 },
            0,
        );
        sample.data = data.into();
        sample.arrived_us = self.now;
        self.pushed.entry(name).or_default().insert(number, sample.pts);
        let pushed = self.packager.push(self.ids[name], Arc::new(sample), self.now);
        self.look();
        pushed.force_idr
    }

    pub(crate) fn look(&mut self) {
        while let Some(notice) = self.packager.poll_notice() {
            self.notices.push(notice);
        }
        for log in self.window.renditions() {
            let Some((name, history)) = self.histories.iter_mut().find(|(name, _)| **name == log.name())
            else {
                continue;
            };
            let package::Answer::Ready(text) = log.playlist(None, None, false) else {
                continue;
            };
            if std::mem::replace(&mut history.looked, text.etag.clone()) == text.etag {
                continue;
            }
            history.check(&log, self.scales[name], log.role() == Role::Audio);
        }
    }

    /// Checks that hold for the whole history.
    pub(crate) fn finish(&mut self) {
        check_reports(&self.window);
        self.packager.end(self.now);
        self.look();
        let shown: Vec<&History> = self
            .histories
            .values()
            .filter(|history| history.parts > 0)
            .collect();
        check_alignment(&shown);
        for (name, history) in &self.histories {
            let audio = *name == "audio";
            for (number, pts) in &history.presented {
                let pushed = self.pushed[name][number];
                let tolerance = if audio { self.scales[name] * 62 / 1000 } else { 0 };
                assert!(
                    (pushed - pts).abs() <= tolerance,
                    "{name}: sample {number} of {pushed} is shown at {pts}"
                );
            }
        }
        let _ = self.window.mpd(UTC);
        let _ = self.window.master();
    }

    pub(crate) fn playlist(&self, name: &str) -> String {
        match self.window.rendition(name).unwrap().playlist(None, None, false) {
            package::Answer::Ready(text) => String::from_utf8(text.body.to_vec()).unwrap(),
            other => panic!("{other:?}"),
        }
    }
}

/// A publisher's video: pictures in decode order.
pub(crate) struct Camera {
    /// Ticks of 90 kHz.
    pub(crate) frame: i64,
    pub(crate) gop: u64,
    /// Pictures of a mini-GOP: 1 = no B-frames.
    pub(crate) reorder: u64,
    /// Times are rounded to milliseconds, as in FLV.
    pub(crate) rounded: bool,
    pub(crate) index: u64,
    pub(crate) offset: i64,
    pub(crate) duration: bool,
}

impl Camera {
    pub(crate) fn new(frame: i64, gop: u64) -> Self {
        Self {
            frame,
            gop,
            reorder: 1,
            rounded: true,
            index: 0,
            offset: 0,
            duration: true,
        }
    }

    fn round(&self, ticks: i64) -> i64 {
        if self.rounded {
            (ticks + 45).div_euclid(90) * 90
        } else {
            ticks
        }
    }

    /// The next picture: IDR, then for `reorder` 3: P3 B1 B2 P6 B4 B5...; decode times start `reorder - 1` frames early.
    pub(crate) fn take(&mut self) -> Sample {
        let in_gop = self.index % self.gop;
        let start = self.index - in_gop;
        let display = if in_gop == 0 || self.reorder == 1 {
            in_gop
        } else {
            let (group, position) = ((in_gop - 1) / self.reorder, (in_gop - 1) % self.reorder);
            let first = group * self.reorder + 1;
            let last = (first + self.reorder - 1).min(self.gop - 1);
            if position == 0 { last } else { first + position - 1 }
        };
        let delay = if self.reorder > 1 { self.frame } else { 0 };
        let sample = Sample {
            dts: self.round(self.offset + self.index as i64 * self.frame),
            pts: self.round(self.offset + (start + display) as i64 * self.frame + delay),
            duration: if self.duration { self.frame as u32 } else { 0 },
            is_sync: in_gop == 0,
            is_disposable: self.reorder > 1 && in_gop > 0 && !(in_gop - 1).is_multiple_of(self.reorder),
            arrived_us: 0,
            data: Bytes::new(),
        };
        self.index += 1;
        sample
    }

    pub(crate) fn time_us(&self) -> i64 {
        (self.offset + self.index as i64 * self.frame) * 100 / 9
    }
}

/// A publisher's sound.
pub(crate) struct Microphone {
    pub(crate) rate: i64,
    pub(crate) index: i64,
    pub(crate) offset: i64,
    pub(crate) rounded: bool,
}

impl Microphone {
    pub(crate) fn new(rate: i64) -> Self {
        Self {
            rate,
            index: 0,
            offset: 0,
            rounded: true,
        }
    }

    pub(crate) fn time_us(&self) -> i64 {
        (self.offset + self.index * 1024) * 1_000_000 / self.rate
    }

    pub(crate) fn take(&mut self) -> Sample {
        let exact = self.offset + self.index * 1024;
        let ms = (exact * 1000 + self.rate / 2).div_euclid(self.rate);
        let pts = if self.rounded {
            (ms * self.rate + 500).div_euclid(1000)
        } else {
            exact
        };
        self.index += 1;
        Sample {
            dts: pts,
            pts,
            duration: 1024,
            is_sync: true,
            is_disposable: false,
            arrived_us: 0,
            data: Bytes::new(),
        }
    }
}
