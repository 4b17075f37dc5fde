//! Messages, encoded as the frames that a server sends.

use std::collections::VecDeque;
use std::io::{Cursor, Write};
use std::ops::Range;

use bytes::Bytes;
use tungstenite::Message;
use tungstenite::protocol::frame::coding::{Data, OpCode};
use tungstenite::protocol::frame::{Frame, FrameHeader};

use crate::deflate::{Deflate, compress};

/// Collects messages and encodes each as a frame.
#[derive(Debug, Default)]
pub struct Frames {
    pub(super) bytes: VecDeque<u8>,
    /// Where each frame ends in `bytes`, counted from the first byte ever pushed, so that removing
    /// frames at the front changes no other end.
    pub(super) ends: VecDeque<u64>,
    /// How many bytes were removed at the front.
    pub(super) removed: u64,
    /// How many subscribers will receive the messages.
    pub(super) subscribers: usize,
}

impl Frames {
    /// Encodes a message and appends it: a `String` or `&str` as text, bytes as a binary message.
    pub fn push(&mut self, message: impl Into<Message>) {
        let frame = match message.into() {
            Message::Text(text) => Frame::message(text, OpCode::Data(Data::Text), true),
            Message::Binary(data) => Frame::message(data, OpCode::Data(Data::Binary), true),
            Message::Ping(data) => Frame::ping(data),
            Message::Pong(data) => Frame::pong(data),
            Message::Close(frame) => Frame::close(frame),
            Message::Frame(frame) => frame,
        };
        // Writing to a VecDeque cannot fail.
        _ = frame.format(&mut self.bytes);
        self.ends.push_back(self.removed + self.bytes.len() as u64);
    }

    /// In [`Fanout::change`](super::Fanout::change) and in
    /// [`State::before_round`](super::State::before_round), the number of subscribers that will
    /// receive the pushed messages. If it is 0, a service may store them for later.
    pub fn subscribers(&self) -> usize {
        self.subscribers
    }

    /// Ends the collection.
    pub fn into_encoded(self) -> Encoded {
        Encoded { plain: Vec::from(self.bytes).into(), compressed: None }
    }

    /// The same messages, each compressed if that makes it shorter. `plain` are whole frames.
    pub(super) fn compressed(plain: &[u8], window_bits: u8) -> Self {
        let mut frames = Self::default();
        let mut rest = Cursor::new(plain);
        while let Ok(Some((header, length))) = FrameHeader::parse(&mut rest) {
            let start = rest.position() as usize;
            let end = start + length as usize;
            let Some(payload) = plain.get(start..end) else { break };
            rest.set_position(end as u64);
            let is_message =
                header.is_final && matches!(header.opcode, OpCode::Data(Data::Text | Data::Binary));
            let compressed = is_message.then(|| compress(window_bits, payload)).flatten();
            let header = FrameHeader { rsv1: compressed.is_some(), ..header };
            let payload = compressed.as_deref().unwrap_or(payload);
            // Writing to a VecDeque cannot fail.
            _ = header.format(payload.len() as u64, &mut frames.bytes);
            _ = frames.bytes.write_all(payload);
            frames.ends.push_back(frames.bytes.len() as u64);
        }
        frames
    }

    /// Where the message at `index` begins in `bytes`.
    pub(super) fn begin(&self, index: usize) -> u64 {
        let before = index.checked_sub(1).and_then(|before| self.ends.get(before));
        before.map_or(0, |end| end - self.removed)
    }

    /// The bytes of these messages.
    pub(super) fn copy(&self, messages: Range<usize>) -> Bytes {
        let range = self.begin(messages.start) as usize..self.begin(messages.end) as usize;
        self.bytes.range(range).copied().collect::<Vec<u8>>().into()
    }

    /// Removes the oldest message. Returns `false` if there is none.
    pub(super) fn pop_front(&mut self) -> bool {
        let Some(end) = self.ends.pop_front() else { return false };
        self.bytes.drain(..(end - self.removed) as usize);
        self.removed = end;
        true
    }

    /// Gives back the memory that one long message took.
    pub(super) fn shrink(&mut self, capacity: usize) {
        if self.bytes.capacity() > 4 * capacity && self.bytes.len() <= capacity {
            self.bytes.shrink_to(2 * capacity);
        }
    }

    /// Appends the messages of `other`.
    pub(super) fn append(&mut self, mut other: Self) {
        let before = self.removed + self.bytes.len() as u64;
        self.ends.extend(other.ends.iter().map(|end| before + end - other.removed));
        self.bytes.append(&mut other.bytes);
    }

    /// Removes the messages after the first `length`, for a change that failed half way.
    pub(super) fn truncate(&mut self, length: usize) {
        self.ends.truncate(length);
        let end = self.ends.back().copied().unwrap_or(self.removed);
        self.bytes.truncate((end - self.removed) as usize);
    }
}

/// Whole frames, ready for [`Socket::send_encoded`](crate::Socket::send_encoded).
///
/// Only [`Frames`] makes them, so that no program can send text as if it were frames. Cloning is
/// cheap: all clones share one buffer.
///
/// They may hold a compressed form, too. The socket sends that one only if it has agreed on
/// compression, and no program can take it out.
#[derive(Clone, Debug, Default)]
pub struct Encoded {
    pub(super) plain: Bytes,
    /// The same frames compressed, if the fan-out has done that.
    pub(super) compressed: Option<Bytes>,
}

impl Encoded {
    /// Whether there is nothing to send.
    pub fn is_empty(&self) -> bool {
        self.plain.is_empty()
    }

    /// The length in bytes without compression, frame headers included.
    pub fn len(&self) -> usize {
        self.plain.len()
    }

    /// The frames as they go over a network connection without compression.
    pub fn into_bytes(self) -> Bytes {
        self.plain
    }

    /// The frames for a connection that has agreed on compression. They are compressed now, unless
    /// the fan-out has done it for all clients. A client with a smaller window receives them
    /// uncompressed, or a few such clients would make the server compress for each of them.
    pub(crate) fn into_compressed(self, deflate: Deflate) -> Bytes {
        if !deflate.takes_shared() {
            return self.plain;
        }
        if let Some(compressed) = self.compressed {
            return compressed;
        }
        Vec::from(Frames::compressed(&self.plain, deflate.window_bits).bytes).into()
    }
}
