//! Reading playlists, strictly: what RFC 8216bis forbids is an error here, not something to be kind about.

use anyhow::{Context as _, Result, bail, ensure};

/// Microseconds; decimal seconds of the text are converted without floating point.
pub type Micros = i64;

/// A media playlist, or a delta update of one (`skipped > 0`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MediaPlaylist {
    /// EXT-X-VERSION.
    pub version: u64,
    /// EXT-X-TARGETDURATION in seconds.
    pub target_s: u64,
    /// PART-TARGET.
    pub part_target: Option<Micros>,
    /// PART-HOLD-BACK.
    pub part_hold_back: Option<Micros>,
    /// HOLD-BACK.
    pub hold_back: Option<Micros>,
    /// CAN-BLOCK-RELOAD=YES.
    pub can_block: bool,
    /// CAN-SKIP-UNTIL.
    pub can_skip_until: Option<Micros>,
    /// EXT-X-MEDIA-SEQUENCE.
    pub media_sequence: u64,
    /// EXT-X-DISCONTINUITY-SEQUENCE.
    pub discontinuity_sequence: u64,
    /// SKIPPED-SEGMENTS of EXT-X-SKIP.
    pub skipped: u64,
    /// The listed segments, the last one possibly in progress.
    pub segments: Vec<Segment>,
    /// URIs of EXT-X-PRELOAD-HINT:TYPE=PART.
    pub part_hints: Vec<String>,
    /// EXT-X-RENDITION-REPORT.
    pub reports: Vec<Report>,
    /// EXT-X-ENDLIST.
    pub ended: bool,
}

/// A media segment; one without URI is in progress and has only parts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Segment {
    /// Media sequence number.
    pub msn: u64,
    /// The segment's URI, when it is complete.
    pub uri: Option<String>,
    /// EXTINF.
    pub duration: Option<Micros>,
    /// EXT-X-PROGRAM-DATE-TIME, microseconds since 1970.
    pub program_date_time: Option<Micros>,
    /// EXT-X-DISCONTINUITY in front.
    pub discontinuity: bool,
    /// EXT-X-GAP.
    pub gap: bool,
    /// The URI of the EXT-X-MAP in force; `None` in a delta update when it was skipped.
    pub map: Option<String>,
    /// Partial segments.
    pub parts: Vec<Part>,
}

/// A partial segment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Part {
    /// URI.
    pub uri: String,
    /// DURATION.
    pub duration: Micros,
    /// INDEPENDENT=YES.
    pub independent: bool,
    /// GAP=YES.
    pub gap: bool,
}

/// What another rendition has reached.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// URI of that rendition's playlist.
    pub uri: String,
    /// LAST-MSN.
    pub last_msn: u64,
    /// LAST-PART.
    pub last_part: Option<u64>,
}

impl MediaPlaylist {
    /// Parses a media playlist.
    ///
    /// # Errors
    /// With the line that breaks the syntax.
    pub fn parse(text: &str) -> Result<Self> {
        let mut lines = text.lines();
        ensure!(lines.next() == Some("#EXTM3U"), "the first line is not #EXTM3U");
        let mut reader = Reader::default();
        for (number, line) in lines.enumerate() {
            reader
                .line(line)
                .with_context(|| format!("line {}: {line}", number + 2))?;
        }
        reader.finish()
    }

    /// Where the playlist ends: the last media sequence number, and how many parts are listed of it. A complete segment
    /// at the end counts as the next one with no part.
    #[must_use]
    pub fn next_part(&self) -> (u64, u64) {
        match self.segments.last() {
            None => (self.media_sequence + self.skipped, 0),
            Some(segment) if segment.uri.is_some() => (segment.msn + 1, 0),
            Some(segment) => (segment.msn, segment.parts.len() as u64),
        }
    }

