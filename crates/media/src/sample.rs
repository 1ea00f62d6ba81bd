//! One access unit.

use bytes::Bytes;

/// Microseconds of the process's monotonic clock, counted from an origin that the shell chooses once.
///
/// Pure code receives it as `now` and never reads a clock.
pub type Micros = u64;

/// One access unit of one track: a coded picture or an audio frame, immutable once made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sample {
    /// Decode time in ticks of the track's timescale, on the stream's timeline.
    pub dts: i64,
    /// Presentation time in the same ticks. For audio equal to `dts`.
    pub pts: i64,
    /// Duration in ticks as known at arrival: exact for audio; for video the nominal frame duration,
    /// or 0 when the frame rate is unknown.
    pub duration: u32,
    /// Decoding can start here (an IDR picture, HEVC: any IRAP picture, AV1: a shown key frame; every audio frame).
    pub is_sync: bool,
    /// No other picture refers to this one, so it may be dropped alone (`nal_ref_idc == 0`).
    pub is_disposable: bool,
    /// When the last byte of it arrived.
    pub arrived_us: Micros,
    /// The coded bytes. H.264 and HEVC: NAL units with 4-byte lengths (ISO/IEC 14496-15 5.3.2), parameter sets and
    /// access unit delimiters removed. AV1: one temporal unit without its delimiter (AV1-ISOBMFF 2.4). AAC: one raw_data_block (ISO/IEC 14496-3), no ADTS
    /// header. Opus: one packet (RFC 6716). FLAC: one frame (RFC 9639).
    pub data: Bytes,
}
