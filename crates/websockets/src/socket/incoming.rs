//! The bytes from the peer, and the messages that they are.
//!
//! tungstenite reserves the length that a frame header announces before a byte of the frame has
//! arrived, and it never gives that memory back: fourteen bytes could claim a gibibyte, and one
//! message of 1 MiB would cost its connection 1 MiB forever. So [`Incoming`] collects messages
//! itself, in memory that grows as they arrive and leaves with them. tungstenite gets the control
//! frames, which have 125 bytes at most, and answers them.

use std::io::Cursor;
use std::mem::take;

use tungstenite::error::{CapacityError, ProtocolError};
use tungstenite::protocol::frame::FrameHeader;
use tungstenite::protocol::frame::coding::{Control, Data, OpCode};
use tungstenite::protocol::{CloseFrame, Role};
use tungstenite::{Error, Message};

use super::mask::apply_mask;
use super::partial::PartialMessage;
use crate::deflate::{Deflate, Inflater};

/// The longest payload of a control frame, in bytes (RFC 6455, section 5.5).
const MAX_CONTROL: usize = 125;

/// What the peer has sent.
#[derive(Debug)]
pub(super) enum Received<'a> {
    /// A text or binary message.
    Message(Message),
    /// A control frame as it arrived. If it is a close frame, its content is next to it, because
    /// tungstenite replaces a code that it does not know, such as 1014, by 1002.
    Control(&'a [u8], Option<CloseFrame>),
}

/// Makes messages of the bytes from the peer.
#[derive(Debug)]
pub(super) struct Incoming {
    role: Role,
    /// What the handshake has agreed on about compression.
    deflate: Option<Deflate>,
    max_size: usize,
    /// The message that has not arrived completely.
    message: Option<PartialMessage>,
    /// It inflates that message. Between messages it is kept only if the peer keeps its window.
    inflater: Option<Box<Inflater>>,
}

impl Incoming {
    pub(super) fn new(role: Role, max_size: usize, deflate: Option<Deflate>) -> Self {
        Self { role, deflate, max_size, message: None, inflater: None }
    }

