//! A compressed message as the fragments of a plain one, inflated piece by piece while it arrives.

use std::io;

use bytes::{Buf, Bytes};
use tungstenite::protocol::frame::FrameHeader;
use tungstenite::protocol::frame::coding::{Data, OpCode};

use crate::deflate::{Deflate, Inflater};

/// The largest fragment, in bytes.
const FRAGMENT: usize = 512;

/// How much is inflated at once, in bytes. It is a multiple of four, as the mask is.
const PIECE: usize = 256;

/// The compressed message that is arriving.
#[derive(Debug)]
pub(super) struct Inflating {
    inflater: Inflater,
    /// The header of the frame that is arriving, and then of the next fragment.
    header: FrameHeader,
    /// How many bytes of that frame follow.
    frame_left: u64,
    /// The fragment that tungstenite reads now.
    pub(super) plain: Bytes,
    /// A frame has begun, and not all of it was inflated.
    pub(super) is_in_frame: bool,
    /// The last fragment has not been written.
    pub(super) is_in_message: bool,
}

impl Inflating {
    pub(super) fn new(deflate: Deflate) -> Box<Self> {
        Box::new(Self {
            inflater: Inflater::new(deflate),
            header: FrameHeader::default(),
            frame_left: 0,
            plain: Bytes::new(),
            is_in_frame: false,
            is_in_message: false,
        })
    }

    /// Whether nothing is kept for the next message.
    pub(super) fn is_unused(&self) -> bool {
        !self.is_in_message && self.plain.is_empty() && !self.inflater.keeps_window()
    }

    /// Whether this frame belongs to a compressed message.
    pub(super) fn takes(&self, header: &FrameHeader, is_fragmented: bool) -> bool {
        let is_plain = !header.rsv2 && !header.rsv3;
        is_plain
            && match header.opcode {
                OpCode::Data(Data::Text | Data::Binary) => header.rsv1 && !is_fragmented,
                OpCode::Data(Data::Continue) => !header.rsv1 && self.is_in_message,
                _ => false,
            }
    }

    pub(super) fn begin_frame(&mut self, header: FrameHeader, length: u64) {
        (self.header, self.frame_left) = (header, length);
        (self.is_in_frame, self.is_in_message) = (true, true);
    }

    /// Inflates the next fragment, and writes its header to `out`. Returns `false` if more bytes
    /// have to arrive first. A frame ends with a fragment, even if that is empty, so tungstenite
    /// always knows that a message has begun.
    pub(super) fn begin_fragment(
        &mut self,
        unread: &mut Bytes,
        out: &mut &mut [u8],
    ) -> io::Result<bool> {
        let mut plain = vec![0; FRAGMENT];
        let mut written = 0;
        let mut is_last = false;
        while let Some(room) = plain.get_mut(written..).filter(|room| !room.is_empty()) {
            if self.frame_left == 0 {
                self.is_in_frame = false;
                if self.header.is_final {
                    let wrote;
                    (wrote, is_last) = self.inflater.finish(room)?;
                    written += wrote;
                    self.is_in_frame = !is_last;
                }
                break;
            }
            if unread.is_empty() {
                if written == 0 {
                    return Ok(false);
                }
                break;
            }
            let mask = self.header.mask.unwrap_or_default().into_iter().cycle();
            let length = unread.len().min(PIECE).min(self.frame_left.min(PIECE as u64) as usize);
            let unmasked: Vec<u8> =
                unread.iter().take(length).zip(mask).map(|(byte, mask)| byte ^ mask).collect();
            let (read, wrote) = self.inflater.inflate(&unmasked, room)?;
            written += wrote;
            drop(unread.split_to(read));
            self.frame_left -= read as u64;
            if let Some(mask) = &mut self.header.mask {
                mask.rotate_left(read % 4);
            }
        }
        plain.truncate(written);
        self.plain = plain.into();
        self.is_in_message = !is_last;
        // tungstenite demands a mask.
        let mask = self.header.mask.map(|_| [0; 4]);
        let header = FrameHeader {
            is_final: is_last,
            opcode: self.header.opcode,
            mask,
            ..FrameHeader::default()
        };
        self.header.opcode = OpCode::Data(Data::Continue);
        Ok(header.format(self.plain.remaining() as u64, out).is_ok())
    }
}
