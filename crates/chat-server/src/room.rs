//! One room: what was said in it, who is here, and what a visitor is told on coming in.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use common::fanout::{Fanout, Frames, State};
use serde::{Deserialize, Serialize};
use tungstenite::Message;

use crate::metrics::METRICS;

/// How many messages a room holds, for who comes back.
pub const HELD: usize = 500;

/// How many of them a newcomer is shown.
const SHOWN: usize = 50;

/// How many of those who are here are named. To name a thousand to a thousand, each time that one
/// of them comes, would be a million names.
const NAMED: usize = 50;

/// How long an id may be, in bytes, and a text, in characters.
const ID: usize = 32;
const TEXT: usize = 1000;

/// What the server says.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum Event<'a> {
    /// Welcome. This is your name.
    Hello { name: &'a str },
    /// Something is missing between what you have and what follows.
    Gap,
    /// `number` is the time in milliseconds since 1970, or one more than the number before.
    Message { number: i64, name: &'a str, id: &'a str, text: &'a str },
    /// How many people are here, and the names of the first.
    Here { count: usize, names: Vec<&'a String> },
    /// What you said was refused. Nobody else is told.
    Error { message: &'a str },
}

impl<'a> Event<'a> {
    /// A message as JSON.
    pub fn message(number: i64, name: &'a str, id: &'a str, text: &'a str) -> Message {
        Self::Message { number, name, id, text }.to_message()
    }

    /// The event as JSON.
    pub fn to_message(&self) -> Message {
        // Strings and integers under fixed names: there is nothing here that JSON cannot say.
        Message::text(serde_json::to_string(self).unwrap_or_default())
    }
}

/// What a visitor says: `{"id":"1","text":"Hi"}`. The id is the sender's choice; one who hears no
/// answer says the same again, under the same id.
#[derive(Deserialize)]
pub struct Said {
    pub id: String,
    pub text: String,
}

impl Said {
    /// Reads it.
    ///
    /// # Errors
    ///
    /// A sentence for the sender, which repeats nothing of it.
    pub fn from_json(json: &[u8]) -> Result<Self, &'static str> {
        let form = r#"say it as {"id":"1","text":"Hi"}"#;
        let said: Self = serde_json::from_slice(json).map_err(|_| form)?;
        if !(1..=ID).contains(&said.id.len()) {
            return Err("an id has 1 to 32 bytes");
        }
        if said.text.trim().is_empty() || said.text.chars().count() > TEXT {
            return Err("a text has 1 to 1000 characters, and not only blanks");
        }
        Ok(said)
    }
}

/// A room with visitors.
#[derive(Default)]
pub struct Room {
    /// The newest messages, by their numbers.
    said: VecDeque<(i64, Message)>,
    /// What has this number or a lower one may be gone.
    forgotten: i64,
    /// How many connections each of those who are here has.
    here: BTreeMap<String, usize>,
    /// Whether `here` changed since everyone was told.
    changed: bool,
}

impl Room {
    /// A room of which what has the number `forgotten`, or a lower one, may be gone.
    pub fn new(forgotten: i64) -> Self {
        Self { forgotten, ..Self::default() }
    }

    /// Adds a message.
    pub fn say(&mut self, number: i64, message: Message) {
        self.said.push_back((number, message));
        if self.said.len() > HELD {
            self.forgotten = self.said.pop_front().map_or(0, |(number, _)| number);
        }
    }

    /// Tells a visitor the newest messages, or all after the one that it says it has.
    pub fn greet(&self, name: &str, since: Option<i64>, to_one: &mut Frames) {
        to_one.push(Event::Hello { name }.to_message());
        let last = self.said.back().map_or(0, |(number, _)| *number);
        match since {
            // Above the last: another server said so, or this one before it lost its history.
            Some(since) if (self.forgotten..=last).contains(&since) => {
                self.tell(self.said.partition_point(|(number, _)| *number <= since), to_one);
            }
            Some(_) => self.present(to_one),
            None => self.tell(self.said.len().saturating_sub(SHOWN), to_one),
        }
    }

    fn tell(&self, from: usize, to_one: &mut Frames) {
        self.said.range(from..).for_each(|(_, message)| to_one.push(message.clone()));
        to_one.push(self.who());
    }

    fn who(&self) -> Message {
        let names = self.here.keys().take(NAMED).collect();
        Event::Here { count: self.here.len(), names }.to_message()
    }
}

impl State for Room {
    /// For who reads so slowly that the tape has moved on.
    fn present(&self, to_one: &mut Frames) {
        to_one.push(Event::Gap.to_message());
        self.tell(self.said.len().saturating_sub(SHOWN), to_one);
    }

    /// Five hundred who come at once are one list, not five hundred.
    fn begin_round(&mut self, _subscribers: usize, to_all: &mut Frames) {
        if std::mem::take(&mut self.changed) {
            to_all.push(self.who());
        }
    }
}

/// Somebody's presence in a room, until it is dropped: however the conversation ends.
pub struct Visit(Arc<Fanout<Room>>, String);

impl Visit {
    /// Comes in.
    pub fn new(room: &Arc<Fanout<Room>>, name: &str) -> Self {
        room.change(|room, _| {
            *room.here.entry(name.to_owned()).or_default() += 1;
            room.changed = true;
        });
        METRICS.connections.inc();
        Self(Arc::clone(room), name.to_owned())
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        METRICS.connections.dec();
        self.0.change(|room, _| {
            room.here.entry(std::mem::take(&mut self.1)).and_modify(|n| *n -= 1);
            room.here.retain(|_, connections| *connections > 0);
            room.changed = true;
        });
    }
}
