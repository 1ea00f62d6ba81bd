//! Chunks to messages.

use bytes::{Buf, Bytes, BytesMut};

use super::{CHUNK_BYTES_DEFAULT, EXTENDED, Message};
use crate::{Error, Limits};

/// Highest time of a type 0 header that a type 3 header may repeat as a delta.
const REPEATED_TIME_MAX_MS: u32 = 5_000;

/// Reads messages from the front of the caller's buffer.
#[derive(Debug)]
pub struct ChunkReader {
    streams: Vec<ChunkStream>,
    chunk_bytes: usize,
    message_bytes_max: usize,
    limits: Limits,
    /// Sum of the announced lengths of unfinished messages.
    partial_bytes: usize,
    /// The chunk whose payload is being gathered: index of its stream, bytes still to come.
    open: Option<(usize, usize)>,
}

#[derive(Debug, Default)]
struct ChunkStream {
    id: u32,
    /// Absolute time of the current message.
    timestamp: u32,
    /// The timestamp or delta as last sent: what a type 3 header repeats.
    field: u32,
    /// `field` came in a type 0 header: it is a time, not a delta.
    is_absolute: bool,
    is_extended: bool,
    length: usize,
    type_id: u8,
    stream_id: u32,
    gather: Option<BytesMut>,
}

/// A header that is read but not yet acted upon.
struct Header {
    format: u8,
    chunk_stream: u32,
    /// Bytes of the header in the buffer.
    bytes: usize,
    field: u32,
    is_extended: bool,
    length: usize,
    type_id: u8,
    stream_id: u32,
}

impl ChunkReader {
    /// A reader with the default chunk size. Messages are limited to `limits.command_bytes_max` until
    /// [`set_message_bytes_max`](Self::set_message_bytes_max).
    pub fn new(limits: &Limits) -> Self {
        Self {
            streams: Vec::new(),
            chunk_bytes: CHUNK_BYTES_DEFAULT,
            message_bytes_max: limits.command_bytes_max,
            limits: limits.clone(),
            partial_bytes: 0,
            open: None,
        }
    }

    /// The peer's Set Chunk Size (5.4.1). 0 is taken as 1.
    pub fn set_chunk_bytes(&mut self, bytes: usize) {
        self.chunk_bytes = bytes.max(1);
    }

    /// Longest message from now on, bytes.
    pub fn set_message_bytes_max(&mut self, bytes: usize) {
        self.message_bytes_max = bytes;
    }

    /// The peer's Abort (5.4.2): what came of the unfinished message on that chunk stream is dropped.
    pub fn abort(&mut self, chunk_stream: u32) {
        if let Some(stream) = self.streams.iter_mut().find(|stream| stream.id == chunk_stream)
            && stream.gather.take().is_some()
        {
            self.partial_bytes -= stream.length;
        }
    }

    /// Bytes that unfinished messages hold or will need.
    pub fn partial_bytes(&self) -> usize {
        self.partial_bytes
    }

    /// The next whole message, taking its bytes from `input`. `None`: more bytes are needed; what is left in `input`
    /// must stay in front of them.
    pub fn next(&mut self, input: &mut BytesMut) -> Result<Option<Message>, Error> {
        loop {
            if let Some((index, left)) = self.open {
                let count = left.min(input.len());
                self.gather(index, &input[..count]);
                input.advance(count);
                if count < left {
                    self.open = Some((index, left - count));
                    return Ok(None);
                }
                self.open = None;
                if let Some(message) = self.finish_gather(index) {
                    return Ok(Some(message));
                }
                continue;
            }
            let known = self.find(input);
            let Some(header) = self.header(input, known)? else {
                return Ok(None);
            };
            if let Some(index) = known
                && let Some(gather) = &self.streams[index].gather
            {
                let received = gather.len();
                self.check_continuation(&header, index, received)?;
                input.advance(header.bytes);
                let left = (header.length - received).min(self.chunk_bytes);
                self.open = Some((index, left));
                continue;
            }
            self.check_length(&header)?;
            if header.length <= self.chunk_bytes {
                if input.len() >= header.bytes + header.length {
                    return self.take_whole(input, &header, known).map(Some);
                }
                if header.length <= self.limits.contiguous_bytes_max {
                    return Ok(None);
                }
            }
            let index = self.begin_gather(input, &header, known)?;
            self.open = Some((index, header.length.min(self.chunk_bytes)));
        }
    }

    /// The state of the chunk stream that `input` begins with, if it has one.
    fn find(&self, input: &[u8]) -> Option<usize> {
        let (id, _) = chunk_stream_id(input)?;
        self.streams.iter().position(|stream| stream.id == id)
    }

    /// Reads the header at the front of `input` and leaves it there; `None` if it is incomplete.
    fn header(&self, input: &[u8], known: Option<usize>) -> Result<Option<Header>, Error> {
        let Some((chunk_stream, basic)) = chunk_stream_id(input) else {
            return Ok(None);
        };
        let format = input[0] >> 6;
        let last = known.map(|index| &self.streams[index]);
        // A first header of form 1 is known from old librtmp (its stream id is 0 then); forms 2 and 3 say too little.
        if last.is_none() && format >= 2 {
            return Err(Error::MissingHeader { chunk_stream, format });
        }
        let rest = &input[basic..];
        let length = [11, 7, 3, 0][usize::from(format)];
        if rest.len() < length {
            return Ok(None);
        }
        let mut header = Header {
            format,
            chunk_stream,
            bytes: basic + length,
            field: last.map_or(0, |last| last.field),
            is_extended: last.is_some_and(|last| last.is_extended),
            length: last.map_or(0, |last| last.length),
            type_id: last.map_or(0, |last| last.type_id),
            stream_id: last.map_or(0, |last| last.stream_id),
        };
        if format <= 2 {
            header.field = u24(rest);
            header.is_extended = header.field == EXTENDED;
        }
        if format <= 1 {
            header.length = u24(&rest[3..]) as usize;
            header.type_id = rest[6];
        }
        if format == 0 {
            header.stream_id = u32::from_le_bytes([rest[7], rest[8], rest[9], rest[10]]);
        }
        if header.is_extended {
            let Some(&extended) = rest[length..].first_chunk::<4>() else {
                return Ok(None);
            };
            let extended = u32::from_be_bytes(extended);
            if format <= 2 {
                header.field = extended;
                header.bytes += 4;
            } else if last.is_some_and(|last| extended == last.field || extended == last.timestamp) {
                // Type 3 repeats the extended timestamp (5.3.1.3). Some peers leave it out: then these bytes are
                // payload, which equals the timestamp by a chance of 2^-31 only.
                header.bytes += 4;
            }
        }
        Ok(Some(header))
    }

