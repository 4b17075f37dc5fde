//! The counter, and the events about it that everyone receives.

use common::events::{Action, Event};
use websockets::fanout::{Frames, State};

/// The state that all users share.
#[derive(Default)]
pub struct Counter {
    value: i64,
    /// The number of users in the last `users` event.
    users: usize,
}

impl Counter {
    /// Changes the value, and publishes it to all users, including the one that clicked.
    ///
    /// # Errors
    ///
    /// One sentence for the user, if the value is at the end of its range.
    pub fn apply(&mut self, action: Action, frames: &mut Frames) -> Result<(), String> {
        let value = match action {
            Action::Plus => self.value.checked_add(1),
            Action::Minus => self.value.checked_sub(1),
        };
        self.value = value.ok_or("the counter can go no further in this direction")?;
        frames.push(Event::State { value: self.value }.to_json());
        Ok(())
    }
}

impl State for Counter {
    fn snapshot(&self, frames: &mut Frames) {
        frames.push(Event::Users { count: self.users }.to_json());
        frames.push(Event::State { value: self.value }.to_json());
    }

    fn before_round(&mut self, subscribers: usize, frames: &mut Frames) {
        if self.users != subscribers {
            self.users = subscribers;
            frames.push(Event::Users { count: self.users }.to_json());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_beyond_i64_is_rejected() {
        for (end, beyond, back) in
            [(i64::MAX, Action::Plus, Action::Minus), (i64::MIN, Action::Minus, Action::Plus)]
        {
            let mut counter = Counter { value: end, users: 1 };
            let mut frames = Frames::default();
            assert!(counter.apply(beyond, &mut frames).is_err());
            assert_eq!(counter.value, end);
            assert!(frames.into_encoded().is_empty());
            assert!(counter.apply(back, &mut Frames::default()).is_ok());
        }
    }
}
