//! AMF0 reading (AMF 0 specification, December 2007).

use super::{Error, Limits, Value};

/// All values of a message.
pub fn decode(bytes: &[u8], limits: &Limits) -> Result<Vec<Value>, Error> {
    let mut decoder = Decoder::new(bytes, limits);
    let mut values = Vec::new();
    while !decoder.is_empty() {
        values.push(decoder.value()?);
    }
    Ok(values)
}

/// Reads value after value from one message within one budget.
pub struct Decoder<'a> {
    pub(super) rest: &'a [u8],
    pub(super) limits: &'a Limits,
    values: u32,
    text_bytes: usize,
}

impl<'a> Decoder<'a> {
    /// A decoder at the start of `bytes`.
    pub fn new(bytes: &'a [u8], limits: &'a Limits) -> Self {
        Self {
            rest: bytes,
            limits,
            values: 0,
            text_bytes: 0,
        }
    }

    /// Everything is read.
    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The next value.
    pub fn value(&mut self) -> Result<Value, Error> {
        self.value_at(0)
    }

    fn value_at(&mut self, depth: u32) -> Result<Value, Error> {
        self.enter(depth)?;
        let marker = self.u8()?;
        match marker {
            0x00 => Ok(Value::Number(self.f64()?)),
            0x01 => Ok(Value::Boolean(self.u8()? != 0)),
            0x02 => self.short_text().map(Value::String),
            0x03 => self.properties(depth).map(Value::Object),
            0x05 => Ok(Value::Null),
            0x06 | 0x0d => Ok(Value::Undefined),
            // A reference to an earlier object: no publisher needs its content.
            0x07 => self.take(2).map(|_| Value::Undefined),
            0x08 => {
                // The announced count is often wrong (0 from OBS): the end marker counts.
                self.take(4)?;
                self.properties(depth).map(Value::EcmaArray)
            }
            0x0a => self.strict_array(depth),
            0x0b => {
                let millis = self.f64()?;
                self.take(2)?;
                Ok(Value::Date(millis))
            }
            0x0c | 0x0f => {
                let length = self.u32()? as usize;
                self.text(length).map(Value::String)
            }
            0x10 => {
                self.short_text()?;
                self.properties(depth).map(Value::Object)
            }
            0x11 => super::amf3::value(self, depth + 1),
            marker => Err(Error::Marker { marker }),
        }
    }

    fn strict_array(&mut self, depth: u32) -> Result<Value, Error> {
        let count = self.u32()?;
        // Each element takes at least a byte: an announced count beyond the rest is a lie, not a reason to allocate.
        if count as usize > self.rest.len() {
            return Err(Error::Truncated);
        }
        let mut values = Vec::new();
        for _ in 0..count {
            values.push(self.value_at(depth + 1)?);
        }
        Ok(Value::StrictArray(values))
    }

    fn properties(&mut self, depth: u32) -> Result<Vec<(String, Value)>, Error> {
        let mut properties = Vec::new();
        // Some encoders leave out the end marker of the last object: the end of the message ends it, too.
        while !self.is_empty() {
            let key = self.short_text()?;
            if key.is_empty() && self.rest.first() == Some(&0x09) {
                self.take(1)?;
                break;
            }
            properties.push((key, self.value_at(depth + 1)?));
        }
        Ok(properties)
    }

    /// Counts one more value at that depth.
    pub(super) fn enter(&mut self, depth: u32) -> Result<(), Error> {
        if depth > self.limits.depth_max {
            return Err(Error::Limit {
                what: "levels",
                limit: self.limits.depth_max as usize,
            });
        }
        self.values += 1;
        if self.values > self.limits.values_max {
            return Err(Error::Limit {
                what: "values",
                limit: self.limits.values_max as usize,
            });
        }
        Ok(())
    }

    /// Counts text that is about to be copied.
    pub(super) fn charge_text(&mut self, bytes: usize) -> Result<(), Error> {
        self.text_bytes = self.text_bytes.saturating_add(bytes);
        if self.text_bytes > self.limits.text_bytes_max {
            return Err(Error::Limit {
                what: "bytes of text",
                limit: self.limits.text_bytes_max,
            });
        }
        Ok(())
    }

    pub(super) fn take(&mut self, count: usize) -> Result<&'a [u8], Error> {
        let (head, rest) = self.rest.split_at_checked(count).ok_or(Error::Truncated)?;
        self.rest = rest;
        Ok(head)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        let (head, rest) = self.rest.split_first_chunk().ok_or(Error::Truncated)?;
        self.rest = rest;
        Ok(*head)
    }

    pub(super) fn u8(&mut self) -> Result<u8, Error> {
        self.array::<1>().map(|[byte]| byte)
    }

    fn u32(&mut self) -> Result<u32, Error> {
        self.array().map(u32::from_be_bytes)
    }

    pub(super) fn f64(&mut self) -> Result<f64, Error> {
        self.array().map(f64::from_be_bytes)
    }

    fn short_text(&mut self) -> Result<String, Error> {
        let length = u16::from_be_bytes(self.array()?);
        self.text(usize::from(length))
    }

    pub(super) fn text(&mut self, length: usize) -> Result<String, Error> {
        let bytes = self.take(length)?;
        self.charge_text(length)?;
        Ok(String::from_utf8_lossy(bytes).into_owned())
    }
}
