//! `tidewire key`.

use platform::{KeyInfo, Platform, now_ms};
use serde_json::json;

use super::args;
use super::output::{Output, Tone, minute};
use super::{block_on, channel};
use crate::config::Loaded;
use crate::exit::Exit;

pub(crate) fn run(command: args::Key, loaded: &Loaded, out: &mut Output) -> Result<(), Exit> {
    block_on(async {
        let platform = Platform::open(&loaded.config.data_dir).await?;
        match command {
            args::Key::Add {
                channel: name,
                label,
                expires,
                json,
            } => {
                let key = platform.add_key(&name, &label, expires.map(expiry_ms)).await?;
                let secret = key.stream_key.expose();
                if json.json {
                    let expires_at_ms = key.info.expires_at_ms;
                    return out.json(&json!({
                        "id": key.info.id, "channel": name, "label": key.info.label,
                        "expires_at_ms": expires_at_ms, "stream_key": secret,
                    }));
                }
                let secret = out.tint(Tone::Strong, secret);
                out.line(format!("  Stream key   {secret}"))?;
                out.line("               It is shown this once. The other keys of the channel stay valid.")?;
                if let Some(expiry) = key.info.expires_at_ms {
                    out.line(format!(
                        "               It is refused from {} on.",
                        minute(expiry)
                    ))?;
                }
                out.line("")?;
                channel::obs(out, &loaded.config, &secret)
            }
            args::Key::List { channel, json } => list(&platform, &channel, json.json, out).await,
            args::Key::Sign {
                channel: name,
                ttl,
                json,
            } => {
                let expires_at_ms = expiry_ms(ttl);
                let key = platform.sign_stream_key(&name, expires_at_ms).await?;
                if json.json {
                    return out.json(&json!({
                        "channel": name, "expires_at_ms": expires_at_ms, "stream_key": key.expose(),
                    }));
                }
                let secret = out.tint(Tone::Strong, key.expose());
                out.line(format!("  Stream key   {secret}"))?;
                out.line(format!(
                    "               It opens `{name}` until {}; a broadcast with it ends then.\n",
                    minute(expires_at_ms)
                ))?;
                channel::obs(out, &loaded.config, &secret)
            }
            args::Key::Rotate {
                channel: name,
                key,
                overlap,
                json,
            } => {
                let overlap_ms = i64::try_from(overlap.as_millis()).unwrap_or(i64::MAX);
                let (old, new) = platform.rotate_key(&name, &key, overlap_ms).await?;
                let secret = new.stream_key.expose();
                if json.json {
                    return out.json(&json!({
                        "id": new.info.id, "channel": name, "label": new.info.label,
                        "expires_at_ms": new.info.expires_at_ms, "stream_key": secret, "old": old,
                    }));
                }
                let secret = out.tint(Tone::Strong, secret);
                out.line(format!("  Stream key   {secret}"))?;
                out.line("               It is shown this once.")?;
                let end = old.expires_at_ms.map_or_else(String::new, minute);
                out.line(format!(
                    "               The old key ({}…) is refused from {end} on; a broadcast with it ends then.\n",
                    old.prefix
                ))?;
                channel::obs(out, &loaded.config, &secret)
            }
            args::Key::Revoke { channel, key, json } => {
                let key = platform.revoke_key(&channel, &key).await?;
                if json.json {
                    return out.json(&key);
                }
                out.line(format!(
                    "Key {} ({}…) of `{channel}` is revoked.",
                    key.id, key.prefix
                ))
            }
        }
    })?
}

/// The instant that lies `time` from now.
pub(super) fn expiry_ms(time: std::time::Duration) -> i64 {
    now_ms().saturating_add(i64::try_from(time.as_millis()).unwrap_or(i64::MAX))
}

/// What a credential is worth now.
pub(super) fn state(revoked_at_ms: Option<i64>, expires_at_ms: Option<i64>) -> String {
    match (revoked_at_ms, expires_at_ms) {
        (Some(at), _) => format!("revoked {}", minute(at)),
        (None, Some(expiry)) if expiry <= now_ms() => format!("expired {}", minute(expiry)),
        (None, Some(expiry)) => format!("valid until {}", minute(expiry)),
        (None, None) => "valid".to_owned(),
    }
}

async fn list(platform: &Platform, channel: &str, as_json: bool, out: &mut Output) -> Result<(), Exit> {
    let keys = platform.list_keys(channel).await?;
    if as_json {
        return out.json(&keys);
    }
    if keys.is_empty() {
        return out.line(format!(
            "`{channel}` has no key. `tidewire key add {channel}` makes one."
        ));
    }
    let row = |key: KeyInfo| {
        let used = key.used_at_ms.map_or_else(|| "never".to_owned(), minute);
        let state = state(key.revoked_at_ms, key.expires_at_ms);
        vec![key.id, format!("{}…", key.prefix), state, used, key.label]
    };
    let rows: Vec<Vec<String>> = keys.into_iter().map(row).collect();
    out.table(&["ID", "KEY", "STATE", "LAST USED", "LABEL"], &rows)
}
