//! Messages as they go over the wire.

use std::collections::VecDeque;

use bytes::Bytes;
use tungstenite::Message;
use tungstenite::protocol::frame::Frame;
use tungstenite::protocol::frame::coding::{Data, OpCode};

/// Messages of any length and kind, encoded as a server's frames, end to end.
#[derive(Debug, Default)]
pub struct Frames(pub(super) VecDeque<u8>);

impl Frames {
    /// Encodes a message and appends it: a `String` or `&str` is a text, bytes are a binary one.
    pub fn push(&mut self, message: impl Into<Message>) {
        let frame = match message.into() {
            Message::Text(text) => Frame::message(text, OpCode::Data(Data::Text), true),
            Message::Binary(data) => Frame::message(data, OpCode::Data(Data::Binary), true),
            Message::Ping(data) => Frame::ping(data),
            Message::Pong(data) => Frame::pong(data),
            Message::Close(frame) => Frame::close(frame),
            Message::Frame(frame) => frame,
        };
        // A VecDeque takes whatever is written.
        _ = frame.format(&mut self.0);
    }

    /// The length of the frame at `offset`, its header included (RFC 6455, section 5.2; a server
    /// masks nothing). 0 at the end.
    pub(super) fn frame_at(&self, offset: usize) -> usize {
        let byte = |n: usize| self.0.get(offset + n).map_or(0, |byte| usize::from(*byte));
        let number = |bytes: std::ops::Range<usize>| bytes.fold(0, |sum, n| sum << 8 | byte(n));
        if offset >= self.0.len() {
            return 0;
        }
        match byte(1) {
            126 => 4 + number(2..4),
            127 => 10 + number(2..10),
            length => 2 + length,
        }
    }

    /// All of them.
    pub fn into_bytes(self) -> Bytes {
        Vec::from(self.0).into()
    }
}
