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

/// What a 401 must say (RFC 9110 11.6.1); the scheme's error codes are RFC 6750 3.1.
pub(crate) const WWW_AUTHENTICATE: HeaderValue = HeaderValue::from_static("Bearer error=\"invalid_token\"");

/// Narrows the lifetime of an answer behind a token: only the viewer's own cache may keep it, and not longer than the token
/// holds. A shared cache does not know who may have it, nor when a key was revoked (RFC 9111 5.2.2.7).
pub(crate) fn keep_private(headers: &mut HeaderMap, left_s: u64) {
    let given = headers
        .get(header::CACHE_CONTROL)
        .and_then(|value| value.to_str().ok())
        .unwrap_or("no-store");
    if given.contains("no-store") {
        return;
    }
    let max_age = given
        .split(',')
        .find_map(|part| part.trim().strip_prefix("max-age="))
        .and_then(|seconds| seconds.parse::<u64>().ok());
    let lifetime = match max_age {
        Some(seconds) if given.contains("immutable") => {
            format!("private, max-age={}, immutable", seconds.min(left_s))
        }
        Some(seconds) => format!("private, max-age={}", seconds.min(left_s)),
        None => "private, no-cache".to_owned(),
    };
    if let Ok(lifetime) = HeaderValue::try_from(lifetime) {
        headers.insert(header::CACHE_CONTROL, lifetime);
    }
    // The address of a page behind a token is the token: it goes to nobody else.
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn behind_a_token_nothing_is_shared_or_outlives_it() {
        let cases = [
            (
                "public, max-age=31536000, immutable",
                60,
                "private, max-age=60, immutable",
            ),
            ("public, max-age=12", 60, "private, max-age=12"),
            ("public, max-age=12", 5, "private, max-age=5"),
            ("public, max-age=1", 0, "private, max-age=0"),
            ("no-cache", 60, "private, no-cache"),
            ("no-store", 60, "no-store"),
        ];
        for (given, left_s, expected) in cases {
            let mut headers = HeaderMap::new();
            headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(given));
            keep_private(&mut headers, left_s);
            assert_eq!(headers[header::CACHE_CONTROL], expected, "{given}");
        }
    }
}
