//! What one session may cost.

use media::Micros;

use crate::amf;

/// The bounds of one session. The worst case of memory is `partial_bytes_max` plus `contiguous_bytes_max`
/// plus what the driver has not yet drained.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Longest message once publishing was accepted, bytes. Default 8 MiB: a 4K key frame at 60 Mb/s fits.
    pub message_bytes_max: usize,
    /// Longest message before publishing was accepted, and longest command ever, bytes. Default 64 KiB.
    pub command_bytes_max: usize,
    /// Sum of the announced lengths of all messages that are being gathered, bytes. Default 12 MiB.
    pub partial_bytes_max: usize,
    /// A message in one chunk that is not longer than this is awaited in the read buffer, and comes out as a slice
    /// of it; a longer one is gathered as it arrives. Bytes, default 16 KiB.
    pub contiguous_bytes_max: usize,
    /// A message shorter than this is copied out of the read buffer, so that a small sample which a reader keeps
    /// does not keep a whole read buffer alive (with 64 KiB buffers: at most 16 times its size). Up to here the copy costs
    /// no more than the new buffer that it saves. Bytes, default 4 KiB.
    pub copy_below_bytes: usize,
    /// Chunk streams with a state of their own. Default 32.
    pub chunk_streams_max: usize,
    /// `createStream` calls answered with a stream. Default 8.
    pub message_streams_max: u32,
    /// From the first byte expected to the end of the handshake. Default 5 s.
    pub handshake_timeout: Micros,
    /// From the first byte expected to an accepted publish. Default 15 s.
    pub publish_timeout: Micros,
    /// Longest silence, default 30 s. At half of it a ping is sent, which a living peer answers.
    pub idle_timeout: Micros,
    /// Bounds of command and data values.
    pub amf: amf::Limits,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            message_bytes_max: 8 << 20,
            command_bytes_max: 64 << 10,
            partial_bytes_max: 12 << 20,
            contiguous_bytes_max: 16 << 10,
            copy_below_bytes: 4 << 10,
            chunk_streams_max: 32,
            message_streams_max: 8,
            handshake_timeout: 5_000_000,
            publish_timeout: 15_000_000,
            idle_timeout: 30_000_000,
            amf: amf::Limits::default(),
        }
    }
}
