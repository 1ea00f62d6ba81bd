//! A broadcast that is over: its segments as they are described where they are kept, and the texts that name them all.

use std::fmt::Write as _;
use std::num::NonZeroU32;
use std::sync::Arc;

use media::{FrameRate, Track, TrackConfig};

use crate::clock::{duration_us, rfc3339_ms, seconds};
use crate::config::Role;
use crate::dash::{self, Listed, Period};
use crate::hls;
use crate::log::{RenditionInfo, Segment};
use crate::text::Text;
use crate::window::Fixed;

/// What playlists and manifests say of a track.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TrackFacts {
    /// Pictures.
    Video {
        /// The `codecs` parameter, RFC 6381.
        codecs: String,
        /// Pixels.
        width: u32,
        /// Pixels.
        height: u32,
        /// Horizontal : vertical.
        pixel_aspect: (u32, u32),
        /// If known.
        frame_rate: Option<FrameRate>,
    },
    /// Sound.
    Audio {
        /// The `codecs` parameter, RFC 6381.
        codecs: String,
        /// Sample frames a second.
        sample_rate: u32,
        /// Channels as played.
        channels: u16,
    },
}

impl TrackFacts {
    /// The `codecs` parameter, RFC 6381.
    pub fn codecs(&self) -> &str {
        match self {
            Self::Video { codecs, .. } | Self::Audio { codecs, .. } => codecs,
        }
    }

    pub(crate) fn channels(&self) -> u16 {
        match self {
            Self::Video { .. } => 0,
            Self::Audio { channels, .. } => *channels,
        }
    }
}

impl From<&Track> for TrackFacts {
    fn from(track: &Track) -> Self {
        match &track.config {
            TrackConfig::Video(video) => Self::Video {
                codecs: video.codec_string.clone(),
                width: video.width,
                height: video.height,
                pixel_aspect: video.pixel_aspect,
                frame_rate: video.frame_rate,
            },
            TrackConfig::Audio(audio) => Self::Audio {
                codecs: audio.codec_string.clone(),
                sample_rate: audio.sample_rate.get(),
                channels: audio.channels,
            },
        }
    }
}

/// What a multivariant playlist or a manifest says of a rendition.
#[derive(Clone, Debug)]
pub(crate) struct Listing {
    pub(crate) name: String,
    pub(crate) role: Role,
    pub(crate) facts: TrackFacts,
    pub(crate) peak_bitrate: u64,
    pub(crate) average_bitrate: u64,
}

impl From<&RenditionInfo> for Listing {
    fn from(info: &RenditionInfo) -> Self {
        Self {
            name: info.name.clone(),
            role: info.role,
            facts: TrackFacts::from(info.track.as_ref()),
            peak_bitrate: info.peak_bitrate,
            average_bitrate: info.average_bitrate,
        }
    }
}

/// A complete segment without its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TitleSegment {
    /// Media sequence number.
    pub msn: u64,
    /// Number of its init segment.
    pub init: u32,
    /// Number of the [`Period`] it lies in.
    pub period: u64,
    /// A discontinuity lies before it.
    pub discontinuity: bool,
    /// There are no bytes: players pass over it.
    pub gap: bool,
    /// It starts with a sync sample.
    pub independent: bool,
    /// Ticks a second of `start` and `duration`.
    pub timescale: NonZeroU32,
    /// Decode time of its first sample, ticks.
    pub start: i64,
    /// Ticks.
    pub duration: i64,
    /// Wall clock of its first sample, milliseconds since 1970.
    pub utc_ms: i64,
    /// Bytes as served; 0 for a gap.
    pub bytes: u64,
}

/// One rendition of a title.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TitleRendition {
    /// Name in URLs.
    pub name: String,
    /// What it is in its stream.
    pub role: Role,
    /// What players are told of it.
    pub facts: TrackFacts,
    /// By rising number, without holes.
    pub segments: Vec<TitleSegment>,
}

/// A broadcast that is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Title {
    /// The stream's id.
    pub id: String,
    /// Runs without discontinuity.
    pub periods: Vec<Period>,
    /// In the order of the multivariant playlist.
    pub renditions: Vec<TitleRendition>,
}

