//! Messages to chunks.

use bytes::{BufMut, BytesMut};

use super::{CHUNK_BYTES_DEFAULT, EXTENDED};

/// Writes messages as chunks, with the shortest headers that say them.
#[derive(Debug)]
pub struct ChunkWriter {
    chunk_bytes: usize,
    streams: Vec<Last>,
}

#[derive(Clone, Copy, Debug)]
struct Last {
    chunk_stream: u32,
    timestamp: u32,
    /// `None` after a type 0 header.
    delta: Option<u32>,
    length: usize,
    type_id: u8,
    stream_id: u32,
}

impl Default for ChunkWriter {
    fn default() -> Self {
        Self {
            chunk_bytes: CHUNK_BYTES_DEFAULT,
            streams: Vec::new(),
        }
    }
}

impl ChunkWriter {
    /// Size of the chunks from now on, bytes, at least 1. The peer must be told before (Set Chunk Size).
    pub fn set_chunk_bytes(&mut self, bytes: usize) {
        self.chunk_bytes = bytes.max(1);
    }

    /// Appends one message, whose payload is the concatenation of `parts`.
    ///
    /// `chunk_stream` is 2 to 65599 (5.3.1.1); `timestamp` milliseconds modulo 2^32.
    pub fn write(
        &mut self,
        out: &mut BytesMut,
        chunk_stream: u32,
        type_id: u8,
        stream_id: u32,
        timestamp: u32,
        parts: &[&[u8]],
    ) {
        let length = parts.iter().map(|part| part.len()).sum();
        let slot = self
            .streams
            .iter()
            .position(|last| last.chunk_stream == chunk_stream);
        let last = slot.map(|slot| self.streams[slot]);
        let mut now = Last {
            chunk_stream,
            timestamp,
            delta: None,
            length,
            type_id,
            stream_id,
        };
        let (format, field) = choose_form(last, &mut now);
        match slot {
            Some(slot) => self.streams[slot] = now,
            None => self.streams.push(now),
        }
        out.reserve(length + 18 + (length / self.chunk_bytes) * 7);
        write_basic(out, format, chunk_stream);
        if format <= 2 {
            out.put_uint(u64::from(field.min(EXTENDED)), 3);
        }
        if format <= 1 {
            out.put_uint(length as u64, 3);
            out.put_u8(type_id);
        }
        if format == 0 {
            out.put_u32_le(stream_id);
        }
        let extended = (field >= EXTENDED).then_some(field);
        if let Some(extended) = extended {
            out.put_u32(extended);
        }
        let mut room = self.chunk_bytes;
        for mut part in parts.iter().copied() {
            while !part.is_empty() {
                if room == 0 {
                    write_basic(out, 3, chunk_stream);
                    if let Some(extended) = extended {
                        out.put_u32(extended);
                    }
                    room = self.chunk_bytes;
                }
                let (head, rest) = part.split_at(room.min(part.len()));
                out.put_slice(head);
                room -= head.len();
                part = rest;
            }
        }
    }
}

/// The header form and its timestamp field.
fn choose_form(last: Option<Last>, now: &mut Last) -> (u8, u32) {
    let Some(last) = last else {
        return (0, now.timestamp);
    };
    // A step back has no delta.
    if last.stream_id != now.stream_id || now.timestamp < last.timestamp {
        return (0, now.timestamp);
    }
    let delta = now.timestamp - last.timestamp;
    now.delta = Some(delta);
    if last.length != now.length || last.type_id != now.type_id {
        (1, delta)
    } else if last.delta != Some(delta) {
        (2, delta)
    } else {
        (3, delta)
    }
}

fn write_basic(out: &mut BytesMut, format: u8, chunk_stream: u32) {
    let format = format << 6;
    match chunk_stream {
        ..=63 => out.put_u8(format | chunk_stream as u8),
        64..=319 => out.put_slice(&[format, (chunk_stream - 64) as u8]),
        _ => {
            out.put_u8(format | 1);
            out.put_u16_le((chunk_stream - 64) as u16);
        }
    }
}
