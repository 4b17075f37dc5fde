//! The bytes from the peer, on their way to tungstenite, in chunks that are small whatever length
//! the peer announces.
//!
//! tungstenite reserves the length that a frame header announces before a byte of the frame has
//! arrived, and it never gives that memory back: fourteen bytes could claim a gibibyte, and one
//! message of 1 MiB would cost its connection 1 MiB forever. So tungstenite sees a large frame as
//! the fragments that the peer could have sent instead (RFC 6455, section 5.4). It collects them
//! in memory that grows as they arrive and leaves with the message, and it rejects invalid UTF-8
//! as soon as it arrives. A small frame passes through unchanged.

use std::io::{self, Cursor, Write};
use std::num::NonZeroU16;

use bytes::Bytes;
use tungstenite::protocol::CloseFrame;
use tungstenite::protocol::frame::FrameHeader;
use tungstenite::protocol::frame::coding::{Control, Data, OpCode};

use super::inflating::Inflating;
use crate::deflate::Deflate;

/// The largest fragment, in bytes: about as much memory as an idle connection may keep. It is a
/// multiple of four, so that the mask of the whole frame fits each of its fragments.
const FRAGMENT: u64 = 512;

/// The longest payload of a control frame, in bytes (RFC 6455, section 5.5).
pub(super) const MAX_CONTROL: usize = 125;

/// The longest frame header, in bytes (RFC 6455, section 5.2).
const MAX_HEADER: usize = 14;

/// Bytes that were read from the stream, and how they are cut.
#[derive(Debug, Default)]
pub(super) struct Incoming {
    /// Bytes that tungstenite has not seen yet. At the end it is the payload of the close frame.
    unread: Bytes,
    /// How many of the next bytes pass through unchanged.
    chunk_left: u64,
    /// How much of the current frame follows that chunk.
    frame_left: u64,
    /// The header of the current frame. It is kept only while the frame is cut.
    header: FrameHeader,
    /// The last frame of a message has not begun yet.
    is_fragmented: bool,
    /// What the handshake has agreed on about compression.
    deflate: Option<Deflate>,
    /// The compressed message that is arriving.
    inflating: Option<Box<Inflating>>,
    /// How many more reads are allowed, if there is a bound. It has two bytes because that is the
    /// space that would otherwise be padding.
    pub(super) reads_left: Option<NonZeroU16>,
}

impl Incoming {
    pub(super) fn new(deflate: Option<Deflate>) -> Self {
        Self { deflate, ..Self::default() }
    }

    /// Adds bytes that were read from the stream. Returns `false` when no further read is allowed.
    pub(super) fn feed(&mut self, read: &[u8]) -> bool {
        self.unread = match self.unread.is_empty() {
            true => Bytes::copy_from_slice(read),
            false => [&self.unread, read].concat().into(),
        };
        let Some(left) = self.reads_left else { return true };
        self.reads_left = NonZeroU16::new(left.get() - 1);
        self.reads_left.is_some()
    }

    /// Writes the next bytes for tungstenite into `buf` and returns their number; 0 means that
    /// more bytes have to be fed first.
    ///
    /// It never goes beyond the end of a fragment, so that tungstenite holds no bytes between two
    /// of them. A frame that is larger than `max_size` stays whole, because tungstenite rejects it
    /// at its header.
    ///
    /// # Errors
    ///
    /// A compressed message does not inflate.
    pub(super) fn read_into(&mut self, buf: &mut [u8], max_size: usize) -> io::Result<usize> {
        let room = buf.len();
        let mut out = buf;
        // Whenever tungstenite waits for a header, it has room for one.
        if self.chunk_left == 0
            && (out.len() < MAX_HEADER || !self.begin_chunk(&mut out, max_size as u64)?)
        {
            return Ok(0);
        }
        let length = self.chunk_left.min(out.len() as u64) as usize;
        let source = match &mut self.inflating {
            Some(inflating) if !inflating.plain.is_empty() => &mut inflating.plain,
            _ => &mut self.unread,
        };
        let chunk = source.split_to(length.min(source.len()));
        self.chunk_left -= chunk.len() as u64;
        if self.inflating.as_ref().is_some_and(|inflating| inflating.is_unused()) {
            self.inflating = None;
        }
        // Writing to a slice that is long enough cannot fail.
        _ = out.write_all(&chunk);
        Ok(room - out.len())
    }

