//! `tidewire config`.

use serde_json::json;

use super::args;
use super::output::Output;
use crate::config::{Loaded, Sources, render};
use crate::exit::Exit;

pub(crate) fn run(command: args::Config, sources: &Sources, out: &mut Output) -> Result<(), Exit> {
    match command {
        args::Config::Check(json) => check(sources, json.json, out),
        args::Config::Print { example: true, .. } => out.text(&render::example()),
        args::Config::Print { reference: true, .. } => out.text(&render::reference()),
        args::Config::Print { json, .. } => {
            let loaded = sources.load()?;
            warn(&loaded);
            if json.json {
                out.json(&render::json(&loaded.layers))
            } else {
                out.text(&render::yaml(&loaded.layers))
            }
        }
    }
}

fn check(sources: &Sources, as_json: bool, out: &mut Output) -> Result<(), Exit> {
    let outcome = sources.load();
    if !as_json {
        let loaded = outcome?;
        warn(&loaded);
        let file = loaded.file.map_or_else(
            || "no file, defaults".to_owned(),
            |path| path.display().to_string(),
        );
        return out.line(format!("The configuration is right ({file})."));
    }
    match outcome {
        Ok(loaded) => out.json(&json!({ "ok": true, "problems": [], "warnings": loaded.warnings })),
        Err(error) => {
            let problems: Vec<_> = error
                .0
                .iter()
                .map(|problem| json!({ "at": problem.origin.to_string(), "message": problem.message }))
                .collect();
            out.json(&json!({ "ok": false, "problems": problems, "warnings": [] }))?;
            Err(Exit::silent(2))
        }
    }
}

fn warn(loaded: &Loaded) {
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
}