impl Title {
    /// A title whose renditions all cover the same segments: where one has none, it gets gaps. Renditions without any
    /// bytes are left out.
    pub fn new(id: &str, periods: Vec<Period>, mut renditions: Vec<TitleRendition>) -> Self {
        renditions.retain(|rendition| rendition.segments.iter().any(|segment| !segment.gap));
        let longest = renditions.iter().max_by_key(|rendition| rendition.segments.len());
        if let Some(all) = longest.map(|rendition| rendition.segments.clone()) {
            renditions.iter_mut().for_each(|rendition| rendition.cover(&all));
        }
        Self {
            id: id.to_owned(),
            periods,
            renditions,
        }
    }

    /// Length of the longest rendition, microseconds.
    pub fn duration_us(&self) -> i64 {
        let lengths = self.renditions.iter().map(|rendition| {
            let lengths = rendition.segments.iter().map(TitleSegment::duration_us);
            lengths.sum()
        });
        lengths.max().unwrap_or(0)
    }

    /// The multivariant playlist.
    pub fn master(&self) -> Text {
        Text::new(hls::master(
            &self.renditions.iter().map(Listing::from).collect::<Vec<_>>(),
        ))
    }

    /// The media playlist of a rendition; media lies beside it.
    pub fn playlist(&self, rendition: &str) -> Option<Text> {
        let rendition = self.renditions.iter().find(|known| known.name == rendition)?;
        Some(Text::new(media_playlist(rendition, self.target_duration())))
    }

    /// The static DASH manifest.
    pub fn mpd(&self) -> Option<Text> {
        let target_duration = self.target_duration();
        let origin_utc_ms = self.periods.first().map_or(0, |first| {
            first.origin_utc_ms + first.at.micros().div_euclid(1000)
        });
        let context = dash::Context {
            stream_id: &self.id,
            fixed: Fixed {
                target_duration,
                part_hold_back_us: 0,
                window_ms: 0,
            },
            ended: true,
            origin_utc_ms,
            now_utc_ms: origin_utc_ms + self.duration_us().div_euclid(1000),
            periods: self.periods.clone(),
            is_title: true,
        };
        let listed: Vec<_> = self.renditions.iter().map(listed).collect();
        dash::manifest_of(&context, &listed).map(Text::new)
    }

    /// EXT-X-TARGETDURATION: no segment is longer, rounded to whole seconds (RFC 8216bis 4.4.3.1).
    fn target_duration(&self) -> u32 {
        let segments = self.renditions.iter().flat_map(|rendition| &rendition.segments);
        let longest = segments.map(TitleSegment::duration_us).max().unwrap_or(0);
        u32::try_from((longest + 500_000) / 1_000_000).unwrap_or(1).max(1)
    }
}

impl TitleSegment {
    fn duration_us(&self) -> i64 {
        duration_us(self.duration, self.timescale)
    }

    /// The same span as a gap of another rendition, which ticks and is decoded otherwise.
    fn as_gap_of(&self, other: &TitleSegment) -> Self {
        let scaled = |ticks| media::rescale(ticks, self.timescale, other.timescale).unwrap_or(0);
        Self {
            init: other.init,
            gap: true,
            independent: true,
            timescale: other.timescale,
            start: scaled(self.start),
            duration: scaled(self.duration).max(1),
            bytes: 0,
            ..*self
        }
    }
}

impl TitleRendition {
    /// Gaps where `all` has segments and this rendition has none, at its head, its end or between.
    fn cover(&mut self, all: &[TitleSegment]) {
        let Some(mut nearest) = self.segments.first().copied() else {
            return;
        };
        let mut own = std::mem::take(&mut self.segments).into_iter().peekable();
        for segment in all {
            while let Some(before) = own.next_if(|own| own.msn < segment.msn) {
                self.segments.push(before);
            }
            if let Some(same) = own.next_if(|own| own.msn == segment.msn) {
                nearest = same;
                self.segments.push(same);
            } else {
                self.segments.push(segment.as_gap_of(&nearest));
            }
        }
        self.segments.extend(own);
    }
}

