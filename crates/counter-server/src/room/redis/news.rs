//! What Redis says, and what the room makes of it.
//!
//! Each change has a number, one higher than the change before. What is numbered as expected is
//! followed, what is older is passed over, and where a number is missing Redis is asked for the
//! present: the room then goes on from there, as a user does who fell off the tape.

use std::collections::HashMap;

use common::events::Event;
use serde::Deserialize;
use tracing::{info, warn};

use crate::room::{AWAY, Room, Shared};

/// What the script says, as a message to all nodes or as an answer to one.
#[derive(Deserialize)]
struct News<'a> {
    seq: u64,
    value: i64,
    /// What led to this value, as `+` and `-`.
    clicks: &'a str,
    /// The users of all nodes, and how many of them each node has.
    users: usize,
    of: HashMap<&'a str, usize>,
    /// Only in the first answer over a connection: the Redis process, and the number of the last
    /// change before it was first read.
    run: Option<&'a str>,
    #[serde(default)]
    began: u64,
}

/// A node's place in the history of the counter.
pub struct Known {
    /// The node's own name.
    pub node: String,
    /// The number of the newest change.
    pub seq: u64,
    /// Something is missing: it is time to ask Redis for the present.
    pub stale: bool,
    /// The number of the newest message over this connection.
    published: u64,
    /// The Redis process that said so; empty before the first answer.
    run: String,
}

impl Known {
    /// Nothing yet.
    pub fn new(node: String) -> Self {
        Self { node, seq: 0, stale: false, published: 0, run: String::new() }
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
        // Over one connection, messages come in order: a number that goes down is of a counter
        // that was begun anew.
        let in_order = news.seq > std::mem::replace(&mut self.published, news.seq);
        if !in_order || news.seq > self.seq.saturating_add(1) {
            self.stale = true;
        } else if news.seq > self.seq {
            self.seq = news.seq;
            room.change(|shared| {
                shared.elsewhere = news.users_elsewhere(&self.node);
                news.follow(shared);
            });
        }
    }

    /// Takes the answer to what was asked when `asked` was the newest number.
    pub fn answer(&mut self, room: &Room, json: &[u8], asked: u64) -> Result<(), String> {
        let news = News::parse(json)?;
        let lost = match news.run {
            // The first answer of the first connection.
            Some(_) if self.run.is_empty() => false,
            // Redis was started anew: did it remember as much as we do?
            Some(run) if run != self.run => news.began < self.seq,
            _ => news.seq < asked,
        };
        let first = news.run.is_some();
        if let Some(run) = news.run {
            run.clone_into(&mut self.run);
            self.published = 0;
        }
        // Messages that were published after this answer may have come before it.
        if news.seq <= self.seq && !first && !lost {
            return Ok(());
        }
        let next = !first && news.seq == self.seq.saturating_add(1);
        self.seq = news.seq;
        room.change(|shared| {
            if lost {
                warn!(
                    "Redis has lost data: the counter goes from {} to {}",
                    shared.value, news.value
                );
            }
            shared.elsewhere = news.users_elsewhere(&self.node);
            if next {
                news.follow(shared);
            } else if shared.value != news.value || shared.away.is_some() {
                news.tell_value(shared);
            }
            if shared.away.take().is_some() {
                info!("Redis is back: the counter is at {}", news.value);
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
