//! Who calls, where a proxy calls for others.
//!
//! A proxy appends the address of who called it to `X-Forwarded-For`. Everything left of what a
//! trusted proxy wrote is hearsay: a client can send the header itself.

use std::net::{IpAddr, SocketAddr};

use tungstenite::http::HeaderMap;

use super::answer::items;

const X_FORWARDED_FOR: &str = "x-forwarded-for";

/// The client's address: the last one in the chain that is not a trusted proxy's. Its port is 0
/// unless the proxy told it. `peer` is whom the connection is from.
pub(super) fn client(peer: SocketAddr, headers: &HeaderMap, trusted: &[IpAddr]) -> SocketAddr {
    let mut client = peer;
    let mut hops = items(headers, X_FORWARDED_FOR).rev();
    while is_trusted(client.ip(), trusted)
        // What is no address, `unknown` for example, ends the chain: the proxy that wrote it is
        // the last one known.
        && let Some(hop) = hops.next().and_then(address)
    {
        client = hop;
    }
    client
}

pub(super) fn is_trusted(address: IpAddr, trusted: &[IpAddr]) -> bool {
    let address = address.to_canonical();
    trusted.iter().any(|trusted| trusted.to_canonical() == address)
}

/// An address as proxies write it, some of them with a port.
fn address(hop: &str) -> Option<SocketAddr> {
    let alone = || hop.trim_matches(['[', ']']).parse().ok().map(|ip| SocketAddr::new(ip, 0));
    hop.parse().ok().or_else(alone)
}

#[cfg(test)]
mod tests {
    use tungstenite::http::HeaderValue;

    use super::*;

    fn seen(peer: &str, headers: &[&str]) -> String {
        let trusted = ["10.0.0.1", "10.0.0.2", "::1"].map(|ip| ip.parse().ok()).into_iter();
        let trusted: Vec<IpAddr> = trusted.flatten().collect();
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
    fn the_last_hop_that_is_no_trusted_proxy_is_the_client() {
        assert_eq!(seen("10.0.0.1:5", &["192.0.2.7"]), "192.0.2.7:0");
        assert_eq!(seen("10.0.0.1:5", &["1.1.1.1, 192.0.2.7, 10.0.0.2"]), "192.0.2.7:0");
        assert_eq!(seen("10.0.0.1:5", &["1.1.1.1", "192.0.2.7", "10.0.0.2"]), "192.0.2.7:0");
        assert_eq!(seen("[::ffff:10.0.0.1]:5", &["192.0.2.7:81"]), "192.0.2.7:81");
        assert_eq!(seen("[::1]:5", &["2001:db8::7"]), "[2001:db8::7]:0");
        assert_eq!(seen("[::1]:5", &["[2001:db8::7]:81"]), "[2001:db8::7]:81");
        assert_eq!(seen("[::1]:5", &["[2001:db8::7]"]), "[2001:db8::7]:0");
    }

    #[test]
    fn nobody_elses_header_is_believed() {
        assert_eq!(seen("192.0.2.9:5", &["1.1.1.1"]), "192.0.2.9:5");
        assert_eq!(seen("192.0.2.9:5", &["10.0.0.1"]), "192.0.2.9:5");
        assert_eq!(seen("10.0.0.1:5", &["1.1.1.1, 192.0.2.9"]), "192.0.2.9:0");
    }

    #[test]
    fn what_is_no_address_is_not_looked_past() {
        assert_eq!(seen("10.0.0.1:5", &[]), "10.0.0.1:5");
        assert_eq!(seen("10.0.0.1:5", &[""]), "10.0.0.1:5");
        assert_eq!(seen("10.0.0.1:5", &["1.1.1.1, unknown"]), "10.0.0.1:5");
        assert_eq!(seen("10.0.0.1:5", &["1.1.1.1, unknown, 10.0.0.2"]), "10.0.0.2:0");
        assert_eq!(seen("10.0.0.1:5", &["10.0.0.2"]), "10.0.0.2:0");
    }
}