impl From<&TitleRendition> for Listing {
    fn from(rendition: &TitleRendition) -> Self {
        let (mut peak, mut bytes, mut us) = (0, 0_u128, 0_u128);
        for segment in rendition.segments.iter().filter(|segment| !segment.gap) {
            let length = u128::from(segment.duration_us().unsigned_abs());
            // As live: a very short one says little about the rate a player must sustain.
            if length >= 500_000 {
                peak = peak.max(u128::from(segment.bytes) * 8_000_000 / length);
            }
            bytes += u128::from(segment.bytes);
            us += length;
        }
        let average = bytes * 8_000_000 / us.max(1);
        let rate = |rate: u128| u64::try_from(rate).unwrap_or(u64::MAX);
        Self {
            name: rendition.name.clone(),
            role: rendition.role,
            facts: rendition.facts.clone(),
            peak_bitrate: rate(peak.max(average)),
            average_bitrate: rate(average),
        }
    }
}

fn listed(rendition: &TitleRendition) -> Listed {
    let segment = |segment: &TitleSegment| {
        Arc::new(Segment {
            msn: segment.msn,
            init: segment.init,
            period: segment.period,
            discontinuity: segment.discontinuity,
            gap: segment.gap,
            timescale: segment.timescale,
            start: segment.start,
            duration: segment.duration,
            utc_ms: segment.utc_ms,
            parts: Vec::new(),
            bytes: usize::try_from(segment.bytes).unwrap_or(usize::MAX),
        })
    };
    Listed {
        info: Listing::from(rendition),
        part_target_us: 0,
        segments: rendition.segments.iter().map(segment).collect(),
        open: None,
    }
}

