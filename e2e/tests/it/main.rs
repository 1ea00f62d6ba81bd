//! Real clients against the real binary. Each test names what a user would see.
//!
//! They run one at a time (`--test-threads=1`): two cores hold one encoder, one ladder and one browser, and latencies
//! are measured. Names that begin with `browser` need Chromium and node.
#![allow(missing_docs, clippy::print_stdout, reason = "a test binary")]

mod browser;
mod cli;
mod failover;
mod faults;
mod hostile;
mod obs;
mod play;
mod sources;

/// A configuration in which a small source gets one transcoded rung below it: little work for a small machine.
pub(crate) const TWO_RUNGS: &str = "streaming:\n  enable_abr: true\n";
/// Packaging only.
pub(crate) const NO_LADDER: &str = "streaming:\n  enable_abr: false\n";

pub(crate) fn setup(config: &str) -> tidewire_e2e::server::Setup {
    tidewire_e2e::server::Setup {
        config: config.into(),
        env: Vec::new(),
    }
}
