//! Ladders with real FFmpeg processes and with programs that only pretend to be one.

// All of this binary is tests, also its helpers.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

extern crate tidewire_transcode as transcode;

mod audio;
mod faults;
mod ladder;
mod support;
mod tools;
