//! FLV files and pipes to tags.

use bytes::{Buf, Bytes, BytesMut};

/// Length of a tag's header, bytes (E.4.1).
pub const TAG_HEADER_BYTES: usize = 11;
const PREVIOUS_TAG_SIZE_BYTES: usize = 4;
const FILE_HEADER_BYTES: usize = 9;
/// A header longer than this is not FLV.
const FILE_HEADER_BYTES_MAX: usize = 1024;
/// Timestamps are taken modulo this: FFmpeg masks them to 31 bits.
const TIME_MODULUS: i64 = 1 << 31;

/// Why the bytes are not an FLV file that we read. None can be recovered from: the place of the next tag is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FileError {
    /// The file does not begin with `FLV`, version 1.
    #[error("not an FLV file of version 1")]
    Signature,
    /// The file header announces a senseless length.
    #[error("FLV header of {found} bytes, 9 expected")]
    HeaderLength {
        /// As announced.
        found: usize,
    },
    /// Neither audio, video nor script.
    #[error("FLV tag of type {found}, expected 8, 9 or 18")]
    TagType {
        /// As found.
        found: u8,
    },
    /// The tag is encrypted.
    #[error("encrypted FLV tag")]
    Encrypted,
    /// A tag is too long.
    #[error("FLV tag of {found} bytes, at most {limit} are taken")]
    TagTooLong {
        /// As announced.
        found: usize,
        /// The limit.
        limit: usize,
    },
}

/// What a tag carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TagKind {
    /// [`super::parse_audio`] reads the body.
    Audio,
    /// [`super::parse_video`] reads the body.
    Video,
    /// A name and a value in AMF0.
    Script,
}

/// One tag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileTag {
    /// What it carries.
    pub kind: TagKind,
    /// Decode time, milliseconds, never wrapped.
    pub timestamp_ms: i64,
    /// The body: a slice of the input.
    pub body: Bytes,
}

/// Reads tags from the front of the caller's buffer.
#[derive(Clone, Debug)]
pub struct Demuxer {
    is_header_read: bool,
    tag_bytes_max: usize,
    last_ms: Option<i64>,
}

impl Demuxer {
    /// A reader at the start of a file. Tags longer than `tag_bytes_max` are refused.
    pub fn new(tag_bytes_max: usize) -> Self {
        Self {
            is_header_read: false,
            tag_bytes_max,
            last_ms: None,
        }
    }

    /// The next tag, taking its bytes from `input`. `None`: more are needed; what is left in `input` must stay in
    /// front of them. After an error nothing further can be read.
    pub fn next(&mut self, input: &mut BytesMut) -> Result<Option<FileTag>, FileError> {
        if !self.is_header_read && !self.file_header(input)? {
            return Ok(None);
        }
        let Some(head) = input.first_chunk::<TAG_HEADER_BYTES>().copied() else {
            return Ok(None);
        };
        let kind = match head[0] & 0x1f {
            8 => TagKind::Audio,
            9 => TagKind::Video,
            18 => TagKind::Script,
            _ => return Err(FileError::TagType { found: head[0] }),
        };
        if head[0] & 0x20 != 0 {
            return Err(FileError::Encrypted);
        }
        let length = u32::from_be_bytes([0, head[1], head[2], head[3]]) as usize;
        if length > self.tag_bytes_max {
            return Err(FileError::TagTooLong {
                found: length,
                limit: self.tag_bytes_max,
            });
        }
        // Waiting for the four bytes behind it costs nothing: writers flush them with the tag. They are not checked,
        // too many writers get them wrong.
        let whole = TAG_HEADER_BYTES + length + PREVIOUS_TAG_SIZE_BYTES;
        if input.len() < whole {
            return Ok(None);
        }
        input.advance(TAG_HEADER_BYTES);
        let body = input.split_to(length).freeze();
        input.advance(PREVIOUS_TAG_SIZE_BYTES);
        let timestamp = u32::from_be_bytes([head[7], head[4], head[5], head[6]]);
        Ok(Some(FileTag {
            kind,
            timestamp_ms: self.unwrap(timestamp),
            body,
        }))
    }

    /// Bytes that `input` should have room for beyond what it holds to complete the next tag; 0 if that is unknown.
    pub fn missing(&self, input: &[u8]) -> usize {
        match input.first_chunk::<4>() {
            Some(head) if self.is_header_read => {
                let length = u32::from_be_bytes([0, head[1], head[2], head[3]]) as usize;
                let whole = TAG_HEADER_BYTES + length.min(self.tag_bytes_max) + PREVIOUS_TAG_SIZE_BYTES;
                whole.saturating_sub(input.len())
            }
            _ => 0,
        }
    }

    fn file_header(&mut self, input: &mut BytesMut) -> Result<bool, FileError> {
        let expected = b"FLV\x01";
        let count = input.len().min(expected.len());
        if input[..count] != expected[..count] {
            return Err(FileError::Signature);
        }
        let Some(head) = input.first_chunk::<FILE_HEADER_BYTES>() else {
            return Ok(false);
        };
        let found = u32::from_be_bytes([head[5], head[6], head[7], head[8]]) as usize;
        if !(FILE_HEADER_BYTES..=FILE_HEADER_BYTES_MAX).contains(&found) {
            return Err(FileError::HeaderLength { found });
        }
        if input.len() < found + PREVIOUS_TAG_SIZE_BYTES {
            return Ok(false);
        }
        input.advance(found + PREVIOUS_TAG_SIZE_BYTES);
        self.is_header_read = true;
        Ok(true)
    }

    /// The value nearest to the last one.
    fn unwrap(&mut self, timestamp: u32) -> i64 {
        let timestamp = i64::from(timestamp) % TIME_MODULUS;
        let value = match self.last_ms {
            None => timestamp,
            Some(last) => {
                let step = (timestamp - last).rem_euclid(TIME_MODULUS);
                last + if step >= TIME_MODULUS / 2 {
                    step - TIME_MODULUS
                } else {
                    step
                }
            }
        };
        self.last_ms = Some(value);
        value
    }
}
