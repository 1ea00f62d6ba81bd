//! What a token says, claim by claim, for the person who wonders why it does not open.

use std::net::IpAddr;
use std::sync::Arc;

use crate::claims::{Claims, Unproved};
use crate::grant::{Grant, Refusal};
use crate::key::KeyRing;
use crate::scope::resource;

/// One claim of a token, looked at by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Finding {
    /// `form`, `signature`, `not_before`, `expires`, `ip`, `path`.
    pub claim: &'static str,
    /// The claim fails, with this refusal.
    pub refusal: Option<Refusal>,
}

/// All that can be said of a token.
#[derive(Clone, Debug)]
pub struct Explanation {
    /// What it says, also when its seal is wrong: it can be read by anybody. `None`: it is no token.
    pub claims: Option<Claims>,
    /// Its claims in the order in which a request is judged. What was not asked about (an address, a path) is left out, and
    /// so is everything behind a form that cannot be read.
    pub findings: Vec<Finding>,
}

impl Explanation {
    /// Looks at `token` as a request for `path` (with its query, if any) from `address` at `now_s` would be.
    pub fn of(
        token: &str,
        keys: &Arc<KeyRing>,
        now_s: u64,
        path: Option<&str>,
        address: Option<IpAddr>,
    ) -> Self {
        let finding = |claim, is_good: bool, refusal| Finding {
            claim,
            refusal: (!is_good).then_some(refusal),
        };
        let Some(Unproved { claims, .. }) = Unproved::read(token) else {
            return Self {
                claims: None,
                findings: vec![finding("form", false, Refusal::Malformed)],
            };
        };
        let mut findings = vec![
            finding("form", true, Refusal::Malformed),
            finding("signature", Grant::open(token, keys).is_ok(), Refusal::Signature),
        ];
        if let Some(start) = claims.not_before_s {
            findings.push(finding("not_before", now_s >= start, Refusal::NotYet));
        }
        findings.push(finding("expires", now_s < claims.expires_at_s, Refusal::Expired));
        if let (Some(network), Some(address)) = (claims.network, address) {
            findings.push(finding("ip", network.contains(address), Refusal::Address));
        }
        if let Some(path) = path {
            let (path, query) = match path.split_once('?') {
                Some((path, query)) => (path, Some(query)),
                None => (path, None),
            };
            let is_covered = resource(path, query).is_some_and(|shown| claims.scope.covers(&shown));
            findings.push(finding("path", is_covered, Refusal::Path));
        }
        Self {
            claims: Some(claims),
            findings,
        }
    }

    /// The first claim that fails: what a request would be refused with.
    pub fn refusal(&self) -> Option<Refusal> {
        self.findings.iter().find_map(|finding| finding.refusal)
    }
}