    /// The full playlist that this delta update stands for, given the one before it (RFC 8216bis 6.2.5.1).
    ///
    /// # Errors
    /// When skipped segments are not in `previous`, so that a client would have to fetch everything again.
    pub fn merged(&self, previous: &Self) -> Result<Self> {
        let mut full = self.clone();
        full.skipped = 0;
        let mut segments = Vec::new();
        for msn in self.media_sequence..self.media_sequence + self.skipped {
            let old = previous.segments.iter().find(|segment| segment.msn == msn);
            let mut old = old
                .with_context(|| format!("segment {msn} is skipped, but was never seen"))?
                .clone();
            ensure!(
                old.uri.is_some(),
                "segment {msn} is skipped, but was in progress before"
            );
            // Parts that far back are not in a full playlist either, or they are: compared by the caller without them.
            old.parts.clear();
            segments.push(old);
        }
        let mut map = segments.last().and_then(|segment| segment.map.clone());
        for segment in &self.segments {
            let mut segment = segment.clone();
            if segment.map.is_none() {
                segment.map.clone_from(&map);
            }
            map.clone_from(&segment.map);
            segments.push(segment);
        }
        full.segments = segments;
        Ok(full)
    }
}

#[derive(Default)]
struct Reader {
    list: MediaPlaylist,
    /// The segment whose tags are being collected.
    open: Segment,
    open_has_tags: bool,
    map: Option<String>,
    seen: Vec<&'static str>,
}

impl Reader {
    fn line(&mut self, line: &str) -> Result<()> {
        ensure!(line.trim_end() == line, "blanks at the end of the line");
        if line.is_empty() {
            return Ok(());
        }
        if !line.starts_with('#') {
            ensure!(self.open.duration.is_some(), "a URI without EXTINF");
            self.open.uri = Some(line.to_owned());
            self.close_segment();
            return Ok(());
        }
        let (tag, value) = line.split_once(':').unwrap_or((line, ""));
        match tag {
            "#EXT-X-VERSION" => self.once("VERSION", |list| {
                list.version = value.parse()?;
                Ok(())
            }),
            "#EXT-X-TARGETDURATION" => self.once("TARGETDURATION", |list| {
                list.target_s = value.parse()?;
                Ok(())
            }),
            "#EXT-X-MEDIA-SEQUENCE" => self.once("MEDIA-SEQUENCE", |list| {
                list.media_sequence = value.parse()?;
                Ok(())
            }),
            "#EXT-X-DISCONTINUITY-SEQUENCE" => self.once("DISCONTINUITY-SEQUENCE", |list| {
                list.discontinuity_sequence = value.parse()?;
                Ok(())
            }),
            "#EXT-X-SERVER-CONTROL" => self.server_control(&attributes(value)?),
            "#EXT-X-PART-INF" => {
                let target = seconds(required(&attributes(value)?, "PART-TARGET")?)?;
                self.once("PART-INF", |list| {
                    list.part_target = Some(target);
                    Ok(())
                })
            }
            "#EXT-X-SKIP" => {
                ensure!(self.list.segments.is_empty(), "EXT-X-SKIP after a segment");
                let skipped = required(&attributes(value)?, "SKIPPED-SEGMENTS")?.parse()?;
                ensure!(skipped > 0, "SKIPPED-SEGMENTS=0");
                self.once("SKIP", |list| {
                    list.skipped = skipped;
                    Ok(())
                })
            }
            "#EXTINF" => {
                ensure!(self.open.duration.is_none(), "two EXTINF for one segment");
                let (duration, _title) = value.split_once(',').context("EXTINF without a comma")?;
                self.open.duration = Some(seconds(duration)?);
                self.tag_of_segment()
            }
            "#EXT-X-PROGRAM-DATE-TIME" => {
                self.open.program_date_time = Some(date_time(value)?);
                self.tag_of_segment()
            }
            "#EXT-X-DISCONTINUITY" => {
                ensure!(self.open.parts.is_empty(), "EXT-X-DISCONTINUITY inside a segment");
                self.open.discontinuity = true;
                self.tag_of_segment()
            }
            "#EXT-X-GAP" => {
                self.open.gap = true;
                self.tag_of_segment()
            }
            "#EXT-X-MAP" => {
                ensure!(self.open.parts.is_empty(), "EXT-X-MAP inside a segment");
                self.map = Some(required(&attributes(value)?, "URI")?.to_owned());
                self.tag_of_segment()
            }
            "#EXT-X-PART" => self.part(&attributes(value)?),
            "#EXT-X-PRELOAD-HINT" => self.hint(&attributes(value)?),
            "#EXT-X-RENDITION-REPORT" => self.report(&attributes(value)?),
            "#EXT-X-ENDLIST" => self.once("ENDLIST", |list| {
                list.ended = true;
                Ok(())
            }),
            _ => Ok(()),
        }
    }

