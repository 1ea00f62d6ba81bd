//! One request: routing, counting, the guard against panics, and the way to the API router.

use std::convert::Infallible;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use access::Grant;
use axum::Router;
use http::{HeaderValue, Method, Request, Response, StatusCode, Uri, Version, header};
use http_body_util::Limited;
use hyper::body::Incoming;
use hyper::service::Service;
use pin_project_lite::pin_project;
use tokio::sync::Notify;

use crate::body::{Body, Kind};
use crate::connection::{Connection, InFlight};
use crate::grants::{split, unix_now_s};
use crate::headers;
use crate::media_answer::{self, Asked};
use crate::problem::{self, Problem};
use crate::route::{Route, TitlePath, route};
use crate::server::Shared;
use crate::stats::{Class, Shard};
use crate::streams::Viewer;
use crate::title_answer;

/// What the connections of one core share.
pub(crate) struct CoreState {
    pub(crate) shared: Arc<Shared>,
    pub(crate) shard: Arc<Shard>,
    fallback: Router,
    draining: AtomicBool,
    cut: AtomicBool,
    /// Told when the drain begins, and again when what is still open is cut. Each core has its own, as every held
    /// request waits on it.
    pub(crate) ending: Notify,
}

impl CoreState {
    pub(crate) fn new(shared: Arc<Shared>, shard: Arc<Shard>, fallback: Router) -> Self {
        let (draining, cut) = (AtomicBool::new(false), AtomicBool::new(false));
        Self {
            shared,
            shard,
            fallback,
            draining,
            cut,
            ending: Notify::new(),
        }
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    pub(crate) fn is_cut(&self) -> bool {
        self.cut.load(Ordering::Relaxed)
    }

    pub(crate) fn begin_drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
        self.ending.notify_waiters();
    }

    pub(crate) fn cut(&self) {
        self.cut.store(true, Ordering::Relaxed);
        self.ending.notify_waiters();
    }

    /// Whole seconds since the server started.
    pub(crate) fn now_s(&self) -> u32 {
        u32::try_from(self.shared.started.elapsed().as_secs()).unwrap_or(u32::MAX)
    }
}

/// The service of one connection.
pub(crate) fn service(
    core: &Arc<CoreState>,
    connection: &Arc<Connection>,
) -> impl Service<Request<Incoming>, Response = Response<Body>, Error = Infallible, Future: Send + 'static> + use<>
{
    let (core, connection) = (Arc::clone(core), Arc::clone(connection));
    hyper::service::service_fn(move |request: Request<Incoming>| {
        let guard = connection.begin(request.version() == Version::HTTP_2);
        Guarded {
            future: handle(Arc::clone(&core), guard, request),
            shard: Arc::clone(&connection.shard),
        }
    })
}

async fn handle(core: Arc<CoreState>, mut guard: InFlight, request: Request<Incoming>) -> Response<Body> {
    let started = Instant::now();
    let mut held = None;
    let (class, mut response) = match admit(&core, &guard, &request) {
        Ok(grant) => {
            let viewer = if grant.is_some() {
                Viewer::Granted
            } else {
                Viewer::Anyone
            };
            let expires_at_s = grant.as_ref().map(|grant| grant.claims().expires_at_s);
            let (class, mut response) = respond(&core, &mut guard, &mut held, request, viewer, grant).await;
            if let Some(expires_at_s) = expires_at_s {
                let left_s = expires_at_s.saturating_sub(unix_now_s());
                headers::keep_private(response.headers_mut(), left_s);
            }
            (class, response)
        }
        Err(problem) => (
            Class::Other,
            Box::pin(refuse(&core, &mut guard, request, problem)).await,
        ),
    };
    let elapsed = started.elapsed();
    core.shard.response(
        class,
        response.status().as_u16(),
        elapsed.saturating_sub(held.unwrap_or_default()),
        held,
    );
    response.body_mut().attach(class, guard);
    response
}

