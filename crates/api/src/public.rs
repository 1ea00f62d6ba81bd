//! What everybody may read.

use std::sync::Arc;
use std::time::SystemTime;

use access::{Grant, Resource};
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::{Method, StatusCode, header};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Serialize;

use crate::operation::{Call, Operation, SchemaOf, operation, query};
use crate::problem::{self, Problem};
use crate::time::rfc3339_utc;
use crate::tokens::{self, Question, TokenReport};
use crate::view::ChannelView;

pub(crate) fn operations() -> Vec<Operation> {
    vec![
        operation(Method::GET, "/api/v1/channels", "listChannels", "List the public channels")
            .json(StatusCode::OK, channels),
        operation(Method::GET, "/api/v1/channels/{name}", "getChannel", "Show a public channel")
            .refuses(&[problem::CHANNEL_NOT_FOUND])
            .json(StatusCode::OK, channel),
        operation(
            Method::GET,
            "/api/v1/live",
            "followChannels",
            "The public channels as server-sent events: first `snapshot` with an array, then `channel` with one object \
             whenever it changes and `removed` with its name",
        )
        .parameter(query("channel", "Only the channel of this name."))
        .refuses(&[problem::TOO_MANY_EVENT_STREAMS])
        .raw(StatusCode::OK, vec![("text/event-stream", None)], live),
        operation(Method::GET, "/api/v1/time", "getTime", "The server's time, for players")
            .raw(StatusCode::OK, vec![("text/plain", None)], utc_time),
        operation(
            Method::POST,
            "/api/v1/tokens/verify",
            "verifyPathToken",
            "Why a path token opens something, or why not, claim by claim",
        )
        .takes_json(StatusCode::OK, verify_token),
        operation(Method::GET, "/api/v1/openapi.json", "getDocument", "This document")
            .raw(StatusCode::OK, vec![("application/json", Some(any_object as SchemaOf))], document),
    ]
}

fn any_object(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "object" })
}

/// All public channels.
#[derive(Debug, Serialize, JsonSchema)]
struct Channels {
    /// In the order to show them.
    data: Vec<ChannelView>,
}

async fn channels(call: Call) -> Result<Channels, Problem> {
    Ok(Channels {
        data: call.api.directory.channels(),
    })
}

async fn channel(call: Call) -> Result<ChannelView, Problem> {
    let (directory, name) = (&call.api.directory, call.part("name"));
    let view = match call.grant.as_ref().filter(|grant| opens(grant, name)) {
        Some(grant) => directory
            .any_channel(name)
            .map(|view| view.behind(&grant.path_prefix())),
        None => directory.channel(name),
    };
    view.ok_or_else(|| problem::CHANNEL_NOT_FOUND.into())
}

/// Whether the token opens that channel as a whole.
fn opens(grant: &Arc<Grant>, channel: &str) -> bool {
    grant.claims().scope.covers(&Resource::channel(channel))
}

async fn verify_token(call: Call, question: Question) -> Result<TokenReport, Problem> {
    Ok(tokens::verify(&question, &call.api.options.signing_keys))
}

async fn live(call: Call) -> Result<Response, Problem> {
    let (api, only) = (&call.api, call.query("channel").map(str::to_owned));
    let granted = call
        .grant
        .clone()
        .filter(|grant| only.as_ref().is_some_and(|name| opens(grant, name)));
    let is_private = granted.is_some()
        && only
            .as_ref()
            .is_some_and(|name| api.directory.channel(name).is_none());
    let board = if is_private {
        &api.private_board
    } else {
        &api.board
    };
    let body = board.listen(only, granted, api.options.event_streams_max);
    let body = body.ok_or(problem::TOO_MANY_EVENT_STREAMS)?;
    let headers = [
        (header::CONTENT_TYPE, "text/event-stream"),
        (header::CACHE_CONTROL, "no-store"),
        // nginx in front would otherwise collect events before it passes them on.
        (header::HeaderName::from_static("x-accel-buffering"), "no"),
    ];
    Ok((headers, Body::new(body)).into_response())
}

async fn utc_time(_: Call) -> Result<Response, Problem> {
    let headers = [
        (header::CONTENT_TYPE, "text/plain; charset=utf-8"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    Ok((headers, rfc3339_utc(SystemTime::now())).into_response())
}

async fn document(call: Call) -> Result<Response, Problem> {
    let headers = [
        (header::CONTENT_TYPE, "application/json"),
        (header::CACHE_CONTROL, "no-cache"),
    ];
    Ok((headers, call.api.document().to_string()).into_response())
}
