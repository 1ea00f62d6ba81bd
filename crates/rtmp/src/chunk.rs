//! The chunk stream (specification 5.3): messages cut into chunks with headers that say only what changed.

mod read;
mod write;

use bytes::Bytes;

pub use read::ChunkReader;
pub use write::ChunkWriter;

/// Chunk size before anyone says otherwise, bytes (5.4.1).
pub const CHUNK_BYTES_DEFAULT: usize = 128;

/// A timestamp field of this value says that four more bytes follow.
pub(crate) const EXTENDED: u32 = 0xff_ffff;

/// One message, whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The chunk stream that carried it.
    pub chunk_stream: u32,
    /// Absolute time as it travels, milliseconds modulo 2^32.
    pub timestamp: u32,
    /// Message type, see [`crate::message::types`].
    pub type_id: u8,
    /// Message stream, 0 for the connection itself.
    pub stream_id: u32,
    /// The content.
    pub payload: Bytes,
}
