//! The server on real sockets, with real live windows.
#![allow(clippy::unwrap_used)] // a failed expectation is a failed test

extern crate tidewire_deliver as deliver; // the short name, as everywhere else

mod feed;
mod hostile;
mod live;
mod protocols;
mod support;
mod titles;
mod tokens;
