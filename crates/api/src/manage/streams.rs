//! Streams: what runs and what ran, their figures, and their end.

use std::sync::Arc;

use axum::response::Response;
use bytes::{Bytes, BytesMut};
use http::{Method, StatusCode};
use platform::{Scope, StreamRecord};

use super::Management;
use super::views::{List, PublisherView, SourceView, StreamStats, StreamView};
use crate::operation::{Call, Operation, operation, query};
use crate::problem::{self, Problem};
use crate::sse::{Gone, Writer};
use crate::time::rfc3339_ms;

pub(super) fn operations() -> Vec<Operation> {
    vec![
        operation(Method::GET, "/api/v1/streams", "listStreams", "List the streams that run and that ran, newest first")
            .scope(Scope::Read)
            .paged_by(r#"{"type":"string","pattern":"^[0-9]{1,15}[.][0-9a-z]+$"}"#)
            .parameter(query("channel", "Only those of the channel of this name."))
            .refuses(&[problem::CHANNEL_NOT_FOUND])
            .json(StatusCode::OK, list),
        operation(Method::GET, "/api/v1/streams/{id}", "getStream", "Show a stream")
            .scope(Scope::Read)
            .refuses(&[problem::STREAM_NOT_FOUND])
            .json(StatusCode::OK, show),
        operation(
            Method::POST,
            "/api/v1/streams/{id}/stop",
            "stopStream",
            "End a stream: its publisher is told and closed, and nobody continues it",
        )
        .scope(Scope::Publish)
        .refuses(&[problem::STREAM_NOT_FOUND, problem::STREAM_OVER])
        .empty(StatusCode::ACCEPTED, stop),
        operation(Method::GET, "/api/v1/streams/{id}/stats", "getStreamStats", "The figures of a running stream")
            .scope(Scope::Read)
            .refuses(&[problem::STREAM_NOT_FOUND, problem::STREAM_OVER])
            .json(StatusCode::OK, stats),
        operation(
            Method::GET,
            "/api/v1/streams/{id}/stats/live",
            "followStreamStats",
            "The figures of a running stream every second, as server-sent events: first `history` with an array of those \
             of the last two minutes, then `stats` with one object each, `end` when the stream is over",
        )
        .scope(Scope::Read)
        .refuses(&[
            problem::STREAM_NOT_FOUND,
            problem::STREAM_OVER,
            problem::TOO_MANY_EVENT_STREAMS,
        ])
        .raw(StatusCode::OK, vec![("text/event-stream", None)], follow),
    ]
}

fn view(management: &Management, record: StreamRecord) -> StreamView {
    let source = record.source;
    StreamView {
        publisher: PublisherView {
            address: management.control.publisher_address(&record.id),
            protocol: source.protocol,
            encoder: source.encoder,
        },
        source: SourceView {
            codecs: source.codecs,
            width: source.width,
            height: source.height,
            frame_rate: source.frame_rate_milli.map(|milli| f64::from(milli) / 1e3),
        },
        id: record.id,
        channel: record.channel,
        state: record.state.into(),
        started_at: rfc3339_ms(record.started_at_ms),
        ended_at: record.ended_at_ms.map(rfc3339_ms),
        reason: record.reason,
    }
}

async fn list(call: Call) -> Result<List<StreamView>, Problem> {
    let limit = call.limit()?;
    let (management, platform) = (call.managed(), &call.managed().platform);
    let before = call.query("after").map(parse_cursor).transpose()?;
    let channel = match call.query("channel") {
        Some(name) => Some(platform.channel(name).await?.id),
        None => None,
    };
    let records = platform
        .list_streams_before(channel.as_deref(), before, limit + 1)
        .await?;
    let page = List::page(records, limit, |record| {
        format!("{}.{}", record.started_at_ms, record.id)
    });
    Ok(page.map(|record| view(management, record)))
}

/// A cursor names its entry's place in the order, so that it holds when the entry is gone.
fn parse_cursor(text: &str) -> Result<(i64, &str), Problem> {
    text.split_once('.')
        .and_then(|(at, id)| Some((at.parse().ok()?, id)))
        .ok_or_else(|| {
            let detail = "`after` is not what `next` of a list of streams was.";
            Problem::said(problem::PARAMETER_INVALID, detail)
        })
}

async fn record(call: &Call, id: &str) -> Result<StreamRecord, Problem> {
    let record = call.managed().platform.stream_record(id).await?;
    record.ok_or_else(|| problem::STREAM_NOT_FOUND.into())
}

async fn show(call: Call) -> Result<StreamView, Problem> {
    Ok(view(call.managed(), record(&call, call.part("id")).await?))
}

async fn stop(call: Call) -> Result<(), Problem> {
    stop_stream(&call, call.part("id")).await
}

/// Ends a stream that runs; says of another one whether it ever ran.
pub(super) async fn stop_stream(call: &Call, id: &str) -> Result<(), Problem> {
    if call.managed().control.stop(id) {
        return Ok(());
    }
    record(call, id).await?;
    Err(problem::STREAM_OVER.into())
}

async fn stats(call: Call) -> Result<StreamStats, Problem> {
    if let Some(stats) = call.managed().control.stats(call.part("id")) {
        return Ok(stats);
    }
    record(&call, call.part("id")).await?;
    Err(problem::STREAM_OVER.into())
}

async fn follow(call: Call) -> Result<Response, Problem> {
    let (management, id) = (call.managed(), call.part("id").to_owned());
    if management.control.stats(&id).is_none() {
        record(&call, call.part("id")).await?;
        return Err(problem::STREAM_OVER.into());
    }
    let history = Arc::clone(&management.history);
    management.desk.open(|mut writer: Writer| async move {
        // A stream of this second has no sample yet.
        let (json, mut seen) = history.all(&id).unwrap_or_else(|| (Bytes::from_static(b"[]"), 0));
        let mut has_waited = false;
        writer.send(event("history", &json)).await?;
        loop {
            let sampled = history.sampled();
            match history.newest(&id) {
                Some((json, count)) if count > seen => {
                    seen = count;
                    writer.send(event("stats", &json)).await?;
                }
                None if has_waited => break,
                _ => {}
            }
            writer.wait(sampled).await?;
            has_waited = true;
        }
        writer.send(event("end", b"{}")).await?;
        Ok::<(), Gone>(())
    })
}

/// One event; JSON has no line breaks in it, so that one `data` line holds it.
fn event(name: &str, json: &[u8]) -> Bytes {
    let mut text = BytesMut::with_capacity(name.len() + json.len() + 16);
    for piece in [b"event: ", name.as_bytes(), b"\ndata: ", json, b"\n\n"] {
        text.extend_from_slice(piece);
    }
    text.freeze()
}
