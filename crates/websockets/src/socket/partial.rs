//! The part of a message that has arrived.

use bytes::Bytes;
use tungstenite::{Error, Message};

use super::mask::apply_mask;

/// The part of a message that has arrived, and the frame that comes next or is arriving.
#[derive(Debug)]
pub(super) struct PartialMessage {
    pub(super) is_text: bool,
    /// Its data is inflated before it is added here.
    pub(super) is_compressed: bool,
    /// The beginning of a text that did not arrive at once. It is checked only once.
    pub(super) text: String,
    /// The bytes after `text`.
    pub(super) bytes: Vec<u8>,
    /// How many bytes of the current frame have not arrived.
    pub(super) frame_left: usize,
    /// The mask of the next byte and of the three after it. A server sends none.
    pub(super) mask: Option<[u8; 4]>,
    /// The current frame is the last one of the message.
    pub(super) is_final: bool,
}

impl PartialMessage {
    pub(super) fn new(is_text: bool) -> Self {
        Self {
            is_text,
            is_compressed: false,
            text: String::new(),
            bytes: Vec::new(),
            frame_left: 0,
            mask: None,
            is_final: false,
        }
    }

    pub(super) fn size(&self) -> usize {
        self.text.len() + self.bytes.len()
    }

    /// Unmasks the next bytes of the current frame.
    pub(super) fn unmask(&mut self, piece: &mut [u8]) {
        self.frame_left -= piece.len();
        if let Some(mask) = &mut self.mask {
            apply_mask(piece, *mask);
            mask.rotate_left(piece.len() % 4);
        }
    }

    /// Adds data that arrived.
    pub(super) fn push(&mut self, piece: &[u8]) {
        if self.bytes.capacity() - self.bytes.len() < piece.len() {
            self.bytes.reserve_exact(match self.is_text {
                true => piece.len(),
                false => self.room(self.bytes.len(), piece.len()),
            });
        }
        self.bytes.extend_from_slice(piece);
    }

    /// How much room `more` bytes need. If further ones follow, it is for as many again, so that a
    /// large message is rarely moved, and a peer takes memory only for what it has sent.
    fn room(&self, length: usize, more: usize) -> usize {
        match self.is_final {
            true => more.saturating_add(self.frame_left.min(length + more)),
            false => more + length + more,
        }
    }

    /// Rejects text that cannot become UTF-8. The last character may be incomplete, so it stays in
    /// `bytes`.
    pub(super) fn check_text(&mut self) -> Result<(), Error> {
        if self.is_text {
            let (whole, incomplete) =
                self.bytes.split_at(self.bytes.len() - incomplete(&self.bytes));
            if self.text.capacity() - self.text.len() < whole.len() {
                self.text.reserve_exact(self.room(self.text.len(), whole.len()));
            }
            self.text.push_str(str::from_utf8(whole)?);
            match str::from_utf8(incomplete) {
                Err(fault) if fault.error_len().is_some() => return Err(fault.into()),
                _ => {}
            }
            let length = whole.len();
            self.bytes.drain(..length);
        }
        Ok(())
    }

    pub(super) fn complete(mut self) -> Result<Message, Error> {
        Ok(match self.is_text {
            true if self.text.is_empty() => Message::Text(Bytes::from(self.bytes).try_into()?),
            true => {
                self.text.push_str(str::from_utf8(&self.bytes)?);
                Message::text(self.text)
            }
            false => Message::binary(self.bytes),
        })
    }
}

/// How many of the last bytes are a character without its end, or invalid. A character has four
/// bytes at most.
fn incomplete(bytes: &[u8]) -> usize {
    let last = bytes.last_chunk::<4>().map_or(bytes, |last| last);
    last.utf8_chunks().last().map_or(0, |chunk| chunk.invalid().len())
}
