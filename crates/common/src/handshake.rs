//! What is answered to an HTTP request: the page, a health check, a WebSocket, or one sentence
//! that says what was wrong.
//!
//! hyper reads the request and writes the answer. It gets the socket to read from, but writes
//! into memory: after a request that it cannot parse, it would send an answer without a body,
//! and ours says a sentence. Then the stream is handed back as it was, for tungstenite.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode, Version};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tracing::info;
use tungstenite::handshake::derive_accept_key;

use crate::origin;

/// The largest request head, in bytes: what a browser sends is under 2 KiB, cookies of other
/// demos on localhost included; Python `websockets` takes 8 KiB a line.
const MAX_HEAD: usize = 16 << 10;

/// Says what is wrong with the service at present, if anything is.
pub type Trouble = Arc<dyn Fn() -> Option<String> + Send + Sync>;

/// What a request is answered by.
#[derive(Clone)]
pub struct Policy {
    /// The HTML that `GET /` answers with.
    pub page: Option<&'static str>,
    /// `--allow-origin`
    pub allow_origin: Vec<String>,
    /// What `GET /healthz` asks.
    pub trouble: Trouble,
}

/// Why no request gets what it asks for at present.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Refusal {
    /// There are `--max-connections` of them.
    Full,
    /// The server is shutting down.
    ShuttingDown,
}

