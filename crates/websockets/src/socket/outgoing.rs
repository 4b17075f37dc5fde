//! The frames to the peer, until the stream has taken them.
//!
//! tungstenite copies each frame into its buffer, moves the rest there after each write, and never
//! gives the memory back. [`Outgoing`] copies small frames, which are then written together. A
//! large payload is written from where it is.

use std::io::{self, ErrorKind, IoSlice};
use std::mem::take;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::AsyncWrite;
use tungstenite::protocol::Role;
use tungstenite::protocol::frame::Frame;

use super::mask::apply_mask;
use super::stream::Stream;

/// A payload that is longer than this, in bytes, is not copied. When more than this is waiting, it
/// is written without waiting for a flush.
const SMALL: usize = 512;

/// The same limit for a stream that cannot write the header and the payload in one step. With TLS,
/// two steps are two records and two packets.
const SMALL_IN_TWO_STEPS: usize = 16 << 10;

/// Frames that are not written yet.
#[derive(Debug, Default)]
pub(super) struct Outgoing {
    /// Small frames, and the header of `large`. It is written first.
    small: Vec<u8>,
    /// The rest of a large payload, or of frames that were encoded before.
    large: Bytes,
    /// The stream accepted no more bytes.
    pub(super) is_waiting: bool,
    /// The stream accepted bytes again after it had to wait. So the peer has taken some, on Linux
    /// about 32 KiB.
    pub(super) has_progressed: bool,
}

impl Outgoing {
    /// Adds a data frame. A client masks it. `is_vectored` says whether the stream can write two
    /// buffers in one step.
    pub(super) fn push(&mut self, frame: Frame, role: Role, is_vectored: bool) -> io::Result<()> {
        self.make_room();
        let mut header = frame.header().clone();
        let payload = frame.into_payload();
        header.mask = (role == Role::Client).then(rand::random);
        header.format(payload.len() as u64, &mut self.small).map_err(io::Error::other)?;
        if payload.len() <= if is_vectored { SMALL } else { SMALL_IN_TWO_STEPS } {
            let start = self.small.len();
            self.small.extend_from_slice(&payload);
            if let (Some(mask), Some(copy)) = (header.mask, self.small.get_mut(start..)) {
                apply_mask(copy, mask);
            }
        } else if let Some(mask) = header.mask {
            // This copies a payload that has other owners.
            let mut payload = BytesMut::from(payload);
            apply_mask(&mut payload, mask);
            self.large = payload.freeze();
        } else {
            self.large = payload;
        }
        Ok(())
    }

    /// Adds frames that are encoded already.
    pub(super) fn push_encoded(&mut self, frames: Bytes) {
        self.make_room();
        self.large = frames;
    }

    /// Adds control frames of tungstenite. They go between two data frames, so while a large one is
    /// waiting, the error is `WouldBlock`.
    pub(super) fn push_control(&mut self, frames: &[u8]) -> io::Result<()> {
        if !self.large.is_empty() {
            return Err(ErrorKind::WouldBlock.into());
        }
        self.small.extend_from_slice(frames);
        Ok(())
    }

    /// Whether it is time to write, even without a flush.
    pub(super) fn is_full(&self) -> bool {
        !self.large.is_empty() || self.small.len() > SMALL
    }

    /// Writes everything.
    pub(super) fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut Stream,
    ) -> Poll<io::Result<()>> {
        let mut stream = Pin::new(stream);
        while !(self.small.is_empty() && self.large.is_empty()) {
            let written = if self.small.is_empty() {
                stream.as_mut().poll_write(cx, &self.large)
            } else if self.large.is_empty() {
                stream.as_mut().poll_write(cx, &self.small)
            } else {
                let both = [IoSlice::new(&self.small), IoSlice::new(&self.large)];
                stream.as_mut().poll_write_vectored(cx, &both)
            };
            self.has_progressed |= self.is_waiting && written.is_ready();
            self.is_waiting = written.is_pending();
            let written = ready!(written)?;
            if written == 0 {
                return Poll::Ready(Err(ErrorKind::WriteZero.into()));
            }
            self.advance(written);
        }
        Poll::Ready(Ok(()))
    }

    /// Removes the bytes that were written. An idle connection keeps no large buffer.
    fn advance(&mut self, written: usize) {
        let small = written.min(self.small.len());
        self.small.drain(..small);
        if self.small.is_empty() && self.small.capacity() > 2 * SMALL {
            self.small = Vec::new();
        }
        self.large.advance(written - small);
        if self.large.is_empty() {
            // Even empty `Bytes` may own a large buffer.
            self.large = Bytes::new();
        }
    }

    /// A caller that does not wait until the last frame is written pays with a copy.
    fn make_room(&mut self) {
        if !self.large.is_empty() {
            self.small.extend_from_slice(&take(&mut self.large));
        }
    }
}

#[cfg(test)]
mod tests;
