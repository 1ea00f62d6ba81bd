//! Signing keys.

use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, PoisonError, RwLock};

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::claims::Claims;

/// Most keys of one ring; what is given beyond them does not verify.
pub const KEYS_MAX: usize = 64;

/// What every seal is made over first, so that no other use of the same secret makes a token.
const LABEL: &[u8] = b"tidewire path token\0";

/// Names a signing key: `sig_` and ten hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct KeyId(pub(crate) [u8; 5]);

impl KeyId {
    /// An id of 40 bits, which should be random.
    pub fn new(bits: [u8; 5]) -> Self {
        Self(bits)
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("sig_")?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for KeyId {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let digits = text.strip_prefix("sig_").ok_or(())?;
        let is_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if digits.len() != 10 || !digits.bytes().all(is_hex) {
            return Err(());
        }
        let number = u64::from_str_radix(digits, 16).map_err(|_| ())?;
        number.to_be_bytes()[3..].try_into().map(Self).map_err(|_| ())
    }
}

/// A key that makes and proves tokens (HMAC-SHA256, RFC 2104). `Debug` hides the secret.
#[derive(Clone)]
pub struct SigningKey {
    id: KeyId,
    /// With the key and the label taken in already.
    begun: Hmac<Sha256>,
}

impl SigningKey {
    /// The key with this secret, which should have 256 random bits.
    pub fn new(id: KeyId, secret: &[u8]) -> Self {
        let mut begun = Hmac::<Sha256>::new_from_slice(secret).expect("HMAC takes a key of any length");
        begun.update(LABEL);
        Self { id, begun }
    }

    /// Its name.
    pub fn id(&self) -> KeyId {
        self.id
    }

    /// The token with these claims. `claims.key_id` must be this key's.
    pub fn sign(&self, claims: &Claims) -> String {
        debug_assert_eq!(claims.key_id, self.id, "a token names the key that sealed it");
        claims.sealed(|payload| self.seal(payload).finalize().into_bytes().into())
    }

    /// Whether `seal` is this key's over `payload`; takes the same time wherever they differ.
    pub(crate) fn proves(&self, payload: &[u8], seal: &[u8]) -> bool {
        self.seal(payload).verify_slice(seal).is_ok()
    }

    fn seal(&self, payload: &[u8]) -> Hmac<Sha256> {
        let mut mac = self.begun.clone();
        mac.update(payload);
        mac
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({}, hidden)", self.id)
    }
}

/// The keys whose tokens are good now. Shared by all who verify.
#[derive(Debug, Default)]
pub struct KeyRing {
    keys: RwLock<Arc<[SigningKey]>>,
}

impl KeyRing {
    /// Takes the place of all keys so far; at most [`KEYS_MAX`], the first ones.
    pub fn replace(&self, mut keys: Vec<SigningKey>) {
        keys.truncate(KEYS_MAX);
        *self.keys.write().unwrap_or_else(PoisonError::into_inner) = keys.into();
    }

    /// Whether tokens of that key are good.
    pub fn holds(&self, id: KeyId) -> bool {
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        keys.iter().any(|key| key.id == id)
    }

    pub(crate) fn find(&self, id: KeyId) -> Option<SigningKey> {
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        keys.iter().find(|key| key.id == id).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_ids_have_one_text() {
        let id = KeyId::new([0, 1, 0xab, 0xff, 9]);
        assert_eq!(id.to_string(), "sig_0001abff09");
        assert_eq!(id.to_string().parse(), Ok(id));
        for text in [
            "sig_",
            "sig_0001ABff09",
            "sig_0001abff0",
            "sig_0001abff090",
            "key_0001abff09",
            "sig_+001abff09",
        ] {
            assert_eq!(text.parse::<KeyId>(), Err(()), "{text}");
        }
    }

    #[test]
    fn secrets_are_not_shown() {
        let key = SigningKey::new(KeyId::new([1; 5]), b"very secret");
        let ring = KeyRing::default();
        ring.replace(vec![key.clone()]);
        assert_eq!(format!("{key:?}"), "SigningKey(sig_0101010101, hidden)");
        assert!(format!("{ring:?}").contains("hidden"));
    }
}
