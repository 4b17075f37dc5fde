//! tungstenite's WebSocket on an asynchronous stream.
//!
//! tokio-tungstenite's `WebSocketStream` does the same. This one costs an idle connection half a
//! kibibyte less, gives back the memory that a large message took, and sends frames that are
//! encoded already without mixing them with tungstenite's own.

use std::io::{self, ErrorKind, Read, Write};
use std::mem::MaybeUninit;
use std::num::NonZeroU16;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tungstenite::protocol::{Role, WebSocketConfig, WebSocketContext};
use tungstenite::{Error, Message};

use super::incoming::{Incoming, MAX_CONTROL};
use super::stream::Stream;
use crate::deflate::Deflate;

/// How much is read at once, in bytes. The buffer is on the stack.
const READ: usize = 4096;

/// How many reads follow our close frame at most: 16 MiB.
const MAX_READS_AFTER_CLOSE: u16 = 4096;

/// The size of tungstenite's read buffer, in bytes, which it fills with zeros before each read. A
/// click of the counter fits.
const READ_BUFFER: usize = 64;

/// tungstenite writes what exceeds this, in bytes, without waiting for a flush.
const WRITE_BUFFER: usize = 512;

/// A message that is longer than this, in bytes, may have grown tungstenite's buffers.
const LARGE: usize = 4096;

/// tungstenite and the stream below it.
#[derive(Debug)]
pub(super) struct WebSocket {
    tungstenite: WebSocketContext,
    pub(super) role: Role,
    /// tungstenite could not write all of its output.
    is_blocked: bool,
    /// A large message was sent since tungstenite's buffers were made.
    has_sent_large: bool,
    /// Nothing more can be read.
    has_ended: bool,
    pub(super) wire: Wire,
}

impl WebSocket {
    /// A WebSocket after its opening handshake. `unread` are the bytes that were already read from
    /// the stream after that handshake.
    pub(super) fn new(
        stream: Stream,
        unread: &[u8],
        role: Role,
        max_size: usize,
        deflate: Option<Deflate>,
    ) -> Self {
        let config = WebSocketConfig::default()
            .max_message_size(Some(max_size))
            // A control frame is no message. A close frame with a long reason is always accepted.
            .max_frame_size(Some(max_size.max(MAX_CONTROL)))
            .read_buffer_size(READ_BUFFER)
            .write_buffer_size(WRITE_BUFFER);
        let mut incoming = Incoming::new(deflate);
        incoming.feed(unread);
        Self {
            tungstenite: WebSocketContext::new(role, Some(config)),
            role,
            is_blocked: false,
            has_sent_large: false,
            has_ended: false,
            wire: Wire {
                stream,
                incoming,
                encoded: Bytes::new(),
                is_waiting: false,
                has_progressed: false,
            },
        }
    }

    /// Reads 16 MiB at most from now on, and treats the rest as the end of the stream.
    pub(super) fn limit_reads(&mut self) {
        self.wire.incoming.reads_left = NonZeroU16::new(MAX_READS_AFTER_CLOSE);
    }

    /// The next message, control frames included; `None` after the closing handshake and after an
    /// error. Writes tungstenite's replies, but does not wait until they are written.
    pub(super) fn poll_next(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Message, Error>>> {
        if self.has_ended {
            return Poll::Ready(None);
        }
        let max_size = self.tungstenite.get_config().max_frame_size.unwrap_or(usize::MAX);
        let mut stream = PollStream { wire: &mut self.wire, max_size, cx };
        match self.tungstenite.read(&mut stream) {
            Ok(Message::Close(_)) => {
                Poll::Ready(Some(Ok(Message::Close(self.wire.incoming.close_frame()))))
            }
            Ok(message) => Poll::Ready(Some(Ok(message))),
            Err(error) if would_block(&error) => Poll::Pending,
            Err(error) => {
                self.has_ended = true;
                let is_closed = matches!(error, Error::ConnectionClosed | Error::AlreadyClosed);
                Poll::Ready((!is_closed).then_some(Err(error)))
            }
        }
    }

    /// Waits until another message can be sent.
    pub(super) fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        match self.is_blocked || !self.wire.encoded.is_empty() {
            true => self.poll_flush(cx),
            false => Poll::Ready(Ok(())),
        }
    }

