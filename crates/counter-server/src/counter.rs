//! What is counted, and what everyone is told of it.

use common::events::{Action, Event};
use common::fanout::{Frames, State};

/// The state that all users share.
#[derive(Default)]
pub struct Counter {
    value: i64,
    /// The users that everyone was told of.
    users: usize,
}

impl Counter {
    /// Changes the value and tells everyone, the one who asked for it included.
    ///
    /// # Errors
    ///
    /// A sentence for the user when the value can go no further.
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
    fn present(&self, frames: &mut Frames) {
        frames.push(Event::Users { count: self.users }.to_json());
        frames.push(Event::State { value: self.value }.to_json());
    }

    fn begin_round(&mut self, subscribers: usize, frames: &mut Frames) {
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
    fn a_step_beyond_either_end_of_i64_is_refused_and_changes_nothing() {
        for (end, beyond, back) in
            [(i64::MAX, Action::Plus, Action::Minus), (i64::MIN, Action::Minus, Action::Plus)]
        {
            let mut counter = Counter { value: end, users: 1 };
            let mut told = Frames::default();
            assert!(counter.apply(beyond, &mut told).is_err());
            assert_eq!(counter.value, end);
            assert!(told.into_bytes().is_empty());
            assert!(counter.apply(back, &mut Frames::default()).is_ok());
        }
    }
}
