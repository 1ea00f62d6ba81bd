//! DASH text (ISO/IEC 23009-1; DASH-IF low-latency guidelines): one manifest over the same segments as HLS.
//!
//! A Period is a run without discontinuity. Its start never changes, and neither does the presentation time offset, so
//! the place of a segment on the presentation timeline is exact however far the window has slid.

use std::fmt::Write as _;
use std::sync::Arc;

use media::MediaTime;

use crate::clock::{rfc3339_ms, seconds};
use crate::config::Role;
use crate::log::{RenditionLog, Segment};
use crate::title::{Listing, TrackFacts};
use crate::window::Fixed;

/// How far behind live players aim, and what they take before they jump, milliseconds.
const LATENCY_MS: (u32, u32, u32) = (1_000, 1_750, 6_000);
/// How often a player looks for a new manifest: a segment is listed when its first part exists.
const UPDATE_PERIOD: &str = "PT0.5S";

/// What a manifest says beside its renditions.
#[derive(Clone, Debug)]
pub(crate) struct Context<'a> {
    pub(crate) stream_id: &'a str,
    pub(crate) fixed: Fixed,
    pub(crate) ended: bool,
    /// UTC of the manifest's time 0.
    pub(crate) origin_utc_ms: i64,
    pub(crate) now_utc_ms: i64,
    pub(crate) periods: Vec<Period>,
    /// A title: periods follow each other without the pauses there were between them, and media has no stream in its
    /// names.
    pub(crate) is_title: bool,
}

/// A run without discontinuity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Period {
    /// Discontinuity sequence number.
    pub number: u64,
    /// Media time at which it starts.
    pub at: MediaTime,
    /// UTC of media time 0 when it started, milliseconds since 1970.
    pub origin_utc_ms: i64,
}

/// A rendition with its listed segments.
pub(crate) struct Listed {
    pub(crate) info: Listing,
    pub(crate) part_target_us: i64,
    pub(crate) segments: Vec<Arc<Segment>>,
    pub(crate) open: Option<Segment>,
}

/// The manifest of a live stream.
pub(crate) fn manifest(context: &Context<'_>, renditions: &[Arc<RenditionLog>]) -> Option<String> {
    let listed: Vec<Listed> = renditions
        .iter()
        .filter_map(|log| {
            let (segments, open) = log.listed();
            Some(Listed {
                info: Listing::from(&log.info()?),
                part_target_us: log.layout()?.part_target_us,
                segments,
                open,
            })
        })
        .collect();
    manifest_of(context, &listed)
}

/// The manifest.
pub(crate) fn manifest_of(context: &Context<'_>, listed: &[Listed]) -> Option<String> {
    let mut body = String::with_capacity(4096);
    let mut end_us = 0;
    for period in &context.periods {
        let start_us = if context.is_title {
            end_us
        } else {
            (period.origin_utc_ms - context.origin_utc_ms) * 1000 + period.at.micros()
        };
        end_us = write_period(&mut body, context, period, start_us, listed).unwrap_or(end_us);
    }
    let mut out = String::with_capacity(body.len() + 1500);
    write_head(&mut out, context, end_us);
    out.push_str(&body);
    if !context.ended {
        out.push_str(
            "  <UTCTiming schemeIdUri=\"urn:mpeg:dash:utc:http-iso:2014\" value=\"/api/v1/time\"/>\n",
        );
    }
    out.push_str("</MPD>\n");
    (!body.is_empty()).then_some(out)
}

fn write_head(out: &mut String, context: &Context<'_>, end_us: i64) {
    let target = context.fixed.target_duration;
    let _ = write!(
        out,
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
         <MPD xmlns=\"urn:mpeg:dash:schema:mpd:2011\" \
         profiles=\"urn:mpeg:dash:profile:isoff-live:2011,http://www.dashif.org/guidelines/low-latency-live-v5\" \
         availabilityStartTime=\"{}\" publishTime=\"{}\" minBufferTime=\"PT{target}S\" maxSegmentDuration=\"PT{}S\"",
        rfc3339_ms(context.origin_utc_ms),
        rfc3339_ms(context.now_utc_ms),
        target + 1,
    );
    if context.ended {
        let _ = writeln!(
            out,
            " type=\"static\" mediaPresentationDuration=\"PT{}S\">",
            seconds(end_us)
        );
        return;
    }
    let (min, aim, max) = LATENCY_MS;
    let _ = write!(
        out,
        " type=\"dynamic\" minimumUpdatePeriod=\"{UPDATE_PERIOD}\" timeShiftBufferDepth=\"PT{}S\" \
         suggestedPresentationDelay=\"PT{}S\">\n  \
         <ServiceDescription id=\"0\">\n    \
         <Latency referenceId=\"0\" target=\"{aim}\" min=\"{min}\" max=\"{max}\"/>\n    \
         <PlaybackRate min=\"0.96\" max=\"1.04\"/>\n  \
         </ServiceDescription>\n",
        seconds(i64::from(context.fixed.window_ms) * 1000),
        seconds(i64::from(aim) * 1000),
    );
}

