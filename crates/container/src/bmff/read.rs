//! A small bounded reader of boxes, init segments and chunks, for tests and tools.

use std::fmt::Write as _;

/// Nesting that [`dump`] and [`find`] follow.
const DEPTH_MAX: usize = 10;
/// Samples that [`read_chunk`] takes from one `trun`.
const SAMPLES_MAX: usize = 100_000;

/// Why bytes are not the boxes they should be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// A box says it is longer than what there is, or shorter than its header.
    #[error("box at byte {offset} says {size} bytes, {left} are left")]
    Size {
        /// Where in the enclosing payload.
        offset: usize,
        /// What the box says.
        size: u64,
        /// What there is.
        left: usize,
    },
    /// A box that is needed is not there.
    #[error("no {path} box")]
    Missing {
        /// Its path: `moof/traf/trun`.
        path: &'static str,
    },
    /// A box ends before its content.
    #[error("{kind} box is too short or its numbers do not fit together")]
    Truncated {
        /// Its four characters.
        kind: &'static str,
    },
}

/// A box: its type and what is in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BoxRef<'a> {
    /// Four characters.
    pub kind: [u8; 4],
    /// What follows the header.
    pub payload: &'a [u8],
    /// Where the box begins in the bytes that were walked.
    pub offset: usize,
}

/// Walks the boxes that stand one after the other.
#[derive(Clone, Debug)]
pub struct Boxes<'a> {
    bytes: &'a [u8],
    offset: usize,
}

impl<'a> Boxes<'a> {
    /// Boxes of a file or of a container box's payload.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, offset: 0 }
    }
}

impl<'a> Iterator for Boxes<'a> {
    type Item = Result<BoxRef<'a>, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        let rest = self.bytes.get(self.offset..).filter(|rest| !rest.is_empty())?;
        let offset = self.offset;
        self.offset = self.bytes.len();
        let size_error = |size| {
            Some(Err(ReadError::Size {
                offset,
                size,
                left: rest.len(),
            }))
        };
        let (Some(size), Some(kind)) = (
            u32_at(rest, 0),
            rest.get(4..8).and_then(|kind| kind.try_into().ok()),
        ) else {
            return size_error(0);
        };
        let (header, size) = match size {
            0 => (8, rest.len() as u64),
            1 => match rest.get(8..16).and_then(|size| size.try_into().ok()) {
                Some(size) => (16, u64::from_be_bytes(size)),
                None => return size_error(1),
            },
            size => (8, u64::from(size)),
        };
        let Some(payload) = usize::try_from(size).ok().and_then(|size| rest.get(header..size)) else {
            return size_error(size);
        };
        self.offset = offset + header + payload.len();
        Some(Ok(BoxRef {
            kind,
            payload,
            offset,
        }))
    }
}

/// The payload of the first box at `path` (`moov/trak/mdia`).
pub fn find<'a>(bytes: &'a [u8], path: &'static str) -> Result<&'a [u8], ReadError> {
    let mut payload = bytes;
    for kind in path.split('/').take(DEPTH_MAX) {
        let mut found = None;
        for item in Boxes::new(payload) {
            let item = item?;
            if item.kind == kind.as_bytes() {
                found = Some(item.payload);
                break;
            }
        }
        payload = found.ok_or(ReadError::Missing { path })?;
    }
    Ok(payload)
}

/// A sample as a chunk describes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadSample {
    /// Ticks.
    pub duration: u32,
    /// Bytes.
    pub size: u32,
    /// ISO/IEC 14496-12 8.8.3.1.
    pub flags: u32,
    /// Ticks.
    pub composition_offset: i32,
}

impl ReadSample {
    /// Decoding can start here.
    pub fn is_sync(&self) -> bool {
        self.flags & 0x0001_0000 == 0
    }
}

/// One `moof` and its `mdat`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunk<'a> {
    /// `mfhd`.
    pub sequence: u32,
    /// `tfdt`, ticks.
    pub base_decode_time: u64,
    /// `trun`.
    pub samples: Vec<ReadSample>,
    /// `mdat`.
    pub data: &'a [u8],
}

impl Chunk<'_> {
    /// Ticks of all samples together.
    pub fn duration(&self) -> u64 {
        self.samples.iter().map(|sample| u64::from(sample.duration)).sum()
    }
}

