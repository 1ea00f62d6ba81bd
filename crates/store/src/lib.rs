//! Objects by what they are, the recordings and titles that refer to them, and how long they stay.
//!
//! An object is immutable bytes with a name, the SHA-256 of the bytes as served ([`Cid`]). [`Store`] keeps objects as files,
//! whole or not there, under a hard byte budget; an SQLite index beside them says what refers to which. A recording is a
//! growing list of objects. Sealed, it is a title: a manifest (DAG-CBOR, itself objects) over what is there already, so that
//! nothing is copied, and playable at once ([`StoredTitle`]). [`Catalog`] is the index alone, for commands.
//!
//! The order that makes a crash harmless: an object is whole before it has its name, has its name before a row speaks of it,
//! and loses its row before its file. What is left over at any other moment is found and removed by [`Store::open`].
//!
//! It does not make media, knows no protocol and no viewer. A shell: files are touched on a bounded number of blocking
//! threads, never on the caller's.
//!
//! Specs: multiformats CID, IPLD DAG-CBOR, RFC 8949 (CBOR), RFC 4648 (base32).

mod catalog;
mod cid;
mod dag;
mod error;
mod index;
mod manifest;
mod objects;
mod recording;
mod store;
mod title;

#[cfg(test)]
mod tests;

pub use catalog::Catalog;
pub use cid::{CID_BYTES, Cid, Codec, InvalidCid};
pub use dag::{DagError, Key, VALUES_MAX, Value};
pub use error::{ManifestFault, StoreError};
pub use manifest::{LIST_SEGMENTS, ObjectRef, RenditionObjects, Sealed, decode, encode};
pub use objects::{Fsync, StoreLimits};
pub use recording::{Batch, NewRecording, Recording, RecordingState, RenditionFacts};
pub use store::{ObjectReader, STORE_DIR, Store, StoreFigures};
pub use title::{StoredTitle, TitleText};
