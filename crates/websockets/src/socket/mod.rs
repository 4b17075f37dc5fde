//! The socket that a handler and a client use.
//!
//! ```text
//! Socket = Keepalive  when: pings, timeouts, time slices
//!        ⇄ WebSocket  reads and writes; tungstenite answers control frames
//!        ⇄ Incoming   the messages in the bytes from the peer
//!        ⇄ Outgoing   the frames that are not written yet
//!        ⇄ Stream     TCP, TLS or memory
//! ```
//!
//! | file | purpose |
//! | --- | --- |
//! | `mod` | [`Socket`]: receive and send messages |
//! | `keepalive` | answers control frames, sends pings, notices a peer that no longer answers |
//! | `pings` | the clock: when to send a ping, and when the pong is overdue |
//! | `websocket` | a WebSocket on an asynchronous stream |
//! | `incoming` | makes messages of the bytes from the peer |
//! | `partial` | the part of a message that has arrived |
//! | `outgoing` | keeps frames until the stream takes them |
//! | `mask` | masks the frames of a client |
//! | `stream` | the one stream type below every socket |
//! | `close` | which close code an error becomes, and a closing handshake whose code arrives |

mod close;
mod incoming;
mod keepalive;
mod mask;
mod outgoing;
mod partial;
mod pings;
mod stream;
mod websocket;

use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_util::task::waker_ref;
use futures_util::{Sink, SinkExt, Stream as MessageStream, TryStreamExt};
use parking_lot::Mutex;
use tokio::io::duplex;
use tokio::task::{coop, yield_now};
use tungstenite::error::ProtocolError;
use tungstenite::protocol::{CloseFrame, Role};
use tungstenite::{Error, Message};

use self::keepalive::{ConnectionWaker, Keepalive, Write};
use self::websocket::WebSocket;
use crate::deflate::Deflate;
use crate::fanout::Encoded;

#[cfg(feature = "client")]
pub(crate) use self::close::CLOSE_TIMEOUT;
pub use self::close::CloseWith;
pub(crate) use self::close::{close_frame, close_frame_for, handler_failed, shutdown_and_drain};
pub(crate) use self::pings::LONGEST;
#[cfg(feature = "client")]
pub(crate) use self::pings::is_missed_pong;
pub use self::stream::Io;
pub(crate) use self::stream::{Stream, boxed, limit_unsent, peer_address};

/// How many messages are returned without a pause. Then the handler gets to what else it waits
/// for, even if a peer sends without a pause. `select!` alone does not ensure that: once a task
/// has used up tokio's budget of 128 steps, `select!` polls no branch to completion.
const MESSAGES_PER_YIELD: u8 = 100;

/// How many bytes a pair of sockets in memory holds in each direction.
const MEMORY: usize = 64 << 10;

/// How a socket keeps itself alive and what it accepts, with the names and the defaults of Python
/// `websockets`.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// The pause before each keepalive ping: 20 s. Zero turns pings off. Proxies disconnect a
    /// connection that is idle for 60 s (nginx, AWS) or even 30 s.
    pub ping_interval: Duration,
    /// How long the pong may take: 20 s. Zero waits forever.
    pub ping_timeout: Duration,
    /// The largest message that is accepted, in bytes: 1 MiB.
    pub max_size: usize,
}

impl Default for Options {
    fn default() -> Self {
        let twenty_seconds = Duration::from_secs(20);
        Self { ping_interval: twenty_seconds, ping_timeout: twenty_seconds, max_size: 1 << 20 }
    }
}

/// A WebSocket connection, on the server or on the client.
///
/// The socket answers pings and the peer's close frame, sends pings of its own, and notices when
/// the peer no longer answers. It has no task of its own: it does this while you wait in
/// [`recv`](Self::recv), in [`send`](Self::send), or in
/// [`Subscriber::next`](crate::fanout::Subscriber::next). So pause by waiting in `recv` with a
/// timeout, not in `sleep`.
///
/// It is also a `Stream` and a `Sink` of [`Message`]s, for code that needs one. With
/// `StreamExt::split` you can receive while a message is being sent to a slow peer.
#[derive(Debug)]
pub struct Socket {
    connection: Arc<Connection>,
    messages_in_a_row: u8,
    /// Something may not be written completely. While this is false, sending takes one lock less.
    needs_flush: bool,
    /// What the handshake has agreed on about compression.
    deflate: Option<Deflate>,
}

