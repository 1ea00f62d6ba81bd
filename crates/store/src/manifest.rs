//! The manifest of a title: a small DAG over its objects, from which the title can be rebuilt without the index.
//!
//! The root names the renditions; each has its inits and its segments in lists of [`LIST_SEGMENTS`], nodes of their own, so
//! that no node grows beyond what others on the same network take (1 MiB). It says nothing of the channel: that is the
//! index's business, and may be private.

use std::collections::BTreeMap;
use std::num::{NonZeroU32, NonZeroU64};

use media::{FrameRate, MediaTime};
use package::{Period, Role, Title, TitleRendition, TitleSegment, TrackFacts};

use crate::cid::{Cid, Codec};
use crate::dag::Value;
use crate::error::ManifestFault;

/// The kind of a root, with the version of its shape.
const KIND: &str = "tidewire/title/1";
/// Segments in one list.
pub const LIST_SEGMENTS: usize = 2_048;
/// Most renditions, periods and inits of a rendition that are read.
const ITEMS_MAX: usize = 4_096;
/// Most segments of a rendition that are read: a month of two seconds each.
const SEGMENTS_MAX: usize = 1_300_000;

/// A title with the names of its objects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sealed {
    /// When the stream began, milliseconds since 1970.
    pub started_ms: i64,
    /// What its texts are rendered from.
    pub title: Title,
    /// By rendition, in the order of the title.
    pub objects: Vec<RenditionObjects>,
}

impl Sealed {
    /// Bytes of all inits and segments.
    pub fn bytes(&self) -> u64 {
        let segments = self
            .title
            .renditions
            .iter()
            .flat_map(|rendition| &rendition.segments);
        let inits = self.objects.iter().flat_map(|objects| objects.inits.values());
        segments.map(|segment| segment.bytes).sum::<u64>() + inits.map(|init| init.bytes).sum::<u64>()
    }
}

/// The objects of a rendition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RenditionObjects {
    /// Init segments by number.
    pub inits: BTreeMap<u32, ObjectRef>,
    /// Beside the segments of the title; `None` for a gap.
    pub segments: Vec<Option<Cid>>,
}

/// An object and its length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ObjectRef {
    /// Its name.
    pub cid: Cid,
    /// Its length.
    pub bytes: u64,
}

/// Encodes the nodes of a manifest, those that others refer to first, and the root last.
pub fn encode(sealed: &Sealed) -> Vec<(Cid, Vec<u8>)> {
    let mut nodes = Vec::new();
    let mut add = |value: Value| {
        let bytes = value.encode();
        let cid = Cid::of(Codec::DagCbor, &bytes);
        nodes.push((cid, bytes));
        Value::Link(cid)
    };
    let mut renditions = Vec::new();
    for (rendition, objects) in sealed.title.renditions.iter().zip(&sealed.objects) {
        let all: Vec<_> = rendition.segments.iter().zip(&objects.segments).collect();
        let lists = all.chunks(LIST_SEGMENTS).map(|list| {
            let list = list.iter().map(|(segment, cid)| segment_value(segment, **cid));
            add(Value::List(list.collect()))
        });
        let lists = Value::List(lists.collect());
        let inits = objects.inits.iter().map(|(number, object)| {
            let numbers = [Value::Integer(i64::from(*number)), unsigned(object.bytes)];
            Value::List([&numbers[..], &[Value::Link(object.cid)]].concat())
        });
        renditions.push(Value::map([
            ("name", Value::Text(rendition.name.clone())),
            ("role", Value::Text(role_name(rendition.role).to_owned())),
            ("track", facts_value(&rendition.facts)),
            ("inits", Value::List(inits.collect())),
            ("lists", lists),
        ]));
    }
    let periods = sealed.title.periods.iter().map(|period| {
        Value::List(vec![
            unsigned(period.number),
            Value::Integer(period.at.ticks),
            Value::Integer(i64::from(period.at.timescale.get())),
            Value::Integer(period.origin_utc_ms),
        ])
    });
    add(Value::map([
        ("kind", Value::Text(KIND.to_owned())),
        ("stream", Value::Text(sealed.title.id.clone())),
        ("started_ms", Value::Integer(sealed.started_ms)),
        ("periods", Value::List(periods.collect())),
        ("renditions", Value::List(renditions)),
    ]));
    nodes
}

