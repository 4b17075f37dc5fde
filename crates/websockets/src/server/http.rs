//! One HTTP request on a connection, and the response to it.
//!
//! httparse, which tungstenite uses too, parses the head. A connection carries one request: after
//! the response it is closed or becomes a WebSocket. An idle HTTP connection would otherwise
//! outlive `open_timeout`.

use std::io;
use std::time::SystemTime;

use bytes::{BufMut, Bytes, BytesMut};
use httparse::{EMPTY_HEADER, Error as ParseError, Status};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tracing::info;
use tungstenite::http::{self, HeaderName, HeaderValue, Method, StatusCode, Version, header};

use super::Response;
use super::headers::set;

/// The largest request head, in bytes. A browser sends less than 2 KiB, including the cookies of
/// other programs on localhost. Python `websockets` accepts 8 KiB for each line.
const MAX_HEAD: usize = 16 << 10;

/// If the head is too large and its first line is longer than this, in bytes, that line is why.
const MAX_LINE: usize = 8 << 10;

/// The largest number of headers.
const MAX_HEADERS: usize = 100;

/// A request whose head was read.
pub(super) struct Received {
    pub(super) head: http::Request<()>,
    /// The request announces a body, which nobody reads.
    pub(super) has_body: bool,
    /// The bytes that followed the head.
    pub(super) unread: Bytes,
}

/// Why a request is invalid: the status of the response, and its text.
pub(super) type Invalid = (StatusCode, &'static str);

/// Reads the head of a request. `None` if the client ends the connection first. The caller limits
/// the time.
///
/// # Errors
///
/// The client reset the connection.
pub(super) async fn read_request<S>(stream: &mut S) -> io::Result<Option<Result<Received, Invalid>>>
where
    S: AsyncRead + Unpin,
{
    let mut buffer = BytesMut::new();
    loop {
        let room = MAX_HEAD - buffer.len();
        if stream.read_buf(&mut (&mut buffer).limit(room)).await? == 0 {
            return Ok(None);
        }
        let request = match parse(&buffer) {
            Ok(Some((length, head, has_body))) => {
                let unread = buffer.split_off(length).freeze();
                Ok(Received { head, has_body, unread })
            }
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

type Head = (usize, http::Request<()>, bool);

/// The length of the head, the head, and whether the request has a body. `None` if the head is
/// incomplete.
fn parse(buffer: &[u8]) -> Result<Option<Head>, Invalid> {
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
        Err(_) => return Err(INVALID),
    };
    let (Some(method), Some(path), Some(version)) = (parsed.method, parsed.path, parsed.version)
    else {
        return Ok(None);
    };
    let mut head = http::Request::new(());
    *head.version_mut() = if version == 0 { Version::HTTP_10 } else { Version::HTTP_11 };
    *head.method_mut() = Method::from_bytes(method.as_bytes()).map_err(|_| INVALID)?;
    *head.uri_mut() = path.parse().map_err(|_| INVALID)?;
    for field in &*parsed.headers {
        let name = HeaderName::from_bytes(field.name.as_bytes()).map_err(|_| INVALID)?;
        let value = HeaderValue::from_bytes(field.value).map_err(|_| INVALID)?;
        head.headers_mut().append(name, value);
    }
    let has_body = has_body(head.headers())?;
    Ok(Some((length, head, has_body)))
}

pub(super) fn has_body(headers: &http::HeaderMap) -> Result<bool, Invalid> {
    let mut has_body = headers.contains_key(header::TRANSFER_ENCODING);
    for length in headers.get_all(header::CONTENT_LENGTH) {
        let length = length.to_str().ok().filter(|text| text.bytes().all(|b| b.is_ascii_digit()));
        let length: u64 = length.and_then(|text| text.parse().ok()).ok_or(INVALID)?;
        has_body |= length > 0;
    }
    Ok(has_body)
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
pub(super) async fn write_response<S>(
    stream: &mut S,
    mut response: Response,
    is_head: bool,
) -> io::Result<()>
where
    S: AsyncWrite + Unpin,
{
    let status = response.status();
    let mut bytes = Vec::with_capacity(256);
    bytes.put_slice(b"HTTP/1.1 ");
    bytes.put_slice(status.as_str().as_bytes());
    bytes.put_slice(b" ");
    bytes.put_slice(status.canonical_reason().unwrap_or_default().as_bytes());
    bytes.put_slice(b"\r\n");
    if status != StatusCode::SWITCHING_PROTOCOLS {
        // An Upgrade header counts only if Connection names it (RFC 9110, section 7.8).
        let upgrades = response.headers().contains_key(header::UPGRADE);
        let connection = if upgrades { "Upgrade, close" } else { "close" };
        set(&mut response, header::CONNECTION, connection);
        let length = response.body().len().into();
        response.headers_mut().insert(header::CONTENT_LENGTH, length);
        let date = httpdate::fmt_http_date(SystemTime::now());
        if let Ok(date) = HeaderValue::try_from(date) {
            response.headers_mut().insert(header::DATE, date);
        }
    }
    for (name, value) in response.headers() {
        bytes.put_slice(name.as_str().as_bytes());
        bytes.put_slice(b": ");
        bytes.put_slice(value.as_bytes());
        bytes.put_slice(b"\r\n");
    }
    bytes.put_slice(b"\r\n");
    if !is_head {
        bytes.put_slice(response.body());
    }
    stream.write_all(&bytes).await?;
    stream.flush().await
}
