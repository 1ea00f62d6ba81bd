//! The packager from the outside: what it publishes, read as a player reads it.

#![allow(clippy::unwrap_used, reason = "a test helper that fails is a failed test")]

extern crate tidewire_package as package;

mod checker;
mod ffmpeg;
mod playlist;
mod serving;
mod steady;
mod unruly;
mod world;
