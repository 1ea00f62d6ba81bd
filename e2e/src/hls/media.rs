//! The media of one rendition against what its playlist says.

use std::collections::BTreeMap;

use super::Findings;
use super::mp4::{Fragment, Init};
use super::playlist::{Part, Segment};

/// Facts about a complete segment that other renditions and the multivariant playlist are compared with.
#[derive(Clone, Debug, Default)]
pub struct SegmentFacts {
    /// Presentation time of the first sample (a sync sample comes first in both orders), microseconds of the stream's
    /// timeline. Decode times differ between renditions with and without B-frames.
    pub start_us: i64,
    /// Media duration, microseconds.
    pub duration_us: i64,
    /// Size of the segment.
    pub bytes: u64,
    /// Number of samples.
    pub samples: u64,
    /// Behind a discontinuity: its start is not tied to the one before.
    pub discontinuity: bool,
}

/// Follows one rendition's media in order.
#[derive(Debug, Default)]
pub struct MediaHistory {
    name: String,
    /// Decode time that the next fragment must have, and its timescale.
    next_decode_time: Option<(u64, u32)>,
    /// Facts of each complete segment.
    pub segments: BTreeMap<u64, SegmentFacts>,
    /// Broken rules.
    pub findings: Findings,
}

impl MediaHistory {
    /// An empty history of the rendition `name`.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            ..Self::default()
        }
    }

    /// The next media does not continue what was seen: a discontinuity, a gap, or something that we did not fetch.
    pub fn cut(&mut self) {
        self.next_decode_time = None;
    }

    /// Judges the fragments of one part, in order.
    pub fn part(&mut self, init: &Init, msn: u64, number: u64, part: &Part, fragments: &[Fragment]) {
        let at = format!("{} msn {msn} part {number}", self.name);
        let findings = &mut self.findings;
        for fragment in fragments {
            if let Some((expected, timescale)) = self.next_decode_time
                && timescale == init.timescale
            {
                findings.require(fragment.decode_time == expected, "tfdt", &at, || {
                    let off = fragment.decode_time.cast_signed() - expected.cast_signed();
                    format!(
                        "tfdt {} is {off} ticks away from the end of the fragment before",
                        fragment.decode_time
                    )
                });
            }
            self.next_decode_time = Some((fragment.decode_time + fragment.duration(), init.timescale));
            let zero = fragment
                .samples
                .iter()
                .filter(|sample| sample.duration == 0)
                .count();
            findings.require(zero == 0, "sample-duration", &at, || {
                format!("{zero} samples without duration")
            });
        }
        let ticks: u64 = fragments.iter().map(Fragment::duration).sum();
        let media = micros(ticks, init.timescale);
        findings.require((media - part.duration).abs() <= 10, "part-duration", &at, || {
            format!("DURATION says {} us, the media lasts {media} us", part.duration)
        });
        let sync = fragments
            .first()
            .and_then(|first| first.samples.first())
            .is_some_and(|sample| sample.is_sync);
        if init.handler == "vide" {
            findings.require(sync == part.independent, "independent", &at, || {
                format!(
                    "INDEPENDENT is {}, the first sample's sync flag is {sync}",
                    part.independent
                )
            });
            let idr = fragments
                .first()
                .is_some_and(|first| first.starts_with_idr(init.nal_length_bytes));
            let h264 = init.codec.starts_with("avc");
            findings.require(!h264 || idr == sync, "idr", &at, || {
                format!("sync flag {sync}, IDR slice {idr}")
            });
        } else {
            findings.require(part.independent, "independent", &at, || {
                "an audio part is always INDEPENDENT".into()
            });
        }
    }

    /// Judges a complete segment, whose parts (when all of them were fetched) are `parts`.
    pub fn segment(
        &mut self,
        init: &Init,
        segment: &Segment,
        body: &[u8],
        parts: Option<&[u8]>,
        fragments: &[Fragment],
    ) {
        let at = format!("{} msn {}", self.name, segment.msn);
        let findings = &mut self.findings;
        if let Some(parts) = parts {
            findings.require(parts == body, "segment-bytes", &at, || {
                format!(
                    "the segment's {} bytes are not its parts' {} bytes",
                    body.len(),
                    parts.len()
                )
            });
        }
        let first = fragments.first();
        let ticks: u64 = fragments.iter().map(Fragment::duration).sum();
        let facts = SegmentFacts {
            start_us: micros(first.map_or(0, presentation_start), init.timescale),
            duration_us: micros(ticks, init.timescale),
            bytes: body.len() as u64,
            samples: fragments
                .iter()
                .map(|fragment| fragment.samples.len() as u64)
                .sum(),
            discontinuity: segment.discontinuity,
        };
        let said = segment.duration.unwrap_or(0);
        findings.require(
            (facts.duration_us - said).abs() <= 10,
            "segment-duration",
            &at,
            || format!("EXTINF says {said} us, the media lasts {} us", facts.duration_us),
        );
        let sync = first
            .and_then(|first| first.samples.first())
            .is_some_and(|sample| sample.is_sync);
        findings.require(sync, "segment-start", &at, || {
            "the segment does not start with a sync sample".into()
        });
        for pair in fragments.windows(2) {
            let end = pair[0].decode_time + pair[0].duration();
            findings.require(pair[1].decode_time == end, "tfdt", &at, || {
                format!("tfdt {} inside the segment, expected {end}", pair[1].decode_time)
            });
        }
        self.segments.insert(segment.msn, facts);
    }
}

