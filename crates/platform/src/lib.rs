//! Channels, stream keys, admin tokens, signing keys, stream records and the events of them all, kept in one SQLite database in
//! the data directory.
//!
//! A shell: it reads files, the clock and the operating system's randomness. It does not know protocols, HTTP or
//! viewers. One task owns the only writing connection and runs every write in `BEGIN IMMEDIATE`; reads go through a
//! small pool. The database is in WAL mode, so commands of a second process work while the server runs, and what
//! they commit is seen by the server's next read.
//!
//! Secrets (stream keys, admin tokens) are 160 random bits, shown once. At rest there is only their HMAC-SHA256 under
//! a server secret that lies beside the database in a file of mode 0600, so neither the database nor a backup of it
//! opens a channel. Signing keys of path tokens are derived from that secret; the database knows only their names.
//!
//! The SQL keeps to the dialect that SQLite and PostgreSQL share: `$N` markers, text ids, `BIGINT` milliseconds,
//! `ON CONFLICT`, JSON as text.

mod channels;
mod credential;
mod error;
mod events;
mod id;
mod keys;
mod scopes;
mod secret;
mod signed_stream_keys;
mod signing_keys;
mod store;
mod streams;
mod tokens;
mod webhooks;

pub use channels::{CHANNEL_NAME_BYTES_MAX, CHANNELS_MAX, Channel, valid_channel_name};
pub use credential::{LABEL_CHARS_MAX, SecretText};
pub use error::{Error, KeyRefusal};
pub use events::{EVENTS_KEPT_MS, EVENTS_MAX, Event, EventFilter, EventType, NewEvent, event_seq};
pub use keys::{ChannelRef, KEYS_PER_CHANNEL_MAX, KeyInfo, NewKey};
pub use scopes::{Scope, Scopes};
pub use signing_keys::{SIGNING_KEYS_MAX, SigningKeyInfo};
pub use store::{BUSY_TIMEOUT, Platform, now_ms};
pub use streams::{STREAM_RECORDS_MAX, SourceFacts, StreamRecord, StreamState};
pub use tokens::{ADMIN_TOKENS_MAX, NewToken, TokenInfo};
pub use webhooks::{
    Attempt, DELIVERIES_MAX, DELIVERY_TRIED_MS, Delivery, Due, PENDING_MAX, WEBHOOK_FAILS_MS, WEBHOOKS_MAX,
    Webhook, WebhookChange,
};

#[cfg(test)]
mod tests;
