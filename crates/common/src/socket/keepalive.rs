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
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, Waker, ready};

use bytes::{Buf, Bytes};
use futures_util::{Sink, Stream};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::{coop, yield_now};
use tokio_tungstenite::WebSocketStream;
use tungstenite::protocol::CloseFrame;
use tungstenite::{Error, Message};

use super::pings::{Alarm, PingClock, Pings};
use super::wakes::Wakes;

/// How many messages come in a row. Then the handler gets to what else it waits for, even when a
/// peer sends without a pause. `select!` does not see to that by itself: once a task has used up
/// tokio's budget of 128 steps, it looks at no branch at all.
const TURN: u8 = 100;

/// A WebSocket that keeps itself alive.
///
/// Its `Stream` yields text and binary messages, and ends after the close handshake. When a
/// pong is overdue, both `Stream` and `Sink` return [`Error::Io`] of kind
/// [`TimedOut`](io::ErrorKind::TimedOut). A frame that was written in part when its send was
/// cancelled is finished before anything else is written.
#[derive(Debug)]
pub struct Keepalive<S> {
    websocket: WebSocketStream<S>,
    clock: PingClock,
    /// Whether the connection or the timer has something new for `poll_next`.
    wakes: Arc<Wakes>,
    /// tungstenite has something to write. No more is read before a pong is written, so that a
    /// peer that pings without reading fills its own buffers rather than ours.
    unflushed: bool,
    /// The peer's close frame, and what was in it.
    closed: Option<Option<CloseFrame>>,
    /// How many messages came without a pause.
    in_a_row: u8,
    /// A message that was read ahead, in search of a pong.
    ahead: Option<Box<Result<Message, Error>>>,
    /// What is left to write of [`send_encoded`](Self::send_encoded)'s frames.
    encoded: Bytes,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Keepalive<S> {
    /// Keeps `websocket` alive from now on.
    pub fn new(websocket: WebSocketStream<S>, pings: Pings) -> Self {
        Self {
            websocket,
            clock: PingClock::new(pings),
            wakes: Arc::new(Wakes::default()),
            unflushed: false,
            closed: None,
            in_a_row: 0,
            ahead: None,
            encoded: Bytes::new(),
        }
    }

    /// Sends whole frames that are encoded already, past tungstenite: a server that tells many
    /// clients the same encodes it once.
    ///
    /// # Errors
    ///
    /// Those of the connection's write, and `TimedOut` when a pong is overdue.
    pub async fn send_encoded(&mut self, frames: Bytes) -> Result<(), Error> {
        // What tungstenite still has to write goes first, or the frames would be mixed up.
        poll_fn(|cx| self.poll_flush_all(cx)).await?;
        // Nothing may follow the answer to a close frame (RFC 6455, section 5.5.1).
        if self.closed.is_some() {
            return Ok(());
        }
        self.encoded = frames;
        poll_fn(|cx| self.poll_flush_all(cx)).await
    }

    /// The peer's close frame, once it has come; `Some(None)` for one without a code.
    pub fn closed(&self) -> Option<Option<&CloseFrame>> {
        self.closed.as_ref().map(Option::as_ref)
    }

    /// The stream below.
    pub fn get_ref(&self) -> &S {
        self.websocket.get_ref()
    }

    /// The stream below. What is written to it directly must be whole frames.
    pub fn get_mut(&mut self) -> &mut S {
        self.websocket.get_mut()
    }

    /// Turns pings off, for the time of a farewell.
    pub fn stop_pings(&mut self) {
        self.clock.stop();
    }

    /// Reads on until a text or binary message, the end, or an error.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Message, Error>>> {
        loop {
            ready!(self.poll_flush_websocket(cx))?;
            match ready!(Pin::new(&mut self.websocket).poll_next(cx)) {
                Some(Ok(Message::Ping(_))) => self.unflushed = true,
                Some(Ok(Message::Pong(_))) => self.clock.pong(),
                // The stream ends once the answer is written.
                Some(Ok(Message::Close(frame))) => {
                    self.closed = Some(frame);
                    self.unflushed = true;
                }
                Some(Ok(Message::Frame(_))) => {}
                other => return Poll::Ready(other),
            }
        }
    }

    fn poll_flush_websocket(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        if self.unflushed {
            // Not into the middle of a frame.
            ready!(self.poll_write_encoded(cx))?;
            ready!(Pin::new(&mut self.websocket).poll_flush(cx))?;
            self.unflushed = false;
        }
        Poll::Ready(Ok(()))
    }

