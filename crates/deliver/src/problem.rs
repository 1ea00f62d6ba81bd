//! Refusals: `application/problem+json` (RFC 9457) with a stable code, a sentence and the request id.

use std::hash::{BuildHasher, RandomState};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

use access::Refusal;
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Response, StatusCode, header};

/// One refusal as the client sees it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Problem {
    pub(crate) status: StatusCode,
    /// Never changes once published.
    pub(crate) code: &'static str,
    /// One sentence: what is wrong, and what to do if that is known.
    pub(crate) detail: &'static str,
    /// Seconds that the answer may be cached; `None`: not at all.
    pub(crate) max_age_s: Option<u32>,
    pub(crate) retry_after_s: Option<u32>,
}

impl Problem {
    pub(crate) const fn new(status: StatusCode, code: &'static str, detail: &'static str) -> Self {
        Self {
            status,
            code,
            detail,
            max_age_s: None,
            retry_after_s: None,
        }
    }

    pub(crate) const fn cached(mut self, seconds: u32) -> Self {
        self.max_age_s = Some(seconds);
        self
    }

    pub(crate) const fn retry_after(mut self, seconds: u32) -> Self {
        self.retry_after_s = Some(seconds);
        self
    }

    /// The response; its body is left to the caller to wrap.
    pub(crate) fn response(self) -> Response<Bytes> {
        let id = request_id();
        let body = serde_json::json!({
            "type": "about:blank",
            "title": self.status.canonical_reason().unwrap_or("Error"),
            "status": self.status.as_u16(),
            "code": self.code,
            "detail": self.detail,
            "request_id": id,
        });
        let mut response = Response::new(Bytes::from(body.to_string()));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
        headers.insert(
            header::X_CONTENT_TYPE_OPTIONS,
            HeaderValue::from_static("nosniff"),
        );
        let cache = self
            .max_age_s
            .and_then(|seconds| HeaderValue::from_str(&format!("public, max-age={seconds}")).ok());
        headers.insert(
            header::CACHE_CONTROL,
            cache.unwrap_or(HeaderValue::from_static("no-store")),
        );
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, crate::headers::WWW_AUTHENTICATE);
        }
        if let Some(seconds) = self.retry_after_s {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if let Ok(id) = HeaderValue::try_from(id) {
            headers.insert(REQUEST_ID, id);
        }
        response
    }
}

/// Carries the id of a request, to the API router and back to the client.
pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Unique among the processes of one site with great likelihood: 32 random bits of the process and a counter.
pub(crate) fn request_id() -> String {
    static PROCESS: LazyLock<u32> = LazyLock::new(|| RandomState::new().hash_one(std::process::id()) as u32);
    static NEXT: AtomicU64 = AtomicU64::new(1);
    format!("{:08x}-{:x}", *PROCESS, NEXT.fetch_add(1, Ordering::Relaxed))
}

