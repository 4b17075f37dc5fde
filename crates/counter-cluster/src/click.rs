//! A click that is sent to Redis, and the error message for its user if it is not counted.

use common::events::Action;
use futures_channel::mpsc::{UnboundedReceiver, UnboundedSender, unbounded};

/// An action of one user, with a way to report a refusal to this user.
pub struct Click {
    pub action: Action,
    pub refusal_sender: UnboundedSender<Refusal>,
}

impl Click {
    /// Reports the refusal to the user, if the user is still connected.
    pub fn refuse(&self, refusal: Refusal) {
        _ = self.refusal_sender.unbounded_send(refusal);
    }
}

/// The reason why a click was not counted.
#[derive(Clone, Copy)]
pub enum Refusal {
    /// The value would leave the range of an i64.
    OutOfRange,
    /// Redis replied with an error, so it counted nothing.
    RedisError,
    /// This server has no connection to Redis.
    Unreachable,
    /// The call was sent, but its reply was lost. Redis may have counted the click.
    NoReply,
}

impl Refusal {
    /// The message of the `error` event for the user.
    pub fn message(self) -> &'static str {
        match self {
            Self::OutOfRange => "the counter can go no further in this direction",
            Self::RedisError => "the shared counter refused your click; try again",
            Self::Unreachable => "the shared counter is unreachable; try again",
            Self::NoReply => {
                "the shared counter did not answer; your click may or may not have been counted"
            }
        }
    }
}

/// A channel for the refusals of one user. It needs no bound, because a refusal is sent before the
/// user's next click is read, so it holds at most one refusal for each click that is under way.
/// tokio's channel would take 1 KiB of memory for each user, even for users that never click.
pub fn refusal_channel() -> (UnboundedSender<Refusal>, UnboundedReceiver<Refusal>) {
    unbounded()
}
