//! DAG-CBOR: the strict subset of CBOR (RFC 8949) in which manifests are written (IPLD DAG-CBOR specification).
//!
//! One value has one encoding: shortest heads, definite lengths, map keys sorted by length and then by bytes, no floats
//! here, and one tag, 42, for links. The decoder takes nothing else, so a manifest that decodes has the name it was made
//! with.

use std::collections::BTreeMap;

use crate::cid::{CID_BYTES, Cid};

/// Deepest nesting that is read.
const DEPTH_MAX: usize = 16;
/// Most values that are read from one node; a node of a manifest has at most some ten thousand.
pub const VALUES_MAX: usize = 200_000;
/// The tag of a link; its byte string begins with the multibase prefix 0.
const LINK_TAG: u64 = 42;

/// A value of the IPLD data model, without floats.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// Nothing.
    Null,
    /// Yes or no.
    Bool(bool),
    /// A whole number.
    Integer(i64),
    /// Bytes.
    Bytes(Vec<u8>),
    /// UTF-8.
    Text(String),
    /// Values in order.
    List(Vec<Value>),
    /// Values by name.
    Map(BTreeMap<Key, Value>),
    /// Another object.
    Link(Cid),
}

/// A key of a map, in the order of DAG-CBOR: shorter ones first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key(pub String);

impl Ord for Key {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.0.len(), self.0.as_bytes()).cmp(&(other.0.len(), other.0.as_bytes()))
    }
}

impl PartialOrd for Key {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

/// Why bytes are no node.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DagError {
    /// They end within a value.
    #[error("the node ends within a value, at byte {at}")]
    Short {
        /// Where.
        at: usize,
    },
    /// Something that DAG-CBOR does not have, or writes in another way.
    #[error("at byte {at} of the node: {what}")]
    Strict {
        /// Where.
        at: usize,
        /// What was found.
        what: &'static str,
    },
    /// More than we read.
    #[error("the node is nested deeper than {DEPTH_MAX} or has more than {VALUES_MAX} values")]
    TooLarge,
}

impl Value {
    /// A map of these entries.
    pub fn map<const N: usize>(entries: [(&str, Value); N]) -> Self {
        Self::Map(
            entries
                .into_iter()
                .map(|(key, value)| (Key(key.to_owned()), value))
                .collect(),
        )
    }

    /// The value of that name, if this is a map that has it.
    pub fn get(&self, key: &str) -> Option<&Value> {
        match self {
            Self::Map(entries) => entries.get(&Key(key.to_owned())),
            _ => None,
        }
    }

    /// The one encoding.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.write(&mut out);
        out
    }

    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Null => out.push(0xf6),
            Self::Bool(value) => out.push(0xf4 + u8::from(*value)),
            Self::Integer(value) if *value >= 0 => head(out, 0, value.unsigned_abs()),
            Self::Integer(value) => head(out, 1, !*value as u64),
            Self::Bytes(bytes) => {
                head(out, 2, bytes.len() as u64);
                out.extend_from_slice(bytes);
            }
            Self::Text(text) => write_text(out, text),
            Self::List(items) => {
                head(out, 4, items.len() as u64);
                items.iter().for_each(|item| item.write(out));
            }
            Self::Map(entries) => {
                head(out, 5, entries.len() as u64);
                for (key, value) in entries {
                    write_text(out, &key.0);
                    value.write(out);
                }
            }
            Self::Link(cid) => {
                head(out, 6, LINK_TAG);
                head(out, 2, CID_BYTES as u64 + 1);
                out.push(0);
                out.extend_from_slice(&cid.to_bytes());
            }
        }
    }

    /// Reads one node.
    ///
    /// # Errors
    /// The bytes are no node, or not as we would write it.
    pub fn decode(bytes: &[u8]) -> Result<Self, DagError> {
        let mut reader = Reader {
            bytes,
            at: 0,
            values: 0,
        };
        let value = reader.value(0)?;
        if reader.at == bytes.len() {
            Ok(value)
        } else {
            Err(reader.strict("something follows the node"))
        }
    }
}

fn write_text(out: &mut Vec<u8>, text: &str) {
    head(out, 3, text.len() as u64);
    out.extend_from_slice(text.as_bytes());
}

