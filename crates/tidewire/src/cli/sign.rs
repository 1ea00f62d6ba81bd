//! `tidewire sign`.

use access::{Claims, Scope};
use platform::{Platform, now_ms};
use serde_json::json;

use super::args::{self, When};
use super::output::{Output, Tone, minute};
use super::{block_on, channel};
use crate::config::Loaded;
use crate::exit::Exit;

pub(crate) fn run(command: args::Sign, loaded: &Loaded, out: &mut Output) -> Result<(), Exit> {
    let scope = Scope::of_link(&command.path).map_err(|error| Exit::start(error.to_string()))?;
    block_on(async {
        let platform = Platform::open(&loaded.config.data_dir).await?;
        if let Some(channel) = scope.channel() {
            // A typing error would make a link that opens nothing.
            platform.channel(channel).await?;
        }
        let key = platform.current_signing_key().await?;
        let not_before_ms = command.not_before.map(|when| match when {
            When::At(ms) => ms,
            When::In(time) => now_ms().saturating_add(millis(time)),
        });
        let expires_at_ms = not_before_ms
            .unwrap_or_else(now_ms)
            .saturating_add(millis(command.ttl));
        if expires_at_ms <= now_ms() {
            return Err(platform::Error::ExpiryPast.into());
        }
        let claims = Claims {
            key_id: key.id(),
            // A started second counts: a link never ends before its time, nor begins before it.
            expires_at_s: seconds(expires_at_ms + 999),
            not_before_s: not_before_ms.map(|ms| seconds(ms + 999)),
            network: command.ip,
            scope,
        };
        let token = key.sign(&claims);
        print(&command, loaded, &claims, &token, out)
    })?
}

fn print(
    command: &args::Sign,
    loaded: &Loaded,
    claims: &Claims,
    token: &str,
    out: &mut Output,
) -> Result<(), Exit> {
    let path = format!("/t/{token}{}", command.path);
    let url = channel::page_base(&loaded.config).map(|base| format!("{base}{path}"));
    let expires_at_ms = claims.expires_at_s.saturating_mul(1000);
    let not_before_ms = claims.not_before_s.map(|seconds| seconds.saturating_mul(1000));
    if command.json.json {
        return out.json(&json!({
            "path": path, "url": url, "token": token, "opens": claims.scope.as_str(),
            "expires_at_ms": expires_at_ms, "not_before_ms": not_before_ms,
            "ip": claims.network.map(|network| network.to_string()), "key_id": claims.key_id.to_string(),
        }));
    }
    out.line(out.tint(Tone::Strong, url.as_deref().unwrap_or(&path)))?;
    let date = |ms: u64| minute(i64::try_from(ms).unwrap_or(i64::MAX));
    let from = not_before_ms.map_or_else(String::new, |ms| format!("from {} ", date(ms)));
    let only = claims
        .network
        .map_or_else(String::new, |network| format!(", for {network} only"));
    out.line(format!(
        "  Opens {} {from}until {}{only}.",
        claims.scope,
        date(expires_at_ms)
    ))?;
    out.line(format!(
        "  Whoever has it may watch. `tidewire signing-key revoke {}` takes back all links of that key.",
        claims.key_id
    ))
}

fn millis(time: std::time::Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}

/// Whole seconds; before 1970 there is no time.
fn seconds(ms: i64) -> u64 {
    u64::try_from(ms / 1000).unwrap_or(0)
}