    /// Sends a ping when one is due. Ready when the peer is to be given up.
    fn poll_dead(&mut self, cx: &mut Context<'_>) -> Poll<Error> {
        while let Poll::Ready(alarm) = self.clock.poll(cx) {
            if alarm == Alarm::PongOverdue {
                // A handler that only writes reads no pongs: look before the verdict.
                if self.ahead.is_none()
                    && let Poll::Ready(Some(message)) = self.poll_read(cx)
                {
                    self.ahead = Some(Box::new(message));
                }
                if self.clock.waits_for_pong() {
                    let reason = "no pong within ping_timeout";
                    return Poll::Ready(io::Error::new(io::ErrorKind::TimedOut, reason).into());
                }
            }
        }
        if self.clock.ping_is_due()
            && self.poll_write_encoded(cx).is_ready()
            && Pin::new(&mut self.websocket).poll_ready(cx).is_ready()
        {
            self.clock.pinged();
            self.unflushed = true;
            // A failure here is the next read's or write's to report.
            _ = Pin::new(&mut self.websocket).start_send(Message::Ping(Bytes::new()));
            _ = self.poll_flush_websocket(cx);
        }
        Poll::Pending
    }

    /// `poll`, but a peer that is given up ends the wait.
    fn or_dead<T>(
        &mut self,
        cx: &mut Context<'_>,
        poll: Poll<Result<T, Error>>,
    ) -> Poll<Result<T, Error>> {
        match poll {
            Poll::Pending => {
                // Whatever was waited for here, `poll_next` has to look at it again.
                self.wakes.happened.store(true, Ordering::Release);
                self.poll_dead(cx).map(Err)
            }
            ready => ready,
        }
    }

    fn poll_write_encoded(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        while !self.encoded.is_empty() {
            let written = ready!(Pin::new(self.websocket.get_mut()).poll_write(cx, &self.encoded))?;
            if written == 0 {
                return Poll::Ready(Err(Error::Io(io::ErrorKind::WriteZero.into())));
            }
            self.encoded.advance(written);
            if self.encoded.is_empty() {
                // Bytes may own a large buffer; an idle connection should not.
                self.encoded = Bytes::new();
            }
        }
        Poll::Ready(Ok(()))
    }

    fn poll_flush_all(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let flushed = match self.poll_write_encoded(cx) {
            Poll::Ready(Ok(())) => self.poll_flush_websocket(cx),
            other => other,
        };
        self.or_dead(cx, flushed)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Stream for Keepalive<S> {
    type Item = Result<Message, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if let Some(message) = self.ahead.take() {
            return Poll::Ready(Some(*message));
        }
        if self.in_a_row == TURN {
            self.in_a_row = 0;
            // Not `wake_by_ref`: a task that is always in line keeps the scheduler from looking
            // whose sockets and timers are ready.
            return pin!(yield_now()).poll(cx).map(|()| None);
        }
        self.wakes.task.register(cx.waker());
        if !self.wakes.happened.load(Ordering::Acquire) {
            return Poll::Pending;
        }
        // Messages that came in one packet are steps, too: other tasks have their turn in between.
        let step = ready!(coop::poll_proceed(cx));
        self.wakes.happened.swap(false, Ordering::AcqRel);
        let waker = Waker::from(Arc::clone(&self.wakes));
        let cx = &mut Context::from_waker(&waker);
        // Reading makes tungstenite write pongs: not into the middle of a frame.
        let read = match self.poll_write_encoded(cx) {
            Poll::Ready(Ok(())) => self.poll_read(cx),
            Poll::Ready(Err(error)) => Poll::Ready(Some(Err(error))),
            Poll::Pending => Poll::Pending,
        };
        let read = match read {
            Poll::Pending => self.poll_dead(cx).map(|error| Some(Err(error))),
            ready => ready,
        };
        if read.is_ready() {
            step.made_progress();
            self.in_a_row += 1;
            // There may be more.
            self.wakes.happened.store(true, Ordering::Release);
        } else {
            self.in_a_row = 0;
        }
        read
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Sink<Message> for Keepalive<S> {
    type Error = Error;

    fn poll_ready(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let ready = match self.poll_write_encoded(cx) {
            Poll::Ready(Ok(())) => Pin::new(&mut self.websocket).poll_ready(cx),
            other => other,
        };
        self.or_dead(cx, ready)
    }

    fn start_send(mut self: Pin<&mut Self>, message: Message) -> Result<(), Error> {
        self.unflushed = true;
        Pin::new(&mut self.websocket).start_send(message)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.poll_flush_all(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        ready!(self.poll_flush_all(cx))?;
        Pin::new(&mut self.websocket).poll_close(cx)
    }
}
