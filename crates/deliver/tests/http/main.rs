//! The server on real sockets, with real live windows.

extern crate tidewire_deliver as deliver; // the short name, as everywhere else

mod feed;
mod hostile;
mod live;
mod protocols;
mod support;
