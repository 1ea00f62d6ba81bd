//! From a token to leave to watch.

use std::net::IpAddr;
use std::sync::Arc;

use crate::claims::{Claims, Unproved};
use crate::key::KeyRing;
use crate::scope::Resource;

/// Why a token does not open what it was shown for. Says nothing of whether there is such a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Refusal {
    /// Not the text of a token.
    #[error("This is not a whole token: use the link exactly as it was given.")]
    Malformed,
    /// Not sealed by a key that this server has.
    #[error("This token was not signed by this server, was changed, or its signing key was revoked.")]
    Signature,
    /// Too early.
    #[error("This token is not valid yet.")]
    NotYet,
    /// Too late.
    #[error("This token has expired: ask for a new link.")]
    Expired,
    /// Another address than it was made for.
    #[error("This token is for another network address.")]
    Address,
    /// Another path than it was made for.
    #[error("This token is for something else.")]
    Path,
}

impl Refusal {
    /// Every reason.
    pub const ALL: [Self; 6] = [
        Self::Malformed,
        Self::Signature,
        Self::NotYet,
        Self::Expired,
        Self::Address,
        Self::Path,
    ];

    /// Stable, for clients and metrics.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Malformed => "token_malformed",
            Self::Signature => "token_signature",
            Self::NotYet => "token_not_yet",
            Self::Expired => "token_expired",
            Self::Address => "token_ip",
            Self::Path => "token_path",
        }
    }
}

/// What is asked of a token.
#[derive(Clone, Copy, Debug)]
pub struct Ask<'a> {
    /// Seconds since 1970 (UTC).
    pub now_s: u64,
    /// Who asks.
    pub address: IpAddr,
    /// For what.
    pub resource: &'a Resource<'a>,
}

/// A token whose seal was right. Cheap to ask again for every request of a viewer.
#[derive(Debug)]
pub struct Grant {
    token: String,
    claims: Claims,
    keys: Arc<KeyRing>,
}

impl Grant {
    /// Takes a token apart and proves its seal.
    ///
    /// # Errors
    /// It is no token, or none of `keys`.
    pub fn open(token: &str, keys: &Arc<KeyRing>) -> Result<Self, Refusal> {
        let unproved = Unproved::read(token).ok_or(Refusal::Malformed)?;
        let (payload, seal) = unproved.halves();
        let key = keys.find(unproved.claims.key_id).ok_or(Refusal::Signature)?;
        if !key.proves(payload, seal) {
            return Err(Refusal::Signature);
        }
        Ok(Self {
            token: token.to_owned(),
            claims: unproved.claims,
            keys: Arc::clone(keys),
        })
    }

    /// The token's text.
    pub fn token(&self) -> &str {
        &self.token
    }

    /// What it says.
    pub fn claims(&self) -> &Claims {
        &self.claims
    }

    /// What stands before every path that it opens.
    pub fn path_prefix(&self) -> String {
        format!("/t/{}", self.token)
    }

    /// Whether it opens what is asked for.
    ///
    /// # Errors
    /// The first claim that fails: key, not-before, expiry, address, path.
    pub fn check(&self, ask: &Ask<'_>) -> Result<(), Refusal> {
        self.check_time(ask.now_s)?;
        if self
            .claims
            .network
            .is_some_and(|network| !network.contains(ask.address))
        {
            return Err(Refusal::Address);
        }
        if self.claims.scope.covers(ask.resource) {
            Ok(())
        } else {
            Err(Refusal::Path)
        }
    }

    /// Whether its key and its times hold at `now_s`, seconds since 1970 (UTC): what may change while something is open.
    ///
    /// # Errors
    /// The first claim that fails.
    pub fn check_time(&self, now_s: u64) -> Result<(), Refusal> {
        if !self.keys.holds(self.claims.key_id) {
            return Err(Refusal::Signature);
        }
        if self.claims.not_before_s.is_some_and(|start| now_s < start) {
            return Err(Refusal::NotYet);
        }
        if now_s >= self.claims.expires_at_s {
            return Err(Refusal::Expired);
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "grant_tests.rs"]
mod tests;