/// Writes a Period with whatever lies in it; the end of it on the presentation timeline, or `None` if it is empty.
fn write_period(
    out: &mut String,
    context: &Context<'_>,
    period: &Period,
    start_us: i64,
    listed: &[Listed],
) -> Option<i64> {
    let mut end_us = None;
    let mut sets = String::new();
    for family in families(listed) {
        let members: Vec<_> = listed
            .iter()
            .filter(|rendition| Family::of(rendition) == family)
            .filter_map(|rendition| Some((rendition, Run::of(rendition, context, period)?)))
            .collect();
        end_us = members
            .iter()
            .map(|(_, run)| start_us + run.end_us)
            .chain(end_us)
            .max();
        write_set(&mut sets, context, period, family, &members);
    }
    end_us?;
    let _ = write!(
        out,
        "  <Period id=\"{}\" start=\"PT{}S\">\n{sets}  </Period>\n",
        period.number,
        seconds(start_us.max(0))
    );
    end_us
}

/// What may stand in one AdaptationSet: players switch between its members without a new decoder.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Family<'a> {
    is_audio: bool,
    /// Video: the sample entry, which the codec string begins with.
    entry: &'a str,
}

impl<'a> Family<'a> {
    fn of(rendition: &'a Listed) -> Self {
        let is_audio = rendition.info.role == Role::Audio;
        let codec = rendition.info.facts.codecs();
        Self {
            is_audio,
            entry: if is_audio {
                ""
            } else {
                codec.split_once('.').map_or(codec, |(entry, _)| entry)
            },
        }
    }

    /// The same in every manifest, whatever else it lists.
    fn id(self) -> u32 {
        match (self.is_audio, self.entry) {
            (true, _) => 1,
            (false, "hvc1") => 2,
            (false, "av01") => 3,
            (false, _) => 0,
        }
    }
}

/// The families that are there; H.264, which every player takes, first, and audio last.
fn families(listed: &[Listed]) -> Vec<Family<'_>> {
    let mut families: Vec<Family<'_>> = Vec::new();
    for family in listed.iter().map(Family::of) {
        if !families.contains(&family) {
            families.push(family);
        }
    }
    families.sort_by_key(|family| (family.is_audio, family.id()));
    families
}

/// What a rendition has in a Period under one init segment.
struct Run {
    init: u32,
    first_msn: u64,
    /// Start and duration, ticks.
    entries: Vec<(i64, i64)>,
    /// Presentation time offset, ticks.
    offset: i64,
    timescale: std::num::NonZeroU32,
    /// End relative to the Period's start.
    end_us: i64,
}

impl Run {
    fn of(rendition: &Listed, context: &Context<'_>, period: &Period) -> Option<Self> {
        let all = rendition.segments.iter().map(Arc::as_ref).chain(&rendition.open);
        let newest = all.clone().rfind(|segment| segment.period == period.number)?;
        let (init, timescale) = (newest.init, newest.timescale);
        // A Representation has one init segment: what came before a change within the Period is let go.
        let run = all.filter(|segment| segment.period == period.number && segment.init == init);
        let mut entries = Vec::new();
        let mut first_msn = None;
        let typical = rendition
            .segments
            .iter()
            .rev()
            .find(|segment| !segment.gap && segment.init == init);
        let target = i64::from(context.fixed.target_duration) * i64::from(timescale.get());
        for segment in run {
            first_msn.get_or_insert(segment.msn);
            let in_work = rendition
                .open
                .as_ref()
                .is_some_and(|open| open.msn == segment.msn);
            let expected = if in_work {
                typical.map_or(target, |typical| typical.duration)
            } else {
                0
            };
            entries.push((segment.start, segment.duration.max(expected)));
        }
        let offset = period.at.rescale(timescale)?.ticks;
        let (start, duration) = *entries.last()?;
        let end_us = MediaTime::new(start + duration - offset, timescale).micros();
        Some(Self {
            init,
            first_msn: first_msn?,
            entries,
            offset,
            timescale,
            end_us,
        })
    }
}

