//! One CMAF chunk: an optional `prft`, `moof`, `mdat`.

use bytes::Bytes;

use super::{FLAGS_DELTA, FLAGS_DISPOSABLE, FLAGS_SYNC, TRACK_ID};

const PRFT_BYTES: usize = 32;
const MFHD_BYTES: usize = 16;
const TFDT_BYTES: usize = 20;

/// `tfhd` flags (ISO/IEC 14496-12 8.8.7).
mod tfhd {
    pub(super) const DEFAULT_DURATION: u32 = 0x08;
    pub(super) const DEFAULT_SIZE: u32 = 0x10;
    pub(super) const DEFAULT_FLAGS: u32 = 0x20;
    pub(super) const DEFAULT_BASE_IS_MOOF: u32 = 0x02_0000;
}

/// `trun` flags (ISO/IEC 14496-12 8.8.8).
mod trun {
    pub(super) const DATA_OFFSET: u32 = 0x001;
    pub(super) const FIRST_SAMPLE_FLAGS: u32 = 0x004;
    pub(super) const DURATION: u32 = 0x100;
    pub(super) const SIZE: u32 = 0x200;
    pub(super) const FLAGS: u32 = 0x400;
    pub(super) const COMPOSITION_OFFSET: u32 = 0x800;
}

/// A wall-clock anchor: the sample with decode time `media_time` was produced at `ntp` (ISO/IEC 14496-12 8.16.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProducerReference {
    /// NTP time, 32.32 fixed point seconds since 1900.
    pub ntp: u64,
    /// Ticks of the track's timescale.
    pub media_time: u64,
}

/// What a chunk says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkHeader {
    /// `mfhd` sequence number; grows by one per chunk of a rendition.
    pub sequence: u32,
    /// Decode time of the first sample, ticks (`tfdt`).
    pub base_decode_time: u64,
    /// Written before the `moof` if given.
    pub producer: Option<ProducerReference>,
}

/// One sample of a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkSample<'a> {
    /// Ticks to the next sample's decode time.
    pub duration: u32,
    /// Presentation time minus decode time, ticks; may be negative.
    pub composition_offset: i32,
    /// Decoding can start here.
    pub is_sync: bool,
    /// No other sample depends on it.
    pub is_disposable: bool,
    /// Coded bytes as they stand in `mdat`.
    pub data: &'a [u8],
}

impl ChunkSample<'_> {
    fn flags(&self) -> u32 {
        let flags = if self.is_sync { FLAGS_SYNC } else { FLAGS_DELTA };
        if self.is_disposable && !self.is_sync {
            flags | FLAGS_DISPOSABLE
        } else {
            flags
        }
    }
}

/// What stands once in `tfhd` and what is told per sample.
struct Plan {
    count: usize,
    payload: usize,
    duration: Option<u32>,
    size: Option<usize>,
    /// Flags of all samples after the first, if they are the same.
    flags: Option<u32>,
    first_flags: u32,
    has_offsets: bool,
}

impl Plan {
    fn of<'a>(samples: impl Iterator<Item = ChunkSample<'a>>) -> Self {
        let mut plan = Self {
            count: 0,
            payload: 0,
            duration: None,
            size: None,
            flags: None,
            first_flags: 0,
            has_offsets: false,
        };
        let (mut durations_equal, mut sizes_equal, mut flags_equal) = (true, true, true);
        for sample in samples {
            let flags = sample.flags();
            if plan.count == 0 {
                (plan.duration, plan.size, plan.first_flags) =
                    (Some(sample.duration), Some(sample.data.len()), flags);
            }
            durations_equal &= plan.duration == Some(sample.duration);
            sizes_equal &= plan.size == Some(sample.data.len());
            if plan.count == 1 {
                plan.flags = Some(flags);
            }
            flags_equal &= plan.count == 0 || plan.flags == Some(flags);
            plan.has_offsets |= sample.composition_offset != 0;
            plan.payload += sample.data.len();
            plan.count += 1;
        }
        plan.flags = plan
            .flags
            .filter(|_| flags_equal)
            .or((plan.count <= 1).then_some(plan.first_flags));
        plan.duration = plan.duration.filter(|_| durations_equal);
        plan.size = plan.size.filter(|_| sizes_equal);
        plan
    }

    fn tfhd_flags(&self) -> u32 {
        let mut flags = tfhd::DEFAULT_BASE_IS_MOOF;
        flags |= if self.duration.is_some() {
            tfhd::DEFAULT_DURATION
        } else {
            0
        };
        flags |= if self.size.is_some() {
            tfhd::DEFAULT_SIZE
        } else {
            0
        };
        flags
            | if self.flags.is_some() {
                tfhd::DEFAULT_FLAGS
            } else {
                0
            }
    }

    fn trun_flags(&self) -> u32 {
        let mut flags = trun::DATA_OFFSET;
        flags |= if self.duration.is_none() {
            trun::DURATION
        } else {
            0
        };
        flags |= if self.size.is_none() { trun::SIZE } else { 0 };
        flags |= match self.flags {
            None => trun::FLAGS,
            Some(others) if others != self.first_flags => trun::FIRST_SAMPLE_FLAGS,
            Some(_) => 0,
        };
        flags
            | if self.has_offsets {
                trun::COMPOSITION_OFFSET
            } else {
                0
            }
    }

    fn tfhd_bytes(&self) -> usize {
        16 + 4 * (self.tfhd_flags() & 0x38).count_ones() as usize
    }

    fn trun_bytes(&self) -> usize {
        let flags = self.trun_flags();
        let head = 20
            + if flags & trun::FIRST_SAMPLE_FLAGS != 0 {
                4
            } else {
                0
            };
        head + self.count * 4 * (flags & 0xf00).count_ones() as usize
    }
}

