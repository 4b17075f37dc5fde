//! The server. It owns the life of each connection, and the handler only the conversation.
//!
//! | file | purpose |
//! | --- | --- |
//! | `serve` | listens, accepts, shuts down |
//! | `running` | what all connections of a running server share |
//! | `connection` | the life of one connection: accept, handler, close |
//! | `accept` | TLS, the HTTP request, and the socket that they become |
//! | `limits` | how many connections may be open: in total, and from one address |
//! | `http` | one HTTP request and its response |
//! | `forwarded` | the client's address behind a proxy |
//! | `answer` | the response to a request |
//! | `handshake` | the opening handshake: what RFC 6455 requires |
//! | `origin` | which pages may connect |
//! | `request` | the request that a handler receives, and responses to it |
//! | `handler` | the handler traits |
//! | `bridge` | feature `hyper`: WebSockets on a port of axum or hyper |
//! | [`listen`] | every address of a host name |
//! | `listener` | a TCP or a Unix socket that accepts connections |
//! | [`flags`] | the servers' command line |
//! | `signals` | when to stop |
//!
//! [`Server::serve`] does this, in this order:
//!
//! 1. It binds every address of the host and prints where it listens.
//! 2. It accepts connections, at most `max_connections` at once.
//! 3. Each connection has `open_timeout` for TLS and the HTTP request. The response is the page, a
//!    WebSocket, or one sentence.
//! 4. It runs the handler.
//! 5. It closes the connection, with the code that fits what the handler returned.
//! 6. At SIGINT, SIGTERM or SIGHUP it accepts no more, sends 1001 to every client, lets the
//!    handlers finish, and returns.
//!
//! Without this, a WebSocket server on tokio-tungstenite is an accept loop. The following one is
//! complete, and shows what there is to add: when something is wrong it disconnects a client
//! without a close frame, it waits forever for a client that sends nothing, and it ends without
//! closing its connections.
//!
//! ```no_run
//! use futures_util::{SinkExt, StreamExt};
//! use tokio_tungstenite::accept_async;
//!
//! # #[tokio::main]
//! # async fn main() -> std::io::Result<()> {
//! let listener = tokio::net::TcpListener::bind("localhost:8765").await?;
//! loop {
//!     let (stream, _) = listener.accept().await?;
//!     tokio::spawn(async move {
//!         let mut socket = accept_async(stream).await?;
//!         while let Some(message) = socket.next().await {
//!             socket.send(message?).await?;
//!         }
//!         Ok::<_, tungstenite::Error>(())
//!     });
//! }
//! # }
//! ```

mod accept;
mod answer;
#[cfg(feature = "hyper")]
mod bridge;
mod connection;
pub mod flags;
mod forwarded;
mod handler;
mod handshake;
mod http;
mod limits;
pub mod listen;
mod listener;
mod origin;
mod request;
mod running;
mod serve;
mod signals;

use std::sync::Arc;

use bytes::Bytes;

#[cfg(feature = "hyper")]
pub use bridge::Bridge;
pub use flags::Flags;
pub use handler::{Handler, ProcessRequest, With, with};
pub use request::{Request, Response, html, respond};
pub use signals::signals;

use handler::BoxedProcessRequest;
use origin::Origins;

type OnClose = dyn Fn(u16) + Send + Sync;
type Ready = dyn Fn() -> std::result::Result<(), String> + Send + Sync;

/// A server, before it serves.
#[derive(Clone)]
pub struct Server {
    flags: Flags,
    origins: Origins,
    page: Option<Bytes>,
    subprotocols: Vec<&'static str>,
    process_request: Option<BoxedProcessRequest>,
    ready: Option<Arc<Ready>>,
    on_close: Option<Arc<OnClose>>,
    #[cfg(feature = "tls")]
    tls: Option<tokio::sync::watch::Receiver<tokio_native_tls::TlsAcceptor>>,
}

impl Server {
    /// Creates a server with these flags, without TLS and without a page.
    pub fn new(flags: Flags) -> Self {
        Self {
            origins: Origins { allowed: flags.allow_origin.clone(), ..Origins::default() },
            flags,
            page: None,
            subprotocols: Vec::new(),
            process_request: None,
            ready: None,
            on_close: None,
            #[cfg(feature = "tls")]
            tls: None,
        }
    }

    /// Answers `GET /` with this HTML: a `&'static str` or a `String`.
    #[must_use]
    pub fn page(mut self, html: impl Into<Bytes>) -> Self {
        self.page = Some(html.into());
        self
    }

