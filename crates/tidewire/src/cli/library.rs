//! `tidewire library`.

use serde_json::json;
use store::{Catalog, Recording, StoreError};

use super::args;
use super::block_on;
use super::output::{Output, minute};
use crate::config::Loaded;
use crate::doctor::size;
use crate::exit::Exit;

pub(crate) fn run(command: args::Library, loaded: &Loaded, out: &mut Output) -> Result<(), Exit> {
    block_on(async {
        let catalog = Catalog::open(&loaded.config.data_dir).await?;
        match command {
            args::Library::List(json) => {
                let recordings = match &catalog {
                    Some(catalog) => catalog.recordings().await?,
                    None => Vec::new(),
                };
                list(&recordings, json.json, out)
            }
            args::Library::Remove { title, json } => {
                let removed = there(catalog.as_ref(), &title)?.mark_removed(&title).await?;
                if json.json {
                    return out.json(&object(&removed));
                }
                let size = size(removed.bytes);
                out.line(format!(
                    "Title `{title}` ({size}) is removed; the running server frees its room within seconds."
                ))
            }
            args::Library::Pin { title, json } => pin(catalog.as_ref(), &title, true, json.json, out).await,
            args::Library::Unpin { title, json } => {
                pin(catalog.as_ref(), &title, false, json.json, out).await
            }
        }
    })?
}

/// Before the first server has run there is no title.
fn there<'a>(catalog: Option<&'a Catalog>, title: &str) -> Result<&'a Catalog, StoreError> {
    let id = title.to_owned();
    catalog.ok_or(StoreError::TitleNotFound { id })
}

async fn pin(
    catalog: Option<&Catalog>,
    title: &str,
    pinned: bool,
    as_json: bool,
    out: &mut Output,
) -> Result<(), Exit> {
    let changed = there(catalog, title)?.set_pinned(title, pinned).await?;
    if as_json {
        return out.json(&object(&changed));
    }
    out.line(if pinned {
        format!("Title `{title}` stays until it is unpinned or removed.")
    } else {
        format!("Title `{title}` goes when its time has come or its room is needed.")
    })
}

fn list(recordings: &[Recording], as_json: bool, out: &mut Output) -> Result<(), Exit> {
    if as_json {
        return out.json(&recordings.iter().map(object).collect::<Vec<_>>());
    }
    if recordings.is_empty() {
        return out.line("There is no title yet. Streams become titles when they end.");
    }
    let rows: Vec<_> = recordings
        .iter()
        .map(|recording| {
            let state = recording.state.as_str();
            let state = if recording.pinned {
                format!("{state}, pinned")
            } else {
                state.to_owned()
            };
            vec![
                recording.stream_id.clone(),
                recording.channel.clone(),
                minute(recording.started_ms),
                length(recording.duration_ms),
                size(recording.bytes),
                state,
            ]
        })
        .collect();
    out.table(&["TITLE", "CHANNEL", "STARTED", "LENGTH", "SIZE", "STATE"], &rows)
}

/// `1:02:03`.
fn length(duration_ms: i64) -> String {
    let seconds = duration_ms / 1000;
    format!("{}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

fn object(recording: &Recording) -> serde_json::Value {
    json!({
        "id": recording.stream_id, "channel": recording.channel, "channel_id": recording.channel_id,
        "started_at_ms": recording.started_ms, "duration_ms": recording.duration_ms, "bytes": recording.bytes,
        "state": recording.state.as_str(), "pinned": recording.pinned,
        "manifest_cid": recording.manifest.map(|cid| cid.to_string()),
    })
}