/// Reads a manifest; `fetch` gives the bytes of the nodes that the root refers to.
///
/// # Errors
/// It is no manifest of ours, or larger than one may be.
pub fn decode(root: &[u8], fetch: impl Fn(&Cid) -> Option<Vec<u8>>) -> Result<Sealed, ManifestFault> {
    let root = Value::decode(root)?;
    if text(root.get("kind"), "kind")? != KIND {
        return Err(ManifestFault::Shape { field: "kind" });
    }
    let mut periods = Vec::new();
    for period in list(root.get("periods"), "periods", ITEMS_MAX)? {
        periods.push(period_of(period).ok_or(ManifestFault::Shape { field: "periods" })?);
    }
    let (mut renditions, mut objects) = (Vec::new(), Vec::new());
    for value in list(root.get("renditions"), "renditions", ITEMS_MAX)? {
        let (rendition, theirs) = rendition_of(value, &fetch)?;
        renditions.push(rendition);
        objects.push(theirs);
    }
    let started = root.get("started_ms").and_then(integer);
    Ok(Sealed {
        started_ms: started.ok_or(ManifestFault::Shape { field: "started_ms" })?,
        title: Title {
            id: text(root.get("stream"), "stream")?.to_owned(),
            periods,
            renditions,
        },
        objects,
    })
}

fn rendition_of(
    value: &Value,
    fetch: &impl Fn(&Cid) -> Option<Vec<u8>>,
) -> Result<(TitleRendition, RenditionObjects), ManifestFault> {
    let shape = |field| ManifestFault::Shape { field };
    let mut objects = RenditionObjects::default();
    for init in list(value.get("inits"), "inits", ITEMS_MAX)? {
        let (number, object) = init_of(init).ok_or(shape("inits"))?;
        objects.inits.insert(number, object);
    }
    let mut segments = Vec::new();
    for link in list(value.get("lists"), "lists", SEGMENTS_MAX.div_ceil(LIST_SEGMENTS))? {
        let Value::Link(cid) = link else {
            return Err(shape("lists"));
        };
        let node = Value::decode(&fetch(cid).ok_or(ManifestFault::Missing(*cid))?)?;
        for segment in list(Some(&node), "lists", LIST_SEGMENTS)? {
            let (facts, cid) = segment_of(segment).ok_or(shape("lists"))?;
            segments.push(facts);
            objects.segments.push(cid);
        }
    }
    let rendition = TitleRendition {
        name: text(value.get("name"), "name")?.to_owned(),
        role: role(text(value.get("role"), "role")?).ok_or(shape("role"))?,
        facts: value.get("track").and_then(facts).ok_or(shape("track"))?,
        segments,
    };
    Ok((rendition, objects))
}

fn unsigned(value: u64) -> Value {
    Value::Integer(i64::try_from(value).unwrap_or(i64::MAX))
}

fn segment_value(segment: &TitleSegment, cid: Option<Cid>) -> Value {
    let flags =
        i64::from(segment.discontinuity) | i64::from(segment.gap) << 1 | i64::from(segment.independent) << 2;
    Value::List(vec![
        cid.map_or(Value::Null, Value::Link),
        unsigned(segment.bytes),
        unsigned(segment.msn),
        Value::Integer(segment.start),
        Value::Integer(segment.duration),
        Value::Integer(i64::from(segment.timescale.get())),
        Value::Integer(segment.utc_ms),
        Value::Integer(i64::from(segment.init)),
        unsigned(segment.period),
        Value::Integer(flags),
    ])
}

fn segment_of(value: &Value) -> Option<(TitleSegment, Option<Cid>)> {
    let Value::List(fields) = value else { return None };
    let [cid, numbers @ ..] = fields.as_slice() else {
        return None;
    };
    let cid = match cid {
        Value::Null => None,
        Value::Link(cid) => Some(*cid),
        _ => return None,
    };
    let numbers: Vec<i64> = numbers.iter().map(integer).collect::<Option<_>>()?;
    let [
        bytes,
        msn,
        start,
        duration,
        timescale,
        utc_ms,
        init,
        period,
        flags,
    ] = numbers.try_into().ok()?;
    let segment = TitleSegment {
        msn: u64::try_from(msn).ok()?,
        init: u32::try_from(init).ok()?,
        period: u64::try_from(period).ok()?,
        discontinuity: flags & 1 != 0,
        gap: flags & 2 != 0,
        independent: flags & 4 != 0,
        timescale: NonZeroU32::new(u32::try_from(timescale).ok()?)?,
        start,
        duration: Some(duration).filter(|duration| *duration >= 0)?,
        utc_ms,
        bytes: u64::try_from(bytes).ok()?,
    };
    (segment.gap == cid.is_none()).then_some((segment, cid))
}