/// What the token in front of the path grants; `None`: there is none. What it does not open is refused before anything is
/// looked up, so that a refusal says nothing of what there is.
fn admit(
    core: &CoreState,
    guard: &InFlight,
    request: &Request<Incoming>,
) -> Result<Option<Arc<Grant>>, Problem> {
    let uri = request.uri();
    let Some((token, path)) = split(uri.path()) else {
        return Ok(None);
    };
    // A preflight has no part in the token's rights and shows nothing.
    if *request.method() == Method::OPTIONS {
        return Ok(None);
    }
    let resource = access::resource(path, uri.query()).ok_or(problem::NO_SUCH_MEDIA)?;
    let connection = guard.connection();
    let admitted = connection
        .grants
        .admit(&core.shared.keys, token, connection.peer.ip(), &resource);
    admitted.map(Some).map_err(|refusal| {
        core.shard.token_refused(refusal);
        Problem::from(refusal)
    })
}

async fn respond(
    core: &CoreState,
    guard: &mut InFlight,
    held: &mut Option<Duration>,
    request: Request<Incoming>,
    viewer: Viewer,
    grant: Option<Arc<Grant>>,
) -> (Class, Response<Body>) {
    let whole = request.uri().path();
    let path = split(whole).map_or(whole, |(_, path)| path);
    match route(path) {
        Route::Live(live) => {
            let asked = Asked {
                core,
                request: &request,
                viewer,
                path,
                guard,
                held,
            };
            let class = live.object.class();
            let response = match *request.method() {
                Method::GET => media_answer::answer(asked, live)
                    .await
                    .unwrap_or_else(|problem| refusal(problem, class)),
                Method::HEAD => head_only(
                    media_answer::answer(asked, live)
                        .await
                        .unwrap_or_else(|problem| refusal(problem, class)),
                ),
                Method::OPTIONS => preflight(),
                _ => not_allowed(),
            };
            (class, response)
        }
        Route::Title(title) => {
            let class = title.object.class();
            (
                class,
                Box::pin(title_response(core, &request, guard, viewer, title)).await,
            )
        }
        Route::NoSuchMedia if *request.method() == Method::OPTIONS => (Class::Other, preflight()),
        Route::NoSuchMedia => (Class::Other, refusal(problem::NO_SUCH_MEDIA, Class::Other)),
        Route::Fallback => {
            let class = fallback_class(path);
            let mut request = without_token(request);
            if let Some(grant) = grant {
                request.extensions_mut().insert(grant);
            }
            (class, Box::pin(fall_back(core, guard, request, class)).await)
        }
    }
}

/// The request with the token taken off its path.
fn without_token(mut request: Request<Incoming>) -> Request<Incoming> {
    let uri = request.uri();
    let Some((_, path)) = split(uri.path()) else {
        return request;
    };
    let target = uri
        .query()
        .map_or_else(|| path.to_owned(), |query| format!("{path}?{query}"));
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = target.try_into().ok();
    if let Ok(plain) = Uri::from_parts(parts) {
        *request.uri_mut() = plain;
    }
    request
}

/// Says why a token opens nothing. A browser gets the page, which asks for the reason and says it in its own words.
async fn refuse(
    core: &CoreState,
    guard: &mut InFlight,
    request: Request<Incoming>,
    problem: Problem,
) -> Response<Body> {
    let is_page = split(request.uri().path()).is_some_and(|(_, path)| {
        ["/watch/", "/embed/", "/video/"]
            .iter()
            .any(|page| path.starts_with(page))
    });
    let wants_html = request
        .headers()
        .get(header::ACCEPT)
        .and_then(|accept| accept.to_str().ok())
        .is_some_and(|accept| accept.contains("text/html"));
    let is_read = matches!(*request.method(), Method::GET | Method::HEAD);
    if problem.status == StatusCode::NOT_FOUND || !(is_page && wants_html && is_read) {
        return refusal(problem, Class::Other);
    }
    let mut request = without_token(request);
    request.headers_mut().remove(header::IF_NONE_MATCH);
    let mut response = fall_back(core, guard, request, Class::Other).await;
    if response.status() != StatusCode::OK {
        return refusal(problem, Class::Other);
    }
    *response.status_mut() = problem.status;
    let headers = response.headers_mut();
    headers.remove(header::ETAG);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    if problem.status == StatusCode::UNAUTHORIZED {
        headers.insert(header::WWW_AUTHENTICATE, headers::WWW_AUTHENTICATE);
    }
    response
}

