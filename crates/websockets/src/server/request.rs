//! The request that opened a connection, and the response to it.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::ops::{Deref, DerefMut};

use bytes::Bytes;
use form_urlencoded::parse;
use tungstenite::http::{self, HeaderValue, StatusCode, header};

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
}

impl Request {
    /// Makes a request for a test.
    pub fn new(head: http::Request<()>, remote_address: Option<SocketAddr>) -> Self {
        Self(Box::new(Parts { head, remote_address, subprotocol: None }))
    }

    /// The first parameter of this name in the query, percent-decoded; `+` stands for a space.
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
