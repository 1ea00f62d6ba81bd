//! `application/problem+json` (RFC 9457) with a stable code, a sentence and the request id.

use std::hash::{BuildHasher, RandomState};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::body::Body;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};

/// Carries the id of a request: set by the HTTP server before the router, echoed on every response.
pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The request's id, or a fresh one if no server in front gave it.
pub(crate) fn request_id(headers: &HeaderMap) -> HeaderValue {
    static PROCESS: LazyLock<u32> = LazyLock::new(|| RandomState::new().hash_one("api") as u32);
    static NEXT: AtomicU64 = AtomicU64::new(1);
    headers.get(REQUEST_ID).cloned().unwrap_or_else(|| {
        let id = format!("{:08x}-{:x}", *PROCESS, NEXT.fetch_add(1, Ordering::Relaxed));
        HeaderValue::try_from(id).unwrap_or(HeaderValue::from_static("-"))
    })
}

/// A kind of refusal: what the document lists and what a problem carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Kind {
    pub(crate) status: StatusCode,
    /// Never changes once published.
    pub(crate) code: &'static str,
    /// One sentence, for when nothing more exact can be said.
    pub(crate) sentence: &'static str,
}

macro_rules! kinds {
    ($($name:ident = $status:ident, $code:literal, $sentence:literal;)*) => {
        $(pub(crate) const $name: Kind = Kind {
            status: StatusCode::$status,
            code: $code,
            sentence: $sentence,
        };)*
    };
}

kinds! {
    PATH_NOT_FOUND = NOT_FOUND, "path_not_found", "The API has no such path.";
    METHOD_NOT_ALLOWED = METHOD_NOT_ALLOWED, "method_not_allowed", "This path does not take this method.";
    NOT_READY = SERVICE_UNAVAILABLE, "not_ready", "The server is not ready.";
    TOO_MANY_EVENT_STREAMS = SERVICE_UNAVAILABLE, "too_many_event_streams", "Too many event streams are open; ask now and then instead.";
    TOKEN_MISSING = UNAUTHORIZED, "token_missing", "Send an admin token: `Authorization: Bearer twa_...`. `tidewire token admin` makes one.";
    TOKEN_REFUSED = UNAUTHORIZED, "token_refused", "This token is not known here, was revoked or has expired.";
    SCOPE_MISSING = FORBIDDEN, "scope_missing", "This token may not do that.";
    PARAMETER_INVALID = BAD_REQUEST, "parameter_invalid", "A parameter has a value that it cannot have.";
    BODY_INVALID = BAD_REQUEST, "body_invalid", "The body is not what this path takes.";
    BODY_TOO_LARGE = PAYLOAD_TOO_LARGE, "body_too_large", "The body is larger than 64 KiB.";
    MEDIA_TYPE_UNSUPPORTED = UNSUPPORTED_MEDIA_TYPE, "media_type_unsupported", "Send the body as `Content-Type: application/json`.";
    IDEMPOTENCY_KEY_INVALID = BAD_REQUEST, "idempotency_key_invalid", "An Idempotency-Key is 1 to 255 visible ASCII characters.";
    IDEMPOTENCY_IN_USE = CONFLICT, "idempotency_in_use", "A request with this Idempotency-Key is being answered; try again in a moment.";
    IDEMPOTENCY_MISMATCH = UNPROCESSABLE_ENTITY, "idempotency_mismatch", "This Idempotency-Key came with another body before; take a new one.";
    STORAGE_BUSY = SERVICE_UNAVAILABLE, "storage_busy", "The database cannot do that just now; try again in a moment.";
    STORAGE_FAILED = INTERNAL_SERVER_ERROR, "storage_failed", "The database failed; the server's log says how.";
    CHANNEL_NOT_FOUND = NOT_FOUND, "channel_not_found", "There is no such channel.";
    CHANNEL_EXISTS = CONFLICT, "channel_exists", "There is a channel of this name already.";
    NAME_INVALID = BAD_REQUEST, "name_invalid", "A channel's name is 1 to 63 of a-z, 0-9, `-` and `_`, beginning with a letter or a digit.";
    LABEL_INVALID = BAD_REQUEST, "label_invalid", "A label is at most 100 characters without control characters.";
    EXPIRY_PAST = BAD_REQUEST, "expiry_past", "The expiry lies in the past.";
    LIMIT_REACHED = CONFLICT, "limit_reached", "There are as many already as there may be; remove some first.";
    KEY_NOT_FOUND = NOT_FOUND, "key_not_found", "The channel has no such key.";
    KEY_REFUSED = FORBIDDEN, "key_refused", "This stream key opens no channel.";
    KEY_OVER = CONFLICT, "key_over", "The key is revoked or has expired; make a new one instead.";
    STREAM_NOT_FOUND = NOT_FOUND, "stream_not_found", "There is no record of such a stream.";
    STREAM_OVER = CONFLICT, "stream_over", "The stream is over.";
    TITLE_NOT_FOUND = NOT_FOUND, "title_not_found", "There is no such title.";
    STORE_FAILED = SERVICE_UNAVAILABLE, "store_failed", "The list of titles cannot be read just now.";
    WEBHOOK_NOT_FOUND = NOT_FOUND, "webhook_not_found", "There is no such webhook.";
    DELIVERY_NOT_FOUND = NOT_FOUND, "delivery_not_found", "The webhook has no such delivery, or its event is no longer kept.";
    URL_INVALID = BAD_REQUEST, "url_invalid", "The URL is one of http or https with a host, without user and password, at most 2048 bytes.";
    TOKEN_NOT_FOUND = NOT_FOUND, "token_not_found", "There is no such token.";
}