/// Reads a chunk that [`write_chunk`](super::write_chunk) may have written; checks that sizes and offsets fit together.
pub fn read_chunk(bytes: &[u8]) -> Result<Chunk<'_>, ReadError> {
    let sequence = u32_at(find(bytes, "moof/mfhd")?, 4).ok_or(ReadError::Truncated { kind: "mfhd" })?;
    let tfdt = find(bytes, "moof/traf/tfdt")?;
    let base_decode_time = tfdt
        .get(4..12)
        .filter(|_| tfdt[0] == 1)
        .and_then(|time| time.try_into().ok())
        .map(u64::from_be_bytes)
        .ok_or(ReadError::Truncated { kind: "tfdt" })?;
    let defaults = read_tfhd(find(bytes, "moof/traf/tfhd")?).ok_or(ReadError::Truncated { kind: "tfhd" })?;
    let trun = find(bytes, "moof/traf/trun")?;
    let (data_offset, samples) = read_trun(trun, defaults).ok_or(ReadError::Truncated { kind: "trun" })?;
    let data = find(bytes, "mdat")?;
    let moof = Boxes::new(bytes)
        .flatten()
        .find(|item| &item.kind == b"moof")
        .map_or(0, |moof| moof.offset);
    let starts = data.as_ptr() as usize - bytes.as_ptr() as usize - moof;
    let total: u64 = samples.iter().map(|sample| u64::from(sample.size)).sum();
    if data_offset as usize != starts || total != data.len() as u64 {
        return Err(ReadError::Truncated { kind: "trun" });
    }
    Ok(Chunk {
        sequence,
        base_decode_time,
        samples,
        data,
    })
}

fn read_tfhd(payload: &[u8]) -> Option<ReadSample> {
    let flags = u32_at(payload, 0)? & 0xff_ffff;
    let mut at = 8 + if flags & 1 != 0 { 8 } else { 0 } + if flags & 2 != 0 { 4 } else { 0 };
    let mut next = |flag: u32| {
        if flags & flag == 0 {
            return Some(0);
        }
        at += 4;
        u32_at(payload, at - 4)
    };
    Some(ReadSample {
        duration: next(8)?,
        size: next(0x10)?,
        flags: next(0x20)?,
        composition_offset: 0,
    })
}

fn read_trun(payload: &[u8], defaults: ReadSample) -> Option<(u32, Vec<ReadSample>)> {
    let flags = u32_at(payload, 0)? & 0xff_ffff;
    let count = u32_at(payload, 4)? as usize;
    if flags & 1 == 0 || count > SAMPLES_MAX {
        return None;
    }
    let mut at = 8;
    let mut next = || {
        at += 4;
        u32_at(payload, at - 4)
    };
    let data_offset = next()?;
    let first_flags = if flags & 4 != 0 { Some(next()?) } else { None };
    let mut samples = Vec::with_capacity(count.min(payload.len()));
    for index in 0..count {
        let mut sample = defaults;
        if flags & 0x100 != 0 {
            sample.duration = next()?;
        }
        if flags & 0x200 != 0 {
            sample.size = next()?;
        }
        if flags & 0x400 != 0 {
            sample.flags = next()?;
        }
        if flags & 0x800 != 0 {
            sample.composition_offset = next()?.cast_signed();
        }
        if let Some(flags) = first_flags.filter(|_| index == 0) {
            sample.flags = flags;
        }
        samples.push(sample);
    }
    Some((data_offset, samples))
}

/// The tree of boxes, one a line, payloads of leaves in hexadecimal (the first 64 bytes): for goldens and people.
pub fn dump(bytes: &[u8]) -> String {
    let mut out = String::new();
    dump_into(&mut out, bytes, 0);
    out
}

fn dump_into(out: &mut String, bytes: &[u8], depth: usize) {
    const CONTAINERS: [&[u8; 4]; 9] = [
        b"moov", b"trak", b"mdia", b"minf", b"dinf", b"stbl", b"mvex", b"moof", b"traf",
    ];
    for item in Boxes::new(bytes) {
        let item = match item {
            Ok(item) => item,
            Err(error) => {
                let _ = writeln!(out, "{:indent$}! {error}", "", indent = depth * 2);
                return;
            }
        };
        let kind = String::from_utf8_lossy(&item.kind);
        let _ = write!(
            out,
            "{:indent$}{kind} {}",
            "",
            item.payload.len(),
            indent = depth * 2
        );
        if depth < DEPTH_MAX && CONTAINERS.contains(&&item.kind) {
            out.push('\n');
            dump_into(out, item.payload, depth + 1);
            continue;
        }
        for (index, byte) in item.payload.iter().take(64).enumerate() {
            let _ = write!(out, "{}{byte:02x}", if index % 4 == 0 { " " } else { "" });
        }
        out.push_str(if item.payload.len() > 64 { " ..\n" } else { "\n" });
        if &item.kind == b"stsd" && depth < DEPTH_MAX {
            dump_entry(out, item.payload, depth + 1);
        }
    }
}

/// The boxes inside the first sample entry.
fn dump_entry(out: &mut String, stsd: &[u8], depth: usize) {
    let Some(entry) = stsd.get(8..).and_then(|entries| Boxes::new(entries).next()?.ok()) else {
        return;
    };
    let fixed = if &entry.kind == b"mp4a" { 28 } else { 78 };
    if let Some(children) = entry.payload.get(fixed..) {
        dump_into(out, children, depth);
    }
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes
        .get(at..at + 4)
        .and_then(|bytes| bytes.try_into().ok())
        .map(u32::from_be_bytes)
}
