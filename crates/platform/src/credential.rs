//! What stream keys and admin tokens have in common: 160 random bits, shown once.

use std::fmt;

use crate::error::Error;
use crate::id;

/// Longest label of a key or token, in characters.
pub const LABEL_CHARS_MAX: usize = 100;

/// Characters of the random part: 160 bits in base 32.
const RANDOM_CHARS: usize = 32;

/// Characters of the random part that are kept in the clear, so that a person can tell keys apart.
const SHOWN_CHARS: usize = 4;

/// A secret to be shown once. `Debug` hides it.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretText(String);

impl SecretText {
    /// The secret itself.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// A secret that was made elsewhere.
    pub(crate) fn new(text: String) -> Self {
        Self(text)
    }

    /// `PREFIX` and 160 random bits.
    pub(crate) fn generate(prefix: &str) -> Result<Self, Error> {
        Ok(Self(format!("{prefix}{}", id::base32(&id::random::<20>()?))))
    }

    /// The beginning that may be stored and shown.
    pub(crate) fn display_prefix(&self, prefix: &str) -> String {
        self.0[..prefix.len() + SHOWN_CHARS].to_owned()
    }
}

impl fmt::Debug for SecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretText(hidden)")
    }
}

/// Whether `text` is `prefix` and 32 characters of base 32.
pub(crate) fn well_formed(text: &str, prefix: &str) -> bool {
    text.strip_prefix(prefix)
        .is_some_and(|rest| rest.len() == RANDOM_CHARS && id::is_base32(rest))
}

/// Refuses labels that would spoil a table, and expiries that are over.
pub(crate) fn check(label: &str, expires_at_ms: Option<i64>, now_ms: i64) -> Result<(), Error> {
    if label.chars().count() > LABEL_CHARS_MAX || label.chars().any(char::is_control) {
        return Err(Error::InvalidLabel);
    }
    if expires_at_ms.is_some_and(|expiry| expiry <= now_ms) {
        return Err(Error::ExpiryPast);
    }
    Ok(())
}
