//! The Tidewire binary: command line, configuration, and the wiring of all rooms.
//!
//! `cli` reads the command line and runs every command but `serve`; `config` turns flags, environment, file and
//! defaults into one validated value; `doctor` looks at the machine; `serve` builds the server from the validated
//! configuration. Exit codes: 0 done, 1 failed, 2 the command line, the configuration or the machine must be changed
//! before it can work.

mod cli;
mod config;
mod directory;
mod doctor;
mod encoders;
mod exit;
mod figures;
mod gate;
mod happenings;
mod limits;
mod logging;
mod management;
mod metrics;
mod recordings;
mod records;
mod serve;
mod videos;

/// Parts and samples of all sizes come and go on every core.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    cli::run(std::env::args_os())
}
