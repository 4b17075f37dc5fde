//! WebSocket frames and counter events, read and written by hand.
//!
//! At 64 clicks in flight one read brings dozens of frames of 30 bytes. A library that makes a
//! message of each costs more than the server spends on sending it, and then the figures would be
//! the client's. So this reads in place and allocates nothing; what is rare goes to serde_json.

use serde::Deserialize;

/// The largest frame that is taken: a counter's events are far smaller.
const MAX_FRAME: usize = 64 << 10;

/// What a server sends.
#[derive(Debug, PartialEq)]
pub enum Frame<'a> {
    /// A whole text message.
    Text(&'a [u8]),
    /// To be answered with a pong.
    Ping(&'a [u8]),
    /// Of no interest.
    Pong,
    /// With its code, if it has one.
    Close(Option<u16>),
}

/// Takes the next frame off `bytes`; `None` if it has not all come yet. The error says why this
/// is no frame that a counter server sends.
pub fn next<'a>(bytes: &mut &'a [u8]) -> Result<Option<Frame<'a>>, &'static str> {
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

/// Appends a frame as a client sends it. Ours have at most 125 bytes.
pub fn write(to: &mut Vec<u8>, first: u8, payload: &[u8]) {
    // The mask keeps a web page from writing what it likes into a proxy's cache; for a program
    // that sends always the same it need not be a good secret.
    let mask: [u8; 4] = fastrand::u32(..).to_be_bytes();
    to.extend([first, 0x80 | payload.len().min(125) as u8]);
    to.extend(mask);
    to.extend(payload.iter().take(125).zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
}

/// What a counter server says.
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

/// Reads an event; `None` if it is none.
pub fn event(text: &[u8]) -> Option<Event> {
    // As our server and JavaScript write it, and as Python does.
    let value = text
        .strip_prefix(br#"{"type":"state","value":"#)
        .or_else(|| text.strip_prefix(br#"{"type": "state", "value": "#));
    match value.and_then(integer) {
        Some(value) => Some(Event::State { value }),
        None => serde_json::from_slice(text).ok(),
    }
}

/// A number and the brace after it.
fn integer(text: &[u8]) -> Option<i64> {
    // Rust would take a plus sign, and JSON does not.
    let digits = text.strip_suffix(b"}").filter(|digits| !digits.starts_with(b"+"))?;
    str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::{Event, Frame, event, next};

    #[test]
    fn events_are_read_as_every_server_writes_them() {
        for (text, expected) in [
            (r#"{"type":"state","value":-12}"#, Event::State { value: -12 }),
            (r#"{"type": "state", "value": 7}"#, Event::State { value: 7 }),
            (r#"{"value":7,"type":"state","at":[]}"#, Event::State { value: 7 }),
            (r#"{"type":"state","value":-9223372036854775808}"#, Event::State { value: i64::MIN }),
            (r#"{"type":"users","count":3}"#, Event::Users { count: 3 }),
        ] {
            assert_eq!(event(text.as_bytes()), Some(expected), "{text}");
        }
        for text in ["", "{}", "7", r#"{"type":"state","value":}"#, r#"{"type":"state","value":-}"#]
        {
            assert_eq!(event(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn a_frame_that_has_not_all_come_is_left_where_it_is() {
        let all: &[u8] = b"\x81\x02hi\x88\x02\x03\xe8\x81\x7e\x00\x80";
        for end in 0..4 {
            let mut bytes = all.get(..end).unwrap_or_default();
            assert_eq!(next(&mut bytes), Ok(None));
            assert_eq!(bytes.len(), end);
        }
        let mut bytes = all;
        assert_eq!(next(&mut bytes), Ok(Some(Frame::Text(b"hi"))));
        assert_eq!(next(&mut bytes), Ok(Some(Frame::Close(Some(1000)))));
        assert_eq!(next(&mut bytes), Ok(None));
    }

    #[test]
    fn what_no_counter_server_sends_is_refused() {
        for bytes in [b"\x81\x80", b"\x01\x00", b"\x82\x00", b"\x81\x7f", b"\xc1\x00"] {
            assert!(next(&mut bytes.as_slice()).is_err(), "{bytes:x?}");
        }
    }
}
