//! A connection's life, from `accept` to the last byte; the handler owns the conversation.
//!
//! What [`Server::serve`] does, in the order in which it happens:
//!
//! 1. binds every address of the host and says where it listens;
//! 2. accepts connections, no more than `max_connections` at once;
//! 3. opens each within `open_timeout`: TLS, then the HTTP request, answered by
//!    [`handshake`](crate::handshake);
//! 4. runs the handler, with [keepalive](crate::keepalive);
//! 5. closes, with the code that fits what the handler returned;
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
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{sleep, timeout};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{Instrument, debug, info, info_span, warn};
use tungstenite::protocol::frame::coding::CloseCode;
use tungstenite::protocol::{Role, WebSocketConfig};

use crate::close::{close, close_frame, frame_for, hang_up};
use crate::flags::Flags;
use crate::handshake::{self, Policy, Refusal};
use crate::keepalive::Keepalive;
use crate::{Result, Socket};

/// tungstenite allocates this much for each connection, and fills it with zeros at each attempt
/// to read. Its default of 128 KiB costs 137 KiB an idle connection and twice the CPU of a
/// fan-out; 512 bytes to 4 KiB measured best.
const BUFFER: usize = 1024;

/// How many connections over the limit are told so at once; those beyond are dropped.
const REFUSED_AT_ONCE: usize = 64;

/// What a handler returns: a boxed future, because the type of `async fn(&mut Socket)`'s own
/// future cannot be named together with the promise that it is `Send`.
pub type Conversation<'a> = Pin<Box<dyn Future<Output = Result<()>> + Send + 'a>>;

/// A server, before it serves.
#[derive(Clone)]
pub struct Server {
    flags: Flags,
    policy: Policy,
    #[cfg(feature = "tls")]
    tls: Option<tokio_native_tls::TlsAcceptor>,
}

impl Server {
    /// A server with these flags, without TLS and without a page. From here on, the program
    /// logs.
    pub fn new(flags: Flags) -> Self {
        crate::log::init();
        let policy = Policy { page: None, allow_origin: flags.allow_origin.clone() };
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
            println!("listening on ws{s}://{address}");
            addresses.push(address);
        }
        if self.policy.page.is_some()
            && let Some(first) = addresses.first()
        {
            // 0.0.0.0 is an address to listen on, not to open.
            let host = if first.ip().is_unspecified() { "localhost" } else { self.flags.host() };
            println!("open http{s}://{host}:{}/ in a browser", first.port());
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
        let house = Arc::new(House {
            places: Arc::new(Semaphore::new(self.flags.max_connections)),
            waiting: Arc::new(Semaphore::new(REFUSED_AT_ONCE)),
            conversations: TaskTracker::new(),
            server: self,
            handler,
            stop,
        });
        for listener in listeners {
            tokio::spawn(Arc::clone(&house).accept(listener));
        }
        house.stop.cancelled().await;
        house.conversations.close();
        if timeout(close_timeout, house.conversations.wait()).await.is_err() {
            debug!("{} peers did not close in time", house.conversations.len());
        }
    }

    fn is_tls(&self) -> bool {
        #[cfg(feature = "tls")]
        return self.tls.is_some();
        #[cfg(not(feature = "tls"))]
        return false;
    }
}

/// What all connections of a server share.
struct House<H> {
    server: Server,
    handler: H,
    /// One permit for each connection that may be open.
    places: Arc<Semaphore>,
    /// One permit for each connection over the limit that is told so.
    waiting: Arc<Semaphore>,
    conversations: TaskTracker,
    stop: CancellationToken,
}

