//! The client's address, if a proxy connects on its behalf.
//!
//! A proxy appends the address of its client to `X-Forwarded-For`. Everything to the left of what a
//! trusted proxy wrote is unreliable, because a client can send the header itself.

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;
use tungstenite::http::HeaderMap;

use crate::headers::items;

const X_FORWARDED_FOR: &str = "x-forwarded-for";

/// The client's address: the last one in the chain that does not belong to a trusted proxy. Its
/// port is 0 unless the proxy reports one. `peer` is the other end of the connection.
pub(super) fn client(peer: SocketAddr, headers: &HeaderMap, trusted: &[IpNet]) -> SocketAddr {
    let mut client = peer;
    let mut hops = items(headers, X_FORWARDED_FOR).rev();
    while is_trusted(client.ip(), trusted)
        // A hop that is not an address, for example `unknown`, ends the chain. The proxy that wrote
        // it is the last known one.
        && let Some(hop) = hops.next().and_then(address)
    {
        client = hop;
    }
    client
}

pub(super) fn is_trusted(address: IpAddr, trusted: &[IpNet]) -> bool {
    let address = address.to_canonical();
    trusted.iter().any(|network| network.contains(&address))
}

/// An address as proxies write it. Some add a port.
fn address(hop: &str) -> Option<SocketAddr> {
    let alone = || hop.trim_matches(['[', ']']).parse().ok().map(|ip| SocketAddr::new(ip, 0));
    hop.parse().ok().or_else(alone)
}

#[cfg(test)]
mod tests {
    use testing::property::check;
    use tungstenite::http::HeaderValue;

    use super::*;

    fn seen(peer: &str, headers: &[&str]) -> String {
        let trusted = ["10.0.0.1/32", "10.0.0.2/32", "::1/128", "10.7.0.0/16", "fd00::/8"];
        let trusted: Vec<IpNet> = trusted.iter().flat_map(|network| network.parse()).collect();
        let mut map = HeaderMap::new();
        for value in headers {
            map.append(
                X_FORWARDED_FOR,
                HeaderValue::from_str(value).unwrap_or(HeaderValue::from(0)),
            );
        }
        peer.parse()
            .map_or_else(|_| "no peer".into(), |peer| client(peer, &map, &trusted).to_string())
    }

    #[test]
    fn the_last_untrusted_hop_is_the_client() {
        assert_eq!(seen("10.0.0.1:5", &["192.0.2.7"]), "192.0.2.7:0");
        assert_eq!(seen("10.0.0.1:5", &["1.1.1.1, 192.0.2.7, 10.0.0.2"]), "192.0.2.7:0");
        assert_eq!(seen("10.0.0.1:5", &["1.1.1.1", "192.0.2.7", "10.0.0.2"]), "192.0.2.7:0");
        assert_eq!(seen("[::ffff:10.0.0.1]:5", &["192.0.2.7:81"]), "192.0.2.7:81");
        assert_eq!(seen("[::1]:5", &["2001:db8::7"]), "[2001:db8::7]:0");
        assert_eq!(seen("[::1]:5", &["[2001:db8::7]:81"]), "[2001:db8::7]:81");
        assert_eq!(seen("[::1]:5", &["[2001:db8::7]"]), "[2001:db8::7]:0");
    }

    #[test]
    fn every_proxy_of_a_trusted_network_is_trusted() {
        assert_eq!(seen("10.7.255.1:5", &["192.0.2.7, 10.7.0.1"]), "192.0.2.7:0");
        assert_eq!(seen("[::ffff:10.7.0.1]:5", &["192.0.2.7, fd12::1"]), "192.0.2.7:0");
        assert_eq!(seen("10.8.0.1:5", &["192.0.2.7"]), "10.8.0.1:5");
        assert_eq!(seen("[fe80::1]:5", &["192.0.2.7"]), "[fe80::1]:5");
    }

    #[test]
    fn only_the_header_of_a_trusted_proxy_counts() {
        assert_eq!(seen("192.0.2.9:5", &["1.1.1.1"]), "192.0.2.9:5");
        assert_eq!(seen("192.0.2.9:5", &["10.0.0.1"]), "192.0.2.9:5");
        assert_eq!(seen("10.0.0.1:5", &["1.1.1.1, 192.0.2.9"]), "192.0.2.9:0");
    }

    #[test]
    fn an_invalid_hop_ends_the_chain() {
        assert_eq!(seen("10.0.0.1:5", &[]), "10.0.0.1:5");
        assert_eq!(seen("10.0.0.1:5", &[""]), "10.0.0.1:5");
        assert_eq!(seen("10.0.0.1:5", &["1.1.1.1, unknown"]), "10.0.0.1:5");
        assert_eq!(seen("10.0.0.1:5", &["1.1.1.1, unknown, 10.0.0.2"]), "10.0.0.2:0");
        assert_eq!(seen("10.0.0.1:5", &["10.0.0.2"]), "10.0.0.2:0");
    }

    #[test]
    fn nothing_left_of_an_untrusted_hop_counts() {
        const HOPS: [&str; 9] = [
            "10.0.0.1",
            "10.0.0.2:80",
            "::1",
            "[::ffff:10.0.0.1]:5",
            "192.0.2.7",
            "[2001:db8::7]:81",
            "unknown",
            "",
            "1.2.3.4.5",
        ];
        let trusted: [IpNet; 3] =
            ["10.0.0.1/32", "10.0.0.2/32", "::1/128"].map(|network| network.parse().unwrap());
        let header = |value: &[u8]| HeaderValue::from_bytes(value).ok();
        check(1000, |input| {
            let peer = *input.choose(&["10.0.0.1:5", "[::1]:5", "192.0.2.9:5"])?;
            let peer: SocketAddr = peer.parse().unwrap();
            let count = input.int_in_range(0..=5)?;
            let hops = (0..count).map(|_| input.choose(&HOPS).copied());
            let hops = hops.collect::<testing::property::Result<Vec<_>>>()?;
            // The same hops in several headers.
            let mut headers = HeaderMap::new();
            for line in hops.chunks(input.int_in_range(1..=6)?) {
                headers.append(X_FORWARDED_FOR, header(line.join(" , ").as_bytes()).unwrap());
            }
            let seen = client(peer, &headers, &trusted);

            let from_right: Vec<_> = hops.iter().rev().map(|hop| address(hop)).collect();
            let known: Vec<_> = from_right.iter().map_while(|hop| *hop).collect();
            let chain: Vec<_> = [peer].into_iter().chain(known.iter().copied()).collect();
            let at = chain.iter().position(|hop| !is_trusted(hop.ip(), &trusted));
            assert_eq!(seen, chain[at.unwrap_or(chain.len() - 1)], "{hops:?}");

            let is_certain = at.is_some() || known.len() < hops.len();
            let left: Vec<u8> = input.arbitrary()?;
            if let Some(left) = header(&left).filter(|_| is_certain) {
                let mut longer = HeaderMap::new();
                longer.append(X_FORWARDED_FOR, left);
                for line in headers.get_all(X_FORWARDED_FOR) {
                    longer.append(X_FORWARDED_FOR, line.clone());
                }
                assert_eq!(client(peer, &longer, &trusted), seen, "{longer:?}");
            }
            Ok(())
        });
    }
}
