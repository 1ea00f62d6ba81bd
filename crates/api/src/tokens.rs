//! `POST /api/v1/tokens/verify`: why a path token opens something, or not.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use access::{Explanation, KeyRing};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::time::rfc3339_utc;

/// What is asked.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Question {
    /// The token, or a signed path or URL that has it.
    token: String,
    /// What it should open; of a signed path or URL the rest behind the token.
    path: Option<String>,
    /// Who should be let in.
    ip: Option<IpAddr>,
}

/// The answer.
#[derive(Debug, Serialize, JsonSchema)]
pub struct TokenReport {
    /// Whether a request would be let in, as far as it was told.
    pub valid: bool,
    /// The problem's code that a request would be refused with.
    pub code: Option<&'static str>,
    /// What the token says; it can be read by anybody. `None`: it is no token.
    pub token: Option<TokenView>,
    /// The claims in the order in which they are looked at.
    pub claims: Vec<ClaimView>,
}

/// What a token says.
#[derive(Debug, Serialize, JsonSchema)]
pub struct TokenView {
    /// The signing key that it names.
    pub key_id: String,
    /// The folder of media that it opens.
    pub opens: String,
    /// RFC 3339, UTC.
    pub expires_at: String,
    /// RFC 3339, UTC.
    pub not_before: Option<String>,
    /// The only addresses it is for.
    pub ip: Option<String>,
}

/// One claim.
#[derive(Debug, Serialize, JsonSchema)]
pub struct ClaimView {
    /// `form`, `signature`, `not_before`, `expires`, `ip`, `path`.
    pub claim: &'static str,
    /// Whether it holds.
    pub ok: bool,
    /// The problem's code if it does not.
    pub code: Option<&'static str>,
    /// Why not, in a sentence.
    pub detail: Option<String>,
}

impl TokenReport {
    /// Looks at a token as a request would be. `token` may also be a signed path or URL; `path` is the rest of it then, if
    /// none is given.
    pub fn of(token: &str, path: Option<&str>, address: Option<IpAddr>, keys: &Arc<KeyRing>) -> Self {
        let now_s = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_secs());
        let (token, rest) = token_and_path(token);
        let explained = Explanation::of(token, keys, now_s, path.or(rest), address);
        let claims = explained.findings.iter().map(|finding| ClaimView {
            claim: finding.claim,
            ok: finding.refusal.is_none(),
            code: finding.refusal.map(access::Refusal::code),
            detail: finding.refusal.map(|refusal| refusal.to_string()),
        });
        Self {
            valid: explained.refusal().is_none(),
            code: explained.refusal().map(access::Refusal::code),
            claims: claims.collect(),
            token: explained.claims.map(|claims| TokenView {
                key_id: claims.key_id.to_string(),
                opens: claims.scope.to_string(),
                expires_at: date(claims.expires_at_s),
                not_before: claims.not_before_s.map(date),
                ip: claims.network.map(|network| network.to_string()),
            }),
        }
    }
}

/// The token of a signed path or URL, and the path behind it; a bare token is itself.
fn token_and_path(text: &str) -> (&str, Option<&str>) {
    let text = text.trim();
    let Some((_, behind)) = text.split_once("/t/") else {
        return (text, None);
    };
    match behind.find('/') {
        Some(end) => (&behind[..end], Some(&behind[end..])),
        None => (behind, None),
    }
}

fn date(seconds: u64) -> String {
    // Five bytes of seconds always fit.
    rfc3339_utc(UNIX_EPOCH + Duration::from_secs(seconds))
}

pub(crate) fn verify(question: &Question, keys: &Arc<KeyRing>) -> TokenReport {
    TokenReport::of(&question.token, question.path.as_deref(), question.ip, keys)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_found_in_links() {
        for (text, expected) in [
            ("abc", ("abc", None)),
            (" abc\n", ("abc", None)),
            ("/t/abc/watch/stage", ("abc", Some("/watch/stage"))),
            (
                "https://h:8443/t/abc/live/stage/master.m3u8?x=1",
                ("abc", Some("/live/stage/master.m3u8?x=1")),
            ),
            ("/t/abc", ("abc", None)),
        ] {
            assert_eq!(token_and_path(text), expected, "{text}");
        }
    }
}
