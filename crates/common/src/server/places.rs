//! How many connections there may be: altogether, and from one address.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use parking_lot::Mutex;

use super::{Flags, forwarded};

/// Why no request gets what it asks for at present.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Refusal {
    /// There are `--max-connections` of them.
    Full,
    /// There are `--max-connections-per-address` of them from this address.
    AddressFull,
    /// The server is shutting down.
    ShuttingDown,
}

/// The places that a server has.
pub(super) struct Places {
    max: usize,
    max_per_address: usize,
    trusted_proxies: Vec<IpAddr>,
    taken: Mutex<Taken>,
}

#[derive(Default)]
struct Taken {
    all: usize,
    /// Empty where there is no limit for an address.
    by_address: HashMap<IpAddr, usize>,
}

/// A connection and its place, which is free again when this is dropped.
pub(super) struct Place {
    places: Arc<Places>,
    /// Whose it is.
    pub(super) client: SocketAddr,
    /// Whether it is counted among all, and among those of the client's address.
    is_counted: bool,
    is_counted_for_address: bool,
}

impl Places {
    pub(super) fn new(flags: &Flags) -> Self {
        Self {
            max: flags.max_connections,
            max_per_address: flags.max_connections_per_address,
            trusted_proxies: flags.trusted_proxy.clone(),
            taken: Mutex::default(),
        }
    }

    /// A place for who connects from `peer`, or none and the reason.
    pub(super) fn take(self: &Arc<Self>, peer: SocketAddr) -> (Place, Option<Refusal>) {
        let mut place = Place {
            places: Arc::clone(self),
            client: peer,
            is_counted: false,
            is_counted_for_address: false,
        };
        {
            let mut taken = self.taken.lock();
            if taken.all >= self.max {
                return (place, Some(Refusal::Full));
            }
            taken.all += 1;
            place.is_counted = true;
        }
        // A proxy's connections are its clients', who are not known yet.
        let is_proxy = forwarded::is_trusted(peer.ip(), &self.trusted_proxies);
        let refusal = if is_proxy { None } else { place.count_for_address() };
        (place, refusal)
    }
}

impl Place {
    /// Makes it the place of whose request it is: behind a trusted proxy that is not the peer.
    pub(super) fn give_to(&mut self, client: SocketAddr) -> Option<Refusal> {
        if client == self.client {
            return None;
        }
        self.client = client;
        if self.is_counted { self.count_for_address() } else { None }
    }

    pub(super) fn trusted_proxies(&self) -> &[IpAddr] {
        &self.places.trusted_proxies
    }

    fn count_for_address(&mut self) -> Option<Refusal> {
        if self.places.max_per_address == 0 {
            return None;
        }
        let mut taken = self.places.taken.lock();
        let of_address = taken.by_address.entry(network(self.client.ip())).or_default();
        if *of_address >= self.places.max_per_address {
            return Some(Refusal::AddressFull);
        }
        *of_address += 1;
        self.is_counted_for_address = true;
        None
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if !self.is_counted {
            return;
        }
        let mut taken = self.places.taken.lock();
        taken.all -= 1;
        let address = network(self.client.ip());
        if self.is_counted_for_address
            && let Some(of_address) = taken.by_address.get_mut(&address)
        {
            *of_address -= 1;
            if *of_address == 0 {
                taken.by_address.remove(&address);
            }
        }
    }
}

/// What counts as one address. Of IPv6 it is the first 64 bits: a subscriber gets that many
/// addresses at the least (RFC 6177, section 2), and would never come to a limit for each.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64).into(),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(max: usize, max_per_address: usize) -> Arc<Places> {
        let flags = Flags {
            max_connections: max,
            max_connections_per_address: max_per_address,
            trusted_proxy: vec![IpAddr::from([10, 0, 0, 1])],
            ..Flags::default()
        };
        Arc::new(Places::new(&flags))
    }

    fn of(host: &str) -> SocketAddr {
        SocketAddr::new(host.parse().unwrap_or(IpAddr::from([0, 0, 0, 0])), 1)
    }

    #[test]
    fn a_place_that_is_dropped_is_free_and_a_refused_one_frees_nothing() {
        let places = places(2, 0);
        let (first, refusal) = places.take(of("192.0.2.1"));
        assert_eq!(refusal, None);
        let (_second, refusal) = places.take(of("192.0.2.1"));
        assert_eq!(refusal, None);
        let (third, refusal) = places.take(of("192.0.2.1"));
        assert_eq!(refusal, Some(Refusal::Full));
        drop(third);
        assert_eq!(places.take(of("192.0.2.1")).1, Some(Refusal::Full));
        drop(first);
        assert_eq!(places.take(of("192.0.2.1")).1, None);
        assert!(places.taken.lock().by_address.is_empty());
    }

    #[test]
    fn ipv6_counts_by_64_bits_and_mapped_ipv4_as_ipv4() {
        for (one, other, is_same) in [
            ("2001:db8:0:1::1", "2001:db8:0:1:ffff::2", true),
            ("2001:db8:0:1::1", "2001:db8:0:2::1", false),
            ("192.0.2.1", "::ffff:192.0.2.1", true),
            ("192.0.2.1", "::ffff:192.0.2.2", false),
        ] {
            let places = places(9, 1);
            let (_place, refusal) = places.take(of(one));
            assert_eq!(refusal, None);
            assert_eq!(places.take(of(other)).1.is_some(), is_same, "{one} {other}");
        }
    }

    #[test]
    fn behind_a_proxy_the_place_is_the_clients() {
        let places = places(9, 1);
        let (mut first, _) = places.take(of("10.0.0.1"));
        let (mut second, refusal) = places.take(of("10.0.0.1"));
        assert_eq!(refusal, None);
        assert_eq!(first.give_to(of("192.0.2.1")), None);
        assert_eq!(second.give_to(of("192.0.2.1")), Some(Refusal::AddressFull));
        drop(first);
        assert_eq!(places.take(of("192.0.2.1")).1, None);
        drop(second);
        let taken = places.taken.lock();
        assert!(taken.all == 0 && taken.by_address.is_empty());
    }
}
