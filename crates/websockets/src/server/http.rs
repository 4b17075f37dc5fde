//! One HTTP request on a connection, and the response to it.
//!
//! httparse, which tungstenite uses too, parses the head. A connection carries one request: after
//! the response it is closed or becomes a WebSocket. An idle HTTP connection would otherwise
//! outlive `open_timeout`.

use std::io;
use std::time::SystemTime;

use bytes::{BufMut, Bytes, BytesMut};
use httparse::{EMPTY_HEADER, Error as ParseError, Status};
use httpdate::HttpDate;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tracing::info;
use tungstenite::http::{self, StatusCode, Version, header};

use super::Response;
use crate::socket::Stream;

/// The largest request head, in bytes. A browser sends less than 2 KiB, including the cookies of
/// other programs on localhost. Python `websockets` accepts 8 KiB for each line.
const MAX_HEAD: usize = 16 << 10;

/// If the head is too large and its first line is longer than this, in bytes, that line is why.
const MAX_LINE: usize = 8 << 10;

/// The largest number of headers.
const MAX_HEADERS: usize = 100;

/// The head of a request, and the bytes that followed it.
pub(super) type Received = (http::Request<()>, Bytes);

/// Why a request is invalid: the status of the response, and its text.
pub(super) type Invalid = (StatusCode, &'static str);

/// Reads the head of a request. `None` if the client ends the connection first. The caller limits
/// the time.
///
/// # Errors
///
/// The client reset the connection.
pub(super) async fn read_request(
    stream: &mut (impl AsyncRead + Unpin),
) -> io::Result<Option<Result<Received, Invalid>>> {
    let mut buffer = BytesMut::new();
    loop {
        let room = MAX_HEAD - buffer.len();
        if stream.read_buf(&mut (&mut buffer).limit(room)).await? == 0 {
            return Ok(None);
        }
        let request = match parse(&buffer) {
            Ok(Some((length, head))) => Ok((head, buffer.split_off(length).freeze())),
            Ok(None) if buffer.len() < MAX_HEAD => continue,
            Ok(None) => Err(too_large(&buffer)),
            Err(invalid) => Err(invalid),
        };
        if let Err((status, text)) = &request {
            info!("bad HTTP request: {status}: {text}");
        }
        return Ok(Some(request));
    }
}

/// The length of the head, and the head. `None` if it is incomplete.
fn parse(buffer: &[u8]) -> Result<Option<(usize, http::Request<()>)>, Invalid> {
    let mut headers = [EMPTY_HEADER; MAX_HEADERS];
    let mut parsed = httparse::Request::new(&mut headers);
    let length = match parsed.parse(buffer) {
        Ok(Status::Complete(length)) => length,
        Ok(Status::Partial) => return Ok(None),
        Err(ParseError::TooManyHeaders) => return Err(too_large(buffer)),
        Err(ParseError::Version) if buffer.starts_with(b"PRI * HTTP/2.0") => {
            let text = "This server supports HTTP/1.1, not HTTP/2.";
            return Err((StatusCode::HTTP_VERSION_NOT_SUPPORTED, text));
        }
        Err(_) if is_proxy_protocol(buffer) => {
            return Err((StatusCode::BAD_REQUEST, PROXY_PROTOCOL));
        }
        Err(_) => return Err(INVALID),
    };
    let version = if parsed.version == Some(0) { Version::HTTP_10 } else { Version::HTTP_11 };
    let head = http::Request::builder().version(version);
    let head = head.method(parsed.method.unwrap_or_default()).uri(parsed.path.unwrap_or_default());
    let head = parsed.headers.iter().fold(head, |head, field| head.header(field.name, field.value));
    Ok(Some((length, head.body(()).map_err(|_| INVALID)?)))
}

/// Whether a connection starts with the PROXY protocol of HAProxy, version 1 or 2.
pub(super) fn is_proxy_protocol(start: &[u8]) -> bool {
    start.starts_with(b"PROXY ") || start.starts_with(b"\r\n\r\n\0\r\nQUIT\n")
}

pub(super) const PROXY_PROTOCOL: &str = "This server does not support the PROXY protocol; turn it \
     off in the proxy, and use X-Forwarded-For with --trusted-proxy.";

/// Whether a request announces a body, which the server never reads.
pub(super) fn has_body(headers: &http::HeaderMap) -> bool {
    let mut lengths = headers.get_all(header::CONTENT_LENGTH).iter();
    headers.contains_key(header::TRANSFER_ENCODING) || lengths.any(|length| length != "0")
}

const INVALID: Invalid = (StatusCode::BAD_REQUEST, "This is not a valid HTTP request.");

fn too_large(buffer: &[u8]) -> Invalid {
    let line = buffer.iter().position(|byte| *byte == b'\n').unwrap_or(buffer.len());
    match line > MAX_LINE {
        true => (StatusCode::URI_TOO_LONG, "The request target is too long."),
        false => {
            (StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "The request headers are too large.")
        }
    }
}

/// The response on a TLS port to a client that does not use TLS.
pub(super) const TLS_REQUIRED: Invalid =
    (StatusCode::BAD_REQUEST, "This port requires TLS; use https:// or wss://.");

/// Writes a response. A response to HEAD has no body.
///
/// # Errors
///
/// The client reset the connection.
pub(super) async fn write_response(
    stream: &mut Stream,
    mut response: Response,
    is_head: bool,
) -> io::Result<()> {
    let mut bytes = format!("HTTP/1.1 {}\r\n", response.status()).into_bytes();
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        let ours =
            [header::CONNECTION, header::CONTENT_LENGTH, header::DATE, header::TRANSFER_ENCODING];
        for name in ours {
            response.headers_mut().remove(name);
        }
        // An Upgrade header counts only if Connection names it (RFC 9110, section 7.8).
        let is_upgrade = response.headers().contains_key(header::UPGRADE);
        let connection = if is_upgrade { "Upgrade, close" } else { "close" };
        let (length, date) = (response.body().len(), HttpDate::from(SystemTime::now()));
        let fixed =
            format!("connection: {connection}\r\ncontent-length: {length}\r\ndate: {date}\r\n");
        bytes.extend(fixed.into_bytes());
    }
    for (name, value) in response.headers() {
        bytes.extend([name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"].concat());
    }
    bytes.extend(b"\r\n");
    if !is_head {
        bytes.extend(response.body());
    }
    stream.write_all(&bytes).await?;
    stream.flush().await
}

#[cfg(test)]
mod tests;