    fn once(&mut self, tag: &'static str, set: impl FnOnce(&mut MediaPlaylist) -> Result<()>) -> Result<()> {
        ensure!(!self.seen.contains(&tag), "EXT-X-{tag} twice");
        self.seen.push(tag);
        set(&mut self.list)
    }

    fn tag_of_segment(&mut self) -> Result<()> {
        ensure!(self.list.part_hints.is_empty(), "media after EXT-X-PRELOAD-HINT");
        self.open_has_tags = true;
        Ok(())
    }

    fn server_control(&mut self, attributes: &[(String, String)]) -> Result<()> {
        let time = |name: &str| optional(attributes, name).map(seconds).transpose();
        let (hold_back, part_hold_back, skip) = (
            time("HOLD-BACK")?,
            time("PART-HOLD-BACK")?,
            time("CAN-SKIP-UNTIL")?,
        );
        let can_block = optional(attributes, "CAN-BLOCK-RELOAD") == Some("YES");
        self.once("SERVER-CONTROL", |list| {
            list.hold_back = hold_back;
            list.part_hold_back = part_hold_back;
            list.can_skip_until = skip;
            list.can_block = can_block;
            Ok(())
        })
    }

    fn part(&mut self, attributes: &[(String, String)]) -> Result<()> {
        ensure!(
            self.list.part_hints.is_empty(),
            "EXT-X-PART after EXT-X-PRELOAD-HINT"
        );
        self.open.parts.push(Part {
            uri: required(attributes, "URI")?.to_owned(),
            duration: seconds(required(attributes, "DURATION")?)?,
            independent: optional(attributes, "INDEPENDENT") == Some("YES"),
            gap: optional(attributes, "GAP") == Some("YES"),
        });
        self.tag_of_segment()
    }

    fn hint(&mut self, attributes: &[(String, String)]) -> Result<()> {
        if required(attributes, "TYPE")? == "PART" {
            self.list.part_hints.push(required(attributes, "URI")?.to_owned());
        }
        Ok(())
    }

    fn report(&mut self, attributes: &[(String, String)]) -> Result<()> {
        self.list.reports.push(Report {
            uri: required(attributes, "URI")?.to_owned(),
            last_msn: required(attributes, "LAST-MSN")?.parse()?,
            last_part: optional(attributes, "LAST-PART").map(str::parse).transpose()?,
        });
        Ok(())
    }

    fn close_segment(&mut self) {
        let mut segment = std::mem::take(&mut self.open);
        segment.map.clone_from(&self.map);
        self.list.segments.push(segment);
        self.open_has_tags = false;
    }

    fn finish(mut self) -> Result<MediaPlaylist> {
        if self.open_has_tags && !self.open.parts.is_empty() {
            ensure!(self.open.duration.is_none(), "EXTINF without a URI");
            self.close_segment();
        }
        let list = &mut self.list;
        ensure!(
            self.seen.contains(&"TARGETDURATION"),
            "EXT-X-TARGETDURATION is missing"
        );
        ensure!(
            self.seen.contains(&"MEDIA-SEQUENCE"),
            "EXT-X-MEDIA-SEQUENCE is missing"
        );
        for (at, segment) in list.segments.iter_mut().enumerate() {
            segment.msn = list.media_sequence + list.skipped + at as u64;
        }
        Ok(self.list)
    }
}

/// One EXT-X-STREAM-INF or EXT-X-MEDIA of a multivariant playlist.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Variant {
    /// URI of the media playlist.
    pub uri: String,
    /// BANDWIDTH in bit/s; 0 for an audio group member.
    pub bandwidth: u64,
    /// AVERAGE-BANDWIDTH in bit/s.
    pub average_bandwidth: Option<u64>,
    /// CODECS.
    pub codecs: Vec<String>,
    /// RESOLUTION.
    pub resolution: Option<(u32, u32)>,
    /// FRAME-RATE in thousandths per second.
    pub frame_rate_milli: Option<u64>,
    /// AUDIO group that it plays with, or belongs to.
    pub audio_group: Option<String>,
    /// From EXT-X-MEDIA:TYPE=AUDIO.
    pub is_audio_media: bool,
}