    /// Takes the next message or control frame out of `input`, or as much of it as has arrived. The
    /// bytes left in `input` belong to the next call. `None` means that more bytes are needed.
    ///
    /// # Errors
    ///
    /// The peer broke the protocol, sent a text that is not UTF-8 or data that does not inflate, or
    /// announced a message that is larger than `max_size`. After an error, nothing more can be received.
    pub(super) fn next<'a>(
        &mut self,
        input: &mut &'a mut [u8],
    ) -> Result<Option<Received<'a>>, Error> {
        loop {
            if self.message.as_ref().is_none_or(|message| message.frame_left == 0) {
                let mut cursor = Cursor::new(&**input);
                let Some((header, length)) = FrameHeader::parse(&mut cursor)? else {
                    return Ok(None);
                };
                let start = cursor.position() as usize;
                let is_compressed = self.is_compressed(&header);
                // A close frame with a long reason is accepted even if `max_size` is smaller.
                let max_size = if is_compressed { self.max_compressed() } else { self.max_size };
                let length = check_size(length, max_size.max(MAX_CONTROL))?;
                if let OpCode::Control(control) = header.opcode {
                    return control_frame(input, control, &header, start, length);
                }
                self.begin_frame(&header, length, is_compressed)?;
                split_off(input, start);
            }
            let Some(message) = &mut self.message else { return Ok(None) };
            let piece = split_off(input, message.frame_left);
            message.unmask(piece);
            match &mut self.inflater {
                Some(inflater) if message.is_compressed => {
                    let max_size = self.max_size - message.text.len();
                    inflater.inflate_into(&mut message.bytes, piece, max_size)?;
                }
                _ => message.push(piece),
            }
            if message.frame_left == 0 && message.is_final {
                if message.is_compressed {
                    self.finish_inflating()?;
                }
                let message = self.message.take().map(PartialMessage::complete).transpose();
                return message.map(|message| message.map(Received::Message));
            }
            message.check_text()?;
            if message.frame_left > 0 {
                return Ok(None);
            }
        }
    }

    /// Whether the data of this frame is compressed. Only the first frame of a message is marked.
    fn is_compressed(&self, header: &FrameHeader) -> bool {
        match header.opcode {
            OpCode::Data(Data::Continue) => self.message.as_ref().is_some_and(|m| m.is_compressed),
            OpCode::Data(_) => header.rsv1 && self.deflate.is_some(),
            OpCode::Control(_) => false,
        }
    }

    /// How long a compressed message can be, in bytes. A compressor adds a few bytes to data that
    /// does not become shorter. Without this limit, a message of empty blocks would never end.
    fn max_compressed(&self) -> usize {
        self.max_size.saturating_add(self.max_size / 8).saturating_add(1024)
    }

    /// Checks the header of a data frame as tungstenite does.
    fn begin_frame(
        &mut self,
        header: &FrameHeader,
        length: usize,
        is_compressed: bool,
    ) -> Result<(), Error> {
        let FrameHeader { is_final, rsv1, rsv2, rsv3, opcode, mask } = *header;
        match (self.role, mask) {
            (Role::Server, None) => return Err(ProtocolError::UnmaskedFrameFromClient.into()),
            (Role::Client, Some(_)) => return Err(ProtocolError::MaskedFrameFromServer.into()),
            _ => {}
        }
        let is_marked = is_compressed && opcode != OpCode::Data(Data::Continue);
        if rsv1 != is_marked || rsv2 || rsv3 {
            return Err(ProtocolError::NonZeroReservedBits.into());
        }
        let before = match (self.message.take(), opcode) {
            (None, OpCode::Data(Data::Continue)) => {
                return Err(ProtocolError::UnexpectedContinueFrame.into());
            }
            (Some(message), OpCode::Data(Data::Continue)) => message,
            (Some(_), OpCode::Data(data)) => {
                return Err(ProtocolError::ExpectedFragment(data).into());
            }
            (_, opcode) => PartialMessage::new(opcode == OpCode::Data(Data::Text)),
        };
        if !is_compressed {
            check_size((before.size() as u64).saturating_add(length as u64), self.max_size)?;
        } else if let Some(deflate) = self.deflate {
            let max_size = self.max_compressed();
            let inflater = self.inflater.get_or_insert_with(|| Box::new(Inflater::new(deflate)));
            inflater.announced = inflater.announced.saturating_add(length as u64);
            check_size(inflater.announced, max_size)?;
        }
        let frame_left = length;
        self.message = Some(PartialMessage { is_compressed, frame_left, mask, is_final, ..before });
        Ok(())
    }

    /// Completes a compressed message.
    #[cold]
    fn finish_inflating(&mut self) -> Result<(), Error> {
        if let (Some(message), Some(inflater)) = (&mut self.message, &mut self.inflater) {
            let max_size = self.max_size - message.text.len();
            inflater.finish_into(&mut message.bytes, max_size)?;
            if !inflater.keeps_window() {
                self.inflater = None;
            }
        }
        Ok(())
    }
}

/// Takes a control frame out of `input` once all of it has arrived. tungstenite checks the rest.
fn control_frame<'a>(
    input: &mut &'a mut [u8],
    control: Control,
    header: &FrameHeader,
    start: usize,
    length: usize,
) -> Result<Option<Received<'a>>, Error> {
    if length > MAX_CONTROL {
        return Err(ProtocolError::ControlFrameTooBig.into());
    }
    if input.len() < start + length {
        return Ok(None);
    }
    let frame = &*split_off(input, start + length);
    let mut close = None;
    if control == Control::Close
        && let Some((_, payload)) = frame.split_at_checked(start)
    {
        let mut payload = payload.to_vec();
        apply_mask(&mut payload, header.mask.unwrap_or_default());
        close = payload.split_first_chunk().map(|(code, reason)| CloseFrame {
            code: u16::from_be_bytes(*code).into(),
            reason: String::from_utf8_lossy(reason).into_owned().into(),
        });
    }
    Ok(Some(Received::Control(frame, close)))
}

/// Takes the first bytes out of `input`, at most `length`.
fn split_off<'a>(input: &mut &'a mut [u8], length: usize) -> &'a mut [u8] {
    let length = length.min(input.len());
    let (first, rest) = take(input).split_at_mut(length);
    *input = rest;
    first
}

/// Rejects a length that is too large, before it is read in.
fn check_size(size: u64, max_size: usize) -> Result<usize, Error> {
    match usize::try_from(size) {
        Ok(size) if size <= max_size => Ok(size),
        size => {
            let size = size.unwrap_or(usize::MAX);
            Err(CapacityError::MessageTooLong { size, max_size }.into())
        }
    }
}

#[cfg(test)]
mod tests;
