//! One room: its users, its latest messages, and the events that the server sends to it.

use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};
use websockets::fanout::{Frames, State};
use websockets::{CloseCode, CloseWith, Message};

use crate::name::is_blank;

/// The limit of connections for one name in one room. Each connection may ask for all messages that
/// it missed, which are 3 MiB at most.
const MAX_CONNECTIONS_PER_NAME: usize = 10;

/// The number of messages that a new client receives.
pub const RECENT_MESSAGES: usize = 50;

/// The number of names in a `presence` event. If 1,000 users join one after the other, events with
/// all names would contain a million names.
const MAX_NAMES_SENT: usize = 50;

/// The limits of a message: its id in bytes, its text in characters.
const MAX_ID_BYTES: usize = 32;
const MAX_TEXT_CHARS: usize = 1000;
const BAD_MESSAGE: &str =
    r#"invalid message; send {"id":"1","text":"Hi"}, id 1-32 bytes, text 1-1000 characters"#;

/// An event that the server sends to a client.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum Event<'a> {
    /// The client's name, and the number to reconnect with while it has received no message.
    Welcome { name: &'a str, number: i64 },
    /// Messages are missing between the last one that the client received and the next one.
    Gap,
    /// `number` is the time in milliseconds since 1970, or one more than the number before.
    Message { number: i64, name: &'a str, id: &'a str, text: &'a str },
    /// The number of users in the room, and the first names.
    Presence { count: usize, names: Vec<&'a String> },
    /// The server rejected a message. Only its sender receives this event.
    Error { message: &'a str },
}

impl From<Event<'_>> for Message {
    fn from(event: Event) -> Self {
        // Strings and integers with fixed field names always fit into JSON, so this cannot fail.
        Self::text(serde_json::to_string(&event).unwrap_or_default())
    }
}

/// A message that a client sends: `{"id":"1","text":"Hi"}`. The client chooses the id. If it
/// receives no answer, it sends the message again with the same id.
#[derive(Deserialize)]
pub struct ClientMessage {
    pub id: String,
    pub text: String,
}

impl ClientMessage {
    /// Parses a message and checks its limits.
    ///
    /// # Errors
    ///
    /// An error message for the sender. It repeats no part of the input.
    pub fn from_json(json: &[u8]) -> Result<Self, &'static str> {
        // serde_json would read a struct from an array too, and it does not check the bytes of a
        // field that it ignores.
        let json = str::from_utf8(json).ok().filter(|json| json.trim_start().starts_with('{'));
        let message = json.and_then(|json| serde_json::from_str(json).ok());
        let message = message.filter(|Self { id, text }| {
            let is_text = text.chars().count() <= MAX_TEXT_CHARS && !is_blank(text);
            (1..=MAX_ID_BYTES).contains(&id.len()) && is_text
        });
        message.ok_or(BAD_MESSAGE)
    }
}

/// A room that at least one client uses.
#[derive(Default)]
pub struct Room {
    /// The number of connections of each user, by name.
    connections: BTreeMap<String, usize>,
    /// Whether a user joined or left after the last `presence` event.
    presence_changed: bool,
    /// The latest messages. A client that reads too slowly skips to them.
    recent: VecDeque<Message>,
}

impl Room {
    /// Adds a connection of a user.
    ///
    /// # Errors
    ///
    /// 1013 if this name already has too many connections.
    pub fn join(&mut self, name: &str) -> Result<(), CloseWith> {
        let connections = self.connections.entry(name.to_owned()).or_default();
        if *connections == MAX_CONNECTIONS_PER_NAME {
            let full = "this name already has 10 connections in this room";
            return Err(CloseWith::new(CloseCode::Again, full));
        }
        *connections += 1;
        self.presence_changed = true;
        Ok(())
    }

    /// Removes a connection of a user. Returns whether the room is empty now.
    pub fn leave(&mut self, name: &str) -> bool {
        if let Some(connections) = self.connections.get_mut(name) {
            *connections -= 1;
            if *connections == 0 {
                self.connections.remove(name);
            }
        }
        self.presence_changed = true;
        self.connections.is_empty()
    }

    /// Sends a message to every client of the room.
    pub fn post(&mut self, message: Message, to_all: &mut Frames) {
        to_all.push(message.clone());
        self.recent.push_back(message);
        if self.recent.len() > RECENT_MESSAGES {
            self.recent.pop_front();
        }
    }

    /// The event that lists the users of the room.
    pub fn presence(&self) -> Event<'_> {
        let names = self.connections.keys().take(MAX_NAMES_SENT).collect();
        Event::Presence { count: self.connections.len(), names }
    }
}

impl State for Room {
    /// Sent to a client that reads so slowly that the tape no longer has its next message.
    fn snapshot(&self, to_one: &mut Frames) {
        to_one.push(Event::Gap);
        self.recent.iter().for_each(|message| to_one.push(message.clone()));
        to_one.push(self.presence());
    }

    /// If 500 users join at the same time, this sends one `presence` event instead of 500.
    fn before_round(&mut self, _subscribers: usize, to_all: &mut Frames) {
        if std::mem::take(&mut self.presence_changed) {
            to_all.push(self.presence());
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
                    assert_eq!(Some((message.id, message.text)), expected(&json), "{shown}")
                }
                Err(error) => {
                    assert_eq!(error, BAD_MESSAGE);
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
            let number = input.arbitrary()?;
            let event = Event::Message { number, name: &name, id: &id, text: &text };
            let read: Value =
                serde_json::from_str(Message::from(event).to_text().unwrap()).unwrap();
            let right = json!({ "type": "message", "number": number, "name": name, "id": id, "text": text });
            assert_eq!(read, right);
            Ok(())
        });
    }
}
