//! Which pages may connect.
//!
//! Browsers let any page connect to any server, localhost included, and leave it to the server to
//! check where the page comes from. A host name in the request's `Host` proves nothing, because DNS
//! rebinding makes it agree with a foreign page. An address cannot be rebound.

use std::net::{Ipv4Addr, Ipv6Addr};

use tungstenite::http::uri::Authority;
use tungstenite::http::{HeaderMap, header};

use crate::printable;

/// How much of an origin is logged, in characters. A host name has 253 at most.
const MAX_LOGGED: usize = 300;

/// The origins that a server allows.
#[derive(Clone, Debug, Default)]
pub(super) struct Origins {
    /// `--allow-origin`. If there are any, only these are allowed.
    pub(super) allowed: Vec<String>,
    pub(super) allow_null: bool,
    /// Whether other pages of this machine are rejected by default.
    pub(super) own_only: bool,
    /// The origins of the pages that the server itself announces.
    pub(super) own: Vec<String>,
}

impl Origins {
    /// Whether the page that sent this request may open a WebSocket.
    pub(super) fn allow(&self, headers: &HeaderMap) -> bool {
        let mut origins = headers.get_all(header::ORIGIN).iter();
        let origin = match (origins.next(), origins.next()) {
            // Not a browser, which could send any origin anyway.
            (None, _) => "",
            (Some(origin), None) => match origin.to_str() {
                Ok(origin) => origin,
                Err(_) => return false,
            },
            (Some(_), Some(_)) => return false,
        };
        if !self.allowed.is_empty() {
            return self.allowed.iter().any(|allowed| allowed.eq_ignore_ascii_case(origin));
        }
        match origin {
            "" => true,
            "null" => self.allow_null,
            _ if self.own.iter().any(|own| own.eq_ignore_ascii_case(origin)) => true,
            _ => {
                !self.own_only
                    && http_authority(origin)
                        .is_some_and(|page| is_local(&page) || is_served_by_address(&page, headers))
            }
        }
    }
}

/// An origin as browsers write it: without the port that the scheme implies (RFC 6454, section
/// 6.2).
pub(super) fn serialize(scheme: &str, host: &str, port: Option<u16>) -> String {
    match (scheme, port) {
        ("http", Some(80)) | ("https", Some(443)) | (_, None) => format!("{scheme}://{host}"),
        (_, Some(port)) => format!("{scheme}://{host}:{port}"),
    }
}

/// Whether the page is from any server on this machine.
fn is_local(page: &Authority) -> bool {
    ["localhost", "127.0.0.1", "[::1]"].iter().any(|local| page.host().eq_ignore_ascii_case(local))
}

/// Whether the page came from this very server and was opened by an IP address, as on a phone.
fn is_served_by_address(page: &Authority, headers: &HeaderMap) -> bool {
    let asked = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    (page.host().starts_with('[') || page.host().parse::<Ipv4Addr>().is_ok())
        && asked.is_some_and(|asked| page == asked)
}

/// The `HOST[:PORT]` of a page that came over HTTP.
fn http_authority(origin: &str) -> Option<Authority> {
    parts(origin).filter(|(scheme, _)| matches!(*scheme, "http" | "https")).map(|(_, page)| page)
}

/// Reads a value of `--allow-origin`: an origin as a browser sends it, or an empty one for clients
/// that are not browsers.
///
/// # Errors
///
/// One sentence for the user.
pub(super) fn parse(origin: &str) -> Result<String, String> {
    // Old Android apps send the last one.
    if matches!(origin, "" | "null" | "file://") || parts(origin).is_some() {
        return Ok(origin.to_owned());
    }
    // The valid origin, if only a path or the scheme's own port is wrong.
    let meant = origin.split_once("://").map(|(scheme, rest)| {
        let authority = rest.split('/').next().unwrap_or_default();
        let own = if scheme == "https" { ":443" } else { ":80" };
        format!("{scheme}://{}", authority.strip_suffix(own).unwrap_or(authority))
    });
    let meant = meant.filter(|meant| parts(meant).is_some());
    Err(match meant {
        Some(meant) => format!("invalid origin; did you mean {meant}?"),
        None => "invalid origin; use scheme, host and port, as in https://example.com".to_owned(),
    })
}

/// The flag that allows this page, if its origin is valid. It is safe to paste into a shell.
pub(super) fn hint(headers: &HeaderMap) -> Option<String> {
    let Some(origin) = headers.get(header::ORIGIN) else {
        return Some("--allow-origin ''".to_owned());
    };
    let origin = origin.to_str().ok()?;
    let is_valid = origin == "null" || parts(origin).is_some() && origin.len() <= MAX_LOGGED;
    is_valid.then(|| format!("--allow-origin {origin}"))
}

