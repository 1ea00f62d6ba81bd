//! Ladders with real FFmpeg processes and with programs that only pretend to be one.

extern crate tidewire_transcode as transcode;

mod audio;
mod faults;
mod ladder;
mod support;
mod tools;
