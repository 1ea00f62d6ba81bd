//! The embedded web application.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::sync::LazyLock;

use axum::body::Body;
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};

use crate::problem::{Problem, request_id};
use crate::routes::Api;
use crate::view::ChannelState;

/// Path within the application and bytes, sorted by path.
static EMBEDDED: &[(&str, &[u8])] = include!(concat!(env!("OUT_DIR"), "/files.rs"));

/// One file of the application with its precompressed forms.
#[derive(Debug)]
struct File {
    plain: &'static [u8],
    brotli: Option<&'static [u8]>,
    gzip: Option<&'static [u8]>,
    etag: String,
    content_type: &'static str,
}

/// The application's files by path.
#[derive(Debug)]
struct Files(HashMap<&'static str, File>);

static FILES: LazyLock<Files> = LazyLock::new(|| Files::new(EMBEDDED));

/// What a page may load (CSP 3): only from here; `blob:` for media sources and the demuxing workers of players;
/// inline styles because the controls' shadow trees carry their own.
macro_rules! csp {
    ($ancestors:literal) => {
        concat!(
            "default-src 'self'; script-src 'self'; worker-src 'self' blob:; connect-src 'self'; media-src 'self' blob:; ",
            "img-src 'self' data: blob:; font-src 'self' data:; style-src 'self' 'unsafe-inline'; object-src 'none'; ",
            "base-uri 'none'; form-action 'self'; frame-ancestors ",
            $ancestors
        )
    };
}
const CSP: &str = csp!("'self'");
const CSP_EMBED: &str = csp!("*");

impl Files {
    fn new(embedded: &'static [(&'static str, &'static [u8])]) -> Self {
        let by_name: HashMap<&str, &'static [u8]> = embedded.iter().copied().collect();
        let compressed = |name: &str, suffix: &str| by_name.get(format!("{name}{suffix}").as_str()).copied();
        let hasher = BuildHasherDefault::<DefaultHasher>::default();
        let file = |(name, plain): &(&'static str, &'static [u8])| {
            let file = File {
                plain,
                brotli: compressed(name, ".br"),
                gzip: compressed(name, ".gz"),
                etag: format!("\"{:016x}\"", hasher.hash_one(plain)),
                content_type: content_type(name),
            };
            (*name, file)
        };
        let is_form = |name: &str| name.ends_with(".br") || name.ends_with(".gz");
        Self(
            embedded
                .iter()
                .filter(|(name, _)| !is_form(name))
                .map(file)
                .collect(),
        )
    }

    fn answer(&self, request: &Request) -> Option<Response> {
        let path = request.uri().path();
        let name = path.trim_start_matches('/');
        if let Some(file) = self.0.get(name).filter(|_| name != "index.html") {
            let is_hashed = name.starts_with("assets/");
            return Some(respond(
                file,
                request,
                if is_hashed {
                    Cache::Immutable
                } else {
                    Cache::Revalidate
                },
                CSP,
            ));
        }
        let is_page = path == "/"
            || ["/watch/", "/video/", "/embed/", "/studio", "/admin"]
                .iter()
                .any(|prefix| path.starts_with(prefix));
        let index = self.0.get("index.html").filter(|_| is_page)?;
        let policy = if path.starts_with("/embed/") {
            CSP_EMBED
        } else {
            CSP
        };
        Some(respond(index, request, Cache::Revalidate, policy))
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Cache {
    /// The name changes with the bytes.
    Immutable,
    /// Ask each time, with the entity tag.
    Revalidate,
}

fn respond(file: &File, request: &Request, cache: Cache, policy: &'static str) -> Response {
    let accepted = Accepted::of(request.headers());
    let (bytes, encoding) = match (file.brotli, file.gzip) {
        (Some(brotli), _) if accepted.brotli => (brotli, Some("br")),
        (_, Some(gzip)) if accepted.gzip => (gzip, Some("gzip")),
        _ => (file.plain, None),
    };
    let etag = match encoding {
        Some(encoding) => format!("{}-{encoding}\"", file.etag.trim_end_matches('"')),
        None => file.etag.clone(),
    };
    let known = request
        .headers()
        .get(header::IF_NONE_MATCH)
        .and_then(|known| known.to_str().ok());
    let is_known = known.is_some_and(|known| {
        known
            .split(',')
            .any(|tag| tag.trim().trim_start_matches("W/") == etag)
    });
    let mut response = if is_known {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        Body::from(Bytes::from_static(bytes)).into_response()
    };
    let headers = response.headers_mut();
    if !is_known {
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(file.content_type));
        if let Some(encoding) = encoding {
            headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static(encoding));
        }
    }
    if let Ok(etag) = HeaderValue::try_from(etag) {
        headers.insert(header::ETAG, etag);
    }
    headers.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
    let lifetime = match cache {
        Cache::Immutable => "public, max-age=31536000, immutable",
        Cache::Revalidate => "no-cache",
    };
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(lifetime));
    security(headers, policy);
    response
}

fn security(headers: &mut HeaderMap, policy: &'static str) {
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(policy));
    headers.insert(
        header::REFERRER_POLICY,
        HeaderValue::from_static("strict-origin-when-cross-origin"),
    );
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
}

struct Accepted {
    brotli: bool,
    gzip: bool,
}

impl Accepted {
    fn of(headers: &HeaderMap) -> Self {
        let text = headers
            .get(header::ACCEPT_ENCODING)
            .and_then(|value| value.to_str().ok())
            .unwrap_or("");
        let takes = |coding: &str| {
            text.split(',').any(|item| {
                let (name, parameters) = item.split_once(';').unwrap_or((item, ""));
                let refused = parameters
                    .trim()
                    .strip_prefix("q=")
                    .is_some_and(|q| q.trim().parse() == Ok(0.0_f32));
                name.trim().eq_ignore_ascii_case(coding) && !refused
            })
        };
        Self {
            brotli: takes("br"),
            gzip: takes("gzip"),
        }
    }
}

