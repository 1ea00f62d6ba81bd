//! The HTTP server: live windows as HLS and DASH to any number of viewers, everything else to a router it is given.
//!
//! [`Cores`] are threads with one single-threaded runtime each; [`Server`] puts a listener on every one of them
//! (SO_REUSEPORT) and serves HTTP/1.1, cleartext HTTP/2 and TLS with the same code. A media request is routed on the
//! borrowed path, answered from a [`package::LiveWindow`] with shared bytes, and held there when what it asks for does
//! not exist yet. Requests are not logged; they are counted in [`HttpStats`], and viewers in [`Viewers`].
//!
//! The way of a request: `server` (accept, limits) -> `connection` (watch over its socket) -> `service` (one request, panic
//! guard, counting) -> `route` -> `media_answer` (hold, validators, ranges) -> `body` (bytes, or a segment as it is made).
//!
//! Titles come from the store: `route` -> `title_answer` -> `body`, which reads an object piece by piece, so that a slow
//! viewer holds a quarter of a megabyte.
//!
//! A path may have a token in front (`/t/TOKEN/live/...`): `grants` proves it once for a connection, and the request goes
//! on as if it had asked for the plain path, as a [`Viewer::Granted`].
//!
//! It does not make media, does not know users (it asks [`Streams`]), and keeps nothing on disk itself.
//!
//! Specs: RFC 9110, 9112, 9113 (HTTP), draft-pantos-hls-rfc8216bis 6.2.5 and appendix B, RFC 9457 (problems).

mod body;
mod conditional;
mod config;
mod connection;
mod cores;
mod grants;
mod headers;
mod hold;
mod media_answer;
mod problem;
mod range;
mod route;
mod server;
mod service;
mod stats;
mod streams;
mod title_answer;
mod tls;
mod viewers;

pub use config::{Limits, ServerConfig, Timing, TlsFiles};
pub use cores::{Cores, Shutdown};
pub use server::{Counters, Server, ServerError};
pub use stats::{Class, ClassSnapshot, CloseReason, Histogram, HttpSnapshot, HttpStats, LATENCY_BOUNDS_US};
pub use streams::{FindingTitle, Streams, Thumbnail, Viewer};
pub use viewers::{SESSION_S, Viewers};
