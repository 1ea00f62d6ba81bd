//! What happened: the outbox as a list and as an event stream that goes on where it was cut.

use std::sync::Arc;

use axum::response::Response;
use bytes::{Bytes, BytesMut};
use http::{Method, StatusCode, header};
use platform::{EventFilter, EventType, Scope, event_seq};

use super::views::{EventView, List};
use crate::operation::{Call, Operation, Parameter, SchemaOf, operation, query, schema_of, write_json};
use crate::problem::{self, Problem};
use crate::sse::Writer;

/// Events that are read for a listener at a time.
const BATCH: u32 = 100;

const AN_EVENT: &str = r#"{"type":"string","pattern":"^evt_[0-9a-f]{13}[0-9a-z]{8}$"}"#;

pub(super) fn operations() -> Vec<Operation> {
    let bodies = vec![
        ("application/json", Some(schema_of::<List<EventView>> as SchemaOf)),
        ("text/event-stream", None),
    ];
    let events = operation(
        Method::GET,
        "/api/v1/events",
        "listEvents",
        "List what happened, oldest first; with `Accept: text/event-stream` follow it as server-sent events, whose names \
         are the types and whose data is an Event: from now on, or from behind `Last-Event-ID` or `after`",
    );
    vec![
        events
            .scope(Scope::Read)
            .paged_by(AN_EVENT)
            .parameter(Parameter {
                schema: r#"{"type":"string","enum":["asc","desc"],"default":"asc"}"#,
                ..query(
                    "order",
                    "`desc`: newest first, and `after` goes back in time. Only for the list.",
                )
            })
            .parameter(Parameter {
                schema: r##"{"$ref":"#/components/schemas/EventName"}"##,
                ..query("type", "Only events of this type.")
            })
            .parameter(query(
                "channel",
                "Only events of the channel of this name, also one that was removed.",
            ))
            .parameter(Parameter {
                is_header: true,
                schema: AN_EVENT,
                ..query("last-event-id", "Follow from behind this event.")
            })
            .refuses(&[problem::TOO_MANY_EVENT_STREAMS])
            .raw(StatusCode::OK, bodies, events_or_stream),
    ]
}

async fn events_or_stream(call: Call) -> Result<Response, Problem> {
    let filter = filter(&call)?;
    let last = match call.headers.get("last-event-id") {
        // What is no text is no id either.
        Some(id) => Some(seq_of(id.to_str().unwrap_or(""))?),
        None => None,
    };
    let accept = call
        .headers
        .get(header::ACCEPT)
        .and_then(|accept| accept.to_str().ok());
    if accept.is_some_and(|accept| accept.contains("text/event-stream")) {
        follow(&call, filter, last).await
    } else {
        list(&call, filter).await
    }
}

fn filter(call: &Call) -> Result<EventFilter, Problem> {
    let kind = call.query("type").map(|name| {
        EventType::parse(name).ok_or_else(|| {
            let detail = "`type` is not the type of any event; the document lists them.";
            Problem::said(problem::PARAMETER_INVALID, detail)
        })
    });
    Ok(EventFilter {
        kind: kind.transpose()?,
        channel: call.query("channel").map(str::to_owned),
    })
}

fn seq_of(id: &str) -> Result<i64, Problem> {
    event_seq(id).ok_or_else(|| {
        let detail = "`after` and `Last-Event-ID` are the id of an event.";
        Problem::said(problem::PARAMETER_INVALID, detail)
    })
}

async fn list(call: &Call, filter: EventFilter) -> Result<Response, Problem> {
    let (limit, platform) = (call.limit()?, &call.managed().platform);
    let after = call.query("after").map(seq_of).transpose()?;
    let events = match call.query("order") {
        None | Some("asc") => {
            platform
                .list_events_after(after.unwrap_or(0), &filter, limit + 1)
                .await?
        }
        Some("desc") => {
            let before = after.unwrap_or(i64::MAX);
            platform.list_events_before(before, &filter, limit + 1).await?
        }
        Some(_) => {
            let detail = "`order` is `asc` or `desc`.";
            return Err(Problem::said(problem::PARAMETER_INVALID, detail));
        }
    };
    let page = List::page(events, limit, |event| event.id.clone());
    Ok(write_json(StatusCode::OK, &page.map(EventView::from)))
}

async fn follow(call: &Call, filter: EventFilter, last: Option<i64>) -> Result<Response, Problem> {
    let (management, platform) = (call.managed(), call.managed().platform.clone());
    let after = call.query("after").map(seq_of).transpose()?;
    let mut seen = match last.or(after) {
        Some(seq) => seq,
        None => platform.newest_event_seq().await?,
    };
    let mut newest = management.newest_event.subscribe();
    management.desk.open(|mut writer: Writer| async move {
        // The head and this comment tell the listener that it misses nothing from now on.
        writer.send(Bytes::from_static(b": following\n\n")).await?;
        loop {
            newest.mark_unchanged();
            match platform.list_events_after(seen, &filter, BATCH).await {
                Ok(events) if !events.is_empty() => {
                    let mut text = BytesMut::new();
                    for event in events {
                        seen = event.seq;
                        let view = EventView::from(event);
                        let json = serde_json::to_string(&view).unwrap_or_default();
                        let line = format!("id: {}\nevent: {}\ndata: {json}\n\n", view.id, view.kind);
                        text.extend_from_slice(line.as_bytes());
                    }
                    writer.send(text.freeze()).await?;
                    continue;
                }
                Ok(_) => {}
                // The next change asks again.
                Err(error) => tracing::warn!(%error, "events could not be read for a listener"),
            }
            if writer.wait(newest.changed()).await?.is_err() {
                return Ok(());
            }
        }
    })
}

impl super::Management {
    /// Tells the listeners of the event stream whenever something was committed.
    pub(crate) async fn follow_events(self: Arc<Self>) {
        let mut changes = match self.platform.changes().await {
            Ok(changes) => changes,
            Err(error) => {
                tracing::error!(%error, "the event stream will not tell of anything new");
                return;
            }
        };
        while changes.changed().await.is_ok() {
            match self.platform.newest_event_seq().await {
                Ok(newest) => {
                    self.newest_event
                        .send_if_modified(|seen| std::mem::replace(seen, newest) != newest);
                }
                Err(error) => tracing::warn!(%error, "the newest event could not be read"),
            }
        }
    }
}
