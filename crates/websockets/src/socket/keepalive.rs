//! Keeps a connection alive: answers control frames, sends pings, and notices when the peer no
//! longer answers.
//!
//! tungstenite answers a ping only while the program reads, never sends one by itself, and returns
//! every control frame to the reader. [`Keepalive`] handles them, so that a handler receives text
//! and binary messages and then the end.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures_util::task::{ArcWake, AtomicWaker};
use tungstenite::error::ProtocolError;
use tungstenite::protocol::CloseFrame;
use tungstenite::{Error, Message};

use super::pings::PingClock;
use super::websocket::WebSocket;

/// How much is read ahead while a write is blocked, in bytes: enough to notice a peer that answers
/// pings but does not read for a while. Everything beyond it waits in the network.
const MAX_READ_AHEAD: usize = 16 << 10;

/// A WebSocket with its clock.
#[derive(Debug)]
pub(super) struct Keepalive {
    pub(super) websocket: WebSocket,
    pub(super) clock: PingClock,
    /// tungstenite has output that is not flushed yet.
    pub(super) is_unflushed: bool,
    /// That output includes a pong or a close frame. Nothing more is read until it is written, so
    /// a peer that sends pings without reading fills its own buffers rather than ours.
    is_reply_pending: bool,
    /// We have begun the closing handshake: the handler receives nothing more and sends nothing
    /// more.
    pub(super) is_closing: bool,
    /// The peer's close frame and its content. Boxed because most connections have none.
    pub(super) closed: Option<Box<Option<CloseFrame>>>,
    /// Messages that arrived while a write was blocked. Boxed because that is rare, too.
    read_ahead: Option<Box<ReadAhead>>,
}

type ReadAhead = VecDeque<Result<Message, Error>>;