/// A refusal of this API.
#[derive(Clone, Debug)]
pub(crate) struct Problem {
    pub(crate) status: StatusCode,
    /// Never changes once published.
    pub(crate) code: &'static str,
    /// One sentence.
    pub(crate) detail: String,
}

impl Problem {
    pub(crate) fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        Self {
            status,
            code,
            detail: detail.into(),
        }
    }

    /// `kind` with words for this very case.
    pub(crate) fn said(kind: Kind, detail: impl Into<String>) -> Self {
        Self::new(kind.status, kind.code, detail)
    }

    pub(crate) fn response(&self, request_id: &HeaderValue) -> Response<Body> {
        let body = serde_json::json!({
            "type": "about:blank",
            "title": self.status.canonical_reason().unwrap_or("Error"),
            "status": self.status.as_u16(),
            "code": self.code,
            "detail": self.detail,
            "request_id": request_id.to_str().unwrap_or_default(),
        });
        let mut response = Response::new(Body::from(body.to_string()));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        match self.status {
            // RFC 9110 11.6.1, RFC 6750 3.
            StatusCode::UNAUTHORIZED => {
                headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            StatusCode::SERVICE_UNAVAILABLE => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from_static("10"));
            }
            _ => {}
        }
        response
    }
}

impl From<Kind> for Problem {
    fn from(kind: Kind) -> Self {
        Self::said(kind, kind.sentence)
    }
}

/// What the caller may know of a fault of the platform; the log gets the rest.
impl From<platform::Error> for Problem {
    fn from(error: platform::Error) -> Self {
        use platform::Error;
        let kind = match &error {
            Error::InvalidName { .. } => NAME_INVALID,
            Error::InvalidLabel => LABEL_INVALID,
            Error::ExpiryPast => EXPIRY_PAST,
            Error::ChannelExists { .. } => CHANNEL_EXISTS,
            Error::ChannelNotFound { .. } => CHANNEL_NOT_FOUND,
            Error::KeyNotFound { .. } | Error::KeyAmbiguous { .. } => KEY_NOT_FOUND,
            Error::KeyOver { .. } => KEY_OVER,
            Error::TokenNotFound { .. } => TOKEN_NOT_FOUND,
            Error::WebhookNotFound { .. } => WEBHOOK_NOT_FOUND,
            Error::DeliveryNotFound { .. } => DELIVERY_NOT_FOUND,
            Error::TooMany { what, max } => {
                let detail =
                    format!("There are {max} {what} already, which is the maximum; remove some first.");
                return Self::said(LIMIT_REACHED, detail);
            }
            Error::Locked { .. } | Error::DiskFull { .. } | Error::Closed => {
                tracing::warn!(%error, "a request could not be answered");
                STORAGE_BUSY
            }
            _ => {
                tracing::error!(%error, "a request could not be answered");
                STORAGE_FAILED
            }
        };
        kind.into()
    }
}
