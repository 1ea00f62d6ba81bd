//! `tidewire token`.

use std::sync::Arc;

use access::KeyRing;
use api::TokenReport;
use platform::{Platform, Scopes};
use serde_json::json;

use super::args::{self, AdminAction, NewToken};
use super::block_on;
use super::key::{expiry_ms, state};
use super::output::{Output, Tone, minute};
use crate::config::Loaded;
use crate::exit::Exit;

pub(crate) fn run(command: args::Token, loaded: &Loaded, out: &mut Output) -> Result<(), Exit> {
    block_on(async {
        let platform = Platform::open(&loaded.config.data_dir).await?;
        let (action, new) = match command {
            args::Token::Admin { action, new } => (action, new),
            args::Token::Verify {
                token,
                path,
                ip,
                json,
            } => {
                let keys = Arc::new(KeyRing::default());
                keys.replace(platform.signing_keys().await?);
                return verify(
                    &TokenReport::of(&token, path.as_deref(), ip, &keys),
                    json.json,
                    out,
                );
            }
        };
        match action {
            None => create(&platform, new, out).await,
            Some(AdminAction::List(json)) => list(&platform, json.json, out).await,
            Some(AdminAction::Revoke { id, json }) => {
                platform.revoke_admin_token(&id).await?;
                if json.json {
                    return out.json(&json!({ "id": id, "revoked": true }));
                }
                out.line(format!("Admin token {id} is revoked."))
            }
        }
    })?
}

fn verify(report: &TokenReport, as_json: bool, out: &mut Output) -> Result<(), Exit> {
    if as_json {
        out.json(report)?;
    } else {
        if let Some(token) = &report.token {
            let from = token
                .not_before
                .as_ref()
                .map_or_else(String::new, |date| format!("from {date} "));
            let only = token
                .ip
                .as_ref()
                .map_or_else(String::new, |network| format!(", for {network} only"));
            out.line(format!(
                "Opens {} {from}until {}{only}; signed by {}.",
                token.opens, token.expires_at, token.key_id
            ))?;
        }
        for claim in &report.claims {
            let verdict = match claim.ok {
                true => out.tint(Tone::Good, "ok  "),
                false => out.tint(Tone::Bad, "fail"),
            };
            let detail = claim.detail.as_deref().unwrap_or_default();
            out.line(format!("{verdict}  {:<10}  {detail}", claim.claim).trim_end())?;
        }
    }
    if report.valid {
        Ok(())
    } else {
        Err(Exit::silent(1))
    }
}

async fn create(platform: &Platform, new: NewToken, out: &mut Output) -> Result<(), Exit> {
    let scopes = match new.scopes[..] {
        [] => Scopes::ALL,
        _ => new.scopes.into_iter().collect(),
    };
    let made = platform
        .create_admin_token(&new.label, scopes, new.expires.map(expiry_ms))
        .await?;
    let secret = made.token.expose();
    if new.json.json {
        let (info, expires_at_ms) = (&made.info, made.info.expires_at_ms);
        return out.json(&json!({
            "id": info.id, "label": info.label, "scopes": info.scopes, "expires_at_ms": expires_at_ms, "token": secret,
        }));
    }
    let secret = out.tint(Tone::Strong, secret);
    out.line(format!("  Admin token  {secret}"))?;
    let may = if made.info.scopes == Scopes::ALL {
        "everything".to_owned()
    } else {
        format!("`{}`", made.info.scopes)
    };
    out.line(format!(
        "               It is shown this once and may do {may}: keep it like a password."
    ))?;
    out.line("               Send it as `Authorization: Bearer TOKEN`.")
}

async fn list(platform: &Platform, as_json: bool, out: &mut Output) -> Result<(), Exit> {
    let tokens = platform.list_admin_tokens().await?;
    if as_json {
        return out.json(&tokens);
    }
    if tokens.is_empty() {
        return out.line("There is no admin token. `tidewire token admin` makes one.");
    }
    let rows: Vec<Vec<String>> = tokens
        .into_iter()
        .map(|token| {
            let state = state(token.revoked_at_ms, token.expires_at_ms);
            vec![
                token.id,
                format!("{}…", token.prefix),
                state,
                token.scopes.to_string(),
                minute(token.created_at_ms),
                token.label,
            ]
        })
        .collect();
    out.table(&["ID", "TOKEN", "STATE", "SCOPES", "MADE", "LABEL"], &rows)
}
