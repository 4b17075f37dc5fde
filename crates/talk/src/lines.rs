//! Formats messages and close codes, one line each.

use std::fmt::Write;
use std::io;

use websockets::tungstenite::protocol::CloseFrame;
use websockets::{Message, escaped, printable};

use crate::flags::Delimiter;

/// A function that prints a whole line, with its newline. The flag is true if the line is a status.
pub type Print = Box<dyn FnMut(&[u8], bool) -> io::Result<()> + Send>;

/// Formats a message of the server. It escapes the control characters of a text. It prints a binary
/// message as its length and hexadecimal bytes. With `raw` the message stays as it is, and this
/// delimiter follows a text.
pub fn format_message(message: Message, raw: Option<Delimiter>) -> Vec<u8> {
    match (message, raw) {
        (Message::Text(text), Some(delimiter)) => {
            text.as_bytes().iter().copied().chain(delimiter.byte()).collect()
        }
        (message, Some(_)) => message.into_data().into(),
        (Message::Text(text), None) => format!("< {}\n", escaped(&text)).into_bytes(),
        (message, None) => {
            let data = message.into_data();
            let mut line = format!("< {} bytes:", data.len());
            for byte in &data {
                _ = write!(line, " {byte:02x}");
            }
            line.push('\n');
            line.into_bytes()
        }
    }
}

/// Formats a close frame: the code, its name, and the reason if there is one.
pub fn format_close(closed: &str, frame: Option<&CloseFrame>) -> String {
    let Some(frame) = frame else {
        return format!("{closed}: no code");
    };
    let code = u16::from(frame.code);
    let mut line = format!("{closed}: {code}, {}", code_name(code));
    if !frame.reason.is_empty() {
        _ = write!(line, ": {}", printable(&frame.reason));
    }
    line
}

/// The name of a close code, from RFC 6455, section 7.4.1, and IANA's registry. Python `websockets`
/// uses the same names.
fn code_name(code: u16) -> &'static str {
    match code {
        1000 => "OK",
        1001 => "going away",
        1002 => "protocol error",
        1003 => "unsupported data",
        1007 => "invalid frame payload data",
        1008 => "policy violation",
        1009 => "message too big",
        1010 => "mandatory extension",
        1011 => "internal error",
        1012 => "service restart",
        1013 => "try again later",
        1014 => "bad gateway",
        3000..=3999 => "registered",
        4000..=4999 => "private use",
        _ => "unknown",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_escaped_and_binary_is_hexadecimal() {
        let format = |message| String::from_utf8(format_message(message, None)).unwrap();
        assert_eq!(format(Message::text("Zoë\u{1b}[2J\n")), "< Zoë\\u{1b}[2J\\n\n");
        assert_eq!(format(Message::binary(vec![0, 0xff])), "< 2 bytes: 00 ff\n");
        assert_eq!(format(Message::binary(vec![])), "< 0 bytes:\n");
    }

    #[test]
    fn a_close_shows_code_name_and_reason() {
        let closed = |code: u16, reason: &'static str| {
            format_close("closed", Some(&CloseFrame { code: code.into(), reason: reason.into() }))
        };
        assert_eq!(closed(1001, ""), "closed: 1001, going away");
        assert_eq!(closed(4321, "no\n"), "closed: 4321, private use: no\\n");
        assert_eq!(format_close("closed", None), "closed: no code");
    }
}