/// The part of a socket that the server keeps while the handler has the rest. With it the server
/// sends the close frame of a shutdown, whatever the handler waits for.
#[derive(Debug)]
pub(crate) struct Connection {
    waker: Arc<ConnectionWaker>,
    /// The peer's address, if the stream below does not know it. Boxed because most do.
    remote_address: Option<Box<SocketAddr>>,
    keepalive: Mutex<Keepalive>,
}

impl Socket {
    /// Wraps a stream on which the opening handshake is done. `unread` are the bytes that were
    /// already read from the stream after that handshake.
    ///
    /// You rarely need this: [`Server`](crate::Server) and
    /// [`Connect`](crate::client::Connect) make sockets, and [`pair`](Self::pair) makes two for a
    /// test. It must be called in a tokio runtime.
    pub fn new(stream: impl Io, unread: &[u8], role: Role, options: Options) -> Self {
        Self::on(boxed(stream), unread, role, options, None, None)
    }

    /// Makes two sockets that are connected in memory: the server's and the client's. With them
    /// you test a handler without a port, and on tokio's paused clock if you like
    /// (`#[tokio::test(start_paused = true)]`, with tokio's feature `test-util`).
    ///
    /// ```
    /// use websockets::{CloseCode, Result, Socket};
    ///
    /// async fn echo(socket: &mut Socket) -> Result<()> {
    ///     while let Some(message) = socket.recv().await? {
    ///         socket.send(message).await?;
    ///     }
    ///     Ok(())
    /// }
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<()> {
    /// let (mut server, mut client) = Socket::pair();
    /// let test = async {
    ///     client.send("Ada").await?;
    ///     assert_eq!(client.recv().await?, Some("Ada".into()));
    ///     client.close(CloseCode::Normal, "").await;
    ///     Result::Ok(())
    /// };
    /// // Side by side, as the handler and its client run in reality.
    /// let (handler, test) = tokio::join!(echo(&mut server), test);
    /// handler.and(test)
    /// # }
    /// ```
    ///
    /// The client must `close`: if it is dropped, the handler's `recv` returns an error. Both sockets
    /// send pings, so a client that waits for long should wait in `recv`, not in `sleep`. The
    /// connection holds 64 KiB in each direction. A close code is sent by the server, not by the
    /// handler, so check the [`CloseWith`] that the handler returns.
    pub fn pair() -> (Self, Self) {
        let (server, client) = duplex(MEMORY);
        let options = Options::default();
        (
            Self::new(server, &[], Role::Server, options),
            Self::new(client, &[], Role::Client, options),
        )
    }

    /// `remote_address` is the peer's address, if the stream does not know it.
    pub(crate) fn on(
        stream: Stream,
        unread: &[u8],
        role: Role,
        options: Options,
        deflate: Option<Deflate>,
        remote_address: Option<SocketAddr>,
    ) -> Self {
        let Options { ping_interval, ping_timeout, max_size } = options;
        let websocket = WebSocket::new(stream, unread, role, max_size, deflate);
        let connection = Connection {
            waker: Arc::default(),
            remote_address: remote_address.map(Box::new),
            keepalive: Mutex::new(Keepalive::new(websocket, ping_interval, ping_timeout)),
        };
        Self { connection: Arc::new(connection), messages_in_a_row: 0, needs_flush: true, deflate }
    }

    /// Waits for the next text or binary message. Returns `None` after the closing handshake, and
    /// when the server shuts down. Use [`is_shutting_down`](Self::is_shutting_down) to distinguish
    /// them. A peer that disconnects without a close frame is an error.
    ///
    /// No message is lost if this future is dropped, so it may stand in `select!`. At a shutdown,
    /// messages that you have not received yet are dropped.
    ///
    /// # Errors
    ///
    /// The peer broke the protocol, the connection was lost, or no pong arrived within
    /// `ping_timeout` ([`Error::Io`] of kind [`TimedOut`](std::io::ErrorKind::TimedOut)). Any other
    /// message that arrives after the ping is as good as the pong. Pass the error on with `?`: the
    /// server then sends the close code that fits.
    pub async fn recv(&mut self) -> Result<Option<Message>, Error> {
        self.try_next().await
    }

    /// Sends a message: a `String` or `&str` as text, bytes as a binary message. Waits until the
    /// message is written to the network.
    ///
    /// If this future is dropped, the message was taken as a whole or not at all. A frame that is
    /// written in part is completed before anything else is sent.
    ///
    /// # Errors
    ///
    /// The peer has closed, the connection is lost, or no pong arrived within `ping_timeout`. When
    /// the server shuts down, the error is
    /// [`SendAfterClosing`](tungstenite::error::ProtocolError::SendAfterClosing), so finish other
    /// work before you return it.
    pub fn send(
        &mut self,
        message: impl Into<Message>,
    ) -> impl Future<Output = Result<(), Error>> + Send {
        // Not an `async fn`, whose future would be twice as large in each handler.
        SinkExt::send(self, message.into())
    }

    /// Sends frames that are encoded already. A server that sends the same message to many clients
    /// encodes it once.
    ///
    /// # Errors
    ///
    /// Those of [`send`](Self::send).
    pub async fn send_encoded(&mut self, frames: Encoded) -> Result<(), Error> {
        poll_fn(|cx| self.poll_written(cx)).await?;
        // Nothing may follow the answer to a close frame (RFC 6455, section 5.5.1).
        if self.closed().is_some() {
            return Err(Error::AlreadyClosed);
        }
        self.start_send_encoded(frames)?;
        poll_fn(|cx| self.poll_written(cx)).await
    }

    /// The peer's close frame, once it has arrived. `Some(None)` if it has no code.
    pub fn closed(&self) -> Option<Option<CloseFrame>> {
        self.connection.closed()
    }

    /// Whether the server is shutting down. Then the client was sent 1001, `recv` returns `None`,
    /// `send` fails, and the handler has `close_timeout` (6 s at most) to finish.
    pub fn is_shutting_down(&self) -> bool {
        self.connection.keepalive.lock().is_closing
    }

    /// How long the answer to the last ping took. `None` before the first answer.
    pub fn latency(&self) -> Option<Duration> {
        self.connection.keepalive.lock().clock.latency
    }

    /// The address of the peer. Behind a proxy that `--trusted-proxy` names, it is the address of
    /// the client. `None` if the stream below has no address.
    pub fn remote_address(&self) -> Option<SocketAddr> {
        self.connection.remote_address()
    }

    /// Whether the peer accepts messages that were compressed for many clients.
    pub(crate) fn takes_shared_compression(&self) -> bool {
        self.deflate.is_some_and(Deflate::takes_shared)
    }

    pub(crate) fn connection(&self) -> Arc<Connection> {
        Arc::clone(&self.connection)
    }

    /// Takes whole frames. Everything that was sent before must be written already.
    pub(crate) fn start_send_encoded(&mut self, frames: Encoded) -> Result<(), Error> {
        self.needs_flush = true;
        let frames = match self.deflate {
            None => frames.into_bytes(),
            Some(deflate) => frames.into_compressed(deflate),
        };
        self.connection.keepalive.lock().start_send_encoded(frames)
    }

    /// Waits until everything is written that was sent before.
    pub(crate) fn poll_written(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        if self.needs_flush {
            ready!(self.poll_write(cx, Keepalive::poll_flush))?;
            self.needs_flush = false;
        }
        Poll::Ready(Ok(()))
    }

    /// A step of writing, for the handler. At a shutdown it fails, even if the client does not read.
    fn poll_write(&mut self, cx: &mut Context<'_>, write: Write) -> Poll<Result<(), Error>> {
        self.needs_flush = true;
        let written = self.connection.poll_write(cx, write);
        match written.is_pending() && self.is_shutting_down() {
            true => Poll::Ready(Err(ProtocolError::SendAfterClosing.into())),
            false => written,
        }
    }
}

impl Connection {
    pub(crate) fn remote_address(&self) -> Option<SocketAddr> {
        let of_stream = || peer_address(&self.keepalive.lock().websocket.stream);
        self.remote_address.as_deref().copied().or_else(of_stream)
    }

