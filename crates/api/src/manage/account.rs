//! The token of the request, and the others.

use http::{Method, StatusCode, header};
use platform::Scope;

use super::views::{List, Me, NewToken, ServerView, Token, TokenMade, expiry_ms};
use crate::operation::{Call, Operation, operation};
use crate::problem::{self, Problem};

pub(super) fn operations() -> Vec<Operation> {
    vec![
        operation(
            Method::GET,
            "/api/v1/me",
            "getMe",
            "Who this token is, and this server",
        )
        .scope(Scope::Read)
        .json(StatusCode::OK, me),
        operation(
            Method::GET,
            "/api/v1/tokens",
            "listTokens",
            "List the admin tokens, oldest first",
        )
        .scope(Scope::Read)
        .paged()
        .json(StatusCode::OK, tokens),
        operation(
            Method::POST,
            "/api/v1/tokens",
            "createToken",
            "Make an admin token",
        )
        .scope(Scope::Admin)
        .once()
        .refuses(&[
            problem::LABEL_INVALID,
            problem::EXPIRY_PAST,
            problem::LIMIT_REACHED,
        ])
        .takes_json(StatusCode::CREATED, create),
        operation(
            Method::DELETE,
            "/api/v1/tokens/{id}",
            "revokeToken",
            "Revoke an admin token",
        )
        .scope(Scope::Admin)
        .refuses(&[problem::TOKEN_NOT_FOUND])
        .empty(StatusCode::NO_CONTENT, revoke),
    ]
}

async fn me(call: Call) -> Result<Me, Problem> {
    let host = host(&call);
    let name = name_of(&host);
    let ports = call.managed().ports;
    let forwarded = call.headers.get("x-forwarded-proto");
    let is_tls = call.is_tls || forwarded.is_some_and(|scheme| scheme == "https");
    let server = ServerView {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        http: format!("{}://{host}", if is_tls { "https" } else { "http" }),
        rtmp: ports.rtmp.map(|port| format!("rtmp://{name}:{port}/live")),
        rtmps: ports.rtmps.map(|port| format!("rtmps://{name}:{port}/live")),
        srt: ports.srt.map(|port| format!("srt://{name}:{port}")),
    };
    let token = call.token.ok_or(problem::TOKEN_MISSING)?.into();
    Ok(Me { token, server })
}

/// The name and port under which the caller reaches this server.
pub(super) fn host(call: &Call) -> String {
    let named = call.headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let host = call.authority.as_deref().or(named);
    host.filter(|host| !host.is_empty())
        .unwrap_or("localhost")
        .to_owned()
}

/// `host` without its port; an IPv6 address keeps its brackets.
pub(super) fn name_of(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    }
}

async fn tokens(call: Call) -> Result<List<Token>, Problem> {
    let limit = call.limit()?;
    let all = call.managed().platform.list_admin_tokens().await?;
    let page = List::page_of_all(all, call.query("after"), limit, |token| token.id.clone());
    Ok(page.map(Token::from))
}

async fn create(call: Call, new: NewToken) -> Result<TokenMade, Problem> {
    if new.scopes.is_empty() {
        return Err(Problem::said(
            problem::BODY_INVALID,
            "`scopes` needs at least one scope.",
        ));
    }
    let scopes = new.scopes.into_iter().map(Scope::from).collect();
    let expires_at_ms = expiry_ms(new.expires_at.as_deref())?;
    let platform = &call.managed().platform;
    let made = platform
        .create_admin_token(&new.label, scopes, expires_at_ms)
        .await?;
    Ok(TokenMade {
        token: made.token.expose().to_owned(),
        info: made.info.into(),
    })
}

async fn revoke(call: Call) -> Result<(), Problem> {
    let platform = &call.managed().platform;
    Ok(platform.revoke_admin_token(call.part("id")).await?)
}

#[cfg(test)]
mod tests {
    use super::name_of;

    #[test]
    fn hosts_lose_their_port() {
        for (host, name) in [
            ("example.org", "example.org"),
            ("example.org:8080", "example.org"),
            ("127.0.0.1:1", "127.0.0.1"),
            ("[::1]:8080", "[::1]"),
            ("[::1]", "[::1]"),
        ] {
            assert_eq!(name_of(host), name, "{host}");
        }
    }
}
