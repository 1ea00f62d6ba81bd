//! HLS text (draft-pantos-hls-rfc8216bis): the multivariant playlist, media playlists and their delta updates.

use std::fmt::Write as _;
use std::sync::Arc;

use crate::clock::{duration_us, rfc3339_ms, seconds};
use crate::config::Role;
use crate::log::{Layout, RenditionLog, Segment};
use crate::title::{Listing, TrackFacts};
use crate::window::Fixed;

/// Parts are listed for the last three target durations (RFC 8216bis 4.4.4.9).
const PARTS_LISTED_TARGETS: i64 = 3;
/// CAN-SKIP-UNTIL in target durations; six is the least (RFC 8216bis 4.4.3.8).
const SKIP_UNTIL_TARGETS: u32 = 6;

/// What a media playlist is rendered from.
#[derive(Debug)]
pub(crate) struct Snapshot {
    pub(crate) stream_id: String,
    pub(crate) layout: Layout,
    pub(crate) fixed: Fixed,
    pub(crate) segments: Vec<Arc<Segment>>,
    pub(crate) open: Option<Segment>,
    pub(crate) next_msn: u64,
    pub(crate) ended: bool,
}

impl Snapshot {
    /// Ticks from the start of each segment to the playlist's end are walked from the end: how many of the oldest
    /// segments begin further away than `targets` target durations.
    fn older_than(&self, targets: u32) -> usize {
        let limit = i64::from(self.fixed.target_duration * targets) * 1_000_000;
        let mut distance = self.open.as_ref().map_or(0, Segment::duration_us);
        for (index, segment) in self.segments.iter().enumerate().rev() {
            // A segment counts by its end: the whole of it has to lie beyond the boundary.
            if distance >= limit {
                return index + 1;
            }
            distance += segment.duration_us();
        }
        0
    }

    /// How many segments a delta update leaves out (RFC 8216bis 6.2.5.1).
    pub(crate) fn skippable(&self) -> usize {
        self.older_than(SKIP_UNTIL_TARGETS)
    }
}

/// A media playlist; a delta update if `skipped` is not 0.
pub(crate) fn media_playlist(snapshot: &Snapshot, siblings: &[Arc<RenditionLog>], skipped: usize) -> String {
    let mut out = String::with_capacity(1024 + 220 * snapshot.segments.len());
    header(&mut out, snapshot);
    if skipped > 0 {
        let _ = writeln!(out, "#EXT-X-SKIP:SKIPPED-SEGMENTS={skipped}");
    }
    let parts_from = snapshot.older_than(PARTS_LISTED_TARGETS as u32);
    let mut init = skipped
        .checked_sub(1)
        .and_then(|last| snapshot.segments.get(last))
        .map(|last| last.init);
    for (index, segment) in snapshot.segments.iter().enumerate().skip(skipped) {
        segment_head(&mut out, snapshot, segment, &mut init);
        if index >= parts_from {
            parts(&mut out, snapshot, segment);
        }
        segment_end(&mut out, snapshot, segment);
    }
    tail(&mut out, snapshot, siblings, &mut init);
    out
}

fn header(out: &mut String, snapshot: &Snapshot) {
    let Fixed {
        target_duration,
        part_hold_back_us,
        ..
    } = snapshot.fixed;
    let part_target_us = snapshot.layout.part_target_us;
    let _ = write!(
        out,
        "#EXTM3U\n#EXT-X-VERSION:9\n#EXT-X-TARGETDURATION:{target_duration}\n\
         #EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,CAN-SKIP-UNTIL={}.0,PART-HOLD-BACK={},HOLD-BACK={}.0\n\
         #EXT-X-PART-INF:PART-TARGET={}\n",
        target_duration * SKIP_UNTIL_TARGETS,
        seconds(part_hold_back_us as i64),
        target_duration * 3,
        seconds(part_target_us),
    );
    let first = snapshot
        .segments
        .first()
        .map(Arc::as_ref)
        .or(snapshot.open.as_ref());
    let sequence = first.map_or(snapshot.next_msn, |first| first.msn);
    // The first segment keeps its own discontinuity tag, so the number counts those before it.
    let discontinuities = first.map_or(0, |first| first.period - u64::from(first.discontinuity));
    let _ = writeln!(out, "#EXT-X-MEDIA-SEQUENCE:{sequence}");
    if discontinuities > 0 {
        let _ = writeln!(out, "#EXT-X-DISCONTINUITY-SEQUENCE:{discontinuities}");
    }
    let open = snapshot.open.iter().filter(|open| !open.parts.is_empty());
    if snapshot
        .segments
        .iter()
        .map(Arc::as_ref)
        .chain(open)
        .all(Segment::independent)
    {
        out.push_str("#EXT-X-INDEPENDENT-SEGMENTS\n");
    }
}

