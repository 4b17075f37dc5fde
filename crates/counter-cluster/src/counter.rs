//! This server's copy of the counter, and what everyone here is told of it.

use std::sync::Arc;

use common::events::Event;
use common::fanout::{Frames, State};
use tokio::sync::Notify;
use tracing::{info, warn};

use crate::update::Update;

/// What everyone is told while Redis cannot be reached.
const OUT_OF_DATE: &str = "the shared counter is unreachable; this value may be out of date";

/// The counter as Redis has said last. Nothing here changes it but what Redis says.
#[derive(Default)]
pub struct Counter {
    /// The name of this server among those that share the counter.
    pub node: String,
    /// The epoch of the newest change; empty before the first reply.
    pub epoch: String,
    /// Its number.
    pub seq: u64,
    /// The value after it.
    value: i64,
    users_elsewhere: usize,
    /// The users of this server.
    pub users_here: usize,
    /// Told when they come and go.
    pub users_changed: Arc<Notify>,
    /// The users that everyone was told of.
    users: usize,
    /// Why Redis cannot be used at present.
    outage: Option<String>,
}

impl Counter {
    /// A copy that knows nothing yet, for a server with a name of its own.
    pub fn new() -> Self {
        Self { node: format!("{:016x}", fastrand::u64(..)), ..Self::default() }
    }

    /// Whether a click can be counted at present, or why not.
    pub fn ready(&self) -> Result<(), String> {
        self.outage.clone().map_or(Ok(()), Err)
    }

    /// Follows a published update. `false`: it is not the next one, so that Redis must be asked.
    /// A number of another epoch is of a Redis that may have lost some, and one that was here
    /// before is of a Redis that has: the change that this server made itself is the exception,
    /// it is known from the reply.
    pub fn follow(&mut self, update: &Update<'_>, to_all: &mut Frames) -> bool {
        let is_next = update.epoch == self.epoch && update.seq == self.seq.saturating_add(1);
        if is_next {
            self.set(update, update.values_after(self.value), to_all);
        }
        let is_newest = update.epoch == self.epoch && update.seq == self.seq;
        is_newest && update.value == self.value && update.knows(&self.node)
    }

    /// Takes a reply: what is not next is taken as it is, values may be skipped. A reply may be
    /// older than an update that was published after it. `is_lost`: what is known here, Redis
    /// knows no longer.
    pub fn take(&mut self, update: &Update<'_>, is_lost: bool, to_all: &mut Frames) {
        if is_lost {
            let (old, new) = (self.value, update.value);
            warn!("Redis has lost data: the counter goes from {old} to {new}");
        }
        self.follow(update, to_all);
        if update.epoch != self.epoch || update.seq > self.seq {
            let values = if update.value == self.value { vec![] } else { vec![update.value] };
            self.set(update, values, to_all);
        }
        if self.outage.take().is_some() {
            info!("Redis is back: the counter is at {}", self.value);
            to_all.push(Event::State { value: self.value }.to_json());
        }
    }

    fn set(&mut self, update: &Update<'_>, values: Vec<i64>, to_all: &mut Frames) {
        update.epoch.clone_into(&mut self.epoch);
        self.seq = update.seq;
        self.users_elsewhere = update.users_elsewhere(&self.node);
        for value in values {
            to_all.push(Event::State { value }.to_json());
        }
        self.value = update.value;
    }

    /// Redis cannot be used. Everyone is told once.
    pub fn fail(&mut self, why: &str, to_all: &mut Frames) {
        let outage = format!("Redis is away: {why}");
        if self.outage.is_none() {
            warn!("{outage}");
            to_all.push(Event::Error { message: OUT_OF_DATE.to_owned() }.to_json());
        }
        self.outage = Some(outage);
    }
}

impl State for Counter {
    fn present(&self, frames: &mut Frames) {
        frames.push(Event::Users { count: self.users }.to_json());
        frames.push(Event::State { value: self.value }.to_json());
        if self.outage.is_some() {
            frames.push(Event::Error { message: OUT_OF_DATE.to_owned() }.to_json());
        }
    }

    fn begin_round(&mut self, subscribers: usize, frames: &mut Frames) {
        if self.users_here != subscribers {
            self.users_here = subscribers;
            self.users_changed.notify_one();
        }
        let users = self.users_elsewhere.saturating_add(self.users_here);
        if self.users != users {
            self.users = users;
            frames.push(Event::Users { count: self.users }.to_json());
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "in a test, a panic is a failure")]
mod tests {
    use super::*;

    fn json(epoch: &str, seq: u64, value: i64, clicks: &str) -> String {
        format!(
            r#"{{"epoch":"{epoch}","seq":{seq},"value":{value},"clicks":"{clicks}","users":{{"a":1,"b":2}}}}"#
        )
    }

    /// A copy that has read Redis at number 4, and a value of 10.
    fn copy() -> Counter {
        let mut counter = Counter { node: "a".into(), ..Counter::default() };
        let json = json("e", 4, 10, "");
        counter.take(&Update::from_json(json.as_bytes()).unwrap(), false, &mut Frames::default());
        counter
    }

    fn told(frames: Frames) -> Vec<u8> {
        frames.into_bytes().iter().copied().filter(u8::is_ascii_graphic).collect()
    }

    #[test]
    fn each_value_is_told_once_whether_the_reply_or_the_message_comes_first() {
        // Redis 7.2 and newer send the reply before the message, older ones after it.
        let json = json("e", 5, 11, "+-+");
        let update = Update::from_json(json.as_bytes()).unwrap();
        let (mut by_reply, mut by_message) = (copy(), copy());
        let [mut heard, mut also_heard] = [Frames::default(), Frames::default()];
        by_reply.take(&update, false, &mut heard);
        assert!(by_reply.follow(&update, &mut heard));
        assert!(by_message.follow(&update, &mut also_heard));
        by_message.take(&update, false, &mut also_heard);
        let heard = String::from_utf8(told(heard)).unwrap();
        assert_eq!(heard.matches("value").count(), 3);
        assert_eq!(heard, String::from_utf8(told(also_heard)).unwrap());
    }

    #[test]
    fn what_is_not_the_next_change_is_not_followed_and_a_reply_that_is_older_changes_nothing() {
        for (epoch, seq, value) in [("e", 6, 12), ("e", 3, 9), ("e", 4, 9), ("f", 5, 11)] {
            let json = json(epoch, seq, value, "+");
            let update = Update::from_json(json.as_bytes()).unwrap();
            let mut counter = copy();
            let mut heard = Frames::default();
            assert!(!counter.follow(&update, &mut heard), "{json}");
            assert_eq!((counter.value, counter.seq), (10, 4), "{json}");
            counter.take(&update, false, &mut heard);
            let is_newer = seq > 4;
            assert_eq!(counter.value, if is_newer { value } else { 10 }, "{json}");
            assert_eq!(told(heard).is_empty(), !is_newer, "{json}");
        }
    }
}
