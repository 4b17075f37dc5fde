//! One room: who is here, what they say, and what they hear.

use std::collections::{BTreeMap, VecDeque};

use common::CloseWith;
use common::fanout::{Frames, State};
use serde::{Deserialize, Serialize};
use tungstenite::Message;
use tungstenite::protocol::frame::coding::CloseCode;

/// How many connections of one name a room takes. Each may ask for all that was missed, which is
/// 3 MiB at most.
const CONNECTIONS: usize = 10;

/// How many messages a newcomer is shown.
pub const SHOWN: usize = 50;

/// How many of those who are here are named. To name a thousand to a thousand, each time that one
/// of them comes, would be a million names.
const NAMED: usize = 50;

/// How long an id may be, in bytes, and a text, in characters.
const ID: usize = 32;
const TEXT: usize = 1000;
const FORM: &str =
    r#"say {"id":"1","text":"Hi"}: an id of 1 to 32 bytes, a text of 1 to 1000 characters"#;

/// What the server says.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum Event<'a> {
    /// Welcome. This is your name, and for who has no message yet, the number to come back with.
    Hello { name: &'a str, number: i64 },
    /// Something is missing between what you have and what follows.
    Gap,
    /// `number` is the time in milliseconds since 1970, or one more than the number before.
    Message { number: i64, name: &'a str, id: &'a str, text: &'a str },
    /// How many people are here, and the names of the first.
    Here { count: usize, names: Vec<&'a String> },
    /// What you said was refused. Nobody else is told.
    Error { message: &'a str },
}

impl From<Event<'_>> for Message {
    fn from(event: Event) -> Self {
        // Strings and integers under fixed names: there is nothing here that JSON cannot say.
        Self::text(serde_json::to_string(&event).unwrap_or_default())
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
        let said = serde_json::from_slice(json).ok().filter(|Self { id, text }| {
            let is_blank = text.trim().is_empty();
            (1..=ID).contains(&id.len()) && text.chars().count() <= TEXT && !is_blank
        });
        said.ok_or(FORM)
    }
}

/// A room with visitors.
#[derive(Default)]
pub struct Room {
    /// How many connections each of those who are here has.
    here: BTreeMap<String, usize>,
    /// Whether `here` changed since everyone was told.
    changed: bool,
    /// The newest messages, for who reads so slowly that it has to leave some out.
    newest: VecDeque<Message>,
}

impl Room {
    /// Somebody comes in.
    ///
    /// # Errors
    ///
    /// 1013 when that name has enough connections.
    pub fn enter(&mut self, name: &str) -> Result<(), CloseWith> {
        let connections = self.here.entry(name.to_owned()).or_default();
        if *connections == CONNECTIONS {
            return Err(CloseWith(CloseCode::Again, "you are here ten times already"));
        }
        *connections += 1;
        self.changed = true;
        Ok(())
    }

    /// Somebody goes. Returns whether nobody is left.
    pub fn leave(&mut self, name: &str) -> bool {
        if let Some(connections) = self.here.get_mut(name) {
            *connections -= 1;
            if *connections == 0 {
                self.here.remove(name);
            }
        }
        self.changed = true;
        self.here.is_empty()
    }

    /// Somebody has said something.
    pub fn say(&mut self, message: Message, to_all: &mut Frames) {
        to_all.push(message.clone());
        self.newest.push_back(message);
        if self.newest.len() > SHOWN {
            self.newest.pop_front();
        }
    }

    /// Who is here.
    pub fn who(&self) -> Event<'_> {
        Event::Here { count: self.here.len(), names: self.here.keys().take(NAMED).collect() }
    }
}

impl State for Room {
    /// For who reads so slowly that the tape has moved on.
    fn present(&self, to_one: &mut Frames) {
        to_one.push(Event::Gap);
        self.newest.iter().for_each(|message| to_one.push(message.clone()));
        to_one.push(self.who());
    }

    /// Five hundred who come at once are one list, not five hundred.
    fn begin_round(&mut self, _subscribers: usize, to_all: &mut Frames) {
        if std::mem::take(&mut self.changed) {
            to_all.push(self.who());
        }
    }
}