/// Scheme and `HOST[:PORT]` of an origin, if it is one that a browser can send: no path, no
/// port that the scheme implies, a host in ASCII.
fn parts(origin: &str) -> Option<(&str, Authority)> {
    let (scheme, authority) = origin.split_once("://")?;
    let authority: Authority = authority.parse().ok()?;
    let host = authority.host();
    let is_scheme = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'));
    let is_host = match host.strip_prefix('[') {
        Some(v6) => v6.trim_end_matches(']').parse::<Ipv6Addr>().is_ok(),
        None => host.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_')),
    };
    let is_as_written = serialize(scheme, host, authority.port_u16()) == origin;
    (is_scheme && !host.is_empty() && is_host && is_as_written).then_some((scheme, authority))
}

/// The origin, made safe for the log: a client may send anything.
pub(super) fn for_log(headers: &HeaderMap) -> String {
    let origin = headers.get(header::ORIGIN).map_or(&b"none"[..], |origin| origin.as_bytes());
    let origin: String = String::from_utf8_lossy(origin).chars().take(MAX_LOGGED).collect();
    printable(&origin).to_string()
}

#[cfg(test)]
mod tests {
    use testing::property::{check, text};
    use tungstenite::http::HeaderValue;
    use url::{Host, Url};

    use super::*;

    #[test]
    fn an_origin_leaves_out_its_default_port() {
        assert_eq!(serialize("http", "example.com", Some(80)), "http://example.com");
        assert_eq!(serialize("http", "example.com", Some(443)), "http://example.com:443");
        assert_eq!(serialize("https", "example.com", Some(443)), "https://example.com");
        assert_eq!(serialize("https", "[::1]", Some(80)), "https://[::1]:80");
        for port in [80, 443, 8765] {
            for scheme in ["http", "https"] {
                // The server announces the origin that a browser sends.
                let origin = serialize(scheme, "example.com", Some(port));
                assert!(parts(&origin).is_some(), "{origin}");
            }
        }
    }

    /// What origins are made of, and what makes one look like another.
    const PARTS: [&str; 22] = [
        "http://",
        "https://",
        "localhost",
        "127.0.0.1",
        "[::1]",
        "192.168.0.7",
        "[fe80::7]",
        "evil.example",
        ":80",
        ":443",
        ":8765",
        ":",
        "@",
        ".",
        "/",
        "\\",
        "?",
        "#",
        "%",
        "null",
        "file://",
        "\u{e9}",
    ];

    #[test]
    fn only_local_pages_and_own_addresses_are_allowed() {
        check(4000, |input| {
            let count = input.int_in_range(0..=4)?;
            let mut origin = input.choose(&["http://", "https://", ""])?.to_string();
            for _ in 0..count {
                origin.push_str(input.choose(&PARTS)?);
            }
            if input.ratio(1, 8)? {
                origin = text(input, &PARTS, 6)?;
            }
            let host = match input.arbitrary()? {
                true => origin.split_once("://").map_or("", |(_, host)| host).to_owned(),
                false => text(input, &PARTS, 3)?,
            };
            let mut headers = HeaderMap::new();
            let Ok(value) = HeaderValue::from_bytes(origin.as_bytes()) else { return Ok(()) };
            headers.insert(header::ORIGIN, value);
            if let Ok(host) = HeaderValue::from_bytes(host.as_bytes()) {
                headers.insert(header::HOST, host);
            }
            let allowed = Origins::default().allow(&headers);

            // What the origin is to a browser.
            let url = Url::parse(&origin).ok().filter(|url| {
                matches!(url.scheme(), "http" | "https")
                    && url.origin().ascii_serialization().eq_ignore_ascii_case(&origin)
            });
            let page = url.as_ref().and_then(Url::host);
            let is_own = || {
                origin.split_once("://").is_some_and(|(_, page)| page.eq_ignore_ascii_case(&host))
            };
            let right = match page.as_ref().map(Host::to_string).as_deref() {
                Some("localhost" | "127.0.0.1" | "[::1]") => true,
                Some(_) => !matches!(page, Some(Host::Domain(_))) && is_own(),
                None => origin.is_empty(),
            };
            assert_eq!(allowed, right, "{origin} at {host}");

            let parsed = parse(&origin);
            if let Ok(parsed) = &parsed {
                let origins = Origins { allowed: vec![parsed.clone()], ..Origins::default() };
                assert!(origins.allow(&headers), "{origin}");
            }
            let hint = hint(&headers).unwrap_or_default();
            let is_word = |c: char| c.is_ascii_alphanumeric() || " +-.:/[]_'".contains(c);
            let one_line = format!("{}{}{hint}", for_log(&headers), parsed.unwrap_or_else(|e| e));
            assert!(hint.chars().all(is_word), "{hint}");
            assert!(!one_line.contains(char::is_control), "{one_line}");
            Ok(())
        });
    }
}
