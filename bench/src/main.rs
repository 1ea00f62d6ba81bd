//! Load generators for live servers: RTMP publishers, LL-HLS viewers, hot GETs, and the suite that compares servers.
//!
//! It knows no server's inside: everything goes by URL, and a server's cost is read from `/proc` by process id. Everything
//! runs on one thread, so that `taskset` can give the load one core and the server another.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command-line tool talks on stdout"
)]

mod args;
mod clock;
mod flv;
mod get;
mod http;
mod playlist;
mod publish;
mod report;
mod rtmp;
mod servers;
mod suite;
mod usage;
mod view;

use std::process::ExitCode;

use anyhow::{Result, bail};

use crate::args::Args;

const USAGE: &str = "\
tidewire-bench COMMAND

  publish --url rtmp://HOST:PORT/APP/NAME{n} --count N [--seconds S] [--flv FILE] [--pid PID,PID]
          N paced publishers of one FLV file; {n} is 0..N. --keys FILE gives one stream name a line instead
  view    --url http://HOST:PORT/live/NAME{n}/master.m3u8 --count N [--channels C] [--seconds S] [--pid PID,PID]
          N LL-HLS viewers: blocking reload and hinted parts of video and audio
  get     --url http://HOST:PORT/PATH [--connections C] [--seconds S] [--pid PID,PID]
          one object as fast as C kept connections can ask for it
  live    [--streams N,N,..] [--viewers N,N,..] [--seconds S] [--no-nginx] [--server-core A] [--load-core B]
          the whole suite: starts the servers itself (TIDEWIRE_BIN, NGINX_BIN, NGINX_RTMP_MODULE)";

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let result = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Into::into)
        .and_then(|runtime| runtime.block_on(dispatch(&words)));
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("tidewire-bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn dispatch(words: &[String]) -> Result<()> {
    let Some((command, rest)) = words.split_first() else {
        println!("{USAGE}");
        return Ok(());
    };
    let mut args = Args::parse(rest)?;
    usage::raise_file_limit();
    match command.as_str() {
        "publish" => publish::main(&mut args).await,
        "view" => view::main(&mut args).await,
        "get" => get::main(&mut args).await,
        "live" => suite::main(&mut args).await,
        other => bail!("unknown command `{other}`\n\n{USAGE}"),
    }
}
