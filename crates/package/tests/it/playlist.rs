//! A reader of media playlists that knows nothing of the packager.

use std::collections::BTreeMap;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) us: i64,
    pub(crate) uri: String,
    pub(crate) independent: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Segment {
    pub(crate) msn: u64,
    pub(crate) discontinuity: bool,
    pub(crate) period: u64,
    pub(crate) map: String,
    pub(crate) pdt: String,
    pub(crate) gap: bool,
    pub(crate) parts: Vec<Part>,
    /// `None` while open.
    pub(crate) us: Option<i64>,
    pub(crate) uri: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Playlist {
    pub(crate) target: i64,
    /// SERVER-CONTROL and PART-INF lines as they stand.
    pub(crate) constants: Vec<String>,
    pub(crate) part_target_us: i64,
    pub(crate) part_hold_back_us: i64,
    pub(crate) sequence: u64,
    pub(crate) discontinuity_sequence: u64,
    pub(crate) independent: bool,
    pub(crate) skipped: usize,
    pub(crate) segments: Vec<Segment>,
    pub(crate) hint: Option<String>,
    pub(crate) reports: BTreeMap<String, (u64, Option<u64>)>,
    pub(crate) ended: bool,
}

pub(crate) fn us(text: &str) -> i64 {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let fraction = format!("{fraction:0<6}");
    whole.parse::<i64>().unwrap() * 1_000_000 + fraction[..6].parse::<i64>().unwrap()
}

pub(crate) fn attribute<'a>(line: &'a str, name: &str) -> Option<&'a str> {
    let list = line.split_once(':')?.1;
    let at = list
        .find(&format!("{name}="))
        .filter(|at| *at == 0 || &list[at - 1..*at] == ",")?;
    let value = &list[at + name.len() + 1..];
    match value.strip_prefix('"') {
        Some(quoted) => quoted.split('"').next(),
        None => value.split(',').next(),
    }
}

pub(crate) fn parse(text: &str) -> Playlist {
    let mut list = Playlist::default();
    let mut segment = Segment::default();
    let mut map = String::new();
    let mut period = 0;
    let mut index = 0;
    let mut lines = text.lines();
    assert_eq!(lines.next(), Some("#EXTM3U"));
    for line in lines {
        let (tag, value) = line.split_once(':').unwrap_or((line, ""));
        match tag {
            "#EXT-X-VERSION" => assert_eq!(value, "9"),
            "#EXT-X-TARGETDURATION" => list.target = value.parse().unwrap(),
            "#EXT-X-SERVER-CONTROL" => {
                list.constants.push(line.into());
                list.part_hold_back_us = us(attribute(line, "PART-HOLD-BACK").unwrap());
            }
            "#EXT-X-PART-INF" => {
                list.constants.push(line.into());
                list.part_target_us = us(attribute(line, "PART-TARGET").unwrap());
            }
            "#EXT-X-MEDIA-SEQUENCE" => list.sequence = value.parse().unwrap(),
            "#EXT-X-DISCONTINUITY-SEQUENCE" => {
                list.discontinuity_sequence = value.parse().unwrap();
                period = list.discontinuity_sequence;
            }
            "#EXT-X-INDEPENDENT-SEGMENTS" => list.independent = true,
            "#EXT-X-SKIP" => {
                list.skipped = attribute(line, "SKIPPED-SEGMENTS").unwrap().parse().unwrap();
                index = list.skipped as u64;
            }
            "#EXT-X-DISCONTINUITY" => {
                segment.discontinuity = true;
                period += 1;
            }
            "#EXT-X-MAP" => map = attribute(line, "URI").unwrap().into(),
            "#EXT-X-PROGRAM-DATE-TIME" => segment.pdt = value.into(),
            "#EXT-X-GAP" => segment.gap = true,
            "#EXT-X-PART" => segment.parts.push(Part {
                us: us(attribute(line, "DURATION").unwrap()),
                uri: attribute(line, "URI").unwrap().into(),
                independent: attribute(line, "INDEPENDENT") == Some("YES"),
            }),
            "#EXTINF" => segment.us = Some(us(value.trim_end_matches(','))),
            "#EXT-X-PRELOAD-HINT" => {
                assert_eq!(attribute(line, "TYPE"), Some("PART"));
                list.hint = Some(attribute(line, "URI").unwrap().into());
            }
            "#EXT-X-RENDITION-REPORT" => {
                let number = |name| attribute(line, name).map(|value| value.parse::<u64>().unwrap());
                let report = (number("LAST-MSN").unwrap(), number("LAST-PART"));
                list.reports
                    .insert(attribute(line, "URI").unwrap().into(), report);
            }
            "#EXT-X-ENDLIST" => list.ended = true,
            _ if line.starts_with('#') => panic!("unknown tag {line}"),
            _ => {
                let uri = line.to_owned();
                let msn = list.sequence + index;
                let done = Segment {
                    msn,
                    uri,
                    period,
                    map: map.clone(),
                    ..std::mem::take(&mut segment)
                };
                assert!(done.us.is_some(), "segment without EXTINF: {line}");
                list.segments.push(done);
                index += 1;
            }
        }
    }
    if !segment.parts.is_empty() {
        segment.msn = list.sequence + index;
        (segment.period, segment.map) = (period, map);
        list.segments.push(segment);
    }
    list
}
