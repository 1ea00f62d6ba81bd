//! `tidewire doctor`: looks at the machine and says what to do.

mod files;
mod media_tools;
mod ports;
mod system;

pub(crate) use files::size;
pub(crate) use ports::require as require_ports;

use serde::Serialize;
use serde_json::json;

use crate::cli::output::{Output, Tone};
use crate::config::Loaded;
use crate::exit::Exit;

/// How a check came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Status {
    Ok,
    /// It works, with less than it could.
    Warn,
    /// The server does not start, or nobody can watch.
    Fail,
}

/// One thing looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Check {
    /// Stable word: `ffmpeg`, `port.http`.
    pub(crate) name: String,
    pub(crate) status: Status,
    /// What was found.
    pub(crate) found: String,
    /// What to do, when there is something to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) advice: Option<String>,
}

impl Check {
    pub(crate) fn ok(name: &str, found: impl Into<String>) -> Self {
        Self {
            name: name.to_owned(),
            status: Status::Ok,
            found: found.into(),
            advice: None,
        }
    }

    pub(crate) fn warn(name: &str, found: impl Into<String>, advice: impl Into<String>) -> Self {
        Self {
            name: name.to_owned(),
            status: Status::Warn,
            found: found.into(),
            advice: Some(advice.into()),
        }
    }

    pub(crate) fn fail(name: &str, found: impl Into<String>, advice: impl Into<String>) -> Self {
        Self {
            name: name.to_owned(),
            status: Status::Fail,
            found: found.into(),
            advice: Some(advice.into()),
        }
    }
}

/// Runs all checks and prints them. Exit code 1 if one failed.
pub(crate) fn run(loaded: &Loaded, quick: bool, as_json: bool, out: &mut Output) -> Result<(), Exit> {
    let mut checks = Vec::new();
    let mut shown = |new: Vec<Check>, out: &mut Output| -> Result<(), Exit> {
        for check in &new {
            if !as_json {
                print(check, out)?;
            }
        }
        checks.extend(new);
        Ok(())
    };
    let config = &loaded.config;
    shown(vec![settings(loaded)], out)?;
    shown(files::check(config), out)?;
    shown(ports::check(config), out)?;
    shown(system::check(config), out)?;
    // Last, because the test encodes take seconds.
    shown(media_tools::check(config, quick), out)?;
    let count = |status| checks.iter().filter(|check| check.status == status).count();
    let (warnings, failures) = (count(Status::Warn), count(Status::Fail));
    if as_json {
        out.json(&json!({ "ok": failures == 0, "checks": checks }))?;
    } else {
        let summary = match (failures, warnings) {
            (0, 0) => "All is well.".to_owned(),
            (0, warnings) => format!("It will work; {warnings} to look at."),
            (failures, _) => format!("{failures} must be put right first."),
        };
        out.line(format!("\n{summary}"))?;
    }
    if failures > 0 {
        Err(Exit::silent(1))
    } else {
        Ok(())
    }
}

fn settings(loaded: &Loaded) -> Check {
    let file = loaded.file.as_ref().map_or_else(
        || "no file, defaults".to_owned(),
        |path| path.display().to_string(),
    );
    if loaded.warnings.is_empty() {
        return Check::ok("config", file);
    }
    Check::warn("config", file, loaded.warnings.join("; "))
}

fn print(check: &Check, out: &mut Output) -> Result<(), Exit> {
    let (mark, tone) = match check.status {
        Status::Ok => (" ok ", Tone::Good),
        Status::Warn => ("warn", Tone::Warning),
        Status::Fail => ("fail", Tone::Bad),
    };
    let mark = out.tint(tone, mark);
    out.line(format!("{mark}  {:<12} {}", check.name, check.found))?;
    match &check.advice {
        Some(advice) => {
            let advice = out.tint(Tone::Faint, &format!("-> {advice}"));
            out.line(format!("      {:<12} {advice}", ""))
        }
        None => Ok(()),
    }
}
