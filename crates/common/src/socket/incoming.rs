//! What a peer sends, in pieces that are small whatever it claims.
//!
//! tungstenite reserves what the head of a frame announces before a byte of it has come, and
//! never gives it back: fourteen bytes could claim a gibibyte, and one message of 1 MiB would cost
//! its connection 1 MiB for ever. So it is shown a large frame as the fragments that the peer
//! could have sent as well (RFC 6455, section 5.4). It collects them in memory that grows as they
//! come and leaves with the message, and refuses bad UTF-8 as soon as it is there.

use std::io::{Cursor, Write};
use std::num::NonZeroU16;

use bytes::Bytes;
use tungstenite::protocol::frame::FrameHeader;
use tungstenite::protocol::frame::coding::{Data, OpCode};

/// The largest piece, in bytes: about what an idle connection may hold on to. A multiple of four,
/// so that a mask fits each piece as it fitted the whole.
const PIECE: u64 = 512;

/// The longest head of a frame (RFC 6455, section 5.2).
const HEAD: usize = 14;

/// The frames on their way from the stream to tungstenite.
#[derive(Debug, Default)]
pub(super) struct Incoming {
    /// What was read from the stream and not shown yet.
    unread: Bytes,
    /// How much is still to come of the piece whose head was shown.
    piece: u64,
    /// How much of its frame comes after that piece.
    rest: u64,
    /// The head of that frame.
    header: FrameHeader,
    /// The last frame of a message has not begun yet.
    fragmented: bool,
    /// How often more may come, where there is a bound. Two bytes, because there is room for two.
    pub(super) left: Option<NonZeroU16>,
}

impl Incoming {
    /// Takes what was read from the stream. `false` when that was once too often.
    pub(super) fn push(&mut self, read: &[u8]) -> bool {
        self.unread = match self.unread.is_empty() {
            true => Bytes::copy_from_slice(read),
            false => [&self.unread, read].concat().into(),
        };
        let Some(left) = self.left else { return true };
        self.left = NonZeroU16::new(left.get() - 1);
        self.left.is_some()
    }

    /// Shows the next part of a piece, and returns its length; 0 when more has to be pushed first.
    /// It never goes beyond the end of a piece, so that between two of them tungstenite holds
    /// nothing. A frame that is larger than `max_size` stays whole: it is refused at its head.
    pub(super) fn show(&mut self, buf: &mut [u8], max_size: usize) -> usize {
        let room = buf.len();
        let mut out = buf;
        // tungstenite makes room for a head whenever it waits for one.
        if self.piece == 0 && (out.len() < HEAD || !self.next_piece(&mut out, max_size)) {
            return 0;
        }
        let length = self.piece.min(out.len() as u64) as usize;
        let payload = self.unread.split_to(length.min(self.unread.len()));
        self.piece -= payload.len() as u64;
        // There is room for it.
        _ = out.write_all(&payload);
        room - out.len()
    }

    fn next_piece(&mut self, out: &mut &mut [u8], max_size: usize) -> bool {
        if self.rest > 0 {
            let mask = self.header.mask;
            let is_final = self.header.is_final;
            let opcode = OpCode::Data(Data::Continue);
            self.header = FrameHeader { is_final, opcode, mask, ..FrameHeader::default() };
        } else {
            let mut cursor = Cursor::new(&self.unread);
            match FrameHeader::parse(&mut cursor) {
                Ok(Some((header, length))) => (self.header, self.rest) = (header, length),
                Ok(None) => return false,
                // It is tungstenite's to refuse.
                Err(_) => {
                    self.piece = self.unread.len().min(HEAD) as u64;
                    return true;
                }
            }
            // Not `advance`: what is empty should own no memory.
            let head = cursor.position() as usize;
            drop(self.unread.split_to(head));
            if matches!(self.header.opcode, OpCode::Data(_)) {
                self.fragmented = !self.header.is_final;
            }
        }
        self.piece = if self.rest > max_size as u64 { self.rest } else { self.rest.min(PIECE) };
        self.rest -= self.piece;
        let is_final = self.header.is_final && self.rest == 0;
        FrameHeader { is_final, ..self.header.clone() }.format(self.piece, out).is_ok()
    }

    /// Whether tungstenite has seen whole messages only.
    pub(super) fn is_between_messages(&self) -> bool {
        self.piece == 0 && self.rest == 0 && !self.fragmented
    }
}