fn presentation_start(fragment: &Fragment) -> u64 {
    let offset = fragment.samples.first().map_or(0, |sample| sample.offset);
    fragment.decode_time.saturating_add_signed(i64::from(offset))
}

/// Ticks as microseconds, rounded.
#[must_use]
pub fn micros(ticks: u64, timescale: u32) -> i64 {
    let scale = u128::from(timescale.max(1));
    i64::try_from((u128::from(ticks) * 1_000_000 + scale / 2) / scale).unwrap_or(i64::MAX)
}

/// Equal media sequence numbers mean equal time in every rendition: exactly for video, within an audio frame for audio.
pub fn alignment(
    reference: (&str, &MediaHistory),
    other: (&str, &MediaHistory),
    tolerance_us: i64,
    findings: &mut Findings,
) {
    let mut compared = 0;
    for (msn, facts) in &other.1.segments {
        let Some(expected) = reference.1.segments.get(msn) else {
            continue;
        };
        compared += 1;
        let off = facts.start_us - expected.start_us;
        findings.require(
            off.abs() <= tolerance_us,
            "alignment",
            &format!("{} msn {msn}", other.0),
            || format!("starts {off} us away from {}", reference.0),
        );
    }
    findings.require(
        compared > 0 || other.1.segments.is_empty(),
        "alignment",
        other.0,
        || format!("no media sequence number in common with {}", reference.0),
    );
}

#[cfg(test)]
mod tests {
    use super::super::mp4::Sample;
    use super::*;

    fn fragment(decode_time: u64, is_sync: bool) -> Fragment {
        let sample = Sample {
            duration: 22_500,
            size: 6,
            offset: 0,
            is_sync,
        };
        let nal = if is_sync { 0x65 } else { 0x41 };
        Fragment {
            sequence: 0,
            decode_time,
            samples: vec![sample],
            data: vec![0, 0, 0, 2, nal, 0],
        }
    }

    fn video() -> Init {
        Init {
            timescale: 90_000,
            handler: "vide".into(),
            codec: "avc1.64001f".into(),
            nal_length_bytes: 4,
            ..Init::default()
        }
    }

    fn part(duration: i64, independent: bool) -> Part {
        Part {
            uri: "p".into(),
            duration,
            independent,
            gap: false,
        }
    }

    #[test]
    fn correct_media_breaks_no_rule() {
        let mut media = MediaHistory::new("v");
        media.part(&video(), 0, 0, &part(250_000, true), &[fragment(0, true)]);
        media.part(&video(), 0, 1, &part(250_000, false), &[fragment(22_500, false)]);
        let segment = Segment {
            duration: Some(500_000),
            ..Segment::default()
        };
        media.segment(
            &video(),
            &segment,
            b"ab",
            Some(b"ab"),
            &[fragment(0, true), fragment(22_500, false)],
        );
        assert!(media.findings.is_empty(), "{}", media.findings);
    }

    #[test]
    fn every_rule_catches_its_mistake() {
        let cases: [(&str, Part, Fragment); 5] = [
            ("tfdt", part(250_000, false), fragment(22_501, false)),
            ("part-duration", part(249_000, false), fragment(22_500, false)),
            ("independent", part(250_000, true), fragment(22_500, false)),
            (
                "idr",
                part(250_000, true),
                Fragment {
                    data: vec![0, 0, 0, 2, 0x41, 0],
                    ..fragment(22_500, true)
                },
            ),
            (
                "sample-duration",
                part(0, false),
                Fragment {
                    samples: vec![Sample {
                        size: 6,
                        ..Sample::default()
                    }],
                    ..fragment(22_500, false)
                },
            ),
        ];
        for (rule, part_said, made) in cases {
            let mut media = MediaHistory::new("v");
            media.part(&video(), 0, 0, &part(250_000, true), &[fragment(0, true)]);
            media.part(&video(), 0, 1, &part_said, &[made]);
            assert!(media.findings.has(rule), "{rule}: {}", media.findings);
        }
        let segment = Segment {
            duration: Some(250_000),
            ..Segment::default()
        };
        for (rule, body, fragments) in [
            ("segment-bytes", &b"ax"[..], vec![fragment(0, true)]),
            (
                "segment-duration",
                b"ab",
                vec![fragment(0, true), fragment(22_500, false)],
            ),
            ("segment-start", b"ab", vec![fragment(0, false)]),
            ("tfdt", b"ab", vec![fragment(0, true), fragment(22_499, false)]),
        ] {
            let mut media = MediaHistory::new("v");
            media.segment(&video(), &segment, body, Some(b"ab"), &fragments);
            assert!(media.findings.has(rule), "{rule}: {}", media.findings);
        }
    }

    #[test]
    fn renditions_out_of_step_are_caught() {
        let one = |start_us: i64| {
            let mut media = MediaHistory::new("v");
            media.segments.insert(
                4,
                SegmentFacts {
                    start_us,
                    ..SegmentFacts::default()
                },
            );
            media
        };
        for (start, expected) in [(8_000_000, false), (8_000_300, true)] {
            let mut findings = Findings::default();
            alignment(("a", &one(8_000_000)), ("b", &one(start)), 100, &mut findings);
            assert_eq!(findings.has("alignment"), expected);
        }
    }
}
