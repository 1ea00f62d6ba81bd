//! The signed prefix of a path: taking it off, and what a connection remembers of it.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use access::{Ask, Grant, KeyRing, Refusal, Resource};

/// Tokens that one connection remembers. A viewer has one; a proxy that carries many viewers over one connection has
/// them proved again.
const REMEMBERED_MAX: usize = 4;

/// `/t/TOKEN/live/stage/master.m3u8` -> `TOKEN` and `/live/stage/master.m3u8`. `None`: there is no token in front.
pub(crate) fn split(path: &str) -> Option<(&str, &str)> {
    let rest = path.strip_prefix("/t/")?;
    Some(rest.split_at(rest.find('/').unwrap_or(rest.len())))
}

/// Seconds since 1970 by the system's clock: what tokens are measured with.
pub(crate) fn unix_now_s() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

/// The tokens that were proved on one connection.
#[derive(Debug, Default)]
pub(crate) struct Grants(Mutex<Vec<Arc<Grant>>>);

impl Grants {
    /// The grant that opens `resource`. A seal is proved once; times, address, path and key are looked at every time.
    pub(crate) fn admit(
        &self,
        keys: &Arc<KeyRing>,
        token: &str,
        peer: IpAddr,
        resource: &Resource<'_>,
    ) -> Result<Arc<Grant>, Refusal> {
        let ask = Ask {
            now_s: unix_now_s(),
            address: peer,
            resource,
        };
        // Comparing with a token that this very connection has sent gives nothing away.
        let known = self
            .lock()
            .iter()
            .find(|grant| grant.token() == token)
            .map(Arc::clone);
        if let Some(grant) = known {
            grant.check(&ask)?;
            return Ok(grant);
        }
        let grant = Arc::new(Grant::open(token, keys)?);
        grant.check(&ask)?;
        let mut remembered = self.lock();
        if remembered.len() >= REMEMBERED_MAX {
            remembered.remove(0);
        }
        remembered.push(Arc::clone(&grant));
        drop(remembered);
        Ok(grant)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Arc<Grant>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_come_off() {
        let cases = [
            ("/t/abc/live/x", Some(("abc", "/live/x"))),
            ("/t/abc/", Some(("abc", "/"))),
            ("/t/abc", Some(("abc", ""))),
            ("/t//live/x", Some(("", "/live/x"))),
            ("/t/a/t/b/live/x", Some(("a", "/t/b/live/x"))),
            ("/t", None),
            ("/live/t/x", None),
            ("/tt/abc/live/x", None),
        ];
        for (path, expected) in cases {
            assert_eq!(split(path), expected, "{path}");
        }
    }

    #[test]
    fn a_connection_remembers_few_tokens_and_checks_all() {
        let keys = Arc::new(KeyRing::default());
        let key = access::SigningKey::new(access::KeyId::new([1; 5]), b"secret");
        keys.replace(vec![key.clone()]);
        let token = |number: u64| {
            key.sign(&access::Claims {
                key_id: key.id(),
                expires_at_s: unix_now_s() + 1_000 + number,
                not_before_s: None,
                network: None,
                scope: access::Scope::of_link("/watch/stage").unwrap(),
            })
        };
        let grants = Grants::default();
        let (stage, other) = (Resource::channel("stage"), Resource::channel("other"));
        let here = IpAddr::from([192, 0, 2, 1]);
        for number in 0..10 {
            let token = token(number);
            for _ in 0..2 {
                assert!(grants.admit(&keys, &token, here, &stage).is_ok());
                let refused = grants.admit(&keys, &token, here, &other).map(|_| ());
                assert_eq!(refused, Err(Refusal::Path));
            }
        }
        assert_eq!(grants.lock().len(), REMEMBERED_MAX);
        keys.replace(Vec::new());
        let refused = grants.admit(&keys, &token(9), here, &stage).map(|_| ());
        assert_eq!(refused, Err(Refusal::Signature), "also what is remembered");
    }
}
