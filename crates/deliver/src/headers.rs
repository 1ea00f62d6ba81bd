//! Header values made once.

use http::{HeaderMap, HeaderValue, header};

use crate::config::Timing;

pub(crate) const HLS: HeaderValue = HeaderValue::from_static("application/vnd.apple.mpegurl");
pub(crate) const DASH: HeaderValue = HeaderValue::from_static("application/dash+xml");
pub(crate) const MP4: HeaderValue = HeaderValue::from_static("video/mp4");
pub(crate) const JPEG: HeaderValue = HeaderValue::from_static("image/jpeg");
pub(crate) const GZIP: HeaderValue = HeaderValue::from_static("gzip");
pub(crate) const BYTES: HeaderValue = HeaderValue::from_static("bytes");
pub(crate) const ALLOWED: HeaderValue = HeaderValue::from_static("GET, HEAD, OPTIONS");
/// Media segments, parts and inits have names that never mean other bytes.
pub(crate) const IMMUTABLE: HeaderValue = HeaderValue::from_static("public, max-age=31536000, immutable");
/// Multivariant playlist and manifest: they change with the set of renditions and with every part.
pub(crate) const SHORT: HeaderValue = HeaderValue::from_static("public, max-age=1");
/// Texts of a title: they never change, but the title may be removed.
pub(crate) const TITLE: HeaderValue = HeaderValue::from_static("public, max-age=60");
pub(crate) const THUMBNAIL: HeaderValue = HeaderValue::from_static("public, max-age=10");

const ANY: HeaderValue = HeaderValue::from_static("*");
const ACCEPT_ENCODING: HeaderValue = HeaderValue::from_static("accept-encoding");
/// What scripts of other origins may read; `Date` is a clock for DASH players.
const EXPOSED: HeaderValue =
    HeaderValue::from_static("content-length, content-range, date, etag, x-request-id");

/// Cache lifetimes that depend on the target duration (RFC 8216bis appendix B.1).
pub(crate) struct CacheHeaders {
    /// A blocking reload: what it asked for never changes, only gets longer; six target durations.
    pub(crate) blocking: HeaderValue,
    /// A playlist as it stands: half a target duration, at least the one second that the header can say.
    pub(crate) current: HeaderValue,
}

impl CacheHeaders {
    pub(crate) fn new(timing: &Timing) -> Self {
        let max_age = |seconds: u32| {
            HeaderValue::from_str(&format!("public, max-age={seconds}"))
                .expect("digits are allowed in header values")
        };
        Self {
            blocking: max_age(timing.target_duration_s.saturating_mul(6)),
            current: max_age((timing.target_duration_s / 2).max(1)),
        }
    }
}

pub(crate) fn cors(headers: &mut HeaderMap) {
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, ANY);
    headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
}

pub(crate) fn vary_encoding(headers: &mut HeaderMap) {
    headers.insert(header::VARY, ACCEPT_ENCODING);
}

/// The answer to a preflight (Fetch standard, CORS protocol): a day, for reading.
pub(crate) fn preflight(headers: &mut HeaderMap) {
    cors(headers);
    headers.insert(header::ALLOW, ALLOWED);
    headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, ALLOWED);
    headers.insert(
        header::ACCESS_CONTROL_ALLOW_HEADERS,
        HeaderValue::from_static("range, if-none-match, if-range, cache-control"),
    );
    headers.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("86400"));
}
