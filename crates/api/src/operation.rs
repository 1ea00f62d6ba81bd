//! One definition of a route: the router, the checks before the handler and the document are made from it.
//!
//! A handler's types are the document's: what it takes is parsed before it is called, what it gives is written after it.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{FromRequestParts, RawPathParams, Request};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use platform::{Scope, TokenInfo};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::idempotency::{Begun, Once};
use crate::manage::Management;
use crate::problem::{self, Kind, Problem, request_id};
use crate::routes::Api;

/// Bytes of a request body.
pub(crate) const BODY_BYTES_MAX: usize = 64 * 1024;
/// Entries of a list's page.
const LIMIT_MAX: u32 = 200;
const LIMIT_DEFAULT: u32 = 50;

pub(crate) type Answering = Pin<Box<dyn Future<Output = Result<Response, Problem>> + Send>>;
type Handler = Arc<dyn Fn(Call, Bytes) -> Answering + Send + Sync>;
pub(crate) type SchemaOf = fn(&mut SchemaGenerator) -> Schema;

/// Marks answers that only a token opens: other origins' scripts may not read them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Managed;

/// What is answered when all went well.
#[derive(Clone)]
pub(crate) struct Success {
    pub(crate) status: StatusCode,
    /// Media types, each with its schema if it is JSON; none: no body.
    pub(crate) bodies: Vec<(&'static str, Option<SchemaOf>)>,
}

/// A query or header parameter.
#[derive(Clone, Copy)]
pub(crate) struct Parameter {
    pub(crate) name: &'static str,
    pub(crate) is_header: bool,
    pub(crate) text: &'static str,
    /// A JSON schema.
    pub(crate) schema: &'static str,
}

/// A query parameter that is text.
pub(crate) const fn query(name: &'static str, text: &'static str) -> Parameter {
    Parameter {
        name,
        is_header: false,
        text,
        schema: r#"{"type":"string"}"#,
    }
}

const LIMIT: Parameter = Parameter {
    schema: r#"{"type":"integer","minimum":1,"maximum":200,"default":50}"#,
    ..query("limit", "Most entries of the answer.")
};
const AFTER: Parameter = query("after", "Go on behind here: `next` of the answer before.");
const IDEMPOTENCY_KEY: Parameter = Parameter {
    is_header: true,
    schema: r#"{"type":"string","minLength":1,"maxLength":255,"pattern":"^[!-~]+$"}"#,
    ..query(
        "idempotency-key",
        "The same key with the same body within 24 hours gets the first answer again and does nothing.",
    )
};

/// One method of one path.
#[derive(Clone)]
pub(crate) struct Operation {
    pub(crate) method: Method,
    pub(crate) path: &'static str,
    pub(crate) id: &'static str,
    pub(crate) summary: &'static str,
    /// `None`: everybody may.
    pub(crate) scope: Option<Scope>,
    pub(crate) parameters: Vec<Parameter>,
    pub(crate) body: Option<SchemaOf>,
    is_once: bool,
    pub(crate) success: Success,
    pub(crate) problems: Vec<Kind>,
    handler: Handler,
}

/// An operation that has no handler yet.
pub(crate) struct Draft(Operation);

/// `METHOD path`, the operation's name in the document, and what it does.
pub(crate) fn operation(
    method: Method,
    path: &'static str,
    id: &'static str,
    summary: &'static str,
) -> Draft {
    Draft(Operation {
        method,
        path,
        id,
        summary,
        scope: None,
        parameters: Vec::new(),
        body: None,
        is_once: false,
        success: Success {
            status: StatusCode::OK,
            bodies: Vec::new(),
        },
        problems: Vec::new(),
        handler: Arc::new(|_, _| Box::pin(async { Err(problem::PATH_NOT_FOUND.into()) })),
    })
}

impl Draft {
    /// Only tokens that may do this are let in.
    pub(crate) fn scope(mut self, scope: Scope) -> Self {
        self.0.scope = Some(scope);
        self.refuses(&[
            problem::TOKEN_MISSING,
            problem::TOKEN_REFUSED,
            problem::SCOPE_MISSING,
            problem::STORAGE_BUSY,
            problem::STORAGE_FAILED,
        ])
    }