macro_rules! problems {
    ($($(#[$doc:meta])* $name:ident = $status:ident, $code:literal, $detail:literal $(, $change:ident($value:literal))*;)*) => {
        $($(#[$doc])* pub(crate) const $name: Problem = Problem::new(StatusCode::$status, $code, $detail)$(.$change($value))*;)*
        /// Every problem that this crate answers with, for the tests and the documentation.
        #[cfg(test)]
        const ALL: &[Problem] = &[$($name),*];
    };
}

problems! {
    NO_SUCH_MEDIA = NOT_FOUND, "media_not_found", "No media is ever served under this path.", cached(60);
    CHANNEL_OFFLINE = NOT_FOUND, "channel_offline", "Nothing is live on this channel now, or there is no such channel.", cached(1);
    STARTING = SERVICE_UNAVAILABLE, "stream_starting",
        "The stream has begun and has no picture yet; ask again in a moment.", retry_after(1);
    RENDITION_NOT_FOUND = NOT_FOUND, "rendition_not_found", "The stream has no such rendition.", cached(1);
    MEDIA_EXPIRED = NOT_FOUND, "media_expired", "This media has left the live window.", cached(8);
    MEDIA_UNKNOWN = NOT_FOUND, "media_unknown", "The stream has no such media, or not yet.", cached(1);
    TITLE_NOT_FOUND = NOT_FOUND, "title_not_found", "There is no such title, or it is not ready yet.", cached(1);
    STORE_FAILED = SERVICE_UNAVAILABLE, "store_failed",
        "The server could not read this from its disk; the operator finds the reason in the log.", retry_after(2);
    BAD_DIRECTIVE = BAD_REQUEST, "delivery_directive_invalid",
        "A delivery directive is malformed: _HLS_msn and _HLS_part are decimal numbers, and _HLS_part needs _HLS_msn.";
    TOO_FAR_AHEAD = BAD_REQUEST, "reload_too_far_ahead",
        "The playlist asked for is more than two segments in the future (RFC 8216bis 6.2.5.2).";
    HELD_TOO_LONG = SERVICE_UNAVAILABLE, "media_late",
        "The media asked for did not come within three target durations; the publisher may have stalled.", retry_after(1);
    SHUTTING_DOWN = SERVICE_UNAVAILABLE, "shutting_down", "This server is shutting down; ask again elsewhere.", retry_after(2);
    NO_THUMBNAIL = NOT_FOUND, "thumbnail_not_found", "There is no picture of this channel now.", cached(1);
    TOKEN_MALFORMED = UNAUTHORIZED, "token_malformed",
        "This is not a whole token: use the link exactly as it was given.";
    TOKEN_SIGNATURE = UNAUTHORIZED, "token_signature",
        "This token was not signed by this server, was changed, or its signing key was revoked.";
    TOKEN_NOT_YET = UNAUTHORIZED, "token_not_yet", "This token is not valid yet.";
    TOKEN_EXPIRED = UNAUTHORIZED, "token_expired", "This token has expired: ask for a new link.";
    TOKEN_IP = FORBIDDEN, "token_ip", "This token is for another network address.";
    TOKEN_PATH = FORBIDDEN, "token_path", "This token is for something else.";
    METHOD = METHOD_NOT_ALLOWED, "method_not_allowed", "Media is read with GET and HEAD.";
    RANGE = RANGE_NOT_SATISFIABLE, "range_not_satisfiable", "The range begins after the end of this object.";
    BODY_TOO_LARGE = PAYLOAD_TOO_LARGE, "body_too_large", "The request body is larger than this server takes.";
    API_TIMEOUT = SERVICE_UNAVAILABLE, "api_timeout", "The answer took too long to make.", retry_after(1);
    PANICKED = INTERNAL_SERVER_ERROR, "internal_error", "Something went wrong here; the request id tells the operator where to look.";
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Malformed => TOKEN_MALFORMED,
            Refusal::Signature => TOKEN_SIGNATURE,
            Refusal::NotYet => TOKEN_NOT_YET,
            Refusal::Expired => TOKEN_EXPIRED,
            Refusal::Address => TOKEN_IP,
            Refusal::Path => TOKEN_PATH,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_of_tokens_are_said_in_one_way() {
        for refusal in Refusal::ALL {
            let problem = Problem::from(refusal);
            assert_eq!(
                (problem.code, problem.detail),
                (refusal.code(), &*refusal.to_string())
            );
        }
    }

    #[test]
    fn codes_are_unique_and_bodies_are_whole() {
        let mut codes: Vec<_> = ALL.iter().map(|problem| problem.code).collect();
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes.len(), ALL.len());
        let response = STARTING.response();
        assert_eq!(response.headers()[header::RETRY_AFTER], "1");
        let body: serde_json::Value = serde_json::from_slice(response.body()).unwrap();
        assert_eq!(
            (body["code"].as_str(), body["status"].as_u64()),
            (Some("stream_starting"), Some(503))
        );
        assert_eq!(
            body["request_id"].as_str(),
            response.headers()[REQUEST_ID].to_str().ok()
        );
    }
}
