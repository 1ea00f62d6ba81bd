//! The command line: reading it, and every command but `serve`.

mod args;
mod channel;
mod key;
mod library;
pub(crate) mod output;
mod settings;
mod sign;
mod signing_key;
mod token;

use std::ffi::OsString;
use std::future::Future;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;

use self::args::{Cli, Command, Common, Serve};
use self::output::Output;
use crate::config::{Loaded, Sources};
use crate::exit::Exit;
use crate::{doctor, limits, logging, serve};

/// Reads the command line, runs the command, and says how it ended.
pub(crate) fn run(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are "errors" that go to standard output; a closed pipe is nobody's fault.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    match dispatch(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(exit) => {
            output::complain(&exit);
            ExitCode::from(exit.code())
        }
    }
}

fn dispatch(cli: Cli) -> Result<(), Exit> {
    let mut sources = sources(&cli.common);
    if let Command::Serve(flags) = &cli.command {
        add_serve_flags(&mut sources, flags);
        return start_server(&sources);
    }
    logging::init_command();
    let mut out = Output::stdout();
    match cli.command {
        Command::Serve(_) => unreachable!("handled above"),
        Command::Channel(command) => channel::run(command, &load(&sources)?, &mut out),
        Command::Key(command) => key::run(command, &load(&sources)?, &mut out),
        Command::Token(command) => token::run(command, &load(&sources)?, &mut out),
        Command::Sign(command) => sign::run(command, &load(&sources)?, &mut out),
        Command::SigningKey(command) => signing_key::run(command, &load(&sources)?, &mut out),
        Command::Library(command) => library::run(command, &load(&sources)?, &mut out),
        Command::Config(command) => settings::run(command, &sources, &mut out),
        Command::Doctor(options) => doctor::run(&load(&sources)?, options.quick, options.json.json, &mut out),
    }
}

fn start_server(sources: &Sources) -> Result<(), Exit> {
    let loaded = sources.load()?;
    logging::init(&loaded.config.log);
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
    doctor::require_ports(&loaded.config)?;
    let files = limits::raise_fd_limit();
    tracing::debug!(
        before = files.before,
        current = files.current,
        "limit of open files"
    );
    serve::run(loaded.config)
}

/// Where a command's settings come from.
fn sources(common: &Common) -> Sources {
    let mut sources = Sources {
        file: common.config.clone().filter(|path| path != &PathBuf::new()),
        flags: Vec::new(),
        environment: std::env::vars_os()
            .filter(|(name, _)| name != "TIDEWIRE_CONFIG")
            .collect(),
    };
    if let Some(data_dir) = &common.data_dir {
        sources.flags.push(("data_dir", "--data-dir", data_dir.clone()));
    }
    sources
}

fn add_serve_flags(sources: &mut Sources, flags: &Serve) {
    let given = [
        ("http", "--http", &flags.http),
        ("https", "--https", &flags.https),
        ("rtmp", "--rtmp", &flags.rtmp),
        ("rtmps", "--rtmps", &flags.rtmps),
        ("srt", "--srt", &flags.srt),
    ];
    for (key, flag, text) in given {
        if let Some(text) = text {
            sources.flags.push((key, flag, text.clone()));
        }
    }
}

fn load(sources: &Sources) -> Result<Loaded, Exit> {
    let loaded = sources.load()?;
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
    Ok(loaded)
}

/// Runs a command's work on a small runtime.
pub(crate) fn block_on<T>(work: impl Future<Output = T>) -> Result<T, Exit> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .map_err(|error| Exit::failed(format!("cannot start the runtime: {error}")))?;
    Ok(runtime.block_on(work))
}
