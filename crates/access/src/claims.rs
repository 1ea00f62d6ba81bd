//! What a token says, and its one text.
//!
//! A token is base64url without padding (RFC 4648 section 5) of these bytes, numbers big endian:
//!
//! | bytes | what |
//! |---|---|
//! | 1 | version, 1 |
//! | 1 | flags: 1 = has a not-before, 2 = has an IPv4 range, 4 = has an IPv6 range |
//! | 5 | key id |
//! | 5 | expiry, seconds since 1970 |
//! | 5 | not-before, seconds since 1970; if flagged |
//! | 1 + n | prefix bits of the range and as many bytes of its first address as they fill; if flagged |
//! | rest | scope |
//! | 32 | HMAC-SHA256 over `tidewire path token\0` and all of the above |
//!
//! Every field has one form, and so has the base64url: one set of claims under one key is one token.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::key::KeyId;
use crate::network::Network;
use crate::scope::{SCOPE_BYTES_MAX, Scope};

/// Longest token, characters. What is longer is not looked at.
pub const TOKEN_BYTES_MAX: usize = 512;

const VERSION: u8 = 1;
const HAS_NOT_BEFORE: u8 = 1;
const HAS_IPV4: u8 = 2;
const HAS_IPV6: u8 = 4;
pub(crate) const SEAL_BYTES: usize = 32;
const SECONDS_BYTES: usize = 5;
/// The last second that five bytes can name, in the year 36812.
const SECONDS_MAX: u64 = (1 << 40) - 1;
const PAYLOAD_BYTES_MAX: usize = 2 + 5 + 2 * SECONDS_BYTES + 17 + SCOPE_BYTES_MAX;

/// What a token says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claims {
    /// The key that sealed it.
    pub key_id: KeyId,
    /// From then on it opens nothing; seconds since 1970 (UTC).
    pub expires_at_s: u64,
    /// Before then it opens nothing; seconds since 1970 (UTC).
    pub not_before_s: Option<u64>,
    /// The only addresses it opens anything for.
    pub network: Option<Network>,
    /// What it opens.
    pub scope: Scope,
}

impl Claims {
    /// The text of the token, with a seal over its payload.
    pub(crate) fn sealed(&self, seal: impl FnOnce(&[u8]) -> [u8; SEAL_BYTES]) -> String {
        let mut bytes = Vec::with_capacity(PAYLOAD_BYTES_MAX + SEAL_BYTES);
        self.write(&mut bytes);
        let seal = seal(&bytes);
        bytes.extend_from_slice(&seal);
        URL_SAFE_NO_PAD.encode(bytes)
    }

    fn write(&self, out: &mut Vec<u8>) {
        let family = match self.network.map(|network| network.first()) {
            None => 0,
            Some(IpAddr::V4(_)) => HAS_IPV4,
            Some(IpAddr::V6(_)) => HAS_IPV6,
        };
        let not_before = if self.not_before_s.is_some() {
            HAS_NOT_BEFORE
        } else {
            0
        };
        out.extend_from_slice(&[VERSION, family | not_before]);
        out.extend_from_slice(&self.key_id.0);
        write_seconds(out, self.expires_at_s);
        if let Some(seconds) = self.not_before_s {
            write_seconds(out, seconds);
        }
        if let Some(network) = self.network {
            let bits = network.prefix_bits();
            let filled = usize::from(bits.div_ceil(8));
            out.push(bits);
            match network.first() {
                IpAddr::V4(address) => out.extend_from_slice(&address.octets()[..filled]),
                IpAddr::V6(address) => out.extend_from_slice(&address.octets()[..filled]),
            }
        }
        out.extend_from_slice(self.scope.as_str().as_bytes());
    }

    fn read(payload: &[u8]) -> Option<Self> {
        let (&[version, flags], rest) = payload.split_first_chunk()?;
        let family = flags & !HAS_NOT_BEFORE;
        if version != VERSION || !matches!(family, 0 | HAS_IPV4 | HAS_IPV6) {
            return None;
        }
        let (key_id, rest) = rest.split_first_chunk()?;
        let (expires_at_s, mut rest) = read_seconds(rest)?;
        let mut not_before_s = None;
        if flags & HAS_NOT_BEFORE != 0 {
            let (seconds, after) = read_seconds(rest)?;
            (not_before_s, rest) = (Some(seconds), after);
        }
        let mut network = None;
        if family != 0 {
            let (range, after) = read_network(rest, family == HAS_IPV4)?;
            (network, rest) = (Some(range), after);
        }
        Some(Self {
            key_id: KeyId(*key_id),
            expires_at_s,
            not_before_s,
            network,
            scope: Scope::new(std::str::from_utf8(rest).ok()?)?,
        })
    }
}

/// A token taken apart; its seal is not proved yet.
pub(crate) struct Unproved {
    bytes: Vec<u8>,
    pub(crate) claims: Claims,
}

impl Unproved {
    /// `None` if the text has not the form of a token.
    pub(crate) fn read(token: &str) -> Option<Self> {
        if token.len() > TOKEN_BYTES_MAX {
            return None;
        }
        let bytes = URL_SAFE_NO_PAD.decode(token).ok()?;
        let (payload, _) = bytes.split_last_chunk::<SEAL_BYTES>()?;
        let claims = Claims::read(payload)?;
        Some(Self { bytes, claims })
    }

    /// The payload and the seal over it.
    pub(crate) fn halves(&self) -> (&[u8], &[u8]) {
        self.bytes.split_at(self.bytes.len().saturating_sub(SEAL_BYTES))
    }
}

fn write_seconds(out: &mut Vec<u8>, seconds: u64) {
    out.extend_from_slice(&seconds.min(SECONDS_MAX).to_be_bytes()[8 - SECONDS_BYTES..]);
}

fn read_seconds(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let (seconds, rest) = bytes.split_first_chunk::<SECONDS_BYTES>()?;
    let seconds = seconds
        .iter()
        .fold(0_u64, |sum, byte| (sum << 8) | u64::from(*byte));
    Some((seconds, rest))
}

/// A range whose bits behind the prefix are zero, as [`Claims::write`] writes it.
fn read_network(bytes: &[u8], is_ipv4: bool) -> Option<(Network, &[u8])> {
    let (&bits, rest) = bytes.split_first()?;
    let (first, rest) = rest.split_at_checked(usize::from(bits.div_ceil(8)))?;
    let address = if is_ipv4 {
        let mut octets = [0; 4];
        octets.get_mut(..first.len())?.copy_from_slice(first);
        IpAddr::V4(Ipv4Addr::from(octets))
    } else {
        let mut octets = [0; 16];
        octets.get_mut(..first.len())?.copy_from_slice(first);
        IpAddr::V6(Ipv6Addr::from(octets))
    };
    let network = Network::new(address, bits)?;
    (network.first() == address).then_some((network, rest))
}