/// A step of writing.
pub(super) type Write = fn(&mut Keepalive, &mut Context<'_>) -> Poll<Result<(), Error>>;

impl Keepalive {
    pub(super) fn new(websocket: WebSocket, interval: Duration, timeout: Duration) -> Self {
        Self {
            websocket,
            clock: PingClock::new(interval, timeout),
            is_unflushed: false,
            is_reply_pending: false,
            is_closing: false,
            closed: None,
            read_ahead: None,
        }
    }

    /// The next text or binary message, the end, or an error. Sends a ping when one is due.
    pub(super) fn poll_next(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Message, Error>>> {
        if self.is_closing {
            return Poll::Ready(None);
        }
        if let Some(read_ahead) = &mut self.read_ahead {
            match read_ahead.pop_front() {
                None => self.read_ahead = None,
                message => return Poll::Ready(message),
            }
        }
        match self.poll_read(cx) {
            Poll::Pending => self.poll_pong_timeout(cx).map(|error| Some(Err(error))),
            ready => ready,
        }
    }

    /// `write`. While it waits, reads ahead and keeps the connection alive.
    pub(super) fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        write: Write,
    ) -> Poll<Result<(), Error>> {
        if let Poll::Ready(written) = write(self, cx) {
            return Poll::Ready(written);
        }
        self.fill_read_ahead(cx);
        // A peer that has closed may never read the rest.
        if self.closed.is_some() && !self.is_closing {
            return Poll::Ready(Err(Error::AlreadyClosed));
        }
        self.poll_pong_timeout(cx).map(Err)
    }

    pub(super) fn start_send(
        &mut self,
        cx: &mut Context<'_>,
        message: Message,
    ) -> Result<(), Error> {
        self.check_open()?;
        self.is_unflushed = true;
        self.websocket.start_send(cx, message)
    }

    /// Takes whole frames. Everything that was sent before must be written already.
    pub(super) fn start_send_encoded(&mut self, frames: Bytes) -> Result<(), Error> {
        self.check_open()?;
        // Nothing may follow the answer to a close frame (RFC 6455, section 5.5.1).
        if self.closed.is_none() {
            self.websocket.start_send_encoded(frames)?;
        }
        Ok(())
    }

    /// Sends `frame`, unless either side has begun the closing handshake already. From now on no
    /// pings are sent, and no more than 16 MiB are read.
    pub(super) fn start_closing(&mut self, cx: &mut Context<'_>, frame: Option<CloseFrame>) {
        if self.is_closing {
            return;
        }
        self.is_closing = true;
        self.clock.stop();
        self.websocket.limit_reads();
        // The program receives no more messages. Without them, reading can let a blocked peer
        // continue and accept our close frame.
        self.read_ahead = None;
        if self.closed.is_none() {
            self.is_unflushed = true;
            // A failure is reported by the next read or flush.
            _ = self.websocket.start_send(cx, Message::Close(frame));
        }
        _ = self.poll_flush(cx);
    }

    /// Writes everything.
    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        if !self.is_unflushed {
            return self.websocket.poll_flush_data(cx);
        }
        ready!(self.websocket.poll_flush(cx))?;
        self.is_unflushed = false;
        self.is_reply_pending = false;
        Poll::Ready(Ok(()))
    }

    /// Reads until a text or binary message, the end, or an error.
    pub(super) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Message, Error>>> {
        self.websocket.is_yielding = false;
        loop {
            let flushed = self.poll_flush(cx);
            // The close frame is the result, whether or not the peer ends TCP or takes our answer.
            if self.closed.is_some() {
                return Poll::Ready(None);
            }
            if flushed.is_pending() && self.is_reply_pending {
                return Poll::Pending;
            }
            let message = match (self.websocket.poll_next(cx), flushed) {
                // A peer that has disconnected may have sent a close frame before that.
                (Poll::Pending, Poll::Ready(Err(error))) => return Poll::Ready(Some(Err(error))),
                (message, _) => ready!(message),
            };
            if let Some(Ok(_)) = message {
                self.clock.message_received();
            }
            match message {
                Some(Ok(Message::Ping(_))) => self.is_reply_pending = true,
                Some(Ok(Message::Close(frame))) => {
                    self.closed = Some(Box::new(frame));
                    self.is_reply_pending = true;
                }
                Some(Ok(Message::Pong(_))) => self.clock.pong_received(),
                Some(Ok(Message::Frame(_))) => {}
                other => return Poll::Ready(other),
            }
            self.is_unflushed |= self.is_reply_pending;
        }
    }

    /// Reads while a write is blocked, because a message shows that the peer is alive.
    fn fill_read_ahead(&mut self, cx: &mut Context<'_>) {
        self.websocket.is_yielding = false;
        // An empty message needs memory, too.
        let size = |message: &Result<Message, Error>| {
            message.as_ref().map_or(MAX_READ_AHEAD, |message| size_of_val(message) + message.len())
        };
        let mut held: usize =
            self.read_ahead.iter().flat_map(|messages| messages.iter()).map(size).sum();
        while held < MAX_READ_AHEAD
            && let Poll::Ready(Some(message)) = self.poll_read(cx)
        {
            // The program does not receive this data any more. But reading it lets a blocked peer
            // continue and accept our close frame.
            if self.is_closing {
                continue;
            }
            held += size(&message);
            self.read_ahead.get_or_insert_default().push_back(message);
        }
    }

    /// Sends a ping when one is due. Ready when the pong is overdue. Call it when there is nothing
    /// more to read.
    fn poll_pong_timeout(&mut self, cx: &mut Context<'_>) -> Poll<Error> {
        if self.websocket.is_yielding {
            return Poll::Pending;
        }
        let has_progressed = &mut self.websocket.outgoing.has_progressed;
        if let Poll::Ready(error) = self.clock.poll_overdue(cx, has_progressed) {
            return Poll::Ready(error);
        }
        if self.clock.is_ping_due() && self.websocket.poll_ready(cx).is_ready() {
            self.clock.ping_sent();
            self.is_unflushed = true;
            // A failure is reported by the next read or write.
            _ = self.websocket.start_send(cx, Message::Ping(Bytes::new()));
            _ = self.poll_flush(cx);
        }
        Poll::Pending
    }

    fn check_open(&self) -> Result<(), Error> {
        match self.is_closing {
            true => Err(ProtocolError::SendAfterClosing.into()),
            false => Ok(()),
        }
    }
}

/// The waker that a connection and its clock are polled with. It records that there is a reason to
/// poll them.
///
/// A handler that also waits for something else, such as the updates of a room, polls its socket
/// each time that it wakes up. Nine of ten times the reason is not the connection, and an attempt
/// to read costs as much as the write that the handler was woken up for.
#[derive(Debug, Default)]
pub(super) struct ConnectionWaker {
    /// Nothing happened since this was last set to true.
    pub(super) is_idle: AtomicBool,
    /// The task that waits for a message.
    pub(super) reader: AtomicWaker,
    /// The task that waits for a write. Usually it is the same task, but the two halves of
    /// `StreamExt::split` may be in different tasks.
    pub(super) writer: AtomicWaker,
}

impl ArcWake for ConnectionWaker {
    fn wake_by_ref(this: &Arc<Self>) {
        this.is_idle.store(false, Ordering::Release);
        this.reader.wake();
        this.writer.wake();
    }
}
