//! One request for a title: its texts, or an object of the store, as an HTTP response.

use std::sync::Arc;

use http::{HeaderValue, Method, Response, StatusCode, header};
use store::{ObjectRef, StoreError, StoredTitle, TitleText};

use crate::body::{Body, Kind, Stored};
use crate::conditional::{if_range_holds, none_match_holds};
use crate::headers;
use crate::media_answer::{Asked, content_range, media_headers, not_modified};
use crate::problem::{self, Problem};
use crate::range::{Ranged, ranged};
use crate::route::{TitleObject, TitlePath};
use crate::stats::Class;

impl TitleObject<'_> {
    pub(crate) fn class(&self) -> Class {
        match self {
            Self::Master | Self::Playlist { .. } => Class::Playlist,
            Self::Mpd => Class::Mpd,
            Self::Init { .. } => Class::Init,
            Self::Segment { .. } => Class::Segment,
        }
    }
}

/// The response to a GET or HEAD.
pub(crate) async fn answer(mut asked: Asked<'_>, path: TitlePath<'_>) -> Result<Response<Body>, Problem> {
    let finding = asked.core.shared.streams.title(path.title, asked.viewer);
    let title = bounded(&mut asked, finding)
        .await?
        .ok_or(problem::TITLE_NOT_FOUND)?;
    let (wanted, kind) = match path.object {
        TitleObject::Master => (TitleText::Master, headers::HLS),
        TitleObject::Mpd => (TitleText::Mpd, headers::DASH),
        TitleObject::Playlist { rendition } => (TitleText::Playlist(rendition.to_owned()), headers::HLS),
        TitleObject::Init { rendition, epoch } => {
            let object = title.init(rendition, epoch).ok_or(problem::MEDIA_UNKNOWN)?;
            return object_answer(&mut asked, &title, object).await;
        }
        TitleObject::Segment { rendition, msn } => {
            let object = title.segment(rendition, msn).ok_or(problem::MEDIA_UNKNOWN)?;
            return object_answer(&mut asked, &title, object).await;
        }
    };
    let text = bounded(&mut asked, title.text(wanted)).await?;
    let text = text.ok_or(problem::RENDITION_NOT_FOUND)?;
    asked.text(&text, kind, headers::TITLE)
}

/// Waits for the store, within the time that an answer may take.
async fn bounded<T>(
    asked: &mut Asked<'_>,
    work: impl Future<Output = Result<T, StoreError>>,
) -> Result<T, Problem> {
    asked.guard.set_waiting(true);
    let outcome = tokio::time::timeout(asked.core.shared.limits.api_timeout, work).await;
    asked.guard.set_waiting(false);
    outcome.map_err(|_| problem::API_TIMEOUT)?.map_err(|error| {
        tracing::error!(%error, "the store could not be read");
        problem::STORE_FAILED
    })
}

/// An init or a segment: the store's name of it is its entity tag.
async fn object_answer(
    asked: &mut Asked<'_>,
    title: &Arc<StoredTitle>,
    object: ObjectRef,
) -> Result<Response<Body>, Problem> {
    let etag = format!("\"{}\"", object.cid);
    if asked
        .header(&header::IF_NONE_MATCH)
        .is_some_and(|known| none_match_holds(known, &etag))
    {
        let mut response = not_modified();
        media_headers(response.headers_mut(), etag);
        return Ok(response);
    }
    let wants_slice = asked
        .header(&header::IF_RANGE)
        .is_none_or(|known| if_range_holds(known, &etag));
    let range = asked
        .header(&header::RANGE)
        .filter(|_| wants_slice && asked.request.method() == Method::GET);
    let length = object.bytes;
    let (start, end, status) = match ranged(range, length) {
        Ranged::Whole => (0, length, StatusCode::OK),
        Ranged::Slice { start, end } => (start, end, StatusCode::PARTIAL_CONTENT),
        Ranged::Unsatisfiable => {
            let mut response = problem::RANGE
                .response()
                .map(|bytes| Body::new(Kind::Full(bytes), Class::Segment));
            content_range(response.headers_mut(), &format!("bytes */{length}"));
            return Ok(response);
        }
    };
    // Opened, and its first bytes read, before the answer begins: what cannot be read is no 200.
    let reader = bounded(asked, title.store().open_object(object)).await?;
    let body = bounded(asked, Stored::begin(reader, start, end)).await?;
    let mut response = Response::new(Body::new(Kind::Stored(Box::new(body)), Class::Segment));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    if status == StatusCode::PARTIAL_CONTENT {
        content_range(headers, &format!("bytes {start}-{}/{length}", end - 1));
    }
    headers.insert(header::CONTENT_TYPE, headers::MP4);
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(end - start));
    headers.insert(header::ACCEPT_RANGES, headers::BYTES);
    media_headers(headers, etag);
    Ok(response)
}