    /// A parameter of the query.
    pub(crate) fn parameter(mut self, parameter: Parameter) -> Self {
        self.0.parameters.push(parameter);
        self
    }

    /// The answer comes in pages.
    pub(crate) fn paged(self) -> Self {
        self.parameter(LIMIT)
            .parameter(AFTER)
            .refuses(&[problem::PARAMETER_INVALID])
    }

    /// The same, where `after` has a form of its own, a JSON schema.
    pub(crate) fn paged_by(self, schema: &'static str) -> Self {
        self.parameter(LIMIT)
            .parameter(Parameter { schema, ..AFTER })
            .refuses(&[problem::PARAMETER_INVALID])
    }

    /// Makes something: a retry with the same `Idempotency-Key` does not make it twice.
    pub(crate) fn once(mut self) -> Self {
        self.0.is_once = true;
        self.parameter(IDEMPOTENCY_KEY).refuses(&[
            problem::IDEMPOTENCY_KEY_INVALID,
            problem::IDEMPOTENCY_IN_USE,
            problem::IDEMPOTENCY_MISMATCH,
        ])
    }

    /// What it may answer beside success.
    pub(crate) fn refuses(mut self, kinds: &[Kind]) -> Self {
        self.0.problems.extend(kinds);
        self
    }

    /// Takes nothing, gives JSON.
    pub(crate) fn json<R, F>(self, status: StatusCode, handler: fn(Call) -> F) -> Operation
    where
        R: Serialize + JsonSchema,
        F: Future<Output = Result<R, Problem>> + Send + 'static,
    {
        let bodies = vec![("application/json", Some(schema_of::<R> as SchemaOf))];
        self.finish(status, bodies, move |call, _| {
            let answer = handler(call);
            Box::pin(async move { Ok(write_json(status, &answer.await?)) })
        })
    }

    /// Takes JSON, gives JSON.
    pub(crate) fn takes_json<T, R, F>(self, status: StatusCode, handler: fn(Call, T) -> F) -> Operation
    where
        T: DeserializeOwned + JsonSchema + 'static,
        R: Serialize + JsonSchema,
        F: Future<Output = Result<R, Problem>> + Send + 'static,
    {
        let bodies = vec![("application/json", Some(schema_of::<R> as SchemaOf))];
        self.takes::<T>().finish(status, bodies, move |call, body| {
            let answer = parse(&body).map(|body| handler(call, body));
            Box::pin(async move { Ok(write_json(status, &answer?.await?)) })
        })
    }

    /// Takes JSON, gives nothing.
    pub(crate) fn takes_empty<T, F>(self, status: StatusCode, handler: fn(Call, T) -> F) -> Operation
    where
        T: DeserializeOwned + JsonSchema + 'static,
        F: Future<Output = Result<(), Problem>> + Send + 'static,
    {
        self.takes::<T>().finish(status, Vec::new(), move |call, body| {
            let answer = parse(&body).map(|body| handler(call, body));
            Box::pin(async move { answer?.await.map(|()| status.into_response()) })
        })
    }

    fn takes<T: JsonSchema>(mut self) -> Self {
        self.0.body = Some(schema_of::<T>);
        self.refuses(&[
            problem::BODY_INVALID,
            problem::BODY_TOO_LARGE,
            problem::MEDIA_TYPE_UNSUPPORTED,
        ])
    }

    /// Takes nothing, gives nothing.
    pub(crate) fn empty<F>(self, status: StatusCode, handler: fn(Call) -> F) -> Operation
    where
        F: Future<Output = Result<(), Problem>> + Send + 'static,
    {
        self.finish(status, Vec::new(), move |call, _| {
            let answer = handler(call);
            Box::pin(async move { answer.await.map(|()| status.into_response()) })
        })
    }

