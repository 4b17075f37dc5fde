//! What Redis says of the counter: published to all servers at each change, and the reply to each
//! call of one.

use std::collections::HashMap;

use serde::Deserialize;

/// The counter after a change, and what changed it.
#[derive(Deserialize)]
pub struct Update<'a> {
    /// In which epoch the changes are numbered; `counter.lua` says when another begins.
    pub epoch: &'a str,
    /// The number of the change, one higher than that of the change before.
    pub seq: u64,
    /// The value after it.
    pub value: i64,
    /// What led to this value, as `+` and `-`.
    clicks: &'a str,
    /// How many users each server has, by the servers' names.
    users: HashMap<&'a str, usize>,
}

impl<'a> Update<'a> {
    /// Reads the JSON that `counter.lua` writes.
    ///
    /// # Errors
    ///
    /// Why it cannot.
    pub fn from_json(json: &'a [u8]) -> Result<Self, String> {
        serde_json::from_slice(json)
            .map_err(|error| format!("what Redis says makes no sense: {error}"))
    }

    /// Whether Redis counts on this server.
    pub fn knows(&self, node: &str) -> bool {
        self.users.contains_key(node)
    }

    /// The users of the other servers. Those here are counted here, so that a newcomer is in the
    /// first number that it hears.
    pub fn users_elsewhere(&self, node: &str) -> usize {
        let others = self.users.iter().filter(|(name, _)| **name != node);
        others.fold(0, |sum, (_, users)| sum.saturating_add(*users))
    }

    /// The values from `value` to this one. Only the last if the clicks do not lead there.
    pub fn values_after(&self, mut value: i64) -> Vec<i64> {
        let steps = self.clicks.bytes().map(|click| if click == b'+' { 1 } else { -1 });
        let values: Vec<_> = steps
            .map(|step| {
                value = value.wrapping_add(step);
                value
            })
            .collect();
        match value == self.value {
            true => values,
            false => vec![self.value],
        }
    }
}
