//! The response to a request: the page, a health check, a WebSocket, or one sentence with the
//! error.

use std::panic::AssertUnwindSafe;

use futures_util::FutureExt;
use tracing::info;
use tungstenite::http::uri::Authority;
use tungstenite::http::{
    HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, Version, header,
};

use super::limits::Rejection;
use super::{Request, Response, Server, handshake, html, origin, respond};
use crate::catch::catch;
use crate::deflate::{Compression, accept};
use crate::headers::{lists, set};
use crate::printable;

/// The response to `request`. Status 101 means that the connection becomes a WebSocket.
pub(super) async fn answer(
    request: &mut Request,
    server: &Server,
    rejection: Option<Rejection>,
) -> Response {
    if let Some(response) = malformed(request) {
        return response;
    }
    if request.method() != Method::GET && request.method() != Method::HEAD {
        let text = "This server answers only GET and HEAD.";
        let mut response = respond(StatusCode::METHOD_NOT_ALLOWED, text);
        set(&mut response, header::ALLOW, "GET, HEAD");
        return response;
    }
    if lists(request.headers(), header::UPGRADE, "websocket") {
        return upgrade(request, server, rejection).await;
    }
    match (request.uri().path(), rejection) {
        // Alive, for a supervisor that restarts a program that hangs.
        ("/healthz", _) => return respond(StatusCode::OK, "ok"),
        // Ready for another client, for a load balancer.
        ("/readyz", None | Some(Rejection::AddressFull)) => return ready(server),
        (_, Some(rejection)) => return rejected(rejection),
        (_, None) => {}
    }
    let headers = match process(request, server).await {
        Ok(headers) => headers,
        Err(response) => return response,
    };
    let mut response = match (request.uri().path(), &server.page) {
        ("/", Some(page)) => html(page.clone()),
        ("/", None) => handshake::required(
            "This is a WebSocket server; connect with a client, for example talk.",
        ),
        _ => respond(StatusCode::NOT_FOUND, "There is nothing at this path."),
    };
    response.headers_mut().extend(headers);
    response
}

/// The response to a request for a WebSocket.
pub(super) async fn upgrade(
    request: &mut Request,
    server: &Server,
    rejection: Option<Rejection>,
) -> Response {
    if let Some(rejection) = rejection {
        let response = rejected(rejection);
        let reason = String::from_utf8_lossy(response.body().trim_ascii_end());
        info!("WebSocket request rejected: {}: {reason}", response.status());
        return response;
    }
    let mut response = handshake::check(request, &server.origins);
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        let origin = origin::for_log(request.headers());
        let reason = String::from_utf8_lossy(response.body().trim_ascii_end()).into_owned();
        let (status, reason) = (response.status(), printable(&reason));
        info!("WebSocket request rejected: {status} (origin: {origin}): {reason}");
        return response;
    }
    if let Some(subprotocol) = handshake::agree(request.headers(), &server.subprotocols) {
        request.agree_on(subprotocol);
        set(&mut response, header::SEC_WEBSOCKET_PROTOCOL, subprotocol);
    }
    if server.flags.compression == Compression::Deflate
        && let Some((deflate, accepted)) = accept(request.headers())
        && let Ok(accepted) = HeaderValue::try_from(accepted)
    {
        request.agree_to_compress(deflate);
        response.headers_mut().insert(header::SEC_WEBSOCKET_EXTENSIONS, accepted);
    }
    let mut headers = match process(request, server).await {
        Ok(headers) => headers,
        Err(response) => {
            let (status, origin) = (response.status(), origin::for_log(request.headers()));
            info!("WebSocket request rejected by process_request: {status} (origin: {origin})");
            return response;
        }
    };
    for name in HANDSHAKE_HEADERS {
        headers.remove(name);
    }
    response.headers_mut().extend(headers);
    response
}

/// Headers of a 101 that `process_request` cannot change.
const HANDSHAKE_HEADERS: [HeaderName; 7] = [
    header::CONNECTION,
    header::CONTENT_LENGTH,
    header::SEC_WEBSOCKET_ACCEPT,
    header::SEC_WEBSOCKET_EXTENSIONS,
    header::SEC_WEBSOCKET_PROTOCOL,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// The response to a request whose `Host` or target is invalid.
pub(super) fn malformed(request: &Request) -> Option<Response> {
    let text = match (has_one_host(request), request.method()) {
        (false, _) => "A request must have exactly one Host header.",
        // Other methods have other targets, for example `OPTIONS *`.
        (_, &Method::GET | &Method::HEAD) if !is_path(request.uri()) => {
            "The request target must be a path, for example /."
        }
        _ => return None,
    };
    Some(respond(StatusCode::BAD_REQUEST, text))
}

/// Whether the request has the one `Host` that it must have. HTTP/1.0 did not know it (RFC 9112,
/// section 3.2), and HTTP/2 has it in the target.
fn has_one_host(request: &Request) -> bool {
    let mut hosts = request.headers().get_all(header::HOST).iter();
    match (hosts.next(), hosts.next()) {
        (Some(host), None) => {
            !host.as_bytes().contains(&b'@') && Authority::try_from(host.as_bytes()).is_ok()
        }
        (None, _) => request.version() != Version::HTTP_11,
        (Some(_), Some(_)) => false,
    }
}

/// Whether the target is a path, alone or after `http://host` (RFC 9112, section 3.2).
fn is_path(target: &Uri) -> bool {
    target.path().starts_with('/') && (target.scheme().is_some() || target.authority().is_none())
}

fn rejected(rejection: Rejection) -> Response {
    let unavailable = |text| respond(StatusCode::SERVICE_UNAVAILABLE, text);
    match rejection {
        Rejection::Full => unavailable(
            "Too many connections are open; try again later, or raise --max-connections.",
        ),
        Rejection::ShuttingDown => unavailable("The server is shutting down; try again later."),
        // Not 503: a proxy would consider this server broken and try the next one.
        Rejection::AddressFull => respond(
            StatusCode::TOO_MANY_REQUESTS,
            "Too many connections are open from your address; close some, or raise \
             --max-connections-per-address.",
        ),
    }
}

fn ready(server: &Server) -> Response {
    match catch(|| server.ready.as_ref().map_or(Ok(()), |ready| ready())) {
        Some(Ok(())) => respond(StatusCode::OK, "ready"),
        Some(Err(reason)) => respond(StatusCode::SERVICE_UNAVAILABLE, &reason),
        // The panic hook has logged it.
        None => respond(StatusCode::SERVICE_UNAVAILABLE, "The readiness check failed."),
    }
}

/// The headers that the program adds to the response. The error is a response of its own.
async fn process(request: &mut Request, server: &Server) -> Result<HeaderMap, Response> {
    let mut headers = HeaderMap::new();
    let Some(process) = &server.process_request else { return Ok(headers) };
    let response = AssertUnwindSafe(async { process(request, &mut headers).await }).catch_unwind();
    match response.await {
        Ok(None) => Ok(headers),
        Ok(Some(response)) if response.status() != StatusCode::SWITCHING_PROTOCOLS => Err(response),
        // The panic hook has logged it. A 101 is ours to send.
        _ => Err(respond(StatusCode::INTERNAL_SERVER_ERROR, "Internal server error.")),
    }
}