    /// Further chunks of a message should be type 3 (5.3.1.2.4); another form is taken if it says the same.
    fn check_continuation(&self, header: &Header, index: usize, received: usize) -> Result<(), Error> {
        let stream = &self.streams[index];
        let is_same = header.length == stream.length && header.type_id == stream.type_id;
        if header.format == 3 || is_same && header.format != 0 {
            return Ok(());
        }
        Err(Error::MessageInterrupted {
            chunk_stream: stream.id,
            received,
            expected: stream.length,
        })
    }

    fn check_length(&self, header: &Header) -> Result<(), Error> {
        if header.length > self.message_bytes_max {
            let (type_id, found, limit) = (header.type_id, header.length, self.message_bytes_max);
            return Err(Error::MessageTooLong {
                type_id,
                found,
                limit,
            });
        }
        Ok(())
    }

    /// Notes the header as the last one of its chunk stream and gives that stream's index.
    fn commit(&mut self, header: &Header, known: Option<usize>) -> Result<usize, Error> {
        let index = match known {
            Some(index) => index,
            None if self.streams.len() >= self.limits.chunk_streams_max => {
                return Err(Error::ChunkStreams {
                    limit: self.limits.chunk_streams_max,
                });
            }
            None => {
                self.streams.push(ChunkStream {
                    id: header.chunk_stream,
                    ..ChunkStream::default()
                });
                self.streams.len() - 1
            }
        };
        let stream = &mut self.streams[index];
        stream.timestamp = match header.format {
            0 => header.field,
            // Type 3 after type 0 repeats the timestamp as a delta (5.3.1.2.4). That is meant at the start of a
            // stream only; later it is librtmp's way of saying "same time".
            3 if stream.is_absolute && header.field > REPEATED_TIME_MAX_MS => stream.timestamp,
            _ => stream.timestamp.wrapping_add(header.field),
        };
        if header.format <= 2 {
            stream.is_absolute = header.format == 0;
        }
        stream.field = header.field;
        stream.is_extended = header.is_extended;
        stream.length = header.length;
        stream.type_id = header.type_id;
        stream.stream_id = header.stream_id;
        Ok(index)
    }

    fn take_whole(
        &mut self,
        input: &mut BytesMut,
        header: &Header,
        known: Option<usize>,
    ) -> Result<Message, Error> {
        let index = self.commit(header, known)?;
        input.advance(header.bytes);
        let payload = if header.length < self.limits.copy_below_bytes {
            let payload = Bytes::copy_from_slice(&input[..header.length]);
            input.advance(header.length);
            payload
        } else {
            input.split_to(header.length).freeze()
        };
        Ok(self.message(index, payload))
    }

    fn begin_gather(
        &mut self,
        input: &mut BytesMut,
        header: &Header,
        known: Option<usize>,
    ) -> Result<usize, Error> {
        let found = self.partial_bytes + header.length;
        if found > self.limits.partial_bytes_max {
            return Err(Error::PartialBytes {
                found,
                limit: self.limits.partial_bytes_max,
            });
        }
        let index = self.commit(header, known)?;
        input.advance(header.bytes);
        self.partial_bytes = found;
        self.streams[index].gather = Some(BytesMut::with_capacity(header.length));
        Ok(index)
    }

    fn gather(&mut self, index: usize, bytes: &[u8]) {
        if let Some(gather) = &mut self.streams[index].gather {
            gather.extend_from_slice(bytes);
        }
    }

    fn finish_gather(&mut self, index: usize) -> Option<Message> {
        let stream = &mut self.streams[index];
        let gather = stream.gather.take_if(|gather| gather.len() >= stream.length)?;
        self.partial_bytes -= stream.length;
        Some(self.message(index, gather.freeze()))
    }

    fn message(&self, index: usize, payload: Bytes) -> Message {
        let stream = &self.streams[index];
        Message {
            chunk_stream: stream.id,
            timestamp: stream.timestamp,
            type_id: stream.type_id,
            stream_id: stream.stream_id,
            payload,
        }
    }
}

/// Chunk stream id and length of the basic header (5.3.1.1); `None` if it is incomplete.
fn chunk_stream_id(input: &[u8]) -> Option<(u32, usize)> {
    match input.first()? & 0x3f {
        0 => input.get(1).map(|&byte| (64 + u32::from(byte), 2)),
        1 => match input.get(1..3)? {
            &[low, high] => Some((64 + u32::from(low) + 256 * u32::from(high), 3)),
            _ => None,
        },
        id => Some((u32::from(id), 1)),
    }
}

fn u24(bytes: &[u8]) -> u32 {
    u32::from_be_bytes([0, bytes[0], bytes[1], bytes[2]])
}
