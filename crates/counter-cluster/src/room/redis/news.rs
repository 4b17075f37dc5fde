//! What Redis says, and what the room makes of it.
//!
//! Each change has a number, one higher than the change before. What is numbered as expected is
//! followed, what is older is passed over, and where a number is missing Redis is asked for the
//! present: the room then goes on from there, as a user does who fell off the tape. Numbers of
//! another epoch are of a Redis that may have lost some: there is nothing to compare, so it is asked.

use std::collections::HashMap;

use common::events::Event;
use serde::Deserialize;
use tracing::{info, warn};

use crate::room::{AWAY, Room, Shared};

/// What the script says, as a message to all nodes or as an answer to one.
#[derive(Deserialize)]
struct News<'a> {
    epoch: &'a str,
    seq: u64,
    value: i64,
    /// What led to this value, as `+` and `-`.
    clicks: &'a str,
    /// The users of all nodes, and how many of them each node has.
    users: usize,
    of: HashMap<&'a str, usize>,
}

/// A node's place in the history of the counter.
pub struct Known {
    /// The node's own name.
    pub node: String,
    /// The number of the newest change.
    pub seq: u64,
    /// Something is missing: it is time to ask Redis for the present.
    pub stale: bool,
    /// The epoch that `seq` is of; empty before the first answer.
    pub epoch: String,
}

impl Known {
    /// Nothing yet.
    pub fn new(node: String) -> Self {
        Self { node, seq: 0, stale: false, epoch: String::new() }
    }

    /// Takes a message that was published.
    pub fn message(&mut self, room: &Room, json: &[u8]) {
        let news = match News::parse(json) {
            Ok(news) => news,
            Err(why) => {
                warn!("{why}");
                self.stale = true;
                return;
            }
        };
        // Our own lease has ended: it is time to say that we are still here.
        self.stale |= !news.of.contains_key(&*self.node);
        if news.epoch != self.epoch || news.seq > self.seq.saturating_add(1) {
            self.stale = true;
        } else if news.seq > self.seq {
            self.seq = news.seq;
            room.change(|shared| {
                shared.elsewhere = news.users_elsewhere(&self.node);
                news.follow(shared);
            });
        }
    }

    /// Takes an answer. `lost`: Redis no longer knows what we know.
    pub fn answer(&mut self, room: &Room, json: &[u8], lost: bool) -> Result<(), String> {
        let news = News::parse(json)?;
        let before = self.seq;
        let anew = news.epoch != self.epoch;
        if anew {
            news.epoch.clone_into(&mut self.epoch);
        }
        // Messages that were published after this answer may have come before it.
        if anew || news.seq > before {
            self.seq = news.seq;
        }
        room.change(|shared| {
            let back = shared.away.take().is_some();
            if lost {
                let (old, new) = (shared.value, news.value);
                warn!("Redis has lost data: the counter goes from {old} to {new}");
            }
            if anew || news.seq >= before {
                shared.elsewhere = news.users_elsewhere(&self.node);
            }
            if !anew && news.seq == before.saturating_add(1) {
                news.follow(shared);
            } else if (anew || news.seq > before) && shared.value != news.value {
                news.tell_value(shared);
            } else if back {
                shared.tape.append(&Event::State { value: shared.value });
            }
            if back {
                info!("Redis is back: the counter is at {}", shared.value);
            }
        });
        Ok(())
    }
}

impl<'a> News<'a> {
    fn parse(json: &'a [u8]) -> Result<Self, String> {
        serde_json::from_slice(json)
            .map_err(|error| format!("what Redis says makes no sense: {error}"))
    }

    /// The users of the other nodes. Those here are counted here, so that a newcomer is in the
    /// first number that it hears.
    fn users_elsewhere(&self, node: &str) -> usize {
        self.users.saturating_sub(self.of.get(node).copied().unwrap_or_default())
    }

    /// Tells every value on the way to this one.
    fn follow(&self, shared: &mut Shared) {
        let steps = || self.clicks.bytes().map(|click| if click == b'+' { 1 } else { -1 });
        if shared.value.wrapping_add(steps().sum()) != self.value {
            return self.tell_value(shared);
        }
        for step in steps() {
            shared.value = shared.value.wrapping_add(step);
            shared.tape.append(&Event::State { value: shared.value });
        }
    }

    fn tell_value(&self, shared: &mut Shared) {
        shared.value = self.value;
        shared.tape.append(&Event::State { value: self.value });
    }
}

/// Tells everyone that there is no Redis, once, and notes why.
pub fn lost(room: &Room, why: &str) {
    room.change(|shared| {
        let why = format!("Redis is away: {why}");
        if shared.away.replace(why.clone()).is_none() {
            warn!("{why}");
            shared.tape.append(&Event::Error { message: AWAY.to_owned() });
        }
    });
}