/// Reads one request from `stream` and answers it. Returns what the client sent right behind
/// its request when the answer was "switch to WebSocket"; `None`: it is for the caller to hang up.
///
/// The caller bounds the time.
///
/// # Errors
///
/// The connection's, when the peer resets it.
pub async fn open<S>(
    stream: &mut S,
    policy: &Policy,
    refusal: impl Fn() -> Option<Refusal>,
) -> std::io::Result<Option<Bytes>>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let upgraded = AtomicBool::new(false);
    let service = service_fn(|request| {
        let response = answer(&request, policy, refusal());
        let switches = response.status() == StatusCode::SWITCHING_PROTOCOLS;
        upgraded.store(switches, Ordering::Relaxed);
        std::future::ready(Ok::<_, Infallible>(response))
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
            Ok(upgraded.load(Ordering::Relaxed).then_some(behind))
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
pub(crate) fn needs_tls() -> String {
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

type Answer = Response<Full<Bytes>>;

/// The answer to `request`. Status 101 means that the connection becomes a WebSocket.
pub fn answer<B>(request: &Request<B>, policy: &Policy, refusal: Option<Refusal>) -> Answer {
    match refusal {
        Some(Refusal::Full) => {
            return sentence(
                StatusCode::SERVICE_UNAVAILABLE,
                "Too many connections are open; try again later.",
            );
        }
        Some(Refusal::ShuttingDown) => {
            return sentence(
                StatusCode::SERVICE_UNAVAILABLE,
                "The server is shutting down; try again later.",
            );
        }
        None => {}
    }
    if request.method() != Method::GET && request.method() != Method::HEAD {
        let answer = sentence(StatusCode::METHOD_NOT_ALLOWED, "Only GET and HEAD are answered.");
        return with(answer, header::ALLOW, "GET, HEAD");
    }
    if lists(request.headers(), header::UPGRADE, "websocket") {
        let answer = upgrade(request, policy);
        if answer.status() != StatusCode::SWITCHING_PROTOCOLS {
            let origin = origin::shown(request.headers());
            info!("no WebSocket: {} (origin: {origin})", answer.status());
        }
        return answer;
    }
    match (request.uri().path(), policy.page) {
        ("/", Some(page)) => html(page),
        ("/", None) => needs_websocket("This is a WebSocket server; connect with a client."),
        ("/healthz", _) => match (policy.trouble)() {
            None => sentence(StatusCode::OK, "ok"),
            Some(trouble) => sentence(StatusCode::SERVICE_UNAVAILABLE, &trouble),
        },
        _ => sentence(StatusCode::NOT_FOUND, "There is nothing at this path."),
    }
}

/// Checks an opening handshake in the order of RFC 6455, section 4.2.1.
fn upgrade<B>(request: &Request<B>, policy: &Policy) -> Answer {
    let headers = request.headers();
    let bad = |text| sentence(StatusCode::BAD_REQUEST, text);
    if request.method() != Method::GET {
        let answer = sentence(StatusCode::METHOD_NOT_ALLOWED, "A WebSocket opens with GET.");
        return with(answer, header::ALLOW, "GET");
    }
    if request.version() < Version::HTTP_11 {
        return bad("A WebSocket needs HTTP/1.1; is there a proxy that speaks 1.0?");
    }
    if !lists(headers, header::CONNECTION, "upgrade") {
        return bad("The Connection header must say Upgrade; does a proxy drop it?");
    }
    if single(headers, header::SEC_WEBSOCKET_VERSION) != Some("13") {
        return needs_websocket("Only version 13 of the WebSocket protocol is spoken.");
    }
    let Some(key) = single(headers, header::SEC_WEBSOCKET_KEY).filter(|key| is_key(key)) else {
        return bad("Sec-WebSocket-Key must be 16 bytes in base64.");
    };
    if !origin::allowed(headers, &policy.allow_origin) {
        return sentence(
            StatusCode::FORBIDDEN,
            "Pages of this origin may not connect; --allow-origin lets them in.",
        );
    }
    let mut switch = Response::new(Full::default());
    *switch.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let switch = with(switch, header::CONNECTION, "Upgrade");
    let mut switch = with(switch, header::UPGRADE, "websocket");
    if let Ok(accept) = HeaderValue::try_from(derive_accept_key(key.as_bytes())) {
        switch.headers_mut().insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    }
    switch
}

/// Whether a header's comma-separated list has `word`.
fn lists(headers: &HeaderMap, name: HeaderName, word: &str) -> bool {
    headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|item| item.trim().eq_ignore_ascii_case(word))
}

/// The value of a header that is there exactly once.
fn single(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => value.to_str().ok(),
        _ => None,
    }
}

/// 16 bytes in base64: 22 digits, the last of which carries 2 bits, and two pads.
fn is_key(key: &str) -> bool {
    key.len() == 24
        && key.strip_suffix("==").is_some_and(|digits| {
            digits.ends_with(['A', 'Q', 'g', 'w'])
                && digits.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/'))
        })
}

fn html(page: &'static str) -> Answer {
    let answer = Response::new(Full::from(page));
    let answer = with(answer, header::CONTENT_TYPE, "text/html; charset=utf-8");
    // The page comes with the program: a new program must not meet an old page.
    let answer = with(answer, header::CACHE_CONTROL, "no-cache");
    // The page's own policy is in the page, so that it holds for a file too; this part of it is
    // only obeyed in a header. Nobody may frame the page and steer clicks to its buttons.
    let answer = with(answer, header::CONTENT_SECURITY_POLICY, "frame-ancestors 'none'");
    let answer = with(answer, header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    with(answer, header::CONNECTION, "close")
}

fn needs_websocket(text: &'static str) -> Answer {
    let answer = sentence(StatusCode::UPGRADE_REQUIRED, text);
    let answer = with(answer, header::UPGRADE, "websocket");
    let answer = with(answer, header::SEC_WEBSOCKET_VERSION, "13");
    // An Upgrade header counts only if Connection names it (RFC 9110, section 7.8).
    with(answer, header::CONNECTION, "Upgrade, close")
}

fn sentence(status: StatusCode, text: &str) -> Answer {
    let mut answer = Response::new(Full::from(format!("{text}\n")));
    *answer.status_mut() = status;
    let answer = with(answer, header::CONTENT_TYPE, "text/plain; charset=utf-8");
    // One request a connection: an idle one would outlive open_timeout.
    with(answer, header::CONNECTION, "close")
}

fn with(mut answer: Answer, name: HeaderName, value: &'static str) -> Answer {
    answer.headers_mut().insert(name, HeaderValue::from_static(value));
    answer
}
