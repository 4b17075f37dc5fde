//! The counter as Redis reports it: published to all servers after each change, and returned to
//! the server that made a call.

use std::collections::HashMap;

use serde::Deserialize;

/// The counter after a change, and the clicks that changed it.
#[derive(Deserialize)]
pub struct Update<'a> {
    /// The epoch in which the changes are numbered. The comments in `counter.lua` explain when a
    /// new one begins.
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

#[cfg(test)]
mod tests {
    use testing::property::{check, mutate};

    use super::*;

    #[test]
    fn any_update_is_read_or_rejected() {
        check(2000, |input| {
            let (seq, value): (u64, i64) = input.arbitrary()?;
            let count = input.int_in_range(0..=8)?;
            let steps = (0..count).map(|_| input.choose(&[1, -1]).copied());
            let steps = steps.collect::<testing::property::Result<Vec<i64>>>()?;
            let clicks: String =
                steps.iter().map(|step| if *step > 0 { '+' } else { '-' }).collect();
            let (here, elsewhere): (usize, usize) = input.arbitrary()?;
            let json = format!(
                r#"{{"epoch":"e","seq":{seq},"value":{value},"clicks":"{clicks}","users":{{"a":{here},"b":{elsewhere},"c":{elsewhere}}}}}"#
            );
            let update = Update::from_json(json.as_bytes()).unwrap();
            assert_eq!((update.epoch, update.seq, update.value), ("e", seq, value));
            assert!(update.lists("a") && !update.lists("d"));
            assert_eq!(update.users_elsewhere("a"), elsewhere.saturating_mul(2));

            // The clicks lead from one value to the other, or only the last value counts.
            let before = value.wrapping_sub(steps.iter().sum());
            let values = update.values_since(before);
            assert_eq!(values.len(), steps.len());
            assert!(values.last().is_none_or(|last| *last == value));
            let ends = [before].into_iter().chain(values.iter().copied());
            assert!(
                ends.zip(&values)
                    .zip(&steps)
                    .all(|((from, to), step)| from.wrapping_add(*step) == *to)
            );
            let other: i64 = input.arbitrary()?;
            if other != before {
                assert_eq!(update.values_since(other), [value]);
            }

            let mut changed = json.into_bytes();
            mutate(input, &mut changed)?;
            match Update::from_json(&changed) {
                Ok(update) => {
                    let values = update.values_since(other);
                    assert!(values.last().unwrap_or(&other) == &update.value);
                    update.users_elsewhere("a");
                }
                // It is one line in the log.
                Err(error) => assert!(!error.contains(char::is_control), "{error:?}"),
            }
            Ok(())
        });
    }
}
