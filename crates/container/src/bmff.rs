//! ISO base media files as CMAF uses them (ISO/IEC 14496-12, 14496-14, 14496-15, 23000-19): init segments and chunks,
//! and a small bounded reader of them.
//!
//! The writer is on the hot path: a chunk is made in one allocation of its exact size, each payload copied once.
//! Every file holds one track, number [`TRACK_ID`]. No edit lists: presentation time is decode time plus a signed
//! composition offset, and nothing else.

mod chunk;
mod init;
mod read;

pub use chunk::{ChunkHeader, ChunkSample, ProducerReference, write_chunk};
pub use init::{InitError, init_segment, is_audio_packaged};
pub use read::{BoxRef, Boxes, Chunk, ReadError, ReadSample, dump, find, read_chunk};

/// The only track's number.
pub const TRACK_ID: u32 = 1;

/// `sample_depends_on = 2`: a picture that depends on no other.
const FLAGS_SYNC: u32 = 0x0200_0000;
/// `sample_depends_on = 1`, `sample_is_non_sync_sample`.
const FLAGS_DELTA: u32 = 0x0101_0000;
/// `sample_is_depended_on = 2`.
const FLAGS_DISPOSABLE: u32 = 0x0080_0000;

#[cfg(test)]
mod tests;
