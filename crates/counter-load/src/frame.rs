//! WebSocket frames and counter events, read and written by hand.
//!
//! At 64 clicks in flight one read returns dozens of frames of 30 bytes. A library that allocates a
//! message for each frame needs more time than the server, so we would measure the client. This
//! module reads in place and allocates nothing. Only rare events go to serde_json.

use common::events::Event;

/// The first bytes of the frames that a counter server may send. Each is a whole message.
pub const TEXT: u8 = 0x81;
pub const CLOSE: u8 = 0x88;
pub const PING: u8 = 0x89;
pub const PONG: u8 = 0x8a;

/// Removes the next frame from the front of `bytes`, and returns its first byte and its payload.
/// Returns `None` if it is not complete yet. The error says why a counter server does not send such
/// a frame.
pub fn take_next<'a>(bytes: &mut &'a [u8]) -> Result<Option<(u8, &'a [u8])>, &'static str> {
    let Some((&[first, second], rest)) = bytes.split_first_chunk() else { return Ok(None) };
    let (length, rest) = match second {
        ..126 => (usize::from(second), rest),
        126 => match rest.split_first_chunk() {
            Some((length, rest)) => (usize::from(u16::from_be_bytes(*length)), rest),
            None => return Ok(None),
        },
        // The length has 64 bits, but the events of a counter are far smaller than 64 KiB.
        127 => return Err("a frame is too large"),
        128.. => return Err("a server's frame is masked"),
    };
    let Some((payload, rest)) = rest.split_at_checked(length) else { return Ok(None) };
    *bytes = rest;
    match first {
        TEXT | CLOSE | PING | PONG => Ok(Some((first, payload))),
        _ => Err("a message is neither text nor whole"),
    }
}

/// A masked frame, as a client sends it. The payload has at most 125 bytes.
pub fn encode(first: u8, payload: &[u8]) -> Vec<u8> {
    // The mask keeps a web page from writing chosen bytes into the cache of a proxy. This program
    // always sends the same bytes, so the mask need not be a good secret.
    let mask = fastrand::u32(..).to_be_bytes();
    let payload = payload.iter().take(125);
    let mut frame = vec![first, 0x80 | payload.len() as u8];
    frame.extend(mask);
    frame.extend(payload.zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
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
    use super::{CLOSE, Event, TEXT, parse_event, take_next};

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
        assert_eq!(take_next(&mut bytes), Ok(Some((TEXT, &b"hi"[..]))));
        assert_eq!(take_next(&mut bytes), Ok(Some((CLOSE, &1000_u16.to_be_bytes()[..]))));
        assert_eq!(take_next(&mut bytes), Ok(None));
    }

    #[test]
    fn what_no_counter_server_sends_is_refused() {
        for bytes in [b"\x81\x80", b"\x01\x00", b"\x82\x00", b"\x81\x7f", b"\xc1\x00"] {
            assert!(take_next(&mut bytes.as_slice()).is_err(), "{bytes:x?}");
        }
    }
}
