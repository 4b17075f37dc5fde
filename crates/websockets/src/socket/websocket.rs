//! A WebSocket on an asynchronous stream.
//!
//! tokio-tungstenite's `WebSocketStream` does the same. This one costs an idle connection half as
//! much memory, gives back what a large message took, and sends frames that are encoded already.
//! [`Incoming`] and [`Outgoing`] move the data. tungstenite has the control frames: it answers a
//! ping and a close frame, and knows how far the closing handshake is.

use std::cell::Cell;
use std::io::{self, ErrorKind, Read, Write};
use std::mem::take;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::task::yield_now;
use tungstenite::error::ProtocolError;
use tungstenite::protocol::frame::Frame;
use tungstenite::protocol::frame::coding::{Data, OpCode};
use tungstenite::protocol::{Role, WebSocketConfig, WebSocketContext};
use tungstenite::{Error, Message};

use super::incoming::{Incoming, Received};
use super::outgoing::Outgoing;
use super::stream::Stream;
use crate::deflate::Deflate;

/// How much is read at once, in bytes.
const READ: usize = 32 << 10;

/// How much is read at once while a message waits to be written. The peer may not be reading, so
/// most of its data has to wait in the network.
const READ_WHILE_BLOCKED: usize = 4 << 10;

/// How much work a connection does before others have their turn, in bytes that it has received or
/// inflated. It takes about 0.1 ms, and up to 10 ms if the data is hostile.
const WORK_PER_TURN: u32 = 256 << 10;

/// The work that even an empty frame makes.
const WORK_PER_FRAME: u32 = 64;

/// How much follows our close frame at most, in bytes.
const MAX_READ_AFTER_CLOSE: usize = 16 << 20;

