//! One HTTP request on a connection, and the response to it: the opening handshake of a server, or
//! the CONNECT of a proxy.

use std::io::{self, ErrorKind};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use httparse::{EMPTY_HEADER, Status, parse_chunk_size};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;
use tungstenite::handshake::client::Response;
use tungstenite::http::{self, HeaderMap, StatusCode, Version, header};

use crate::headers::{lists, single};

/// The largest response head, in bytes.
const MAX_HEAD: usize = 64 << 10;

/// The largest number of headers, as in Python `websockets`.
const MAX_HEADERS: usize = 128;

/// How much of a body is read, in bytes. An error message shows its first line.
const MAX_BODY: usize = 4 << 10;

/// How long to wait for the body of a rejection. The status alone is an answer, too.
const BODY_TIMEOUT: Duration = Duration::from_secs(1);

/// Sends `request` and reads the head of the response. Returns it with the bytes that followed. The
/// caller limits the time.
///
/// # Errors
///
/// `InvalidData` if the response is not HTTP/1. Another kind if the connection is lost.
pub(super) async fn exchange(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    request: &[u8],
) -> io::Result<(Response, BytesMut)> {
    // A server that rejects every request may respond and close before it has read this one.
    _ = stream.write_all(request).await;
    _ = stream.flush().await;
    let mut received = BytesMut::with_capacity(MAX_BODY);
    while received.len() < MAX_HEAD {
        if stream.read_buf(&mut received).await? == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        let invalid = |error| io::Error::new(ErrorKind::InvalidData, error);
        while let Some((length, response)) = parse(&received).map_err(invalid)? {
            received.advance(length);
            // Interim responses, such as 103, come before the response (RFC 9110, section 15.2).
            let status = response.status();
            if !status.is_informational() || status == StatusCode::SWITCHING_PROTOCOLS {
                return Ok((response, received));
            }
        }
    }
    Err(ErrorKind::InvalidData.into())
}

/// The length of the head, and the head. `None` if it is incomplete.
fn parse(received: &[u8]) -> crate::Result<Option<(usize, Response)>> {
    let mut headers = [EMPTY_HEADER; MAX_HEADERS];
    let mut parsed = httparse::Response::new(&mut headers);
    let Status::Complete(length) = parsed.parse(received)? else { return Ok(None) };
    let version = if parsed.version == Some(0) { Version::HTTP_10 } else { Version::HTTP_11 };
    let head = http::Response::builder().version(version).status(parsed.code.unwrap_or_default());
    let head = parsed.headers.iter().fold(head, |head, field| head.header(field.name, field.value));
    Ok(Some((length, head.body(None)?)))
}

/// The beginning of a body, of which `received` has arrived with the head.
pub(super) async fn read_body(
    stream: &mut (impl AsyncRead + Unpin),
    headers: &HeaderMap,
    mut received: BytesMut,
) -> Vec<u8> {
    let is_chunked = lists(headers, header::TRANSFER_ENCODING, "chunked");
    let length = single(headers, header::CONTENT_LENGTH).filter(|_| !is_chunked);
    let length = length.and_then(|length| length.parse().ok()).unwrap_or(MAX_BODY).min(MAX_BODY);
    let read = async {
        while received.len() < length
            && !(is_chunked && received.ends_with(b"0\r\n\r\n"))
            && matches!(stream.read_buf(&mut received).await, Ok(1..))
        {}
    };
    _ = timeout(BODY_TIMEOUT, read).await;
    match is_chunked {
        true => join_chunks(&received),
        false => received.into_iter().take(length).collect(),
    }
}

/// The data of a chunked body (RFC 9112, section 7.1), as far as it has arrived.
fn join_chunks(mut received: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    while let Ok(Status::Complete((start, size @ 1..))) = parse_chunk_size(received) {
        let chunk = received.get(start..).unwrap_or_default();
        let (data, rest) = chunk.split_at(chunk.len().min(size.min(MAX_BODY as u64) as usize));
        body.extend_from_slice(data);
        received = rest.strip_prefix(b"\r\n").unwrap_or_default();
    }
    body
}
