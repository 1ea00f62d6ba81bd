//! RTMP as a pure session machine: bytes in, bytes and events out, no socket and no clock.
//!
//! [`ServerSession`] takes the bytes of one connection and yields what a publisher says; [`ClientSession`] is the
//! publishing side. Neither looks into the media: audio and video messages come out as FLV tag bodies, which
//! `container::flv` reads. Playing over RTMP is refused in words.
//!
//! # The loop
//!
//! 1. Give one input: [`ServerSession::handle_input`], [`ServerSession::handle_timeout`],
//!    [`ServerSession::accept_publish`], ...
//! 2. Drain [`ServerSession::poll_output`] until it gives `None`.
//! 3. Sleep until more bytes come or [`ServerSession::poll_timeout`] is reached, whichever is first.
//!
//! An `Err` ends the session: drain the output (it may hold a last word to the peer), then close.
//!
//! # Memory
//!
//! The caller owns the read buffer. The session takes from its front what it can use and leaves the start of an
//! unfinished unit in place, at most [`Limits::contiguous_bytes_max`] bytes and a header. A message that lies in one
//! chunk is a slice of that buffer; a message over several chunks is gathered into one buffer of its exact size.
//! Bounds are in [`Limits`].
//!
//! # Specifications
//!
//! Adobe's Real Time Messaging Protocol Specification 1.0 (2012); Action Message Format AMF 0 (2007) and AMF 3 (2013);
//! the digest handshake as Flash Player 9 and later speak it (never published by Adobe). Enhanced RTMP v2: capabilities
//! are exchanged in `connect` ([`Offer`], [`Capabilities`]), and who understands it is asked to reconnect.

pub mod amf;
pub mod chunk;
mod client;
mod enhanced;
mod error;
mod handshake;
mod limits;
pub mod message;
mod server;
mod unwrap;

pub use client::{ClientConfig, ClientEvent, ClientOutput, ClientSession};
pub use enhanced::{Capabilities, Offer, caps_ex};
pub use error::{Error, ErrorReason};
pub use handshake::HandshakeKind;
pub use limits::Limits;
pub use server::{ConnectInfo, Event, Output, PublishRequest, ServerSession, ServerStats};
pub use unwrap::TimestampUnwrapper;
