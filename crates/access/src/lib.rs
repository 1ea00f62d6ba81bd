//! Who may watch what: path tokens, the keys that seal them, and what they open.
//!
//! A path token stands in front of a path, `/t/TOKEN/live/stage/master.m3u8`, and opens what lies in its [`Scope`] until
//! it expires. [`SigningKey::sign`] makes one out of [`Claims`]; a [`Grant`] is one whose seal was found right, and
//! [`Grant::check`] says whether it opens a [`Resource`] for an address at a time. [`resource`] says which media a page, an API
//! path or a media path shows, so that one token opens a channel's page with all that the page asks for.
//!
//! Pure: the time and the address are arguments, the keys are given ([`KeyRing`]). It stores nothing and knows neither
//! channels nor HTTP.
//!
//! Specs: RFC 2104 (HMAC), RFC 4648 section 5 (base64url), RFC 4632 (CIDR).

mod claims;
mod explain;
mod grant;
mod key;
mod network;
mod scope;

pub use claims::{Claims, TOKEN_BYTES_MAX};
pub use explain::{Explanation, Finding};
pub use grant::{Ask, Grant, Refusal};
pub use key::{KEYS_MAX, KeyId, KeyRing, SigningKey};
pub use network::{Network, NetworkError};
pub use scope::{Resource, SCOPE_BYTES_MAX, Scope, ScopeError, resource};