    /// Allows pages of the origin `null`, unless `--allow-origin` names others.
    ///
    /// A page that was opened as a file has this origin, but any page of any site can get it, too
    /// (in a sandboxed frame). So use it only for data that everyone may read and change.
    #[must_use]
    pub fn allow_null_origin(mut self) -> Self {
        self.origins.allow_null = true;
        self
    }

    /// Allows only pages of this server itself: those of the origins that it announces, or of those
    /// that `--allow-origin` names. Pages of other programs on this machine are rejected.
    ///
    /// Use it if a cookie identifies the client. A browser sends the cookies of a host to every
    /// port of that host, so another program's page could connect as the user of your page. A
    /// `bridge` announces no origin, so there you need `--allow-origin`.
    #[must_use]
    pub fn own_origin_only(mut self) -> Self {
        self.origins.own_only = true;
        self
    }

    /// Supports these subprotocols.
    ///
    /// The first one that the client requests and that is among these is agreed on. A client that
    /// requests none, or only others, gets none (RFC 6455, section 4.2.2), and the handler may then
    /// close the connection.
    #[must_use]
    pub fn subprotocols(mut self, names: impl IntoIterator<Item = &'static str>) -> Self {
        self.subprotocols = names.into_iter().collect();
        self
    }

    /// Calls an `async fn` for each request before it is answered, whether for a WebSocket or for a
    /// page. If it returns a response, that response is sent. If it returns `None`, the server
    /// continues. It may take response headers as its second argument: what it adds there is sent
    /// with the 101 or with the page.
    ///
    /// For a WebSocket it is called only if the handshake is valid and the origin is allowed. It
    /// has the time of `open_timeout`, so it may ask a database. Store what it finds in
    /// `request.extensions_mut()`, and the handler can read it there. If it panics, the response is
    /// 500.
    ///
    /// Requests with other methods than GET and HEAD are answered with 405 before it is called. A
    /// service with routes of its own uses a `bridge`.
    ///
    /// ```
    /// use websockets::tungstenite::http::StatusCode;
    /// use websockets::{Flags, Request, Response, Server, respond};
    ///
    /// async fn check_path(request: &mut Request) -> Option<Response> {
    ///     let exists = request.uri().path() == "/chat";
    ///     (!exists).then(|| respond(StatusCode::NOT_FOUND, "Try /chat."))
    /// }
    ///
    /// let server = Server::new(Flags::default()).process_request(check_path);
    /// ```
    ///
    /// If the function needs a state as its last argument, combine the two:
    /// [`process_request(with(state, function))`](with).
    #[must_use]
    pub fn process_request<A>(mut self, process_request: impl ProcessRequest<A>) -> Self {
        self.process_request = Some(process_request.boxed());
        self
    }

    /// Answers `GET /readyz` with 503 and the reason while `ready` returns one, so that a load
    /// balancer sends new clients to another server.
    #[must_use]
    pub fn ready<R>(mut self, ready: R) -> Self
    where
        R: Fn() -> std::result::Result<(), String> + Send + Sync + 'static,
    {
        self.ready = Some(Arc::new(ready));
        self
    }

    /// Calls `on_close` at the end of each conversation with the close code: the client's, if it
    /// closed first, or else ours. 1005 is a close frame without a code, and 1006 an end without a
    /// close frame (RFC 6455, section 7.4.1). Use it for counting. It must not block.
    #[must_use]
    pub fn on_close(mut self, on_close: impl Fn(u16) + Send + Sync + 'static) -> Self {
        self.on_close = Some(Arc::new(on_close));
        self
    }

    /// Serves `wss://` and `https://` with this acceptor, instead of `ws://` and `http://`.
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn tls(self, acceptor: tokio_native_tls::TlsAcceptor) -> Self {
        self.renewed_tls(tokio::sync::watch::channel(acceptor).1)
    }

    /// Like [`tls`](Self::tls), but each new connection uses the latest acceptor that was sent, so
    /// that you can renew a certificate without a restart.
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn renewed_tls(
        mut self,
        acceptors: tokio::sync::watch::Receiver<tokio_native_tls::TlsAcceptor>,
    ) -> Self {
        self.tls = Some(acceptors);
        self
    }

    fn is_tls(&self) -> bool {
        #[cfg(feature = "tls")]
        return self.tls.is_some();
        #[cfg(not(feature = "tls"))]
        return false;
    }
}