    /// Takes nothing, gives what it likes of these media types.
    pub(crate) fn raw<F>(
        self,
        status: StatusCode,
        bodies: Vec<(&'static str, Option<SchemaOf>)>,
        handler: fn(Call) -> F,
    ) -> Operation
    where
        F: Future<Output = Result<Response, Problem>> + Send + 'static,
    {
        self.finish(status, bodies, move |call, _| Box::pin(handler(call)))
    }

    fn finish(
        mut self,
        status: StatusCode,
        bodies: Vec<(&'static str, Option<SchemaOf>)>,
        handler: impl Fn(Call, Bytes) -> Answering + Send + Sync + 'static,
    ) -> Operation {
        self.0.success = Success { status, bodies };
        self.0.handler = Arc::new(handler);
        self.0
    }
}

/// The schema of a type, where the document keeps them.
pub(crate) fn schema_of<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    generator.subschema_for::<T>()
}

fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    serde_json::from_slice(body).map_err(|error| {
        let detail = format!("The body is not what this path takes: {error}.");
        Problem::said(problem::BODY_INVALID, detail)
    })
}

pub(crate) fn write_json(status: StatusCode, value: &impl Serialize) -> Response {
    let body = serde_json::to_vec(value).unwrap_or_default();
    (status, [(header::CONTENT_TYPE, "application/json")], body).into_response()
}

/// One request, authenticated and taken apart.
pub(crate) struct Call {
    pub(crate) api: Api,
    pub(crate) headers: HeaderMap,
    /// Host of the URI (HTTP/2), if it has one.
    pub(crate) authority: Option<String>,
    /// Whether the URI says `https` (HTTP/2).
    pub(crate) is_tls: bool,
    /// The path token that the request lies behind, proved by the server in front.
    pub(crate) grant: Option<Arc<access::Grant>>,
    /// Set where the operation asks for a scope.
    pub(crate) token: Option<TokenInfo>,
    path: Vec<(String, String)>,
    query: Vec<(String, String)>,
}

impl Call {
    /// A part of the path by its name in the template; a part that is no UTF-8 is nobody's name.
    pub(crate) fn part(&self, name: &str) -> &str {
        let part = self.path.iter().find(|(known, _)| known == name);
        part.map_or("\u{fffd}", |(_, value)| value)
    }

    /// The first query parameter of that name.
    pub(crate) fn query(&self, name: &str) -> Option<&str> {
        let pair = self.query.iter().find(|(known, _)| known == name)?;
        Some(&pair.1)
    }

    /// `limit`, within its bounds.
    pub(crate) fn limit(&self) -> Result<u32, Problem> {
        let Some(text) = self.query("limit") else {
            return Ok(LIMIT_DEFAULT);
        };
        let limit = text.parse().ok().filter(|limit| (1..=LIMIT_MAX).contains(limit));
        limit.ok_or_else(|| {
            let detail = format!("`limit` is a number from 1 to {LIMIT_MAX}.");
            Problem::said(problem::PARAMETER_INVALID, detail)
        })
    }

    /// What managed operations work on.
    pub(crate) fn managed(&self) -> &Management {
        let managed = self.api.management.as_deref();
        managed.expect("operations with a scope are routed only where there is something to manage")
    }
}

impl Operation {
    /// Answers one request.
    pub(crate) async fn answer(self: Arc<Self>, api: Api, request: Request) -> Response {
        let id = request_id(request.headers());
        let mut response = match self.run(api, request).await {
            Ok(response) => response,
            Err(problem) => {
                debug_assert!(
                    self.documents(&problem),
                    "{} does not say that it may answer {problem:?}",
                    self.id
                );
                problem.response(&id)
            }
        };
        if self.scope.is_some() {
            response.extensions_mut().insert(Managed);
        }
        response
    }

    fn documents(&self, problem: &Problem) -> bool {
        let is_it = |kind: &Kind| kind.status == problem.status && kind.code == problem.code;
        self.problems.iter().any(is_it)
    }