fn segment_head(out: &mut String, snapshot: &Snapshot, segment: &Segment, init: &mut Option<u32>) {
    if segment.discontinuity {
        out.push_str("#EXT-X-DISCONTINUITY\n");
    }
    if *init != Some(segment.init) {
        let _ = writeln!(
            out,
            "#EXT-X-MAP:URI=\"{}/init-{}.mp4\"",
            snapshot.stream_id, segment.init
        );
        *init = Some(segment.init);
    }
    let _ = writeln!(out, "#EXT-X-PROGRAM-DATE-TIME:{}", rfc3339_ms(segment.utc_ms));
    if segment.gap {
        out.push_str("#EXT-X-GAP\n");
    }
}

fn parts(out: &mut String, snapshot: &Snapshot, segment: &Segment) {
    // Both ends are rounded, so that the parts of a segment add up to it exactly.
    let mut end = 0;
    let mut end_us = 0;
    for (index, part) in segment.parts.iter().enumerate() {
        end += part.duration;
        let next_us = duration_us(end, segment.timescale);
        let _ = write!(
            out,
            "#EXT-X-PART:DURATION={},URI=\"{}/part-{}.{index}.m4s\"",
            seconds(next_us - end_us),
            snapshot.stream_id,
            segment.msn,
        );
        out.push_str(if part.independent {
            ",INDEPENDENT=YES\n"
        } else {
            "\n"
        });
        end_us = next_us;
    }
}

fn segment_end(out: &mut String, snapshot: &Snapshot, segment: &Segment) {
    let duration = seconds(segment.duration_us());
    let _ = write!(
        out,
        "#EXTINF:{duration},\n{}/seg-{}.m4s\n",
        snapshot.stream_id, segment.msn
    );
}

fn tail(out: &mut String, snapshot: &Snapshot, siblings: &[Arc<RenditionLog>], init: &mut Option<u32>) {
    if snapshot.ended {
        out.push_str("#EXT-X-ENDLIST\n");
        return;
    }
    let open = snapshot.open.as_ref().filter(|open| !open.parts.is_empty());
    if let Some(open) = open {
        segment_head(out, snapshot, open, init);
        parts(out, snapshot, open);
    }
    let next_part = open.map_or(0, |open| open.parts.len());
    let _ = writeln!(
        out,
        "#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"{}/part-{}.{next_part}.m4s\"",
        snapshot.stream_id, snapshot.next_msn
    );
    for sibling in siblings {
        if let Some((msn, part)) = sibling.last() {
            let _ = write!(
                out,
                "#EXT-X-RENDITION-REPORT:URI=\"../{}/playlist.m3u8\",LAST-MSN={msn}",
                sibling.name()
            );
            // LAST-PART is required where there are parts (RFC 8216bis 4.4.5.4). A gap has none: with 0 a client asks for
            // the part after it, and gets the next segment's first.
            let _ = writeln!(out, ",LAST-PART={}", part.unwrap_or(0));
        }
    }
}

/// The multivariant playlist of a live stream.
pub(crate) fn master_playlist(renditions: &[Arc<RenditionLog>]) -> String {
    let infos = renditions.iter().filter_map(|log| log.info());
    master(&infos.map(|info| Listing::from(&info)).collect::<Vec<_>>())
}

/// The multivariant playlist.
pub(crate) fn master(infos: &[Listing]) -> String {
    let audio = infos.iter().find(|info| info.role == Role::Audio);
    let mut out = String::from("#EXTM3U\n#EXT-X-VERSION:6\n");
    let has_video = infos.iter().any(|info| info.role != Role::Audio);
    if let Some(audio) = audio.filter(|_| has_video) {
        let _ = writeln!(
            out,
            "#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"audio\",NAME=\"audio\",DEFAULT=YES,AUTOSELECT=YES,CHANNELS=\"{}\",URI=\"{}/playlist.m3u8\"",
            audio.facts.channels(),
            audio.name
        );
    }
    for info in infos.iter().filter(|info| !has_video || info.role != Role::Audio) {
        let beside = audio.filter(|_| has_video);
        let peak = info.peak_bitrate + beside.map_or(0, |audio| audio.peak_bitrate);
        let mean = info.average_bitrate + beside.map_or(0, |audio| audio.average_bitrate);
        let _ = write!(
            out,
            "#EXT-X-STREAM-INF:BANDWIDTH={},AVERAGE-BANDWIDTH={}",
            peak.max(mean).max(1),
            mean.max(1)
        );
        let _ = write!(out, ",CODECS=\"{}", info.facts.codecs());
        if let Some(audio) = beside {
            let _ = write!(out, ",{}", audio.facts.codecs());
        }
        out.push('"');
        if let TrackFacts::Video {
            width,
            height,
            frame_rate,
            ..
        } = &info.facts
        {
            let _ = write!(out, ",RESOLUTION={width}x{height}");
            if let Some(rate) = frame_rate {
                let milli = (u64::from(rate.numerator.get()) * 1000 + u64::from(rate.denominator.get()) / 2)
                    / u64::from(rate.denominator.get());
                let _ = write!(out, ",FRAME-RATE={}.{:03}", milli / 1000, milli % 1000);
            }
        }
        if beside.is_some() {
            out.push_str(",AUDIO=\"audio\"");
        }
        let _ = write!(out, "\n{}/playlist.m3u8\n", info.name);
    }
    out
}
