//! The counter and its JSON, which both servers share.

use std::sync::Mutex;

use serde::{Deserialize, Serialize};

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
enum Event {
    Users { count: usize },
    State { value: i64 },
}

#[derive(Deserialize)]
#[serde(tag = "action", rename_all = "lowercase")]
enum Action {
    Plus,
    Minus,
}

/// The counter and its users.
///
/// One lock protects both the changes and the sending, so all users receive all events in one
/// order.
#[derive(Default)]
pub struct Counter<User>(Mutex<(i64, User)>);

fn json(event: Event) -> String {
    serde_json::to_string(&event).unwrap()
}

impl<Users> Counter<Users> {
    /// Adds or removes a user. `change` returns the number of users, `tell` gets the events to
    /// send.
    pub fn users(
        &self,
        change: impl FnOnce(&mut Users) -> usize,
        tell: impl FnOnce(&Users, String, String),
    ) {
        let (value, users) = &mut *self.0.lock().unwrap();
        let count = change(users);
        tell(users, json(Event::Users { count }), json(Event::State { value: *value }));
    }

    /// Carries out the action in a message. `tell` gets the `state` event to send.
    pub fn act(&self, message: &str, tell: impl FnOnce(&Users, String)) {
        let (value, users) = &mut *self.0.lock().unwrap();
        match serde_json::from_str(message) {
            Ok(Action::Plus) => *value += 1,
            Ok(Action::Minus) => *value -= 1,
            Err(_) => return,
        }
        tell(users, json(Event::State { value: *value }));
    }
}
