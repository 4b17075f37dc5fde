//! How many connections may be open: in total, and from one address.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use ipnet::IpNet;
use parking_lot::Mutex;

use super::{Flags, forwarded};

/// Why a connection gets no WebSocket and no page.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Rejection {
    /// `--max-connections` are open.
    Full,
    /// `--max-connections-per-address` are open from this address.
    AddressFull,
    /// The server is shutting down.
    ShuttingDown,
}

/// The limits of a server, and how many connections use them.
pub(super) struct ConnectionLimits {
    max: usize,
    max_per_address: usize,
    trusted_proxies: Vec<IpNet>,
    in_use: Mutex<InUse>,
}

#[derive(Default)]
struct InUse {
    total: usize,
    /// Empty if there is no limit for an address.
    by_address: HashMap<IpAddr, usize>,
}

/// A connection's share of the limits. It is returned when this is dropped.
pub(super) struct Permit {
    limits: Arc<ConnectionLimits>,
    is_counted: bool,
    /// The address among whose connections it is counted.
    address: Option<IpAddr>,
}

impl ConnectionLimits {
    pub(super) fn new(flags: &Flags) -> Self {
        Self {
            max: flags.max_connections,
            max_per_address: flags.max_connections_per_address,
            trusted_proxies: flags.trusted_proxy.clone(),
            in_use: Mutex::default(),
        }
    }

    /// A permit for a connection from `peer`, and the reason if the connection must be rejected.
    pub(super) fn try_acquire(
        self: &Arc<Self>,
        peer: Option<IpAddr>,
    ) -> (Permit, Option<Rejection>) {
        let mut permit = Permit { limits: Arc::clone(self), is_counted: false, address: None };
        {
            let mut in_use = self.in_use.lock();
            if in_use.total >= self.max {
                return (permit, Some(Rejection::Full));
            }
            in_use.total += 1;
            permit.is_counted = true;
        }
        // A proxy's connections belong to its clients, which are not known yet.
        let client = peer.filter(|peer| !forwarded::is_trusted(*peer, &self.trusted_proxies));
        let rejection = client.and_then(|client| permit.count_for(client));
        (permit, rejection)
    }

    /// The number of open connections.
    #[cfg(feature = "hyper")]
    pub(super) fn in_use(&self) -> usize {
        self.in_use.lock().total
    }

    pub(super) fn trusted_proxies(&self) -> &[IpNet] {
        &self.trusted_proxies
    }
}

impl Permit {
    /// Counts the connection of a trusted proxy as its client's.
    pub(super) fn reassign_to(&mut self, client: IpAddr) -> Option<Rejection> {
        if self.is_counted { self.count_for(client) } else { None }
    }

    fn count_for(&mut self, client: IpAddr) -> Option<Rejection> {
        if self.limits.max_per_address == 0 {
            return None;
        }
        let address = network(client);
        let mut in_use = self.limits.in_use.lock();
        let of_address = in_use.by_address.entry(address).or_default();
        if *of_address >= self.limits.max_per_address {
            return Some(Rejection::AddressFull);
        }
        *of_address += 1;
        self.address = Some(address);
        None
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if !self.is_counted {
            return;
        }
        let mut in_use = self.limits.in_use.lock();
        in_use.total -= 1;
        if let Some(address) = self.address
            && let Some(of_address) = in_use.by_address.get_mut(&address)
        {
            *of_address -= 1;
            if *of_address == 0 {
                in_use.by_address.remove(&address);
            }
        }
    }
}

/// The part of an address that counts as one client. For IPv6 it is the first 64 bits, because a
/// subscriber gets at least that many addresses (RFC 6177, section 2) and would never reach a
/// limit for each of them.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64).into(),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(max: usize, max_per_address: usize) -> Arc<ConnectionLimits> {
        let flags = Flags {
            max_connections: max,
            max_connections_per_address: max_per_address,
            trusted_proxy: vec![IpAddr::from([10, 0, 0, 1]).into()],
            ..Flags::default()
        };
        Arc::new(ConnectionLimits::new(&flags))
    }

    fn address(host: &str) -> Option<IpAddr> {
        Some(host.parse().unwrap())
    }

    #[test]
    fn a_dropped_permit_is_free_again() {
        let limits = limits(2, 0);
        let (first, rejection) = limits.try_acquire(address("192.0.2.1"));
        assert_eq!(rejection, None);
        let (_second, rejection) = limits.try_acquire(address("192.0.2.1"));
        assert_eq!(rejection, None);
        let (third, rejection) = limits.try_acquire(address("192.0.2.1"));
        assert_eq!(rejection, Some(Rejection::Full));
        drop(third);
        assert_eq!(limits.try_acquire(address("192.0.2.1")).1, Some(Rejection::Full));
        drop(first);
        assert_eq!(limits.try_acquire(address("192.0.2.1")).1, None);
        assert!(limits.in_use.lock().by_address.is_empty());
    }

    #[test]
    fn ipv6_counts_by_its_first_64_bits() {
        for (one, other, is_same) in [
            ("2001:db8:0:1::1", "2001:db8:0:1:ffff::2", true),
            ("2001:db8:0:1::1", "2001:db8:0:2::1", false),
            ("192.0.2.1", "::ffff:192.0.2.1", true),
            ("192.0.2.1", "::ffff:192.0.2.2", false),
        ] {
            let limits = limits(9, 1);
            let (_permit, rejection) = limits.try_acquire(address(one));
            assert_eq!(rejection, None);
            assert_eq!(limits.try_acquire(address(other)).1.is_some(), is_same, "{one} {other}");
        }
    }

    #[test]
    fn behind_a_proxy_the_permit_belongs_to_the_client() {
        let limits = limits(9, 1);
        let (mut first, _) = limits.try_acquire(address("10.0.0.1"));
        let (mut second, rejection) = limits.try_acquire(address("10.0.0.1"));
        assert_eq!(rejection, None);
        let client = IpAddr::from([192, 0, 2, 1]);
        assert_eq!(first.reassign_to(client), None);
        assert_eq!(second.reassign_to(client), Some(Rejection::AddressFull));
        drop(first);
        assert_eq!(limits.try_acquire(Some(client)).1, None);
        drop(second);
        let in_use = limits.in_use.lock();
        assert!(in_use.total == 0 && in_use.by_address.is_empty());
    }
}
