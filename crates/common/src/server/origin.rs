//! Which pages may connect.
//!
//! Browsers let any page connect to any server, localhost included, and leave it to the server
//! to look where the page comes from. What the request's `Host` says is no evidence: DNS
//! rebinding makes it agree with a foreign page.

use tungstenite::http::{HeaderMap, Uri, header};

use crate::text::printable;

/// How much of an origin is logged, in characters. A host name has 253 at most.
const SHOWN: usize = 300;

/// Whether the page that opens this WebSocket may.
pub(crate) fn allowed(headers: &HeaderMap, allow: &[String]) -> bool {
    let mut origins = headers.get_all(header::ORIGIN).iter();
    let origin = match (origins.next(), origins.next()) {
        // Not a browser: it could claim any origin.
        (None, _) => "",
        (Some(origin), None) => match origin.to_str() {
            Ok(origin) => origin,
            Err(_) => return false,
        },
        (Some(_), Some(_)) => return false,
    };
    if !allow.is_empty() {
        return allow.iter().any(|allowed| allowed.eq_ignore_ascii_case(origin));
    }
    // `null` is a page that was opened as a file, as in the original.
    matches!(origin, "" | "null") || is_this_machine(origin)
}

fn is_this_machine(origin: &str) -> bool {
    let Ok(origin) = origin.parse::<Uri>() else {
        return false;
    };
    let host = origin.host().unwrap_or_default();
    matches!(origin.scheme_str(), Some("http" | "https"))
        && matches!(host.to_ascii_lowercase().as_str(), "localhost" | "127.0.0.1" | "[::1]")
}

/// The origin as it is fit to be logged: a peer may have put anything there.
pub(crate) fn shown(headers: &HeaderMap) -> String {
    let origin = headers.get(header::ORIGIN).map_or(&b"none"[..], |origin| origin.as_bytes());
    let origin: String = String::from_utf8_lossy(origin).chars().take(SHOWN).collect();
    printable(&origin).to_string()
}
