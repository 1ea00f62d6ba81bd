//! Checks a rendition's playlist history and the bytes behind it, from the outside.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use container::bmff;
use package::{Answer, LiveWindow, RenditionLog, Text};

use crate::playlist::{Playlist, Segment, parse};

/// What one rendition has shown so far.
#[derive(Default)]
pub(crate) struct History {
    last: Option<Playlist>,
    seen: BTreeMap<u64, Segment>,
    /// msn -> (start, end, timescale) ticks as parsed from the chunks.
    pub(crate) times: BTreeMap<u64, (i64, i64)>,
    checked_parts: HashMap<(u64, usize), ()>,
    sequence: u32,
    pub(crate) looked: String,
    whole: BTreeMap<u64, ()>,
    pub(crate) missed_hints: usize,
    pub(crate) parts: usize,
    /// Presentation times seen, by the number that the payload carries.
    pub(crate) presented: BTreeMap<u64, i64>,
}

fn ready(answer: Answer<Arc<Text>>) -> Option<String> {
    match answer {
        Answer::Ready(text) => Some(String::from_utf8(text.body.to_vec()).unwrap()),
        Answer::Wait(_) => None,
        other => panic!("playlist: {other:?}"),
    }
}

impl History {
    pub(crate) fn check(&mut self, log: &RenditionLog, timescale: i64, is_audio: bool) {
        let Some(text) = ready(log.playlist(None, None, false)) else {
            return;
        };
        let list = parse(&text);
        self.check_delta(log, &list);
        self.check_constants(&list);
        self.check_numbers(&list);
        self.check_segments(&list);
        self.check_bytes(log, &list, timescale, is_audio);
        self.last = Some(list);
    }

    fn check_delta(&mut self, log: &RenditionLog, full: &Playlist) {
        let delta = parse(&ready(log.playlist(None, None, true)).unwrap());
        let mut segments = full.segments[..delta.skipped].to_vec();
        // What a client has kept of the skipped segments is what it read before.
        for segment in &segments {
            if let Some(known) = self.seen.get(&segment.msn).filter(|known| known.us.is_some()) {
                assert_eq!(stripped(known), stripped(segment));
            }
        }
        let before = segments.iter().filter(|s| s.discontinuity).count() as u64;
        let carried = segments.last().map(|last| last.map.clone()).unwrap_or_default();
        let mut current = carried;
        for mut segment in delta.segments.clone() {
            segment.period += before;
            if segment.map.is_empty() {
                segment.map = current.clone();
            }
            current = segment.map.clone();
            segments.push(segment);
        }
        assert_eq!(segments, full.segments, "delta");
        assert_eq!(
            Playlist {
                segments: vec![],
                skipped: 0,
                ..delta.clone()
            },
            Playlist {
                segments: vec![],
                skipped: 0,
                ..full.clone()
            }
        );
        if delta.skipped > 0 {
            let kept: i64 = full.segments[delta.skipped..].iter().map(length).sum();
            assert!(
                kept >= full.target * 6_000_000,
                "skipped within CAN-SKIP-UNTIL: {kept}"
            );
        }
    }

    fn check_constants(&mut self, list: &Playlist) {
        assert_eq!(list.constants.len(), 2);
        assert!(list.part_hold_back_us >= 3 * list.part_target_us - 3, "hold back");
        if let Some(last) = &self.last {
            assert_eq!((last.target, &last.constants), (list.target, &list.constants));
            assert!(
                list.sequence >= last.sequence && list.discontinuity_sequence >= last.discontinuity_sequence
            );
            assert!(!last.ended || list.ended);
        }
        let independent = list
            .segments
            .iter()
            .all(|s| s.gap || s.parts.first().is_none_or(|part| part.independent));
        assert!(
            !list.independent || independent,
            "INDEPENDENT-SEGMENTS is not true"
        );
        assert_eq!(list.hint.is_none(), list.ended);
    }

    fn check_numbers(&mut self, list: &Playlist) {
        for segment in &list.segments {
            if segment.us.is_some() {
                assert!(
                    segment.uri.ends_with(&format!("/seg-{}.m4s", segment.msn)),
                    "{} {}",
                    segment.uri,
                    segment.msn
                );
            }
            for (index, part) in segment.parts.iter().enumerate() {
                let name = format!("/part-{}.{index}.m4s", segment.msn);
                assert!(part.uri.ends_with(&name), "{} is not {name}", part.uri);
            }
        }
        let Some(last) = &self.last else { return };
        // The next part that appeared is the one that was hinted at.
        let (Some(hint), Some(open)) = (&last.hint, last.segments.last()) else {
            return;
        };
        let next = if open.us.is_none() {
            let Some(now) = list.segments.iter().find(|s| s.msn == open.msn) else {
                assert!(list.sequence > open.msn, "the open segment is gone");
                return;
            };
            now.parts
                .get(open.parts.len())
                .cloned()
                .or_else(|| part_of(list, open.msn + 1))
        } else {
            part_of(list, open.msn + 1)
        };
        if let Some(next) = next
            && next.uri != *hint
        {
            assert!(next.uri.ends_with(".0.m4s"), "hinted {hint}, came {}", next.uri);
            self.missed_hints += 1;
        }
    }

