//! What a key takes, and reading it.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use media::ladder::RungSpec;

use super::yaml::{Node, Position, Raw};

/// Most profiles in a ladder.
const PROFILES_MAX: usize = 16;
/// Longest profile name; it becomes a part of URLs.
const PROFILE_NAME_MAX: usize = 16;
/// Rendition names that the packager uses itself.
const TAKEN_NAMES: &[&str] = &["source", "audio"];

/// What a key takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A file or directory; always set.
    Path,
    /// A file or directory, or nothing.
    OptionalPath,
    /// `IP:PORT`, `:PORT`, a port, or `off`.
    Address,
    /// `2s`, `250ms`, `1m`, `1h`.
    Duration { min_ms: u64, max_ms: u64 },
    /// A whole number.
    Count { min: u64, max: u64 },
    /// A whole number from 1, or `auto`.
    AutoCount { max: u64 },
    /// `true` or `false`.
    Switch,
    /// `20GB`, `500MiB`, or a share of the disk: `50%`.
    Space,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// The ladder.
    Profiles,
    /// Known, but of no use yet: refused when given.
    Reserved,
}

/// A setting's value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Value {
    Nothing,
    Path(PathBuf),
    Address(Option<SocketAddr>),
    Duration(Duration),
    Count(u64),
    Auto,
    Switch(bool),
    Space(Space),
    Word(String),
    Profiles(Vec<RungSpec>),
}

/// Room on a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Space {
    Bytes(u64),
    /// Of the whole disk, 1 to 95.
    Percent(u8),
}

/// Units of [`Space`], larger ones first; decimal ones are tried before binary ones.
const SPACE_UNITS: &[(&str, u64)] = &[
    ("TB", 1_000_000_000_000),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
];
/// Least room for recordings: some segments of all renditions of a stream.
const SPACE_BYTES_MIN: u64 = 100_000_000;

/// A complaint, at a place inside the value where there is one.
pub(super) type Complaint = (Option<Position>, String);

impl Kind {
    /// What the reference calls it.
    pub(crate) fn describe(self) -> String {
        match self {
            Self::Path | Self::OptionalPath => "path".to_owned(),
            Self::Address => "`IP:PORT` or `off`".to_owned(),
            Self::Duration { min_ms, max_ms } => {
                format!("duration, {} to {}", duration_text(min_ms), duration_text(max_ms))
            }
            Self::Count { min, max } => format!("number, {min} to {max}"),
            Self::AutoCount { max } => format!("`auto` or a number, 1 to {max}"),
            Self::Switch => "`true` or `false`".to_owned(),
            Self::Space => "size from `100MB`, or `1%` to `95%`".to_owned(),
            Self::Choice(words) => words
                .iter()
                .map(|word| format!("`{word}`"))
                .collect::<Vec<_>>()
                .join(", "),
            Self::Profiles => "list".to_owned(),
            Self::Reserved => "reserved".to_owned(),
        }
    }

    /// Reads a value of this kind.
    pub(super) fn read(self, name: &str, raw: &Raw) -> Result<Value, Complaint> {
        let wrong = |expected: &str| (None, format!("`{name}` takes {expected}, not {}", raw.describe()));
        match (self, raw) {
            (Self::Reserved, _) => Err((
                None,
                format!("`{name}` is not available yet in this version; remove it"),
            )),
            (Self::OptionalPath, Raw::Null) => Ok(Value::Nothing),
            (Self::Path | Self::OptionalPath, Raw::Text(text)) if !text.is_empty() => {
                Ok(Value::Path(PathBuf::from(text)))
            }
            (Self::Path | Self::OptionalPath, _) => Err(wrong("a path")),
            (Self::Address, raw) => address(raw)
                .map(Value::Address)
                .ok_or_else(|| wrong("an address such as 0.0.0.0:8080, or `off`")),
            (Self::Duration { min_ms, max_ms }, Raw::Text(text)) => {
                let found = parse_duration(text).ok_or_else(|| wrong("a duration such as 2s or 250ms"))?;
                if !(u128::from(min_ms)..=u128::from(max_ms)).contains(&found.as_millis()) {
                    let (min, max) = (duration_text(min_ms), duration_text(max_ms));
                    return Err((None, format!("`{name}` is {text}; it must be {min} to {max}")));
                }
                Ok(Value::Duration(found))
            }
            (Self::Duration { .. }, _) => Err(wrong("a duration with its unit, such as 2s or 250ms")),
            (Self::AutoCount { .. }, Raw::Text(text)) if text == "auto" => Ok(Value::Auto),
            (Self::AutoCount { max }, raw) => {
                let count =
                    integer(raw).ok_or_else(|| wrong(&format!("`auto` or a number from 1 to {max}")))?;
                in_range(name, count, 1, max).map(Value::Count)
            }
            (Self::Count { min, max }, raw) => {
                let count = integer(raw).ok_or_else(|| wrong("a whole number"))?;
                in_range(name, count, min, max).map(Value::Count)
            }
            (Self::Switch, raw) => switch(raw)
                .map(Value::Switch)
                .ok_or_else(|| wrong("`true` or `false`")),
            (Self::Space, raw) => match raw {
                Raw::Text(text) => space(text).map(Value::Space),
                _ => None,
            }
            .ok_or_else(|| wrong("a size with its unit from 100MB, such as 20GB, or a share from 1% to 95%")),
            (Self::Choice(words), Raw::Text(text)) if words.contains(&text.as_str()) => {
                Ok(Value::Word(text.clone()))
            }
            (Self::Choice(words), _) => Err(wrong(&format!("one of {}", words.join(", ")))),
            (Self::Profiles, Raw::List(items)) => profiles(name, items).map(Value::Profiles),
            (Self::Profiles, _) => Err(wrong("a list of profiles (`- name: 720p` ...)")),
        }
    }
}