fn media_playlist(rendition: &TitleRendition, target_duration: u32) -> String {
    let segments = &rendition.segments;
    let mut out = String::with_capacity(256 + 110 * segments.len());
    // EXT-X-GAP is of version 8, EXT-X-MAP in a playlist with pictures of version 6 (RFC 8216bis 8).
    let version = if segments.iter().any(|segment| segment.gap) {
        8
    } else {
        7
    };
    let first = segments.first().map_or(0, |first| first.msn);
    let _ = write!(
        out,
        "#EXTM3U\n#EXT-X-VERSION:{version}\n#EXT-X-TARGETDURATION:{target_duration}\n\
         #EXT-X-PLAYLIST-TYPE:VOD\n#EXT-X-MEDIA-SEQUENCE:{first}\n"
    );
    if segments.iter().all(|segment| segment.independent) {
        out.push_str("#EXT-X-INDEPENDENT-SEGMENTS\n");
    }
    let mut init = None;
    for (index, segment) in segments.iter().enumerate() {
        if segment.discontinuity && index > 0 {
            out.push_str("#EXT-X-DISCONTINUITY\n");
        }
        if init != Some(segment.init) {
            let _ = writeln!(out, "#EXT-X-MAP:URI=\"init-{}.mp4\"", segment.init);
            init = Some(segment.init);
        }
        let _ = writeln!(out, "#EXT-X-PROGRAM-DATE-TIME:{}", rfc3339_ms(segment.utc_ms));
        if segment.gap {
            out.push_str("#EXT-X-GAP\n");
        }
        let duration = seconds(segment.duration_us());
        let _ = write!(out, "#EXTINF:{duration},\nseg-{}.m4s\n", segment.msn);
    }
    out.push_str("#EXT-X-ENDLIST\n");
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use media::{MediaTime, VIDEO_TIMESCALE};

    fn segment(msn: u64, gap: bool) -> TitleSegment {
        TitleSegment {
            msn,
            init: 0,
            period: u64::from(msn >= 3),
            discontinuity: msn == 3,
            gap,
            independent: true,
            timescale: VIDEO_TIMESCALE,
            start: 9_000 + 180_000 * msn as i64,
            duration: 180_000,
            utc_ms: 1_700_000_000_000 + 2_000 * msn as i64,
            bytes: if gap { 0 } else { 500_000 },
        }
    }

    fn title() -> Title {
        let video = |name: &str, numbers: std::ops::Range<u64>| TitleRendition {
            name: name.into(),
            role: Role::Rung,
            facts: TrackFacts::Video {
                codecs: "avc1.64001f".into(),
                width: 1280,
                height: 720,
                pixel_aspect: (1, 1),
                frame_rate: None,
            },
            segments: numbers.map(|msn| segment(msn, false)).collect(),
        };
        let scale = NonZeroU32::new(48_000).unwrap();
        let sound = |msn: u64| TitleSegment {
            init: 1,
            timescale: scale,
            start: 4_800 + 96_000 * msn as i64,
            duration: 96_000,
            bytes: 32_000,
            ..segment(msn, false)
        };
        let audio = TitleRendition {
            name: "audio".into(),
            role: Role::Audio,
            facts: TrackFacts::Audio {
                codecs: "mp4a.40.2".into(),
                sample_rate: 48_000,
                channels: 2,
            },
            segments: (0..4).map(sound).collect(),
        };
        let period = |number, ticks, origin_utc_ms| Period {
            number,
            at: MediaTime::new(ticks, VIDEO_TIMESCALE),
            origin_utc_ms,
        };
        let periods = vec![
            period(0, 9_000, 1_700_000_000_000),
            period(1, 549_000, 1_700_000_060_000),
        ];
        Title::new(
            "s1",
            periods,
            vec![
                video("720p", 0..5),
                video("360p", 1..4),
                video("none", 0..0),
                audio,
            ],
        )
    }

    #[test]
    fn all_renditions_cover_the_same_segments() {
        let title = title();
        let shape = |name: &str| -> Vec<_> {
            let rendition = title.renditions.iter().find(|known| known.name == name).unwrap();
            rendition
                .segments
                .iter()
                .map(|segment| (segment.msn, segment.gap))
                .collect()
        };
        assert_eq!(title.renditions.len(), 3);
        assert_eq!(
            shape("360p"),
            [(0, true), (1, false), (2, false), (3, false), (4, true)]
        );
        assert_eq!(
            shape("audio"),
            [(0, false), (1, false), (2, false), (3, false), (4, true)]
        );
        let last = title.renditions[2].segments[4];
        assert_eq!((last.start, last.duration, last.init), (388_800, 96_000, 1));
        assert_eq!(title.duration_us(), 10_000_000);
    }

    #[test]
    fn texts() {
        let title = title();
        let text = |text: Text| String::from_utf8(text.body.to_vec()).unwrap();
        assert!(text(title.master()).contains("\n360p/playlist.m3u8\n"));
        let expected = "#EXTM3U\n#EXT-X-VERSION:8\n#EXT-X-TARGETDURATION:2\n#EXT-X-PLAYLIST-TYPE:VOD\n\
            #EXT-X-MEDIA-SEQUENCE:0\n#EXT-X-INDEPENDENT-SEGMENTS\n#EXT-X-MAP:URI=\"init-0.mp4\"\n\
            #EXT-X-PROGRAM-DATE-TIME:2023-11-14T22:13:20.000Z\n#EXT-X-GAP\n#EXTINF:2.000000,\nseg-0.m4s\n\
            #EXT-X-PROGRAM-DATE-TIME:2023-11-14T22:13:22.000Z\n#EXTINF:2.000000,\nseg-1.m4s\n\
            #EXT-X-PROGRAM-DATE-TIME:2023-11-14T22:13:24.000Z\n#EXTINF:2.000000,\nseg-2.m4s\n\
            #EXT-X-DISCONTINUITY\n#EXT-X-PROGRAM-DATE-TIME:2023-11-14T22:13:26.000Z\n#EXTINF:2.000000,\nseg-3.m4s\n\
            #EXT-X-PROGRAM-DATE-TIME:2023-11-14T22:13:28.000Z\n#EXT-X-GAP\n#EXTINF:2.000000,\nseg-4.m4s\n\
            #EXT-X-ENDLIST\n";
        assert_eq!(text(title.playlist("360p").unwrap()), expected);
        assert!(title.playlist("none").is_none());
        let mpd = text(title.mpd().unwrap());
        assert!(
            mpd.contains("type=\"static\" mediaPresentationDuration=\"PT10.000000S\""),
            "{mpd}"
        );
        // The pause of a minute between the periods is not played.
        assert!(mpd.contains("<Period id=\"1\" start=\"PT6.000000S\">"), "{mpd}");
        assert!(mpd.contains("media=\"720p/seg-$Number$.m4s\""), "{mpd}");
        assert!(!mpd.contains("UTCTiming"), "{mpd}");
    }
}
