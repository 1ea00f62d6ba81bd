//! `Idempotency-Key`: a retry of a request that made something gets the first answer and makes nothing.
//!
//! Answers are kept in memory only, secrets that were shown once included; a restart forgets them.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http::{HeaderValue, StatusCode, header};
use tokio::time::Instant;

use crate::operation::BODY_BYTES_MAX;
use crate::problem::{self, Problem};

/// Answers that are kept; the oldest goes for a new one.
const KEPT_MAX: usize = 1_000;
/// How long an answer is kept.
const KEPT_FOR: Duration = Duration::from_secs(24 * 3600);
/// Length of a key.
const KEY_BYTES_MAX: usize = 255;

/// Requests that came with a key.
#[derive(Debug, Default)]
pub(crate) struct Answers {
    kept: Mutex<HashMap<Name, Kept>>,
    hasher: RandomState,
}

/// Keys of different tokens and paths have nothing to do with one another.
type Name = (String, String, String);

#[derive(Debug)]
struct Kept {
    at: Instant,
    body_hash: u64,
    /// `None` while the first request is being answered.
    answer: Option<(StatusCode, Option<HeaderValue>, Bytes)>,
}

/// What a key comes to.
pub(crate) enum Begun {
    /// It was here before: this was the answer.
    Replay(Response),
    /// It is new.
    First(Once),
}

/// A request that is being answered for the first time. If it is dropped, the key is free again.
pub(crate) struct Once {
    answers: Arc<Answers>,
    name: Option<Name>,
}

impl Answers {
    fn lock(&self) -> MutexGuard<'_, HashMap<Name, Kept>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Once {
    pub(crate) fn begin(
        answers: &Arc<Answers>,
        token: &str,
        path: &str,
        key: &HeaderValue,
        body: &[u8],
    ) -> Result<Begun, Problem> {
        let key = key.as_bytes();
        if key.is_empty() || key.len() > KEY_BYTES_MAX || !key.iter().all(u8::is_ascii_graphic) {
            return Err(problem::IDEMPOTENCY_KEY_INVALID.into());
        }
        let key = String::from_utf8_lossy(key).into_owned();
        let name = (token.to_owned(), path.to_owned(), key);
        let (now, body_hash) = (Instant::now(), answers.hasher.hash_one(body));
        let mut kept = answers.lock();
        match kept.get(&name).filter(|kept| now - kept.at < KEPT_FOR) {
            Some(kept) if kept.body_hash != body_hash => return Err(problem::IDEMPOTENCY_MISMATCH.into()),
            Some(Kept { answer: None, .. }) => return Err(problem::IDEMPOTENCY_IN_USE.into()),
            Some(Kept {
                answer: Some((status, content_type, body)),
                ..
            }) => {
                let mut response = Response::new(Body::from(body.clone()));
                *response.status_mut() = *status;
                let headers = response.headers_mut();
                headers.extend(content_type.clone().map(|value| (header::CONTENT_TYPE, value)));
                headers.insert("idempotency-replayed", HeaderValue::from_static("true"));
                return Ok(Begun::Replay(response));
            }
            None => {}
        }
        if kept.len() >= KEPT_MAX {
            let oldest = kept.iter().min_by_key(|(_, kept)| kept.at);
            if let Some(oldest) = oldest.map(|(name, _)| name.clone()) {
                kept.remove(&oldest);
            }
        }
        let first = Kept {
            at: now,
            body_hash,
            answer: None,
        };
        kept.insert(name.clone(), first);
        Ok(Begun::First(Self {
            answers: Arc::clone(answers),
            name: Some(name),
        }))
    }

    /// Keeps the answer for those who ask again.
    pub(crate) async fn keep(mut self, response: Response) -> Response {
        let (parts, body) = response.into_parts();
        let body = axum::body::to_bytes(body, BODY_BYTES_MAX)
            .await
            .unwrap_or_default();
        let content_type = parts.headers.get(header::CONTENT_TYPE).cloned();
        if let Some(name) = self.name.take()
            && let Some(kept) = self.answers.lock().get_mut(&name)
        {
            kept.answer = Some((parts.status, content_type, body.clone()));
        }
        Response::from_parts(parts, Body::from(body))
    }
}

impl Drop for Once {
    fn drop(&mut self) {
        if let Some(name) = self.name.take() {
            self.answers.lock().remove(&name);
        }
    }
}
