//! Where connections come from: counts and wrong keys by address.

use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::{Mutex, PoisonError};

use media::Micros;

use crate::Limits;

/// A peer's address as it may stand in a log: public addresses without their last part.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Peer(pub SocketAddr);

impl fmt::Display for Peer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.ip().to_canonical() {
            IpAddr::V4(ip) if ip.is_loopback() || ip.is_private() => {
                write!(formatter, "{ip}:{}", self.0.port())
            }
            IpAddr::V4(ip) => {
                let [a, b, c, _] = ip.octets();
                write!(formatter, "{a}.{b}.{c}.x")
            }
            IpAddr::V6(ip) if ip.is_loopback() || ip.is_unique_local() => {
                write!(formatter, "[{ip}]:{}", self.0.port())
            }
            IpAddr::V6(ip) => {
                let [a, b, c, ..] = ip.segments();
                write!(formatter, "{a:x}:{b:x}:{c:x}::x")
            }
        }
    }
}

impl fmt::Debug for Peer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

/// Why a connection is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotTaken {
    Total,
    Address,
}

/// What is known of the addresses that are connected or failed lately. Touched at accept, close and wrong keys only.
#[derive(Debug)]
pub(crate) struct Addresses {
    limits: Limits,
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    connections: usize,
    by_address: HashMap<IpAddr, Entry>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Entry {
    connections: u32,
    /// Wrong keys, forgiven one by one since `failed_at`.
    failures: u32,
    failed_at: Micros,
}

impl Addresses {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            limits: limits.clone(),
            table: Mutex::default(),
        }
    }

    /// Counts a connection in; [`leave`](Self::leave) counts it out.
    pub(crate) fn enter(&self, peer: SocketAddr) -> Result<(), NotTaken> {
        let mut table = self.lock();
        if table.connections >= self.limits.connections_max {
            return Err(NotTaken::Total);
        }
        let entry = table.by_address.entry(group(peer)).or_default();
        if entry.connections >= self.limits.connections_per_address_max {
            return Err(NotTaken::Address);
        }
        entry.connections += 1;
        table.connections += 1;
        Ok(())
    }

    pub(crate) fn leave(&self, peer: SocketAddr) {
        let mut table = self.lock();
        table.connections = table.connections.saturating_sub(1);
        let address = group(peer);
        if let Some(entry) = table.by_address.get_mut(&address) {
            entry.connections = entry.connections.saturating_sub(1);
            if entry.connections == 0 && entry.failures == 0 {
                table.by_address.remove(&address);
            }
        }
    }

    /// The address sent too many wrong keys lately.
    pub(crate) fn is_throttled(&self, peer: SocketAddr, now: Micros) -> bool {
        let mut table = self.lock();
        let Some(entry) = table.by_address.get_mut(&group(peer)) else {
            return false;
        };
        self.forgive(entry, now);
        entry.failures >= self.limits.failed_keys_max
    }

    /// Notes a wrong key.
    pub(crate) fn failed_key(&self, peer: SocketAddr, now: Micros) {
        let mut table = self.lock();
        if table.by_address.len() >= self.limits.addresses_max {
            table.by_address.retain(|_, entry| {
                self.forgive(entry, now);
                entry.connections > 0 || entry.failures > 0
            });
        }
        let is_full = table.by_address.len() >= self.limits.addresses_max;
        let address = group(peer);
        if is_full && !table.by_address.contains_key(&address) {
            return;
        }
        let entry = table.by_address.entry(address).or_default();
        self.forgive(entry, now);
        if entry.failures == 0 {
            entry.failed_at = now;
        }
        entry.failures = (entry.failures + 1).min(self.limits.failed_keys_max);
    }

    fn forgive(&self, entry: &mut Entry, now: Micros) {
        let step = u64::try_from(self.limits.failed_key_forgiven_after.as_micros())
            .unwrap_or(u64::MAX)
            .max(1);
        let forgiven = now.saturating_sub(entry.failed_at) / step;
        entry.failures = entry
            .failures
            .saturating_sub(u32::try_from(forgiven).unwrap_or(u32::MAX));
        entry.failed_at = entry.failed_at.saturating_add(forgiven.saturating_mul(step));
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Who is counted as one: an IPv4 address, an IPv6 /64.
fn group(peer: SocketAddr) -> IpAddr {
    match peer.ip().to_canonical() {
        IpAddr::V6(ip) => IpAddr::V6(Ipv6Addr::from_bits(ip.to_bits() >> 64 << 64)),
        ip @ IpAddr::V4(_) => ip,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn connections_are_counted_in_all_and_by_address() {
        let limits = Limits {
            connections_max: 3,
            connections_per_address_max: 2,
            ..Limits::default()
        };
        let addresses = Addresses::new(&limits);
        let (here, there) = (peer("[2001:db8::1]:1"), peer("[2001:db8:0:1::1]:1"));
        assert_eq!(addresses.enter(here), Ok(()));
        assert_eq!(addresses.enter(peer("[2001:db8::2]:9")), Ok(()));
        assert_eq!(addresses.enter(here), Err(NotTaken::Address));
        assert_eq!(addresses.enter(there), Ok(()));
        assert_eq!(addresses.enter(there), Err(NotTaken::Total));
        for who in [here, here, there] {
            addresses.leave(who);
        }
        assert!(addresses.lock().by_address.is_empty());
    }

    #[test]
    fn wrong_keys_are_forgiven_one_by_one() {
        let limits = Limits {
            failed_keys_max: 2,
            ..Limits::default()
        };
        let addresses = Addresses::new(&limits);
        let who = peer("192.0.2.1:5");
        let second = 1_000_000;
        addresses.failed_key(who, 0);
        assert!(!addresses.is_throttled(who, second));
        addresses.failed_key(who, second);
        assert!(addresses.is_throttled(who, 2 * second));
        assert!(!addresses.is_throttled(who, 7 * second));
        addresses.failed_key(who, 8 * second);
        assert!(addresses.is_throttled(who, 9 * second));
        assert!(!addresses.is_throttled(who, 1000 * second));
    }

    #[test]
    fn the_table_is_bounded() {
        let limits = Limits {
            addresses_max: 10,
            ..Limits::default()
        };
        let addresses = Addresses::new(&limits);
        for number in 0..100u32 {
            addresses.failed_key(SocketAddr::new(IpAddr::V4(number.into()), 1), 0);
        }
        assert_eq!(addresses.lock().by_address.len(), 10);
    }

    #[test]
    fn logs_name_no_public_address() {
        assert_eq!(Peer(peer("203.0.113.7:99")).to_string(), "203.0.113.x");
        assert_eq!(Peer(peer("[2001:db8:1:2::7]:99")).to_string(), "2001:db8:1::x");
        assert_eq!(Peer(peer("127.0.0.1:99")).to_string(), "127.0.0.1:99");
    }
}
