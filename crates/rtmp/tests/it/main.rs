//! Behaviour of whole sessions and of the chunk stream, seen from outside.

#![allow(clippy::unwrap_used, reason = "in tests it is the assertion")]

// The short name that every other crate knows it by.
extern crate tidewire_rtmp as rtmp;

mod amf;
mod chunk;
mod hostile;
mod pair;
mod session;
mod support;
