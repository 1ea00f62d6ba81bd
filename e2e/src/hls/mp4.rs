//! A small reader of CMAF init segments and fragments (ISO/IEC 14496-12), only for judging.

use anyhow::{Context as _, Result, bail, ensure};

/// What an init segment says about its only track.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Init {
    /// `mdhd` timescale, ticks a second.
    pub timescale: u32,
    /// `vide` or `soun`.
    pub handler: String,
    /// RFC 6381 codec string.
    pub codec: String,
    /// From the visual sample entry.
    pub width: u32,
    /// From the visual sample entry.
    pub height: u32,
    /// Bytes of a NAL length field (`avcC`).
    pub nal_length_bytes: usize,
    pub(super) track_id: u32,
    pub(super) default_duration: u32,
    pub(super) default_size: u32,
    pub(super) default_flags: u32,
}

/// One sample of a fragment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sample {
    /// Ticks.
    pub duration: u32,
    /// Bytes.
    pub size: u32,
    /// Presentation minus decoding time, ticks.
    pub offset: i32,
    /// `sample_is_non_sync_sample` is 0.
    pub is_sync: bool,
}

/// One `moof` + `mdat`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fragment {
    /// `mfhd` sequence number.
    pub sequence: u32,
    /// `tfdt`.
    pub decode_time: u64,
    /// In order.
    pub samples: Vec<Sample>,
    /// The payload of `mdat`.
    pub data: Vec<u8>,
}

impl Fragment {
    /// Sum of the samples' durations, ticks.
    #[must_use]
    pub fn duration(&self) -> u64 {
        self.samples.iter().map(|sample| u64::from(sample.duration)).sum()
    }

    /// Whether the first sample holds an IDR slice (H.264 NAL type 5).
    #[must_use]
    pub fn starts_with_idr(&self, nal_length_bytes: usize) -> bool {
        let Some(first) = self.samples.first() else {
            return false;
        };
        let mut rest = self.data.get(..first.size as usize).unwrap_or_default();
        while rest.len() > nal_length_bytes {
            let (head, tail) = rest.split_at(nal_length_bytes);
            let length = head
                .iter()
                .fold(0_usize, |length, byte| (length << 8) | usize::from(*byte));
            if tail.first().is_some_and(|byte| byte & 0x1f == 5) {
                return true;
            }
            rest = tail.get(length..).unwrap_or_default();
        }
        false
    }
}

/// `(type, whole box, payload)` of each box in `data`.
fn boxes(data: &[u8]) -> Result<Vec<(&str, usize, &[u8])>> {
    let mut found = Vec::new();
    let mut at = 0;
    while at < data.len() {
        let size = be32(data, at)? as usize;
        let kind = data.get(at + 4..at + 8).context("a box is cut")?;
        let kind = std::str::from_utf8(kind).context("a box type is not text")?;
        let (head, size) = match size {
            1 => (16, usize::try_from(be64(data, at + 8)?)?),
            0 => bail!("box {kind} extends to the end of the file"),
            size => (8, size),
        };
        ensure!(
            size >= head && at + size <= data.len(),
            "box {kind} of {size} bytes does not fit"
        );
        found.push((kind, at, &data[at + head..at + size]));
        at += size;
    }
    Ok(found)
}

fn child<'a>(data: &'a [u8], kind: &str) -> Result<&'a [u8]> {
    boxes(data)?
        .into_iter()
        .find(|found| found.0 == kind)
        .map(|found| found.2)
        .with_context(|| format!("no {kind}"))
}

fn descend<'a>(data: &'a [u8], path: &[&str]) -> Result<&'a [u8]> {
    path.iter().try_fold(data, |data, kind| child(data, kind))
}

fn be16(data: &[u8], at: usize) -> Result<u16> {
    Ok(u16::from_be_bytes(
        data.get(at..at + 2).context("a box is cut")?.try_into()?,
    ))
}

fn be32(data: &[u8], at: usize) -> Result<u32> {
    Ok(u32::from_be_bytes(
        data.get(at..at + 4).context("a box is cut")?.try_into()?,
    ))
}

fn be64(data: &[u8], at: usize) -> Result<u64> {
    Ok(u64::from_be_bytes(
        data.get(at..at + 8).context("a box is cut")?.try_into()?,
    ))
}