thread_local! {
    /// The buffer for reading. It belongs to the thread, because a connection has nothing in it
    /// between two reads.
    static BUFFER: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// A stream, what its bytes mean, and the frames on their way to it.
#[derive(Debug)]
pub(super) struct WebSocket {
    /// It has control frames only.
    tungstenite: WebSocketContext,
    pub(super) role: Role,
    /// Nothing more can be read.
    has_ended: bool,
    pub(super) stream: Stream,
    incoming: Incoming,
    /// Bytes that were read, but not received.
    unread: BytesMut,
    /// The work since the last turn of others.
    work: u32,
    /// It is the turn of others, so there may be more to read.
    pub(super) is_yielding: bool,
    /// How much more may be read, if there is a bound.
    read_limit: Option<usize>,
    pub(super) outgoing: Outgoing,
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
        // It allocates memory for the first control frame.
        let config = WebSocketConfig::default().read_buffer_size(0);
        Self {
            tungstenite: WebSocketContext::new(role, Some(config)),
            role,
            has_ended: false,
            stream,
            incoming: Incoming::new(role, max_size, deflate),
            unread: unread.into(),
            work: 0,
            is_yielding: false,
            read_limit: None,
            outgoing: Outgoing::default(),
        }
    }

    /// Reads 16 MiB at most from now on, and treats the rest as the end of the stream.
    pub(super) fn limit_reads(&mut self) {
        self.read_limit = Some(MAX_READ_AFTER_CLOSE);
    }

    /// The next message, control frames included. `None` after the closing handshake and after an
    /// error. Prepares replies to control frames, which the next flush writes.
    pub(super) fn poll_next(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Message, Error>>> {
        if self.has_ended {
            return Poll::Ready(None);
        }
        let message = ready!(self.poll_receive(cx));
        self.has_ended = matches!(message, Ok(Message::Close(_)) | Err(_));
        let is_closed = matches!(message, Err(Error::ConnectionClosed | Error::AlreadyClosed));
        Poll::Ready((!is_closed).then_some(message))
    }

    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<Result<Message, Error>> {
        loop {
            if self.work > WORK_PER_TURN {
                self.work = 0;
                self.is_yielding = true;
                // Not `wake_by_ref`: a task that is always scheduled keeps the scheduler from
                // checking which sockets and timers are ready.
                ready!(pin!(yield_now()).poll(cx));
            }
            let mut unread = take(&mut self.unread);
            let (message, left) = self.receive(&mut unread);
            unread.advance(unread.len() - left);
            if let Some(message) = message {
                self.unread = unread;
                return Poll::Ready(message);
            }
            let mut buffer = BUFFER.take();
            buffer.resize(READ, 0);
            let received = self.poll_read(cx, &unread, &mut buffer);
            BUFFER.set(buffer);
            match received {
                Poll::Ready(Ok(None)) => {}
                Poll::Ready(Ok(Some(message))) => return Poll::Ready(Ok(message)),
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => {
                    // A copy, because an idle connection must not keep the memory of a long read.
                    self.unread = BytesMut::from(&*unread);
                    return Poll::Pending;
                }
            }
        }
    }

    /// Reads once. `unread` is the beginning of the data.
    fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        unread: &[u8],
        buffer: &mut [u8],
    ) -> Poll<Result<Option<Message>, Error>> {
        let size = if self.outgoing.is_waiting { READ_WHILE_BLOCKED } else { READ };
        let mut read = ReadBuf::new(buffer.get_mut(..size).unwrap_or_default());
        read.put_slice(unread);
        ready!(Pin::new(&mut self.stream).poll_read(cx, &mut read))?;
        let length = read.filled().len() - unread.len();
        if let Some(left) = &mut self.read_limit {
            *left = left.saturating_sub(length);
        }
        if length == 0 || self.read_limit == Some(0) {
            // tungstenite knows whether this is the end of a closing handshake.
            return Poll::Ready(self.give_tungstenite(&[]).map(Some));
        }
        let (message, left) = self.receive(read.filled_mut());
        let (_, left) = read.filled().split_at(read.filled().len() - left);
        self.unread = left.into();
        Poll::Ready(message.transpose())
    }

    /// The first message of `bytes`, and how many of them are left.
    fn receive(&mut self, mut bytes: &mut [u8]) -> (Option<Result<Message, Error>>, usize) {
        let before = bytes.len();
        let message = match self.incoming.next(&mut bytes) {
            Ok(None) => None,
            Ok(Some(Received::Message(message))) => Some(Ok(message)),
            Ok(Some(Received::Control(frame, close))) => {
                Some(self.give_tungstenite(frame).map(|message| match message {
                    Message::Close(_) => Message::Close(close),
                    message => message,
                }))
            }
            Err(error) => Some(Err(error)),
        };
        let inflated = message.as_ref().and_then(|message| message.as_ref().ok()).map(Message::len);
        let size = inflated.unwrap_or_default().max(before - bytes.len());
        self.work += WORK_PER_FRAME + u32::try_from(size).unwrap_or(WORK_PER_TURN);
        (message, bytes.len())
    }

    /// Passes on a control frame or, if it is empty, the end of the stream.
    fn give_tungstenite(&mut self, frame: &[u8]) -> Result<Message, Error> {
        self.tungstenite.read(&mut ControlFrames { frame, outgoing: &mut self.outgoing })
    }

    /// Waits until another message can be sent.
    pub(super) fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        match self.outgoing.is_full() {
            true => self.poll_write(cx),
            false => Poll::Ready(Ok(())),
        }
    }

    /// Takes a message, and writes it at once if it is long.
    pub(super) fn start_send(
        &mut self,
        cx: &mut Context<'_>,
        message: Message,
    ) -> Result<(), Error> {
        let frame = match message {
            Message::Text(text) => Frame::message(text, OpCode::Data(Data::Text), true),
            Message::Binary(bytes) => Frame::message(bytes, OpCode::Data(Data::Binary), true),
            Message::Frame(frame) if matches!(frame.header().opcode, OpCode::Data(_)) => frame,
            control => {
                let mut frames = ControlFrames { frame: &[], outgoing: &mut self.outgoing };
                return or_later(self.tungstenite.write(&mut frames, control));
            }
        };
        self.check_open()?;
        self.outgoing.push(frame, self.role, self.stream.is_write_vectored())?;
        match self.poll_ready(cx) {
            Poll::Ready(written) => written,
            // The rest is written later.
            Poll::Pending => Ok(()),
        }
    }

    /// Takes whole frames. Everything that was sent before must be written already.
    pub(super) fn start_send_encoded(&mut self, frames: Bytes) -> Result<(), Error> {
        self.check_open()?;
        self.outgoing.push_encoded(frames);
        Ok(())
    }

    /// No data may follow a close frame of either side.
    fn check_open(&self) -> Result<(), Error> {
        match self.tungstenite.can_write() {
            true => Ok(()),
            false => Err(ProtocolError::SendAfterClosing.into()),
        }
    }

    /// Writes everything but the control frames that tungstenite still has.
    pub(super) fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.outgoing.poll_write(cx, &mut self.stream).map_err(Error::Io)
    }

    /// Writes everything but those control frames, and flushes the stream: TLS may hold data back.
    pub(super) fn poll_flush_data(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        ready!(self.poll_write(cx))?;
        Pin::new(&mut self.stream).poll_flush(cx).map_err(Error::Io)
    }

    /// Writes everything.
    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        // A large frame has to be written before a control frame can follow.
        ready!(self.poll_write(cx))?;
        let mut frames = ControlFrames { frame: &[], outgoing: &mut self.outgoing };
        match self.tungstenite.flush(&mut frames) {
            // The closing handshake is complete.
            Ok(()) | Err(Error::ConnectionClosed) => {}
            Err(error) => return Poll::Ready(Err(error)),
        }
        self.poll_flush_data(cx)
    }
}

/// tungstenite keeps the bytes that cannot be written yet.
fn or_later(written: Result<(), Error>) -> Result<(), Error> {
    match written {
        Err(Error::Io(error)) if error.kind() == ErrorKind::WouldBlock => Ok(()),
        written => written,
    }
}

/// The stream that tungstenite uses: it reads a control frame of the peer, and writes the reply.
struct ControlFrames<'a> {
    frame: &'a [u8],
    outgoing: &'a mut Outgoing,
}

impl Read for ControlFrames<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.frame.read(buf)
    }
}

impl Write for ControlFrames<'_> {
    fn write(&mut self, frames: &[u8]) -> io::Result<usize> {
        self.outgoing.push_control(frames)?;
        Ok(frames.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
