//! The stream below tungstenite: what comes in goes through [`Incoming`], and what goes out waits
//! for frames that are encoded already.

use std::io::{self, ErrorKind, Read, Write};
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::incoming::Incoming;

/// How much is read at once, in bytes. It is on the stack, and copied from there.
const CHUNK: usize = 4096;

/// How often is read after our close frame: a chunk each time, 16 MiB at most.
pub(super) const FAREWELL: u16 = 4096;

#[derive(Debug)]
pub(super) struct Wire<S> {
    pub(super) stream: S,
    pub(super) incoming: Incoming,
    /// What is left to write of frames that are encoded already. It goes before anything of
    /// tungstenite's: not into the middle of a frame.
    pub(super) encoded: Bytes,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Wire<S> {
    pub(super) fn new(stream: S, unread: &[u8]) -> Self {
        let mut incoming = Incoming::default();
        incoming.push(unread);
        Self { stream, incoming, encoded: Bytes::new() }
    }

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
            if chunk.filled().is_empty() || !self.incoming.push(chunk.filled()) {
                return Poll::Ready(Ok(0));
            }
        }
    }

    pub(super) fn poll_write_encoded(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
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
pub(super) struct Now<'a, 'cx, S> {
    pub(super) wire: &'a mut Wire<S>,
    pub(super) max_size: usize,
    pub(super) cx: &'a mut Context<'cx>,
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