/// Reads an init segment.
///
/// # Errors
/// When a box that CMAF demands is missing or cut.
pub fn init(data: &[u8]) -> Result<Init> {
    let top = boxes(data)?;
    ensure!(
        top.first().is_some_and(|first| first.0 == "ftyp"),
        "ftyp is not the first box"
    );
    let moov = child(data, "moov")?;
    let tracks = boxes(moov)?.iter().filter(|found| found.0 == "trak").count();
    ensure!(tracks == 1, "{tracks} tracks in an init segment, expected one");
    let mdia = descend(moov, &["trak", "mdia"])?;
    let mdhd = child(mdia, "mdhd")?;
    let timescale = be32(mdhd, if mdhd.first() == Some(&1) { 20 } else { 12 })?;
    let handler =
        String::from_utf8_lossy(child(mdia, "hdlr")?.get(8..12).context("hdlr is cut")?).into_owned();
    let trex = descend(moov, &["mvex", "trex"])?;
    let mut init = Init {
        timescale,
        handler,
        track_id: be32(trex, 4)?,
        default_duration: be32(trex, 12)?,
        default_size: be32(trex, 16)?,
        default_flags: be32(trex, 20)?,
        ..Init::default()
    };
    let stsd = descend(mdia, &["minf", "stbl", "stsd"])?;
    let entries = boxes(stsd.get(8..).context("stsd is cut")?)?;
    let (kind, _, entry) = entries.first().context("stsd is empty")?;
    match *kind {
        "avc1" | "avc3" => {
            init.width = u32::from(be16(entry, 24)?);
            init.height = u32::from(be16(entry, 26)?);
            let avcc = child(entry.get(78..).context("avc1 is cut")?, "avcC")?;
            ensure!(avcc.len() > 6, "avcC is cut");
            init.codec = format!("{kind}.{:02x}{:02x}{:02x}", avcc[1], avcc[2], avcc[3]);
            init.nal_length_bytes = usize::from(avcc[4] & 3) + 1;
        }
        "mp4a" => {
            let esds = child(entry.get(28..).context("mp4a is cut")?, "esds")?;
            init.codec = format!(
                "mp4a.40.{}",
                audio_object_type(esds).context("no AudioSpecificConfig in esds")?
            );
        }
        other => init.codec = other.to_owned(),
    }
    Ok(init)
}

/// The object type of the DecoderSpecificInfo (descriptor tag 5) in `esds`.
fn audio_object_type(esds: &[u8]) -> Option<u8> {
    // ES_Descriptor and DecoderConfigDescriptor nest; their fixed fields are 3 and 13 bytes.
    let mut rest = esds.get(4..)?;
    for (tag, fixed) in [(3, 3), (4, 13), (5, 0)] {
        let (found, mut body) = rest.split_first()?;
        if *found != tag {
            return None;
        }
        while body.first()? & 0x80 != 0 {
            body = &body[1..];
        }
        rest = body.get(1 + fixed..)?;
    }
    Some(rest.first()? >> 3)
}

/// Reads all fragments of a part or segment.
///
/// # Errors
/// When boxes do not fit, `data_offset` does not lead to the `mdat`, or sizes do not add up.
pub fn fragments(init: &Init, data: &[u8]) -> Result<Vec<Fragment>> {
    let mut found = Vec::new();
    let mut moof: Option<(usize, &[u8])> = None;
    for (kind, at, payload) in boxes(data)? {
        match kind {
            "moof" => {
                ensure!(moof.is_none(), "moof without mdat");
                moof = Some((at, payload));
            }
            "mdat" => {
                let (start, moof) = moof.take().context("mdat without moof")?;
                let (mut fragment, data_offset) = read_moof(init, moof)?;
                ensure!(
                    start + data_offset == at + 8,
                    "data_offset {data_offset} does not lead to the mdat"
                );
                let bytes: usize = fragment.samples.iter().map(|sample| sample.size as usize).sum();
                ensure!(
                    bytes == payload.len(),
                    "samples have {bytes} bytes, mdat has {}",
                    payload.len()
                );
                fragment.data = payload.to_vec();
                found.push(fragment);
            }
            "styp" | "prft" | "emsg" | "sidx" => {}
            other => bail!("unexpected box {other}"),
        }
    }
    ensure!(moof.is_none(), "moof without mdat");
    ensure!(!found.is_empty(), "no moof");
    Ok(found)
}

fn read_moof(init: &Init, moof: &[u8]) -> Result<(Fragment, usize)> {
    let traf = child(moof, "traf")?;
    let tfhd = child(traf, "tfhd")?;
    let flags = be32(tfhd, 0)? & 0x00ff_ffff;
    ensure!(be32(tfhd, 4)? == init.track_id, "tfhd names another track");
    ensure!(flags & 0x02_0000 != 0, "default-base-is-moof is not set");
    let mut at = 8;
    let mut field = |bit: u32, bytes: usize, default: u32| -> Result<u32> {
        if flags & bit == 0 {
            return Ok(default);
        }
        at += bytes;
        be32(tfhd, at - 4)
    };
    field(0x1, 8, 0)?;
    field(0x2, 4, 0)?;
    let duration = field(0x8, 4, init.default_duration)?;
    let size = field(0x10, 4, init.default_size)?;
    let sample_flags = field(0x20, 4, init.default_flags)?;
    let tfdt = child(traf, "tfdt")?;
    let decode_time = if tfdt.first() == Some(&1) {
        be64(tfdt, 4)?
    } else {
        u64::from(be32(tfdt, 4)?)
    };
    let mut fragment = Fragment {
        sequence: be32(child(moof, "mfhd")?, 4)?,
        decode_time,
        ..Fragment::default()
    };
    let mut data_offset = None;
    for (_, _, trun) in boxes(traf)?.into_iter().filter(|found| found.0 == "trun") {
        let defaults = Sample {
            duration,
            size,
            offset: 0,
            is_sync: sample_flags & 0x1_0000 == 0,
        };
        let offset = read_trun(trun, &defaults, &mut fragment.samples)?;
        data_offset = data_offset.or(offset);
    }
    ensure!(!fragment.samples.is_empty(), "no sample");
    Ok((fragment, data_offset.context("no data_offset")?))
}

