//! The routes, and what they are made of.

use std::sync::Arc;
use std::time::Duration;

use access::KeyRing;
use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodFilter, get, on};
use event_listener::EventListener;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use platform::Platform;

use crate::events::Board;
use crate::manage::{Control, Management, PublishPorts};
use crate::operation::{Managed, Operation};
use crate::problem::{self, Problem, REQUEST_ID, request_id};
use crate::videos::{FindingVideo, FindingVideos, VideoCursor};
use crate::view::ChannelView;
use crate::webhook::Sender;
use crate::{docs, manage, openapi, pages, public, videos, webhook};

/// What the API shows; the program implements it.
///
/// Called from all cores; answers at once, from memory.
pub trait Directory: Send + Sync + 'static {
    /// The channels that everybody may see, in the order to show them.
    fn channels(&self) -> Vec<ChannelView>;

    /// The channels that only those may see whose token opens them.
    fn private_channels(&self) -> Vec<ChannelView>;

    /// One channel, private or not: the caller asks for it only on behalf of who may see it.
    fn any_channel(&self, name: &str) -> Option<ChannelView>;

    /// One channel that everybody may see.
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
    /// Event streams open at once, those of private channels counted apart; more are refused with 503.
    pub event_streams_max: usize,
    /// The content type of [`Directory::metrics`].
    pub metrics_content_type: &'static str,
    /// The keys of path tokens, for those who ask why one does not open.
    pub signing_keys: Arc<KeyRing>,
}

impl Default for ApiOptions {
    fn default() -> Self {
        Self {
            event_streams_max: 10_000,
            metrics_content_type: "application/openmetrics-text; version=1.0.0; charset=utf-8",
            signing_keys: Arc::default(),
        }
    }
}

/// Changes closer together than this are one refresh of the event streams.
const REFRESH_MIN: Duration = Duration::from_millis(50);
/// Viewer counts are looked at this often.
const REFRESH_MAX: Duration = Duration::from_secs(1);
/// Streams' figures are looked at this often.
const SAMPLE_EVERY: Duration = Duration::from_secs(1);

/// The public API over one directory.
#[derive(Clone)]
pub struct Api {
    pub(crate) directory: Arc<dyn Directory>,
    pub(crate) board: Arc<Board>,
    /// Of the private channels; only who has a token listens there.
    pub(crate) private_board: Arc<Board>,
    pub(crate) options: ApiOptions,
    /// `None`: only what everybody may see is there.
    pub(crate) management: Option<Arc<Management>>,
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
        let (board, private_board) = (Arc::new(Board::default()), Arc::new(Board::default()));
        board.update(directory.channels());
        private_board.update(directory.private_channels());
        Self {
            directory,
            board,
            private_board,
            options,
            management: None,
        }
    }

    /// The same API with all that needs a token.
    pub fn with_management(self, platform: Platform, control: Arc<dyn Control>, ports: PublishPorts) -> Self {
        let management = Management::new(platform, control, ports);
        Self {
            management: Some(Arc::new(management)),
            ..self
        }
    }

    /// Follows the directory and the streams' figures, and feeds the event streams, until it is dropped. One task runs it.
    pub async fn run(self) {
        tokio::join!(self.sample(), self.follow_events(), self.follow());
    }

    /// Takes the figures of all running streams once a second.
    async fn sample(&self) {
        let Some(management) = &self.management else {
            return;
        };
        let mut seconds = tokio::time::interval(SAMPLE_EVERY);
        seconds.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            seconds.tick().await;
            management.history.sample(management.control.running());
        }
    }

    async fn follow_events(&self) {
        if let Some(management) = &self.management {
            Arc::clone(management).follow_events().await;
        }
    }

    async fn follow(&self) {
        loop {
            let changes = self.directory.changes();
            self.board.update(self.directory.channels());
            self.private_board.update(self.directory.private_channels());
            let _ = tokio::time::timeout(REFRESH_MAX, changes).await;
            tokio::time::sleep(REFRESH_MIN).await;
        }
    }

    /// Ends all event streams, and new ones after their snapshot: what is open would hold up a shutdown. Listeners connect
    /// again by themselves.
    pub fn close(&self) {
        self.board.close();
        self.private_board.close();
        if let Some(management) = &self.management {
            management.desk.close();
        }
    }

    /// Posts events to webhooks until it is dropped. One task runs it, beside [`run`](Self::run), which says when there are any.
    pub async fn send_webhooks(self, sender: Arc<Sender>) {
        if let Some(management) = &self.management {
            let news = management.newest_event.subscribe();
            webhook::run(management.platform.clone(), sender, news).await;
        }
    }

    /// The OpenAPI 3.1 document of what this API answers.
    pub fn document(&self) -> serde_json::Value {
        openapi::document(&self.operations())
    }

    fn operations(&self) -> Vec<Operation> {
        let mut operations = public::operations();
        operations.extend(videos::operations());
        if self.management.is_some() {
            operations.extend(manage::operations());
        }
        operations
    }

    /// Everything but media.
    pub fn router(&self) -> Router {
        let mut router = Router::new()
            .route("/healthz", get(|| async { plain(StatusCode::OK, "ok\n") }))
            .route("/readyz", get(readyz))
            .route("/metrics", get(metrics));
        for operation in self.operations() {
            let (path, operation) = (operation.path, Arc::new(operation));
            let filter = MethodFilter::try_from(operation.method.clone())
                .expect("operations have methods that axum routes");
            let answer = move |State(api): State<Self>, request: Request| operation.answer(api, request);
            router = router.route(path, on(filter, answer));
        }
        router
            .merge(docs::router())
            .method_not_allowed_fallback(wrong_method)
            .fallback(fallback)
            .with_state(self.clone())
            .layer(from_fn_with_state(self.preflights(), finish))
    }

    /// The paths whose answers only a token opens.
    fn preflights(&self) -> Arc<[&'static str]> {
        let operations = self.operations();
        let managed = operations.iter().filter(|operation| operation.scope.is_some());
        managed.map(|operation| operation.path).collect()
    }
}