fn period_of(value: &Value) -> Option<Period> {
    let Value::List(fields) = value else { return None };
    let numbers: Vec<i64> = fields.iter().map(integer).collect::<Option<_>>()?;
    let [number, ticks, timescale, origin_utc_ms] = numbers.try_into().ok()?;
    Some(Period {
        number: u64::try_from(number).ok()?,
        at: MediaTime::new(ticks, NonZeroU32::new(u32::try_from(timescale).ok()?)?),
        origin_utc_ms,
    })
}

fn init_of(value: &Value) -> Option<(u32, ObjectRef)> {
    let Value::List(fields) = value else { return None };
    let [number, bytes, Value::Link(cid)] = fields.as_slice() else {
        return None;
    };
    let bytes = NonZeroU64::new(u64::try_from(integer(bytes)?).ok()?)?.get();
    Some((
        u32::try_from(integer(number)?).ok()?,
        ObjectRef { cid: *cid, bytes },
    ))
}

/// What the index and the manifest say of a track.
pub(crate) fn facts_value(facts: &TrackFacts) -> Value {
    let number = |value: u32| Value::Integer(i64::from(value));
    match facts {
        TrackFacts::Video {
            codecs,
            width,
            height,
            pixel_aspect,
            frame_rate,
        } => Value::map([
            ("codecs", Value::Text(codecs.clone())),
            ("width", number(*width)),
            ("height", number(*height)),
            (
                "aspect",
                Value::List(vec![number(pixel_aspect.0), number(pixel_aspect.1)]),
            ),
            (
                "rate",
                frame_rate.map_or(Value::Null, |rate| {
                    Value::List(vec![number(rate.numerator.get()), number(rate.denominator.get())])
                }),
            ),
        ]),
        TrackFacts::Audio {
            codecs,
            sample_rate,
            channels,
        } => Value::map([
            ("codecs", Value::Text(codecs.clone())),
            ("sample_rate", number(*sample_rate)),
            ("channels", number(u32::from(*channels))),
        ]),
    }
}

pub(crate) fn facts(value: &Value) -> Option<TrackFacts> {
    let number = |value: &Value| u32::try_from(integer(value)?).ok();
    let pair = |value: &Value| match value {
        Value::List(items) => match items.as_slice() {
            [one, two] => Some((number(one)?, number(two)?)),
            _ => None,
        },
        _ => None,
    };
    let codecs = text(value.get("codecs"), "codecs").ok()?.to_owned();
    if let Some(rate) = value.get("sample_rate") {
        return Some(TrackFacts::Audio {
            codecs,
            sample_rate: number(rate)?,
            channels: u16::try_from(number(value.get("channels")?)?).ok()?,
        });
    }
    let frame_rate = match value.get("rate")? {
        Value::Null => None,
        rate => {
            let (numerator, denominator) = pair(rate)?;
            Some(FrameRate {
                numerator: NonZeroU32::new(numerator)?,
                denominator: NonZeroU32::new(denominator)?,
            })
        }
    };
    Some(TrackFacts::Video {
        codecs,
        width: number(value.get("width")?)?,
        height: number(value.get("height")?)?,
        pixel_aspect: pair(value.get("aspect")?)?,
        frame_rate,
    })
}

pub(crate) fn role_name(role: Role) -> &'static str {
    match role {
        Role::Source => "source",
        Role::Rung => "rung",
        Role::Audio => "audio",
    }
}

pub(crate) fn role(name: &str) -> Option<Role> {
    [Role::Source, Role::Rung, Role::Audio]
        .into_iter()
        .find(|role| role_name(*role) == name)
}

fn integer(value: &Value) -> Option<i64> {
    match value {
        Value::Integer(value) => Some(*value),
        _ => None,
    }
}

fn text<'a>(value: Option<&'a Value>, field: &'static str) -> Result<&'a str, ManifestFault> {
    match value {
        Some(Value::Text(text)) => Ok(text),
        _ => Err(ManifestFault::Shape { field }),
    }
}

fn list<'a>(value: Option<&'a Value>, field: &'static str, max: usize) -> Result<&'a [Value], ManifestFault> {
    match value {
        Some(Value::List(items)) if items.len() > max => Err(ManifestFault::TooMany { what: field, max }),
        Some(Value::List(items)) => Ok(items),
        _ => Err(ManifestFault::Shape { field }),
    }
}
