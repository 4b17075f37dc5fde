//! The opening handshake: checks the request as RFC 6455 requires, and chooses the options.

use data_encoding::BASE64;
use tungstenite::handshake::derive_accept_key;
use tungstenite::http::{HeaderMap, HeaderValue, Method, StatusCode, Version, header};

use super::http::has_body;
use super::origin::{self, Origins};
use super::{Request, Response, respond};
use crate::deflate::extensions;
use crate::headers::{items, lists, set, single};

/// Checks an opening handshake in the order of RFC 6455, section 4.2.1. Returns the 101 response,
/// or a response with the error.
pub(super) fn check(request: &Request, origins: &Origins) -> Response {
    let headers = request.headers();
    let bad = |text| respond(StatusCode::BAD_REQUEST, text);
    if request.method() != Method::GET {
        let text = "A WebSocket request must use GET.";
        let mut response = respond(StatusCode::METHOD_NOT_ALLOWED, text);
        set(&mut response, header::ALLOW, "GET");
        return response;
    }
    if request.version() < Version::HTTP_11 {
        return bad("A WebSocket needs HTTP/1.1; is there a proxy that uses HTTP/1.0?");
    }
    // Its bytes would be read as frames.
    if has_body(headers) {
        return bad("A WebSocket request must have no body; send it as the first message.");
    }
    if !lists(headers, header::CONNECTION, "upgrade") {
        return bad("The Connection header must contain Upgrade; does a proxy drop it?");
    }
    if single(headers, header::SEC_WEBSOCKET_VERSION) != Some("13") {
        return required("This server supports only version 13 of the WebSocket protocol.");
    }
    let Some(key) = single(headers, header::SEC_WEBSOCKET_KEY).filter(|key| is_key(key)) else {
        return bad("Sec-WebSocket-Key must be 16 bytes in base64.");
    };
    if extensions(headers).is_none() {
        return bad("Sec-WebSocket-Extensions must be a list such as permessage-deflate; a=1.");
    }
    if !origins.allow(headers) {
        let hint = origin::hint(headers);
        let hint = hint.map(|flag| format!("; {flag} allows them")).unwrap_or_default();
        let text = format!("Pages of this origin may not connect{hint}.");
        return respond(StatusCode::FORBIDDEN, &text);
    }
    let mut response = Response::default();
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    set(&mut response, header::CONNECTION, "Upgrade");
    set(&mut response, header::UPGRADE, "websocket");
    if let Ok(accept) = HeaderValue::try_from(derive_accept_key(key.as_bytes())) {
        response.headers_mut().insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    }
    response
}

/// The first subprotocol that the client requests and the server supports, in the client's order
/// of preference (RFC 6455, section 4.1). Upper and lower case are different.
pub(super) fn agree(headers: &HeaderMap, supported: &[&'static str]) -> Option<&'static str> {
    items(headers, header::SEC_WEBSOCKET_PROTOCOL)
        .find_map(|requested| supported.iter().copied().find(|name| *name == requested))
}

/// 426: the resource is a WebSocket, of version 13.
pub(super) fn required(text: &str) -> Response {
    let mut response = respond(StatusCode::UPGRADE_REQUIRED, text);
    set(&mut response, header::UPGRADE, "websocket");
    set(&mut response, header::SEC_WEBSOCKET_VERSION, "13");
    response
}

fn is_key(key: &str) -> bool {
    // Encoded again, because several codes in a row would be decoded as one.
    BASE64.decode(key.as_bytes()).is_ok_and(|k| k.len() == 16 && BASE64.encode(&k) == key)
}
