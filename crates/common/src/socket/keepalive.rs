//! Pings, pongs and the close frame, taken care of below the handler.
//!
//! tungstenite answers a ping only while somebody reads, never sends one by itself, and hands
//! every control frame to the reader. [`Keepalive`] reads past control frames, so that a handler
//! sees text and binary messages and then the end; it pings, and gives up on a peer that no
//! longer answers. It is itself a `Stream` and a `Sink`, and works for servers and clients.
//!
//! It has no task of its own: it works while the handler waits for a message or for a write to
//! be taken. A handler that pauses should therefore wait in `next()` with a timeout, rather than
//! in `sleep`.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures_util::task::waker_ref;
use futures_util::{Sink, Stream};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::{coop, yield_now};
use tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tungstenite::{Error, Message};

use super::alive::Alive;
use super::pings::Pings;
use super::wakes::Wakes;
use super::websocket::WebSocket;

/// How many messages come in a row. Then the handler gets to what else it waits for, even when a
/// peer sends without a pause. `select!` does not see to that by itself: once a task has used up
/// tokio's budget of 128 steps, it looks at no branch at all.
const TURN: u8 = 100;

/// A WebSocket that keeps itself alive.
///
/// Its `Stream` yields text and binary messages, and ends after the close handshake. When a
/// pong is overdue, both `Stream` and `Sink` return [`Error::Io`] of kind
/// [`TimedOut`](std::io::ErrorKind::TimedOut); any other message since the ping, be it a ping, is
/// as good as a pong. A frame that was written in part when its send was cancelled is finished
/// before anything else is written.
#[derive(Debug)]
pub struct Keepalive<S> {
    inner: Alive<S>,
    /// Whether the connection or the timer has something new for `poll_next`.
    wakes: Arc<Wakes>,
    /// How many messages came without a pause.
    in_a_row: u8,
    /// Who is behind the proxy at the other end. Boxed, for most connections come without one.
    pub(crate) client: Option<Box<SocketAddr>>,
}

/// A step of writing.
type Write<S> = fn(&mut Alive<S>, &mut Context<'_>) -> Poll<Result<(), Error>>;

impl<S: AsyncRead + AsyncWrite + Unpin> Keepalive<S> {
    /// A WebSocket on `stream`, whose opening handshake is done, kept alive from now on. `unread`
    /// is what was read from the stream behind the handshake. Of `config`, the sizes of the
    /// buffers are not heeded.
    pub fn new(
        stream: S,
        unread: &[u8],
        role: Role,
        config: WebSocketConfig,
        pings: Pings,
    ) -> Self {
        let inner = Alive::new(WebSocket::new(stream, unread, role, config), pings);
        Self { inner, wakes: Arc::default(), in_a_row: 0, client: None }
    }

    /// Sends whole frames that are encoded already, past tungstenite: a server that tells many
    /// clients the same encodes it once.
    ///
    /// # Errors
    ///
    /// Those of the connection's write, and `TimedOut` when a pong is overdue.
    pub async fn send_encoded(&mut self, frames: Bytes) -> Result<(), Error> {
        // What tungstenite still has to write goes first, or the frames would be mixed up.
        if self.inner.is_writing() {
            poll_fn(|cx| self.poll_write(cx, Alive::poll_flush)).await?;
        }
        // Nothing may follow the answer to a close frame (RFC 6455, section 5.5.1).
        if self.closed().is_some() {
            return Ok(());
        }
        self.inner.websocket.start_send_encoded(frames);
        poll_fn(|cx| self.poll_write(cx, Alive::poll_flush)).await
    }

    /// The peer's close frame, once it has come; `Some(None)` for one without a code.
    pub fn closed(&self) -> Option<Option<&CloseFrame>> {
        self.inner.closed.as_deref().map(Option::as_ref)
    }

    /// How long the answer to the last ping took, as in Python `websockets`; `None` before one.
    pub fn latency(&self) -> Option<Duration> {
        self.inner.clock.latency()
    }

    /// The stream below.
    pub fn get_ref(&self) -> &S {
        self.inner.websocket.get_ref()
    }

    /// The stream below. What is written to it directly must be whole frames.
    pub fn get_mut(&mut self) -> &mut S {
        self.inner.websocket.get_mut()
    }

    /// Sends no more pings, and reads no more than 16 MiB.
    pub(crate) fn begin_farewell(&mut self) {
        self.inner.clock.stop();
        self.inner.websocket.begin_farewell();
    }

    /// `write`, while the peer is read and kept alive, or given up.
    fn poll_write(&mut self, cx: &mut Context<'_>, write: Write<S>) -> Poll<Result<(), Error>> {
        let waker = waker_ref(&self.wakes);
        let connection = &mut Context::from_waker(&waker);
        if let Poll::Ready(written) = write(&mut self.inner, connection) {
            return Poll::Ready(written);
        }
        self.wakes.writer.register(cx.waker());
        // There may be room since before it was known whom to wake.
        if let Poll::Ready(written) = write(&mut self.inner, connection) {
            return Poll::Ready(written);
        }
        self.inner.read_ahead(connection);
        // Whatever was waited for here, `poll_next` has to look at it again.
        self.wakes.happened.store(true, Ordering::Release);
        self.inner.poll_dead(connection).map(Err)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Stream for Keepalive<S> {
    type Item = Result<Message, Error>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Self { inner, wakes, in_a_row, .. } = self.get_mut();
        if *in_a_row == TURN {
            *in_a_row = 0;
            // Not `wake_by_ref`: a task that is always in line keeps the scheduler from looking
            // whose sockets and timers are ready.
            return pin!(yield_now()).poll(cx).map(|()| None);
        }
        wakes.reader.register(cx.waker());
        if !wakes.happened.load(Ordering::Acquire) {
            return Poll::Pending;
        }
        // Messages that came in one packet are steps, too: other tasks have their turn in between.
        let step = ready!(coop::poll_proceed(cx));
        wakes.happened.swap(false, Ordering::AcqRel);
        let waker = waker_ref(wakes);
        let cx = &mut Context::from_waker(&waker);
        let read = match inner.take_ahead() {
            Some(message) => Poll::Ready(Some(message)),
            None => inner.poll_read(cx),
        };
        let read = match read {
            Poll::Pending => inner.poll_dead(cx).map(|error| Some(Err(error))),
            ready => ready,
        };
        if read.is_ready() {
            step.made_progress();
            *in_a_row += 1;
            // There may be more.
            wakes.happened.store(true, Ordering::Release);
        } else {
            *in_a_row = 0;
        }
        read
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Sink<Message> for Keepalive<S> {
    type Error = Error;

    fn poll_ready(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.poll_write(cx, Alive::poll_ready)
    }

    fn start_send(self: Pin<&mut Self>, message: Message) -> Result<(), Error> {
        let Self { inner, wakes, .. } = self.get_mut();
        inner.unflushed = true;
        inner.websocket.start_send(&mut Context::from_waker(&waker_ref(wakes)), message)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.poll_write(cx, Alive::poll_flush)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.poll_write(cx, Alive::poll_close)
    }
}