/// Major type and argument, RFC 8949 3, in the shortest form.
fn head(out: &mut Vec<u8>, major: u8, argument: u64) {
    let major = major << 5;
    match argument {
        0..24 => out.push(major | argument as u8),
        24..0x100 => out.extend_from_slice(&[major | 24, argument as u8]),
        0x100..0x1_0000 => {
            out.push(major | 25);
            out.extend_from_slice(&(argument as u16).to_be_bytes());
        }
        0x1_0000..0x1_0000_0000 => {
            out.push(major | 26);
            out.extend_from_slice(&(argument as u32).to_be_bytes());
        }
        _ => {
            out.push(major | 27);
            out.extend_from_slice(&argument.to_be_bytes());
        }
    }
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    values: usize,
}

impl<'a> Reader<'a> {
    fn strict(&self, what: &'static str) -> DagError {
        DagError::Strict { at: self.at, what }
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], DagError> {
        let end = self.at.checked_add(count).ok_or(DagError::TooLarge)?;
        let taken = self
            .bytes
            .get(self.at..end)
            .ok_or(DagError::Short { at: self.at })?;
        self.at = end;
        Ok(taken)
    }

    /// Initial byte's major type and low bits, and the argument.
    fn head(&mut self) -> Result<(u8, u8, u64), DagError> {
        let initial = self.take(1)?[0];
        let (major, low) = (initial >> 5, initial & 31);
        let (argument, least) = match low {
            0..24 => (u64::from(low), 0),
            24 => (u64::from(self.take(1)?[0]), 24),
            25..=27 => {
                let count = 1 << (low - 24);
                let argument = self
                    .take(count)?
                    .iter()
                    .fold(0, |sum, byte| (sum << 8) | u64::from(*byte));
                (argument, 1_u64 << (count * 4))
            }
            _ => return Err(self.strict("indefinite lengths and reserved heads are not allowed")),
        };
        if argument < least && major != 7 {
            return Err(self.strict("a number is not in its shortest form"));
        }
        Ok((major, low, argument))
    }

    fn value(&mut self, depth: usize) -> Result<Value, DagError> {
        self.values += 1;
        if depth > DEPTH_MAX || self.values > VALUES_MAX {
            return Err(DagError::TooLarge);
        }
        let (major, low, argument) = self.head()?;
        let too_large = |_| DagError::TooLarge;
        match major {
            0 => Ok(Value::Integer(i64::try_from(argument).map_err(too_large)?)),
            1 => Ok(Value::Integer(!i64::try_from(argument).map_err(too_large)?)),
            2 => Ok(Value::Bytes(self.string(argument)?.to_vec())),
            3 => Ok(Value::Text(self.text(argument)?)),
            4 => {
                let mut items = Vec::new();
                for _ in 0..self.count(argument)? {
                    items.push(self.value(depth + 1)?);
                }
                Ok(Value::List(items))
            }
            5 => self.map(argument, depth),
            6 if argument == LINK_TAG => self.link(),
            6 => Err(self.strict("the only tag is 42, of a link")),
            _ => match low {
                20 => Ok(Value::Bool(false)),
                21 => Ok(Value::Bool(true)),
                22 => Ok(Value::Null),
                _ => Err(self.strict("floats and other simple values are not used here")),
            },
        }
    }

    /// Every item takes a byte at least, so more than there are bytes is not looked for.
    fn count(&self, argument: u64) -> Result<usize, DagError> {
        usize::try_from(argument)
            .ok()
            .filter(|count| *count <= self.bytes.len() - self.at)
            .ok_or(DagError::Short { at: self.at })
    }

