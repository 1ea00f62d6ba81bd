//! Log lines on standard error.

use std::io::{self, IsTerminal};

use tracing_subscriber::EnvFilter;

use crate::config::{LogConfig, LogFormat};

/// Starts logging as configured. A second call changes nothing.
pub(crate) fn init(config: &LogConfig) {
    let filter = EnvFilter::new(&config.level);
    let lines = tracing_subscriber::fmt()
        .with_writer(io::stderr)
        .with_env_filter(filter);
    let _ = match config.format {
        LogFormat::Human => lines
            .with_ansi(io::stderr().is_terminal())
            .with_target(false)
            .try_init(),
        LogFormat::Json => lines.json().flatten_event(true).try_init(),
    };
}

/// Starts logging for a command: warnings and worse.
pub(crate) fn init_command() {
    init(&LogConfig {
        format: LogFormat::Human,
        level: "warn".to_owned(),
    });
}