/// Titles are asked for less often than live media, and their answers' futures are larger: they are boxed by the caller.
async fn title_response(
    core: &CoreState,
    request: &Request<Incoming>,
    guard: &mut InFlight,
    viewer: Viewer,
    title: TitlePath<'_>,
) -> Response<Body> {
    let class = title.object.class();
    let is_head = *request.method() == Method::HEAD;
    match *request.method() {
        Method::GET | Method::HEAD => {}
        Method::OPTIONS => return preflight(),
        _ => return not_allowed(),
    }
    let whole = request.uri().path();
    let asked = Asked {
        core,
        request,
        viewer,
        path: split(whole).map_or(whole, |(_, path)| path),
        guard,
        held: &mut None,
    };
    let answered = title_answer::answer(asked, title).await;
    let response = answered.unwrap_or_else(|problem| refusal(problem, class));
    if is_head { head_only(response) } else { response }
}

fn refusal(problem: Problem, class: Class) -> Response<Body> {
    let mut response = problem
        .response()
        .map(|bytes| Body::new(Kind::Full(bytes), class));
    headers::cors(response.headers_mut());
    response
}

fn not_allowed() -> Response<Body> {
    let mut response = refusal(problem::METHOD, Class::Other);
    response.headers_mut().insert(header::ALLOW, headers::ALLOWED);
    response
}

fn preflight() -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    headers::preflight(response.headers_mut());
    response
}

/// The head that a GET would have had, with its length.
fn head_only(response: Response<Body>) -> Response<Body> {
    let (mut parts, body) = response.into_parts();
    if let Some(length) = body.length().filter(|_| parts.status != StatusCode::NOT_MODIFIED) {
        parts
            .headers
            .insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    }
    Response::from_parts(parts, Body::empty())
}

fn fallback_class(path: &str) -> Class {
    let is_api = path.starts_with("/api/") || matches!(path, "/metrics" | "/healthz" | "/readyz");
    if is_api { Class::Api } else { Class::Page }
}

/// Hands a request to the API router, with a bounded body and a bounded time to begin its answer.
async fn fall_back(
    core: &CoreState,
    guard: &mut InFlight,
    request: Request<Incoming>,
    class: Class,
) -> Response<Body> {
    let limits = &core.shared.limits;
    let announced = request
        .headers()
        .get(header::CONTENT_LENGTH)
        .and_then(|length| length.to_str().ok()?.parse().ok());
    if announced.is_some_and(|length: u64| length > limits.request_body_bytes_max as u64) {
        return refusal(problem::BODY_TOO_LARGE, class);
    }
    let mut request =
        request.map(|body| axum::body::Body::new(Limited::new(body, limits.request_body_bytes_max)));
    request.extensions_mut().insert(guard.connection().peer);
    if let Ok(id) = HeaderValue::try_from(problem::request_id()) {
        request.headers_mut().insert(problem::REQUEST_ID, id);
    }
    guard.set_waiting(true);
    let mut router = core.fallback.clone();
    let answered = tokio::time::timeout(
        limits.api_timeout,
        tower_service::Service::call(&mut router, request),
    )
    .await;
    guard.set_waiting(false);
    match answered {
        Ok(Ok(response)) => response.map(|body| Body::new(Kind::Routed(body), class)),
        Ok(Err(never)) => match never {},
        Err(_) => refusal(problem::API_TIMEOUT, class),
    }
}

pin_project! {
    /// Turns a panic into a 500 of the one request.
    struct Guarded<F> {
        #[pin]
        future: F,
        shard: Arc<Shard>,
    }
}

impl<F: Future<Output = Response<Body>>> Future for Guarded<F> {
    type Output = Result<Response<Body>, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let polled = catch_unwind(AssertUnwindSafe(|| this.future.poll(cx)));
        polled.map(|polled| polled.map(Ok)).unwrap_or_else(|_| {
            this.shard.panicked();
            this.shard.response(Class::Other, 500, Duration::ZERO, None);
            tracing::error!("panic while a request was answered");
            Poll::Ready(Ok(refusal(problem::PANICKED, Class::Other)))
        })
    }
}
