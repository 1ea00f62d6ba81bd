//! Names of objects: CIDs, version 1, over SHA-256 (multiformats CID specification).

use std::fmt;
use std::str::FromStr;

use sha2::{Digest as _, Sha256};

/// CID version.
const VERSION: u8 = 1;
/// Multihash code and length of SHA-256.
const SHA2_256: [u8; 2] = [0x12, 32];
/// Bytes of a CID in binary: version, codec, multihash code, length, digest.
pub const CID_BYTES: usize = 36;
/// RFC 4648 6, lower case, without padding: multibase `b`.
const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
/// Characters of a CID in text: `b` and 288 bits, five a character.
const TEXT_BYTES: usize = 1 + (CID_BYTES * 8).div_ceil(5);

/// What an object's bytes are (multicodec).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Codec {
    /// Bytes as served: an init or a media segment.
    Raw,
    /// A node of a manifest.
    DagCbor,
}

impl Codec {
    const fn code(self) -> u8 {
        match self {
            Self::Raw => 0x55,
            Self::DagCbor => 0x71,
        }
    }
}

/// The name of an object: what it is, and the SHA-256 of its bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Cid {
    codec: Codec,
    digest: [u8; 32],
}

/// A text or bytes that are no CID as we write them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this is no CID of version 1 over SHA-256 in base32, which begins with `bafk` or `bafy`")]
pub struct InvalidCid;

impl Cid {
    /// The name of these bytes.
    pub fn of(codec: Codec, bytes: &[u8]) -> Self {
        Self::of_parts(codec, [bytes])
    }

    /// The name of bytes that lie in several pieces.
    pub fn of_parts<'a>(codec: Codec, parts: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let mut hasher = Sha256::new();
        for part in parts {
            hasher.update(part);
        }
        Self {
            codec,
            digest: hasher.finalize().into(),
        }
    }

    /// The name of an object whose digest is known.
    pub fn from_digest(codec: Codec, digest: [u8; 32]) -> Self {
        Self { codec, digest }
    }

    /// What the object is.
    pub fn codec(&self) -> Codec {
        self.codec
    }

    /// SHA-256 of the bytes.
    pub fn digest(&self) -> &[u8; 32] {
        &self.digest
    }

    /// The binary form.
    pub fn to_bytes(self) -> [u8; CID_BYTES] {
        let mut bytes = [0; CID_BYTES];
        bytes[..4].copy_from_slice(&[VERSION, self.codec.code(), SHA2_256[0], SHA2_256[1]]);
        bytes[4..].copy_from_slice(&self.digest);
        bytes
    }

    /// Reads the binary form.
    ///
    /// # Errors
    /// Another length, version, codec or hash.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, InvalidCid> {
        let (head, digest) = bytes.split_at_checked(4).ok_or(InvalidCid)?;
        let codec = [Codec::Raw, Codec::DagCbor]
            .into_iter()
            .find(|codec| head == [VERSION, codec.code(), SHA2_256[0], SHA2_256[1]])
            .ok_or(InvalidCid)?;
        let digest = digest.try_into().map_err(|_| InvalidCid)?;
        Ok(Self { codec, digest })
    }

    /// The digest in hexadecimal, as `sha256sum` prints it; names the file.
    pub(crate) fn hex(&self) -> String {
        self.digest.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

impl fmt::Display for Cid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::with_capacity(TEXT_BYTES);
        text.push('b');
        let (mut pending, mut bits) = (0_u32, 0_u32);
        for byte in self.to_bytes() {
            pending = (pending << 8) | u32::from(byte);
            bits += 8;
            while bits >= 5 {
                bits -= 5;
                text.push(char::from(ALPHABET[(pending >> bits) as usize & 31]));
            }
            pending &= (1 << bits) - 1;
        }
        if bits > 0 {
            text.push(char::from(ALPHABET[(pending << (5 - bits)) as usize & 31]));
        }
        f.write_str(&text)
    }
}

impl fmt::Debug for Cid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl FromStr for Cid {
    type Err = InvalidCid;

    fn from_str(text: &str) -> Result<Self, InvalidCid> {
        let characters = text.strip_prefix('b').filter(|_| text.len() == TEXT_BYTES);
        let mut bytes = Vec::with_capacity(CID_BYTES);
        let (mut pending, mut bits) = (0_u32, 0_u32);
        for character in characters.ok_or(InvalidCid)?.bytes() {
            let value = ALPHABET.iter().position(|known| *known == character);
            pending = (pending << 5) | value.ok_or(InvalidCid)? as u32;
            bits += 5;
            if bits >= 8 {
                bits -= 8;
                bytes.push((pending >> bits) as u8);
                pending &= (1 << bits) - 1;
            }
        }
        // One object has one name: what is left over must be zero.
        if pending == 0 {
            Self::from_bytes(&bytes)
        } else {
            Err(InvalidCid)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_names() {
        // As `ipfs add --cid-version=1 --raw-leaves` and `ipfs dag put` name them.
        let raw = Cid::of(Codec::Raw, b"hello world\n");
        assert_eq!(
            raw.to_string(),
            "bafkreifjjcie6lypi6ny7amxnfftagclbuxndqonfipmb64f2km2devei4"
        );
        let empty_map = Cid::of(Codec::DagCbor, &[0xa0]);
        assert_eq!(
            empty_map.to_string(),
            "bafyreigbtj4x7ip5legnfznufuopl4sg4knzc2cof6duas4b3q2fy6swua"
        );
        assert_eq!(Cid::of_parts(Codec::Raw, [&b"hello "[..], b"world\n"]), raw);
        assert_eq!(
            raw.hex(),
            "a948904f2f0f479b8f8197694b30184b0d2ed1c1cd2a1ec0fb85d299a192a447"
        );
    }

    #[test]
    fn text_and_bytes_come_back_and_nothing_else_is_taken() {
        for codec in [Codec::Raw, Codec::DagCbor] {
            let cid = Cid::of(codec, b"x");
            assert_eq!(cid.to_string().parse(), Ok(cid));
            assert_eq!(Cid::from_bytes(&cid.to_bytes()), Ok(cid));
        }
        let text = Cid::of(Codec::Raw, b"x").to_string();
        let mut changed = text.clone();
        changed.pop();
        let last = format!("{changed}7");
        for wrong in [
            "",
            "b",
            &changed,
            &last,
            &text.to_uppercase(),
            &format!("z{}", &text[1..]),
        ] {
            assert_eq!(wrong.parse::<Cid>(), Err(InvalidCid), "{wrong}");
        }
        assert_eq!(Cid::from_bytes(&[1, 0x70, 0x12, 32]), Err(InvalidCid));
    }
}