    pub(crate) fn closed(&self) -> Option<Option<CloseFrame>> {
        self.keepalive.lock().closed.as_deref().cloned()
    }

    fn poll_written(&self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.poll_write(cx, Keepalive::poll_flush)
    }

    /// Sends `frame`, unless either side has begun the closing handshake already.
    fn start_closing(&self, frame: Option<CloseFrame>) {
        let waker = waker_ref(&self.waker);
        self.keepalive.lock().start_closing(&mut Context::from_waker(&waker), frame);
        // A handler that waits for a message has to see the end.
        waker.wake_by_ref();
    }

    fn poll_write(&self, cx: &mut Context<'_>, write: Write) -> Poll<Result<(), Error>> {
        let waker = waker_ref(&self.waker);
        let mut keepalive = self.keepalive.lock();
        let connection = &mut Context::from_waker(&waker);
        if let Poll::Ready(written) = write(&mut keepalive, connection) {
            return Poll::Ready(written);
        }
        self.waker.writer.register(cx.waker());
        // Room may have appeared before the waker was registered, so this writes once more.
        let written = keepalive.poll_write(connection, write);
        // Whatever happened here, `poll_next` has to look at it again.
        self.waker.is_idle.store(false, Ordering::Release);
        written
    }
}

impl MessageStream for Socket {
    type Item = Result<Message, Error>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Self { connection, messages_in_a_row, needs_flush, .. } = self.get_mut();
        if *messages_in_a_row == MESSAGES_PER_YIELD {
            *messages_in_a_row = 0;
            // Not `wake_by_ref`: a task that is always scheduled keeps the scheduler from checking
            // which sockets and timers are ready.
            return pin!(yield_now()).poll(cx).map(|()| None);
        }
        let waker = &connection.waker;
        waker.reader.register(cx.waker());
        if waker.is_idle.load(Ordering::Acquire) {
            return Poll::Pending;
        }
        // Several messages may arrive in one packet. Other tasks run in between.
        let step = ready!(coop::poll_proceed(cx));
        waker.is_idle.swap(true, Ordering::AcqRel);
        let cx = waker_ref(waker);
        let mut keepalive = connection.keepalive.lock();
        let message = keepalive.poll_next(&mut Context::from_waker(&cx));
        // Reading may have written a part of a pong or of a ping.
        *needs_flush |= keepalive.is_unflushed;
        let is_yielding = keepalive.websocket.is_yielding;
        drop(keepalive);
        if message.is_ready() {
            step.made_progress();
            *messages_in_a_row += 1;
            // There may be more.
            waker.is_idle.store(false, Ordering::Release);
        } else {
            *messages_in_a_row = 0;
            if is_yielding {
                waker.is_idle.store(false, Ordering::Release);
            }
        }
        message
    }
}

impl Sink<Message> for Socket {
    type Error = Error;

    fn poll_ready(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.poll_write(cx, |keepalive, cx| keepalive.websocket.poll_ready(cx))
    }

    fn start_send(mut self: Pin<&mut Self>, message: Message) -> Result<(), Error> {
        self.needs_flush = true;
        let message = match self.deflate {
            None => message,
            Some(deflate) => deflate.compress(message),
        };
        let Connection { waker, keepalive, .. } = &*self.connection;
        keepalive.lock().start_send(&mut Context::from_waker(&waker_ref(waker)), message)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.poll_written(cx)
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.connection.start_closing(None);
        self.connection.poll_written(cx)
    }
}