fn write_set(
    out: &mut String,
    context: &Context<'_>,
    period: &Period,
    family: Family<'_>,
    members: &[(&Listed, Run)],
) {
    let Some((_, first)) = members.first() else { return };
    let kind = if family.is_audio { "audio" } else { "video" };
    let _ = write!(
        out,
        "    <AdaptationSet id=\"{}\" contentType=\"{kind}\" mimeType=\"{kind}/mp4\" segmentAlignment=\"true\" \
         startWithSAP=\"1\">\n      <Label>{kind}</Label>\n      ",
        family.id(),
    );
    if !context.is_title {
        let _ = write!(
            out,
            "<ProducerReferenceTime id=\"0\" inband=\"true\" type=\"captured\" wallClockTime=\"{}\" presentationTime=\"{}\">\n        \
             <UTCTiming schemeIdUri=\"urn:mpeg:dash:utc:http-iso:2014\" value=\"/api/v1/time\"/>\n      \
             </ProducerReferenceTime>\n      ",
            rfc3339_ms(period.origin_utc_ms + period.at.micros().div_euclid(1000)),
            first.offset,
        );
    }
    out.push_str("<Role schemeIdUri=\"urn:mpeg:dash:role:2011\" value=\"main\"/>\n");
    for (rendition, run) in members {
        write_representation(out, context, rendition, run);
    }
    out.push_str("    </AdaptationSet>\n");
}

fn write_representation(out: &mut String, context: &Context<'_>, rendition: &Listed, run: &Run) {
    let info = &rendition.info;
    let _ = write!(
        out,
        "      <Representation id=\"{}\" bandwidth=\"{}\" codecs=\"{}\"",
        info.name,
        info.peak_bitrate.max(1),
        info.facts.codecs(),
    );
    write_media_attributes(out, &info.facts);
    let folder = if context.is_title {
        info.name.clone()
    } else {
        format!("{}/{}", info.name, context.stream_id)
    };
    let early_us = i64::from(context.fixed.target_duration) * 1_000_000 - rendition.part_target_us;
    let _ = write!(
        out,
        "        <SegmentTemplate timescale=\"{}\" presentationTimeOffset=\"{}\" startNumber=\"{}\" \
         initialization=\"{folder}/init-{}.mp4\" media=\"{folder}/seg-$Number$.m4s\"",
        run.timescale, run.offset, run.first_msn, run.init,
    );
    if !context.ended {
        let _ = write!(
            out,
            " availabilityTimeOffset=\"{}\" availabilityTimeComplete=\"false\"",
            seconds(early_us.max(0))
        );
    }
    out.push_str(">\n          <SegmentTimeline>\n");
    write_timeline(out, &run.entries);
    out.push_str("          </SegmentTimeline>\n        </SegmentTemplate>\n      </Representation>\n");
}

fn write_media_attributes(out: &mut String, facts: &TrackFacts) {
    match facts {
        TrackFacts::Video {
            width,
            height,
            pixel_aspect: (horizontal, vertical),
            frame_rate,
            ..
        } => {
            let _ = write!(out, " width=\"{width}\" height=\"{height}\"");
            let _ = write!(out, " sar=\"{}:{}\"", (*horizontal).max(1), (*vertical).max(1));
            if let Some(rate) = frame_rate {
                let _ = write!(out, " frameRate=\"{}/{}\"", rate.numerator, rate.denominator);
            }
            out.push_str(">\n");
        }
        TrackFacts::Audio {
            sample_rate,
            channels,
            ..
        } => {
            let _ = write!(
                out,
                " audioSamplingRate=\"{sample_rate}\">\n        <AudioChannelConfiguration \
                 schemeIdUri=\"urn:mpeg:dash:23003:3:audio_channel_configuration:2011\" value=\"{channels}\"/>\n",
            );
        }
    }
}

/// Runs of equal durations become one `S`; `t` is told where it does not follow from the one before.
fn write_timeline(out: &mut String, entries: &[(i64, i64)]) {
    let mut index = 0;
    let mut expected = None;
    while let Some(&(start, duration)) = entries.get(index) {
        let mut repeats = 0;
        while entries.get(index + repeats + 1) == Some(&(start + duration * (repeats as i64 + 1), duration)) {
            repeats += 1;
        }
        out.push_str("            <S");
        if expected != Some(start) {
            let _ = write!(out, " t=\"{start}\"");
        }
        let _ = write!(out, " d=\"{duration}\"");
        if repeats > 0 {
            let _ = write!(out, " r=\"{repeats}\"");
        }
        out.push_str("/>\n");
        expected = Some(start + duration * (repeats as i64 + 1));
        index += repeats + 1;
    }
}
