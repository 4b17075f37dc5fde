//! Listens, accepts and shuts down: the server owns the connections' lives, the handler only the
//! conversation.
//!
//! What [`Server::serve`] does, in the order in which it happens:
//!
//! 1. binds every address of the host and says where it listens;
//! 2. accepts connections, no more than `max_connections` at once;
//! 3. opens each within `open_timeout`: TLS, then the HTTP request, which
//!    [`crate::handshake`] answers (from here to 5: `connection.rs`);
//! 4. runs the handler, with [`crate::keepalive`];
//! 5. [`crate::close`]s, with the code that fits what the handler returned;
//! 6. at SIGINT or SIGTERM stops accepting, closes every connection with 1001, and returns.
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

use std::future::Future;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{Instrument, debug, info, info_span, warn};

use crate::flags::Flags;
use crate::handshake::{Policy, Refusal};
use crate::text::say;
use crate::{Result, Socket};

/// How many connections over the limit are told so at once; those beyond are dropped.
const REFUSED_AT_ONCE: usize = 64;

/// What a handler returns: a boxed future, because the type of `async fn(&mut Socket)`'s own
/// future cannot be named together with the promise that it is `Send`.
pub type Conversation<'a> = Pin<Box<dyn Future<Output = Result<()>> + Send + 'a>>;

/// A server, before it serves.
#[derive(Clone)]
pub struct Server {
    pub(crate) flags: Flags,
    pub(crate) policy: Policy,
    #[cfg(feature = "tls")]
    pub(crate) tls: Option<tokio_native_tls::TlsAcceptor>,
}

impl Server {
    /// A server with these flags, without TLS and without a page. From here on, the program
    /// logs.
    pub fn new(flags: Flags) -> Self {
        crate::log::init();
        let allow_origin = flags.allow_origin.clone();
        let policy = Policy { page: None, allow_origin, trouble: Arc::new(|| None) };
        Self {
            flags,
            policy,
            #[cfg(feature = "tls")]
            tls: None,
        }
    }

    /// Answers `GET /` with this HTML.
    pub fn page(mut self, html: &'static str) -> Self {
        self.policy.page = Some(html);
        self
    }

    /// Answers `GET /healthz` with 503 and a sentence while `trouble` returns one, so that a load
    /// balancer can tell.
    pub fn trouble(mut self, trouble: impl Fn() -> Option<String> + Send + Sync + 'static) -> Self {
        self.policy.trouble = Arc::new(trouble);
        self
    }

    /// Encrypts.
    #[cfg(feature = "tls")]
    pub fn tls(mut self, acceptor: tokio_native_tls::TlsAcceptor) -> Self {
        self.tls = Some(acceptor);
        self
    }

    /// Listens and runs `handler` for each connection, until SIGINT or SIGTERM.
    ///
    /// # Errors
    ///
    /// A sentence when it cannot listen.
    pub async fn serve<H>(self, handler: H) -> Result<()>
    where
        H: for<'a> Fn(&'a mut Socket) -> Conversation<'a> + Send + Sync + 'static,
    {
        let stop = CancellationToken::new();
        tokio::spawn(signals(stop.clone())?);
        let listeners = crate::listen::bind(&self.flags.address).await?;
        self.announce(&listeners)?;
        self.run(listeners, handler, stop).await;
        Ok(())
    }

    fn announce(&self, listeners: &[TcpListener]) -> Result<()> {
        let s = if self.is_tls() { "s" } else { "" };
        let mut addresses = Vec::new();
        for listener in listeners {
            let address = listener.local_addr()?;
            say(&format!("listening on ws{s}://{address}"));
            addresses.push(address);
        }
        if self.policy.page.is_some()
            && let Some(first) = addresses.first()
        {
            // 0.0.0.0 is an address to listen on, not to open.
            let host = if first.ip().is_unspecified() { "localhost" } else { self.flags.host() };
            say(&format!("open http{s}://{host}:{}/ in a browser", first.port()));
        }
        Ok(())
    }

    /// The same on listeners that are bound already, until `stop` is cancelled. Returns when
    /// every conversation has ended, `close_timeout` after `stop` at the latest.
    pub async fn run<H>(self, listeners: Vec<TcpListener>, handler: H, stop: CancellationToken)
    where
        H: for<'a> Fn(&'a mut Socket) -> Conversation<'a> + Send + Sync + 'static,
    {
        let close_timeout = self.flags.close_timeout;
        let house = Arc::new(House::new(self, handler, stop));
        for listener in listeners {
            tokio::spawn(Arc::clone(&house).accept(listener));
        }
        house.stop.cancelled().await;
        house.conversations.close();
        if timeout(close_timeout, house.conversations.wait()).await.is_err() {
            debug!("{} peers did not close in time", house.conversations.len());
        }
    }

    pub(crate) fn is_tls(&self) -> bool {
        #[cfg(feature = "tls")]
        return self.tls.is_some();
        #[cfg(not(feature = "tls"))]
        return false;
    }
}

