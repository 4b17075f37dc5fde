//! A valid head is accepted, and anything else gets an answer, in whatever pieces it arrives.

use futures_util::{FutureExt, stream};
use testing::property::{Unstructured, check, mutate, pieces};
use tokio_util::io::StreamReader;
use tungstenite::http::{HeaderName, HeaderValue, Method};

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

/// A valid head, and its values.
fn head(input: &mut Unstructured<'_>) -> testing::property::Result<(Vec<u8>, http::Request<()>)> {
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
fn an_invalid_head_gets_an_answer_at_once() {
    check(300, |input| {
        let mut bytes = head(input)?.0;
        if input.ratio(1, 4)? {
            // Too many headers, or too long ones.
            let length = *input.choose(&[0, 9000, 17_000, 17_000])?;
            let line = [b"a: ".to_vec(), vec![b'x'; length], b"\n".to_vec()].concat();
            let count = if length > 100 { 1 } else { 101 };
            let ends = bytes.iter().enumerate().filter(|(_, byte)| **byte == b'\n');
            let ends: Vec<_> = ends.map(|(at, _)| at + 1).collect();
            let at = *input.choose(&ends)?;
            bytes.splice(at..at, line.repeat(count));
        }
        if input.arbitrary()? {
            mutate(input, &mut bytes)?;
        }
        // Each piece costs time in proportion to the pieces before it.
        let pieces = match bytes.len() {
            4000.. => bytes.chunks(input.int_in_range(500..=5000)?).collect(),
            _ => pieces(input, &bytes)?,
        };
        let (cut, whole) = (received(&pieces), received(&[&bytes]));
        match (&cut, &whole) {
            (Some(Ok((cut, _))), Some(Ok((whole, _)))) => assert_eq!(parts(cut), parts(whole)),
            _ => assert_eq!(
                cut.map(Result::err),
                whole.as_ref().map(|whole| whole.as_ref().err().copied())
            ),
        }
        match whole {
            Some(Ok((_, unread))) => assert!(bytes.len() - unread.len() <= 16 << 10),
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
