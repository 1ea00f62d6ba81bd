//! Why a session ended.

use crate::amf;

/// Why a session cannot go on. All of them are the peer's doing; none is worth a retry on the same connection.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The first byte names another protocol or version.
    #[error("expected RTMP version 3, the peer began with byte {found:#04x} ({guess})")]
    NotRtmp {
        /// The byte.
        found: u8,
        /// What it looks like.
        guess: &'static str,
    },
    /// The peer took too long over the handshake.
    #[error("no complete handshake within {limit_ms} ms")]
    HandshakeTimeout {
        /// The limit.
        limit_ms: u64,
    },
    /// The peer did not get to an accepted publish in time.
    #[error("no accepted publish within {limit_ms} ms")]
    PublishTimeout {
        /// The limit.
        limit_ms: u64,
    },
    /// Nothing came for too long.
    #[error("no byte from the peer for {limit_ms} ms")]
    Idle {
        /// The limit.
        limit_ms: u64,
    },
    /// A chunk refers to a header that was never sent.
    #[error("chunk stream {chunk_stream}: header form {format} without an earlier full header")]
    MissingHeader {
        /// Chunk stream id.
        chunk_stream: u32,
        /// The `fmt` field, 0 to 3.
        format: u8,
    },
    /// A new message begins on a chunk stream whose last message is unfinished.
    #[error(
        "chunk stream {chunk_stream}: a new message after {received} of {expected} bytes of the last one"
    )]
    MessageInterrupted {
        /// Chunk stream id.
        chunk_stream: u32,
        /// Bytes of the unfinished message that came.
        received: usize,
        /// Its announced length.
        expected: usize,
    },
    /// Too many chunk streams.
    #[error("more than {limit} chunk streams")]
    ChunkStreams {
        /// The limit.
        limit: usize,
    },
    /// A message is too long.
    #[error("a message of type {type_id} announces {found} bytes, at most {limit} are taken")]
    MessageTooLong {
        /// RTMP message type.
        type_id: u8,
        /// Announced length.
        found: usize,
        /// The limit.
        limit: usize,
    },
    /// Too much of unfinished messages at one time.
    #[error("unfinished messages announce {found} bytes together, at most {limit} are held")]
    PartialBytes {
        /// Sum of announced lengths.
        found: usize,
        /// The limit.
        limit: usize,
    },
    /// A protocol control message is malformed.
    #[error("malformed {what} message")]
    Malformed {
        /// Name of the message.
        what: &'static str,
    },
    /// A command or data message is malformed.
    #[error("malformed command or data message: {0}")]
    Amf(#[from] amf::Error),
    /// A command came out of order.
    #[error("the command {command} is not possible here: {why}")]
    Command {
        /// The command.
        command: String,
        /// What is wrong about it.
        why: &'static str,
    },
    /// The server refused (client sessions only).
    #[error("the server refused: {code}: {description}")]
    Refused {
        /// `NetStream.Publish.BadName` and the like.
        code: String,
        /// The server's sentence.
        description: String,
    },
}

impl Error {
    /// The label under which this is counted.
    pub fn reason(&self) -> ErrorReason {
        match self {
            Error::NotRtmp { .. } => ErrorReason::NotRtmp,
            Error::HandshakeTimeout { .. } => ErrorReason::HandshakeTimeout,
            Error::PublishTimeout { .. } => ErrorReason::PublishTimeout,
            Error::Idle { .. } => ErrorReason::Idle,
            Error::MissingHeader { .. } | Error::MessageInterrupted { .. } | Error::ChunkStreams { .. } => {
                ErrorReason::BadChunk
            }
            Error::MessageTooLong { .. } | Error::PartialBytes { .. } => ErrorReason::TooLong,
            Error::Malformed { .. } => ErrorReason::BadMessage,
            Error::Amf(_) => ErrorReason::BadAmf,
            Error::Command { .. } => ErrorReason::BadCommand,
            Error::Refused { .. } => ErrorReason::Refused,
        }
    }
}

/// [`Error`] as a counter's label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum ErrorReason {
    NotRtmp,
    HandshakeTimeout,
    PublishTimeout,
    Idle,
    BadChunk,
    TooLong,
    BadMessage,
    BadAmf,
    BadCommand,
    Refused,
}

impl ErrorReason {
    /// Every label.
    pub const ALL: [ErrorReason; 10] = [
        Self::NotRtmp,
        Self::HandshakeTimeout,
        Self::PublishTimeout,
        Self::Idle,
        Self::BadChunk,
        Self::TooLong,
        Self::BadMessage,
        Self::BadAmf,
        Self::BadCommand,
        Self::Refused,
    ];

    /// The label's text.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotRtmp => "not_rtmp",
            Self::HandshakeTimeout => "handshake_timeout",
            Self::PublishTimeout => "publish_timeout",
            Self::Idle => "idle",
            Self::BadChunk => "bad_chunk",
            Self::TooLong => "too_long",
            Self::BadMessage => "bad_message",
            Self::BadAmf => "bad_amf",
            Self::BadCommand => "bad_command",
            Self::Refused => "refused",
        }
    }
}
