//! tungstenite's WebSocket on an asynchronous stream.
//!
//! tokio-tungstenite's `WebSocketStream` is that, too. This one costs an idle connection half a
//! kibibyte less, gives back what a large message took, and lets frames that are encoded already
//! past tungstenite without mixing them up with its own.

use std::io::ErrorKind;
use std::num::NonZeroU16;
use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite};
use tungstenite::protocol::{Role, WebSocketConfig, WebSocketContext};
use tungstenite::{Error, Message};

use super::wire::{FAREWELL, Now, Wire};

/// What tungstenite keeps for reading, in bytes, and fills with zeros at each attempt: room for a
/// click of the counter.
const READ_BUFFER: usize = 64;

/// tungstenite writes what is over this, in bytes, without waiting for a flush.
const WRITE_BUFFER: usize = 512;

/// What one message may leave behind in tungstenite's buffers, in bytes.
const LARGE: usize = 4096;

/// tungstenite and the stream below it.
#[derive(Debug)]
pub(super) struct WebSocket<S> {
    tungstenite: WebSocketContext,
    wire: Wire<S>,
    role: Role,
    /// tungstenite could not write all that it wanted to.
    blocked: bool,
    /// A large message went out since the buffers were made.
    large: bool,
    /// Nothing more can be read.
    ended: bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin> WebSocket<S> {
    /// `unread`: what was read from the stream already, behind the handshake.
    pub(super) fn new(stream: S, unread: &[u8], role: Role, config: WebSocketConfig) -> Self {
        let config = config.read_buffer_size(READ_BUFFER).write_buffer_size(WRITE_BUFFER);
        Self {
            tungstenite: WebSocketContext::new(role, Some(config)),
            wire: Wire::new(stream, unread),
            role,
            blocked: false,
            large: false,
            ended: false,
        }
    }

    pub(super) fn get_ref(&self) -> &S {
        &self.wire.stream
    }

    pub(super) fn get_mut(&mut self) -> &mut S {
        &mut self.wire.stream
    }

    /// Reads no more than 16 MiB from now on, and takes what is over them for the end.
    pub(super) fn begin_farewell(&mut self) {
        self.wire.incoming.left = NonZeroU16::new(FAREWELL);
    }

    /// The next message, control frames included; `None` after the close handshake, and after an
    /// error. Writes what tungstenite has to answer, but does not wait for that.
    pub(super) fn poll_next(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Message, Error>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        let max_size = self.tungstenite.get_config().max_frame_size.unwrap_or(usize::MAX);
        match self.tungstenite.read(&mut Now { wire: &mut self.wire, max_size, cx }) {
            Ok(message) => Poll::Ready(Some(Ok(message))),
            Err(error) if would_block(&error) => Poll::Pending,
            Err(error) => {
                self.ended = true;
                let closed = matches!(error, Error::ConnectionClosed | Error::AlreadyClosed);
                Poll::Ready((!closed).then_some(Err(error)))
            }
        }
    }

    /// Waits until another message can be sent.
    pub(super) fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        match self.blocked || self.is_writing_encoded() {
            true => self.poll_flush(cx),
            false => Poll::Ready(Ok(())),
        }
    }

    /// Takes a message, and writes what there is if it is much.
    pub(super) fn start_send(
        &mut self,
        cx: &mut Context<'_>,
        message: Message,
    ) -> Result<(), Error> {
        self.large |= message.len() > LARGE;
        match self.tungstenite.write(&mut Now { wire: &mut self.wire, max_size: 0, cx }, message) {
            // It is taken all the same.
            Err(error) if would_block(&error) => {
                self.blocked = true;
                Ok(())
            }
            done => done,
        }
    }

    /// Takes whole frames, which must not come in the middle of another's.
    pub(super) fn start_send_encoded(&mut self, frames: Bytes) {
        self.wire.encoded = frames;
    }

    pub(super) fn is_writing_encoded(&self) -> bool {
        !self.wire.encoded.is_empty()
    }

    pub(super) fn poll_write_encoded(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.wire.poll_write_encoded(cx).map_err(Error::Io)
    }

    /// Writes everything.
    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let flushed = self.tungstenite.flush(&mut Now { wire: &mut self.wire, max_size: 0, cx });
        self.flushed(flushed)
    }

    /// Sends a close frame without a code, unless one was sent, and writes everything.
    pub(super) fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let closed =
            self.tungstenite.close(&mut Now { wire: &mut self.wire, max_size: 0, cx }, None);
        self.flushed(closed)
    }

    fn flushed(&mut self, flushed: Result<(), Error>) -> Poll<Result<(), Error>> {
        match flushed {
            Err(error) if would_block(&error) => return Poll::Pending,
            // The close handshake is complete.
            Ok(()) | Err(Error::ConnectionClosed) => {}
            error => return Poll::Ready(error),
        }
        self.blocked = false;
        if self.large && self.is_fresh() {
            // tungstenite never gives back what it reserved.
            self.tungstenite =
                WebSocketContext::new(self.role, Some(*self.tungstenite.get_config()));
            self.large = false;
        }
        Poll::Ready(Ok(()))
    }

    /// Whether tungstenite, when all is written, knows no more than a new one would.
    fn is_fresh(&self) -> bool {
        let is_open = self.tungstenite.can_read() && self.tungstenite.can_write();
        is_open && self.wire.incoming.is_between_messages()
    }
}

fn would_block(error: &Error) -> bool {
    matches!(error, Error::Io(error) if error.kind() == ErrorKind::WouldBlock)
}