impl Value {
    /// The value as it is written in a file; profiles are written by the renderer.
    pub(crate) fn text(&self) -> String {
        match self {
            Self::Nothing => String::new(),
            Self::Path(path) => path.display().to_string(),
            Self::Address(None) => "off".to_owned(),
            Self::Address(Some(address)) => address.to_string(),
            Self::Duration(duration) => {
                duration_text(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
            }
            Self::Count(count) => count.to_string(),
            Self::Auto => "auto".to_owned(),
            Self::Switch(value) => value.to_string(),
            Self::Space(Space::Percent(percent)) => format!("{percent}%"),
            Self::Space(Space::Bytes(bytes)) => space_text(*bytes),
            Self::Word(word) => word.clone(),
            Self::Profiles(profiles) => profiles
                .iter()
                .map(|profile| profile.name.as_str())
                .collect::<Vec<_>>()
                .join(", "),
        }
    }
}

fn in_range(name: &str, count: i128, min: u64, max: u64) -> Result<u64, Complaint> {
    match u64::try_from(count) {
        Ok(count) if (min..=max).contains(&count) => Ok(count),
        _ => Err((None, format!("`{name}` is {count}; it must be {min} to {max}"))),
    }
}

fn integer(raw: &Raw) -> Option<i128> {
    match raw {
        Raw::Integer(value) => Some(*value),
        Raw::Text(text) => text.parse().ok(),
        _ => None,
    }
}

fn switch(raw: &Raw) -> Option<bool> {
    match raw {
        Raw::Switch(value) => Some(*value),
        Raw::Text(text) => text.parse().ok(),
        _ => None,
    }
}

/// `Some(None)` is `off`, which YAML may give as a boolean.
fn address(raw: &Raw) -> Option<Option<SocketAddr>> {
    let any = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
    let text = match raw {
        Raw::Switch(false) => return Some(None),
        Raw::Integer(port) => return Some(Some(SocketAddr::new(any, u16::try_from(*port).ok()?))),
        Raw::Text(text) if text == "off" => return Some(None),
        Raw::Text(text) => text.as_str(),
        _ => return None,
    };
    if let Ok(port) = text.trim_start_matches(':').parse() {
        return Some(Some(SocketAddr::new(any, port)));
    }
    text.replacen("localhost:", "127.0.0.1:", 1)
        .parse()
        .ok()
        .map(Some)
}

/// A whole number and `ms`, `s`, `m`, `h` or `d`; a decimal point is allowed before `s`, to the millisecond.
pub(crate) fn parse_duration(text: &str) -> Option<Duration> {
    let unit_at = text.find(|c: char| !c.is_ascii_digit() && c != '.')?;
    let (number, unit) = text.split_at(unit_at);
    let unit_ms: u64 = match unit.trim_start() {
        "ms" => 1,
        "s" => 1_000,
        "m" | "min" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let mut millis = whole.parse::<u64>().ok()?.checked_mul(unit_ms)?;
    if number.contains('.') {
        if unit_ms != 1_000 || fraction.is_empty() || fraction.len() > 3 {
            return None;
        }
        millis = millis.checked_add(format!("{fraction:0<3}").parse().ok()?)?;
    }
    Some(Duration::from_millis(millis))
}

/// The shortest exact form: `60s` for a minute, because that is how the defaults are written.
pub(crate) fn duration_text(millis: u64) -> String {
    match millis {
        0 => "0s".to_owned(),
        _ if millis.is_multiple_of(3_600_000) => format!("{}h", millis / 3_600_000),
        _ if millis.is_multiple_of(1_000) => format!("{}s", millis / 1_000),
        _ => format!("{millis}ms"),
    }
}

fn space(text: &str) -> Option<Space> {
    if let Some(percent) = text.strip_suffix('%') {
        let percent = percent.trim_end().parse().ok()?;
        return (1..=95).contains(&percent).then_some(Space::Percent(percent));
    }
    let (unit, bytes) = SPACE_UNITS.iter().find(|(unit, _)| text.ends_with(unit))?;
    let number: u64 = text.strip_suffix(unit)?.trim_end().parse().ok()?;
    let bytes = number.checked_mul(*bytes)?;
    (bytes >= SPACE_BYTES_MIN).then_some(Space::Bytes(bytes))
}

/// The largest unit that says it exactly.
fn space_text(bytes: u64) -> String {
    let fits = |(_, unit): &&(&str, u64)| bytes.is_multiple_of(*unit);
    SPACE_UNITS.iter().find(fits).map_or_else(
        || bytes.to_string(),
        |(name, unit)| format!("{}{name}", bytes / unit),
    )
}

/// Bits a second: `2500k`, `2.5M`, `2500000`.
fn bit_rate(raw: &Raw) -> Option<u32> {
    let text = match raw {
        Raw::Integer(value) => return u32::try_from(*value).ok(),
        Raw::Text(text) => text.as_str(),
        _ => return None,
    };
    let (number, unit) = match text.as_bytes().last()? {
        b'k' | b'K' => (&text[..text.len() - 1], 1_000_u64),
        b'm' | b'M' => (&text[..text.len() - 1], 1_000_000),
        _ => (text, 1),
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    if fraction.is_empty() || fraction.len() > 6 {
        return None;
    }
    let part =
        fraction.parse::<u64>().ok()?.checked_mul(unit)? / 10_u64.pow(u32::try_from(fraction.len()).ok()?);
    u32::try_from(whole.parse::<u64>().ok()?.checked_mul(unit)?.checked_add(part)?).ok()
}

fn profiles(name: &str, items: &[Node]) -> Result<Vec<RungSpec>, Complaint> {
    if items.is_empty() || items.len() > PROFILES_MAX {
        let found = items.len();
        return Err((
            None,
            format!(
                "`{name}` has {found} profiles; it takes 1 to {PROFILES_MAX} (`streaming.enable_abr: false` switches them off)"
            ),
        ));
    }
    let mut ladder: Vec<RungSpec> = Vec::with_capacity(items.len());
    for item in items {
        let profile = profile(name, item)?;
        if ladder.iter().any(|other| other.name == profile.name) {
            return Err((
                Some(item.at),
                format!("two profiles are called `{}`", profile.name),
            ));
        }
        ladder.push(profile);
    }
    ladder.sort_by_key(|profile| profile.height);
    Ok(ladder)
}

fn profile(key: &str, item: &Node) -> Result<RungSpec, Complaint> {
    let Raw::Map(entries) = &item.raw else {
        let found = item.raw.describe();
        return Err((
            Some(item.at),
            format!("a profile in `{key}` has name, height and bitrate; found {found}"),
        ));
    };
    let (mut name, mut width, mut height, mut bitrate, mut quality) = (None, None, None, None, None);
    for entry in entries {
        let (raw, at) = (&entry.value.raw, entry.value.at);
        let wrong = |expected: &str| {
            (
                Some(at),
                format!(
                    "`{}` of a profile takes {expected}, not {}",
                    entry.key,
                    raw.describe()
                ),
            )
        };
        match entry.key.as_str() {
            "name" => {
                name = Some(profile_name(raw).ok_or_else(|| {
                    wrong("1 to 16 of a-z, 0-9, `-` and `_`, other than `source` and `audio`")
                })?)
            }
            "width" => {
                width = Some(pixels(raw, 8192).ok_or_else(|| wrong("an even number of pixels, 16 to 8192"))?)
            }
            "height" => {
                height = Some(pixels(raw, 4320).ok_or_else(|| wrong("an even number of pixels, 16 to 4320"))?)
            }
            "bitrate" => {
                bitrate = Some(
                    bit_rate(raw)
                        .filter(|rate| (50_000..=200_000_000).contains(rate))
                        .ok_or_else(|| wrong("a rate such as 2500k, 50k to 200M"))?,
                );
            }
            "quality" => {
                quality = Some(
                    integer(raw)
                        .and_then(|factor| u8::try_from(factor).ok())
                        .filter(|factor| *factor <= 51)
                        .ok_or_else(|| wrong("a number from 0 (best) to 51"))?,
                );
            }
            other => {
                return Err((
                    Some(entry.at),
                    format!("a profile has no `{other}`; it has name, width, height, bitrate and quality"),
                ));
            }
        }
    }
    let missing = |what: &str| (Some(item.at), format!("this profile has no `{what}`; add it"));
    Ok(RungSpec {
        name: name.ok_or_else(|| missing("name"))?,
        width,
        height: height.ok_or_else(|| missing("height"))?,
        bitrate: bitrate.ok_or_else(|| missing("bitrate"))?,
        quality,
    })
}

fn profile_name(raw: &Raw) -> Option<String> {
    let Raw::Text(text) = raw else { return None };
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-' || byte == b'_';
    let fits = (1..=PROFILE_NAME_MAX).contains(&text.len()) && text.bytes().all(plain);
    (fits && !TAKEN_NAMES.contains(&text.as_str())).then(|| text.clone())
}

fn pixels(raw: &Raw, max: u32) -> Option<u32> {
    let count = u32::try_from(integer(raw)?).ok()?;
    ((16..=max).contains(&count) && count.is_multiple_of(2)).then_some(count)
}
