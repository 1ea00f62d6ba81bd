//! Developer tasks: `cargo xtask demo | test | check | bench | soak | web`.
//!
//! The only entry point a person or CI needs. It installs what is missing (`needs`), builds, and runs; every
//! subcommand lives in the module of its name. No async runtime and few dependencies, so that it builds in seconds on a
//! fresh machine.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command-line tool talks on stdout"
)]

mod bench;
mod check;
mod demo;
mod needs;
mod proc;
mod soak;
mod test;
mod web;

use std::process::ExitCode;

use anyhow::{Result, bail};

const USAGE: &str = "\
cargo xtask COMMAND

  demo  [--no-source] [--http ADDR] [--rtmp ADDR] [--data-dir DIR]
        build, start on loopback, publish a test broadcast, print where to watch and how to use OBS
  test  [--quick] [--dev] [--only STEP]
        the whole test command: needs, web, unit and integration tests, fuzz smoke, end-to-end
  check [NAME...]
        formatting, clippy, docs, dependency direction, licences, budgets, tree rules
  bench live [--streams N,N,..] [--viewers N] [--seconds S] [--no-nginx]
        CPU and memory per publisher and viewer, beside nginx with its RTMP module
  bench browser [--rounds N] [--seconds S] [--switches N] [--height H]
        what a viewer gets in Chromium: first frame, latency glass to glass, stalls, switches by hand
  soak  [--minutes M] [--no-browser]
        a long broadcast with the strict LL-HLS history checker and a browser watching
  web   [--force]
        npm ci when needed, then build the pages into web/dist";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match dispatch(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("\nxtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn dispatch(args: &[String]) -> Result<()> {
    let Some((command, rest)) = args.split_first() else {
        println!("{USAGE}");
        return Ok(());
    };
    std::env::set_current_dir(proc::root())?;
    match command.as_str() {
        "demo" => demo::main(rest),
        "test" => test::main(rest),
        "check" => check::main(rest),
        "bench" => bench::main(rest),
        "soak" => soak::main(rest),
        "web" => web::main(rest),
        "help" | "-h" | "--help" => {
            println!("{USAGE}");
            Ok(())
        }
        other => bail!("unknown command `{other}`\n\n{USAGE}"),
    }
}
