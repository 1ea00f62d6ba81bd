//! One media request: what the live window says, as an HTTP response.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use hyper::body::Incoming;
use package::{Answer, LiveWindow, RenditionLog, SegmentBody, Text};

use crate::body::{Body, Follow, Kind};
use crate::conditional::{accepts_gzip, gzip_etag, if_range_holds, none_match_holds};
use crate::connection::InFlight;
use crate::headers;
use crate::hold::{Look, Unheld, hold};
use crate::problem::{self, Problem};
use crate::range::{Ranged, ranged};
use crate::route::{Directives, LivePath, Object, directives};
use crate::service::CoreState;
use crate::stats::Class;
use crate::streams::Viewer;
use crate::viewers::Viewers;

/// One media request on its way.
pub(crate) struct Asked<'a> {
    pub(crate) core: &'a CoreState,
    pub(crate) request: &'a Request<Incoming>,
    pub(crate) viewer: Viewer,
    /// The request's path without a token.
    pub(crate) path: &'a str,
    pub(crate) guard: &'a mut InFlight,
    /// Time spent waiting for media.
    pub(crate) held: &'a mut Option<Duration>,
}

impl Object<'_> {
    pub(crate) fn class(&self) -> Class {
        match self {
            Self::Master | Self::Playlist { .. } => Class::Playlist,
            Self::Mpd => Class::Mpd,
            Self::Thumbnail => Class::Other,
            Self::Init { .. } => Class::Init,
            Self::Segment { .. } => Class::Segment,
            Self::Part { .. } => Class::Part,
        }
    }
}

/// The response to a GET or HEAD.
pub(crate) async fn answer(mut asked: Asked<'_>, path: LivePath<'_>) -> Result<Response<Body>, Problem> {
    if path.object == Object::Thumbnail {
        return asked.thumbnail(path.channel).await;
    }
    let streams = &asked.core.shared.streams;
    let window = streams
        .window(path.channel, asked.viewer)
        .ok_or(problem::CHANNEL_OFFLINE)?;
    match path.object {
        Object::Master => {
            asked.mark_viewer(path.channel);
            let text = asked.starting(&window, LiveWindow::master).await?;
            asked.text(&text, headers::HLS, headers::SHORT)
        }
        Object::Mpd => {
            asked.mark_viewer(path.channel);
            let text = asked.starting(&window, |window| window.mpd(utc_ms())).await?;
            asked.text(&text, headers::DASH, headers::SHORT)
        }
        Object::Playlist { rendition } => {
            asked.mark_viewer(path.channel);
            let directives = directives(asked.request.uri().query()).map_err(|_| problem::BAD_DIRECTIVE)?;
            let log = asked.rendition(&window, rendition).await?;
            asked.playlist(&log, directives).await
        }
        Object::Init {
            rendition,
            stream,
            epoch,
        } => {
            let log = rendition_of(&window, stream, rendition)?;
            let bytes = log.init(epoch).ok_or(problem::MEDIA_UNKNOWN)?;
            asked.media(Whole::One(bytes))
        }
        Object::Part {
            rendition,
            stream,
            msn,
            part,
        } => {
            let log = rendition_of(&window, stream, rendition)?;
            let bytes = asked.wait(|| log.part(msn, part)).await?;
            asked.media(Whole::One(bytes))
        }
        Object::Segment {
            rendition,
            stream,
            msn,
        } => {
            let log = rendition_of(&window, stream, rendition)?;
            let segment = asked.wait(|| log.segment(msn)).await?;
            if segment.complete {
                asked.media(Whole::Parts(segment.parts))
            } else {
                Ok(asked.growing(log, msn, segment))
            }
        }
        Object::Thumbnail => Err(problem::NO_THUMBNAIL),
    }
}

/// Media of another stream of the channel is gone for good; its names never come back.
fn rendition_of(window: &LiveWindow, stream: &str, rendition: &str) -> Result<Arc<RenditionLog>, Problem> {
    if window.stream_id() != stream {
        return Err(problem::MEDIA_EXPIRED);
    }
    window.rendition(rendition).ok_or(problem::RENDITION_NOT_FOUND)
}

/// Bytes of a whole object.
enum Whole {
    One(Bytes),
    Parts(Vec<Bytes>),
}

impl Whole {
    fn length(&self) -> u64 {
        match self {
            Self::One(bytes) => bytes.len() as u64,
            Self::Parts(parts) => parts.iter().map(|part| part.len() as u64).sum(),
        }
    }

