//! The routes, and what they are made of.

use std::future::Future;
use std::pin::Pin;
use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use axum::Router;
use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use event_listener::EventListener;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};

use crate::events::Board;
use crate::pages;
use crate::problem::{Problem, REQUEST_ID, request_id};
use crate::time::rfc3339_utc;
use crate::view::{ChannelView, VideoPage, VideoView};

/// Titles being looked for; the sentence if they cannot be.
pub type FindingVideos = Pin<Box<dyn Future<Output = Result<VideoPage, String>> + Send>>;
/// One title being looked for.
pub type FindingVideo = Pin<Box<dyn Future<Output = Result<Option<VideoView>, String>> + Send>>;

/// Most titles in one answer, and how many there are if nobody says.
const VIDEOS_MAX: u32 = 200;
const VIDEOS_DEFAULT: u32 = 50;

/// Where a page of titles begins: behind the one that began then and has this id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VideoCursor {
    /// Milliseconds since 1970.
    pub started_ms: i64,
    /// Its id.
    pub id: String,
}

impl std::fmt::Display for VideoCursor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.started_ms, self.id)
    }
}

impl FromStr for VideoCursor {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (started_ms, id) = text.split_once('.').ok_or(())?;
        let is_plain = id.len() <= 64 && id.bytes().all(|byte| byte.is_ascii_alphanumeric());
        let started_ms = started_ms.parse().map_err(|_| ())?;
        let id = is_plain.then(|| id.to_owned()).ok_or(())?;
        Ok(Self { started_ms, id })
    }
}

/// What the API shows; the program implements it.
///
/// Called from all cores; answers at once, from memory.
pub trait Directory: Send + Sync + 'static {
    /// The channels that everybody may see, in the order to show them.
    fn channels(&self) -> Vec<ChannelView>;

    /// One of them, or one that is not listed but may be watched.
    fn channel(&self, name: &str) -> Option<ChannelView>;

    /// Fires when state, renditions or notices of any channel change after this call. Viewer counts need not fire it:
    /// they are looked at once a second.
    fn changes(&self) -> EventListener;

    /// Titles that everybody may watch, newest first, at most `limit`. Unlike the others it may ask the disk.
    fn videos(&self, before: Option<VideoCursor>, limit: u32) -> FindingVideos;

    /// One of them.
    fn video(&self, id: &str) -> FindingVideo;

    /// Ready to serve, or the sentence that says what is missing.
    ///
    /// # Errors
    /// The sentence.
    fn ready(&self) -> Result<(), String>;

    /// The Prometheus or OpenMetrics text of `/metrics`.
    fn metrics(&self) -> String;
}

/// Bounds of the API.
#[derive(Clone, Debug)]
pub struct ApiOptions {
    /// Event streams open at once; more are refused with 503.
    pub event_streams_max: usize,
    /// The content type of [`Directory::metrics`].
    pub metrics_content_type: &'static str,
}

