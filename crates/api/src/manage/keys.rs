//! Stream keys.

use http::{Method, StatusCode};
use platform::Scope;

use super::views::{Key, KeyMade, List, NewKey, Rotation, expiry_ms};
use crate::operation::{Call, Operation, operation};
use crate::problem::{self, Problem};

const KEYS: &str = "/api/v1/manage/channels/{name}/keys";

/// Longest overlap of two keys, seconds: 30 days.
const OVERLAP_S_MAX: i64 = 30 * 86_400;

pub(super) fn operations() -> Vec<Operation> {
    vec![
        operation(
            Method::GET,
            KEYS,
            "listKeys",
            "List the stream keys of a channel, oldest first",
        )
        .scope(Scope::Read)
        .paged()
        .refuses(&[problem::CHANNEL_NOT_FOUND])
        .json(StatusCode::OK, list),
        operation(
            Method::POST,
            KEYS,
            "createKey",
            "Make another stream key; the others stay valid",
        )
        .scope(Scope::Publish)
        .once()
        .refuses(&[
            problem::CHANNEL_NOT_FOUND,
            problem::LABEL_INVALID,
            problem::EXPIRY_PAST,
            problem::LIMIT_REACHED,
        ])
        .takes_json(StatusCode::CREATED, create),
        operation(
            Method::DELETE,
            "/api/v1/manage/channels/{name}/keys/{id}",
            "revokeKey",
            "Revoke a stream key; what it has opened ends",
        )
        .scope(Scope::Publish)
        .refuses(&[problem::CHANNEL_NOT_FOUND, problem::KEY_NOT_FOUND])
        .empty(StatusCode::NO_CONTENT, revoke),
        operation(
            Method::POST,
            "/api/v1/manage/channels/{name}/keys/{id}/rotate",
            "rotateKey",
            "Make a key that takes the place of this one, which is refused when the overlap is over",
        )
        .scope(Scope::Publish)
        .once()
        .refuses(&[
            problem::CHANNEL_NOT_FOUND,
            problem::KEY_NOT_FOUND,
            problem::KEY_OVER,
            problem::LIMIT_REACHED,
        ])
        .takes_json(StatusCode::CREATED, rotate),
    ]
}

async fn list(call: Call) -> Result<List<Key>, Problem> {
    let limit = call.limit()?;
    let all = call.managed().platform.list_keys(call.part("name")).await?;
    let page = List::page_of_all(all, call.query("after"), limit, |key| key.id.clone());
    Ok(page.map(Key::from))
}

async fn create(call: Call, new: NewKey) -> Result<KeyMade, Problem> {
    let expires_at_ms = expiry_ms(new.expires_at.as_deref())?;
    let platform = &call.managed().platform;
    let key = platform.add_key(call.part("name"), &new.label, expires_at_ms);
    Ok(key.await?.into())
}

async fn revoke(call: Call) -> Result<(), Problem> {
    let (channel, key) = (call.part("name"), call.part("id"));
    // The command line takes prefixes and whole keys, which have no place in a URL.
    if !key.starts_with("key_") {
        return Err(problem::KEY_NOT_FOUND.into());
    }
    call.managed().platform.revoke_key(channel, key).await?;
    Ok(())
}

async fn rotate(call: Call, rotation: Rotation) -> Result<KeyMade, Problem> {
    if !(0..=OVERLAP_S_MAX).contains(&rotation.overlap_s) {
        let detail = format!("`overlap_s` is a number of seconds from 0 to {OVERLAP_S_MAX}.");
        return Err(Problem::said(problem::BODY_INVALID, detail));
    }
    let (channel, key) = (call.part("name"), call.part("id"));
    let platform = &call.managed().platform;
    let (_, made) = platform
        .rotate_key(channel, key, rotation.overlap_s * 1000)
        .await?;
    Ok(made.into())
}
