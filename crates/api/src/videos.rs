//! The titles: streams that are over and can be played.

use std::pin::Pin;
use std::str::FromStr;

use http::{Method, StatusCode};

use crate::operation::{Call, Operation, operation};
use crate::problem::{self, Problem};
use crate::view::{VideoPage, VideoView};

/// Titles being looked for; the sentence if they cannot be.
pub type FindingVideos = Pin<Box<dyn Future<Output = Result<VideoPage, String>> + Send>>;
/// One title being looked for.
pub type FindingVideo = Pin<Box<dyn Future<Output = Result<Option<VideoView>, String>> + Send>>;

/// Where a page of titles begins: behind the one that began then and has this id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VideoCursor {
    /// Milliseconds since 1970.
    pub started_ms: i64,
    /// Its id.
    pub id: String,
}

impl std::fmt::Display for VideoCursor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.started_ms, self.id)
    }
}

impl FromStr for VideoCursor {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (started_ms, id) = text.split_once('.').ok_or(())?;
        let is_plain = id.len() <= 64 && id.bytes().all(|byte| byte.is_ascii_alphanumeric());
        let started_ms = started_ms.parse().map_err(|_| ())?;
        let id = is_plain.then(|| id.to_owned()).ok_or(())?;
        Ok(Self { started_ms, id })
    }
}

pub(crate) fn operations() -> Vec<Operation> {
    vec![
        operation(
            Method::GET,
            "/api/v1/videos",
            "listVideos",
            "List the public titles, newest first",
        )
        .paged_by(r#"{"type":"string","pattern":"^-?[0-9]{1,18}\\.[0-9A-Za-z]{0,64}$"}"#)
        .refuses(&[problem::STORE_FAILED])
        .json(StatusCode::OK, videos),
        operation(
            Method::GET,
            "/api/v1/videos/{id}",
            "getVideo",
            "Show a public title",
        )
        .refuses(&[problem::TITLE_NOT_FOUND, problem::STORE_FAILED])
        .json(StatusCode::OK, video),
    ]
}

async fn videos(call: Call) -> Result<VideoPage, Problem> {
    let limit = call.limit()?;
    let after = call.query("after").map(str::parse).transpose().map_err(|()| {
        let detail = "`after` takes the `next` of another answer.";
        Problem::said(problem::PARAMETER_INVALID, detail)
    })?;
    let page = call.api.directory.videos(after, limit).await;
    page.map_err(|sentence| Problem::said(problem::STORE_FAILED, sentence))
}

async fn video(call: Call) -> Result<VideoView, Problem> {
    let found = call.api.directory.video(call.part("id")).await;
    found
        .map_err(|sentence| Problem::said(problem::STORE_FAILED, sentence))?
        .ok_or_else(|| problem::TITLE_NOT_FOUND.into())
}
