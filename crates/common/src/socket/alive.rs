//! A connection and its clock: what is read past, what is answered, and when it is given up.
//!
//! Everything here is polled with [`Wakes`](super::wakes::Wakes) for a waker, whatever task waits.

use std::collections::VecDeque;
use std::io;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite};
use tungstenite::protocol::CloseFrame;
use tungstenite::{Error, Message};

use super::pings::{Alarm, PingClock, Pings};
use super::websocket::WebSocket;

/// How much is read ahead while a write is blocked, in bytes: a peer that answers pings, but does
/// not read for a while, is noticed. What is over it waits in the network.
const AHEAD: usize = 16 << 10;

/// A WebSocket, its clock, and what is between the two.
#[derive(Debug)]
pub(super) struct Alive<S> {
    pub(super) websocket: WebSocket<S>,
    pub(super) clock: PingClock,
    /// tungstenite has something to write,
    pub(super) unflushed: bool,
    /// and a pong or a close frame is among it. No more is read before it is written, so that a
    /// peer that pings without reading fills its own buffers rather than ours.
    owes_answer: bool,
    /// The peer's close frame, and what was in it. Boxed, for most connections have none.
    pub(super) closed: Option<Box<Option<CloseFrame>>>,
    /// Messages that came while a write was blocked.
    ahead: VecDeque<Result<Message, Error>>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Alive<S> {
    pub(super) fn new(websocket: WebSocket<S>, pings: Pings) -> Self {
        Self {
            websocket,
            clock: PingClock::new(pings),
            unflushed: false,
            owes_answer: false,
            closed: None,
            ahead: VecDeque::new(),
        }
    }

    /// Reads on until a text or binary message, the end, or an error.
    pub(super) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Message, Error>>> {
        loop {
            if let Poll::Ready(flushed) = self.poll_flush(cx) {
                flushed?;
            } else if self.owes_answer {
                return Poll::Pending;
            }
            let message = ready!(self.websocket.poll_next(cx));
            match message {
                Some(Ok(Message::Pong(_))) => self.clock.pong(),
                Some(Ok(_)) => self.clock.heard(),
                _ => {}
            }
            match message {
                Some(Ok(Message::Ping(_))) => self.owes_answer = true,
                // The stream ends once the answer is written.
                Some(Ok(Message::Close(frame))) => {
                    self.closed = Some(Box::new(frame));
                    self.owes_answer = true;
                }
                Some(Ok(Message::Pong(_) | Message::Frame(_))) => {}
                other => return Poll::Ready(other),
            }
            self.unflushed |= self.owes_answer;
        }
    }

    /// Reads on while a write is blocked, for a sign of life.
    pub(super) fn read_ahead(&mut self, cx: &mut Context<'_>) {
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

    pub(super) fn take_ahead(&mut self) -> Option<Result<Message, Error>> {
        let message = self.ahead.pop_front()?;
        if self.ahead.is_empty() {
            self.ahead = VecDeque::new();
        }
        Some(message)
    }

    /// Sends a ping when one is due. Ready when the peer is to be given up. To be called when
    /// there is nothing more to read.
    pub(super) fn poll_dead(&mut self, cx: &mut Context<'_>) -> Poll<Error> {
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

    pub(super) fn is_writing(&self) -> bool {
        self.unflushed || self.websocket.is_writing_encoded()
    }

    pub(super) fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.websocket.poll_ready(cx)
    }

    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        if !self.unflushed {
            return self.websocket.poll_write_encoded(cx);
        }
        ready!(self.websocket.poll_flush(cx))?;
        self.unflushed = false;
        self.owes_answer = false;
        Poll::Ready(Ok(()))
    }

    pub(super) fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        ready!(self.poll_flush(cx))?;
        self.websocket.poll_close(cx)
    }
}