/// Parses a multivariant playlist.
///
/// # Errors
/// With the line that breaks the syntax.
pub fn parse_master(text: &str) -> Result<Vec<Variant>> {
    let mut lines = text.lines();
    ensure!(lines.next() == Some("#EXTM3U"), "the first line is not #EXTM3U");
    let mut variants = Vec::new();
    let mut open: Option<Variant> = None;
    for line in lines {
        if let Some(value) = line.strip_prefix("#EXT-X-STREAM-INF:") {
            ensure!(open.is_none(), "two EXT-X-STREAM-INF in a row");
            open = Some(stream_inf(&attributes(value)?).with_context(|| line.to_owned())?);
        } else if let Some(value) = line.strip_prefix("#EXT-X-MEDIA:") {
            let attributes = attributes(value)?;
            if required(&attributes, "TYPE")? == "AUDIO"
                && let Some(uri) = optional(&attributes, "URI")
            {
                let group = required(&attributes, "GROUP-ID")?.to_owned();
                let (uri, audio_group) = (uri.to_owned(), Some(group));
                variants.push(Variant {
                    uri,
                    audio_group,
                    is_audio_media: true,
                    ..Variant::default()
                });
            }
        } else if !line.is_empty() && !line.starts_with('#') {
            let mut variant = open
                .take()
                .with_context(|| format!("{line}: a URI without EXT-X-STREAM-INF"))?;
            variant.uri = line.to_owned();
            variants.push(variant);
        }
    }
    ensure!(open.is_none(), "EXT-X-STREAM-INF without a URI");
    ensure!(!variants.is_empty(), "no variant");
    Ok(variants)
}

fn stream_inf(attributes: &[(String, String)]) -> Result<Variant> {
    let resolution = optional(attributes, "RESOLUTION").map(|text| -> Result<(u32, u32)> {
        let (width, height) = text.split_once('x').context("RESOLUTION")?;
        Ok((width.parse()?, height.parse()?))
    });
    Ok(Variant {
        bandwidth: required(attributes, "BANDWIDTH")?.parse()?,
        average_bandwidth: optional(attributes, "AVERAGE-BANDWIDTH")
            .map(str::parse)
            .transpose()?,
        codecs: optional(attributes, "CODECS")
            .unwrap_or_default()
            .split(',')
            .map(|c| c.trim().to_owned())
            .collect(),
        resolution: resolution.transpose()?,
        frame_rate_milli: optional(attributes, "FRAME-RATE")
            .map(|text| seconds(text).map(|micros| u64::try_from(micros / 1000).unwrap_or(0)))
            .transpose()?,
        audio_group: optional(attributes, "AUDIO").map(str::to_owned),
        ..Variant::default()
    })
}

/// An attribute list (RFC 8216bis 4.2); quotes are removed.
fn attributes(text: &str) -> Result<Vec<(String, String)>> {
    let mut list: Vec<(String, String)> = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let (name, tail) = rest
            .split_once('=')
            .with_context(|| format!("attribute without value: {rest}"))?;
        ensure!(
            !name.is_empty()
                && name
                    .bytes()
                    .all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'-'),
            "attribute name {name:?}"
        );
        ensure!(
            list.iter().all(|(known, _)| known != name),
            "attribute {name} twice"
        );
        let (value, tail) = if let Some(quoted) = tail.strip_prefix('"') {
            quoted.split_once('"').context("a quote is not closed")?
        } else {
            tail.split_at(tail.find(',').unwrap_or(tail.len()))
        };
        list.push((name.to_owned(), value.to_owned()));
        rest = match tail.strip_prefix(',') {
            Some(tail) if !tail.is_empty() => tail,
            None if tail.is_empty() => tail,
            _ => bail!("stray text in the attribute list: {tail:?}"),
        };
    }
    Ok(list)
}

fn optional<'a>(attributes: &'a [(String, String)], name: &str) -> Option<&'a str> {
    attributes
        .iter()
        .find(|(key, _)| key == name)
        .map(|(_, value)| value.as_str())
}

fn required<'a>(attributes: &'a [(String, String)], name: &str) -> Result<&'a str> {
    optional(attributes, name).with_context(|| format!("{name} is missing"))
}

/// A decimal number of seconds as microseconds, rounded to the nearest.
fn seconds(text: &str) -> Result<Micros> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    ensure!(
        fraction.bytes().all(|b| b.is_ascii_digit()),
        "not a decimal number: {text:?}"
    );
    let whole: i64 = whole
        .parse()
        .with_context(|| format!("not a decimal number: {text:?}"))?;
    let digits: String = fraction.chars().chain("0000000".chars()).take(7).collect();
    Ok(whole * 1_000_000 + (digits.parse::<i64>()? + 5) / 10)
}