/// Whether a path belongs to the API and not to the pages.
fn is_api_path(path: &str) -> bool {
    ["/api", "/v1"].iter().any(|prefix| {
        path.strip_prefix(prefix)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    })
}

/// On every response: the request's id, and the API's own headers.
async fn finish(State(managed): State<Arc<[&'static str]>>, mut request: Request, next: Next) -> Response {
    let id = request_id(request.headers());
    request.headers_mut().insert(REQUEST_ID, id.clone());
    let is_api = is_api_path(request.uri().path());
    let is_preflight = is_api && request.method() == Method::OPTIONS;
    let mut response = if is_preflight {
        preflight(
            managed
                .iter()
                .any(|template| fits(template, request.uri().path())),
        )
    } else {
        next.run(request).await
    };
    // Without leave, a browser hands the answer to pages of its own origin only.
    let is_open = is_api && response.extensions().get::<Managed>().is_none();
    let headers = response.headers_mut();
    headers.insert(REQUEST_ID, id);
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    if is_open {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
        headers.insert(
            header::ACCESS_CONTROL_EXPOSE_HEADERS,
            HeaderValue::from_static("date, x-request-id"),
        );
    }
    if is_api {
        headers
            .entry(header::CACHE_CONTROL)
            .or_insert(HeaderValue::from_static("no-store"));
    }
    response
}

/// Whether `path` fits a template such as `/api/v1/streams/{id}/stop`.
fn fits(template: &str, path: &str) -> bool {
    let (mut wanted, mut found) = (template.split('/'), path.split('/'));
    loop {
        match (wanted.next(), found.next()) {
            (None, None) => return true,
            (Some(wanted), Some(found)) if wanted == found || wanted.starts_with('{') => {}
            _ => return false,
        }
    }
}

/// The answer to a CORS preflight. What needs a token has no leave for other origins' pages; of the other paths one takes a
/// POST, which changes nothing.
fn preflight(is_managed: bool) -> Response {
    if is_managed {
        let mut response = StatusCode::NO_CONTENT.into_response();
        response.extensions_mut().insert(Managed);
        return response;
    }
    let methods = "GET, HEAD, POST, OPTIONS";
    let headers = [
        (header::ALLOW, methods),
        (header::ACCESS_CONTROL_ALLOW_METHODS, methods),
        (
            header::ACCESS_CONTROL_ALLOW_HEADERS,
            "cache-control, content-type, last-event-id",
        ),
        (header::ACCESS_CONTROL_MAX_AGE, "86400"),
    ];
    (StatusCode::NO_CONTENT, headers).into_response()
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

async fn readyz(State(api): State<Api>, headers: HeaderMap) -> Response {
    match api.directory.ready() {
        Ok(()) => plain(StatusCode::OK, "ready\n"),
        Err(reason) => Problem::said(problem::NOT_READY, reason).response(&request_id(&headers)),
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
    Problem::from(problem::METHOD_NOT_ALLOWED).response(&request_id(&headers))
}

async fn fallback(State(api): State<Api>, request: Request) -> Response {
    if is_api_path(request.uri().path()) {
        return Problem::from(problem::PATH_NOT_FOUND).response(&request_id(request.headers()));
    }
    pages::answer(&api, &request)
}