    /// Takes a message, and writes it at once if it is long.
    pub(super) fn start_send(
        &mut self,
        cx: &mut Context<'_>,
        message: Message,
    ) -> Result<(), Error> {
        self.has_sent_large |= message.len() > LARGE;
        let mut stream = PollStream { wire: &mut self.wire, max_size: 0, cx };
        match self.tungstenite.write(&mut stream, message) {
            // tungstenite keeps the message and writes it later.
            Err(error) if would_block(&error) => {
                self.is_blocked = true;
                Ok(())
            }
            done => done,
        }
    }

    /// Writes everything.
    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let mut stream = PollStream { wire: &mut self.wire, max_size: 0, cx };
        match self.tungstenite.flush(&mut stream) {
            Err(error) if would_block(&error) => return Poll::Pending,
            // The closing handshake is complete.
            Ok(()) | Err(Error::ConnectionClosed) => {}
            error => return Poll::Ready(error),
        }
        self.is_blocked = false;
        if self.has_sent_large && self.is_as_new() {
            // tungstenite never gives back the memory that it reserved.
            let config = *self.tungstenite.get_config();
            self.tungstenite = WebSocketContext::new(self.role, Some(config));
            self.has_sent_large = false;
        }
        Poll::Ready(Ok(()))
    }

    /// Whether tungstenite, with everything written, has no more state than a new one has.
    fn is_as_new(&self) -> bool {
        let is_open = self.tungstenite.can_read() && self.tungstenite.can_write();
        is_open && self.wire.incoming.is_between_messages()
    }
}

fn would_block(error: &Error) -> bool {
    matches!(error, Error::Io(error) if error.kind() == ErrorKind::WouldBlock)
}

/// The stream, the bytes that were read from it, and the encoded frames that go first.
#[derive(Debug)]
pub(super) struct Wire {
    pub(super) stream: Stream,
    incoming: Incoming,
    /// The unwritten rest of encoded frames. It is written before anything of tungstenite's, which
    /// would otherwise end up in the middle of a frame.
    pub(super) encoded: Bytes,
    /// The stream accepted no more bytes.
    is_waiting: bool,
    /// The stream accepted bytes again after it had to wait. So the peer has taken some, on Linux
    /// about 32 KiB.
    pub(super) has_progressed: bool,
}

impl Wire {
    fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        buf: &mut [u8],
        max_size: usize,
    ) -> Poll<io::Result<usize>> {
        loop {
            let length = self.incoming.read_into(buf, max_size)?;
            if length > 0 {
                return Poll::Ready(Ok(length));
            }
            let mut bytes = [MaybeUninit::uninit(); READ];
            let mut bytes = ReadBuf::uninit(&mut bytes);
            ready!(Pin::new(&mut self.stream).poll_read(cx, &mut bytes))?;
            if bytes.filled().is_empty() || !self.incoming.feed(bytes.filled()) {
                return Poll::Ready(Ok(0));
            }
        }
    }

    pub(super) fn poll_write_encoded(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.encoded.is_empty() {
            let written = Pin::new(&mut self.stream).poll_write(cx, &self.encoded);
            let written = ready!(self.note_progress(written))?;
            if written == 0 {
                return Poll::Ready(Err(ErrorKind::WriteZero.into()));
            }
            self.encoded.advance(written);
            if self.encoded.is_empty() {
                // Even empty `Bytes` may own a large buffer, and an idle connection should not.
                self.encoded = Bytes::new();
            }
        }
        Poll::Ready(Ok(()))
    }

    fn note_progress<T>(&mut self, written: Poll<T>) -> Poll<T> {
        self.has_progressed |= self.is_waiting && written.is_ready();
        self.is_waiting = written.is_pending();
        written
    }
}

/// The wire as tungstenite knows streams: an operation that has to wait returns `WouldBlock`.
struct PollStream<'a, 'cx> {
    wire: &'a mut Wire,
    max_size: usize,
    cx: &'a mut Context<'cx>,
}

impl Read for PollStream<'_, '_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        or_would_block(self.wire.poll_read(self.cx, buf, self.max_size))
    }
}

impl Write for PollStream<'_, '_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        or_would_block(self.wire.poll_write_encoded(self.cx))?;
        let written = Pin::new(&mut self.wire.stream).poll_write(self.cx, bytes);
        or_would_block(self.wire.note_progress(written))
    }

    fn flush(&mut self) -> io::Result<()> {
        or_would_block(self.wire.poll_write_encoded(self.cx))?;
        or_would_block(Pin::new(&mut self.wire.stream).poll_flush(self.cx))
    }
}

fn or_would_block<T>(poll: Poll<io::Result<T>>) -> io::Result<T> {
    match poll {
        Poll::Ready(done) => done,
        Poll::Pending => Err(ErrorKind::WouldBlock.into()),
    }
}
