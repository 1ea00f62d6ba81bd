//! `tidewire signing-key`.

use platform::{Platform, SigningKeyInfo};

use super::args;
use super::block_on;
use super::output::{Output, minute};
use crate::config::Loaded;
use crate::exit::Exit;

pub(crate) fn run(command: args::SigningKey, loaded: &Loaded, out: &mut Output) -> Result<(), Exit> {
    block_on(async {
        let platform = Platform::open(&loaded.config.data_dir).await?;
        match command {
            args::SigningKey::Rotate(json) => {
                let key = platform.rotate_signing_key().await?;
                if json.json {
                    return out.json(&key);
                }
                out.line(format!("Key {} signs links from now on.", key.id))?;
                out.line("Links that older keys signed stay good until they expire or their key is revoked.")
            }
            args::SigningKey::List(json) => list(&platform, json.json, out).await,
            args::SigningKey::Revoke { id, json } => {
                let key = platform.revoke_signing_key(&id).await?;
                if json.json {
                    return out.json(&key);
                }
                out.line(format!(
                    "Signing key {} is revoked: its links open nothing any more.",
                    key.id
                ))
            }
        }
    })?
}

async fn list(platform: &Platform, as_json: bool, out: &mut Output) -> Result<(), Exit> {
    let keys = platform.list_signing_keys().await?;
    if as_json {
        return out.json(&keys);
    }
    if keys.is_empty() {
        return out.line("There is no signing key yet. `tidewire sign` makes the first.");
    }
    // The newest valid one signs.
    let signs = keys
        .iter()
        .rfind(|key| key.revoked_at_ms.is_none())
        .map(|key| key.id.clone());
    let row = |key: SigningKeyInfo| {
        let state = match key.revoked_at_ms {
            Some(at) => format!("revoked {}", minute(at)),
            None if signs.as_deref() == Some(key.id.as_str()) => "signs".to_owned(),
            None => "opens what it signed".to_owned(),
        };
        vec![key.id, state, minute(key.created_at_ms)]
    };
    let rows: Vec<Vec<String>> = keys.into_iter().map(row).collect();
    out.table(&["ID", "STATE", "MADE"], &rows)
}