fn content_type(name: &str) -> &'static str {
    match name.rsplit_once('.').map_or("", |(_, extension)| extension) {
        "html" => "text/html; charset=utf-8",
        "js" | "mjs" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "json" | "map" => "application/json",
        "webmanifest" => "application/manifest+json",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "webp" => "image/webp",
        "ico" => "image/x-icon",
        "woff2" => "font/woff2",
        "wasm" => "application/wasm",
        "txt" => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}

/// Whether this build carries the web application; without it `/` says how to get it and lists the live channels.
pub fn pages_embedded() -> bool {
    FILES.0.contains_key("index.html")
}

/// A page, a file of the application, or 404.
pub(crate) fn answer(api: &Api, request: &Request) -> Response {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let problem = Problem::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "method_not_allowed",
            "Pages are read with GET and HEAD.",
        );
        let mut response = problem.response(&request_id(request.headers()));
        response
            .headers_mut()
            .insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
        return response;
    }
    if let Some(response) = FILES.answer(request) {
        return response;
    }
    if request.uri().path() == "/" {
        return without_pages(api);
    }
    Problem::new(StatusCode::NOT_FOUND, "page_not_found", "There is no such page.")
        .response(&request_id(request.headers()))
}

/// `/` of a build without the application.
fn without_pages(api: &Api) -> Response {
    let mut list = String::new();
    for view in api.directory.channels() {
        if matches!(view.state, ChannelState::Live | ChannelState::Reconnecting) {
            let (name, hls, dash) = (escape(&view.name), escape(&view.hls), escape(&view.dash));
            let _ = write!(
                list,
                "<li>{name}: <a href=\"{hls}\">HLS</a>, <a href=\"{dash}\">DASH</a></li>"
            );
        }
    }
    if list.is_empty() {
        list.push_str("<li>nothing is live now</li>");
    }
    let page = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>Tidewire</title>\
         <style>body{{font:16px/1.5 sans-serif;max-width:40em;margin:3em auto;padding:0 1em;color-scheme:light dark}}</style>\
         <h1>Tidewire</h1><p>The server runs. Its pages are not in this build: it was made without Node.js. \
         Run <code>cargo xtask web</code> and build again to have them.</p>\
         <p>Live now, for a player that takes a URL:</p><ul>{list}</ul></html>"
    );
    let mut response = (
        [
            (header::CONTENT_TYPE, "text/html; charset=utf-8"),
            (header::CACHE_CONTROL, "no-cache"),
        ],
        page,
    )
        .into_response();
    security(response.headers_mut(), CSP);
    response
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    static BUILT: &[(&str, &[u8])] = &[
        ("assets/app-1.js", b"script"),
        ("assets/app-1.js.br", b"brotli"),
        ("assets/app-1.js.gz", b"gzip"),
        ("favicon.svg", b"<svg/>"),
        ("index.html", b"<html>"),
    ];

    fn ask(path: &str, headers: &[(&str, &str)]) -> Option<Response> {
        let mut request = Request::builder().uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        Files::new(BUILT).answer(&request.body(Body::empty()).unwrap())
    }

    #[test]
    fn files_and_pages() {
        let cases = [
            ("/", Some(("text/html; charset=utf-8", "no-cache"))),
            ("/watch/demo", Some(("text/html; charset=utf-8", "no-cache"))),
            ("/video/title", Some(("text/html; charset=utf-8", "no-cache"))),
            (
                "/assets/app-1.js",
                Some((
                    "text/javascript; charset=utf-8",
                    "public, max-age=31536000, immutable",
                )),
            ),
            ("/favicon.svg", Some(("image/svg+xml", "no-cache"))),
            ("/assets/app-1.js.br", None),
            ("/assets/none.js", None),
            ("/other", None),
            ("/index.html", None),
        ];
        for (path, expected) in cases {
            let response = ask(path, &[]);
            let found = response.as_ref().map(|response| {
                let text = |name| response.headers()[name].to_str().unwrap();
                (text("content-type"), text("cache-control"))
            });
            assert_eq!(found, expected, "{path}");
        }
    }

    #[test]
    fn compressed_forms_and_validators() {
        let encoded = |accept: &str| {
            let response = ask("/assets/app-1.js", &[("accept-encoding", accept)]).unwrap();
            response
                .headers()
                .get("content-encoding")
                .map(|value| value.to_str().unwrap().to_owned())
        };
        assert_eq!(encoded("gzip, br").as_deref(), Some("br"));
        assert_eq!(encoded("gzip, br;q=0").as_deref(), Some("gzip"));
        assert_eq!(encoded("identity"), None);
        let etag = ask("/", &[]).unwrap().headers()["etag"]
            .to_str()
            .unwrap()
            .to_owned();
        assert_eq!(ask("/", &[("if-none-match", &etag)]).unwrap().status(), 304);
        assert_eq!(ask("/", &[("if-none-match", "\"other\"")]).unwrap().status(), 200);
    }

    #[test]
    fn only_embeds_may_be_framed_by_others() {
        let policy = |path| {
            ask(path, &[]).unwrap().headers()["content-security-policy"]
                .to_str()
                .unwrap()
                .to_owned()
        };
        assert!(policy("/watch/demo").ends_with("frame-ancestors 'self'"));
        assert!(policy("/embed/demo").ends_with("frame-ancestors *"));
    }
}
