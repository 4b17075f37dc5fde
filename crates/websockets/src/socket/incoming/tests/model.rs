//! What RFC 6455 makes of the bytes of a peer, written without our code and without tungstenite's.

use tungstenite::Message;
use tungstenite::protocol::{CloseFrame, Role};

/// How a connection ends.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum End {
    /// The peer sent a close frame.
    Closed,
    /// We send this close code.
    Failed(u16),
    /// The peer disconnected.
    Lost,
}

pub(super) type Outcome = (Vec<Message>, End);

/// What RFC 6455 makes of these bytes. The last value is the code that we may send before all of
/// the last frame has arrived.
pub(super) fn expected(bytes: &[u8], role: Role, max_size: usize) -> (Outcome, Option<u16>) {
    let mut rest = bytes;
    let mut messages = Vec::new();
    let mut unfinished: Option<(bool, Vec<u8>)> = None;
    loop {
        let Some((first, masked, mask, length, start)) = header(rest) else {
            return ((messages, End::Lost), None);
        };
        let opcode = first & 0x0f;
        if matches!(opcode, 3..=7 | 11..) {
            return ((messages, End::Failed(1002)), None);
        }
        if length > max_size.max(125) as u64 {
            return ((messages, End::Failed(1009)), None);
        }
        let end = start + length as usize;
        let mut payload = rest[start..end.min(rest.len())].to_vec();
        let is_whole = end <= rest.len();
        rest = &rest[end.min(rest.len())..];
        for (byte, mask) in payload.iter_mut().zip(mask.iter().cycle()) {
            *byte ^= mask;
        }
        let failure = failure(
            first,
            masked == (role == Role::Server),
            &payload,
            length as usize,
            &unfinished,
            max_size,
            is_whole,
        );
        if !is_whole {
            return ((messages, End::Lost), failure);
        }
        if let Some(code) = failure {
            return ((messages, End::Failed(code)), None);
        }
        match opcode {
            8 => {
                messages.push(Message::Close(close(&payload)));
                return ((messages, End::Closed), None);
            }
            9 => messages.push(Message::Ping(payload.into())),
            10 => messages.push(Message::Pong(payload.into())),
            _ => {
                let (is_text, mut message) = unfinished.take().unwrap_or((opcode == 1, Vec::new()));
                message.extend(payload);
                match first & 0x80 {
                    0 => unfinished = Some((is_text, message)),
                    _ if is_text => {
                        messages.push(Message::text(String::from_utf8(message).unwrap()));
                    }
                    _ => messages.push(Message::binary(message)),
                }
            }
        }
    }
}

/// First byte, whether it is masked, mask, length of the payload, length of the header (section
/// 5.2).
fn header(bytes: &[u8]) -> Option<(u8, bool, [u8; 4], u64, usize)> {
    let (first, second) = (*bytes.first()?, *bytes.get(1)?);
    let (length, at) = match second & 0x7f {
        126 => (u16::from_be_bytes(bytes.get(2..4)?.try_into().unwrap()).into(), 4),
        127 => (u64::from_be_bytes(bytes.get(2..10)?.try_into().unwrap()), 10),
        length => (length.into(), 2),
    };
    match second & 0x80 {
        0 => Some((first, false, [0; 4], length, at)),
        _ => Some((first, true, bytes.get(at..at + 4)?.try_into().unwrap(), length, at + 4)),
    }
}

/// The close code that this frame deserves. `length` is that of the whole payload.
fn failure(
    first: u8,
    is_masked_right: bool,
    payload: &[u8],
    length: usize,
    unfinished: &Option<(bool, Vec<u8>)>,
    max_size: usize,
    is_whole: bool,
) -> Option<u16> {
    let (is_last, opcode) = (first & 0x80 != 0, first & 0x0f);
    if !is_masked_right || first & 0x70 != 0 {
        return Some(1002);
    }
    if opcode >= 8 {
        let is_bad = !is_last || length > 125 || opcode == 8 && payload.len() == 1;
        let reason = payload.get(2..).filter(|_| opcode == 8).unwrap_or_default();
        return match is_bad {
            true => Some(1002),
            false => str::from_utf8(reason).is_err().then_some(1007),
        };
    }
    if (opcode == 0) != unfinished.is_some() {
        return Some(1002);
    }
    let (is_text, before) =
        unfinished.as_ref().map_or((opcode == 1, &[][..]), |(is, before)| (*is, before));
    if before.len() + length > max_size {
        return Some(1009);
    }
    let message = [before, payload].concat();
    let invalid = str::from_utf8(&message).err().filter(|_| is_text)?;
    // A character may be cut by the end of a fragment, but not by the end of the message.
    (invalid.error_len().is_some() || is_last && is_whole).then_some(1007)
}

/// The close frame as the peer sent it, even if its code must not be sent.
fn close(payload: &[u8]) -> Option<CloseFrame> {
    let code = u16::from_be_bytes(*payload.first_chunk()?);
    let reason = str::from_utf8(&payload[2..]).unwrap();
    Some(CloseFrame { code: code.into(), reason: reason.into() })
}
