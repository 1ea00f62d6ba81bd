//! Action Message Format 0 and, where a peer switches to it, 3: the values of commands and metadata.

mod amf3;
mod decode;

use bytes::{BufMut, Bytes, BytesMut};

pub use amf3::decode3;
pub use decode::{Decoder, decode};

/// The bounds of one decoded message.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Objects within objects. Default 16.
    pub depth_max: u32,
    /// Values and properties in all. Default 1024.
    pub values_max: u32,
    /// Text in all, bytes, after references are resolved. Default 64 KiB.
    pub text_bytes_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            depth_max: 16,
            values_max: 1024,
            text_bytes_max: 64 << 10,
        }
    }
}

/// Why a value cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The bytes end within a value.
    #[error("the bytes end within a value")]
    Truncated,
    /// A type that has no place in a command.
    #[error("value type {marker:#04x} is not taken")]
    Marker {
        /// The type marker.
        marker: u8,
    },
    /// A back reference to nothing.
    #[error("a reference to value {index}, which does not exist")]
    Reference {
        /// Index as sent.
        index: usize,
    },
    /// A bound of [`Limits`] is reached.
    #[error("more than {limit} {what}")]
    Limit {
        /// What there is too much of.
        what: &'static str,
        /// The bound.
        limit: usize,
    },
}

/// One AMF value. Both encodings come out as this; what they have beyond it is not needed by any publisher.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// IEEE 754 double.
    Number(f64),
    /// True or false.
    Boolean(bool),
    /// Text (AMF0 string, long string, XML). Bytes that are not UTF-8 are replaced.
    String(String),
    /// An object, anonymous or typed, or an associative array; in the order sent.
    Object(Vec<(String, Value)>),
    /// AMF0 ECMA array: an object that also announces its length.
    EcmaArray(Vec<(String, Value)>),
    /// A dense array.
    StrictArray(Vec<Value>),
    /// Milliseconds since 1970 UTC.
    Date(f64),
    /// Null.
    Null,
    /// Undefined, and AMF0 "unsupported".
    Undefined,
}

impl Value {
    /// Text, if it is text.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Value::String(text) => Some(text),
            _ => None,
        }
    }

    /// A number, if it is one; a boolean counts as 0 or 1.
    pub fn as_number(&self) -> Option<f64> {
        match self {
            Value::Number(number) | Value::Date(number) => Some(*number),
            Value::Boolean(flag) => Some(f64::from(u8::from(*flag))),
            _ => None,
        }
    }

    /// The properties of an object or associative array.
    pub fn properties(&self) -> Option<&[(String, Value)]> {
        match self {
            Value::Object(properties) | Value::EcmaArray(properties) => Some(properties),
            _ => None,
        }
    }

    /// The first property of that name.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.properties()?
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value)
    }

    /// An object of the given properties.
    pub fn object<const N: usize>(properties: [(&str, Value); N]) -> Value {
        Value::Object(
            properties
                .into_iter()
                .map(|(key, value)| (key.to_owned(), value))
                .collect(),
        )
    }

    /// Appends the value in AMF0.
    pub fn write(&self, out: &mut BytesMut) {
        match self {
            Value::Number(number) => {
                out.put_u8(0x00);
                out.put_f64(*number);
            }
            Value::Boolean(flag) => out.put_slice(&[0x01, u8::from(*flag)]),
            Value::String(text) => write_text(text, out),
            Value::Object(properties) => {
                out.put_u8(0x03);
                write_properties(properties, out);
            }
            Value::EcmaArray(properties) => {
                out.put_u8(0x08);
                out.put_u32(properties.len() as u32);
                write_properties(properties, out);
            }
            Value::StrictArray(values) => {
                out.put_u8(0x0a);
                out.put_u32(values.len() as u32);
                for value in values {
                    value.write(out);
                }
            }
            Value::Date(millis) => {
                out.put_u8(0x0b);
                out.put_f64(*millis);
                out.put_i16(0);
            }
            Value::Null => out.put_u8(0x05),
            Value::Undefined => out.put_u8(0x06),
        }
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Value::String(text.to_owned())
    }
}

impl From<f64> for Value {
    fn from(number: f64) -> Self {
        Value::Number(number)
    }
}

/// The values one after another in AMF0.
pub fn encode(values: &[Value]) -> Bytes {
    let mut out = BytesMut::with_capacity(256);
    for value in values {
        value.write(&mut out);
    }
    out.freeze()
}

fn write_text(text: &str, out: &mut BytesMut) {
    match u16::try_from(text.len()) {
        Ok(length) => {
            out.put_u8(0x02);
            out.put_u16(length);
        }
        Err(_) => {
            out.put_u8(0x0c);
            out.put_u32(text.len() as u32);
        }
    }
    out.put_slice(text.as_bytes());
}

fn write_properties(properties: &[(String, Value)], out: &mut BytesMut) {
    for (key, value) in properties {
        // A key has a 16-bit length: a longer one is cut at a character.
        let mut end = key.len().min(usize::from(u16::MAX));
        while !key.is_char_boundary(end) {
            end -= 1;
        }
        out.put_u16(end as u16);
        out.put_slice(&key.as_bytes()[..end]);
        value.write(out);
    }
    out.put_slice(&[0, 0, 0x09]);
}
