//! One request, and what it is answered by: the page, a health check, a WebSocket, or one
//! sentence that says what was wrong.
//!
//! hyper reads the request and writes the answer. It gets the socket to read from, but writes
//! into memory: after a request that it cannot parse, it would send an answer without a body,
//! and ours says a sentence. Then the stream is handed back as it was, for tungstenite.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::OnceLock;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tracing::info;
use tungstenite::http::{self, HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};

use super::{Request, Response, Server, handshake, origin, respond};

/// The largest request head, in bytes: what a browser sends is under 2 KiB, cookies of other
/// demos on localhost included; Python `websockets` takes 8 KiB a line.
const MAX_HEAD: usize = 16 << 10;

/// Why no request gets what it asks for at present.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Refusal {
    /// There are `--max-connections` of them.
    Full,
    /// The server is shutting down.
    ShuttingDown,
}

impl Refusal {
    fn sentence(self) -> &'static str {
        match self {
            Self::Full => "Too many connections are open; try again later.",
            Self::ShuttingDown => "The server is shutting down; try again later.",
        }
    }
}

/// Reads one request from `stream` and answers it. Returns the request and what the client sent
/// right behind it when the answer was "switch to WebSocket"; `None`: it is for the caller to
/// hang up.
///
/// The caller bounds the time.
///
/// # Errors
///
/// The connection's, when the peer resets it.
pub(super) async fn open<S>(
    stream: &mut S,
    peer: SocketAddr,
    server: &Server,
    refusal: impl Fn() -> Option<Refusal>,
) -> std::io::Result<Option<(Request, Bytes)>>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let switched = OnceLock::new();
    let service = service_fn(|request: http::Request<Incoming>| {
        let mut request = Request::new(request.map(|_body| ()), peer);
        let mut response = answer(&mut request, server, refusal());
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            _ = switched.set(request);
        } else {
            // One request a connection: an idle one would outlive open_timeout. An Upgrade header
            // counts only if Connection names it (RFC 9110, section 7.8).
            let upgrade = response.headers().contains_key(header::UPGRADE);
            let connection = if upgrade { "Upgrade, close" } else { "close" };
            set(&mut response, header::CONNECTION, connection);
        }
        std::future::ready(Ok::<_, Infallible>(response.map(Full::new)))
    });
    let io = TokioIo::new(tokio::io::join(&mut *stream, Vec::new()));
    let connection = hyper::server::conn::http1::Builder::new()
        .max_buf_size(MAX_HEAD)
        // Who says that no more will come still wants the answer, as `printf … | nc` does.
        .half_close(true)
        .serve_connection(io, service);
    let finished = connection.without_shutdown().await;
    match finished.map(|parts| (parts.io.into_inner().into_inner().1, parts.read_buf)) {
        Ok((answer, behind)) => {
            stream.write_all(&answer).await?;
            stream.flush().await?;
            Ok(switched.into_inner().map(|request| (request, behind)))
        }
        Err(error) if error.is_parse() => {
            info!("not a request that can be answered: {error}");
            stream.write_all(unreadable(&error).as_bytes()).await?;
            Ok(None)
        }
        Err(_gone) => Ok(None),
    }
}

/// The whole answer to a request that hyper cannot read.
fn unreadable(error: &hyper::Error) -> String {
    let (status, text) = if error.is_parse_too_large() {
        ("431 Request Header Fields Too Large", "The request's headers are too large.")
    } else if error.is_parse_version_h2() {
        ("505 HTTP Version Not Supported", "This server speaks HTTP/1.1, not HTTP/2.")
    } else {
        ("400 Bad Request", "This is not an HTTP request that the server can read.")
    };
    plain_answer(status, text)
}

/// The whole answer on a TLS port to a peer that speaks none.
pub(super) fn needs_tls() -> String {
    plain_answer("400 Bad Request", "This port speaks TLS; use https:// or wss://.")
}

/// An HTTP answer of one sentence, as it goes over the wire.
fn plain_answer(status: &str, text: &str) -> String {
    let length = text.len() + 1;
    format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/plain; charset=utf-8\r\n\
         Content-Length: {length}\r\nConnection: close\r\n\r\n{text}\n"
    )
}

/// The answer to `request`. Status 101 means that the connection becomes a WebSocket.
fn answer(request: &mut Request, server: &Server, refusal: Option<Refusal>) -> Response {
    if request.method() != Method::GET && request.method() != Method::HEAD {
        let mut answer = respond(StatusCode::METHOD_NOT_ALLOWED, "Only GET and HEAD are answered.");
        set(&mut answer, header::ALLOW, "GET, HEAD");
        return answer;
    }
    if lists(request.headers(), header::UPGRADE, "websocket") {
        if let Some(refusal) = refusal {
            return respond(StatusCode::SERVICE_UNAVAILABLE, refusal.sentence());
        }
        let answer = upgrade(request, server);
        if answer.status() != StatusCode::SWITCHING_PROTOCOLS {
            let origin = origin::shown(request.headers());
            info!("no WebSocket: {} (origin: {origin})", answer.status());
        }
        return answer;
    }
    match (request.uri().path(), refusal) {
        // Alive: for who would start a program anew that hangs.
        ("/healthz", _) => return respond(StatusCode::OK, "ok"),
        // Ready for one more user: for who sends users here or elsewhere.
        ("/readyz", _) => {
            let full = refusal.map_or(Ok(()), |refusal| Err(refusal.sentence().to_owned()));
            return match full.and_then(|()| server.ready.as_ref().map_or(Ok(()), |ready| ready())) {
                Ok(()) => respond(StatusCode::OK, "ready"),
                Err(reason) => respond(StatusCode::SERVICE_UNAVAILABLE, &reason),
            };
        }
        (_, Some(refusal)) => return respond(StatusCode::SERVICE_UNAVAILABLE, refusal.sentence()),
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

fn upgrade(request: &mut Request, server: &Server) -> Response {
    let mut switch = match handshake::check(request, &server.flags.allow_origin) {
        Ok(switch) => switch,
        Err(refused) => return *refused,
    };
    if let Some(subprotocol) = handshake::agree(request.headers(), &server.subprotocols) {
        request.agree_on(Some(subprotocol));
        set(&mut switch, header::SEC_WEBSOCKET_PROTOCOL, subprotocol);
    }
    let mut headers = HeaderMap::new();
    if let Some(response) = process(request, server, &mut headers) {
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
pub(super) fn items(headers: &HeaderMap, name: HeaderName) -> impl Iterator<Item = &str> {
    headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
}

pub(super) fn set(answer: &mut Response, name: HeaderName, value: &'static str) {
    answer.headers_mut().insert(name, HeaderValue::from_static(value));
}

fn html(page: Bytes) -> Response {
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