/// What all connections of a server share.
pub(crate) struct House<H> {
    pub(crate) server: Server,
    pub(crate) handler: H,
    /// One permit for each connection that may be open.
    places: Arc<Semaphore>,
    /// One permit for each connection over the limit that is told so.
    waiting: Arc<Semaphore>,
    pub(crate) conversations: TaskTracker,
    pub(crate) stop: CancellationToken,
}

impl<H> House<H>
where
    H: for<'a> Fn(&'a mut Socket) -> Conversation<'a> + Send + Sync + 'static,
{
    pub(crate) fn new(server: Server, handler: H, stop: CancellationToken) -> Self {
        let max_connections = server.flags.max_connections.min(Semaphore::MAX_PERMITS);
        Self {
            places: Arc::new(Semaphore::new(max_connections)),
            waiting: Arc::new(Semaphore::new(REFUSED_AT_ONCE)),
            conversations: TaskTracker::new(),
            server,
            handler,
            stop,
        }
    }

    async fn accept(self: Arc<Self>, listener: TcpListener) {
        loop {
            let accepted = tokio::select! {
                biased;
                () = self.stop.cancelled() => return,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, peer)) => self.admit(stream, peer),
                // The peer left between its connect and our accept.
                Err(error) if is_of_one_peer(error.kind()) => {}
                Err(error) => {
                    // Out of descriptors, mostly: the connection stays in the queue, and
                    // another accept would fail at once.
                    warn!("cannot accept: {error}; trying again in a while");
                    sleep(Duration::from_millis(250)).await;
                }
            }
        }
    }

    fn admit(self: &Arc<Self>, stream: TcpStream, peer: SocketAddr) {
        let (permit, refusal) = match Arc::clone(&self.places).try_acquire_owned() {
            Ok(place) => (place, None),
            Err(_) => match Arc::clone(&self.waiting).try_acquire_owned() {
                Ok(place) => (place, Some(Refusal::Full)),
                Err(_) => return debug!("too many connections: {peer} was dropped"),
            },
        };
        // Nagle's algorithm would hold a close frame back until the greeting before it is
        // acknowledged: 44 ms a conversation.
        _ = stream.set_nodelay(true);
        let span = info_span!("connection", %peer);
        tokio::spawn(Arc::clone(self).open(stream, peer, refusal, permit).instrument(span));
    }
}

fn is_of_one_peer(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset | ErrorKind::ConnectionRefused
    )
}

/// Waits for SIGINT or SIGTERM, then cancels `stop`; a second signal ends the program at once.
fn signals(stop: CancellationToken) -> Result<impl Future<Output = ()>> {
    // Registered now, not at the first poll: a signal right after the start must not kill.
    #[cfg(unix)]
    let mut next = {
        use tokio::signal::unix::{SignalKind, signal};
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        async move || {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
        }
    };
    #[cfg(windows)]
    let mut next = {
        let mut interrupt = tokio::signal::windows::ctrl_c()?;
        async move || {
            interrupt.recv().await;
        }
    };
    Ok(async move {
        next().await;
        info!("shutting down; a second signal ends at once");
        stop.cancel();
        next().await;
        std::process::exit(1);
    })
}
