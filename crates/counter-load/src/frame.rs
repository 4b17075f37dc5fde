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
/// Returns `None` if it is not complete yet. The error is the reason why a counter server does not
/// send such a frame.
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
        None => {
            // serde_json would read an event from an array too, and it does not check the bytes of
            // a field that it ignores.
            let text = str::from_utf8(text).ok().filter(|text| text.trim_start().starts_with('{'));
            serde_json::from_str(text?).ok()
        }
    }
}

/// Reads a number that is followed by a closing brace.
fn parse_value(text: &[u8]) -> Option<i64> {
    let digits = text.strip_suffix(b"}")?;
    // Rust accepts a plus sign and more zeros than one, but JSON does not.
    let is_json = matches!(digits, b"0" | [b'1'..=b'9', ..] | [b'-', b'1'..=b'9', ..]);
    str::from_utf8(digits).ok().filter(|_| is_json)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use serde_json::Value;
    use testing::property::{check, mutate, text};

    use super::{CLOSE, Event, PING, PONG, TEXT, encode, parse_event, take_next};

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
    fn an_incomplete_frame_stays_in_the_buffer() {
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

    /// A frame as a server sends it, and its expected meaning. `None` if a counter server never
    /// sends it.
    type Sent = (Vec<u8>, Option<(u8, Vec<u8>)>);

    fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
        let length = payload.len();
        let header = match length {
            ..126 => vec![first, length as u8],
            126..0x1_0000 => vec![first, 126, (length >> 8) as u8, length as u8],
            _ => [&[first, 127][..], &(length as u64).to_be_bytes()].concat(),
        };
        [header, payload.to_vec()].concat()
    }

    #[test]
    fn frames_are_taken_wherever_they_are_cut() {
        check(300, |input| {
            let mut sent: Vec<Sent> = Vec::new();
            for _ in 0..input.int_in_range(1..=8)? {
                let first = match input.ratio(1, 8)? {
                    true => input.arbitrary()?,
                    false => *input.choose(&[TEXT, TEXT, CLOSE, PING, PONG])?,
                };
                let lengths = [0, 1, 2, 30, 30, 30, 125, 126, 127, 1000, 65_535, 65_536];
                let payload = vec![input.arbitrary()?; *input.choose(&lengths)?];
                let is_right =
                    matches!(first, TEXT | CLOSE | PING | PONG) && payload.len() < 0x1_0000;
                sent.push((frame(first, &payload), is_right.then_some((first, payload))));
            }
            let mut stream: Vec<u8> = sent.iter().flat_map(|(bytes, _)| bytes.clone()).collect();
            stream.truncate(input.int_in_range(0..=stream.len() * 2)?);

            let mut rest = stream.as_slice();
            for (bytes, is) in &sent {
                let before = rest;
                let taken = take_next(&mut rest);
                let header = before.get(..4).unwrap_or_default();
                match (taken, is) {
                    (Ok(Some(taken)), Some((first, payload))) => {
                        assert_eq!(taken, (*first, payload.as_slice()));
                        assert_eq!(before.len() - rest.len(), bytes.len());
                    }
                    // An incomplete frame stays in the buffer.
                    (Ok(None), _) => {
                        assert!(before.len() < bytes.len() && rest == before, "{header:x?}");
                        return Ok(());
                    }
                    (Err(_), None) => return Ok(()),
                    (taken, _) => panic!("{taken:x?} of {header:x?}"),
                }
            }
            assert_eq!(take_next(&mut rest), Ok(None));
            Ok(())
        });
    }

    #[test]
    fn a_written_frame_is_masked_and_can_be_read() {
        check(300, |input| {
            let payload = vec![input.arbitrary()?; input.int_in_range(0..=200)?];
            let payload = payload.get(..125).unwrap_or(&payload);
            let frame = encode(0x8a, payload);
            let (header, masked) = frame.split_at(6);
            let mask = header.iter().skip(2).cycle();
            let read: Vec<u8> = masked.iter().zip(mask).map(|(byte, mask)| byte ^ mask).collect();
            assert_eq!((header[0], usize::from(header[1])), (PONG, 0x80 | payload.len()));
            assert_eq!(read, payload);
            Ok(())
        });
    }

    #[test]
    fn reading_an_event_agrees_with_json() {
        const JSON: [&str; 12] = ["{", "}", "[", "]", ":", ",", "\"", "+", "-", "0", ".", "e1"];
        check(3000, |input| {
            let digits: i64 = input.arbitrary()?;
            let value = match input.int_in_range(0..=3)? {
                0 => text(input, &JSON, 6)?,
                1 => format!("{}{digits}", input.choose(&["-", "+", "0", "-0", "00", "1"])?),
                _ => (digits >> input.int_in_range(0..=63)?).to_string(),
            };
            let blank = *input.choose(&["", " "])?;
            let mut json = match input.int_in_range(0..=4)? {
                0 => format!("{{\"type\":\"users\",\"count\":{value}}}"),
                1 => format!("[\"state\",{value}]"),
                2 => format!("{{\"type\":\"error\",\"message\":\"{value}\"}}"),
                _ => format!("{{\"type\":{blank}\"state\",{blank}\"value\":{blank}{value}}}"),
            }
            .into_bytes();
            if input.arbitrary()? {
                mutate(input, &mut json)?;
            }
            let shown = String::from_utf8_lossy(&json);
            let read = parse_event(&json);

            let object = serde_json::from_slice::<Value>(&json).ok();
            let object = object.as_ref().and_then(Value::as_object);
            let field = |name| object.and_then(|object| object.get(name));
            let expected = match field("type").and_then(Value::as_str) {
                Some("state") => {
                    field("value").and_then(Value::as_i64).map(|value| Event::State { value })
                }
                Some("users") => field("count")
                    .and_then(Value::as_u64)
                    .map(|count| Event::Users { count: count as usize }),
                Some("error") => field("message")
                    .and_then(Value::as_str)
                    .map(|message| Event::Error { message: message.into() }),
                _ => None,
            };
            // serde refuses a field that is there twice.
            let is_twice = ["type", "value", "count", "message"]
                .iter()
                .any(|name| shown.matches(&format!("\"{name}\"")).count() > 1);
            assert!(read == expected || is_twice && read.is_none(), "{shown}: {read:?}");
            Ok(())
        });
    }
}
