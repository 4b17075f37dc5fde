//! tungstenite's WebSocket on an asynchronous stream.
//!
//! tokio-tungstenite's `WebSocketStream` is that, too. This one costs an idle connection half a
//! kibibyte less, gives back what a large message took, and lets frames that are encoded already
//! past tungstenite without mixing them up with its own.

use std::io::{self, ErrorKind, Read, Write};
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tungstenite::protocol::{Role, WebSocketConfig, WebSocketContext};
use tungstenite::{Error, Message};

use super::incoming::Incoming;

/// How much is read at once, in bytes. It is on the stack, and copied from there.
const CHUNK: usize = 4096;

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

#[derive(Debug)]
struct Wire<S> {
    stream: S,
    incoming: Incoming,
    /// What is left to write of frames that are encoded already. It goes before anything of
    /// tungstenite's: not into the middle of a frame.
    encoded: Bytes,
    /// Something was read.
    heard: bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin> WebSocket<S> {
    /// `unread`: what was read from the stream already, behind the handshake.
    pub(super) fn new(stream: S, unread: &[u8], role: Role, config: WebSocketConfig) -> Self {
        let mut incoming = Incoming::default();
        incoming.push(unread);
        let config = config.read_buffer_size(READ_BUFFER).write_buffer_size(WRITE_BUFFER);
        Self {
            tungstenite: WebSocketContext::new(role, Some(config)),
            wire: Wire { stream, incoming, encoded: Bytes::new(), heard: false },
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

    /// Whether anything came since this was last asked.
    pub(super) fn heard(&mut self) -> bool {
        std::mem::take(&mut self.wire.heard)
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
        match self.blocked || !self.wire.encoded.is_empty() {
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

impl<S: AsyncRead + AsyncWrite + Unpin> Wire<S> {
    fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        buf: &mut [u8],
        max_size: usize,
    ) -> Poll<io::Result<usize>> {
        loop {
            let shown = self.incoming.show(buf, max_size);
            if shown > 0 {
                return Poll::Ready(Ok(shown));
            }
            let mut chunk = [MaybeUninit::uninit(); CHUNK];
            let mut chunk = ReadBuf::uninit(&mut chunk);
            ready!(Pin::new(&mut self.stream).poll_read(cx, &mut chunk))?;
            if chunk.filled().is_empty() {
                return Poll::Ready(Ok(0));
            }
            self.heard = true;
            self.incoming.push(chunk.filled());
        }
    }

    fn poll_write_encoded(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.encoded.is_empty() {
            let written = ready!(Pin::new(&mut self.stream).poll_write(cx, &self.encoded))?;
            if written == 0 {
                return Poll::Ready(Err(ErrorKind::WriteZero.into()));
            }
            self.encoded.advance(written);
            if self.encoded.is_empty() {
                // Bytes may own a large buffer; an idle connection should not.
                self.encoded = Bytes::new();
            }
        }
        Poll::Ready(Ok(()))
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        ready!(self.poll_write_encoded(cx))?;
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_write_encoded(cx))?;
        Pin::new(&mut self.stream).poll_flush(cx)
    }
}

/// The stream as tungstenite knows streams: what cannot be done now would block.
struct Now<'a, 'cx, S> {
    wire: &'a mut Wire<S>,
    max_size: usize,
    cx: &'a mut Context<'cx>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Read for Now<'_, '_, S> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        or_would_block(self.wire.poll_read(self.cx, buf, self.max_size))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Write for Now<'_, '_, S> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        or_would_block(self.wire.poll_write(self.cx, bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        or_would_block(self.wire.poll_flush(self.cx))
    }
}

fn or_would_block<T>(poll: Poll<io::Result<T>>) -> io::Result<T> {
    match poll {
        Poll::Ready(done) => done,
        Poll::Pending => Err(ErrorKind::WouldBlock.into()),
    }
}

fn would_block(error: &Error) -> bool {
    matches!(error, Error::Io(error) if error.kind() == ErrorKind::WouldBlock)
}
