//! An opening handshake: what RFC 6455 asks of it, and what is agreed on.

use data_encoding::BASE64;
use tungstenite::handshake::derive_accept_key;
use tungstenite::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Version, header};

use super::answer::{items, lists, set};
use super::origin::{self, Origins};
use super::{Request, Response, respond};

/// Checks an opening handshake in the order of RFC 6455, section 4.2.1. Returns the 101, or the
/// answer that says what is wrong.
pub(super) fn check(request: &Request, has_body: bool, origins: &Origins) -> Response {
    let headers = request.headers();
    let bad = |sentence| respond(StatusCode::BAD_REQUEST, sentence);
    if request.method() != Method::GET {
        let mut answer = respond(StatusCode::METHOD_NOT_ALLOWED, "A WebSocket opens with GET.");
        set(&mut answer, header::ALLOW, "GET");
        return answer;
    }
    if request.version() < Version::HTTP_11 {
        return bad("A WebSocket needs HTTP/1.1; is there a proxy that speaks 1.0?");
    }
    // Its bytes would be taken for frames.
    if has_body {
        return bad("A request for a WebSocket has no body; send it as the first message.");
    }
    if !lists(headers, header::CONNECTION, "upgrade") {
        return bad("The Connection header must say Upgrade; does a proxy drop it?");
    }
    if single(headers, header::SEC_WEBSOCKET_VERSION) != Some("13") {
        return needed("Only version 13 of the WebSocket protocol is spoken.");
    }
    let Some(key) = single(headers, header::SEC_WEBSOCKET_KEY).filter(|key| is_key(key)) else {
        return bad("Sec-WebSocket-Key must be 16 bytes in base64.");
    };
    if !origins.allow(headers) {
        let remedy = origin::remedy(headers);
        let remedy = remedy.map(|flag| format!("; {flag} lets them in")).unwrap_or_default();
        let sentence = format!("Pages of this origin may not connect{remedy}.");
        return respond(StatusCode::FORBIDDEN, &sentence);
    }
    let mut switch = Response::default();
    *switch.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    set(&mut switch, header::CONNECTION, "Upgrade");
    set(&mut switch, header::UPGRADE, "websocket");
    if let Ok(accept) = HeaderValue::try_from(derive_accept_key(key.as_bytes())) {
        switch.headers_mut().insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    }
    switch
}

/// The first subprotocol that the client asks for and that the server speaks, in the client's
/// order of preference (RFC 6455, section 4.1). Names are compared with their case.
pub(super) fn agree(headers: &HeaderMap, spoken: &[&'static str]) -> Option<&'static str> {
    items(headers, header::SEC_WEBSOCKET_PROTOCOL)
        .find_map(|asked| spoken.iter().copied().find(|name| *name == asked))
}

/// 426: the resource is a WebSocket, of version 13.
pub(super) fn needed(text: &str) -> Response {
    let mut answer = respond(StatusCode::UPGRADE_REQUIRED, text);
    set(&mut answer, header::UPGRADE, "websocket");
    set(&mut answer, header::SEC_WEBSOCKET_VERSION, "13");
    answer
}

/// The value of a header that is there exactly once.
fn single(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => value.to_str().ok(),
        _ => None,
    }
}

fn is_key(key: &str) -> bool {
    // Encoded again, because several codes in a row would be decoded as one.
    BASE64.decode(key.as_bytes()).is_ok_and(|k| k.len() == 16 && BASE64.encode(&k) == key)
}
