//! The rooms in use: their users and their latest messages.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use websockets::fanout::{Fanout, Frames, State};
use websockets::{CloseCode, CloseWith, Message};

use crate::metrics::{DELIVERY, ROOMS};
use crate::protocol::Event;

/// The limit of rooms in use at the same time.
const MAX_ROOMS: usize = 100;

/// The limit of connections for one name in one room. Each connection may ask for all messages that
/// it missed, which are 3 MiB at most.
const MAX_CONNECTIONS_PER_NAME: usize = 10;

/// The number of messages that a new client receives.
pub const RECENT_MESSAGES: usize = 50;

/// The number of names in a `presence` event. If 1,000 users join one after the other, events with
/// all names would contain a million names.
const MAX_NAMES_SENT: usize = 50;

/// The rooms in use, by name.
#[derive(Default)]
pub struct Rooms(HashMap<String, Arc<Fanout<Room>>>);

impl Rooms {
    /// The room with this name. It is in use until every connection has dropped it.
    ///
    /// # Errors
    ///
    /// 1013 if too many rooms are in use.
    pub fn get(&mut self, name: &str) -> Result<Arc<Fanout<Room>>, CloseWith> {
        self.0.retain(|_, room| Arc::strong_count(room) > 1);
        if self.0.len() == MAX_ROOMS && !self.0.contains_key(name) {
            return Err(CloseWith::new(CloseCode::Again, "too many rooms are in use"));
        }
        let room = self.0.entry(name.to_owned()).or_insert_with(|| {
            let room = Fanout::new(Room::default());
            room.measure_delivery(|took| DELIVERY.observe(took.as_secs_f64()));
            room
        });
        Ok(Arc::clone(room))
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
        if self.connections.is_empty() {
            ROOMS.inc();
        }
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
        let is_empty = self.connections.is_empty();
        if is_empty {
            ROOMS.dec();
        }
        is_empty
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
