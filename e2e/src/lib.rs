//! Shared harness of the end-to-end tests: real clients against the real binary.
//!
//! Nothing of the product's crates is used here, so that a mistake in them cannot hide itself: the HTTP client, the
//! playlist parser, the MP4 reader and the rules are written a second time, from the specifications.
//!
//! - [`server`]: the binary on free loopback ports with a fresh data directory
//! - [`publish`]: FFmpeg as an encoder, with any trouble a test asks for, and a clock that machines can read
//! - [`obs`]: OBS Studio as an encoder, on a virtual screen
//! - [`hls`]: a strict LL-HLS client that keeps the whole history and judges it
//! - [`browser`]: hls.js, dash.js and Shaka in a headless Chromium
//! - [`http`]: a blocking HTTP/1.1 client
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "test tools report on stdout"
)]

pub mod browser;
pub mod hls;
pub mod http;
pub mod obs;
pub mod publish;
pub mod server;