    async fn run(&self, api: Api, request: Request) -> Result<Response, Problem> {
        let (mut parts, body) = request.into_parts();
        let token = match self.scope {
            Some(scope) => Some(authenticate(&api, &parts.headers, scope).await?),
            None => None,
        };
        let body = match self.body {
            Some(_) => read_body(&parts.headers, body).await?,
            None => Bytes::new(),
        };
        let once = self.begin_once(&api, &parts, token.as_ref(), &body)?;
        let once = match once {
            Some(Begun::Replay(response)) => return Ok(response),
            Some(Begun::First(once)) => Some(once),
            None => None,
        };
        let call = Call {
            api,
            token,
            grant: parts.extensions.get::<Arc<access::Grant>>().cloned(),
            path: path_parts(&mut parts).await,
            query: query_of(&parts),
            is_tls: parts.uri.scheme_str() == Some("https"),
            authority: parts.uri.authority().map(|authority| authority.to_string()),
            headers: parts.headers,
        };
        let response = (self.handler)(call, body).await?;
        match once {
            Some(once) => Ok(once.keep(response).await),
            None => Ok(response),
        }
    }

    fn begin_once(
        &self,
        api: &Api,
        parts: &Parts,
        token: Option<&TokenInfo>,
        body: &[u8],
    ) -> Result<Option<Begun>, Problem> {
        let (Some(management), Some(token)) = (api.management.as_deref(), token.filter(|_| self.is_once))
        else {
            return Ok(None);
        };
        let Some(key) = parts.headers.get("idempotency-key") else {
            return Ok(None);
        };
        Once::begin(&management.once, &token.id, parts.uri.path(), key, body).map(Some)
    }
}

async fn path_parts(parts: &mut Parts) -> Vec<(String, String)> {
    let params = RawPathParams::from_request_parts(parts, &()).await;
    params.map_or_else(
        |_| Vec::new(),
        |params| {
            let owned = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
            params.iter().map(owned).collect()
        },
    )
}

fn query_of(parts: &Parts) -> Vec<(String, String)> {
    let query = parts.uri.query().unwrap_or_default();
    form_urlencoded::parse(query.as_bytes()).into_owned().collect()
}

async fn authenticate(api: &Api, headers: &HeaderMap, scope: Scope) -> Result<TokenInfo, Problem> {
    let value = headers.get(header::AUTHORIZATION).map(HeaderValue::as_bytes);
    let value = value.ok_or(problem::TOKEN_MISSING)?;
    // RFC 9110 11.1: the scheme's case does not matter.
    let token = value
        .split_at_checked(7)
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case(b"bearer "))
        .and_then(|(_, token)| std::str::from_utf8(token).ok())
        .ok_or(problem::TOKEN_MISSING)?;
    let management = api.management.as_deref().ok_or(problem::TOKEN_REFUSED)?;
    let info = management.platform.verify_admin_token(token.trim()).await?;
    let info = info.ok_or(problem::TOKEN_REFUSED)?;
    if !info.scopes.allows(scope) {
        let (needed, has) = (scope.as_str(), info.scopes);
        let detail = format!("This needs a token with the scope `{needed}`; this one has: {has}.");
        return Err(Problem::said(problem::SCOPE_MISSING, detail));
    }
    Ok(info)
}

async fn read_body(headers: &HeaderMap, body: Body) -> Result<Bytes, Problem> {
    let content_type = headers
        .get(header::CONTENT_TYPE)
        .map(|value| value.to_str().unwrap_or(""));
    let essence = content_type.map(|text| text.split(';').next().unwrap_or("").trim());
    if essence.is_some_and(|essence| !essence.eq_ignore_ascii_case("application/json")) {
        return Err(problem::MEDIA_TYPE_UNSUPPORTED.into());
    }
    let bytes = axum::body::to_bytes(body, BODY_BYTES_MAX).await;
    bytes.map_err(|_| problem::BODY_TOO_LARGE.into())
}
