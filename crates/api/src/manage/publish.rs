//! Starting and stopping by stream key and stream id, under the paths that other programs know.

use axum::response::{IntoResponse, Response};
use http::{Method, StatusCode, header};
use platform::{KeyRefusal, Scope};

use super::account::{host, name_of};
use super::streams;
use super::views::{Start, Started, Stop};
use crate::operation::{Call, Operation, operation};
use crate::problem::{self, Problem};

pub(super) fn operations() -> Vec<Operation> {
    let start = |path, id| {
        operation(
            Method::POST,
            path,
            id,
            "Check a stream key and say where to publish and where to watch; the stream starts with its publisher",
        )
        .scope(Scope::Publish)
        .refuses(&[problem::KEY_REFUSED])
        .takes_json(StatusCode::OK, start)
    };
    let stop = |path, id| {
        operation(
            Method::POST,
            path,
            id,
            "End a stream: its publisher is told and closed",
        )
        .scope(Scope::Publish)
        .refuses(&[problem::STREAM_NOT_FOUND, problem::STREAM_OVER])
        .takes_empty(StatusCode::ACCEPTED, stop)
    };
    vec![
        start("/v1/streams/start", "startByKey"),
        stop("/v1/streams/stop", "stopById"),
        start("/api/v1/stream/start", "startByKeyAlias"),
        stop("/api/v1/stream/stop", "stopByIdAlias"),
        operation(
            Method::GET,
            "/v1/streams/{id}/manifest.m3u8",
            "getManifest",
            "Go to the HLS playlist of a stream on a public channel",
        )
        .refuses(&[
            problem::STREAM_NOT_FOUND,
            problem::STORAGE_BUSY,
            problem::STORAGE_FAILED,
        ])
        .raw(StatusCode::FOUND, Vec::new(), manifest),
    ]
}

async fn start(call: Call, start: Start) -> Result<Started, Problem> {
    let management = call.managed();
    let opened = match management.platform.channel_of_key(&start.stream_key).await {
        Ok(opened) => opened,
        Err(KeyRefusal::Unavailable(error)) => return Err(error.into()),
        Err(refusal) => return Err(Problem::said(problem::KEY_REFUSED, sentence(&refusal))),
    };
    let channel = management.platform.channel(&opened.name).await;
    let view = management
        .control
        .view(&channel.map_err(|_| problem::KEY_REFUSED)?);
    let host = host(&call);
    Ok(Started {
        publish_url: management
            .ports
            .rtmp
            .map(|port| format!("rtmp://{}:{port}/live", name_of(&host))),
        channel: view.name,
        state: view.state,
        hls: view.hls,
        dash: view.dash,
        stream_id: view.stream_id,
    })
}

fn sentence(refusal: &KeyRefusal) -> String {
    let mut text = refusal.to_string();
    if let Some(first) = text.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    text + "."
}

async fn stop(call: Call, stop: Stop) -> Result<(), Problem> {
    streams::stop_stream(&call, &stop.stream_id).await
}

async fn manifest(call: Call) -> Result<Response, Problem> {
    let id = call.part("id");
    let record = call.managed().platform.stream_record(id).await?;
    let record = record.ok_or(problem::STREAM_NOT_FOUND)?;
    // Of a private channel the directory says nothing.
    let view = call.api.directory.channel(&record.channel);
    let view = view.filter(|view| view.stream_id.as_deref() == Some(id));
    let location = view.ok_or(problem::STREAM_NOT_FOUND)?.hls;
    Ok((StatusCode::FOUND, [(header::LOCATION, location)]).into_response())
}