impl Default for ApiOptions {
    fn default() -> Self {
        Self {
            event_streams_max: 10_000,
            metrics_content_type: "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// Changes closer together than this are one refresh of the event streams.
const REFRESH_MIN: Duration = Duration::from_millis(50);
/// Viewer counts are looked at this often.
const REFRESH_MAX: Duration = Duration::from_secs(1);

/// The public API over one directory.
#[derive(Clone)]
pub struct Api {
    pub(crate) directory: Arc<dyn Directory>,
    board: Arc<Board>,
    options: ApiOptions,
}

impl std::fmt::Debug for Api {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Api")
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

impl Api {
    /// An API that shows `directory`.
    pub fn new(directory: Arc<dyn Directory>, options: ApiOptions) -> Self {
        let board = Arc::new(Board::default());
        board.update(directory.channels());
        Self {
            directory,
            board,
            options,
        }
    }

    /// Follows the directory and feeds the event streams, until it is dropped. One task runs it.
    pub async fn run(self) {
        loop {
            let changes = self.directory.changes();
            self.board.update(self.directory.channels());
            let _ = tokio::time::timeout(REFRESH_MAX, changes).await;
            tokio::time::sleep(REFRESH_MIN).await;
        }
    }

    /// Ends all event streams, and new ones after their snapshot: what is open would hold up a shutdown. Listeners connect
    /// again by themselves.
    pub fn close(&self) {
        self.board.close();
    }

    /// Everything but media.
    pub fn router(&self) -> Router {
        Router::new()
            .route("/api/v1/channels", get(channels))
            .route("/api/v1/channels/{name}", get(channel))
            .route("/api/v1/videos", get(videos))
            .route("/api/v1/videos/{id}", get(video))
            .route("/api/v1/live", get(live))
            .route("/api/v1/time", get(utc_time))
            .route("/healthz", get(|| async { plain(StatusCode::OK, "ok\n") }))
            .route("/readyz", get(readyz))
            .route("/metrics", get(metrics))
            .method_not_allowed_fallback(wrong_method)
            .fallback(fallback)
            .with_state(self.clone())
            .layer(from_fn(finish))
    }
}

/// On every response: the request's id, and the API's own headers.
async fn finish(mut request: Request, next: Next) -> Response {
    let id = request_id(request.headers());
    request.headers_mut().insert(REQUEST_ID, id.clone());
    let is_api = request.uri().path().starts_with("/api/");
    let is_preflight = is_api && request.method() == Method::OPTIONS;
    let mut response = if is_preflight {
        preflight()
    } else {
        next.run(request).await
    };
    let headers = response.headers_mut();
    headers.insert(REQUEST_ID, id);
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    if is_api {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
        headers.insert(
            header::ACCESS_CONTROL_EXPOSE_HEADERS,
            HeaderValue::from_static("date, x-request-id"),
        );
        headers
            .entry(header::CACHE_CONTROL)
            .or_insert(HeaderValue::from_static("no-store"));
    }
    response
}

/// The answer to a CORS preflight: every path here is only read.
fn preflight() -> Response {
    let methods = "GET, HEAD, OPTIONS";
    let headers = [
        (header::ALLOW, methods),
        (header::ACCESS_CONTROL_ALLOW_METHODS, methods),
        (
            header::ACCESS_CONTROL_ALLOW_HEADERS,
            "cache-control, last-event-id",
        ),
        (header::ACCESS_CONTROL_MAX_AGE, "86400"),
    ];
    (StatusCode::NO_CONTENT, headers).into_response()
}

fn json(value: &impl serde::Serialize) -> Response {
    let body = serde_json::to_vec(value).unwrap_or_default();
    ([(header::CONTENT_TYPE, "application/json")], body).into_response()
}

fn plain(status: StatusCode, text: &'static str) -> Response {
    (
        status,
        [
            (header::CONTENT_TYPE, "text/plain; charset=utf-8"),
            (header::CACHE_CONTROL, "no-store"),
        ],
        text,
    )
        .into_response()
}

async fn channels(State(api): State<Api>) -> Response {
    json(&serde_json::json!({ "data": api.directory.channels() }))
}

async fn channel(
    State(api): State<Api>,
    name: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
) -> Response {
    // A name that is no UTF-8 is nobody's.
    match name.ok().and_then(|Path(name)| api.directory.channel(&name)) {
        Some(view) => json(&view),
        None => Problem::new(
            StatusCode::NOT_FOUND,
            "channel_not_found",
            "There is no such channel.",
        )
        .response(&request_id(&headers)),
    }
}

async fn videos(State(api): State<Api>, request: Request) -> Response {
    let (mut before, mut limit) = (None, VIDEOS_DEFAULT);
    let refuse = |code, text| {
        Problem::new(StatusCode::BAD_REQUEST, code, text).response(&request_id(request.headers()))
    };
    let pairs = request.uri().query().unwrap_or("").split('&');
    for (key, value) in pairs.filter_map(|pair| pair.split_once('=')) {
        match key {
            "before" => match value.parse() {
                Ok(cursor) => before = Some(cursor),
                Err(()) => {
                    return refuse("cursor_invalid", "`before` takes the `next` of another answer.");
                }
            },
            "limit" => match value.parse() {
                Ok(wanted @ 1..=VIDEOS_MAX) => limit = wanted,
                _ => return refuse("limit_invalid", "`limit` is a number from 1 to 200."),
            },
            _ => {}
        }
    }
    match api.directory.videos(before, limit).await {
        Ok(page) => json(&page),
        Err(sentence) => store_failed(sentence, request.headers()),
    }
}

async fn video(
    State(api): State<Api>,
    id: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
) -> Response {
    let found = match id {
        Ok(Path(id)) => api.directory.video(&id).await,
        Err(_) => Ok(None),
    };
    match found {
        Ok(Some(view)) => json(&view),
        Ok(None) => Problem::new(
            StatusCode::NOT_FOUND,
            "title_not_found",
            "There is no such title.",
        )
        .response(&request_id(&headers)),
        Err(sentence) => store_failed(sentence, &headers),
    }
}

fn store_failed(sentence: String, headers: &HeaderMap) -> Response {
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "store_failed", sentence).response(&request_id(headers))
}

async fn live(State(api): State<Api>, request: Request) -> Response {
    let only = request
        .uri()
        .query()
        .and_then(|query| query.split('&').find_map(|pair| pair.strip_prefix("channel=")));
    let Some(body) = api
        .board
        .listen(only.map(str::to_owned), api.options.event_streams_max)
    else {
        let problem = Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "too_many_event_streams",
            "Too many event streams are open; ask /api/v1/channels now and then instead.",
        );
        let mut response = problem.response(&request_id(request.headers()));
        response
            .headers_mut()
            .insert(header::RETRY_AFTER, HeaderValue::from_static("10"));
        return response;
    };
    let headers = [
        (header::CONTENT_TYPE, "text/event-stream"),
        (header::CACHE_CONTROL, "no-store"),
        // nginx in front would otherwise collect events before it passes them on.
        (header::HeaderName::from_static("x-accel-buffering"), "no"),
    ];
    (headers, Body::new(body)).into_response()
}

async fn utc_time() -> Response {
    let headers = [
        (header::CONTENT_TYPE, "text/plain; charset=utf-8"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    (headers, rfc3339_utc(SystemTime::now())).into_response()
}

async fn readyz(State(api): State<Api>, headers: HeaderMap) -> Response {
    match api.directory.ready() {
        Ok(()) => plain(StatusCode::OK, "ready\n"),
        Err(reason) => {
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, "not_ready", reason).response(&request_id(&headers))
        }
    }
}

async fn metrics(State(api): State<Api>) -> Response {
    let headers = [
        (header::CONTENT_TYPE, api.options.metrics_content_type),
        (header::CACHE_CONTROL, "no-store"),
    ];
    (headers, api.directory.metrics()).into_response()
}

async fn wrong_method(headers: HeaderMap) -> Response {
    Problem::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "method_not_allowed",
        "This path does not take this method.",
    )
    .response(&request_id(&headers))
}

async fn fallback(State(api): State<Api>, request: Request) -> Response {
    let path = request.uri().path();
    if path == "/api" || path.starts_with("/api/") {
        return Problem::new(
            StatusCode::NOT_FOUND,
            "path_not_found",
            "The API has no such path.",
        )
        .response(&request_id(request.headers()));
    }
    pages::answer(&api, &request)
}
