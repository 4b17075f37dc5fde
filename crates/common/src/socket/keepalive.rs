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

use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
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

use super::pings::{Alarm, PingClock, Pings};
use super::wakes::Wakes;
use super::websocket::WebSocket;

/// How many messages come in a row. Then the handler gets to what else it waits for, even when a
/// peer sends without a pause. `select!` does not see to that by itself: once a task has used up
/// tokio's budget of 128 steps, it looks at no branch at all.
const TURN: u8 = 100;

/// How much is read ahead while a write is blocked, in bytes: a peer that answers pings, but does
/// not read for a while, is noticed. What is over it waits in the network.
const AHEAD: usize = 16 << 10;

/// A WebSocket that keeps itself alive.
///
/// Its `Stream` yields text and binary messages, and ends after the close handshake. When a
/// pong is overdue, both `Stream` and `Sink` return [`Error::Io`] of kind
/// [`TimedOut`](io::ErrorKind::TimedOut); whatever else came since the ping is as good as a pong.
/// A frame that was written in part when its send was cancelled is finished before anything else
/// is written.
#[derive(Debug)]
pub struct Keepalive<S> {
    inner: Inner<S>,
    /// Whether the connection or the timer has something new for `poll_next`.
    wakes: Arc<Wakes>,
    /// How many messages came without a pause.
    in_a_row: u8,
}

/// All that waits with [`Wakes`] for a waker.
#[derive(Debug)]
struct Inner<S> {
    websocket: WebSocket<S>,
    clock: PingClock,
    /// tungstenite has something to write,
    unflushed: bool,
    /// and a pong or a close frame is among it. No more is read before it is written, so that a
    /// peer that pings without reading fills its own buffers rather than ours.
    owes_answer: bool,
    /// The peer's close frame, and what was in it. Boxed, for most connections have none.
    closed: Option<Box<Option<CloseFrame>>>,
    /// Messages that came while a write was blocked.
    ahead: VecDeque<Result<Message, Error>>,
}

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
        let inner = Inner {
            websocket: WebSocket::new(stream, unread, role, config),
            clock: PingClock::new(pings),
            unflushed: false,
            owes_answer: false,
            closed: None,
            ahead: VecDeque::new(),
        };
        Self { inner, wakes: Arc::new(Wakes::default()), in_a_row: 0 }
    }

    /// Sends whole frames that are encoded already, past tungstenite: a server that tells many
    /// clients the same encodes it once.
    ///
    /// # Errors
    ///
    /// Those of the connection's write, and `TimedOut` when a pong is overdue.
    pub async fn send_encoded(&mut self, frames: Bytes) -> Result<(), Error> {
        // What tungstenite still has to write goes first, or the frames would be mixed up.
        poll_fn(|cx| self.poll_write(cx, Inner::poll_flush)).await?;
        // Nothing may follow the answer to a close frame (RFC 6455, section 5.5.1).
        if self.closed().is_some() {
            return Ok(());
        }
        self.inner.websocket.start_send_encoded(frames);
        poll_fn(|cx| self.poll_write(cx, Inner::poll_flush)).await
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

    /// Turns pings off, for the time of a farewell.
    pub fn stop_pings(&mut self) {
        self.inner.clock.stop();
    }

    /// `write`, while the peer is read and kept alive, or given up.
    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        write: fn(&mut Inner<S>, &mut Context<'_>) -> Poll<Result<(), Error>>,
    ) -> Poll<Result<(), Error>> {
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

impl<S: AsyncRead + AsyncWrite + Unpin> Inner<S> {
    /// Reads on until a text or binary message, the end, or an error.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Message, Error>>> {
        loop {
            if let Poll::Ready(flushed) = self.poll_flush(cx) {
                flushed?;
            } else if self.owes_answer {
                return Poll::Pending;
            }
            match ready!(self.websocket.poll_next(cx)) {
                Some(Ok(Message::Ping(_))) => self.owes_answer = true,
                // The stream ends once the answer is written.
                Some(Ok(Message::Close(frame))) => {
                    self.closed = Some(Box::new(frame));
                    self.owes_answer = true;
                }
                Some(Ok(Message::Pong(_))) => self.clock.pong(),
                Some(Ok(Message::Frame(_))) => {}
                other => return Poll::Ready(other),
            }
            self.unflushed |= self.owes_answer;
        }
    }

    /// Reads on while a write is blocked, for a sign of life.
    fn read_ahead(&mut self, cx: &mut Context<'_>) {
        // An empty message needs memory, too.
        let size = |message: &Result<Message, Error>| {
            message.as_ref().map_or(AHEAD, |message| size_of_val(message) + message.len())
        };
        let mut held: usize = self.ahead.iter().map(size).sum();
        while held < AHEAD
            && let Poll::Ready(Some(message)) = self.poll_read(cx)
        {
            held += size(&message);
            self.ahead.push_back(message);
        }
    }

    fn take_ahead(&mut self) -> Option<Result<Message, Error>> {
        let message = self.ahead.pop_front()?;
        if self.ahead.is_empty() {
            self.ahead = VecDeque::new();
        }
        Some(message)
    }

    /// Sends a ping when one is due. Ready when the peer is to be given up. To be called when
    /// there is nothing more to read.
    fn poll_dead(&mut self, cx: &mut Context<'_>) -> Poll<Error> {
        if self.websocket.heard() {
            self.clock.heard();
        }
        while let Poll::Ready(alarm) = self.clock.poll(cx) {
            if alarm == Alarm::PongOverdue {
                let reason = "no pong within ping_timeout";
                return Poll::Ready(io::Error::new(io::ErrorKind::TimedOut, reason).into());
            }
        }
        if self.clock.ping_is_due() && self.websocket.poll_ready(cx).is_ready() {
            self.clock.pinged();
            self.unflushed = true;
            // A failure here is the next read's or write's to report.
            _ = self.websocket.start_send(cx, Message::Ping(Bytes::new()));
            _ = self.poll_flush(cx);
        }
        Poll::Pending
    }

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.websocket.poll_ready(cx)
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        if !self.unflushed {
            return self.websocket.poll_write_encoded(cx);
        }
        ready!(self.websocket.poll_flush(cx))?;
        self.unflushed = false;
        self.owes_answer = false;
        Poll::Ready(Ok(()))
    }

    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        ready!(self.poll_flush(cx))?;
        self.websocket.poll_close(cx)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Stream for Keepalive<S> {
    type Item = Result<Message, Error>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Self { inner, wakes, in_a_row } = self.get_mut();
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
        self.poll_write(cx, Inner::poll_ready)
    }

    fn start_send(self: Pin<&mut Self>, message: Message) -> Result<(), Error> {
        let Self { inner, wakes, .. } = self.get_mut();
        inner.unflushed = true;
        inner.websocket.start_send(&mut Context::from_waker(&waker_ref(wakes)), message)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.poll_write(cx, Inner::poll_flush)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.poll_write(cx, Inner::poll_close)
    }
}
