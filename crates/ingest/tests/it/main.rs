//! Real clients and hostile ones against a real listener on loopback.

#![allow(clippy::unwrap_used, reason = "in tests it is the assertion")]

// The short name that every other crate knows it by.
extern crate tidewire_ingest as ingest;

mod enhanced;
mod ffmpeg;
mod refusals;
mod rtmps;
mod support;
