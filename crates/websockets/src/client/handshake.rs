//! The client's opening handshake.

use bytes::BytesMut;
use tungstenite::client::IntoClientRequest;
use tungstenite::handshake::client::{Response, generate_request};
use tungstenite::handshake::derive_accept_key;
use tungstenite::http::{HeaderMap, HeaderValue, StatusCode, Version, header};

use super::url::Target;
use super::{errors, http};
use crate::Result;
use crate::deflate::{Compression, Deflate, OFFER, confirm};
use crate::headers::{items, lists, single};
use crate::socket::Stream;

/// Requests a WebSocket from the server at the other end of `stream`. Returns the response, the
/// bytes that followed its head, which after 101 are frames, and what was agreed on about
/// compression.
///
/// # Errors
///
/// One sentence, if there is no response, or if RFC 6455 forbids it.
pub(super) async fn handshake(
    target: &Target,
    headers: &HeaderMap,
    compression: Compression,
    stream: &mut Stream,
) -> Result<(Response, BytesMut, Option<Deflate>)> {
    let (request, key) = request(target, headers, compression)
        .map_err(|error| format!("cannot request {target} ({error}); check the URL"))?;
    let exchanged = http::exchange(stream, &request).await;
    let (response, unread) = exchanged.map_err(|error| errors::no_response(target, &error))?;
    let is_switching = response.status() == StatusCode::SWITCHING_PROTOCOLS;
    let mut deflate = None;
    if is_switching || response.version() == Version::HTTP_10 {
        let checked = check(&response, &key, headers, compression);
        deflate = checked.map_err(|reason| format!("{target} {reason}"))?;
    }
    Ok((response, unread, deflate))
}

/// The request with the user's `headers`, and its key.
fn request(
    target: &Target,
    headers: &HeaderMap,
    compression: Compression,
) -> tungstenite::Result<(Vec<u8>, String)> {
    let mut request = target.as_str().into_client_request()?;
    if let Some(authorization) = target.authorization() {
        request.headers_mut().insert(header::AUTHORIZATION, authorization);
    }
    // The user's own headers come last and win.
    request.headers_mut().extend(headers.clone());
    if compression == Compression::Deflate {
        let offer = HeaderValue::from_static(OFFER);
        request.headers_mut().insert(header::SEC_WEBSOCKET_EXTENSIONS, offer);
    }
    generate_request(request)
}

/// Checks a 101 response as RFC 6455, section 4.1, demands. The error continues a sentence that
/// begins with the server.
fn check(
    response: &Response,
    key: &str,
    requested: &HeaderMap,
    compression: Compression,
) -> std::result::Result<Option<Deflate>, &'static str> {
    let (version, response) = (response.version(), response.headers());
    let upgrade = single(response, header::UPGRADE).unwrap_or_default();
    let accept = single(response, header::SEC_WEBSOCKET_ACCEPT);
    let subprotocol = single(response, header::SEC_WEBSOCKET_PROTOCOL);
    let is_chosen = response.contains_key(header::SEC_WEBSOCKET_PROTOCOL);
    let deflate = confirm(compression, response);
    let mut requested = items(requested, header::SEC_WEBSOCKET_PROTOCOL);
    Err(if version == Version::HTTP_10 {
        "does not speak WebSocket, but HTTP/1.0 as simple web servers do; is it the right port?"
    } else if !upgrade.eq_ignore_ascii_case("websocket") {
        "does not speak WebSocket (its Upgrade is not websocket); is it the right port?"
    } else if !lists(response, header::CONNECTION, "upgrade") {
        "does not speak WebSocket (its Connection is not Upgrade); is it the right port?"
    } else if accept != Some(&derive_accept_key(key.as_bytes())) {
        "does not speak WebSocket (its Sec-WebSocket-Accept is wrong); is it the right port?"
    } else if deflate.is_err() {
        "uses an extension that this client did not offer; tell who runs the server"
    } else if !is_chosen && requested.next().is_some() {
        "speaks no subprotocol that was asked for; ask for one that it speaks, or for none"
    } else if is_chosen && !requested.any(|name| Some(name) == subprotocol) {
        "answered with a subprotocol that nobody asked for; ask for it if you know it, or tell who \
         runs the server"
    } else {
        return Ok(deflate.unwrap_or_default());
    })
}
