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
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tracing::info;
use tungstenite::http::{self, HeaderName, HeaderValue, Method, StatusCode, Version, header};

use super::Response;

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
    Ok(Some((length, head)))
}

/// Whether a request announces a body, which nobody reads.
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
pub(super) async fn write_response<S>(
    stream: &mut S,
    mut response: Response,
    is_head: bool,
) -> io::Result<()>
where
    S: AsyncWrite + Unpin,
{
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
mod tests {
    use futures_util::{FutureExt, stream};
    use testing::property::{Unstructured, check, mutate, pieces};
    use tokio_util::io::StreamReader;

    use super::*;

    /// What the server makes of bytes that arrive in these pieces, before the client disconnects.
    fn received(pieces: &[&[u8]]) -> Option<Result<Received, Invalid>> {
        let pieces = pieces.iter().map(|piece| io::Result::Ok(*piece));
        let mut stream = StreamReader::new(stream::iter(pieces));
        let mut received = read_request(&mut stream).now_or_never().unwrap().unwrap();
        if let Some(Ok((_, unread))) = &mut received {
            let mut rest = unread.to_vec();
            stream.read_to_end(&mut rest).now_or_never().unwrap().unwrap();
            *unread = rest.into();
        }
        received
    }

    /// The parts of a head that can be compared.
    fn parts(head: &http::Request<()>) -> (&Method, String, Version, &http::HeaderMap) {
        (head.method(), head.uri().to_string(), head.version(), head.headers())
    }

    fn some(
        input: &mut Unstructured<'_>,
        of: &[u8],
        least: usize,
        most: usize,
    ) -> testing::property::Result<Vec<u8>> {
        let length = input.int_in_range(least..=most)?;
        (0..length).map(|_| input.choose(of).copied()).collect()
    }

    /// A head without a fault, and what it says.
    fn head(
        input: &mut Unstructured<'_>,
    ) -> testing::property::Result<(Vec<u8>, http::Request<()>)> {
        let mut bytes = b"\r\n".repeat(input.int_in_range(0..=2)?);
        let mut head = http::Request::new(());
        let method = *input.choose(&["GET", "HEAD", "POST", "M-SEARCH"])?;
        let mut target = some(input, b"ab/?&=+%20.~!$*;:@", 0, 60)?;
        target.insert(0, b'/');
        let (version, line) =
            *input.choose(&[(Version::HTTP_10, " HTTP/1.0"), (Version::HTTP_11, " HTTP/1.1")])?;
        *head.method_mut() = method.parse().unwrap();
        *head.uri_mut() = str::from_utf8(&target).unwrap().parse().unwrap();
        *head.version_mut() = version;
        let end = *input.choose(&["\r\n", "\n"])?;
        bytes.extend([method.as_bytes(), b" ", &target, line.as_bytes(), end.as_bytes()].concat());
        for _ in 0..input.int_in_range(0..=12)? {
            let name = some(input, b"aZ09-_!#$%&'*+.^`|~", 1, 12)?;
            let value = some(input, b"aZ0 9\t:,;=\"\\\x80\xff", 0, 40)?;
            let space = some(input, b" \t", 0, 2)?;
            bytes.extend([&name, &b":"[..], &space, &value, &space, end.as_bytes()].concat());
            let value = HeaderValue::from_bytes(value.trim_ascii()).unwrap();
            head.headers_mut().append(HeaderName::from_bytes(&name).unwrap(), value);
        }
        bytes.extend(end.as_bytes());
        Ok((bytes, head))
    }

    #[test]
    fn a_valid_head_is_accepted_in_any_pieces() {
        check(300, |input| {
            let (mut bytes, expected) = head(input)?;
            let body = some(input, b"\r\n\0\xffGET /", 0, 40)?;
            bytes.extend(&body);
            let received = received(&pieces(input, &bytes)?).unwrap();
            let (head, unread) = received.unwrap();
            assert_eq!(parts(&head), parts(&expected));
            assert_eq!(unread, body);
            Ok(())
        });
    }

    #[test]
    fn an_invalid_head_gets_an_answer_as_soon_as_it_ends() {
        check(600, |input| {
            let mut bytes = head(input)?.0;
            if input.ratio(1, 8)? {
                // Too many headers, or too long ones.
                let length = *input.choose(&[0, 100, 9000, 17_000])?;
                let line = [b"a: ".to_vec(), vec![b'x'; length], b"\n".to_vec()].concat();
                let count = if length > 100 { 1 } else { 101 };
                let at = input.int_in_range(0..=bytes.len())?;
                bytes.splice(at..at, line.repeat(count));
            }
            mutate(input, &mut bytes)?;
            let pieces = pieces(input, &bytes)?;
            let (cut, whole) = (received(&pieces), received(&[&bytes]));
            match (&cut, &whole) {
                (Some(Ok((cut, _))), Some(Ok((whole, _)))) => assert_eq!(parts(cut), parts(whole)),
                _ => assert_eq!(
                    cut.map(Result::err),
                    whole.as_ref().map(|whole| whole.as_ref().err().copied())
                ),
            }
            match whole {
                Some(Ok((_, unread))) => assert!(bytes.len() - unread.len() <= MAX_HEAD),
                Some(Err((status, _))) => {
                    assert!(matches!(status.as_u16(), 400 | 414 | 431 | 505), "{status}");
                }
                None => {
                    let start = bytes.iter().position(|byte| !b"\r\n".contains(byte));
                    let head = &bytes[start.unwrap_or(bytes.len())..];
                    let has_ended = [&b"\n\r\n"[..], b"\n\n"]
                        .iter()
                        .any(|end| head.windows(end.len()).any(|window| window == *end));
                    assert!(!has_ended && bytes.len() < MAX_HEAD);
                }
            }
            Ok(())
        });
    }
}
