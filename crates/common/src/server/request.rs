//! What a handler is told of who calls, and what a program may answer instead.

use std::net::SocketAddr;
use std::ops::Deref;

use bytes::Bytes;
use tungstenite::http::{self, HeaderValue, StatusCode, header};

/// The request that opened a WebSocket, as tungstenite's own
/// [`Request`](tungstenite::handshake::server::Request), to which it dereferences, and what the
/// server knows beside it:
///
/// ```
/// fn greet(request: &common::Request) -> String {
///     let path = request.uri().path();
///     let query = request.uri().query().unwrap_or_default();
///     let cookies = request.headers().get("Cookie");
///     format!("{path} {query} {cookies:?} {}", request.remote_address())
/// }
/// ```
///
/// One pointer; a handler that has no use for it drops it, and it costs nothing from then on.
#[derive(Debug)]
pub struct Request(Box<Parts>);

#[derive(Debug)]
struct Parts {
    head: http::Request<()>,
    remote_address: SocketAddr,
    subprotocol: Option<&'static str>,
}

impl Request {
    pub(super) fn new(head: http::Request<()>, remote_address: SocketAddr) -> Self {
        Self(Box::new(Parts { head, remote_address, subprotocol: None }))
    }

    /// Whose request it is: behind a proxy that `--trusted-proxy` names, the client that the proxy
    /// tells of, with port 0 where it tells none.
    pub fn remote_address(&self) -> SocketAddr {
        self.0.remote_address
    }

    /// What was agreed on, of what [`Server::subprotocols`](crate::Server::subprotocols) lists.
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

/// An HTTP answer.
pub type Response = http::Response<Bytes>;

/// A response of one sentence, to which headers can be added.
pub fn respond(status: StatusCode, sentence: &str) -> Response {
    let mut response = Response::new(format!("{sentence}\n").into());
    *response.status_mut() = status;
    let text = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, text);
    response
}
