//! The messages between the server and its clients, in JSON.

use serde::{Deserialize, Serialize};
use websockets::Message;

use crate::name::is_blank;

/// The limits of a message: its id in bytes, its text in characters.
const MAX_ID_BYTES: usize = 32;
const MAX_TEXT_CHARS: usize = 1000;
const BAD_MESSAGE: &str =
    r#"invalid input; send {"id":"1","text":"Hi"} (1-32 bytes, 1-1000 characters) or {"before":1}"#;

/// A stored message.
#[derive(Serialize)]
pub struct Stored {
    /// Grows with each message, in all rooms together.
    pub number: i64,
    /// In milliseconds since 1970.
    pub time: i64,
    pub name: String,
    pub id: String,
    pub text: String,
}

/// An event that the server sends to a client.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum Event<'a> {
    /// The client's name, and the number to reconnect with while it has received no message.
    Welcome {
        name: &'a str,
        number: i64,
    },
    /// Messages are missing between the last one that the client received and the next one.
    Gap,
    Message(Stored),
    /// The messages before the number that the client sent. There are no older ones if `messages`
    /// has fewer than 50.
    Older {
        messages: Vec<Stored>,
    },
    /// The number of users in the room, and the first names.
    Presence {
        count: usize,
        names: Vec<&'a String>,
    },
    /// The server rejected a message. Only its sender receives this event.
    Error {
        id: Option<&'a str>,
        message: &'a str,
        retry: bool,
    },
}

/// Why the server rejected a message. It repeats no part of the message.
#[derive(Clone, Copy, Debug)]
pub struct Refusal {
    /// The label of the metric.
    pub reason: &'static str,
    pub message: &'static str,
    /// Whether the same message may be accepted later.
    pub retry: bool,
}

impl Refusal {
    const INVALID: Self = Self { reason: "invalid", message: BAD_MESSAGE, retry: false };
    pub const RATE: Self =
        Self { reason: "rate", message: "too many messages; try again in a second", retry: true };
    pub const ID: Self = Self {
        reason: "id",
        message: "this id belongs to an earlier message with another text; use a new id",
        retry: false,
    };
    pub const DATABASE: Self = Self {
        reason: "database",
        message: "the message could not be stored or read; try again later",
        retry: true,
    };
}

impl From<Event<'_>> for Message {
    fn from(event: Event) -> Self {
        // Strings and integers with fixed field names always fit into JSON, so this cannot fail.
        Self::text(serde_json::to_string(&event).unwrap_or_default())
    }
}

/// A message from a client.
#[derive(Debug, Deserialize, PartialEq)]
#[serde(untagged)]
pub enum ClientMessage {
    /// `{"id":"1","text":"Hi"}` is a message for the room. The client chooses the id. If it receives
    /// no answer, it sends the message again with the same id.
    Post { id: String, text: String },
    /// `{"before":7}` asks for the messages before the one with this number.
    Older { before: i64 },
}

impl ClientMessage {
    /// Parses a message and checks its limits.
    ///
    /// # Errors
    ///
    /// The message is invalid.
    pub fn from_json(json: &[u8]) -> Result<Self, Refusal> {
        // serde_json would read a struct from an array too, and it does not check the bytes of a
        // field that it ignores.
        let json = str::from_utf8(json).ok().filter(|json| json.trim_start().starts_with('{'));
        let message = json.and_then(|json| serde_json::from_str(json).ok());
        let is_within_limits = |message: &Self| match message {
            Self::Older { .. } => true,
            Self::Post { id, text } => {
                let is_text = text.chars().count() <= MAX_TEXT_CHARS && !is_blank(text);
                (1..=MAX_ID_BYTES).contains(&id.len()) && is_text
            }
        };
        message.filter(is_within_limits).ok_or(Refusal::INVALID)
    }

    /// The id of a message for the room.
    pub fn id(&self) -> Option<&str> {
        match self {
            Self::Post { id, .. } => Some(id),
            Self::Older { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use testing::property::{check, mutate, text};

    use super::*;

    /// What JSON is made of.
    const JSON: [&str; 14] = [
        "{", "}", "[", "]", ":", ",", "\"", "\\", "\\u00e9", "null", "id", "text", "\u{3000}", " ",
    ];

    /// The id and the text of a message that the protocol allows.
    fn expected(json: &[u8]) -> Option<(String, String)> {
        let message: Value = serde_json::from_slice(json).ok()?;
        let field = |name| message.as_object()?.get(name)?.as_str().map(str::to_owned);
        let (id, text) = (field("id")?, field("text")?);
        let is_text = (1..=1000).contains(&text.chars().count()) && !is_blank(&text);
        ((1..=32).contains(&id.len()) && is_text).then_some((id, text))
    }

    #[test]
    fn any_json_is_a_message_or_an_error() {
        check(2000, |input| {
            let (id, mut said) = (text(input, &JSON, 12)?, text(input, &JSON, 12)?);
            if input.ratio(1, 4)? {
                said = said.repeat(input.int_in_range(0..=100)?);
            }
            let more = text(input, &JSON, 2)?;
            let message = match input.int_in_range(0..=3)? {
                0 => json!([id, said]),
                _ => json!({ "id": id, "text": said, more: [1, null] }),
            };
            let mut json = message.to_string().into_bytes();
            if input.arbitrary()? {
                mutate(input, &mut json)?;
            }
            let shown = String::from_utf8_lossy(&json);
            match ClientMessage::from_json(&json) {
                Ok(message) => {
                    let expected = expected(&json);
                    let expected = expected.map(|(id, text)| ClientMessage::Post { id, text });
                    assert_eq!(Some(message), expected, "{shown}")
                }
                Err(error) => {
                    assert_eq!(error.message, BAD_MESSAGE);
                    // A field that is there twice is the one exception.
                    let is_twice = [r#""id""#, r#""text""#]
                        .iter()
                        .any(|field| shown.matches(field).count() > 1);
                    assert!(expected(&json).is_none() || is_twice, "{shown}");
                }
            }
            Ok(())
        });
    }

    #[test]
    fn an_event_keeps_what_it_was_given() {
        check(500, |input| {
            let (name, id, text) =
                (text(input, &JSON, 8)?, text(input, &JSON, 8)?, text(input, &JSON, 20)?);
            let (number, time) = (input.arbitrary()?, input.arbitrary()?);
            let right = json!({ "type": "message", "number": number, "time": time, "name": name, "id": id, "text": text });
            let event = Event::Message(Stored { number, time, name, id, text });
            let read: Value =
                serde_json::from_str(Message::from(event).to_text().unwrap()).unwrap();
            assert_eq!(read, right);
            Ok(())
        });
    }
}
