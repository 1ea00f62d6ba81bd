//! `tidewire serve`.

use crate::config::ValidatedConfig;
use crate::exit::Exit;

/// Runs the server until it is told to stop.
pub(crate) fn run(config: ValidatedConfig) -> Result<(), Exit> {
    Err(Exit::failed(format!(
        "not wired: the server for {} is not built yet",
        config.data_dir.display()
    )))
}
