//! The rules of RFC 8216bis over the sequence of states of one media playlist.

use std::collections::BTreeMap;

use super::Findings;
use super::playlist::{MediaPlaylist, Micros, Part, Segment};

/// Rounding of one printed duration (microseconds): five decimals or more are expected.
const ROUNDING_US: Micros = 10;
/// PROGRAM-DATE-TIME is printed in milliseconds and slewed by at most 500 ppm.
const DATE_TOLERANCE_US: Micros = 2_000;
const SLEW_PPM_MAX: Micros = 500;

/// Everything that one rendition's playlist has said so far.
#[derive(Debug, Default)]
pub struct History {
    name: String,
    last: Option<MediaPlaylist>,
    /// Every segment ever seen, in its last form.
    segments: BTreeMap<u64, Segment>,
    /// Parts stay known after the playlist has dropped them.
    parts: BTreeMap<(u64, u64), Part>,
    /// The hint that the next new part must have.
    hint: Option<(u64, u64, String)>,
    /// Hinted parts that never came, because their segment ended before them.
    pub void_hints: u64,
    /// Broken rules.
    pub findings: Findings,
}

impl History {
    /// An empty history of the rendition `name`.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            ..Self::default()
        }
    }

    /// The newest state.
    #[must_use]
    pub fn last(&self) -> Option<&MediaPlaylist> {
        self.last.as_ref()
    }

    /// All segments ever listed, by media sequence number.
    #[must_use]
    pub fn segments(&self) -> &BTreeMap<u64, Segment> {
        &self.segments
    }

    /// All parts ever listed, by media sequence number and part.
    #[must_use]
    pub fn parts(&self) -> &BTreeMap<(u64, u64), Part> {
        &self.parts
    }

    /// Takes the next full state (delta updates are merged before).
    pub fn observe(&mut self, list: &MediaPlaylist) {
        self.control(list);
        self.durations(list);
        self.dates(list);
        if let Some(last) = self.last.take() {
            self.constants(&last, list);
            self.window(&last, list);
        }
        self.unchanged(list);
        self.hints(list);
        for segment in &list.segments {
            self.segments.insert(segment.msn, segment.clone());
            for (at, part) in segment.parts.iter().enumerate() {
                self.parts.insert((segment.msn, at as u64), part.clone());
            }
        }
        self.last = Some(list.clone());
    }

    fn add(&mut self, rule: &'static str, msn: Option<u64>, text: String) {
        let at = msn.map_or_else(|| self.name.clone(), |msn| format!("{} msn {msn}", self.name));
        self.findings.add(rule, at, text);
    }

    fn require(&mut self, holds: bool, rule: &'static str, msn: Option<u64>, text: impl FnOnce() -> String) {
        if !holds {
            self.add(rule, msn, text());
        }
    }

    /// 4.4.3.8: what EXT-X-SERVER-CONTROL and EXT-X-PART-INF must promise.
    fn control(&mut self, list: &MediaPlaylist) {
        let target = i64::try_from(list.target_s)
            .unwrap_or(i64::MAX)
            .saturating_mul(1_000_000);
        self.require(list.version >= 9, "version", None, || {
            format!("EXT-X-VERSION {} with delta updates", list.version)
        });
        self.require(list.can_block, "can-block-reload", None, || {
            "CAN-BLOCK-RELOAD=YES is missing".into()
        });
        let Some(part_target) = list.part_target else {
            return self.add("part-target", None, "EXT-X-PART-INF is missing".into());
        };
        self.require(
            part_target > 0 && part_target <= target,
            "part-target",
            None,
            || format!("PART-TARGET {part_target} us"),
        );
        let hold = list.part_hold_back.unwrap_or(0);
        self.require(hold >= 3 * part_target, "part-hold-back", None, || {
            format!("PART-HOLD-BACK {hold} us is below three part targets of {part_target} us")
        });
        let hold = list.hold_back.unwrap_or(3 * target);
        self.require(hold >= 3 * target, "hold-back", None, || {
            format!("HOLD-BACK {hold} us is below three targets")
        });
        if let Some(skip) = list.can_skip_until {
            self.require(skip >= 6 * target, "can-skip-until", None, || {
                format!("CAN-SKIP-UNTIL {skip} us is below six targets")
            });
        }
    }

    /// 4.4.4.1, 4.4.4.9: durations against the targets and against each other.
    fn durations(&mut self, list: &MediaPlaylist) {
        let target = list.part_target.unwrap_or(i64::MAX / 200);
        let count = list.segments.len();
        for (at, segment) in list.segments.iter().enumerate() {
            let msn = Some(segment.msn);
            if let Some(duration) = segment.duration {
                let rounded = (duration + 500_000) / 1_000_000;
                self.require(
                    u64::try_from(rounded).unwrap_or(0) <= list.target_s,
                    "extinf-target",
                    msn,
                    || format!("EXTINF {duration} us, target {} s", list.target_s),
                );
                self.require(duration > 0, "extinf-target", msn, || {
                    "EXTINF is not positive".into()
                });
                let sum: Micros = segment.parts.iter().map(|part| part.duration).sum();
                let slack = ROUNDING_US * (segment.parts.len() as i64 + 1);
                // Of a segment that was lost in the middle only what came before is listed.
                let holds = segment.parts.is_empty()
                    || (sum - duration).abs() <= slack
                    || (segment.gap && sum <= duration + slack);
                self.require(holds, "parts-sum", msn, || {
                    format!("parts sum to {sum} us, EXTINF is {duration} us")
                });
            }
            // Parts may end early where media really ends: at a segment's end, a discontinuity, the end of the stream.
            let whole = segment.uri.is_some() || list.ended;
            let parts = segment.parts.len();
            for (number, part) in segment.parts.iter().enumerate() {
                let text = || {
                    format!(
                        "part {number} lasts {} us, PART-TARGET is {target} us",
                        part.duration
                    )
                };
                self.require(
                    part.duration <= target + ROUNDING_US / 10,
                    "part-too-long",
                    msn,
                    text,
                );
                let is_last = number + 1 == parts;
                let may_be_short = is_last && (whole || at + 1 == count) || part.gap;
                self.require(
                    may_be_short || part.duration * 100 >= target * 85,
                    "part-too-short",
                    msn,
                    text,
                );
            }
            self.parts_near_the_end(list, at);
        }
    }

    /// 4.4.4.9: a low-latency playlist lists the parts of the last three target durations.
    fn parts_near_the_end(&mut self, list: &MediaPlaylist, at: usize) {
        let segment = &list.segments[at];
        if segment.uri.is_none() || segment.gap || list.ended {
            return;
        }
        let behind: Micros = list.segments[at + 1..]
            .iter()
            .map(|later| {
                later
                    .duration
                    .unwrap_or_else(|| later.parts.iter().map(|part| part.duration).sum())
            })
            .sum();
        let near = behind <= i64::try_from(list.target_s).unwrap_or(0) * 2_000_000;
        self.require(
            !near || !segment.parts.is_empty(),
            "parts-missing",
            Some(segment.msn),
            || format!("no parts, although only {behind} us from the end"),
        );
    }

    /// 4.4.4.6: dates follow durations.
    fn dates(&mut self, list: &MediaPlaylist) {
        let any = list
            .segments
            .iter()
            .any(|segment| segment.program_date_time.is_some());
        self.require(any || list.segments.is_empty(), "date-missing", None, || {
            "no EXT-X-PROGRAM-DATE-TIME".into()
        });
        for pair in list.segments.windows(2) {
            let (Some(date), Some(next), Some(duration)) = (
                pair[0].program_date_time,
                pair[1].program_date_time,
                pair[0].duration,
            ) else {
                continue;
            };
            if pair[1].discontinuity {
                self.require(next >= date, "date", Some(pair[1].msn), || {
                    "the date goes back over a discontinuity".into()
                });
                continue;
            }
            let slack = DATE_TOLERANCE_US + duration * SLEW_PPM_MAX / 1_000_000;
            let off = next - date - duration;
            self.require(off.abs() <= slack, "date", Some(pair[1].msn), || {
                format!("the date is {off} us away from the previous date plus its EXTINF")
            });
        }
    }

    /// 6.2.1: what may never change during the life of the playlist.
    fn constants(&mut self, last: &MediaPlaylist, list: &MediaPlaylist) {
        let mut same = |name: &str, old: String, new: String| {
            self.require(old == new, "constant", None, || {
                format!("{name} was {old}, is {new}")
            });
        };
        same(
            "EXT-X-TARGETDURATION",
            last.target_s.to_string(),
            list.target_s.to_string(),
        );
        same(
            "PART-TARGET",
            format!("{:?}", last.part_target),
            format!("{:?}", list.part_target),
        );
        same(
            "PART-HOLD-BACK",
            format!("{:?}", last.part_hold_back),
            format!("{:?}", list.part_hold_back),
        );
        same(
            "HOLD-BACK",
            format!("{:?}", last.hold_back),
            format!("{:?}", list.hold_back),
        );
        same(
            "CAN-SKIP-UNTIL",
            format!("{:?}", last.can_skip_until),
            format!("{:?}", list.can_skip_until),
        );
        same(
            "EXT-X-VERSION",
            last.version.to_string(),
            list.version.to_string(),
        );
    }

    /// 4.4.3.2, 4.4.3.3, 6.2.2: the window only slides forward, and the counters say by how much.
    fn window(&mut self, last: &MediaPlaylist, list: &MediaPlaylist) {
        let (old, new) = (last.media_sequence, list.media_sequence);
        if new < old {
            return self.add(
                "media-sequence",
                None,
                format!("EXT-X-MEDIA-SEQUENCE went back from {old} to {new}"),
            );
        }
        let (old_end, new_end) = (last.next_part(), list.next_part());
        self.require(new_end >= old_end, "end-went-back", None, || {
            format!("ended at {old_end:?}, now at {new_end:?}")
        });
        self.require(!last.ended || list.ended, "endlist", None, || {
            "EXT-X-ENDLIST was taken back".into()
        });
        let gone = last.segments.iter().take_while(|segment| segment.msn < new);
        // A client that slept longer than the window cannot count what it never saw.
        if new > old_end.0 {
            return;
        }
        let passed = gone.filter(|segment| segment.discontinuity).count() as u64;
        let expected = last.discontinuity_sequence + passed;
        let found = list.discontinuity_sequence;
        self.require(found == expected, "discontinuity-sequence", None, || {
            format!("EXT-X-DISCONTINUITY-SEQUENCE is {found}, {expected} by counting the removed segments")
        });
    }

    /// 6.2.1: only appending and removing from the front is allowed.
    fn unchanged(&mut self, list: &MediaPlaylist) {
        for segment in &list.segments {
            let Some(old) = self.segments.get(&segment.msn) else {
                continue;
            };
            let mut changes = Vec::new();
            if old.uri.is_some() && old.uri != segment.uri {
                changes.push(format!("URI {:?} -> {:?}", old.uri, segment.uri));
            }
            if old.duration.is_some() && old.uri.is_some() && old.duration != segment.duration {
                changes.push(format!("EXTINF {:?} -> {:?}", old.duration, segment.duration));
            }
            if old.program_date_time.is_some() && old.program_date_time != segment.program_date_time {
                changes.push(format!(
                    "date {:?} -> {:?}",
                    old.program_date_time, segment.program_date_time
                ));
            }
            if old.discontinuity != segment.discontinuity {
                changes.push(format!(
                    "discontinuity {} -> {}",
                    old.discontinuity, segment.discontinuity
                ));
            }
            if old.map.is_some() && old.map != segment.map {
                changes.push(format!("map {:?} -> {:?}", old.map, segment.map));
            }
            for (at, part) in segment.parts.iter().enumerate() {
                let known = self.parts.get(&(segment.msn, at as u64));
                if known.is_some_and(|known| known != part) {
                    changes.push(format!("part {at} {known:?} -> {part:?}"));
                }
                let late = known.is_none() && old.uri.is_some() && !segment.gap;
                if late {
                    changes.push(format!("part {at} appeared after the segment was complete"));
                }
            }
            let shrank = old.uri.is_none() && segment.parts.len() < old.parts.len() && !segment.gap;
            if shrank {
                changes.push(format!("{} parts -> {}", old.parts.len(), segment.parts.len()));
            }
            let msn = Some(segment.msn);
            if !changes.is_empty() {
                self.add("changed", msn, changes.join("; "));
            }
        }
    }

    /// 4.4.5.3: exactly one hint for the part that comes next, and the promise is kept.
    fn hints(&mut self, list: &MediaPlaylist) {
        if let Some((msn, number, uri)) = self.hint.take() {
            // A key frame may come sooner than the server could know: then the segment ends and the hint is void. It
            // costs a client one useless request, so it is counted, not forbidden.
            let listed = part_at(list, msn, number);
            let ended = list
                .segments
                .iter()
                .any(|segment| segment.msn == msn && segment.uri.is_some());
            if listed.is_none() && ended {
                self.void_hints += 1;
            }
            if let Some(part) = listed {
                self.require(part.uri == uri, "hint-kept", Some(msn), || {
                    format!("hinted {uri}, listed {}", part.uri)
                });
            } else if list.next_part() == (msn, number) && !list.ended {
                self.hint = Some((msn, number, uri));
            }
        }
        if list.ended {
            return self.require(list.part_hints.is_empty(), "hint-count", None, || {
                "a hint after the end".into()
            });
        }
        let count = list.part_hints.len();
        self.require(count == 1, "hint-count", None, || {
            format!("{count} EXT-X-PRELOAD-HINT:TYPE=PART, expected one")
        });
        if let Some(uri) = list.part_hints.first() {
            let listed = list
                .segments
                .iter()
                .flat_map(|segment| &segment.parts)
                .any(|part| part.uri == *uri);
            self.require(!listed, "hint-listed", None, || {
                format!("the hinted part {uri} is listed already")
            });
            let (msn, number) = list.next_part();
            self.hint = Some((msn, number, uri.clone()));
        }
    }
}

fn part_at(list: &MediaPlaylist, msn: u64, number: u64) -> Option<&Part> {
    let segment = list.segments.iter().find(|segment| segment.msn == msn)?;
    segment.parts.get(usize::try_from(number).ok()?)
}

#[cfg(test)]
mod tests;
