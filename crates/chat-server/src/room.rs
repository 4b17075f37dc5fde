//! One room: its users, its latest messages, and the events that the server sends to it.

use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};
use websockets::fanout::{Frames, State};
use websockets::{CloseCode, CloseWith, Message};

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
        let message = serde_json::from_slice(json).ok().filter(|Self { id, text }| {
            let is_blank = text.trim().is_empty();
            let is_text = text.chars().count() <= MAX_TEXT_CHARS && !is_blank;
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