    /// Bytes `start..end`, which lie inside.
    fn slice(self, start: u64, end: u64) -> Kind {
        let (mut start, mut left) = (start as usize, (end - start) as usize);
        let parts = match self {
            Self::One(bytes) => return Kind::Full(bytes.slice(start..start + left)),
            Self::Parts(parts) => parts,
        };
        let length = left as u64;
        let mut kept = Vec::with_capacity(parts.len());
        for part in parts {
            if start >= part.len() {
                start -= part.len();
                continue;
            }
            let take = left.min(part.len() - start);
            if take == 0 {
                break;
            }
            kept.push(part.slice(start..start + take));
            left -= take;
            start = 0;
        }
        Kind::Parts(kept.into_iter(), length)
    }

    fn whole(self) -> Kind {
        let length = self.length();
        match self {
            Self::One(bytes) => Kind::Full(bytes),
            Self::Parts(parts) => Kind::Parts(parts.into_iter(), length),
        }
    }
}

impl Asked<'_> {
    pub(crate) fn header(&self, name: &header::HeaderName) -> Option<&[u8]> {
        self.request.headers().get(name).map(HeaderValue::as_bytes)
    }

    /// One session's playlist request, reported once a second.
    fn mark_viewer(&self, channel: &str) {
        let connection = self.guard.connection();
        let user_agent = self.header(&header::USER_AGENT).unwrap_or_default();
        let key = Viewers::key(channel, connection.peer.ip(), user_agent);
        let now_s = self.core.now_s();
        if connection.marks_viewer(key, now_s) {
            self.core.shared.viewers.seen(channel, key, now_s);
        }
    }

    async fn thumbnail(&mut self, channel: &str) -> Result<Response<Body>, Problem> {
        let picture = self.core.shared.streams.thumbnail(channel, self.viewer);
        self.guard.set_waiting(true);
        let picture = tokio::time::timeout(self.core.shared.limits.api_timeout, picture).await;
        self.guard.set_waiting(false);
        let picture = picture
            .map_err(|_| problem::API_TIMEOUT)?
            .ok_or(problem::NO_THUMBNAIL)?;
        let mut response = Response::new(Body::new(Kind::Full(picture), Class::Other));
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, headers::JPEG);
        headers.insert(header::CACHE_CONTROL, headers::THUMBNAIL);
        headers::cors(headers);
        Ok(response)
    }

    /// Holds while the stream has nothing to play yet.
    async fn starting<T>(
        &mut self,
        window: &LiveWindow,
        get: impl Fn(&LiveWindow) -> Option<T>,
    ) -> Result<T, Problem> {
        let look = || match get(window) {
            Some(found) => Look::Now(Some(found)),
            None => window.ready().map_or(Look::Now(None), Look::Later),
        };
        match hold(
            self.core,
            self.guard,
            self.core.shared.timing.start_hold,
            self.held,
            look,
        )
        .await
        {
            Ok(Some(found)) => Ok(found),
            // Ready was said between the two looks.
            Ok(None) => get(window).ok_or(problem::CHANNEL_OFFLINE),
            Err(Unheld::Late) => Err(problem::STARTING),
            Err(Unheld::Draining) => Err(problem::SHUTTING_DOWN),
        }
    }

    async fn rendition(&mut self, window: &LiveWindow, name: &str) -> Result<Arc<RenditionLog>, Problem> {
        match window.rendition(name) {
            Some(log) => Ok(log),
            None => match self.starting(window, |window| window.rendition(name)).await {
                Err(problem) if problem.code == problem::CHANNEL_OFFLINE.code => {
                    Err(problem::RENDITION_NOT_FOUND)
                }
                other => other,
            },
        }
    }

    /// Holds until the media exists, at most three target durations.
    async fn wait<T>(&mut self, ask: impl Fn() -> Answer<T>) -> Result<T, Problem> {
        let look = || match ask() {
            Answer::Ready(found) => Look::Now(Ok(found)),
            Answer::Wait(listener) => Look::Later(listener),
            Answer::TooFarAhead => Look::Now(Err(problem::TOO_FAR_AHEAD)),
            Answer::Expired => Look::Now(Err(problem::MEDIA_EXPIRED)),
            Answer::Unknown => Look::Now(Err(problem::MEDIA_UNKNOWN)),
        };
        match hold(
            self.core,
            self.guard,
            self.core.shared.timing.hold(),
            self.held,
            look,
        )
        .await
        {
            Ok(answer) => answer,
            Err(Unheld::Late) => Err(problem::HELD_TOO_LONG),
            Err(Unheld::Draining) => Err(problem::SHUTTING_DOWN),
        }
    }

    async fn playlist(&mut self, log: &RenditionLog, ask: Directives) -> Result<Response<Body>, Problem> {
        let text = self.wait(|| log.playlist(ask.msn, ask.part, ask.skip)).await?;
        let cache = &self.core.shared.cache;
        // An ended log answers whatever is asked for. Playlists have no stream in their names: the next stream of the channel
        // will mean something else by the same URL.
        let lifetime = if ask.msn.is_some() && !log.is_ended() {
            &cache.blocking
        } else {
            &cache.current
        };
        self.text(&text, headers::HLS, lifetime.clone())
    }

    /// A playlist or manifest: validators and gzip, no ranges.
    pub(crate) fn text(
        &self,
        text: &Text,
        kind: HeaderValue,
        lifetime: HeaderValue,
    ) -> Result<Response<Body>, Problem> {
        let is_gzip = self.header(&header::ACCEPT_ENCODING).is_some_and(accepts_gzip);
        let is_known = self
            .header(&header::IF_NONE_MATCH)
            .is_some_and(|known| none_match_holds(known, &text.etag));
        let mut response = if is_known {
            not_modified()
        } else {
            let bytes = if is_gzip { &text.gzip } else { &text.body };
            Response::new(Body::new(Kind::Full(bytes.clone()), Class::Playlist))
        };
        let headers = response.headers_mut();
        if !is_known {
            headers.insert(header::CONTENT_TYPE, kind);
            if is_gzip {
                headers.insert(header::CONTENT_ENCODING, headers::GZIP);
            }
        }
        let etag = if is_gzip {
            HeaderValue::try_from(gzip_etag(&text.etag))
        } else {
            HeaderValue::from_str(&text.etag)
        };
        if let Ok(etag) = etag {
            headers.insert(header::ETAG, etag);
        }
        headers.insert(header::CACHE_CONTROL, lifetime);
        headers::vary_encoding(headers);
        headers::cors(headers);
        Ok(response)
    }

    /// The tag of an immutable object: its name without the channel is as unique as its bytes.
    fn media_etag(&self) -> String {
        let name = self.path.splitn(4, '/').nth(3).unwrap_or(self.path);
        let mut tag = String::with_capacity(name.len() + 2);
        tag.push('"');
        tag.push_str(name);
        tag.push('"');
        tag
    }

    /// An init segment, part or complete segment: validators and one range.
    fn media(&self, whole: Whole) -> Result<Response<Body>, Problem> {
        let etag = self.media_etag();
        if self
            .header(&header::IF_NONE_MATCH)
            .is_some_and(|known| none_match_holds(known, &etag))
        {
            let mut response = not_modified();
            media_headers(response.headers_mut(), etag);
            return Ok(response);
        }
        let length = whole.length();
        let wants_slice = self
            .header(&header::IF_RANGE)
            .is_none_or(|known| if_range_holds(known, &etag));
        let range = self
            .header(&header::RANGE)
            .filter(|_| wants_slice && self.request.method() == Method::GET);
        let mut response = match ranged(range, length) {
            Ranged::Whole => Response::new(Body::new(whole.whole(), Class::Part)),
            Ranged::Slice { start, end } => {
                let mut response = Response::new(Body::new(whole.slice(start, end), Class::Part));
                *response.status_mut() = StatusCode::PARTIAL_CONTENT;
                content_range(
                    response.headers_mut(),
                    &format!("bytes {start}-{}/{length}", end - 1),
                );
                response
            }
            Ranged::Unsatisfiable => {
                let mut response = problem::RANGE
                    .response()
                    .map(|bytes| Body::new(Kind::Full(bytes), Class::Part));
                content_range(response.headers_mut(), &format!("bytes */{length}"));
                return Ok(response);
            }
        };
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, headers::MP4);
        headers.insert(header::ACCEPT_RANGES, headers::BYTES);
        media_headers(headers, etag);
        Ok(response)
    }

    /// A segment in progress: chunked transfer, no ranges. Its bytes are final, so it may be kept like a complete one.
    fn growing(&self, log: Arc<RenditionLog>, msn: u64, first: SegmentBody) -> Response<Body> {
        let follow = Follow::new(log, msn, first, self.core.shared.timing.hold());
        let mut response = Response::new(Body::new(Kind::Follow(Box::new(follow)), Class::Segment));
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, headers::MP4);
        media_headers(headers, self.media_etag());
        response
    }
}

pub(crate) fn not_modified() -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NOT_MODIFIED;
    response
}

pub(crate) fn media_headers(headers: &mut HeaderMap, etag: String) {
    if let Ok(etag) = HeaderValue::try_from(etag) {
        headers.insert(header::ETAG, etag);
    }
    headers.insert(header::CACHE_CONTROL, headers::IMMUTABLE);
    headers::cors(headers);
}

pub(crate) fn content_range(headers: &mut HeaderMap, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(header::CONTENT_RANGE, value);
    }
}

fn utc_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
