//! AMF3 reading (AMF 3 specification, January 2013), as far as commands and metadata use it.

use super::{Decoder, Error, Limits, Value};

/// All values of a message that is AMF3 throughout.
pub fn decode3(bytes: &[u8], limits: &Limits) -> Result<Vec<Value>, Error> {
    let mut decoder = Decoder::new(bytes, limits);
    let mut values = Vec::new();
    while !decoder.is_empty() {
        values.push(value(&mut decoder, 0)?);
    }
    Ok(values)
}

/// One AMF3 value. The reference tables begin anew with it, as in an AMF0 message that switches (AMF 0, 2.17... "avmplus").
pub(super) fn value(decoder: &mut Decoder<'_>, depth: u32) -> Result<Value, Error> {
    Reader {
        decoder,
        texts: Vec::new(),
        traits: Vec::new(),
    }
    .value(depth)
}

struct Traits {
    names: Vec<String>,
    is_dynamic: bool,
}

struct Reader<'d, 'a> {
    decoder: &'d mut Decoder<'a>,
    texts: Vec<String>,
    traits: Vec<Traits>,
}

impl Reader<'_, '_> {
    fn value(&mut self, depth: u32) -> Result<Value, Error> {
        self.decoder.enter(depth)?;
        match self.decoder.u8()? {
            0x00 => Ok(Value::Undefined),
            0x01 => Ok(Value::Null),
            0x02 => Ok(Value::Boolean(false)),
            0x03 => Ok(Value::Boolean(true)),
            0x04 => {
                // 29 bits, two's complement.
                let raw = self.u29()?;
                let signed = ((raw << 3) as i32) >> 3;
                Ok(Value::Number(f64::from(signed)))
            }
            0x05 => Ok(Value::Number(self.decoder.f64()?)),
            0x06 => self.text().map(Value::String),
            0x07 | 0x0b | 0x0c => self.blob(),
            0x08 => {
                if self.inline_length()?.is_none() {
                    return Ok(Value::Undefined);
                }
                Ok(Value::Date(self.decoder.f64()?))
            }
            0x09 => self.array(depth),
            0x0a => self.object(depth),
            marker => Err(Error::Marker { marker }),
        }
    }

    /// 1 to 4 bytes, 7 bits in each of the first three, 8 in the fourth.
    fn u29(&mut self) -> Result<u32, Error> {
        let mut value = 0u32;
        for _ in 0..3 {
            let byte = self.decoder.u8()?;
            value = value << 7 | u32::from(byte & 0x7f);
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Ok(value << 8 | u32::from(self.decoder.u8()?))
    }

    /// The length of what follows; `None` for a reference to an earlier object, whose content nobody needs.
    fn inline_length(&mut self) -> Result<Option<usize>, Error> {
        let head = self.u29()?;
        Ok((head & 1 == 1).then_some((head >> 1) as usize))
    }

    fn text(&mut self) -> Result<String, Error> {
        let head = self.u29()?;
        let number = (head >> 1) as usize;
        if head & 1 == 0 {
            let length = self
                .texts
                .get(number)
                .ok_or(Error::Reference { index: number })?
                .len();
            // References cost what they expand to, or a few bytes could become gigabytes.
            self.decoder.charge_text(length)?;
            return Ok(self.texts[number].clone());
        }
        let text = self.decoder.text(number)?;
        if !text.is_empty() {
            self.decoder.charge_text(text.len())?;
            self.texts.push(text.clone());
        }
        Ok(text)
    }

    fn blob(&mut self) -> Result<Value, Error> {
        match self.inline_length()? {
            None => Ok(Value::Undefined),
            Some(length) => self.decoder.text(length).map(Value::String),
        }
    }

    fn array(&mut self, depth: u32) -> Result<Value, Error> {
        let Some(count) = self.inline_length()? else {
            return Ok(Value::Undefined);
        };
        let mut properties = Vec::new();
        loop {
            let key = self.text()?;
            if key.is_empty() {
                break;
            }
            properties.push((key, self.value(depth + 1)?));
        }
        if count > self.decoder.rest.len() {
            return Err(Error::Truncated);
        }
        let mut values = Vec::new();
        for _ in 0..count {
            values.push(self.value(depth + 1)?);
        }
        if properties.is_empty() {
            return Ok(Value::StrictArray(values));
        }
        properties.extend(
            values
                .into_iter()
                .enumerate()
                .map(|(index, value)| (index.to_string(), value)),
        );
        Ok(Value::EcmaArray(properties))
    }

    fn object(&mut self, depth: u32) -> Result<Value, Error> {
        let head = self.u29()?;
        if head & 1 == 0 {
            return Ok(Value::Undefined);
        }
        let index = if head & 2 == 0 {
            let index = (head >> 2) as usize;
            if index >= self.traits.len() {
                return Err(Error::Reference { index });
            }
            index
        } else {
            self.new_traits(head)?
        };
        let mut properties = Vec::new();
        for position in 0..self.traits[index].names.len() {
            let length = self.traits[index].names[position].len();
            self.decoder.charge_text(length)?;
            let name = self.traits[index].names[position].clone();
            properties.push((name, self.value(depth + 1)?));
        }
        while self.traits[index].is_dynamic {
            let key = self.text()?;
            if key.is_empty() {
                break;
            }
            properties.push((key, self.value(depth + 1)?));
        }
        Ok(Value::Object(properties))
    }

    fn new_traits(&mut self, head: u32) -> Result<usize, Error> {
        if head & 4 != 0 {
            // Externalizable: its bytes are known to its class only.
            return Err(Error::Marker { marker: 0x0a });
        }
        let is_dynamic = head & 8 != 0;
        let count = (head >> 4) as usize;
        self.text()?;
        if count > self.decoder.rest.len() {
            return Err(Error::Truncated);
        }
        let mut names = Vec::new();
        for _ in 0..count {
            self.decoder.enter(0)?;
            names.push(self.text()?);
        }
        self.traits.push(Traits { names, is_dynamic });
        Ok(self.traits.len() - 1)
    }
}
