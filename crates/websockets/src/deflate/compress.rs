//! Compresses messages. Each is compressed on its own, so a connection keeps nothing between two
//! messages, and the threads share a few compressors.

use std::cell::RefCell;

use bytes::Bytes;
use flate2::{Compress, Compression, FlushCompress};
use tungstenite::Message;
use tungstenite::protocol::frame::coding::{Data, OpCode};
use tungstenite::protocol::frame::{Frame, FrameHeader};

use super::negotiation::{Deflate, LARGEST_WINDOW, SMALLEST_WINDOW};

/// The shortest message that is compressed, in bytes. Shorter ones hardly become smaller without
/// the window of the messages before.
const SHORTEST: usize = 128;

/// The end of a flushed block, which is not sent (RFC 7692, section 7.2.1).
pub(super) const TAIL: [u8; 4] = [0, 0, 0xff, 0xff];

thread_local! {
    /// A compressor for each size of the window. A new one costs more time than a message, and
    /// 300 KiB.
    static COMPRESSORS: RefCell<[Option<Compress>; 7]> = const { RefCell::new([const { None }; 7]) };
}

/// The compressed payload of a message, if it is shorter than `payload`.
pub(crate) fn compress(window_bits: u8, payload: &[u8]) -> Option<Bytes> {
    if payload.len() < SHORTEST {
        return None;
    }
    COMPRESSORS.with_borrow_mut(|compressors| {
        let index = window_bits.checked_sub(SMALLEST_WINDOW)?;
        let new = || Compress::new_with_window_bits(Compression::default(), false, window_bits);
        let slot = compressors.get_mut(usize::from(index))?;
        // Room for what becomes longer, too. After a reset, zlib-rs 0.6 does not forget where its
        // unwritten output began, and panics later, so a compressor with such output is dropped.
        let mut compressed = Vec::with_capacity(payload.len() + payload.len() / 256 + 64);
        let mut compressor = slot.take().unwrap_or_else(new);
        compressor.reset();
        compressor.compress_vec(payload, &mut compressed, FlushCompress::Sync).ok()?;
        if compressed.len() == compressed.capacity() {
            return None;
        }
        *slot = Some(compressor);
        compressed.truncate(compressed.strip_suffix(&TAIL)?.len());
        // A copy, because a short message must not keep the memory of a long one.
        (compressed.len() < payload.len()).then(|| Bytes::copy_from_slice(&compressed))
    })
}

impl Deflate {
    /// Whether the peer accepts messages that were compressed for many connections.
    pub(crate) fn takes_shared(self) -> bool {
        self.window_bits == LARGEST_WINDOW
    }

    /// The message as a compressed frame, if that is shorter.
    pub(crate) fn compress(self, message: Message) -> Message {
        let (opcode, payload) = match &message {
            Message::Text(text) => (Data::Text, text.as_bytes()),
            Message::Binary(payload) => (Data::Binary, &payload[..]),
            _ => return message,
        };
        let Some(compressed) = compress(self.window_bits, payload) else { return message };
        let opcode = OpCode::Data(opcode);
        let header = FrameHeader { rsv1: true, opcode, ..FrameHeader::default() };
        Message::Frame(Frame::from_payload(header, compressed))
    }
}

#[cfg(test)]
mod tests {
    use testing::property::check;

    use super::*;

    #[test]
    fn only_what_becomes_shorter_is_compressed() {
        assert_eq!(compress(15, &[b'a'; SHORTEST - 1]), None);
        assert!(compress(15, &[b'a'; SHORTEST]).unwrap().len() < 20);
        // With a window of 8 bits there is no compressor.
        assert_eq!(compress(8, &[b'a'; SHORTEST]), None);
        check(300, |input| {
            let length = input.int_in_range(0..=input.len())?;
            let payload = input.bytes(length)?;
            assert!(compress(15, payload).is_none_or(|it| it.len() < payload.len()));
            Ok(())
        });
    }

    #[test]
    fn messages_keep_their_kind() {
        let deflate = Deflate { window_bits: 15, peer_keeps_window: false };
        let text = "a".repeat(1000);
        for (message, opcode) in
            [(Message::text(text.clone()), Data::Text), (Message::binary(text), Data::Binary)]
        {
            let Message::Frame(frame) = deflate.compress(message) else { panic!("not compressed") };
            let header = frame.header();
            assert!(header.rsv1 && header.is_final);
            assert_eq!(header.opcode, OpCode::Data(opcode));
        }
        let ping = Message::Ping(vec![0; 125].into());
        assert_eq!(deflate.compress(ping.clone()), ping);
    }
}