    /// Whether tungstenite has seen nothing but whole messages.
    pub(super) fn is_between_messages(&self) -> bool {
        let is_inflating = self.inflating.as_ref().is_some_and(|i| i.is_in_message);
        self.chunk_left == 0 && self.frame_left == 0 && !self.is_fragmented && !is_inflating
    }

    /// The peer's close frame as it was sent. Call this when tungstenite has returned it, and feed
    /// nothing after that.
    pub(super) fn close_frame(&self) -> Option<CloseFrame> {
        let (code, reason) = self.unread.split_first_chunk()?;
        let reason = String::from_utf8_lossy(reason).into_owned();
        Some(CloseFrame { code: u16::from_be_bytes(*code).into(), reason: reason.into() })
    }

    /// Decides how many bytes pass through next. Returns `false` when the header of the next frame
    /// is incomplete.
    fn begin_chunk(&mut self, out: &mut &mut [u8], max_size: u64) -> io::Result<bool> {
        if self.inflating.as_ref().is_some_and(|inflating| inflating.is_in_frame) {
            return self.begin_inflated(out);
        }
        if self.frame_left > 0 {
            let FrameHeader { is_final, mask, .. } = self.header;
            let opcode = OpCode::Data(Data::Continue);
            self.header = FrameHeader { is_final, mask, opcode, ..FrameHeader::default() };
            return Ok(self.begin_fragment(out));
        }
        let mut cursor = Cursor::new(&self.unread);
        let (header, length) = match FrameHeader::parse(&mut cursor) {
            Ok(Some(parsed)) => parsed,
            Ok(None) => return Ok(false),
            Err(_) => {
                // tungstenite finds the same fault and reports it.
                self.chunk_left = self.unread.len().min(MAX_HEADER) as u64;
                return Ok(true);
            }
        };
        if let Some(deflate) = self.deflate
            && (header.rsv1 || self.inflating.is_some())
        {
            let inflating = self.inflating.get_or_insert_with(|| Inflating::new(deflate));
            if inflating.takes(&header, self.is_fragmented) {
                self.is_fragmented = !header.is_final;
                drop(self.unread.split_to(cursor.position() as usize));
                inflating.begin_frame(header, length);
                return self.begin_inflated(out);
            }
        }
        if matches!(header.opcode, OpCode::Data(_)) {
            self.is_fragmented = !header.is_final;
        }
        let start = cursor.position();
        if header.opcode == OpCode::Control(Control::Close) && length <= MAX_CONTROL as u64 {
            let (start, end) = (start as usize, (start + length) as usize);
            let Some(payload) = self.unread.get(start..end) else { return Ok(false) };
            // tungstenite replaces a code that it does not know, such as 1014, by 1002. So the
            // payload stays here when tungstenite has taken the frame.
            let mask = header.mask.unwrap_or_default();
            let payload = payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask);
            self.unread = self.unread.iter().copied().take(end).chain(payload).collect();
        }
        if length <= FRAGMENT || length > max_size {
            // The peer may announce the largest number there is.
            self.chunk_left = start.saturating_add(length);
            return Ok(true);
        }
        // Not `advance`: an empty `Bytes` from `split_to` owns no memory.
        drop(self.unread.split_to(start as usize));
        (self.header, self.frame_left) = (header, length);
        Ok(self.begin_fragment(out))
    }

    #[cold]
    fn begin_inflated(&mut self, out: &mut &mut [u8]) -> io::Result<bool> {
        let Some(inflating) = &mut self.inflating else { return Ok(false) };
        let has_begun = inflating.begin_fragment(&mut self.unread, out)?;
        if has_begun {
            self.chunk_left = inflating.plain.len() as u64;
        }
        Ok(has_begun)
    }

    fn begin_fragment(&mut self, out: &mut &mut [u8]) -> bool {
        self.chunk_left = self.frame_left.min(FRAGMENT);
        self.frame_left -= self.chunk_left;
        let is_final = self.header.is_final && self.frame_left == 0;
        FrameHeader { is_final, ..self.header.clone() }.format(self.chunk_left, out).is_ok()
    }
}

#[cfg(test)]
mod tests;
