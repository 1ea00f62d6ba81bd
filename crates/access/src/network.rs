//! Address ranges in CIDR notation (RFC 4632, RFC 4291 2.3).

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// A range of addresses: those that share the first `prefix_bits` bits of `first`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    /// All bits behind the prefix are zero.
    first: IpAddr,
    prefix_bits: u8,
}

/// A text that names no address range.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{found}` is no address range: write 192.0.2.0/24, 2001:db8::/48 or one address")]
pub struct NetworkError {
    /// As given, shortened.
    pub found: String,
}

impl Network {
    /// The range of `prefix_bits` bits that `address` lies in; `None` if an address has fewer bits. An IPv4 address that is
    /// written as IPv6 (`::ffff:192.0.2.1`) is no range: addresses are compared as IPv4 then.
    pub fn new(address: IpAddr, prefix_bits: u8) -> Option<Self> {
        let first = match address {
            IpAddr::V4(address) if prefix_bits <= 32 => {
                let mask = u32::MAX.checked_shl(32 - u32::from(prefix_bits)).unwrap_or(0);
                IpAddr::V4(Ipv4Addr::from_bits(address.to_bits() & mask))
            }
            IpAddr::V6(address) if prefix_bits <= 128 && address.to_ipv4_mapped().is_none() => {
                let mask = u128::MAX.checked_shl(128 - u32::from(prefix_bits)).unwrap_or(0);
                IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & mask))
            }
            _ => return None,
        };
        Some(Self { first, prefix_bits })
    }

    /// Whether `address` lies within.
    pub fn contains(&self, address: IpAddr) -> bool {
        Self::new(address.to_canonical(), self.prefix_bits).is_some_and(|network| network.first == self.first)
    }

    /// The range's first address.
    pub(crate) fn first(&self) -> IpAddr {
        self.first
    }

    /// Bits that all addresses within share.
    pub(crate) fn prefix_bits(&self) -> u8 {
        self.prefix_bits
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.first, self.prefix_bits)
    }
}

impl FromStr for Network {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Self, NetworkError> {
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, bits.parse().ok()),
            None => (text, None),
        };
        let whole = |address: IpAddr| if address.is_ipv4() { 32 } else { 128 };
        let is_one = !text.contains('/');
        address
            .parse()
            .ok()
            .and_then(|address: IpAddr| Self::new(address, if is_one { whole(address) } else { bits? }))
            .ok_or_else(|| NetworkError {
                found: text.chars().take(60).collect(),
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges() {
        let cases = [
            ("192.0.2.0/24", "192.0.2.255", true),
            ("192.0.2.77/24", "192.0.2.1", true),
            ("192.0.2.0/24", "192.0.3.0", false),
            ("192.0.2.7", "192.0.2.7", true),
            ("192.0.2.7", "::ffff:192.0.2.7", true),
            ("192.0.2.7", "192.0.2.8", false),
            ("0.0.0.0/0", "203.0.113.9", true),
            ("0.0.0.0/0", "2001:db8::1", false),
            ("2001:db8::/32", "2001:db8:ffff::1", true),
            ("2001:db8::/33", "2001:db8:8000::1", false),
            ("::/0", "192.0.2.1", false),
        ];
        for (network, address, is_within) in cases {
            let network: Network = network.parse().unwrap();
            assert_eq!(
                network.contains(address.parse().unwrap()),
                is_within,
                "{network} {address}"
            );
        }
    }

    #[test]
    fn what_is_no_range() {
        for text in [
            "",
            "/",
            "/24",
            "192.0.2.0/33",
            "192.0.2.0/",
            "::1/129",
            "192.0.2",
            "::ffff:192.0.2.1",
        ] {
            assert!(text.parse::<Network>().is_err(), "{text}");
        }
        assert_eq!(
            "192.0.2.77/24".parse::<Network>().unwrap().to_string(),
            "192.0.2.0/24"
        );
    }
}
