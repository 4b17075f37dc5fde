//! The request that opened a connection, and the response to it.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::ops::{Deref, DerefMut};

use bytes::Bytes;
use form_urlencoded::parse;
use tungstenite::http::{self, HeaderValue, StatusCode, header};

use crate::deflate::Deflate;
use crate::headers::set;

/// The request that opened a WebSocket: an [`http::Request`], to which it dereferences, with the
/// address of the client and the subprotocol.
///
/// ```
/// use websockets::Request;
///
/// fn describe(request: &Request) -> String {
///     let path = request.uri().path();
///     let since = request.query("since").unwrap_or_default();
///     let cookies = request.headers().get("Cookie");
///     format!("{path} {since} {cookies:?} {:?}", request.remote_address())
/// }
///
/// // For a test of your handler:
/// use websockets::tungstenite::http;
/// let head = http::Request::get("/rooms/tea?since=7").body(()).unwrap();
/// assert_eq!(describe(&Request::new(head, None)), "/rooms/tea 7 None None");
/// ```
///
/// It has the size of one pointer. A handler that does not need it does not name it, and then it
/// costs nothing while the connection lasts.
#[derive(Debug)]
pub struct Request(Box<Parts>);

#[derive(Debug)]
struct Parts {
    head: http::Request<()>,
    remote_address: Option<SocketAddr>,
    subprotocol: Option<&'static str>,
    /// What was agreed on about compression.
    deflate: Option<Deflate>,
}

impl Request {
    /// Makes a request for a test.
    pub fn new(head: http::Request<()>, remote_address: Option<SocketAddr>) -> Self {
        Self(Box::new(Parts { head, remote_address, subprotocol: None, deflate: None }))
    }

    /// The first parameter of this name in the query, percent-decoded. `+` stands for a space.
    /// `None` if the query has no such parameter.
    pub fn query(&self, name: &str) -> Option<Cow<'_, str>> {
        let query = self.uri().query()?.as_bytes();
        parse(query).find_map(|(key, value)| (key == name).then_some(value))
    }

    /// The address of the client. Behind a proxy that `--trusted-proxy` names, it is the address
    /// that the proxy reports, with port 0 if it reports no port.
    pub fn remote_address(&self) -> Option<SocketAddr> {
        self.0.remote_address
    }

    /// The subprotocol that was agreed on, one of those in
    /// [`Server::subprotocols`](crate::Server::subprotocols).
    pub fn subprotocol(&self) -> Option<&'static str> {
        self.0.subprotocol
    }

    pub(super) fn agree_on(&mut self, subprotocol: &'static str) {
        self.0.subprotocol = Some(subprotocol);
    }

    pub(super) fn deflate(&self) -> Option<Deflate> {
        self.0.deflate
    }

    pub(super) fn agree_to_compress(&mut self, deflate: Deflate) {
        self.0.deflate = Some(deflate);
    }
}

impl Deref for Request {
    type Target = http::Request<()>;

    fn deref(&self) -> &Self::Target {
        &self.0.head
    }
}

impl DerefMut for Request {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.0.head
    }
}

/// An HTTP response.
pub type Response = http::Response<Bytes>;

/// Makes a response whose body is one line of text. You can add headers to it.
pub fn respond(status: StatusCode, text: &str) -> Response {
    let mut response = Response::new(format!("{text}\n").into());
    *response.status_mut() = status;
    let text = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, text);
    response
}

/// Makes a response with an HTML page, and with the headers that protect it.
pub fn html(page: impl Into<Bytes>) -> Response {
    let mut response = Response::new(page.into());
    set(&mut response, header::CONTENT_TYPE, "text/html; charset=utf-8");
    // The page is part of the program. A new program must not meet an old page.
    set(&mut response, header::CACHE_CONTROL, "no-cache");
    // The page contains its own policy, so that it also holds for a file. This part of the policy
    // is only obeyed in a header: no other page may frame this one and steer clicks to its buttons.
    set(&mut response, header::CONTENT_SECURITY_POLICY, "frame-ancestors 'none'");
    set(&mut response, header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    response
}

#[cfg(test)]
mod tests {
    use form_urlencoded::Serializer;
    use testing::property::{check, text};

    use super::*;

    /// The parameter as the URL Standard reads it (application/x-www-form-urlencoded).
    fn expected(query: &str, name: &str) -> Option<String> {
        let decode = |part: &str| {
            let mut bytes = Vec::new();
            let mut rest = part.as_bytes();
            while let Some((byte, more)) = rest.split_first() {
                let hex =
                    |at: usize| more.get(at).and_then(|digit| char::from(*digit).to_digit(16));
                (bytes, rest) = match (byte, hex(0), hex(1)) {
                    (b'%', Some(high), Some(low)) => {
                        ([&bytes[..], &[(high << 4 | low) as u8]].concat(), &more[2..])
                    }
                    (b'+', ..) => ([&bytes[..], b" "].concat(), more),
                    (byte, ..) => ([&bytes[..], &[*byte]].concat(), more),
                };
            }
            String::from_utf8_lossy(&bytes).into_owned()
        };
        let parts = query.split('&').filter(|part| !part.is_empty());
        let pairs = parts.map(|part| part.split_once('=').unwrap_or((part, "")));
        pairs
            .map(|(name, value)| (decode(name), decode(value)))
            .find(|pair| pair.0 == name)
            .map(|pair| pair.1)
    }

    fn request(query: &str) -> Option<Request> {
        let head = http::Request::get(format!("/?{query}")).body(()).ok()?;
        Some(Request::new(head, None))
    }

    #[test]
    fn an_encoded_query_is_decoded_to_the_same_text() {
        const SPECIAL: [&str; 10] = ["%", "+", "&", "=", "%41", "%zz", " ", "#", "\u{e9}", "name"];
        check(2000, |input| {
            let (name, value) = (text(input, &SPECIAL, 6)?, text(input, &SPECIAL, 30)?);
            let mut query = Serializer::new(String::new());
            query.append_pair("", "before").append_pair(&format!("{name}-"), "other");
            query.append_pair(&name, &value).append_pair(&name, "after");
            let expected = if name.is_empty() { "before" } else { &value };
            assert_eq!(request(&query.finish()).unwrap().query(&name).unwrap(), expected);
            Ok(())
        });
    }

    #[test]
    fn any_query_is_read_as_browsers_write_it() {
        const SPECIAL: [&str; 12] =
            ["%", "+", "&", "=", "%41", "%zz", "%c3%a9", "%c3", "a", "since", "%73ince", "%00"];
        check(2000, |input| {
            let query = text(input, &SPECIAL, 30)?.replace('#', "");
            let Some(request) = request(&query) else { return Ok(()) };
            for name in ["", "a", "since", "A", "é", "\0"] {
                assert_eq!(
                    request.query(name).map(Cow::into_owned),
                    expected(&query, name),
                    "{query}"
                );
            }
            Ok(())
        });
    }
}
