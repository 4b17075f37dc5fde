//! This server's copy of the counter, and the events that all its clients receive.

use std::sync::Arc;

use common::events::Event;
use tokio::sync::Notify;
use tracing::{info, warn};
use websockets::fanout::{Frames, State};

use crate::update::Update;

/// The error message that all clients receive while Redis cannot be used.
const OUT_OF_DATE: &str = "the shared counter is unreachable; this value may be out of date";

/// The counter as Redis last reported it. Only replies and updates from Redis change it.
#[derive(Default)]
pub struct Counter {
    /// The name of this server among those that share the counter.
    pub node: String,
    /// The epoch of the newest change, empty before the first reply.
    pub epoch: String,
    /// The number of the newest change.
    pub seq: u64,
    /// The value after the newest change.
    value: i64,
    users_elsewhere: usize,
    /// The number of users of this server.
    pub users_here: usize,
    /// Notified when `users_here` changes.
    pub users_changed: Arc<Notify>,
    /// The number of users in the last `users` event.
    announced_users: usize,
    /// The reasons why Redis cannot be used now, the latest last.
    outage: Vec<String>,
}

impl Counter {
    /// A copy before the first reply, for a server with a random name.
    pub fn new() -> Self {
        Self { node: format!("{:016x}", fastrand::u64(..)), ..Self::default() }
    }

    /// Succeeds if a click can be counted now.
    ///
    /// # Errors
    ///
    /// The reason why Redis cannot be used.
    pub fn ready(&self) -> Result<(), String> {
        self.outage.last().map_or(Ok(()), |reason| Err(reason.clone()))
    }

    /// Applies a published update if it is the next one. Returns `false` if this server must ask
    /// Redis, because its copy does not agree with the update. A new epoch or an older number may
    /// mean that Redis has lost data. The exception is the change that this server made itself,
    /// because the reply may come before the message.
    pub fn apply_update(&mut self, update: &Update<'_>, to_all: &mut Frames) -> bool {
        let is_next = update.epoch == self.epoch && update.seq == self.seq.saturating_add(1);
        if is_next {
            self.set_state(update, update.values_since(self.value), to_all);
        }
        let is_newest = update.epoch == self.epoch && update.seq == self.seq;
        is_newest && update.value == self.value && update.lists(&self.node)
    }

    /// Applies a reply. If it is not the next change, clients skip to its value. A reply that is
    /// older than an update changes nothing. `is_lost` means that Redis has lost changes that this
    /// server knows.
    pub fn apply_reply(&mut self, update: &Update<'_>, is_lost: bool, to_all: &mut Frames) {
        if is_lost {
            let (old, new) = (self.value, update.value);
            warn!("Redis has lost data: the counter goes from {old} to {new}");
        }
        self.apply_update(update, to_all);
        if update.epoch != self.epoch || update.seq > self.seq {
            let values = if update.value == self.value { vec![] } else { vec![update.value] };
            self.set_state(update, values, to_all);
        }
        if !std::mem::take(&mut self.outage).is_empty() {
            info!("Redis is back: the counter is at {}", self.value);
            to_all.push(Event::State { value: self.value }.to_json());
        }
    }

    fn set_state(&mut self, update: &Update<'_>, values: Vec<i64>, to_all: &mut Frames) {
        update.epoch.clone_into(&mut self.epoch);
        self.seq = update.seq;
        self.users_elsewhere = update.users_elsewhere(&self.node);
        for value in values {
            to_all.push(Event::State { value }.to_json());
        }
        self.value = update.value;
    }

    /// Notes that Redis cannot be used. The log has each new reason once, because the first one is
    /// often only that the connection has ended. All clients receive the error message once.
    pub fn fail(&mut self, reason: &str, to_all: &mut Frames) {
        let outage = format!("cannot use Redis: {reason}");
        if !self.outage.contains(&outage) {
            warn!("{outage}");
        }
        if self.outage.is_empty() {
            to_all.push(Event::Error { message: OUT_OF_DATE.to_owned() }.to_json());
        }
        self.outage.retain(|reason| *reason != outage);
        self.outage.push(outage);
    }
}

impl State for Counter {
    fn snapshot(&self, frames: &mut Frames) {
        frames.push(Event::Users { count: self.announced_users }.to_json());
        frames.push(Event::State { value: self.value }.to_json());
        if !self.outage.is_empty() {
            frames.push(Event::Error { message: OUT_OF_DATE.to_owned() }.to_json());
        }
    }

    fn before_round(&mut self, subscribers: usize, frames: &mut Frames) {
        if self.users_here != subscribers {
            self.users_here = subscribers;
            self.users_changed.notify_one();
        }
        let users = self.users_elsewhere.saturating_add(self.users_here);
        if self.announced_users != users {
            self.announced_users = users;
            frames.push(Event::Users { count: self.announced_users }.to_json());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(epoch: &str, seq: u64, value: i64, clicks: &str) -> String {
        format!(
            r#"{{"epoch":"{epoch}","seq":{seq},"value":{value},"clicks":"{clicks}","users":{{"a":1,"b":2}}}}"#
        )
    }

    /// A copy after change number 4 of epoch `e`, with the value 10.
    fn counter_at_4() -> Counter {
        let mut counter = Counter { node: "a".into(), ..Counter::default() };
        let json = json("e", 4, 10, "");
        counter.apply_reply(
            &Update::from_json(json.as_bytes()).unwrap(),
            false,
            &mut Frames::default(),
        );
        counter
    }

    fn visible(frames: Frames) -> Vec<u8> {
        frames.into_encoded().into_bytes().iter().copied().filter(u8::is_ascii_graphic).collect()
    }

    #[test]
    fn each_value_is_published_once_in_either_order() {
        // Redis 7.2 and newer send the reply before the message, older ones after it.
        let json = json("e", 5, 11, "+-+");
        let update = Update::from_json(json.as_bytes()).unwrap();
        let (mut by_reply, mut by_message) = (counter_at_4(), counter_at_4());
        let [mut frames_by_reply, mut frames_by_message] = [Frames::default(), Frames::default()];
        by_reply.apply_reply(&update, false, &mut frames_by_reply);
        assert!(by_reply.apply_update(&update, &mut frames_by_reply));
        assert!(by_message.apply_update(&update, &mut frames_by_message));
        by_message.apply_reply(&update, false, &mut frames_by_message);
        let frames_by_reply = String::from_utf8(visible(frames_by_reply)).unwrap();
        assert_eq!(frames_by_reply.matches("value").count(), 3);
        assert_eq!(frames_by_reply, String::from_utf8(visible(frames_by_message)).unwrap());
    }

    #[test]
    fn only_the_next_change_is_applied() {
        for (epoch, seq, value) in [("e", 6, 12), ("e", 3, 9), ("e", 4, 9), ("f", 5, 11)] {
            let json = json(epoch, seq, value, "+");
            let update = Update::from_json(json.as_bytes()).unwrap();
            let mut counter = counter_at_4();
            let mut frames = Frames::default();
            assert!(!counter.apply_update(&update, &mut frames), "{json}");
            assert_eq!((counter.value, counter.seq), (10, 4), "{json}");
            counter.apply_reply(&update, false, &mut frames);
            let is_newer = seq > 4;
            assert_eq!(counter.value, if is_newer { value } else { 10 }, "{json}");
            assert_eq!(visible(frames).is_empty(), !is_newer, "{json}");
        }
    }
}
