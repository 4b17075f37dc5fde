//! WebSocket frames and counter events, read and written by hand.
//!
//! At 64 clicks in flight one read returns dozens of frames of 30 bytes. A library that allocates a
//! message for each frame needs more time than the server, so we would measure the client. This
//! module reads in place and allocates nothing. Only rare events go to serde_json.

use serde::Deserialize;

/// The largest frame that a client accepts. The events of a counter are far smaller.
const MAX_FRAME: usize = 64 << 10;

/// A frame from the server.
#[derive(Debug, PartialEq)]
pub enum Frame<'a> {
    /// A complete text message.
    Text(&'a [u8]),
    /// A ping with its payload, which the client answers with a pong.
    Ping(&'a [u8]),
    /// A pong, which the client ignores.
    Pong,
    /// A close frame with its code, if it has one.
    Close(Option<u16>),
}

/// Removes the next frame from the front of `bytes`. Returns `None` if it is not complete yet.
/// The error says why a counter server does not send such a frame.
pub fn take_next<'a>(bytes: &mut &'a [u8]) -> Result<Option<Frame<'a>>, &'static str> {
    let Some((&[first, second], rest)) = bytes.split_first_chunk() else { return Ok(None) };
    let (length, rest) = match second {
        ..126 => (usize::from(second), rest),
        126 => match rest.split_first_chunk() {
            Some((length, rest)) => (usize::from(u16::from_be_bytes(*length)), rest),
            None => return Ok(None),
        },
        127 => return Err("a frame is too large"),
        128.. => return Err("a server's frame is masked"),
    };
    if length > MAX_FRAME {
        return Err("a frame is too large");
    }
    let Some((payload, rest)) = rest.split_at_checked(length) else { return Ok(None) };
    *bytes = rest;
    match first {
        0x81 => Ok(Some(Frame::Text(payload))),
        0x88 => Ok(Some(Frame::Close(payload.first_chunk().map(|code| u16::from_be_bytes(*code))))),
        0x89 => Ok(Some(Frame::Ping(payload))),
        0x8a => Ok(Some(Frame::Pong)),
        _ => Err("a message is neither text nor whole"),
    }
}

/// Appends a masked frame, as a client sends it. The payload has at most 125 bytes.
pub fn write(to: &mut Vec<u8>, first: u8, payload: &[u8]) {
    // The mask keeps a web page from writing chosen bytes into the cache of a proxy. This program
    // always sends the same bytes, so the mask need not be a good secret.
    let mask: [u8; 4] = fastrand::u32(..).to_be_bytes();
    to.extend([first, 0x80 | payload.len().min(125) as u8]);
    to.extend(mask);
    to.extend(payload.iter().take(125).zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
}

/// An event from a counter server.
#[derive(Debug, Deserialize, PartialEq)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum Event {
    /// How many clients are connected.
    Users {
        /// Their number.
        count: u64,
    },
    /// The counter.
    State {
        /// Its value.
        value: i64,
    },
    /// A click was refused.
    Error {
        /// Why.
        message: String,
    },
}

/// Reads an event. Returns `None` if the text is not an event.
pub fn parse_event(text: &[u8]) -> Option<Event> {
    // Our server and JavaScript write no blanks, and Python does.
    let value = text
        .strip_prefix(br#"{"type":"state","value":"#)
        .or_else(|| text.strip_prefix(br#"{"type": "state", "value": "#));
    match value.and_then(parse_value) {
        Some(value) => Some(Event::State { value }),
        None => serde_json::from_slice(text).ok(),
    }
}

/// Reads a number that is followed by a closing brace.
fn parse_value(text: &[u8]) -> Option<i64> {
    // Rust accepts a plus sign, but JSON does not.
    let digits = text.strip_suffix(b"}").filter(|digits| !digits.starts_with(b"+"))?;
    str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::{Event, Frame, parse_event, take_next};

    #[test]
    fn events_are_read_as_every_server_writes_them() {
        for (text, expected) in [
            (r#"{"type":"state","value":-12}"#, Event::State { value: -12 }),
            (r#"{"type": "state", "value": 7}"#, Event::State { value: 7 }),
            (r#"{"value":7,"type":"state","at":[]}"#, Event::State { value: 7 }),
            (r#"{"type":"state","value":-9223372036854775808}"#, Event::State { value: i64::MIN }),
            (r#"{"type":"users","count":3}"#, Event::Users { count: 3 }),
        ] {
            assert_eq!(parse_event(text.as_bytes()), Some(expected), "{text}");
        }
        for text in ["", "{}", "7", r#"{"type":"state","value":}"#, r#"{"type":"state","value":-}"#]
        {
            assert_eq!(parse_event(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn a_frame_that_has_not_all_come_is_left_where_it_is() {
        let all: &[u8] = b"\x81\x02hi\x88\x02\x03\xe8\x81\x7e\x00\x80";
        for end in 0..4 {
            let mut bytes = all.get(..end).unwrap_or_default();
            assert_eq!(take_next(&mut bytes), Ok(None));
            assert_eq!(bytes.len(), end);
        }
        let mut bytes = all;
        assert_eq!(take_next(&mut bytes), Ok(Some(Frame::Text(b"hi"))));
        assert_eq!(take_next(&mut bytes), Ok(Some(Frame::Close(Some(1000)))));
        assert_eq!(take_next(&mut bytes), Ok(None));
    }

    #[test]
    fn what_no_counter_server_sends_is_refused() {
        for bytes in [b"\x81\x80", b"\x01\x00", b"\x82\x00", b"\x81\x7f", b"\xc1\x00"] {
            assert!(take_next(&mut bytes.as_slice()).is_err(), "{bytes:x?}");
        }
    }
}