fn read_trun(trun: &[u8], defaults: &Sample, samples: &mut Vec<Sample>) -> Result<Option<usize>> {
    let flags = be32(trun, 0)? & 0x00ff_ffff;
    let count = be32(trun, 4)?;
    let mut at = 8;
    let mut next = |bit: u32| -> Result<Option<u32>> {
        if flags & bit == 0 {
            return Ok(None);
        }
        at += 4;
        be32(trun, at - 4).map(Some)
    };
    let data_offset = next(0x1)?.map(usize::try_from).transpose()?;
    let first_flags = next(0x4)?;
    for number in 0..count {
        let duration = next(0x100)?.unwrap_or(defaults.duration);
        let size = next(0x200)?.unwrap_or(defaults.size);
        let own_flags = next(0x400)?.or(first_flags.filter(|_| number == 0));
        let offset = next(0x800)?.map_or(0, u32::cast_signed);
        let is_sync = own_flags.map_or(defaults.is_sync, |flags| flags & 0x1_0000 == 0);
        samples.push(Sample {
            duration,
            size,
            offset,
            is_sync,
        });
    }
    Ok(data_offset)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn make(kind: &str, payload: &[u8]) -> Vec<u8> {
        let mut out = u32::try_from(payload.len() + 8)
            .expect("small")
            .to_be_bytes()
            .to_vec();
        out.extend(kind.as_bytes());
        out.extend(payload);
        out
    }

    /// A fragment of two samples of 4 and 2 bytes, 3000 ticks each, the first a sync sample.
    fn fragment(data_offset: u32, payload: &[u8]) -> Vec<u8> {
        let words = |words: &[u32]| {
            words
                .iter()
                .flat_map(|word| word.to_be_bytes())
                .collect::<Vec<u8>>()
        };
        let tfhd = make("tfhd", &words(&[0x02_0028, 1, 3000, 0x0101_0000]));
        let tfdt = make("tfdt", &words(&[0x0100_0000, 0, 90_000]));
        let trun = make("trun", &words(&[0x205, 2, data_offset, 0x0200_0000, 4, 2]));
        let traf = make("traf", &[tfhd, tfdt, trun].concat());
        let moof = make("moof", &[make("mfhd", &words(&[0, 7])), traf].concat());
        [moof, make("mdat", payload)].concat()
    }

    #[test]
    fn a_fragment_is_read_and_its_sums_are_checked() {
        let init = Init {
            track_id: 1,
            ..Init::default()
        };
        let right = fragment(0, &[0; 6]).len() - 6;
        let right = u32::try_from(right).expect("small");
        let found = fragments(&init, &fragment(right, &[0, 0, 2, 0x65, 0, 0])).expect("valid");
        assert_eq!(
            (found[0].decode_time, found[0].duration(), found[0].sequence),
            (90_000, 6000, 7)
        );
        assert_eq!(
            found[0].samples.iter().map(|s| s.is_sync).collect::<Vec<_>>(),
            [true, false]
        );
        assert!(
            fragments(&init, &fragment(right + 1, &[0; 6])).is_err(),
            "data_offset"
        );
        assert!(fragments(&init, &fragment(right, &[0; 7])).is_err(), "sizes");
        assert!(
            fragments(
                &Init {
                    track_id: 2,
                    ..Init::default()
                },
                &fragment(right, &[0; 6])
            )
            .is_err(),
            "track"
        );
    }

    #[test]
    fn idr_slices_are_found_behind_other_nal_units() {
        let data = [&[0, 0, 0, 2, 0x67, 1][..], &[0, 0, 0, 2, 0x65, 1]].concat();
        let sample = Sample {
            size: 12,
            ..Sample::default()
        };
        let mut fragment = Fragment {
            samples: vec![sample],
            data,
            ..Fragment::default()
        };
        assert!(fragment.starts_with_idr(4));
        fragment.data[10] = 0x41;
        assert!(!fragment.starts_with_idr(4));
    }
}