impl<H> House<H>
where
    H: for<'a> Fn(&'a mut Socket) -> Conversation<'a> + Send + Sync + 'static,
{
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
        tokio::spawn(Arc::clone(self).open(stream, refusal, permit).instrument(span));
    }

    /// The opening handshake. The conversation gets a task of its own, so that the memory of
    /// this one is freed.
    async fn open(
        self: Arc<Self>,
        stream: TcpStream,
        refusal: Option<Refusal>,
        permit: OwnedSemaphorePermit,
    ) {
        let refusal = || {
            if self.stop.is_cancelled() { Some(Refusal::ShuttingDown) } else { refusal }
        };
        let opening = async {
            let Some(mut stream) = self.secure(stream).await? else {
                return Ok(None);
            };
            let behind = handshake::open(&mut stream, &self.server.policy, refusal).await?;
            Ok(behind.map(|behind| (stream, behind)))
        };
        match timeout(self.server.flags.open_timeout, opening).await {
            Ok(Ok(Some((stream, behind)))) => {
                let house = Arc::clone(&self);
                let conversation = async move {
                    house.converse(stream, behind.into()).await;
                    drop(permit);
                };
                self.conversations.spawn(conversation.in_current_span());
            }
            Ok(Ok(None)) => {}
            Ok(Err::<_, std::io::Error>(error)) => debug!("gone during the handshake: {error}"),
            Err(_) => info!("no complete handshake within open_timeout"),
        }
    }

    /// Sorts out by the first byte who speaks TLS and who does not, and encrypts if the server
    /// does. `None`: there was nothing to be done for the peer but a word.
    async fn secure(
        &self,
        mut stream: TcpStream,
    ) -> std::io::Result<Option<MaybeTlsStream<TcpStream>>> {
        let mut first = [0];
        if stream.peek(&mut first).await? == 0 {
            return Ok(None);
        }
        // 22 is the type of a TLS handshake record (RFC 8446, section 5.1), and no letter.
        match (self.server.is_tls(), first == [22]) {
            (false, false) => Ok(Some(MaybeTlsStream::Plain(stream))),
            (false, true) => {
                info!("a TLS hello on a plain port: use ws:// and http://, or start wss-server");
                Ok(None)
            }
            (true, false) => {
                info!("plain HTTP on the TLS port: use wss:// and https://");
                let text = "This port speaks TLS; use https:// or wss://.";
                stream
                    .write_all(handshake::plain_answer("400 Bad Request", text).as_bytes())
                    .await?;
                hang_up(&mut stream).await?;
                Ok(None)
            }
            (true, true) => Ok(self.encrypt(stream).await),
        }
    }

    #[cfg(feature = "tls")]
    async fn encrypt(&self, stream: TcpStream) -> Option<MaybeTlsStream<TcpStream>> {
        match self.server.tls.as_ref()?.accept(stream).await {
            Ok(stream) => Some(MaybeTlsStream::NativeTls(stream)),
            Err(error) => {
                info!("no TLS session: {error}");
                None
            }
        }
    }

    #[cfg(not(feature = "tls"))]
    async fn encrypt(&self, _stream: TcpStream) -> Option<MaybeTlsStream<TcpStream>> {
        None
    }

    async fn converse(&self, stream: MaybeTlsStream<TcpStream>, behind: Vec<u8>) {
        let flags = &self.server.flags;
        let config = WebSocketConfig::default()
            .read_buffer_size(BUFFER)
            .write_buffer_size(BUFFER)
            .max_message_size(Some(flags.max_size))
            .max_frame_size(Some(flags.max_size));
        let websocket =
            WebSocketStream::from_partially_read(stream, behind, Role::Server, Some(config)).await;
        let mut socket = Keepalive::new(websocket, flags.pings());
        let frame = {
            let conversation = AssertUnwindSafe((self.handler)(&mut socket)).catch_unwind();
            tokio::select! {
                biased;
                () = self.stop.cancelled() => Some(close_frame(CloseCode::Away, "the server shuts down")),
                result = conversation => match result {
                    Ok(result) => frame_for(result),
                    // The panic hook has logged it.
                    Err(_) => Some(close_frame(CloseCode::Error, "the server met an error")),
                },
            }
        };
        if let Some(frame) = frame {
            close(&mut socket, frame, flags.close_timeout).await;
        }
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
