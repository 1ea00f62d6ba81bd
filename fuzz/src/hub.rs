//! The hub: publishers, times and readers in any order.

use std::collections::BTreeMap;
use std::num::NonZeroU32;

use ::hub::{FeedLimits, Item, Limits, Publisher, PublisherInfo, RawSample, Reader, Registry, Start};
use bytes::Bytes;
use media::{AudioCodec, AudioConfig, MediaKind, MediaTime, TrackConfig, VideoCodec, VideoConfig};

use crate::Decisions;

/// What one reader has seen, and what must hold of it.
struct Watched {
    reader: Reader,
    last_dts_us: BTreeMap<MediaKind, i64>,
    /// Where the newest audio sample ends, ticks; `None` after a hole.
    audio_end: Option<i64>,
    rates: BTreeMap<MediaKind, i64>,
    needs_keyframe: bool,
}

impl Watched {
    fn read(&mut self) {
        while let Some(item) = self.reader.try_next() {
            match item {
                Item::Track(track) => {
                    if let TrackConfig::Audio(_) = track.config {
                        self.audio_end = None;
                    }
                    self.rates.insert(track.kind(), i64::from(track.timescale.get()));
                }
                Item::Sample(kind, sample) => {
                    let dts_us = (i128::from(sample.dts) * 1_000_000 / i128::from(self.rates[&kind])) as i64;
                    let last_us = self.last_dts_us.insert(kind, dts_us).unwrap_or(-1);
                    assert!(
                        dts_us > last_us && sample.pts >= sample.dts,
                        "{kind:?} {sample:?} after {last_us} us"
                    );
                    if kind == MediaKind::Video {
                        assert!(sample.is_sync || !self.needs_keyframe);
                        self.needs_keyframe = false;
                    } else {
                        assert!(self.audio_end.is_none_or(|end| end == sample.dts));
                        self.audio_end = Some(sample.dts + i64::from(sample.duration));
                    }
                }
                Item::Skipped { samples } => {
                    assert!(samples > 0);
                    (self.needs_keyframe, self.audio_end) = (true, None);
                }
                Item::Discontinuity => self.audio_end = None,
                Item::End => return,
            }
        }
    }
}

fn video(decisions: &mut Decisions<'_>) -> VideoConfig {
    VideoConfig {
        codec: VideoCodec::H264,
        record: Bytes::copy_from_slice(decisions.bytes(4)),
        codec_string: String::new(),
        width: 1,
        height: 1,
        pixel_aspect: (1, 1),
        frame_rate: None,
    }
}

fn audio(decisions: &mut Decisions<'_>) -> AudioConfig {
    AudioConfig {
        codec: AudioCodec::Aac,
        record: Bytes::new(),
        codec_string: String::new(),
        // Below 1000 a sample would be shorter than this watch can tell apart.
        sample_rate: NonZeroU32::MIN.saturating_add(1_000 + decisions.u32() % 191_000),
        channels: 2,
        frame_samples: 1 + decisions.u32() % 4096,
    }
}

fn sample(decisions: &mut Decisions<'_>, clock_ms: &mut i64) -> RawSample {
    let flags = decisions.u8();
    let ahead = decisions.u32();
    *clock_ms = clock_ms.wrapping_add(match flags & 3 {
        0 => i64::from(ahead as i32),
        1 => i64::from(ahead as i32) << 31,
        _ => i64::from(ahead % 60),
    });
    let dts = MediaTime::from_millis(*clock_ms);
    let pts = MediaTime::from_millis(clock_ms.wrapping_add(i64::from(decisions.u8() as i8) * 10));
    let kind = if flags & 4 == 0 {
        MediaKind::Video
    } else {
        MediaKind::Audio
    };
    RawSample {
        kind,
        dts: (flags & 8 == 0).then_some(dts),
        pts,
        is_sync: flags & 16 == 0,
        is_disposable: false,
        data: Bytes::from(vec![0; usize::from(decisions.u8()) * 8]),
    }
}

/// One channel, up to one publisher and four readers.
pub fn hub_ops(data: &[u8]) {
    let feed = FeedLimits {
        bytes_max: 20_000,
        samples_max: 50,
        ..FeedLimits::default()
    };
    let registry = Registry::new(Limits {
        feed,
        ..Limits::default()
    });
    let info = PublisherInfo {
        owner: String::new(),
        protocol: "rtmp",
        peer: String::new(),
        encoder: None,
        is_backup: false,
    };
    let mut decisions = Decisions::new(data);
    let (mut publisher, mut readers, mut now, mut clock_ms) =
        (None::<Publisher>, Vec::<Watched>::new(), 0_u64, 0_i64);
    while !decisions.is_empty() {
        match (decisions.u8() % 16, &mut publisher) {
            (0, publisher @ None) => *publisher = registry.publish("a", info.clone(), now).ok(),
            (0, Some(_)) => assert!(registry.publish("a", info.clone(), now).is_err()),
            (1, publisher) => drop(publisher.take()),
            (2, publisher) => {
                if let Some(publisher) = publisher.take() {
                    publisher.finish(now);
                }
            }
            (3, Some(publisher)) => publisher.set_video(video(&mut decisions), now),
            (4, Some(publisher)) => publisher.set_audio(audio(&mut decisions), now),
            (5, Some(publisher)) if readers.len() < 4 => {
                let start = [Start::LastSync, Start::Live, Start::Oldest][usize::from(decisions.u8() % 3)];
                readers.push(Watched {
                    reader: publisher.stream().source().reader(start),
                    last_dts_us: BTreeMap::new(),
                    audio_end: None,
                    rates: BTreeMap::new(),
                    needs_keyframe: true,
                });
            }
            (6, _) => now += u64::from(decisions.u32() % 30_000_000),
            (7, _) => registry.handle_timeout(now),
            (8, _) => readers.iter_mut().for_each(Watched::read),
            (_, Some(publisher)) => {
                now += u64::from(decisions.u8()) * 300;
                publisher.push(sample(&mut decisions, &mut clock_ms), now);
                let (bytes, samples) = publisher.stream().source().held();
                assert!(samples <= 50 && (bytes <= 20_000 || samples == 1));
            }
            _ => {}
        }
    }
    readers.iter_mut().for_each(Watched::read);
}
