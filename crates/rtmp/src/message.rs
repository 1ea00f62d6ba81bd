//! Message types and the small messages of the protocol itself.

use bytes::{BufMut, Bytes, BytesMut};

use crate::amf::{self, Value};

/// Message type ids (specification 5.4, 7.1).
#[allow(missing_docs)]
pub mod types {
    pub const SET_CHUNK_SIZE: u8 = 1;
    pub const ABORT: u8 = 2;
    pub const ACKNOWLEDGEMENT: u8 = 3;
    pub const USER_CONTROL: u8 = 4;
    pub const WINDOW_ACK_SIZE: u8 = 5;
    pub const SET_PEER_BANDWIDTH: u8 = 6;
    pub const AUDIO: u8 = 8;
    pub const VIDEO: u8 = 9;
    pub const DATA_AMF3: u8 = 15;
    pub const COMMAND_AMF3: u8 = 17;
    pub const DATA_AMF0: u8 = 18;
    pub const COMMAND_AMF0: u8 = 20;
    pub const AGGREGATE: u8 = 22;
}

/// User control event types (7.1.7).
pub(crate) mod control {
    pub(crate) const STREAM_BEGIN: u16 = 0;
    pub(crate) const PING_REQUEST: u16 = 6;
    pub(crate) const PING_RESPONSE: u16 = 7;
}

/// Chunk streams that we write on: what most servers use.
pub(crate) mod chunk_streams {
    pub(crate) const CONTROL: u32 = 2;
    pub(crate) const COMMAND: u32 = 3;
    pub(crate) const AUDIO: u32 = 4;
    pub(crate) const STATUS: u32 = 5;
    pub(crate) const VIDEO: u32 = 6;
}

pub(crate) fn user_control(event: u16, value: u32) -> [u8; 6] {
    let mut out = [0; 6];
    out[..2].copy_from_slice(&event.to_be_bytes());
    out[2..].copy_from_slice(&value.to_be_bytes());
    out
}

/// The value of a control message that begins with 32 bits.
pub(crate) fn u32_of(payload: &[u8]) -> Option<u32> {
    payload.first_chunk::<4>().map(|bytes| u32::from_be_bytes(*bytes))
}

/// A command or data message's values, whichever encoding its type says.
pub(crate) fn values(type_id: u8, payload: &[u8], limits: &amf::Limits) -> Result<Vec<Value>, amf::Error> {
    match type_id {
        types::COMMAND_AMF3 | types::DATA_AMF3 => match payload.split_first() {
            None => Ok(Vec::new()),
            // In practice a 0 stands in front of AMF0 values, single ones of which may switch to AMF3.
            Some((0, rest)) => amf::decode(rest, limits),
            Some((2, _)) => amf::decode(payload, limits),
            Some(_) => amf::decode3(payload, limits),
        },
        _ => amf::decode(payload, limits),
    }
}

/// `name`, `transaction`, then `rest`.
pub(crate) fn command(name: &str, transaction: f64, rest: &[Value]) -> Bytes {
    let mut out = BytesMut::with_capacity(256);
    Value::from(name).write(&mut out);
    Value::Number(transaction).write(&mut out);
    for value in rest {
        value.write(&mut out);
    }
    out.freeze()
}

/// The information object of `onStatus` (7.2.2).
pub(crate) fn status(level: &str, code: &str, description: &str) -> Value {
    Value::object([
        ("level", level.into()),
        ("code", code.into()),
        ("description", description.into()),
    ])
}

/// Tags of an aggregate message (7.1.6): type, timestamp, body.
pub(crate) struct Aggregate {
    rest: Bytes,
}

impl Aggregate {
    pub(crate) fn new(payload: Bytes) -> Self {
        Self { rest: payload }
    }
}

impl Iterator for Aggregate {
    type Item = (u8, u32, Bytes);

    fn next(&mut self) -> Option<Self::Item> {
        let head = *self.rest.first_chunk::<11>()?;
        let length = u32::from_be_bytes([0, head[1], head[2], head[3]]) as usize;
        let timestamp = u32::from_be_bytes([head[7], head[4], head[5], head[6]]);
        let end = 11 + length;
        if self.rest.len() < end {
            return None;
        }
        let body = self.rest.slice(11..end);
        // Each tag is followed by its length once more.
        self.rest = self.rest.slice((end + 4).min(self.rest.len())..);
        Some((head[0], timestamp, body))
    }
}

/// Appends one tag of an aggregate message. Tests and restreaming write these.
pub fn write_aggregate_tag(out: &mut BytesMut, type_id: u8, timestamp: u32, body: &[u8]) {
    out.put_u8(type_id);
    out.put_uint(body.len() as u64, 3);
    out.put_uint(u64::from(timestamp & 0xff_ffff), 3);
    out.put_u8((timestamp >> 24) as u8);
    out.put_uint(0, 3);
    out.put_slice(body);
    out.put_u32(11 + body.len() as u32);
}
