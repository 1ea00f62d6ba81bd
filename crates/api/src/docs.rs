//! `/api/docs`: the OpenAPI document as a page, with nothing from elsewhere.

use axum::Router;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::header;

use crate::routes::Api;

/// The page and what belongs to it may load only from here (CSP 3).
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; base-uri 'none'; \
form-action 'none'; frame-ancestors 'self'";

pub(crate) fn router() -> Router<Api> {
    Router::new()
        .route(
            "/api/docs",
            get(|| file("text/html; charset=utf-8", include_str!("docs/page.html"))),
        )
        .route(
            "/api/docs/page.css",
            get(|| file("text/css; charset=utf-8", include_str!("docs/page.css"))),
        )
        .route(
            "/api/docs/page.js",
            get(|| file("text/javascript; charset=utf-8", include_str!("docs/page.js"))),
        )
}

async fn file(content_type: &'static str, text: &'static str) -> Response {
    let headers = [
        (header::CONTENT_TYPE, content_type),
        (header::CACHE_CONTROL, "no-cache"),
        (header::CONTENT_SECURITY_POLICY, POLICY),
    ];
    (headers, text).into_response()
}