/// ISO 8601 in UTC (`Z` or `+00:00`) to microseconds since 1970.
fn date_time(text: &str) -> Result<Micros> {
    let utc = text
        .strip_suffix('Z')
        .or_else(|| text.strip_suffix("+00:00"))
        .context("a time zone other than UTC")?;
    let (date, time) = utc.split_once('T').context("no T between date and time")?;
    let numbers = |text: &str, by: char| -> Result<Vec<i64>> {
        Ok(text.split(by).map(str::parse).collect::<Result<_, _>>()?)
    };
    let date = numbers(date, '-')?;
    ensure!(date.len() == 3, "date");
    let (clock, second) = time.rsplit_once(':').context("time")?;
    let clock = numbers(clock, ':')?;
    ensure!(clock.len() == 2, "time");
    // Days from the civil date, by the proleptic Gregorian calendar with years that begin in March.
    let (year, month) = if date[1] <= 2 {
        (date[0] - 1, date[1] + 9)
    } else {
        (date[0], date[1] - 3)
    };
    let days =
        365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + date[2] - 1 - 719_468;
    Ok((days * 86_400 + clock[0] * 3600 + clock[1] * 60) * 1_000_000 + seconds(second)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_exact() {
        for (text, expected) in [
            ("2", 2_000_000),
            ("0.25", 250_000),
            ("1.00008", 1_000_080),
            ("0.0000005", 1),
        ] {
            assert_eq!(seconds(text).expect(text), expected);
        }
        assert!(seconds("1e3").is_err());
        assert_eq!(date_time("1970-01-01T00:00:00.000Z").expect("epoch"), 0);
        assert_eq!(
            date_time("2026-02-28T23:59:59.5+00:00").expect("date"),
            1_772_323_199_500_000
        );
        assert!(date_time("2026-02-28T23:59:59+01:00").is_err());
    }

    #[test]
    fn broken_texts_are_refused() {
        let head = "#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXT-X-MEDIA-SEQUENCE:0\n";
        for (name, text) in [
            ("no magic", "#EXT-X-TARGETDURATION:2\n".to_owned()),
            ("no target", "#EXTM3U\n#EXT-X-MEDIA-SEQUENCE:0\n".to_owned()),
            ("uri without extinf", format!("{head}a.m4s\n")),
            (
                "extinf without uri",
                format!("{head}#EXT-X-PART:DURATION=1,URI=\"p\"\n#EXTINF:2,\n"),
            ),
            (
                "part after hint",
                format!("{head}#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"q\"\n#EXT-X-PART:DURATION=1,URI=\"p\"\n"),
            ),
            ("tag twice", format!("{head}#EXT-X-TARGETDURATION:2\n")),
            ("skip zero", format!("{head}#EXT-X-SKIP:SKIPPED-SEGMENTS=0\n")),
            (
                "map inside",
                format!("{head}#EXT-X-PART:DURATION=1,URI=\"p\"\n#EXT-X-MAP:URI=\"i\"\n#EXTINF:1,\na\n"),
            ),
            (
                "bad attribute",
                format!("{head}#EXT-X-PART:DURATION=1,,URI=\"p\"\n"),
            ),
            ("lower case", format!("{head}#EXT-X-PART:duration=1,URI=\"p\"\n")),
        ] {
            assert!(MediaPlaylist::parse(&text).is_err(), "{name}");
        }
        assert!(MediaPlaylist::parse(head).is_ok());
    }

    #[test]
    fn a_master_is_read() {
        let text = "#EXTM3U\n#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"a\",NAME=\"x\",URI=\"audio/playlist.m3u8\"\n\
             #EXT-X-STREAM-INF:BANDWIDTH=100,CODECS=\"avc1.64001f,mp4a.40.2\",RESOLUTION=1280x720,FRAME-RATE=29.970,AUDIO=\"a\"\nsource/playlist.m3u8\n";
        let variants = parse_master(text).expect("valid");
        assert!(variants[0].is_audio_media);
        assert_eq!(variants[1].codecs, ["avc1.64001f", "mp4a.40.2"]);
        assert_eq!(variants[1].frame_rate_milli, Some(29_970));
        assert_eq!(variants[1].resolution, Some((1280, 720)));
        assert!(parse_master("#EXTM3U\n#EXT-X-STREAM-INF:CODECS=\"x\"\na\n").is_err());
    }
}
