//! The counter as Redis reports it: published to all servers after each change, and returned to
//! the server that made a call.

use std::collections::HashMap;

use serde::Deserialize;

/// The counter after a change, and the clicks that changed it.
#[derive(Deserialize)]
pub struct Update<'a> {
    /// The epoch in which the changes are numbered. `counter.lua` says when a new one begins.
    pub epoch: &'a str,
    /// The number of the change, one higher than the number of the change before.
    pub seq: u64,
    /// The value after the change.
    pub value: i64,
    /// The clicks that led to this value, as `+` and `-`.
    clicks: &'a str,
    /// The number of users of each server, by the name of the server.
    users: HashMap<&'a str, usize>,
}

impl<'a> Update<'a> {
    /// Reads the JSON that `counter.lua` writes.
    ///
    /// # Errors
    ///
    /// An error message for the log if the JSON is invalid.
    pub fn from_json(json: &'a [u8]) -> Result<Self, String> {
        serde_json::from_slice(json)
            .map_err(|error| format!("cannot parse the update from Redis: {error}"))
    }

    /// Whether Redis has this server in its list.
    pub fn lists(&self, node: &str) -> bool {
        self.users.contains_key(node)
    }

    /// The number of users of the other servers. This server counts its own users itself, so that
    /// a new client is included in the first number that it receives.
    pub fn users_elsewhere(&self, node: &str) -> usize {
        let others = self.users.iter().filter(|(name, _)| **name != node);
        others.fold(0, |sum, (_, users)| sum.saturating_add(*users))
    }

    /// The values from `value` to the value of this update. If the clicks do not lead from one to
    /// the other, there is only the value of this update.
    pub fn values_since(&self, mut value: i64) -> Vec<i64> {
        let mut values = Vec::new();
        for click in self.clicks.bytes() {
            value = value.wrapping_add(if click == b'+' { 1 } else { -1 });
            values.push(value);
        }
        if value == self.value { values } else { vec![self.value] }
    }
}
