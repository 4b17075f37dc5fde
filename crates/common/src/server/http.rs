//! One request on a connection: read by hyper, answered by [`answer`], written.
//!
//! hyper gets the socket to read from, but writes into memory: after a request that it cannot
//! parse, it would send an answer without a body, and ours says a sentence. Then the stream is
//! handed back as it was, for tungstenite.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::OnceLock;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::{Body, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio_util::io::InspectReader;
use tracing::{info, info_span};
use tungstenite::http::{self, HeaderMap, StatusCode, header};

use super::answer::{answer, set};
use super::places::Refusal;
use super::{Request, Server, respond};

/// The largest request head, in bytes: what a browser sends is under 2 KiB, cookies of other
/// demos on localhost included; Python `websockets` takes 8 KiB a line.
const MAX_HEAD: usize = 16 << 10;

/// When the head is too large, a first line of this many bytes is why.
const MAX_LINE: usize = 8 << 10;

/// Reads one request from `stream` and answers it. Returns the request and what the client sent
/// right behind it when the answer was "switch to WebSocket"; `None`: it is for the caller to
/// hang up. `admit` says who calls, and why it gets no place, if so.
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
    admit: impl Fn(&HeaderMap) -> (SocketAddr, Option<Refusal>),
) -> io::Result<Option<(Request, Bytes)>>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let switched = OnceLock::new();
    let service = service_fn(|request: http::Request<Incoming>| {
        let (client, refusal) = admit(request.headers());
        let has_body = !request.body().is_end_stream();
        let mut request = Request::new(request.map(|_body| ()), client);
        let mut answer = || answer(&mut request, has_body, server, refusal);
        let answer = || match client == peer {
            // A second span at a time would cost every connection memory: 100 bytes.
            true => answer(),
            // What is logged of it is about the client, not about the proxy that hands it on.
            false => info_span!(parent: None, "connection", peer = %client).in_scope(answer),
        };
        // The program has a say in it, and may panic.
        let mut response = catch_unwind(AssertUnwindSafe(answer)).unwrap_or_else(|_| {
            respond(StatusCode::INTERNAL_SERVER_ERROR, "The server met an error.")
        });
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
    // hyper only says that the head is too large, not whether its first line alone is.
    let (mut line, mut has_ended) = (0, false);
    let reader = InspectReader::new(&mut *stream, |read: &[u8]| {
        if !has_ended {
            let end = read.iter().position(|byte| *byte == b'\n');
            line += end.unwrap_or(read.len());
            has_ended = end.is_some();
        }
    });
    let io = TokioIo::new(tokio::io::join(reader, Vec::new()));
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
            stream.write_all(unreadable(&error, line > MAX_LINE).as_bytes()).await?;
            Ok(None)
        }
        Err(_gone) => Ok(None),
    }
}

/// The whole answer to a request that hyper cannot read.
fn unreadable(error: &hyper::Error, is_line_too_long: bool) -> String {
    let (status, text) = if error.is_parse_too_large() && is_line_too_long {
        ("414 URI Too Long", "The request's target is too long.")
    } else if error.is_parse_too_large() {
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
