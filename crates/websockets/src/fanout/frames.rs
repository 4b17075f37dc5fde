//! Messages, encoded as the frames that a server sends.

use std::collections::VecDeque;

use bytes::Bytes;
use tungstenite::Message;
use tungstenite::protocol::frame::Frame;
use tungstenite::protocol::frame::coding::{Data, OpCode};

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
        Encoded(Vec::from(self.bytes).into())
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
#[derive(Clone, Debug, Default)]
pub struct Encoded(pub(super) Bytes);

impl Encoded {
    /// Whether there is nothing to send.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The length in bytes, frame headers included.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// The frames as they go over the network.
    pub fn into_bytes(self) -> Bytes {
        self.0
    }
}