    fn string(&mut self, argument: u64) -> Result<&'a [u8], DagError> {
        let count = self.count(argument)?;
        self.take(count)
    }

    fn text(&mut self, argument: u64) -> Result<String, DagError> {
        let bytes = self.string(argument)?;
        std::str::from_utf8(bytes)
            .map(str::to_owned)
            .map_err(|_| self.strict("a text is not UTF-8"))
    }

    fn map(&mut self, argument: u64, depth: usize) -> Result<Value, DagError> {
        let mut entries = BTreeMap::new();
        for _ in 0..self.count(argument)? {
            let (3, _, length) = self.head()? else {
                return Err(self.strict("keys of maps are texts"));
            };
            let key = Key(self.text(length)?);
            if entries.last_key_value().is_some_and(|(last, _)| *last >= key) {
                return Err(self.strict("keys of maps are sorted, and there once"));
            }
            let value = self.value(depth + 1)?;
            entries.insert(key, value);
        }
        Ok(Value::Map(entries))
    }

    fn link(&mut self) -> Result<Value, DagError> {
        let (2, _, length) = self.head()? else {
            return Err(self.strict("a link is a byte string"));
        };
        match self.string(length)?.split_first() {
            Some((0, cid)) => Cid::from_bytes(cid)
                .map(Value::Link)
                .map_err(|_| self.strict("a link names an object in a way that is not ours")),
            _ => Err(self.strict("a link begins with the byte 0")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cid::Codec;
    use proptest::prelude::*;

    #[test]
    fn golden() {
        let link = Cid::of(Codec::Raw, b"");
        let value = Value::map([
            (
                "bb",
                Value::List(vec![Value::Null, Value::Bool(true), Value::Integer(-25)]),
            ),
            ("a", Value::Integer(1_000_000)),
            ("c", Value::Text("ü".into())),
            ("link", Value::Link(link)),
            ("ab", Value::Bytes(vec![1, 2])),
        ]);
        let hex: String = value.encode().iter().map(|byte| format!("{byte:02x}")).collect();
        let expected = concat!(
            "a5",
            "61611a000f4240",
            "616362c3bc",
            "626162420102",
            "62626283f6f53818",
            "646c696e6bd82a582500",
            "01551220e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        );
        assert_eq!(hex, expected);
        assert_eq!(Value::decode(&value.encode()), Ok(value));
    }

    #[test]
    fn other_forms_are_refused() {
        let cases: [&[u8]; 13] = [
            &[],
            &[0x18, 0x17],                               // 23 in two bytes
            &[0x19, 0x00, 0xff],                         // 255 in three
            &[0x9f, 0xff],                               // indefinite
            &[0xa2, 0x61, b'b', 0x00, 0x61, b'a', 0x00], // unsorted
            &[0xa2, 0x61, b'a', 0x00, 0x61, b'a', 0x00], // twice
            &[0xa1, 0x00, 0x00],                         // key is no text
            &[0xc1, 0x00],                               // another tag
            &[0xd8, 0x2a, 0x41, 0x00],                   // empty link
            &[0xfb, 0x3f, 0xf0, 0, 0, 0, 0, 0, 0],       // float
            &[0xf7],                                     // undefined
            &[0x9a, 0xff, 0xff, 0xff, 0xff],             // longer than there is
            &[0x00, 0x00],                               // more follows
        ];
        for case in cases {
            assert!(Value::decode(case).is_err(), "{case:02x?}");
        }
        assert_eq!(Value::decode(&[0x81; 40]), Err(DagError::TooLarge));
    }

    fn values() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::Bool),
            any::<i64>().prop_map(Value::Integer),
            proptest::collection::vec(any::<u8>(), 0..300).prop_map(Value::Bytes),
            ".{0,20}".prop_map(Value::Text),
            any::<[u8; 4]>().prop_map(|bytes| Value::Link(Cid::of(Codec::DagCbor, &bytes))),
        ];
        leaf.prop_recursive(4, 64, 8, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..30).prop_map(Value::List),
                proptest::collection::btree_map("[a-z]{0,4}".prop_map(Key), inner, 0..8).prop_map(Value::Map),
            ]
        })
    }

    proptest! {
        #[test]
        fn round_trip(value in values()) {
            prop_assert_eq!(Value::decode(&value.encode()), Ok(value));
        }

        #[test]
        fn whatever_decodes_has_one_form(mut bytes in values().prop_map(|value| value.encode()), flips in proptest::collection::vec((any::<u16>(), any::<u8>()), 0..4)) {
            for (at, with) in flips {
                let length = bytes.len();
                bytes[usize::from(at) % length] ^= with;
            }
            if let Ok(value) = Value::decode(&bytes) {
                prop_assert_eq!(value.encode(), bytes);
            }
        }
    }
}
