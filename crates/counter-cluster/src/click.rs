//! A click that is sent to Redis, and the error message for its user if it is not counted.

use common::events::Action;
use futures_channel::mpsc::{UnboundedReceiver, UnboundedSender, unbounded};

/// An action of one user, with a way to report a refusal to this user.
pub struct Click {
    pub action: Action,
    pub refusal_sender: UnboundedSender<&'static str>,
}

impl Click {
    /// Sends the error message to the user, if the user is still connected.
    pub fn refuse(&self, message: &'static str) {
        _ = self.refusal_sender.unbounded_send(message);
    }
}

/// The value would leave the range of an i64.
pub const OUT_OF_RANGE: &str = "the counter can go no further in this direction";

/// Redis replied with an error, so it counted nothing.
pub const REDIS_ERROR: &str = "the shared counter refused your click; try again";

/// This server has no connection to Redis.
pub const UNREACHABLE: &str = "the shared counter is unreachable; try again";

/// The call was sent, but its reply was lost. Redis may have counted the click.
pub const NO_REPLY: &str =
    "the shared counter did not answer; your click may or may not have been counted";

/// A channel for the refusals of one user. It needs no bound, because a refusal is sent before the
/// user's next click is read, so it holds at most one refusal for each click that is under way.
/// tokio's channel would take 1 KiB of memory for each user, even for users that never click.
pub fn refusal_channel() -> (UnboundedSender<&'static str>, UnboundedReceiver<&'static str>) {
    unbounded()
}
