//! The server's side: it owns the connections' lives, the handler only the conversation.
//!
//! | file | what it is for |
//! | --- | --- |
//! | `serve` | listens, accepts, shuts down |
//! | `connection` | one connection's life: opening, handler, close |
//! | `opening` | TLS, the HTTP request, and the socket that comes of it |
//! | `places` | how many connections there may be: altogether, and from one address |
//! | `http` | one request: read, answered, written |
//! | `forwarded` | who calls, where a proxy calls for others |
//! | `answer` | what a request is answered by |
//! | `handshake` | an opening handshake: what RFC 6455 asks of it |
//! | `origin` | which pages may connect |
//! | `request` | what a handler is told of who calls, and what a program may answer instead |
//! | [`listen`] | every address that a host name has |
//! | [`flags`] | the servers' command line |
//! | `signals` | when to stop |
//!
//! What [`Server::serve`] does, in the order in which it happens:
//!
//! 1. binds every address of the host and says where it listens;
//! 2. accepts connections, no more than `max_connections` at once;
//! 3. opens each within `open_timeout`: TLS, then the HTTP request, which gets the page, a
//!    WebSocket, or one sentence;
//! 4. runs the handler, with [`Keepalive`](crate::socket::Keepalive);
//! 5. [`close`](crate::socket::close())s, with the code that fits what the handler returned;
//! 6. at SIGINT, SIGTERM or SIGHUP lets nobody in any more, closes every connection with 1001,
//!    and returns.
//!
//! Without all this, a WebSocket server on tokio-tungstenite is an accept loop. This one is
//! complete, and shows what there is to add: it drops a client without a word when something is
//! wrong, waits for ever for one that says nothing, and ends in the middle of every sentence.
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

mod answer;
mod connection;
pub mod flags;
mod forwarded;
mod handshake;
mod http;
pub mod listen;
mod opening;
mod origin;
mod places;
mod request;
mod serve;
mod signals;

use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use tungstenite::http::HeaderMap;

pub use answer::html;
pub use flags::Flags;
pub use request::{Request, Response, respond};

use crate::{Result, Socket};
use origin::Origins;

/// Holds one conversation: any closure that is given the socket and the request that opened it,
/// and returns a future that it has boxed.
///
/// Boxed, because the future of an `async fn(&mut Socket)` has a type that cannot be named
/// together with the promise that it is `Send`, which a task on many threads needs. It costs one
/// allocation a connection.
pub trait Handler:
    for<'a> Fn(&'a mut Socket, Request) -> BoxFuture<'a, Result<()>> + Send + Sync + 'static
{
}

impl<F> Handler for F where
    F: for<'a> Fn(&'a mut Socket, Request) -> BoxFuture<'a, Result<()>> + Send + Sync + 'static
{
}

type ProcessRequest = dyn Fn(&Request, &mut HeaderMap) -> Option<Response> + Send + Sync;
type OnClose = dyn Fn(u16) + Send + Sync;
type Ready = dyn Fn() -> std::result::Result<(), String> + Send + Sync;

/// A server, before it serves.
#[derive(Clone)]
pub struct Server {
    flags: Flags,
    origins: Origins,
    page: Option<Bytes>,
    subprotocols: Vec<&'static str>,
    process_request: Option<Arc<ProcessRequest>>,
    ready: Option<Arc<Ready>>,
    on_close: Option<Arc<OnClose>>,
    #[cfg(feature = "tls")]
    tls: Option<tokio_native_tls::TlsAcceptor>,
}

impl Server {
    /// A server with these flags, without TLS and without a page.
    pub fn new(flags: Flags) -> Self {
        Self {
            origins: Origins { named: flags.allow_origin.clone(), ..Origins::default() },
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

    /// Lets in pages of the origin `null`, unless `--allow-origin` names others: a page that was
    /// opened as a file has this origin, but so has any page of any site that wants it (in a
    /// sandboxed frame). Only for what everybody may read and change.
    #[must_use]
    pub fn allow_null_origin(mut self) -> Self {
        self.origins.null = true;
        self
    }

    /// What this server speaks. The first that the client asks for and that is among these is
    /// agreed on; a client that asks for none, or only for others, gets none (RFC 6455, section
    /// 4.2.2), and the handler may then close.
    #[must_use]
    pub fn subprotocols(mut self, names: impl IntoIterator<Item = &'static str>) -> Self {
        self.subprotocols = names.into_iter().collect();
        self
    }

    /// Looks at each request before it is answered, be it for a WebSocket or for a page:
    /// `Some(response)` is sent instead of the usual answer, `None` goes on. What is put into the
    /// headers goes out with the 101, or with the page.
    ///
    /// A WebSocket gets here only when its handshake is correct and its origin is let in. It is
    /// called on the connection's task and must not block; what has to wait for others, a
    /// database for example, belongs into the handler, which can close with 1008. If it panics, the
    /// answer is 500.
    ///
    /// ```
    /// use common::server::{Flags, Server, respond};
    /// use tungstenite::http::StatusCode;
    ///
    /// let server = Server::new(Flags::default()).process_request(|request, _headers| {
    ///     (request.uri().path() != "/chat").then(|| respond(StatusCode::NOT_FOUND, "Try /chat."))
    /// });
    /// ```
    #[must_use]
    pub fn process_request<P>(mut self, process_request: P) -> Self
    where
        P: Fn(&Request, &mut HeaderMap) -> Option<Response> + Send + Sync + 'static,
    {
        self.process_request = Some(Arc::new(process_request));
        self
    }

    /// Answers `GET /readyz` with 503 and the sentence while `ready` returns one, so that a load
    /// balancer sends new users elsewhere.
    #[must_use]
    pub fn ready<R>(mut self, ready: R) -> Self
    where
        R: Fn() -> std::result::Result<(), String> + Send + Sync + 'static,
    {
        self.ready = Some(Arc::new(ready));
        self
    }

    /// Is called when a conversation ends, with its close code: the peer's, if it closed first, or
    /// else ours. 1005 is a close frame without a code, 1006 an end without a close frame
    /// (RFC 6455, section 7.4.1). For counting; it must not block.
    #[must_use]
    pub fn on_close(mut self, on_close: impl Fn(u16) + Send + Sync + 'static) -> Self {
        self.on_close = Some(Arc::new(on_close));
        self
    }

    /// Encrypts.
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn tls(mut self, acceptor: tokio_native_tls::TlsAcceptor) -> Self {
        self.tls = Some(acceptor);
        self
    }

    fn is_tls(&self) -> bool {
        #[cfg(feature = "tls")]
        return self.tls.is_some();
        #[cfg(not(feature = "tls"))]
        return false;
    }
}