    fn check_segments(&mut self, list: &Playlist) {
        for segment in &list.segments {
            if let Some(us) = segment.us {
                assert!(
                    (us + 500_000) / 1_000_000 <= list.target,
                    "EXTINF {us} over {} msn {} ends {:?}",
                    list.target,
                    segment.msn,
                    self.times.get(&segment.msn)
                );
                let sum: i64 = segment.parts.iter().map(|part| part.us).sum();
                assert!(
                    segment.gap || segment.parts.is_empty() || sum == us,
                    "parts {sum} EXTINF {us}"
                );
            }
            for (index, part) in segment.parts.iter().enumerate() {
                assert!(
                    part.us <= list.part_target_us,
                    "part {} over {}",
                    part.us,
                    list.part_target_us
                );
                let is_last = index + 1 == segment.parts.len() && segment.us.is_some();
                let may_become_last = index + 1 == segment.parts.len();
                if !is_last && !may_become_last {
                    assert!(
                        (part.us + 1) * 100 >= list.part_target_us * 85,
                        "short part {part:?} of {}",
                        list.part_target_us
                    );
                }
            }
            match self.seen.get(&segment.msn) {
                Some(known) if known.us.is_some() => assert_eq!(stripped(known), stripped(segment)),
                Some(known) => {
                    let same = segment.parts.len() >= known.parts.len();
                    assert!(same || segment.parts.is_empty());
                    assert!(
                        segment.parts.is_empty() || segment.parts[..known.parts.len()] == known.parts[..]
                    );
                    assert_eq!(
                        (known.period, &known.map, &known.pdt),
                        (segment.period, &segment.map, &segment.pdt)
                    );
                }
                None => {}
            }
            if let Some(before) = segment.msn.checked_sub(1).and_then(|msn| self.seen.get(&msn)) {
                assert_eq!(
                    segment.period,
                    before.period + u64::from(segment.discontinuity),
                    "discontinuity sequence"
                );
            }
            let parts = if segment.parts.is_empty() {
                self.seen
                    .get(&segment.msn)
                    .map(|known| known.parts.clone())
                    .unwrap_or_default()
            } else {
                segment.parts.clone()
            };
            self.seen.insert(
                segment.msn,
                Segment {
                    parts,
                    ..segment.clone()
                },
            );
        }
    }

    fn check_bytes(&mut self, log: &RenditionLog, list: &Playlist, timescale: i64, is_audio: bool) {
        for segment in &list.segments {
            for (index, part) in segment.parts.iter().enumerate() {
                if self.checked_parts.insert((segment.msn, index), ()).is_none() {
                    let Answer::Ready(bytes) = log.part(segment.msn, index as u32) else {
                        panic!("{} is gone", part.uri)
                    };
                    self.check_part(segment, index, &bytes, timescale, is_audio);
                }
            }
            if segment.us.is_some() && !segment.gap && self.whole.insert(segment.msn, ()).is_none() {
                let Answer::Ready(body) = log.segment(segment.msn) else {
                    panic!("{} is gone", segment.uri)
                };
                assert!(body.complete);
                let total: i64 = body
                    .parts
                    .iter()
                    .map(|part| bmff::read_chunk(part).unwrap().duration() as i64)
                    .sum();
                let us = (total * 1_000_000 + timescale / 2) / timescale;
                assert!(
                    segment.us.is_some_and(|told| (us - told).abs() <= 1),
                    "{us} {:?}",
                    segment.us
                );
            }
        }
    }

