//! What a request is answered by: the page, a health check, a WebSocket, or one sentence that says
//! what was wrong.

use bytes::Bytes;
use tracing::info;
use tungstenite::http::header::AsHeaderName;
use tungstenite::http::uri::Authority;
use tungstenite::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Version, header};

use super::places::Refusal;
use super::{Request, Response, Server, handshake, origin, respond};
use crate::text::printable;

/// The answer to `request`. Status 101 means that the connection becomes a WebSocket.
pub(super) fn answer(
    request: &mut Request,
    has_body: bool,
    server: &Server,
    refusal: Option<Refusal>,
) -> Response {
    if !names_one_host(request) {
        return respond(StatusCode::BAD_REQUEST, "A request must have exactly one Host header.");
    }
    if request.method() != Method::GET && request.method() != Method::HEAD {
        let mut answer = respond(StatusCode::METHOD_NOT_ALLOWED, "Only GET and HEAD are answered.");
        set(&mut answer, header::ALLOW, "GET, HEAD");
        return answer;
    }
    if lists(request.headers(), header::UPGRADE, "websocket") {
        return match refusal {
            Some(refusal) => refused(refusal),
            None => upgrade(request, has_body, server),
        };
    }
    match (request.uri().path(), refusal) {
        // Alive: for who would start a program anew that hangs.
        ("/healthz", _) => return respond(StatusCode::OK, "ok"),
        // Ready for one more user: for who sends users here or elsewhere.
        ("/readyz", None | Some(Refusal::AddressFull)) => return ready(server),
        (_, Some(refusal)) => return refused(refusal),
        (_, None) => {}
    }
    let mut headers = HeaderMap::new();
    if let Some(response) = process(request, server, &mut headers) {
        return response;
    }
    let mut answer = match (request.uri().path(), &server.page) {
        ("/", Some(page)) => html(page.clone()),
        ("/", None) => handshake::needed(
            "This is a WebSocket server; connect with a client, talk for example.",
        ),
        _ => respond(StatusCode::NOT_FOUND, "There is nothing at this path."),
    };
    answer.headers_mut().extend(headers);
    answer
}

/// Whether the request has the one `Host` that it must have; HTTP/1.0 knew none (RFC 9112,
/// section 3.2).
fn names_one_host(request: &Request) -> bool {
    let mut hosts = request.headers().get_all(header::HOST).iter();
    match (hosts.next(), hosts.next()) {
        (Some(host), None) => {
            !host.as_bytes().contains(&b'@') && Authority::try_from(host.as_bytes()).is_ok()
        }
        (None, _) => request.version() < Version::HTTP_11,
        (Some(_), Some(_)) => false,
    }
}

/// The answer to who gets no place.
fn refused(refusal: Refusal) -> Response {
    match refusal {
        Refusal::Full => respond(
            StatusCode::SERVICE_UNAVAILABLE,
            "Too many connections are open; try again later.",
        ),
        // Not 503: a proxy would take this server for a broken one, and try the next.
        Refusal::AddressFull => respond(
            StatusCode::TOO_MANY_REQUESTS,
            "Too many connections are open from your address; close some, or try again later.",
        ),
        Refusal::ShuttingDown => respond(
            StatusCode::SERVICE_UNAVAILABLE,
            "The server is shutting down; try again later.",
        ),
    }
}

fn ready(server: &Server) -> Response {
    match server.ready.as_ref().map_or(Ok(()), |ready| ready()) {
        Ok(()) => respond(StatusCode::OK, "ready"),
        Err(reason) => respond(StatusCode::SERVICE_UNAVAILABLE, &reason),
    }
}

fn upgrade(request: &mut Request, has_body: bool, server: &Server) -> Response {
    let mut switch = handshake::check(request, has_body, &server.origins);
    if switch.status() != StatusCode::SWITCHING_PROTOCOLS {
        let origin = origin::shown(request.headers());
        let reason = String::from_utf8_lossy(switch.body().trim_ascii_end());
        info!("no WebSocket: {} (origin: {origin}): {}", switch.status(), printable(&reason));
        return switch;
    }
    if let Some(subprotocol) = handshake::agree(request.headers(), &server.subprotocols) {
        request.agree_on(subprotocol);
        set(&mut switch, header::SEC_WEBSOCKET_PROTOCOL, subprotocol);
    }
    let mut headers = HeaderMap::new();
    if let Some(response) = process(request, server, &mut headers) {
        let origin = origin::shown(request.headers());
        info!("no WebSocket: the program answers {} (origin: {origin})", response.status());
        return response;
    }
    switch.headers_mut().extend(headers);
    switch
}

/// What the program has to say.
fn process(request: &Request, server: &Server, headers: &mut HeaderMap) -> Option<Response> {
    server.process_request.as_ref().and_then(|process| process(request, headers))
}

/// Whether a header's comma-separated list has `word`.
pub(super) fn lists(headers: &HeaderMap, name: HeaderName, word: &str) -> bool {
    items(headers, name).any(|item| item.eq_ignore_ascii_case(word))
}

/// The items of a header that is a comma-separated list.
pub(super) fn items(
    headers: &HeaderMap,
    name: impl AsHeaderName,
) -> impl DoubleEndedIterator<Item = &str> {
    headers
        .get_all(name)
        .iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        // One item that is no text says nothing of the others on its line.
        .map(|item| str::from_utf8(item).unwrap_or_default().trim())
}

pub(super) fn set(answer: &mut Response, name: HeaderName, value: &'static str) {
    answer.headers_mut().insert(name, HeaderValue::from_static(value));
}

/// A page, with the headers that keep it what it is.
pub fn html(page: Bytes) -> Response {
    let mut answer = Response::new(page);
    set(&mut answer, header::CONTENT_TYPE, "text/html; charset=utf-8");
    // The page comes with the program: a new program must not meet an old page.
    set(&mut answer, header::CACHE_CONTROL, "no-cache");
    // The page's own policy is in the page, so that it holds for a file too; this part of it is
    // only obeyed in a header. Nobody may frame the page and steer clicks to its buttons.
    set(&mut answer, header::CONTENT_SECURITY_POLICY, "frame-ancestors 'none'");
    set(&mut answer, header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    answer
}