/// Writes a chunk of at least one sample, in one allocation of its exact size.
///
/// The iterator is walked three times. Payloads beyond 4 GiB are not representable and are the caller's bound.
pub fn write_chunk<'a, I>(header: &ChunkHeader, samples: I) -> Bytes
where
    I: Iterator<Item = ChunkSample<'a>> + Clone,
{
    let plan = Plan::of(samples.clone());
    let traf_bytes = 8 + plan.tfhd_bytes() + TFDT_BYTES + plan.trun_bytes();
    let moof_bytes = 8 + MFHD_BYTES + traf_bytes;
    let prft_bytes = if header.producer.is_some() { PRFT_BYTES } else { 0 };
    let total = prft_bytes + moof_bytes + 8 + plan.payload;
    let mut out = Vec::with_capacity(total);
    if let Some(producer) = header.producer {
        write_prft(&mut out, producer);
    }
    box_head(&mut out, moof_bytes, b"moof");
    full_box_head(&mut out, MFHD_BYTES, b"mfhd", 0, 0);
    u32(&mut out, header.sequence);
    box_head(&mut out, traf_bytes, b"traf");
    write_tfhd(&mut out, &plan);
    full_box_head(&mut out, TFDT_BYTES, b"tfdt", 1, 0);
    out.extend_from_slice(&header.base_decode_time.to_be_bytes());
    write_trun(&mut out, &plan, moof_bytes + 8, samples.clone());
    box_head(&mut out, 8 + plan.payload, b"mdat");
    for sample in samples {
        out.extend_from_slice(sample.data);
    }
    debug_assert_eq!(out.len(), total);
    Bytes::from(out)
}

fn write_prft(out: &mut Vec<u8>, producer: ProducerReference) {
    // 24: a point of the production chain at a constant, unspecified delay.
    full_box_head(out, PRFT_BYTES, b"prft", 1, 24);
    u32(out, TRACK_ID);
    out.extend_from_slice(&producer.ntp.to_be_bytes());
    out.extend_from_slice(&producer.media_time.to_be_bytes());
}

fn write_tfhd(out: &mut Vec<u8>, plan: &Plan) {
    full_box_head(out, plan.tfhd_bytes(), b"tfhd", 0, plan.tfhd_flags());
    u32(out, TRACK_ID);
    for value in [plan.duration, plan.size.map(|size| size as u32), plan.flags]
        .into_iter()
        .flatten()
    {
        u32(out, value);
    }
}

fn write_trun<'a>(
    out: &mut Vec<u8>,
    plan: &Plan,
    data_offset: usize,
    samples: impl Iterator<Item = ChunkSample<'a>>,
) {
    let flags = plan.trun_flags();
    full_box_head(out, plan.trun_bytes(), b"trun", 1, flags);
    u32(out, plan.count as u32);
    u32(out, data_offset as u32);
    if flags & trun::FIRST_SAMPLE_FLAGS != 0 {
        u32(out, plan.first_flags);
    }
    for sample in samples {
        if plan.duration.is_none() {
            u32(out, sample.duration);
        }
        if plan.size.is_none() {
            u32(out, sample.data.len() as u32);
        }
        if plan.flags.is_none() {
            u32(out, sample.flags());
        }
        if plan.has_offsets {
            out.extend_from_slice(&sample.composition_offset.to_be_bytes());
        }
    }
}

fn box_head(out: &mut Vec<u8>, size: usize, kind: &[u8; 4]) {
    u32(out, size as u32);
    out.extend_from_slice(kind);
}

fn full_box_head(out: &mut Vec<u8>, size: usize, kind: &[u8; 4], version: u8, flags: u32) {
    box_head(out, size, kind);
    u32(out, u32::from(version) << 24 | flags);
}

fn u32(out: &mut Vec<u8>, value: u32) {
    out.extend_from_slice(&value.to_be_bytes());
}