    fn check_part(&mut self, segment: &Segment, index: usize, bytes: &[u8], timescale: i64, is_audio: bool) {
        let chunk = bmff::read_chunk(bytes).unwrap();
        // Of a burst longer than three target durations the oldest parts are never listed.
        let follows = index > 0 && self.checked_parts.contains_key(&(segment.msn, index - 1));
        assert!(
            chunk.sequence > self.sequence && (!follows || chunk.sequence == self.sequence + 1),
            "mfhd sequence"
        );
        self.sequence = chunk.sequence;
        self.parts += 1;
        let (start, duration) = (chunk.base_decode_time as i64, chunk.duration() as i64);
        let us = duration * 1_000_000 / timescale;
        assert!(
            (us - segment.parts[index].us).abs() <= 1,
            "{us} {:?}",
            segment.parts[index]
        );
        assert_eq!(
            chunk.samples[0].is_sync(),
            segment.parts[index].independent,
            "INDEPENDENT"
        );
        let expected = if index > 0 {
            self.times.get(&segment.msn).map(|times| times.1)
        } else {
            self.start_of(segment, timescale)
        };
        if let Some(expected) = expected {
            let before = segment.msn.checked_sub(1).and_then(|msn| self.seen.get(&msn));
            let after_gap = index == 0 && before.is_some_and(|before| before.gap);
            // Behind a gap audio begins with the first frame after the boundary; and where the timeline lagged when it
            // broke off (a second at most), the gap's EXTINF, bounded by the target duration, may not cover that.
            let tolerance = if after_gap { timescale * 1060 / 1000 } else { 0 };
            let error = (start - expected).abs();
            assert!(
                error <= tolerance,
                "tfdt {start}, expected {expected} msn {} part {index} gap {after_gap}",
                segment.msn
            );
        }
        let entry = self.times.entry(segment.msn).or_insert((start, start));
        entry.1 = start + duration;
        self.note_samples(&chunk, start, is_audio);
    }

    /// Where a segment has to start: where the one before ends, gaps counted by their EXTINF.
    fn start_of(&self, segment: &Segment, timescale: i64) -> Option<i64> {
        if segment.discontinuity {
            return None;
        }
        let mut msn = segment.msn.checked_sub(1)?;
        let mut gaps = 0;
        loop {
            let before = self.seen.get(&msn)?;
            let ticks = |us: i64| (us * timescale + 500_000) / 1_000_000;
            if !before.gap {
                return Some(self.times.get(&msn)?.1 + gaps);
            }
            if let Some((start, _)) = self.times.get(&msn) {
                return Some(start + ticks(before.us?) + gaps);
            }
            if before.discontinuity {
                return None;
            }
            gaps += ticks(before.us?);
            msn = msn.checked_sub(1)?;
        }
    }

    fn note_samples(&mut self, chunk: &bmff::Chunk<'_>, start: i64, is_audio: bool) {
        let (mut at, mut offset) = (start, 0);
        for sample in &chunk.samples {
            let data = &chunk.data[offset..offset + sample.size as usize];
            let number = u64::from_be_bytes(data[..8].try_into().unwrap());
            assert!(
                self.presented
                    .insert(number, at + i64::from(sample.composition_offset))
                    .is_none()
            );
            assert!(!is_audio || sample.is_sync());
            assert!(sample.duration > 0);
            at += i64::from(sample.duration);
            offset += sample.size as usize;
        }
    }

    pub(crate) fn segments(&self) -> &BTreeMap<u64, Segment> {
        &self.seen
    }

    pub(crate) fn playlist(&self) -> &Playlist {
        self.last.as_ref().expect("nothing was shown")
    }
}

fn part_of(list: &Playlist, msn: u64) -> Option<crate::playlist::Part> {
    list.segments
        .iter()
        .find(|s| s.msn == msn)?
        .parts
        .first()
        .cloned()
}

fn length(segment: &Segment) -> i64 {
    segment
        .us
        .unwrap_or_else(|| segment.parts.iter().map(|part| part.us).sum())
}

/// Without the parts, which leave the playlist before the segment does.
fn stripped(segment: &Segment) -> Segment {
    Segment {
        parts: vec![],
        ..segment.clone()
    }
}

/// Segments of one number agree in all renditions.
pub(crate) fn check_alignment(histories: &[&History]) {
    for pair in histories.windows(2) {
        for (msn, left) in pair[0].segments() {
            if let Some(right) = pair[1].segments().get(msn) {
                assert_eq!(
                    (left.discontinuity, left.period),
                    (right.discontinuity, right.period),
                    "msn {msn}"
                );
            }
        }
    }
}

/// Reports name every other rendition of the window.
pub(crate) fn check_reports(window: &LiveWindow) {
    let logs = window.renditions();
    for log in &logs {
        let Some(text) = ready(log.playlist(None, None, false)) else {
            continue;
        };
        let list = parse(&text);
        for other in logs
            .iter()
            .filter(|other| other.name() != log.name() && !list.ended)
        {
            let uri = format!("../{}/playlist.m3u8", other.name());
            assert!(
                list.reports.contains_key(&uri),
                "{} does not report {uri}",
                log.name()
            );
        }
    }
}
